//! Import and export: what one writes the other takes, in every format, and nothing twice.

use std::fmt::Write;

use firn_client::wire::{Put, Verb};
use serde_json::json;

use super::{Place, identities, rows_of};

/// The lines of a CSV file of `users` users with `rows` rows.
fn lines(rows: usize, users: usize) -> String {
    let mut text = "user_id,time,event,clicks,score,note,else\n".to_owned();
    for row in 0..rows {
        let (user, day, hour) = (row % users, 1 + row / 24 % 28, row % 24);
        let note = if row % 5 == 0 { String::new() } else { format!("\"a, {row}\"") };
        writeln!(text, "{user},2024-03-{day:02}T{hour:02}:00:00Z,e{row},{},{}.5,{note},x", row * 3, row).unwrap();
    }
    text
}

const MAPPED: [&str; 2] = ["--map", "happened=time"];

#[test]
fn an_export_of_history_is_imported_as_the_same_table() {
    let place = Place::serving(&["--no-mmap"]);
    place.declare(&["first", "by_parquet", "by_csv", "by_arrow"]);
    let file = place.file("rows.csv", &lines(500, 7));
    let said = place.done(&[&["import", "first", &file], &MAPPED[..]].concat());
    assert!(said.contains("passed over: else") && said.contains("first: 500 rows"), "{said}");
    // Deletes, retracts of rows and of cells, a partial row, an explicit null, a correction.
    place.put(Put { verb: Verb::Delete, ..Put::write("first") }, &identities(&[3], &[474_900], None));
    let retract = |features| Put { verb: Verb::Retract { features }, ..Put::write("first") };
    place.put(retract(None), &identities(&[1, 2], &[474_801, 474_802], Some(&[Some("e1"), Some("e2")])));
    place.put(retract(Some(vec!["note".to_owned()])), &identities(&[4], &[474_804], Some(&[Some("e4")])));
    let partial = place.file(
        "partial.csv",
        "user_id,happened,event,clicks\n5,2024-03-20T00:00:00Z,late,\n6,2024-03-20T01:00:00Z,e6,9\n",
    );
    place.done(&["import", "first", &partial]);
    place.done(&[
        "import",
        "first",
        &place.file(
            "absent.csv",
            "user_id,happened,event,clicks,note\n5,2024-03-21T00:00:00Z,a,1,\n5,2024-03-21T00:00:00Z,b,,x\n",
        ),
        "--nulls-absent",
    ]);
    place.done(&["compact"]);
    let before = place.history("first");
    assert_eq!(before.len(), 500 + 1 + 2 + 1 + 2 + 2);
    for (table, ending) in [("by_parquet", "parquet"), ("by_csv", "csv"), ("by_arrow", "arrow")] {
        let file = place.name(&format!("history.{ending}"));
        let said = place.done(&["export", "first", "--to", &file, "--history"]);
        assert!(said.contains("508 rows"), "{said}");
        let said = place.done(&["import", table, &file, "--history", "--seal"]);
        assert!(said.contains("508 rows"), "{said}");
        assert_eq!(place.history(table), before, "{table}");
        let refused = place.refused(&["import", table, &file, "--history"]);
        assert!(refused.contains("is sealed"), "{refused}");
    }
    // The same answers, too: latest, and as of a moment.
    for bound in [&[][..], &["--as-of", "2024-03-10T12:00:00Z"]] {
        let answer = |table: &str| {
            let file = place.name("latest.arrow");
            place.done(&[&["export", table, "--to", &file, "--overwrite"], bound].concat());
            rows_of(file.as_ref(), &[])
        };
        assert_eq!(answer("by_csv"), answer("first"));
        assert!(answer("first").len() >= 6);
    }
}

#[test]
fn an_import_that_stopped_goes_on_and_doubles_nothing() {
    let place = Place::serving(&[]);
    place.declare(&["events"]);
    let mut text = lines(1000, 11);
    // One row that does not read, one that the server refuses, and a batch of which it refuses all.
    text = text.replacen(",e350,1050,", ",e350,many,", 1);
    let far: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(line, text)| match line {
            451 | 601..=700 => text.replace("2024-03", "2999-03"),
            _ => text.to_owned(),
        })
        .collect();
    let file = place.file("rows.csv", &(far.join("\n") + "\n"));
    let import = [&["import", "events", &file, "--batch-rows", "100"], &MAPPED[..]].concat();
    let stopped = place.refused(&import);
    assert!(stopped.contains("\"many\" is no Int64") && stopped.contains("--bad-rows"), "{stopped}");
    assert_eq!(place.history("events").len(), 300, "whole batches before the bad one were applied");
    let bad = place.name("bad.csv");
    let with_file = [&import[..], &["--bad-rows", &bad]].concat();
    let said = place.done(&with_file);
    assert!(
        said.contains("598 rows") && said.contains("300 had been sent before") && said.contains("102 refused"),
        "{said}"
    );
    let rows = place.history("events");
    assert_eq!(rows.len(), 898);
    let refused = std::fs::read_to_string(&bad).unwrap();
    assert!(refused.starts_with("bad_column,bad_reason,user_id,happened,event,clicks,score,note\n"), "{refused}");
    assert_eq!(refused.lines().count(), 103, "{refused}");
    assert!(refused.contains("\"\"many\"\" is no Int64") && refused.contains(",many,350.5,"), "{refused}");
    // Again: everything is there already.
    let said = place.done(&with_file);
    assert!(said.contains("events: 0 rows") && said.contains("had been sent before"), "{said}");
    assert_eq!(place.history("events"), rows);
    // The refused rows, mended, go in as they are.
    let mended = place.file("mended.csv", &refused.replace("2999-03", "2024-04").replace(",many,", ",1050,"));
    let said = place.done(&["import", "events", &mended]);
    assert!(said.contains("102 rows") && said.contains("passed over: bad_column, bad_reason"), "{said}");
    assert_eq!(place.history("events").len(), 1000);
}

/// The very first batch went out without the row that did not read, and nobody heard of it again.
#[test]
fn a_batch_with_a_row_that_does_not_read_is_not_sent_before_somebody_agrees() {
    let place = Place::serving(&[]);
    place.declare(&["events"]);
    let file = place
        .file("rows.csv", "user_id,happened,event,clicks\n1,2024-01-01T00:00:00Z,e,many\n2,2024-01-01T00:00:00Z,e,2\n");
    assert!(place.refused(&["import", "events", &file]).contains("\"many\" is no Int64"));
    assert_eq!(place.history("events").len(), 0);
    let bad = place.name("bad.csv");
    let said = place.done(&["import", "events", &file, "--bad-rows", &bad]);
    assert!(said.contains("1 rows") && said.contains("1 refused"), "{said}");
    assert_eq!(std::fs::read_to_string(bad).unwrap().lines().count(), 2);
}

#[test]
fn history_is_sorted_by_ingest_time_whatever_the_files_are() {
    let place = Place::serving(&[]);
    place.declare(&["sorted", "unsorted"]);
    let row = |number: usize, landed: usize| {
        format!("{},2024-01-01T00:00:00Z,e{number},{number},0,x,2024-02-{landed:02}T00:00:00Z\n", number % 3)
    };
    let header = "user_id,happened,event,clicks,score,note,landed\n";
    let sorted: String = (0..20).map(|number| row(number, 1 + number)).collect();
    let shuffled: String = (0..20).map(|number| row(number * 7 % 20, 1 + number * 7 % 20)).collect();
    let sorted = place.file("sorted.csv", &format!("{header}{sorted}"));
    let shuffled = place.file("shuffled.csv", &format!("{header}{shuffled}"));
    let history = ["--history", "--map", "ingest_time=landed", "--batch-rows", "8"];
    let missing = place.refused(&["import", "sorted", &sorted, "--history"]);
    assert!(missing.contains("--map ingest_time=COLUMN") && missing.contains("landed"), "{missing}");
    place.done(&[&["import", "sorted", &sorted], &history[..]].concat());
    let large = place.refused(&[&["import", "unsorted", &shuffled, "--sort-bytes-max", "100"], &history[..]].concat());
    assert!(large.contains("not sorted by landed") && large.contains("--sort-bytes-max"), "{large}");
    place.done(&[&["import", "unsorted", &shuffled], &history[..]].concat());
    assert_eq!(place.history("unsorted"), place.history("sorted"));
    assert!(place.history("sorted")[0].contains("ingest_time=2024-02-"));
}

#[test]
fn rich_types_go_through_parquet_and_arrow_and_csv_refuses_them() {
    let place = Place::serving(&[]);
    let client = place.client();
    let act = |name: &str, body: serde_json::Value| place.runtime.block_on(client.action(name, &body)).unwrap();
    act("create_entity", json!({"entity":"item","key":[{"name":"shop","type":"utf8"},{"name":"day","type":"date32"}]}));
    let features = json!([{"name":"vector","type":"fixed_size_list<float32>[2]"},{"name":"tags","type":"list<utf8>"},
        {"name":"price","type":"decimal128(10, 2)"},{"name":"color","type":"dictionary<values=utf8, indices=int32>"}]);
    for table in ["rich", "copy"] {
        act("create_table", json!({"table":table,"entity":"item","event_time":"at","features":features}));
    }
    let source = place.file(
        "prices.csv",
        "shop,day,at,price,color\na,2024-01-01,2024-01-02T00:00:00.5Z,12.50,red\nb,2024-01-02,2024-01-02 00:00:00,,\n",
    );
    // A CSV file may have some of the features, as long as it has none that it cannot hold.
    place.done(&["import", "rich", &source]);
    let refused = place.refused(&["export", "rich", "--to", &place.name("rich.csv"), "--history"]);
    assert!(refused.contains("do not go into CSV; use Parquet or Arrow"), "{refused}");
    let parquet = place.name("rich.parquet");
    place.done(&["export", "rich", "--to", &parquet, "--history"]);
    let there = place.refused(&["export", "rich", "--to", &parquet]);
    assert!(there.contains("--overwrite"), "{there}");
    place.done(&["import", "copy", &parquet, "--history"]);
    assert_eq!(place.history("copy"), place.history("rich"));
    let latest = place.name("latest.parquet");
    let said = place.done(&["export", "rich", "--to", &latest, "--features", "price,color"]);
    assert!(said.contains("2 rows"), "{said}");
    // A snapshot has no event time of its own; one is given.
    let missing = place.refused(&["import", "rich", &latest]);
    assert!(missing.contains("no column at"), "{missing}");
    let said = place.done(&["import", "rich", &latest, "--at", "2024-02-01T00:00:00Z"]);
    assert!(said.contains("rich: 2 rows"), "{said}");
}

#[test]
fn wrong_commands_are_told_how_to_be_right() {
    let place = Place::serving(&[]);
    place.declare(&["events"]);
    let file = place.file("rows.csv", "user_id,happened,event\n1,2024-01-01T00:00:00Z,e\n");
    for (arguments, words) in [
        (&["import", "nothing", &file][..], "nothing"),
        (&["import", "events", "rows.data"], "--format"),
        (&["import", "events", "absent.csv"], "could not open"),
        (&["import", "events", &file, "--map", "klicks=event"], "has no column klicks"),
        (&["import", "events", &file, "--map", "clicks"], "NAME=COLUMN"),
        (&["import", "events", &file, "--map", "clicks=klicks"], "the file has no column klicks"),
        (&["import", "events", &file, "--at", "yesterday"], "2026-01-31T12:00:00Z"),
        (&["import", "events", &file, "--batch-rows", "0"], "--batch-rows"),
        (&["export", "events", "--to", "rows.data"], "--format"),
        (&["export", "events", "--to", "never.parquet", "--as-of", "yesterday"], "as_of"),
        (&["export", "nothing", "--to", "never.parquet"], "nothing"),
    ] {
        let said = place.refused(arguments);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}
