//! The shell: scripts, formats and bounds, against a server and over a directory.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{Place, firn, text};

const DECLARE: &str = "CREATE TABLE weather (origin VARCHAR PRIMARY KEY, observed TIMESTAMP NOT NULL, temp DOUBLE) \
                       WITH (event_time = 'observed');";
const INSERT: &str = "INSERT INTO weather VALUES ('EWR', '2013-01-01T10:00:00Z', 39.5), ('JFK', \
                      '2013-01-01T11:00:00Z', NULL);";

/// Runs the shell with `script` as its standard input.
fn typed(place: &Place, script: &str) -> (String, String, Option<i32>) {
    let server = format!("grpc://127.0.0.1:{}", place.port);
    let mut shell = Command::new(env!("CARGO_BIN_EXE_firn"))
        .args(["sql", "--server", &server])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[test]
fn statements_are_run_and_their_answers_are_given_in_every_format() {
    let place = Place::serving(&[]);
    let said = place.done(&["sql", "-c", &format!("{DECLARE} {INSERT}"), "-c", "\\d weather"]);
    assert!(said.starts_with("done\nINSERT: 2 rows\n") && said.contains("│ temp        ┆ DOUBLE "), "{said}");
    let query = "SELECT origin, temp FROM weather ORDER BY origin";
    let table = "\
┌────────┬──────┐
│ origin ┆ temp │
╞════════╪══════╡
│ EWR    ┆ 39.5 │
│ JFK    ┆ NULL │
└────────┴──────┘
2 rows
";
    assert_eq!(place.done(&["sql", "-c", query]), table);
    assert_eq!(place.done(&["sql", "-c", query, "--format", "csv"]), "origin,temp\nEWR,39.5\nJFK,\n");
    let json = "{\"origin\":\"EWR\",\"temp\":39.5}\n{\"origin\":\"JFK\",\"temp\":null}\n";
    assert_eq!(place.done(&["sql", "-c", query, "--format", "json"]), json);
    let file = place.name("answer.parquet");
    place.done(&["sql", "-c", query, "--format", "parquet", "--output", &file]);
    assert!(std::fs::read(file).unwrap().starts_with(b"PAR1"));
    let refused = place.refused(&["sql", "-c", query, "--format", "parquet"]);
    assert!(refused.starts_with("error: ") && refused.contains("--output FILE"), "{refused}");
}

#[test]
fn bounds_hold_for_all_that_is_read() {
    let place = Place::serving(&[]);
    place.done(&["sql", "-c", DECLARE, "-c", INSERT]);
    let count = "SELECT count(*) AS rows FROM weather";
    for (arguments, rows) in [
        (&["--as-of", "2013-01-01T10:30:00Z", "-c", count][..], "1"),
        (&["-c", "\\as_of 2013-01-01T10:30:00Z", "-c", count], "1"),
        (&["-c", "\\as_of 2013-01-01T10:30:00Z", "-c", "\\as_of", "-c", count], "2"),
        (&["-c", "SET firn.as_of = '2013-01-01T09:00:00Z'", "-c", count], "0"),
    ] {
        let said = place.done(&[&["sql", "--format", "csv"], arguments].concat());
        assert_eq!(said, format!("rows\n{rows}\n"), "{arguments:?}");
    }
    let refused = place.refused(&["sql", "-c", "\\as_of yesterday", "-c", count]);
    assert!(refused.contains("`yesterday` is no time"), "{refused}");
    let refused = place.refused(&["sql", "--as-of", "2013-01-01T10:30:00Z", "-c", INSERT]);
    assert!(refused.starts_with("error: "), "{refused}");
}

#[test]
fn a_script_stops_at_its_first_error_and_tells_the_line() {
    let place = Place::serving(&[]);
    let (said, refused, code) = typed(&place, "\\format csv\nSELECT 1 AS a;\n\nSELECT\n nothing;\nSELECT 2 AS b");
    assert_eq!((said.as_str(), code), ("a\n1\n", Some(1)));
    assert!(refused.starts_with("error: line 4: "), "{refused}");
    let inner = place.file("inner.sql", "SELECT ';' AS a; -- fine\nSELECT 'never closed;");
    let outer = place.file("outer.sql", &format!("\\format csv\n\\i {inner}"));
    let refused = place.refused(&["sql", "--file", &outer]);
    let expected =
        format!("error: {outer}:2: {inner}:2: the quote in this statement is never closed, so nothing was run");
    assert_eq!(refused.trim_end(), expected);
    let endless = place.file("endless.sql", "");
    std::fs::write(&endless, format!("\\i {endless}")).unwrap();
    assert!(place.refused(&["sql", "--file", &endless]).contains("does"), "it ends");
    let refused = place.refused(&["sql", "-c", "\\tming"]);
    assert!(refused.contains("the nearest is \\timing"), "{refused}");
}

#[test]
fn a_directory_is_opened_without_a_server_and_left_whole() {
    let place = Place::new();
    let data = place.data();
    let local = |arguments: &[&str]| firn(&[&["sql", "--directory", data.to_str().unwrap()], arguments].concat());
    let refused = local(&["-c", "SELECT 1"]);
    assert!(text(&refused.stderr).contains("there is no directory"), "a mistyped name makes no database");
    std::fs::create_dir_all(&data).unwrap();
    let said = local(&["-c", DECLARE, "-c", INSERT]);
    assert!(said.status.success(), "{}", text(&said.stderr));
    let said = local(&["-c", "SELECT origin FROM weather ORDER BY origin", "--format", "csv"]);
    assert_eq!(text(&said.stdout), "origin\nEWR\nJFK\n");
    let refused = local(&["--server", "grpc://127.0.0.1:1", "-c", "SELECT 1"]);
    assert!(text(&refused.stderr).contains("leave one out"));
}
