//! The demo, with a bucket and without: with one it loses its disk on the way, and whoever starts on the bucket afterwards
//! has all of it.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Place, firn, text};

/// The files below `folder` with that `ending`.
fn files(folder: &Path, ending: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path, ending)),
            false => found.extend(path.to_str().is_some_and(|path| path.ends_with(ending)).then_some(path)),
        }
    }
    found
}

#[test]
fn the_demo_loses_its_disk_and_tells_the_same_from_its_bucket() {
    let mut place = Place::new();
    let (bucket, data) = (format!("file://{}", place.name("bucket")), place.name("told"));
    let output = firn(&["demo", "--data", &data, "--bucket", &bucket]);
    let story = text(&output.stdout);
    assert!(output.status.success(), "{story}{}", text(&output.stderr));
    let words = ["server", "flights", "the leak", "freeze", "disk lost", "the same", "kill -9", "the same", "next"];
    let mut lines = story.lines().map(str::trim_start);
    let told = words.map(|word| lines.find(|line| line.starts_with(word)).unwrap_or_else(|| panic!("{word}: {story}")));
    assert!(told[0].contains(&bucket) && told[8].contains(&format!("--bucket {bucket}")), "{story}");
    assert!(told[4].contains("first answer after"), "{story}");
    // What the answers needed of the frozen table was read from where it lies.
    assert!(told[5].ends_with("of Parquet were read") && !told[5].contains("; 0 B"), "{story}");
    assert!(!files(&place.path("bucket"), ".parquet").is_empty());

    // Another demo does not take the bucket from who writes it.
    let claims = || std::fs::read_dir(place.path("bucket/epochs")).unwrap().count();
    assert_eq!(claims(), 3, "a start, one on an empty disk, one after the crash");
    let refused = firn(&["demo", "--data", &place.name("other"), "--bucket", &bucket]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("holds a database"), "{refused:?}");
    assert_eq!(claims(), 3);

    let rows: String = told[1].chars().take_while(|letter| *letter != 'r').filter(char::is_ascii_digit).collect();
    place.serve(&["--bucket", &bucket]);
    let counted = place.done(&["sql", "--format", "csv", "-c", "SELECT count(*) AS n FROM history('flights')"]);
    assert_eq!(counted, format!("n\n{rows}\n"), "{story}");
}

#[test]
fn without_a_bucket_the_demo_tells_of_a_crash_and_takes_none_from_the_environment() {
    let place = Place::new();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_firn"));
    demo.arg("demo").env("FIRN_BUCKET", format!("file://{}", place.name("bucket"))).stdin(Stdio::null());
    let output = demo.output().unwrap();
    let story = text(&output.stdout);
    assert!(output.status.success(), "{story}{}", text(&output.stderr));
    assert!(story.contains("kill -9") && story.contains("the same  both training sets again"), "{story}");
    assert!(!story.contains("disk lost") && !place.path("bucket").exists(), "{story}");
}

#[test]
fn a_bucket_that_cannot_be_is_refused_before_the_demo_begins() {
    for (bucket, words) in [("bucket", "give s3://BUCKET"), ("file://bucket", "with three slashes")] {
        let refused = firn(&["demo", "--bucket", bucket]);
        assert!(!refused.status.success() && text(&refused.stderr).contains(words), "{refused:?}");
        assert_eq!(text(&refused.stdout), "");
    }
}
