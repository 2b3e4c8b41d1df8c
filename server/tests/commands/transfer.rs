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

const BAD_HEADER: &str = "bad_file,bad_row,bad_by,bad_column,bad_reason,user_id,happened,event,clicks,score,note\n";

#[test]
fn what_cannot_be_stored_is_told_before_anything_is_sent_and_all_others_are_loaded() {
    let place = Place::serving(&[]);
    place.declare(&["events"]);
    // One row that does not read, a line of another length, and many that the server would refuse.
    let text = lines(1000, 11).replacen(",e350,1050,", ",e350,many,", 1);
    let far: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(line, text)| match line {
            450 => format!("{text},and,more"),
            451 | 601..=700 => text.replace("2024-03", "2999-03"),
            _ => text.to_owned(),
        })
        .collect();
    let file = place.file("rows.csv", &(far.join("\n") + "\n"));
    let import = [&["import", "events", &file, "--batch-rows", "100"], &MAPPED[..]].concat();
    let stopped = place.refused(&import);
    for words in [
        "103 rows cannot be stored, so nothing was imported",
        "rows.csv, line 352: column clicks: \"many\" is no int64",
        "rows.csv, line 451: the line has 9 fields, the header has 7",
        "rows.csv, line 452: column happened: the event time 2999-",
        ", and 100 more like it",
        "--bad-rows",
    ] {
        assert!(stopped.contains(words), "{words}: {stopped}");
    }
    assert_eq!(place.history("events").len(), 0, "what is mended has changed nothing");
    let bad = place.name("bad.csv");
    let with_file = [&import[..], &["--bad-rows", &bad]].concat();
    let said = place.partly(&with_file);
    assert!(said.contains("897 rows") && said.contains("103 refused") && said.contains("that stays"), "{said}");
    let rows = place.history("events");
    assert_eq!(rows.len(), 897);
    let refused = std::fs::read_to_string(&bad).unwrap();
    assert!(refused.starts_with(BAD_HEADER), "{refused}");
    assert_eq!(refused.lines().count(), 104, "{refused}");
    assert!(refused.contains(&format!("{file},352,check,clicks,\"\"\"many\"\" is no int64\",")), "{refused}");
    // Again: everything is there already, and the file is the same.
    let said = place.partly(&with_file);
    assert!(said.contains("events: 0 rows") && said.contains("had been sent before"), "{said}");
    assert!(place.history("events") == rows);
    assert_eq!(std::fs::read_to_string(&bad).unwrap().lines().count(), 104);
    // The refused rows, mended, go in as they are; the file of another import's rows stays.
    let mended = refused.replace("2999-03", "2024-04").replace(",many,", ",1050,").replace(",1350,", ",x,");
    let mended = place.file("mended.csv", &mended);
    let said = place.partly(&["import", "events", &mended, "--bad-rows", &bad]);
    assert!(said.contains("102 rows") && said.contains("1 refused") && said.contains("passed over: bad_by"), "{said}");
    assert_eq!(place.history("events").len(), 999);
    assert_eq!(std::fs::read_to_string(&bad).unwrap().lines().count(), 105, "one is of the mended file");
    let other = place.file("other.csv", "a,b\n1,2\n");
    let wrong = place.refused(&[&import[..], &["--bad-rows", &other]].concat());
    assert!(wrong.contains("name another file"), "{wrong}");
}

/// An acknowledgement lists a thousand rows, and those that nobody has read yet are merged.
#[test]
fn every_refused_row_is_in_the_file_however_many_there_are() {
    let place = Place::serving(&[]);
    place.declare(&["events"]);
    let mut text = "user_id,happened,event\n".to_owned();
    for row in 0..20_000 {
        let user = if row % 2 == 0 { String::new() } else { row.to_string() };
        writeln!(text, "{user},2024-01-01T00:00:00Z,e{row}").unwrap();
    }
    let (file, bad) = (place.file("rows.csv", &text), place.name("bad.csv"));
    let said = place.partly(&["import", "events", &file, "--bad-rows", &bad, "--batch-rows", "50"]);
    assert!(said.contains("events: 10,000 rows") && said.contains("10,000 refused"), "{said}");
    assert!(said.contains("column user_id: a key is never null, and 9999 more like it"), "{said}");
    assert_eq!(std::fs::read_to_string(&bad).unwrap().lines().count(), 10_001);
}

#[test]
fn an_import_that_the_server_stopped_goes_on_and_doubles_nothing() {
    let place = Place::serving(&[]);
    place.declare(&["events"]);
    let client = place.client();
    let erase = json!({"entity": "user", "entities": {"user_id": [99]}, "block": true});
    place.runtime.block_on(client.action("erase", &erase)).unwrap();
    let text = lines(1000, 11).replacen("\n9,2024-03-15T14:00:00Z,", "\n99,2024-03-15T14:00:00Z,", 1);
    assert!(text.contains("\n99,"), "one row is of a blocked user");
    let file = place.file("rows.csv", &text);
    let import = [&["import", "events", &file, "--batch-rows", "100"], &MAPPED[..]].concat();
    let stopped = place.refused(&import);
    assert!(
        stopped.contains("was erased with \"block\":true") && stopped.contains("go on where it stopped"),
        "{stopped}"
    );
    let before = place.history("events").len();
    assert!(
        before > 0 && before < 1000 && before.is_multiple_of(100),
        "whole batches before it were applied: {before}"
    );
    let bad = place.name("bad.csv");
    let with_file = [&import[..], &["--bad-rows", &bad]].concat();
    let said = place.partly(&with_file);
    let words = format!("{before} had been sent before, 1 refused");
    assert!(said.contains(&format!("events: {} rows", 999 - before)) && said.contains(&words), "{said}");
    assert_eq!(place.history("events").len(), 999);
    let refused = std::fs::read_to_string(&bad).unwrap();
    assert!(refused.lines().count() == 2 && refused.contains(",server,user_id,"), "{refused}");
    // Nobody tells of that row again, so it must stay in the file.
    place.done(&with_file);
    assert_eq!((place.history("events").len(), std::fs::read_to_string(&bad).unwrap()), (999, refused));
}

#[test]
fn csv_is_what_it_says_or_an_error_with_its_line() {
    let place = Place::serving(&[]);
    place.declare(&["events", "columns", "packed"]);
    let header = "user_id,happened,event,note\n";
    let row = |number: usize, note: &str| format!("{number},2024-01-01T00:00:00Z,e{number},{note}\n");
    let many: String = (1..=3000).map(|number| row(number, if number == 2000 { "\"24 inch" } else { "a" })).collect();
    let open = place.refused(&["import", "events", &place.file("open.csv", &(header.to_owned() + &many))]);
    assert!(open.contains("open.csv: line 2001: the quote that opens there is never closed"), "{open}");
    let twice = place.file("twice.csv", "user_id,happened,event,note,note\n1,2024-01-01T00:00:00Z,e,a,b\n");
    let twice = place.refused(&["import", "events", &twice]);
    assert!(twice.contains("two columns are called \"note\""), "{twice}");
    let binary = place.path("binary.csv");
    std::fs::write(&binary, [header.as_bytes(), b"1,2024-01-01T00:00:00Z,e,\xff\n"].concat()).unwrap();
    let binary = place.refused(&["import", "events", binary.to_str().unwrap()]);
    assert!(binary.contains("line 2: the line is not UTF-8"), "{binary}");
    assert_eq!(place.history("events").len(), 0);
    // Quotes, line ends and what stands inside of them.
    let quoted = "1,2024-01-01T00:00:00Z,e1,\"a \"\"b\"\",\nc\"\r\n2,2024-01-01T00:00:00Z,e2,24\" x\r\n\n";
    place.done(&["import", "events", &place.file("quoted.csv", &(header.replace('\n', "\r\n") + quoted))]);
    let rows = place.history("events");
    assert!(rows.len() == 2 && rows[0].contains("note=a \"b\",\nc") && rows[1].contains("note=24\" x"), "{rows:?}");
    // Without a header, with a value for all rows, with whole numbers as times.
    let bare = place.file("bare.csv", "1,1704067200,7\n2,1704067200,8.0\n");
    let flags = ["--columns", "user_id,happened,clicks", "--set", "event=x", "--time-unit", "s"];
    place.done(&[&["import", "columns", &bare], &flags[..]].concat());
    let rows = place.history("columns");
    assert!(
        rows[0].contains("event=x") && rows[0].contains("2024-01-01T00:00:00") && rows[1].contains("clicks=8"),
        "{rows:?}"
    );
    let unit = place.refused(&["import", "columns", &bare, "--columns", "user_id,happened,clicks", "--set", "event=x"]);
    assert!(unit.contains("line 1: column happened: \"1704067200\" is no timestamp[us, UTC]"), "{unit}");
    let both = place.refused(&[&["import", "columns", &bare], &flags[..], &["--set", "clicks=1"]].concat());
    assert!(both.contains("the file has a column clicks"), "{both}");
    // Packed.
    let plain = header.to_owned() + &row(1, "a") + &row(2, "b");
    for ending in ["csv.gz", "csv.zst"] {
        let path = place.name(&format!("rows.{ending}"));
        let packed = match ending {
            "csv.gz" => {
                let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                std::io::Write::write_all(&mut packer, plain.as_bytes()).unwrap();
                packer.finish().unwrap()
            }
            _ => zstd::encode_all(plain.as_bytes(), 3).unwrap(),
        };
        std::fs::write(&path, &packed).unwrap();
        assert!(place.done(&["import", "packed", &path]).contains("packed: 2 rows"));
        std::fs::write(&path, &packed[..packed.len() - 5]).unwrap();
        place.refused(&["import", "packed", &path]);
    }
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
