//! Tests of `alter_table`.

use serde_json::{Value, json};

use super::*;
use crate::error::Kind;
use crate::model::declare::Change;
use crate::model::declare::tests::{apply, refused, weather};
use crate::model::describe::describe_table;
use crate::model::names::MAX_FUTURE_SKEW_DEFAULT;

fn alter(catalog: &Catalog, body: &Value) -> Catalog {
    apply(catalog, "alter_table", &with_table(body))
}

fn with_table(body: &Value) -> Value {
    let mut body = body.clone();
    body["table"] = json!("weather");
    body
}

fn names(catalog: &Catalog) -> Vec<(u32, String)> {
    let table = catalog.table("weather").expect("it is there");
    table.features.iter().map(|feature| (feature.id, feature.name.clone())).collect()
}

fn named(pairs: &[(u32, &str)]) -> Vec<(u32, String)> {
    pairs.iter().map(|(id, name)| (*id, (*name).to_owned())).collect()
}

#[test]
fn what_features_say_of_themselves_is_set() {
    let catalog = weather();
    let before = describe_table(&catalog, "weather").expect("there")["features"].clone();
    let body = json!({"set_features": [{"name": "temp", "max_age": "8h", "default": 1, "description": "warm", "tags": ["a"]},
        {"name": "wind", "max_age": "none"}], "rename": {"temp": "warmth"}});
    let after = describe_table(&alter(&catalog, &body), "weather").expect("there")["features"].clone();
    let changed = json!({"name": "warmth", "type": before[0]["type"], "max_age": "8h", "default": 1.0, "description": "warm", "tags": ["a"]});
    assert_eq!(after[0], changed);
    let mut wind = before[1].clone();
    wind["max_age"] = json!("none");
    assert_eq!((&after[1], &after[2]), (&wind, &before[2]), "what is not named stays");
    let again = alter(
        &alter(&catalog, &body),
        &json!({"set_features": [{"name": "warmth", "max_age": null, "default": null}]}),
    );
    let again = &describe_table(&again, "weather").expect("there")["features"][0];
    assert_eq!((&again["max_age"], &again["default"], &again["tags"]), (&Value::Null, &Value::Null, &json!(["a"])));
    for (body, words) in [
        (json!({"set_features": [{"name": "x"}]}), "has no feature `x`"),
        (json!({"set_features": [{"name": "temp", "default": "warm"}]}), "default of feature `temp`"),
        (json!({"set_features": [{"name": "temp", "max_age": 5}]}), "feature `temp`"),
        (json!({"set_features": [{"name": "temp", "type": "int8"}]}), "has no field `type`"),
        (json!({"set_features": [{"name": "temp"}], "retire": ["temp"]}), "cannot be retired and changed at once"),
    ] {
        let error = refused(&catalog, "alter_table", &with_table(&body));
        assert!(error.message().contains(words), "{body}: {error}");
    }
}

#[test]
fn features_are_added_renamed_widened_and_retired() {
    let catalog = weather();
    let added = alter(&catalog, &json!({"add": [{"name": "gust", "type": "float32"}]}));
    assert_eq!(names(&added), named(&[(1, "temp"), (2, "wind"), (3, "code"), (4, "gust")]));
    assert_eq!(added.schema_version, catalog.schema_version + 1);
    assert_eq!(added.table("weather").expect("there").shape, added.schema_version);

    let swapped = alter(&added, &json!({"rename": {"temp": "wind", "wind": "temp"}}));
    assert_eq!(names(&swapped), named(&[(1, "wind"), (2, "temp"), (3, "code"), (4, "gust")]));

    // Names are those before the change; the name given up is free in the same change.
    let body = json!({"rename": {"gust": "gusts"}, "widen": [{"name": "gust", "type": "float64"}], "add": [{"name": "gust", "type": "int8"}]});
    let moved = alter(&swapped, &body);
    assert_eq!(names(&moved).last(), Some(&(5, "gust".to_owned())));
    assert_eq!(moved.table("weather").expect("there").feature("gusts").expect("there").data_type, DataType::Float64);

    let retired = alter(&moved, &json!({"retire": ["gust", "code"]}));
    let table = retired.table("weather").expect("there");
    assert_eq!(table.retired.iter().map(|feature| feature.id).collect::<Vec<_>>(), [5, 3]);
    assert!(table.feature_by_id(5).is_some() && table.feature("gust").is_err());

    // A name may come back as another feature, and a retired feature may still be purged.
    let back = alter(&retired, &json!({"add": [{"name": "gust", "type": "utf8"}]}));
    let purged = alter(&back, &json!({"retire": ["code"], "purge": true}));
    let table = purged.table("weather").expect("there");
    assert_eq!((table.purged.as_slice(), table.retired.len()), (&[3_u32][..], 1));
    let purged = alter(&purged, &json!({"retire": ["temp"], "purge": true}));
    assert_eq!(purged.table("weather").expect("there").purged, [3, 2]);
}

#[test]
fn settings_are_set_and_set_back() {
    let catalog = weather();
    let shape = catalog.table("weather").expect("there").shape;
    let body = json!({"set": {"max_age": "8h", "retention": {"keep_knowledge": "90d"}, "hot_window": "0s", "owner": "me",
        "description": "d", "tags": ["t"]}});
    let set = alter(&catalog, &body);
    let described = describe_table(&set, "weather").expect("there");
    assert_eq!(described["max_age"], json!("8h"));
    assert_eq!(described["retention"], json!({"keep_events": "30d", "keep_knowledge": "90d"}));
    assert_eq!((&described["hot_window"], set.table("weather").expect("there").hot_window), (&json!("0s"), Some(0)));
    assert_eq!(
        (&described["owner"], &described["description"], &described["tags"]),
        (&json!("me"), &json!("d"), &json!(["t"]))
    );
    // What a write is proven against did not change.
    assert_eq!(set.table("weather").expect("there").shape, shape);
    let back = alter(
        &set,
        &json!({"set": {"max_age": "none", "max_future_skew": null, "retention": {"keep_events": "none"}, "hot_window": null,
            "tags": []}}),
    );
    let table = back.table("weather").expect("there");
    assert_eq!((table.max_age, table.max_future_skew), (None, Some(MAX_FUTURE_SKEW_DEFAULT)));
    assert_eq!((table.keep_events, table.keep_knowledge, table.hot_window), (None, Some(7_776_000_000_000), None));
    assert!(table.shape > shape);
}

#[test]
fn what_changes_nothing_is_no_change() {
    let catalog = weather();
    for body in [
        json!({}),
        json!({"set": {"max_age": "6h"}}),
        json!({"widen": [{"name": "temp", "type": "double"}]}),
        json!({"rename": {"temp": "temp"}}),
    ] {
        let change = Change::parse("alter_table", &with_table(&body)).expect("it is a change");
        assert_eq!(change.apply(&catalog).expect("it may be asked for"), None, "{body}");
    }
}

#[test]
fn a_wrong_alteration_is_refused() {
    let catalog = weather();
    let cases = [
        (json!({"drop": ["temp"]}), Kind::Invalid, "alter_table has no field `drop`; its fields are table, add, widen"),
        (
            json!({"add": [{"name": "temp", "type": "int8"}]}),
            Kind::AlreadyExists,
            "table `weather` has a feature `temp`; give the new one another name",
        ),
        (
            json!({"add": [{"name": "observed", "type": "int8"}]}),
            Kind::Invalid,
            "would be the event-time column and a feature",
        ),
        (
            json!({"add": [{"name": "x", "type": "int8", "default": "y"}]}),
            Kind::Invalid,
            "default of feature `x`: \"y\" is no int8",
        ),
        (json!({"rename": {"temp": "wind"}}), Kind::Invalid, "the column `wind` would be a feature twice"),
        (json!({"rename": {"temp": "origin"}}), Kind::Invalid, "would be a key column of the entity and a feature"),
        (
            json!({"rename": {"temp": "kind"}}),
            Kind::Invalid,
            "`kind` is no feature name: it is a column of every history",
        ),
        (json!({"rename": {"temp": 5}}), Kind::Invalid, "rename gives `temp` a new name, a string"),
        (
            json!({"rename": ["temp"]}),
            Kind::Invalid,
            "`rename` of alter_table is an object of old names and new names, not an array",
        ),
        (
            json!({"rename": {"x": "y"}}),
            Kind::NotFound,
            "table `weather` has no feature `x`; the features of `weather` are `temp`, `wind`, `code`",
        ),
        (
            json!({"widen": [{"name": "wind", "type": "int16"}]}),
            Kind::Invalid,
            "feature `wind` cannot be widened from int32 to int16: not every value would be kept",
        ),
        (json!({"widen": [{"name": "code", "type": "int16"}]}), Kind::Invalid, "cannot be widened from utf8 to int16"),
        (json!({"widen": [{"name": "x", "type": "int16"}]}), Kind::NotFound, "has no feature `x`"),
        (json!({"widen": [{"name": "wind"}]}), Kind::Invalid, "widen needs the field `type`"),
        (
            json!({"widen": [{"name": "wind", "to": "int64"}]}),
            Kind::Invalid,
            "widen has no field `to`; its fields are name, type",
        ),
        (json!({"retire": ["x"]}), Kind::NotFound, "has no feature `x`"),
        (json!({"retire": ["temp", "temp"]}), Kind::Invalid, "feature `temp` is retired twice"),
        (
            json!({"retire": ["temp"], "rename": {"temp": "t"}}),
            Kind::Invalid,
            "feature `temp` cannot be retired and changed at once",
        ),
        (json!({"retire": "temp"}), Kind::Invalid, "`retire` of alter_table is an array, not a string"),
        (
            json!({"purge": true}),
            Kind::Invalid,
            "purge removes the bytes of the features in `retire`, which names none",
        ),
        (
            json!({"set": {"event_time": "x"}}),
            Kind::Invalid,
            "set has no field `event_time`; its fields are max_age, max_future_skew, retention, hot_window",
        ),
        (json!({"set": {"hot_window": "x"}}), Kind::Invalid, "hot_window: `x` is no duration"),
        (json!({"set": {"max_age": "x"}}), Kind::Invalid, "max_age: `x` is no duration"),
        (json!({"set": {"retention": {"keep_events": "0d"}}}), Kind::Invalid, "keep_events of 0 would keep nothing"),
        (json!({"set": {"tags": vec!["t"; 33]}}), Kind::Invalid, "has 33 tags, at most 32"),
    ];
    for (body, kind, expected) in cases {
        let error = refused(&catalog, "alter_table", &with_table(&body));
        assert!(error.message().contains(expected), "{body}: {error}");
        assert_eq!(error.kind(), kind, "{body}");
    }
    assert_eq!(refused(&catalog, "alter_table", &json!({"table": "x"})).kind(), Kind::NotFound);
    assert!(refused(&catalog, "alter_table", &json!({})).message().contains("alter_table needs the field `table`"));
}
