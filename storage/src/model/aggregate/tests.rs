//! Tests of declarations of aggregates.

use serde_json::{Value, json};

use crate::error::Kind;
use crate::model::catalog::Catalog;
use crate::model::declare::tests::{apply, refused};
use crate::model::describe::describe_table;

/// A table of events with these aggregates.
fn plays(aggregates: &Value) -> Value {
    json!({"table": "plays", "entity": "user", "event_time": "at", "row_id": [{"name": "event", "type": "utf8"}],
        "features": [{"name": "item", "type": "int64"}, {"name": "action", "type": "utf8"},
            {"name": "seconds", "type": "float64"}, {"name": "paid", "type": "decimal128(10, 2)"},
            {"name": "tags", "type": "list<utf8>"}],
        "aggregates": aggregates})
}

fn users() -> Catalog {
    let body = json!({"entity": "user", "key": [{"name": "user", "type": "int64"}]});
    apply(&Catalog::default(), "create_entity", &body)
}

fn declared(aggregates: &Value) -> Catalog {
    apply(&users(), "create_table", &plays(aggregates))
}

fn altered(catalog: &Catalog, mut body: Value) -> Catalog {
    body["table"] = json!("plays");
    apply(catalog, "alter_table", &body)
}

fn outputs(catalog: &Catalog) -> Vec<(String, String)> {
    let described = describe_table(catalog, "plays").expect("it is there");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let outputs = described["outputs"].as_array().cloned().unwrap_or_default();
    outputs.iter().map(|output| (text(&output["name"]), text(&output["type"]))).collect()
}

#[test]
fn what_is_described_can_be_declared_again_and_is_the_same() {
    let aggregates = json!([
        {"name": "plays", "function": "count", "where": {"action": "play", "seconds": {"gt": 0.5, "le": 9.0}},
            "windows": ["10m", "lifetime"], "delay": "1h"},
        {"name": "watched", "function": "sum", "of": "seconds", "windows": ["7d"], "default": 0.0},
        {"name": "items", "function": "sum", "of": "item", "windows": ["7d"], "type": "decimal128(38, 0)"},
        {"name": "recent", "function": "last", "of": ["item", "at", "event"], "n": 50, "distinct": true, "nulls": "keep",
            "windows": [{"window": "30d", "name": "history"}], "description": "what was played", "tags": ["a"]},
        {"name": "kinds", "function": "count", "where": {"action": {"in": ["a", "b"], "is_null": false}}, "windows": ["1d"]},
    ]);
    let catalog = declared(&aggregates);
    let described = describe_table(&catalog, "plays").expect("it is there");
    let again = declared(&described["aggregates"]);
    assert_eq!(catalog.table("plays").expect("there"), again.table("plays").expect("there"));
    let stored = serde_json::to_string(&catalog).expect("JSON");
    assert_eq!(serde_json::from_str::<Catalog>(&stored).expect("a catalog"), catalog);
    let expected = [
        ("plays_10m", "int64"),
        ("plays_lifetime", "int64"),
        ("watched_7d", "float64"),
        ("items_7d", "decimal128(38, 0)"),
        ("history", "list<struct<item: int64, at: timestamp[us, UTC], event: utf8>>"),
        ("kinds_1d", "int64"),
    ];
    let found = outputs(&catalog);
    let found: Vec<(&str, &str)> = found.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_table_without_aggregates_is_stored_and_described_as_before() {
    let mut body = plays(&json!([]));
    body.as_object_mut().expect("an object").remove("aggregates");
    let catalog = apply(&users(), "create_table", &body);
    assert!(!serde_json::to_string(&catalog).expect("JSON").contains("aggregates"));
    let described = describe_table(&catalog, "plays").expect("it is there");
    assert!(described.get("aggregates").is_none() && described.get("outputs").is_none());
}

#[test]
fn what_cannot_be_reckoned_is_refused_by_the_field_that_says_it() {
    let count = |more: Value| {
        let mut aggregate = json!({"name": "a", "function": "count", "windows": ["1h"]});
        more.as_object().expect("an object").iter().for_each(|(field, value)| aggregate[field] = value.clone());
        aggregate
    };
    for (aggregate, words) in [
        (count(json!({"function": "median"})), "there is no function `median`"),
        (count(json!({"windows": []})), "windows names none"),
        (count(json!({"windows": ["1h", "60m"]})), "`1h` and `60m` are the same"),
        (count(json!({"windows": ["1us"]})), "`1us` is not from 1ms"),
        (count(json!({"windows": ["soon"]})), "windows: `soon` is no duration"),
        (count(json!({"of": "nothing"})), "of: table `plays` has no feature `nothing`"),
        (count(json!({"of": "at"})), "of events or of the cells of a feature"),
        (count(json!({"function": "sum", "of": "action"})), "`action` is utf8"),
        (count(json!({"function": "sum"})), "of names 0 columns, the function takes 1"),
        (count(json!({"function": "avg", "of": ["item", "seconds"]})), "of names 2 columns"),
        (count(json!({"function": "max", "of": "tags"})), "`tags` is list<"),
        (
            count(json!({"function": "sum", "of": "seconds", "type": "decimal128(38, 0)"})),
            "cannot be decimal128(38, 0)",
        ),
        (count(json!({"type": "int64"})), "type is for sum"),
        (count(json!({"n": 3})), "n, distinct and nulls are for first and last"),
        (count(json!({"function": "last", "of": "item", "n": 0})), "from 1 to 1000"),
        (count(json!({"function": "last", "of": "item", "distinct": true})), "distinct needs n"),
        (count(json!({"function": "last", "of": "item", "nulls": "drop"})), "nulls is \"keep\""),
        (count(json!({"where": {"action": null}})), "where: `action`: null is no value"),
        (count(json!({"where": {"action": {"like": "a"}}})), "where: `action`: there is no `like`"),
        (count(json!({"where": {"action": {"in": []}}})), "in takes an array of 1 to"),
        (count(json!({"where": {"item": "many"}})), "where: `item`"),
        (count(json!({"where": {"tags": ["a"]}})), "`tags` is not compared"),
        (count(json!({"where": {"color": 1}})), "where: table `plays` has no feature `color`"),
        (count(json!({"default": "none"})), "default"),
        (count(json!({"function": "last", "of": "item", "n": 2, "default": [1]})), "default is not for lists"),
        (count(json!({"delay": "40000d"})), "delay is at most"),
        (count(json!({"by": "action"})), "has no field `by`"),
        (count(json!({"name": "A"})), "is no aggregate name"),
        (
            count(json!({"windows": [{"window": "1h", "name": "item"}]})),
            "`item` would be a feature and an answer of an aggregate",
        ),
    ] {
        let error = refused(&users(), "create_table", &plays(&json!([aggregate])));
        let is_refused = matches!(error.kind(), Kind::Invalid | Kind::NotFound);
        assert!(is_refused && error.message().contains(words), "{aggregate}: {error}");
        let is_named = error.message().contains("`a`") || words.contains("name") || words.contains("would be");
        assert!(is_named, "{aggregate}: {error}");
    }
}

#[test]
fn inputs_may_be_renamed_and_widened_but_not_retired() {
    let catalog = declared(&json!([{"name": "plays", "function": "sum", "of": "item", "where": {"action": "play"},
        "windows": ["1d"]}]));
    let renamed = altered(&catalog, json!({"rename": {"item": "thing", "action": "verb", "plays_1d": "plays_daily"}}));
    let described = describe_table(&renamed, "plays").expect("it is there");
    assert_eq!(
        (&described["aggregates"][0]["of"], &described["aggregates"][0]["where"]),
        (&json!("thing"), &json!({"verb": "play"}))
    );
    assert_eq!(described["aggregates"][0]["windows"], json!([{"window": "1d", "name": "plays_daily"}]));
    let error = refused(&renamed, "alter_table", &json!({"table": "plays", "retire": ["verb"]}));
    assert!(error.kind() == Kind::Precondition && error.message().contains("aggregate `plays`"), "{error}");
    let retired = altered(&renamed, json!({"retire": ["verb"], "retire_aggregates": ["plays"]}));
    assert!(outputs(&retired).is_empty());
    let error = refused(&retired, "alter_table", &json!({"table": "plays", "retire_aggregates": ["plays"]}));
    assert!(error.kind() == Kind::NotFound && error.message().contains("has no aggregate `plays`"), "{error}");
    let again =
        json!({"table": "plays", "add_aggregates": [{"name": "plays", "function": "count", "windows": ["1d"]}]});
    let error = refused(&renamed, "alter_table", &again);
    assert!(error.kind() == Kind::AlreadyExists && error.message().contains("no aggregate changes"), "{error}");
    assert_eq!(
        apply(&retired, "alter_table", &again).table("plays").expect("there").aggregates[0].id,
        7,
        "ids are not used again"
    );
}

#[test]
fn a_moment_by_itself_is_a_value_and_not_an_object_of_tests() {
    let mut body = plays(&json!([{"name": "a", "function": "count", "windows": ["1d"],
        "where": {"until": {"us": 5}, "since": {"gt": {"us": 7}}}}]));
    let times = ["until", "since"].map(|name| json!({"name": name, "type": "timestamp[us, UTC]"}));
    body["features"].as_array_mut().expect("features").extend(times);
    let catalog = apply(&users(), "create_table", &body);
    let described = describe_table(&catalog, "plays").expect("it is there");
    assert_eq!(described["aggregates"][0]["where"], json!({"until": {"us": 5}, "since": {"gt": {"us": 7}}}));
}

#[test]
fn a_lifetime_needs_all_events() {
    let mut body = plays(&json!([{"name": "a", "function": "count", "windows": ["lifetime"]}]));
    body["retention"] = json!({"keep_events": "30d"});
    let error = refused(&users(), "create_table", &body);
    assert!(error.message().contains("aggregate `a`: a lifetime window needs all events"), "{error}");
    let catalog = declared(&json!([{"name": "a", "function": "count", "windows": ["lifetime"]}]));
    let error =
        refused(&catalog, "alter_table", &json!({"table": "plays", "set": {"retention": {"keep_events": "30d"}}}));
    assert!(error.message().contains("aggregate `a`"), "{error}");
}
