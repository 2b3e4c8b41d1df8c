//! Tests of declarations: what is taken, what is refused and with which words.

use arrow_schema::DataType;
use serde_json::{Value, json};

use super::*;
use crate::model::catalog::MaxAge;
use crate::model::describe::{describe_entity, describe_table, list_entities, list_tables};
use crate::model::names::MAX_FUTURE_SKEW_DEFAULT;

/// A catalog with the entity `airport` and the table `weather`.
pub(crate) fn weather() -> Catalog {
    let catalog = apply(&Catalog::default(), "create_entity", &airport());
    apply(&catalog, "create_table", &weather_table())
}

fn airport() -> Value {
    json!({"entity": "airport", "key": [{"name": "origin", "type": "utf8"}], "bucket_by": ["origin"], "buckets": 4})
}

fn weather_table() -> Value {
    json!({
        "table": "weather", "entity": "airport", "event_time": "observed", "row_id": [],
        "features": [
            {"name": "temp", "type": "float64", "max_age": "3h", "default": 1.5, "description": "°F", "tags": ["pii"]},
            {"name": "wind", "type": "int32"},
            {"name": "code", "type": "utf8", "max_age": "none", "default": null},
        ],
        "max_age": "6h", "max_future_skew": "10m", "retention": {"keep_events": "30d"}, "hot_window": "90d",
        "owner": "ops",
    })
}

/// The catalog after a change that must work and change something.
pub(crate) fn apply(catalog: &Catalog, action: &str, body: &Value) -> Catalog {
    let changed = Change::parse(action, body).and_then(|change| change.apply(catalog));
    changed.unwrap_or_else(|error| panic!("{action} {body}: {error}")).expect("something changes")
}

/// The error of a change that must not work.
pub(crate) fn refused(catalog: &Catalog, action: &str, body: &Value) -> Error {
    match Change::parse(action, body).and_then(|change| change.apply(catalog)) {
        Ok(_) => panic!("{action} {body} was not refused"),
        Err(error) => error,
    }
}

/// `body` with one field set; null removes it.
fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

#[test]
fn a_declaration_is_answered_in_full() {
    let catalog = weather();
    assert_eq!(catalog.schema_version, 2);
    assert_eq!(
        describe_table(&catalog, "weather").expect("it is there"),
        json!({
            "table": "weather", "entity": "airport", "event_time": "observed", "row_id": [],
            "features": [
                {"name": "temp", "type": "float64", "max_age": "3h", "default": 1.5, "description": "°F", "tags": ["pii"]},
                {"name": "wind", "type": "int32", "max_age": null, "default": null, "description": "", "tags": []},
                {"name": "code", "type": "utf8", "max_age": "none", "default": null, "description": "", "tags": []},
            ],
            "max_age": "6h", "max_future_skew": "10m", "retention": {"keep_events": "30d", "keep_knowledge": "none"},
            "hot_window": "90d", "event_time_rounding": "none", "float_rounding": "nearest", "owner": "ops", "description": "", "tags": [],
            "schema_version": 2, "sealed": false,
        })
    );
    assert_eq!(
        describe_entity(&catalog, "airport").expect("it is there"),
        json!({"entity": "airport", "key": [{"name": "origin", "type": "utf8"}], "bucket_by": ["origin"], "buckets": 4, "schema_version": 2})
    );
    assert_eq!(list_entities(&catalog)["entities"][0]["entity"], json!("airport"));
    assert_eq!(list_tables(&catalog)["tables"][0]["feature_count"], json!(3));
    let table = catalog.table("weather").expect("it is there");
    let ages: Vec<_> = table.features.iter().map(|feature| table.max_age_of(feature)).collect();
    assert_eq!(ages, [Some(10_800_000_000), Some(21_600_000_000), None]);
    let defaults: Vec<_> = table.features.iter().map(|feature| format!("{:?}", feature.default_array())).collect();
    assert!(defaults[0].contains("1.5") && defaults[1].contains("null"), "{defaults:?}");
}

#[test]
fn what_is_described_can_be_declared_again() {
    let catalog = weather();
    for (action, mut body) in [
        ("create_table", describe_table(&catalog, "weather").expect("it is there")),
        ("create_entity", describe_entity(&catalog, "airport").expect("it is there")),
    ] {
        body.as_object_mut().expect("an object").remove("schema_version");
        body.as_object_mut().expect("an object").remove("sealed");
        body["if_not_exists"] = json!(true);
        let change = Change::parse(action, &body).expect("it is a declaration");
        assert_eq!(change.apply(&catalog).expect("it is the same"), None);
    }
}

#[test]
fn a_catalog_survives_json() {
    let catalog = weather();
    let text = serde_json::to_string(&catalog).expect("it is JSON");
    assert_eq!(serde_json::from_str::<Catalog>(&text).expect("it is a catalog"), catalog);
    for (from, to) in [("float64", "floaty"), ("1.5", "\\\"x\\\""), ("\"type\":\"utf8\"", "\"type\":\"float64\"")] {
        let damaged = text.replace(from, &to.replace("\\\"", "\""));
        assert!(serde_json::from_str::<Catalog>(&damaged).is_err(), "{to}");
    }
}

#[test]
fn defaults_are_filled_in() {
    let catalog = apply(
        &Catalog::default(),
        "create_entity",
        &json!({"entity": "user", "key": [{"name": "a", "type": "int64"}, {"name": "b", "type": "bool"}]}),
    );
    let entity = catalog.entity("user").expect("it is there");
    assert_eq!((entity.bucket_by, entity.buckets), (2, 8));
    let catalog =
        apply(&catalog, "create_table", &json!({"table": "t", "entity": "user", "event_time": "at", "features": []}));
    let table = catalog.table("t").expect("it is there");
    assert_eq!((table.max_age, table.max_future_skew), (None, Some(300_000_000)));
    assert_eq!((table.keep_events, table.keep_knowledge, table.rounding_floor), (None, None, false));
    let body = json!({"table": "u", "entity": "user", "event_time": "at", "max_future_skew": "none", "event_time_rounding": "floor"});
    let catalog = apply(&catalog, "create_table", &body);
    let table = catalog.table("u").expect("it is there");
    assert_eq!((table.max_future_skew, table.rounding_floor), (None, true));
}

#[test]
fn a_wrong_entity_is_refused() {
    let key = |columns: Value| with(airport(), "key", columns);
    let many: Vec<Value> = (0..17).map(|n| json!({"name": format!("k{n}"), "type": "int64"})).collect();
    let cases = [
        (json!([]), "create_entity is a JSON object, not an array"),
        (
            with(airport(), "colour", json!(1)),
            "create_entity has no field `colour`; its fields are entity, key, bucket_by, buckets, if_not_exists",
        ),
        (with(airport(), "entity", Value::Null), "create_entity needs the field `entity`: a string"),
        (with(airport(), "entity", json!(5)), "`entity` of create_entity is a string, not a number"),
        (with(airport(), "entity", json!("Airport")), "`Airport` is no entity name"),
        (with(airport(), "entity", json!("a__b")), "has no `__`"),
        (with(airport(), "entity", json!("9a")), "begins with a letter"),
        (with(airport(), "entity", json!("")), "a name is 1 to 63"),
        (with(airport(), "entity", json!("a".repeat(64))), "a name is 1 to 63"),
        (with(airport(), "entity", json!("größe")), "lower-case letters"),
        (with(airport(), "entity", json!("firn_user")), "`firn_user` is no entity name: those that start with `firn_`"),
        (key(json!([])), "needs at least one key column"),
        (key(json!("x")), "`key` of create_entity is an array, not a string"),
        (key(json!(many)), "key has 17 columns, at most 16 are allowed"),
        (key(json!([{"name": "a"}])), "key column needs the field `type`"),
        (
            key(json!([{"name": "a", "type": "int64", "x": 1}])),
            "key column has no field `x`; its fields are name, type",
        ),
        (
            key(json!([{"name": "row", "type": "int64"}])),
            "`row` is no key column name: it is a column of every history",
        ),
        (key(json!([{"name": "a", "type": "float64"}])), "key column `a` cannot be float64; it can be an int"),
        (key(json!([{"name": "a", "type": "large_utf8"}])), "cannot be large_utf8"),
        (key(json!([{"name": "a", "type": "what"}])), "key column `a`: type \"what\": FirnDB stores no such type"),
        (
            key(json!([{"name": "origin", "type": "utf8"}, {"name": "origin", "type": "utf8"}])),
            "the key column `origin` is declared twice",
        ),
        (
            with(airport(), "bucket_by", json!(["x"])),
            "bucket_by: `x` is no key column; it names leading columns of the key, which is `origin`",
        ),
        (with(airport(), "bucket_by", json!(["origin", "origin"])), "bucket_by: `origin` is named twice"),
        (
            json!({"entity": "pair", "bucket_by": ["b"],
                "key": [{"name": "a", "type": "utf8"}, {"name": "b", "type": "utf8"}]}),
            "bucket_by: `b` stands where `a` is due; it names leading columns of the key, which is `a`, `b`",
        ),
        (with(airport(), "bucket_by", json!([1])), "`bucket_by` of create_entity is an array of strings"),
        (with(airport(), "buckets", json!(0)), "buckets is a whole number from 1 to 1024, not 0"),
        (with(airport(), "buckets", json!(1025)), "not 1025"),
        (with(airport(), "buckets", json!("8")), "not \"8\""),
        (
            with(airport(), "if_not_exists", json!("yes")),
            "`if_not_exists` of create_entity is true or false, not a string",
        ),
    ];
    for (body, expected) in cases {
        let error = refused(&Catalog::default(), "create_entity", &body);
        assert!(error.message().contains(expected), "{body}: {error}");
        assert_eq!(error.kind(), Kind::Invalid);
    }
}

#[test]
fn a_wrong_table_is_refused() {
    let catalog = apply(&Catalog::default(), "create_entity", &airport());
    let table = |field: &str, value: Value| with(weather_table(), field, value);
    let feature = |value: Value| with(weather_table(), "features", json!([value]));
    let many: Vec<Value> = (0..4097).map(|n| json!({"name": format!("f{n}"), "type": "int8"})).collect();
    let cases = [
        (table("colour", json!(1)), "create_table has no field `colour`; its fields are table, entity,"),
        (table("table", json!("weather!")), "`weather!` is no table name"),
        (table("table", json!("firn_grants")), "are kept for the database's own; choose another"),
        (table("event_time", Value::Null), "create_table needs the field `event_time`"),
        (table("event_time", json!("ingest_time")), "`ingest_time` is no event-time column name"),
        (
            table("event_time", json!("origin")),
            "the column `origin` would be a key column of the entity and the event-time column",
        ),
        (table("event_time", json!("temp")), "`temp` would be the event-time column and a feature"),
        (
            table("row_id", json!([{"name": "origin", "type": "int64"}])),
            "a key column of the entity and a row id column",
        ),
        (table("row_id", json!([{"name": "wind", "type": "int64"}])), "a row id column and a feature"),
        (table("row_id", json!([{"name": "id", "type": "float32"}])), "row id column `id` cannot be float32"),
        (table("row_id", json!({"name": "id"})), "`row_id` of create_table is an array, not an object"),
        (table("features", json!(many)), "has 4097 features, at most 4096 are allowed"),
        (feature(json!("temp")), "a feature is a JSON object, not a string"),
        (
            feature(json!({"name": "x", "type": "int64", "ttl": "1d"})),
            "a feature has no field `ttl`; its fields are name, type, max_age",
        ),
        (feature(json!({"name": "x"})), "feature `x`: a feature needs the field `type`"),
        (feature(json!({"name": "features", "type": "int64"})), "`features` is no feature name"),
        (feature(json!({"name": "x", "type": "floaty"})), "feature `x`: type \"floaty\": FirnDB stores no such type"),
        (
            feature(json!({"name": "x", "type": "int64", "max_age": "3 hours"})),
            "max_age of feature `x`: `3 hours` is no duration",
        ),
        (
            feature(json!({"name": "x", "type": "int64", "max_age": 3})),
            "feature `x`: `max_age` of a feature is a duration",
        ),
        (feature(json!({"name": "x", "type": "int8", "default": 300})), "default of feature `x`: 300 is no int8"),
        (feature(json!({"name": "x", "type": "utf8", "default": "a".repeat(70_000)})), "at most 65536 are allowed"),
        (
            feature(json!({"name": "x", "type": "utf8", "description": "a".repeat(5000)})),
            "the description of feature `x` has 5000 bytes",
        ),
        (
            feature(json!({"name": "x", "type": "utf8", "tags": ["a".repeat(200)]})),
            "a tag of feature `x` has 200 bytes",
        ),
        (feature(json!({"name": "x", "type": "utf8", "tags": vec!["t"; 33]})), "feature `x` has 33 tags, at most 32"),
        (feature(json!({"name": "observed", "type": "utf8"})), "the event-time column and a feature"),
        (
            table("features", json!([{"name": "x", "type": "int8"}, {"name": "x", "type": "int8"}])),
            "`x` would be a feature twice",
        ),
        (table("max_age", json!("6hours")), "max_age: `6hours` is no duration"),
        (table("max_age", json!(6)), "`max_age` of create_table is a duration"),
        (table("max_future_skew", json!("-5m")), "max_future_skew: `-5m` is no duration"),
        (table("retention", json!("30d")), "retention is a JSON object, not a string"),
        (
            table("retention", json!({"keep": "30d"})),
            "retention has no field `keep`; its fields are keep_events, keep_knowledge",
        ),
        (table("retention", json!({"keep_events": "0s"})), "keep_events of 0 would keep nothing"),
        (table("hot_window", json!(30)), "`hot_window` of create_table is a duration"),
        (table("event_time_rounding", json!("up")), "event_time_rounding is \"floor\" or \"none\""),
        (table("float_rounding", json!(true)), "float_rounding is \"none\" or \"nearest\", not true"),
        (table("owner", json!("a".repeat(300))), "the owner of table `weather` has 300 bytes"),
        (table("description", json!("a".repeat(5000))), "the description of table `weather` has 5000 bytes"),
        (table("tags", json!("pii")), "`tags` of create_table is an array, not a string"),
    ];
    for (body, expected) in cases {
        let error = refused(&catalog, "create_table", &body);
        assert!(error.message().contains(expected), "{body}: {error}");
        assert_eq!(error.kind(), Kind::Invalid);
    }
    let error = refused(&catalog, "create_table", &table("entity", json!("plane")));
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::NotFound, "there is no entity `plane`; list_entities names those there are, create_entity declares one")
    );
}

#[test]
fn declaring_again_is_refused_unless_it_is_the_same() {
    let catalog = weather();
    let error = refused(&catalog, "create_table", &weather_table());
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert!(error.message().contains("table `weather` exists; say \"if_not_exists\": true"), "{error}");
    let again = with(weather_table(), "if_not_exists", json!(true));
    let features = |value: Value| with(again.clone(), "features", value);
    let cases = [
        (with(again.clone(), "max_age", json!("7h")), "max_age is \"6h\", not \"7h\""),
        (with(again.clone(), "event_time", json!("at")), "event_time is \"observed\", not \"at\""),
        (features(json!([])), "it also has the feature \"temp\"; it also has the feature \"wind\""),
        (
            features(
                json!([{"name": "temp", "type": "float64", "max_age": "3h", "default": 1.5, "description": "°F", "tags": ["pii"]},
                {"name": "wind", "type": "int64"}, {"name": "code", "type": "utf8", "max_age": "none"}]),
            ),
            "of feature \"wind\" type is \"int32\", not \"int64\"",
        ),
    ];
    for (body, expected) in cases {
        let error = refused(&catalog, "create_table", &body);
        assert_eq!(error.kind(), Kind::AlreadyExists);
        assert!(error.message().contains(expected), "{error}");
    }
    let mut reordered = again.clone();
    reordered["features"].as_array_mut().expect("an array").reverse();
    let error = refused(&catalog, "create_table", &reordered);
    assert!(error.message().contains("the features are in another order"), "{error}");
    let other = with(with(airport(), "buckets", json!(9)), "if_not_exists", json!(true));
    let error = refused(&catalog, "create_entity", &other);
    assert!(error.message().contains("declared differently: buckets is 4, not 9"), "{error}");
}

#[test]
fn there_are_limits() {
    let mut catalog = weather();
    for n in 1..ENTITIES_MAX {
        let body = json!({"entity": format!("e{n}"), "key": [{"name": "k", "type": "int64"}]});
        catalog = apply(&catalog, "create_entity", &body);
    }
    let error = refused(&catalog, "create_entity", &json!({"entity": "more", "key": [{"name": "k", "type": "int64"}]}));
    assert_eq!((error.kind(), error.message()), (Kind::Exhausted, "there are 1024 entities, no more are allowed"));
    for n in 1..TABLES_MAX {
        let body = json!({"table": format!("t{n}"), "entity": "airport", "event_time": "at"});
        catalog = apply(&catalog, "create_table", &body);
    }
    let error = refused(&catalog, "create_table", &json!({"table": "more", "entity": "airport", "event_time": "at"}));
    assert_eq!((error.kind(), error.message()), (Kind::Exhausted, "there are 4096 tables, no more are allowed"));
    let again = json!({"table": "t1", "entity": "airport", "event_time": "at", "if_not_exists": true});
    assert!(
        Change::parse("create_table", &again)
            .and_then(|change| change.apply(&catalog))
            .is_ok_and(|changed| changed.is_none())
    );
}

#[test]
fn drops_and_seals() {
    let catalog = weather();
    let error = refused(&catalog, "drop_entity", &json!({"entity": "airport"}));
    assert_eq!(error.kind(), Kind::Precondition);
    assert!(error.message().contains("still has tables: `weather`; drop them first"), "{error}");
    assert_eq!(refused(&catalog, "drop_table", &json!({"table": "x"})).kind(), Kind::NotFound);
    assert_eq!(refused(&catalog, "drop_entity", &json!({"entity": "x"})).kind(), Kind::NotFound);
    assert_eq!(refused(&catalog, "seal_table", &json!({"table": "x"})).kind(), Kind::NotFound);
    let error = refused(&catalog, "drop_table", &json!({"table": "weather", "force": true}));
    assert!(error.message().contains("drop_table has no field `force`; its fields are table"), "{error}");
    assert!(refused(&catalog, "explode", &json!({})).message().contains("`explode` is no change of the schema"));

    let sealed = apply(&catalog, "seal_table", &json!({"table": "weather"}));
    assert_eq!(describe_table(&sealed, "weather").expect("it is there")["sealed"], json!(true));
    let again = Change::parse("seal_table", &json!({"table": "weather"})).expect("it is a change");
    assert_eq!(again.apply(&sealed).expect("it may be sealed twice"), None);

    let dropped = apply(&sealed, "drop_table", &json!({"table": "weather"}));
    assert_eq!(dropped.schema_version, 4);
    let recreated = apply(&dropped, "create_table", &weather_table());
    let (old, new) = (catalog.table("weather").expect("there"), recreated.table("weather").expect("there"));
    assert!(old.id != new.id && !new.sealed);
    let empty = apply(
        &apply(&recreated, "drop_table", &json!({"table": "weather"})),
        "drop_entity",
        &json!({"entity": "airport"}),
    );
    assert!(empty.tables.is_empty() && empty.entities.is_empty());
}

#[test]
fn a_declaration_that_is_built_is_the_one_that_is_written() {
    let catalog = apply(&Catalog::default(), "create_entity", &airport());
    let feature = |name: &str, data_type| FeatureDeclaration {
        name: name.to_owned(),
        data_type,
        max_age: MaxAge::Table,
        default: None,
        description: String::new(),
        tags: Vec::new(),
    };
    let temp = FeatureDeclaration {
        max_age: MaxAge::Micros(10_800_000_000),
        default: Some(json!(1.5)),
        description: "°F".to_owned(),
        tags: vec!["pii".to_owned()],
        ..feature("temp", DataType::Float64)
    };
    let code = FeatureDeclaration { max_age: MaxAge::Unlimited, ..feature("code", DataType::Utf8) };
    let declaration = TableDeclaration {
        name: "weather".to_owned(),
        entity: "airport".to_owned(),
        event_time: "observed".to_owned(),
        row_id: Vec::new(),
        features: vec![temp, feature("wind", DataType::Int32), code],
        aggregates: Vec::new(),
        rounding_floor: false,
        floats_exact: false,
        settings: vec![
            Setting::MaxAge(Some(21_600_000_000)),
            Setting::MaxFutureSkew(Some(2 * MAX_FUTURE_SKEW_DEFAULT)),
            Setting::KeepEvents(Some(2_592_000_000_000)),
            Setting::HotWindow(Some(7_776_000_000_000)),
            Setting::Owner("ops".to_owned()),
        ],
        if_not_exists: false,
    };
    let built = Change::CreateTable(Box::new(declaration)).apply(&catalog).expect("a declaration").expect("it is new");
    assert_eq!(built, weather());
    let alteration = Alteration {
        table: "weather".to_owned(),
        add: vec![feature("gust", DataType::Float32)],
        rename: vec![("wind".to_owned(), "breeze".to_owned())],
        set: vec![Setting::KeepEvents(None)],
        ..Alteration::default()
    };
    let altered = Change::AlterTable(Box::new(alteration)).apply(&built).expect("an alteration").expect("it changes");
    let written = json!({"table": "weather", "add": [{"name": "gust", "type": "float32"}], "rename": {"wind": "breeze"},
        "set": {"retention": {"keep_events": null}}});
    assert_eq!(altered, apply(&built, "alter_table", &written));
}
