//! Verify, repair and the scrub, on files that were damaged byte by byte.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{Place, firn, text};

/// Rows of the first import, and of all.
const BULK: usize = 9000;
const ALL: usize = BULK + 900;

/// A directory with every kind of file, whose server was killed.
fn filled() -> Place {
    let mut place = Place::serving(&[]);
    place.declare(&["events"]);
    let rows = |first: usize| {
        // The first file makes segments of several blocks.
        let last = if first == 0 { BULK } else { first + 300 };
        let lines = (first..last).map(|row| format!("{row},2024-01-01T00:00:00Z,e,{row},0.5,text\n"));
        format!("user_id,happened,event,clicks,score,note\n{}", lines.collect::<String>())
    };
    for (first, upkeep) in [(0, "compact"), (BULK, "flush"), (BULK + 300, "status"), (BULK + 600, "status")] {
        let file = place.file(&format!("rows{first}.csv"), &rows(first));
        place.done(&["import", "events", &file]);
        place.done(&[upkeep]);
    }
    place.kill();
    place
}

fn files(place: &Place, folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(place.data().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

fn run(place: &Place, arguments: &[&str]) -> (Option<i32>, String, String) {
    let data = place.name("data");
    let output = firn(&[arguments, &["--data", &data]].concat());
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn rows(place: &mut Place) -> usize {
    place.serve(&[]);
    let rows = place.history("events").len();
    place.kill();
    rows
}

#[test]
fn verify_names_damage_and_repair_keeps_what_is_whole() {
    let mut place = filled();
    let (code, said, _) = run(&place, &["verify"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("no damage"), "{said}");

    // Derived files are made again, and nothing is lost.
    for folder in ["packs", "dictionaries"] {
        let file = files(&place, folder).remove(0);
        // In the head, so that one block does not check and nothing that it holds is hurt.
        flip(&file, 40);
        let (code, said, error) = run(&place, &["verify", "--json"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(error.contains("firn repair"), "{error}");
        let report: Value = serde_json::from_str(&said).unwrap();
        let named = report["damages"][0]["file"].as_str().unwrap();
        assert!(file.ends_with(named), "{report}");
        assert!(report["damages"][0]["lost"].as_str().unwrap().starts_with("nothing"), "{report}");
        let (code, said, error) = run(&place, &["repair"]);
        assert_eq!(code, Some(0), "{said}{error}");
        assert_eq!(run(&place, &["verify"]).0, Some(0), "{folder}");
        assert_eq!(rows(&mut place), ALL, "{folder}");
    }

    // A segment is given up only on demand; until then everything else answers.
    let segment = files(&place, "segments").remove(0);
    flip(&segment, 100);
    let (code, said, _) = run(&place, &["repair"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("left as it is") && said.contains("--drop-damaged"), "{said}");
    assert!(segment.exists());
    let (code, said, error) = run(&place, &["repair", "--drop-damaged"]);
    assert_eq!(code, Some(0), "{said}{error}");
    assert!(said.contains("gave up segments/") && said.contains("kept damaged/"), "{said}");
    assert!(!segment.exists());
    let left = rows(&mut place);
    assert!((1..ALL).contains(&left), "{left}");
}

#[test]
fn a_cut_log_says_what_it_gives_up_and_never_numbers_commits_twice() {
    let mut place = filled();
    place.serve(&[]);
    let before = place.done(&["status", "--json"]);
    place.kill();
    let before: Value = serde_json::from_str(&before).unwrap();
    let log = files(&place, "wal").pop().unwrap();
    // The first of two records after the header of 64 bytes.
    flip(&log, 64 + 80);
    let (code, said, _) = run(&place, &["verify"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("wal/") && said.contains("at offset 64") && said.contains("the commits"), "{said}");
    let (code, said, _) = run(&place, &["repair", "--json"]);
    assert_eq!(code, Some(1), "{said}");
    let (code, said, error) = run(&place, &["repair", "--drop-damaged"]);
    assert_eq!(code, Some(0), "{said}{error}");
    assert!(said.contains("cut the log at wal/") && said.contains("are given up"), "{said}");
    place.serve(&[]);
    assert_eq!(place.history("events").len(), BULK + 300);
    let after: Value = serde_json::from_str(&place.done(&["status", "--json"])).unwrap();
    // A position that was answered before is still one of this database, and not yet to come.
    assert_ne!(after["read_position"], before["read_position"]);
    let file = place.file("again.csv", "user_id,happened,event,clicks\n50000,2024-01-01T00:00:00Z,e,1\n");
    place.done(&["import", "events", &file]);
    place.kill();
    assert_eq!(run(&place, &["verify"]).0, Some(0));
}

#[test]
fn a_lost_manifest_is_not_mended_by_guessing() {
    let place = filled();
    flip(&files(&place, "manifest").remove(0), 50);
    let (code, said, error) = run(&place, &["repair", "--drop-damaged"]);
    assert_eq!(code, Some(1), "{said}{error}");
    assert!(said.contains("restore manifest/ from a copy"), "{said}");
    let nowhere = firn(&["verify", "--data", "/nonexistent/data"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).contains("there is no directory"));
}

#[test]
fn verify_keeps_away_from_a_directory_that_is_served() {
    let mut place = Place::new();
    place.serve(&[]);
    let (code, _, error) = run(&place, &["verify"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("is open in another FirnDB"), "{error}");
}

fn metric(place: &Place, name: &str) -> u64 {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", place.metrics)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let line = answer.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

#[test]
fn a_running_server_finds_damage_and_names_the_file() {
    let mut place = filled();
    let segment = files(&place, "segments").remove(0);
    let others_answer = |at: usize| {
        flip(&segment, at);
        let (_, said, _) = run(&place, &["verify", "--json"]);
        let answers = said.contains("all others answer");
        if !answers {
            flip(&segment, at);
        }
        answers
    };
    // Opening reads some blocks; the scrub is for the others.
    let length = std::fs::metadata(&segment).unwrap().len() as usize;
    assert!((100..length).step_by(64 << 10).any(others_answer), "one block of {length} bytes is not read when opening");
    place.serve(&["--scrub-bytes-per-second", "64MiB"]);
    for _ in 0..500 {
        if metric(&place, "firn_engine_scrubs_total") > 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(metric(&place, "firn_engine_scrub_damages_total"), 1, "{}", place.log());
    assert!(metric(&place, "firn_engine_scrub_bytes_total") > 1000);
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(place.log().contains("the scrub found damage") && place.log().contains(name), "{}", place.log());
}
