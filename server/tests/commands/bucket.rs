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

/// Waits until `place` answers `right`.
fn until(place: &Place, right: &str) {
    for _ in 0..500 {
        if history(place) == right {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{} is not {right}: {}", history(place), place.log());
}

#[test]
fn a_follower_serves_what_another_server_writes_and_writes_nothing() {
    let (mut writer, mut follower) = (Place::new(), Place::new());
    let bucket = format!("file://{}", writer.name("bucket"));
    let writes = ["--bucket", &bucket, "--acknowledge", "object", "--flush-bytes-max", "64KiB"];
    let follows = ["--bucket", &bucket, "--read-only", "--bucket-follow-interval", "20ms"];
    writer.serve(&writes);
    writer.done(&["sql", "-c", DECLARE]);
    follower.serve(&follows);
    until(&follower, "n,v\n0,\n");
    let (mut rows, mut sum) = (0, 0);
    for round in 1..=6_u64 {
        let values: Vec<String> = (0..50).map(|row| format!("({row}, {round})")).collect();
        writer.done(&["sql", "-c", &format!("INSERT INTO t (k, v) VALUES {}", values.join(", "))]);
        (rows, sum) = (rows + 50, sum + 50 * round);
        match round {
            2 => drop(writer.done(&["sql", "-c", "CALL flush()"])),
            3 => {
                follower.kill();
                follower.serve(&follows);
            }
            4 => {
                writer.kill();
                std::fs::remove_dir_all(writer.data()).unwrap();
                writer.serve(&writes);
            }
            _ => {}
        }
        until(&follower, &format!("n,v\n{rows},{sum}\n"));
    }
    let refused = follower.refused(&["sql", "-c", "INSERT INTO t (k, v) VALUES (1, 1)"]);
    assert!(refused.contains("--read-only") && refused.contains("process"), "{refused}");
    follower.refused(&["sql", "-c", "CREATE TABLE u (k BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL)"]);
    let status = follower.done(&["status"]);
    assert!(status.contains("follows") && status.contains("epoch 2"), "{status}");
    assert!(!writer.done(&["status"]).contains("follows"));
}

#[test]
fn read_only_without_a_bucket_is_refused_by_name() {
    let place = Place::new();
    let refused = firn(&["serve", "--data", &place.name("data"), "--listen", "127.0.0.1:0", "--read-only"]);
    assert!(
        !refused.status.success() && text(&refused.stderr).contains("give --bucket too"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn a_checkpoint_is_read_copied_and_dropped() {
    let (mut writer, mut reader, mut copy) = (Place::new(), Place::new(), Place::new());
    let [bucket, other] = ["bucket", "other"].map(|name| format!("file://{}", writer.name(name)));
    let settings = ["--bucket", &bucket, "--acknowledge", "object"];
    writer.serve(&settings);
    writer.done(&["sql", "-c", DECLARE, "-c", "INSERT INTO t (k, v) VALUES (1, 1), (2, 2)"]);
    writer.done(&["freeze"]);
    let created = writer.done(&["checkpoint", "create", "before"]);
    assert!(created.starts_with("created before at 2"), "{created}");
    let refused = writer.refused(&["checkpoint", "create", "before"]);
    assert!(refused.contains("already"), "{refused}");
    writer.done(&["sql", "-c", "INSERT INTO t (k, v) VALUES (3, 3)", "-c", "DROP TABLE t"]);
    writer.refused(&["sql", "-c", "SELECT * FROM t"]);

    let reads = ["--bucket", &bucket, "--read-only", "--checkpoint", "before"];
    reader.serve(&reads);
    assert_eq!(history(&reader), "n,v\n2,3\n");
    let refused = reader.refused(&["sql", "-c", "INSERT INTO t (k, v) VALUES (1, 1)"]);
    assert!(refused.contains("stays at before"), "{refused}");
    assert!(reader.done(&["checkpoint", "list"]).contains("before"));

    let restored = firn(&["restore", "--bucket", &bucket, "--checkpoint", "before", "--to", &other]);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    copy.serve(&["--bucket", &other]);
    copy.done(&["sql", "-c", "INSERT INTO t (k, v) VALUES (4, 4)"]);
    assert_eq!(history(&copy), "n,v\n3,7\n");
    let refused = firn(&["restore", "--bucket", &bucket, "--to", &other]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("give an empty one"));

    writer.done(&["checkpoint", "drop", "before"]);
    let refused = writer.refused(&["checkpoint", "drop", "before"]);
    assert!(refused.contains("there is none"), "{refused}");
    assert!(!writer.done(&["checkpoint", "list"]).contains("before"));
    let unwritten = firn(&["serve", "--data", &copy.name("new"), "--bucket", &bucket, "--checkpoint", "before"]);
    assert!(!unwritten.status.success() && text(&unwritten.stderr).contains("--read-only"));
}

#[test]
fn a_receipt_is_shown_with_its_tiers_when_it_is_new_and_later() {
    let mut place = Place::new();
    let bucket = format!("file://{}", place.name("bucket"));
    place.serve(&["--bucket", &bucket]);
    place.done(&["sql", "-c", DECLARE, "-c", "INSERT INTO t (k, v) VALUES (1, 1), (2, 2)"]);
    place.done(&["freeze"]);
    let erased = place.done(&["erase", "t", "k=1"]);
    for word in ["erased 1 of t at 2", "FROM", "REMOVED", "disk", "bucket", "ice", "checkpoints"] {
        assert!(erased.contains(word), "no {word} in\n{erased}");
    }
    let receipts = place.done(&["receipts", "t", "--last", "1"]);
    assert!(receipts.contains("LAST BYTE GONE") && receipts.contains(", ice 1, checkpoints 0"), "{receipts}");
}

#[test]
fn an_import_waits_for_the_bucket_if_it_is_told_to() {
    let mut place = Place::new();
    let bucket = format!("file://{}", place.name("bucket"));
    let settings = ["--bucket", &bucket, "--bucket-upload-interval", "1h"];
    std::fs::write(place.path("rows.csv"), "k,at,v\n1,2024-05-01T00:00:00Z,1\n").unwrap();
    let import = ["import", "t", &place.name("rows.csv"), "--acknowledge", "object"];
    place.serve(&settings);
    place.done(&["sql", "-c", DECLARE]);
    place.done(&import);
    place.done(&["sql", "-c", "INSERT INTO t (k, v) VALUES (2, 2)"]);
    place.kill();
    std::fs::remove_dir_all(place.data()).unwrap();
    place.serve(&settings);
    assert_eq!(history(&place), "n,v\n1,1\n", "what did not wait for the bucket is lost");
    place.kill();
    let mut without = Place::new();
    without.serve(&[]);
    without.done(&["sql", "-c", DECLARE]);
    let refused = without.refused(&import);
    assert!(refused.contains("--bucket"), "{refused}");
}
