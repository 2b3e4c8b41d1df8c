//! The answers of actions as a person reads them; `--json` gives them as they are.

use chrono::{DateTime, SecondsFormat};
use serde_json::Value;

use crate::print::{bytes, cell, count, list, table};

/// All entities.
pub(super) fn entities(answer: &Value) -> String {
    let row = |entity: &Value| {
        vec![cell(&entity["entity"]), columns(&entity["key"]), cell(&entity["bucket_by"]), cell(&entity["buckets"])]
    };
    let rows = items(&answer["entities"]).map(row).collect();
    table(&["entity", "key", "placed by", "buckets"], &[3], rows)
}

/// All tables.
pub(super) fn tables(answer: &Value) -> String {
    let fields = [
        ("table", "table"),
        ("entity", "entity"),
        ("features", "feature_count"),
        ("sealed", "sealed"),
        ("tags", "tags"),
        ("description", "description"),
    ];
    list(answer, "tables", &fields, &[2])
}

/// The declaration of a table.
pub(super) fn declaration(answer: &Value) -> String {
    let retention = &answer["retention"];
    let facts = [
        ("table", cell(&answer["table"])),
        ("description", cell(&answer["description"])),
        ("entity", cell(&answer["entity"])),
        ("event time", cell(&answer["event_time"])),
        ("row id", columns(&answer["row_id"])),
        ("max age", cell(&answer["max_age"])),
        ("max future skew", cell(&answer["max_future_skew"])),
        ("keeps events", cell(&retention["keep_events"])),
        ("keeps knowledge", cell(&retention["keep_knowledge"])),
        ("hot window", cell(&answer["hot_window"])),
        ("owner", cell(&answer["owner"])),
        ("tags", cell(&answer["tags"])),
        ("sealed", cell(&answer["sealed"])),
        ("schema version", cell(&answer["schema_version"])),
    ];
    let fields = [
        ("feature", "name"),
        ("type", "type"),
        ("max age", "max_age"),
        ("default", "default"),
        ("tags", "tags"),
        ("description", "description"),
    ];
    format!("{}\n\n{}", aligned(&facts), list(answer, "features", &fields, &[]))
}

/// What the server holds and does.
pub(super) fn status(answer: &Value) -> String {
    let memory = &answer["memory"];
    let totals = &answer["totals"];
    let size = |value: &Value| value.as_u64().map_or_else(String::new, bytes);
    let mut facts = vec![
        ("clock", time(&answer["clock"])),
        ("read position", cell(&answer["read_position"])),
        ("schema version", cell(&answer["schema_version"])),
        ("memtables", format!("{} of {}", size(&memory["memtable_bytes"]), size(&memory["memtable_bytes_max"]))),
        ("maps open", cell(&memory["maps_open"])),
        ("rows written", format!("{} in {} batches since the start", cell(&totals["rows"]), cell(&totals["batches"]))),
        ("rows read", cell(&totals["rows_read"])),
        ("flushes", cell(&totals["flushes"])),
        ("compactions", cell(&totals["compactions"])),
        ("stalls", cell(&totals["stalls"])),
        ("errors", format!("{} in the background", cell(&totals["background_errors"]))),
        (
            "damage",
            format!(
                "{} places found by the scrub in {} rounds",
                cell(&totals["scrub_damages"]),
                cell(&totals["scrubs"])
            ),
        ),
    ];
    let bucket = &answer["bucket"];
    if bucket.is_object() {
        let (epoch, durable) = (cell(&bucket["epoch"]), cell(&bucket["durable_position"]));
        let lacks = size(&bucket["backlog_bytes"]);
        facts.push(("bucket", format!("has all up to {durable}, lacks {lacks} of the log; epoch {epoch}")));
        if bucket["restore_bytes_left"].as_u64().is_some_and(|left| left > 0) {
            facts.push(("restore", format!("{} are still to come to the disk", size(&bucket["restore_bytes_left"]))));
        }
    }
    facts.extend(requests(&answer["bucket_requests"]));
    facts.extend(following(&answer["follower"]));
    let row = |of: &Value| {
        let number = |field: &str| cell(&of[field]);
        let sizes = [size(&of["segment_bytes"]), size(&of["memtable_bytes"])];
        let [on_disk, in_memory] = sizes;
        vec![
            number("table"),
            number("rows"),
            number("entities"),
            number("segments"),
            on_disk,
            number("packs"),
            in_memory,
            number("sealed"),
        ]
    };
    let header = ["table", "rows", "entities", "segments", "on disk", "packs", "in memory", "sealed"];
    let rows = items(&answer["tables"]).map(row).collect();
    format!("{}\n\n{}", aligned(&facts), table(&header, &[1, 2, 3, 4, 5, 6], rows))
}

/// What the bucket was asked for, if there is one.
fn requests(asked: &Value) -> Option<(&'static str, String)> {
    let [put, get, list, delete] = ["put", "get", "list", "delete"].map(|kind| cell(&asked[kind]));
    let [sent, received] =
        ["sent_bytes", "received_bytes"].map(|field| asked[field].as_u64().map_or_else(String::new, bytes));
    let told =
        format!("{put} put, {get} get, {list} list, {delete} delete since the start; sent {sent}, received {received}");
    asked.is_object().then_some(("requests", told))
}

/// How far a follower is, if it is one's status.
fn following(follower: &Value) -> Option<(&'static str, String)> {
    follower.is_object().then(|| {
        let (writer, epoch) = (cell(&follower["writer"]), cell(&follower["epoch"]));
        let seconds = follower["lag_us"].as_u64().unwrap_or(0) as f64 / 1e6;
        let failing = follower["error"].as_str().map(|error| format!("; failing: {error}")).unwrap_or_default();
        let last = time(&follower["ingest_time"]);
        (
            "follows",
            format!("{writer}, epoch {epoch}; behind by {seconds:.1} s at most; last commit of {last}{failing}"),
        )
    })
}

/// The receipt of an erase that was just done.
pub(super) fn receipt(answer: &Value) -> String {
    let entities = answer["entities"].as_u64().map_or_else(String::new, count);
    let blocked = if answer["block"] == true { "; later rows are refused" } else { "" };
    format!(
        "erased {entities} of {} at {}; the last byte went at {}{blocked}\n\n{}",
        cell(&answer["entity"]),
        time(&answer["erased_at"]),
        time(&answer["purged_at"]),
        table(&["from", "removed", "gone at"], &[1], tiers(answer).map(Vec::from).collect())
    )
}

/// From where the bytes of an erase went: each tier, how many files or objects, and when.
fn tiers(receipt: &Value) -> impl Iterator<Item = [String; 3]> {
    let of_tier = |name: &'static str| {
        let tier = &receipt["tiers"][name];
        tier.is_object().then(|| [name.to_owned(), cell(&tier["removed"]), time(&tier["gone_at"])])
    };
    ["disk", "bucket", "ice", "checkpoints"].into_iter().filter_map(of_tier)
}

/// The receipts of erases.
pub(super) fn receipts(answer: &Value) -> String {
    let row = |of: &Value| {
        let from: Vec<String> = tiers(of).map(|[name, removed, _]| format!("{name} {removed}")).collect();
        vec![time(&of["erased_at"]), cell(&of["entities"]), time(&of["purged_at"]), from.join(", ")]
    };
    let rows = items(&answer["receipts"]).map(row).collect();
    table(&["erased", "entities", "last byte gone", "removed from"], &[1], rows)
}

/// The checkpoints.
pub(super) fn checkpoints(answer: &Value) -> String {
    let row = |of: &Value| vec![cell(&of["checkpoint"]), time(&of["created_at"]), cell(&of["read_position"])];
    table(&["checkpoint", "created", "position"], &[], items(&answer["checkpoints"]).map(row).collect())
}

/// A checkpoint that was created.
pub(super) fn checkpoint(answer: &Value) -> String {
    let [name, position] = ["checkpoint", "read_position"].map(|field| cell(&answer[field]));
    format!("created {name} at {}, position {position}", time(&answer["created_at"]))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Names and types, with commas between.
fn columns(list: &Value) -> String {
    let column = |column: &Value| format!("{} {}", cell(&column["name"]), cell(&column["type"]));
    items(list).map(column).collect::<Vec<_>>().join(", ")
}

/// What is known, one fact per line; those that say nothing are left out.
fn aligned(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let told = facts.iter().filter(|(_, text)| !text.is_empty());
    told.map(|(name, text)| format!("{name:<width$}  {text}")).collect::<Vec<_>>().join("\n")
}

/// Microseconds as a time.
fn time(micros: &Value) -> String {
    let time = micros.as_i64().and_then(DateTime::from_timestamp_micros);
    time.map_or_else(String::new, |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn facts_that_say_nothing_are_left_out() {
        let answer = json!({"table": "weather", "entity": "airport", "event_time": "observed", "sealed": true,
            "features": [{"name": "temp", "type": "float64", "max_age": "3h", "default": null}]});
        let text = declaration(&answer);
        assert!(text.contains("sealed           yes") && !text.contains("owner"), "{text}");
        assert!(text.contains("temp"), "{text}");
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(time(&json!(1_356_998_400_000_000_i64)), "2013-01-01T00:00:00.000Z");
        assert_eq!(time(&Value::Null), "");
    }
}
