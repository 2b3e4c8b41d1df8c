//! A server that is at home in a bucket: killed, its disk taken, and started again on an empty one.

use super::{Place, firn, text};

/// How often the disk is lost.
const ROUNDS: usize = 12;

const DECLARE: &str = "CREATE TABLE t (k BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, v BIGINT)";

fn history(place: &Place) -> String {
    place.done(&["sql", "--format", "csv", "-c", "SELECT count(*) AS n, sum(v) AS v FROM history('t')"])
}

#[test]
fn a_server_that_was_killed_and_lost_its_disk_serves_what_it_acknowledged() {
    let mut place = Place::new();
    let bucket = format!("file://{}", place.name("bucket"));
    let settings = ["--bucket", &bucket, "--acknowledge", "object", "--flush-bytes-max", "64KiB"];
    place.serve(&settings);
    place.done(&["sql", "-c", DECLARE]);
    for round in 1..=ROUNDS {
        let rows: Vec<String> = (0..50).map(|row| format!("({row}, {round})")).collect();
        place.done(&["sql", "-c", &format!("INSERT INTO t (k, v) VALUES {}", rows.join(", "))]);
        if round % 3 == 0 {
            place.done(&["sql", "-c", "CALL flush()"]);
        }
        place.kill();
        std::fs::remove_dir_all(place.data()).unwrap();
        place.serve(&settings);
        let sum = 50 * round * (round + 1) / 2;
        assert_eq!(history(&place), format!("n,v\n{},{sum}\n", 50 * round), "round {round}");
    }
    let status = place.done(&["status"]);
    assert!(status.contains(&format!("epoch {}", ROUNDS + 1)), "{status}");
}

#[test]
fn a_disk_that_was_overtaken_is_refused_and_says_how_to_go_on() {
    let mut place = Place::new();
    let bucket = format!("file://{}", place.name("bucket"));
    let settings = ["--bucket", &bucket, "--acknowledge", "object"];
    place.serve(&settings);
    place.done(&["sql", "-c", DECLARE, "-c", "INSERT INTO t (k, v) VALUES (1, 1)"]);
    place.kill();
    std::fs::rename(place.data(), place.path("old")).unwrap();
    place.serve(&settings);
    place.done(&["sql", "-c", "INSERT INTO t (k, v) VALUES (2, 2)"]);
    place.kill();
    std::fs::remove_dir_all(place.data()).unwrap();
    std::fs::rename(place.path("old"), place.data()).unwrap();
    let refused = firn(&[&["serve", "--data", &place.name("data"), "--listen", "127.0.0.1:0"], &settings[..]].concat());
    assert!(
        !refused.status.success() && text(&refused.stderr).contains("--discard-local"),
        "{}",
        text(&refused.stderr)
    );
    place.serve(&[&settings[..], &["--discard-local"]].concat());
    assert_eq!(history(&place), "n,v\n2,3\n");
}
