//! The log: what is written reads back, and nothing that is damaged is read.

use bytes::Bytes;

use super::*;

fn table() -> Table {
    let column = |name: &str, data_type| ColumnSpec {
        name: name.to_owned(),
        data_type,
        nullable: true,
        field_id: None,
        statistics: false,
    };
    let at = DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, Some("UTC".into()));
    Table {
        id: (7, 3),
        name: "t".to_owned(),
        event_time: "at".to_owned(),
        columns: vec![column("k", DataType::UInt64), column("at", at)],
        facts: json!({"sequence": 5}),
        at: 1_500_000,
    }
}

fn file(path: &str) -> File {
    File { path: path.to_owned(), bytes: 10, rows: 2, event_times: (1_001, 2_000) }
}

#[test]
fn a_log_that_is_read_again_says_what_was_written() {
    let mut state = State::default();
    let mut lives = Vec::new();
    for files in [&["a", "b"][..], &["b", "c"], &["b", "c"], &[]] {
        let files: Vec<File> = files.iter().map(|path| file(path)).collect();
        let Some(commit) = state.commit(&table(), &files).unwrap() else {
            lives.push(None);
            continue;
        };
        let version = state.version;
        state.apply(version, &commit).unwrap();
        assert_eq!(state.commit(&table(), &files).unwrap(), None, "it is done");
        assert!(state.files.keys().eq(files.iter().map(|file| &file.path)));
        lives.push(Some(version));
    }
    assert_eq!(lives, [Some(0), Some(1), None, Some(2)]);
    assert_eq!(version_of(&commit_name(17)), Some(17));
    assert_eq!(version_of("_delta_log/_last_checkpoint"), None);
}

#[test]
fn a_column_that_comes_later_is_a_commit_by_itself() {
    let mut state = State::default();
    let commit = state.commit(&table(), &[file("a")]).unwrap().unwrap();
    state.apply(0, &commit).unwrap();
    let mut wider = table();
    wider.columns.push(ColumnSpec { name: "n".to_owned(), data_type: DataType::Float64, ..wider.columns[0].clone() });
    let commit = String::from_utf8(state.commit(&wider, &[file("a")]).unwrap().unwrap()).unwrap();
    assert!(commit.contains("metaData") && !commit.contains("\"add\"") && !commit.contains("protocol"), "{commit}");
}

/// A log of so many commits: each adds a file, and every third also removes the one before. What it says.
fn log(commits: u64) -> State {
    let mut state = State::default();
    let mut files: Vec<File> = Vec::new();
    for version in 0..commits {
        if version % 3 == 2 {
            files.pop();
        }
        files.push(file(&format!("{version}.parquet")));
        let commit = state.commit(&Table { at: version as i64 * 1_000_000, ..table() }, &files).unwrap().unwrap();
        state.apply(version, &commit).unwrap();
    }
    state
}

#[test]
fn a_checkpoint_says_what_its_commits_say() {
    for commits in [1, 2, 250] {
        let state = log(commits);
        let checkpoint = state.checkpoint().unwrap();
        assert_eq!(checkpoint.bytes, log(commits).checkpoint().unwrap().bytes, "whoever writes it writes the same");
        let read = State::of_checkpoint(commits - 1, &Bytes::from(checkpoint.bytes.clone())).unwrap();
        assert_eq!(read, state);
        let pointer: Value = serde_json::from_slice(&checkpoint.pointer).unwrap();
        assert_eq!(pointed(&checkpoint.pointer), Some(commits - 1));
        assert_eq!(pointer["size"], json!(state.files.len() + 2));
        assert_eq!(pointer["sizeInBytes"], json!(checkpoint.bytes.len()));
    }
    // A log that ends without files still says what the table is.
    let mut state = log(3);
    let commit = state.commit(&table(), &[]).unwrap().unwrap();
    state.apply(3, &commit).unwrap();
    let read = State::of_checkpoint(3, &state.checkpoint().unwrap().bytes.into()).unwrap();
    assert!(read == state && read.files.is_empty());
    assert_eq!(read.commit(&table(), &[]).unwrap(), None);
    State::default().checkpoint().unwrap_err();
}

#[test]
fn a_checkpoint_with_any_byte_changed_or_cut_is_refused() {
    let checkpoint = log(5).checkpoint().unwrap().bytes;
    for at in 0..checkpoint.len() {
        let mut flipped = checkpoint.clone();
        flipped[at] ^= 1 << (at % 8);
        State::of_checkpoint(4, &flipped.into()).unwrap_err();
        State::of_checkpoint(4, &Bytes::copy_from_slice(&checkpoint[..at])).unwrap_err();
    }
}

#[test]
fn names_of_commits_and_checkpoints_are_told_apart() {
    let (commit, checkpoint) = (commit_name(100), checkpoint_name(100));
    assert_eq!(checkpoint, "_delta_log/00000000000000000100.checkpoint.parquet");
    assert_eq!((version_of(&commit), version_of(&checkpoint)), (Some(100), None));
    assert_eq!((checkpoint_of(&commit), checkpoint_of(&checkpoint)), (None, Some(100)));
    assert_eq!((checkpoint_of(POINTER), pointed(b"{}"), pointed(b"not JSON")), (None, None, None));
}

#[test]
fn a_log_that_another_program_upgraded_is_refused() {
    let mut state = log(2);
    let upgrade = br#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["columnMapping"]}}"#;
    let error = state.apply(2, upgrade).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
}
