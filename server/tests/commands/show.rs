//! What people and machines see: aligned tables, JSON, and help that helps.

use serde_json::Value;

use super::{Place, firn, text};

#[test]
fn people_see_tables_and_machines_json() {
    let place = Place::serving(&[]);
    place.declare(&["events", "a_table_with_a_long_name"]);
    let file = place
        .file("rows.csv", "user_id,happened,event,clicks\n1,2024-01-01T00:00:00Z,e,1\n2,2024-01-01T00:00:00Z,e,1\n");
    place.done(&["import", "events", &file]);
    assert_eq!(place.done(&["flush"]).trim(), "done");
    for (command, words) in [
        (&["entities"][..], &["ENTITY", "user_id int64", "user"][..]),
        (&["tables"], &["TABLE", "FEATURES", "a_table_with_a_long_name", "yes", "no"]),
        (&["describe", "events"], &["event time       happened", "row id           event utf8", "FEATURE", "float64"]),
        (&["status"], &["read position", "ROWS", "ENTITIES", "events"]),
    ] {
        let said = place.done(command);
        for word in words {
            assert!(said.contains(word), "{command:?} does not say {word:?}:\n{said}");
        }
        let json = place.done(&[command, &["--json"]].concat());
        assert!(serde_json::from_str::<Value>(&json).unwrap().is_object(), "{json}");
    }
    let said = place.done(&["erase", "user", "user_id=1"]);
    assert!(said.contains("erased 1 of user at 20"), "{said}");
    assert!(place.refused(&["describe", "nothing"]).contains("nothing"));
}

#[test]
fn help_names_defaults_units_and_variables() {
    let help = |arguments: &[&str]| {
        let output = firn(arguments);
        assert!(output.status.success());
        text(&output.stdout)
    };
    let all = help(&["--help"]);
    for command in
        ["serve", "demo", "import", "export", "sql", "entities", "tables", "describe", "status", "verify", "repair"]
    {
        assert!(all.contains(&format!("\n  {command} ")), "{all}");
        let of = help(&[command, "--help"]);
        assert!(of.contains("Usage: firn") && of.contains("--help"), "{of}");
    }
    let serve = help(&["serve", "--help"]);
    for word in [
        "Data and network:",
        "A SIZE is",
        "--scrub-bytes-per-second <SIZE>",
        "FIRN_SCRUB_BYTES_PER_SECOND",
        "8MiB",
        "--no-mmap",
        "--insecure",
    ] {
        assert!(serve.contains(word), "{word}: {serve}");
    }
    // What help says of variables is true, and flags win over them.
    let with = |arguments: &[&str]| {
        let firn =
            std::process::Command::new(env!("CARGO_BIN_EXE_firn")).args(arguments).env("FIRN_READERS", "0").output();
        text(&firn.unwrap().stderr)
    };
    assert!(with(&["serve"]).contains("--readers (FIRN_READERS)"), "{}", with(&["serve"]));
    let unserved = with(&["serve", "--readers", "1", "--listen", "0.0.0.0:1"]);
    assert!(unserved.contains("--insecure"), "{unserved}");
    let import = help(&["import", "--help"]);
    assert!(import.contains("Examples:") && import.contains("--map <NAME=COLUMN>"), "{import}");
}
