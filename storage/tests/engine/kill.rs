//! P1 on a real disk: a child process with many writers is killed with SIGKILL at random moments, again and again.
//!
//! The child prints every acknowledgement; what came through the pipe is the ledger. After each kill the parent opens
//! the directory and reads all history: every acknowledged batch must be there, whole and once, and beyond the ledger
//! at most the one batch that each writer had on its way. The next child goes on from there, and first sends its last
//! batch again: it must be a duplicate. `FIRN_KILL_ROUNDS=n` sets the rounds.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use firn_storage::config::Options;
use firn_storage::database::Database;
use firn_storage::error::Error;
use firn_storage::model::batch::{Producer, Verb, WriteRequest};
use firn_storage::model::declare::Change;
use firn_storage::read::ScanRequest;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::world::times;

pub(crate) const WRITERS: i64 = 6;
const ROWS: i64 = 3;
const DIRECTORY: &str = "FIRN_KILL_DIRECTORY";
const FOUND: &str = "FIRN_KILL_FOUND";

fn open(directory: &Path, background: bool) -> Database {
    let mut options = Options::new(directory);
    options.background = background;
    options.flush_bytes_max = 48 << 10;
    options.wal_bytes_max = 64 << 10;
    Database::open(options).expect("whatever the kill left, the database opens")
}

/// The batch `number` of `writer`: one row for each of its entities.
fn batch(number: i64, writer: i64) -> RecordBatch {
    let rows = 0..ROWS;
    let keys = Int64Array::from_iter_values(rows.clone().map(|row| writer * ROWS + row));
    let numbers = Int64Array::from_iter_values(rows.clone().map(|_| number));
    let columns: [(&str, ArrayRef); 3] =
        [("k", Arc::new(keys)), ("at", times(rows.map(|_| number))), ("n", Arc::new(numbers))];
    RecordBatch::try_from_iter(columns).expect("columns of equal length")
}

/// Writes; whether the batch was a duplicate.
pub(crate) fn write(database: &Database, writer: i64, number: i64) -> Result<bool, Error> {
    let request = WriteRequest {
        table: "t".to_owned(),
        verb: Verb::Write,
        nulls_absent: false,
        ingest_time: None,
        report_bad_rows: false,
    };
    let proven = database.prove(&database.catalog(), &request, &batch(number, writer)).expect("a good batch");
    let mut write = proven.batch;
    let previous = (number > 1).then_some(number as u64 - 1);
    write.producer = Some(Producer { name: format!("writer {writer}"), seq: number as u64, previous });
    database.write(write).map(|committed| committed.duplicate)
}

/// The child: not a test of its own, so it is left out unless the parent asks for it.
#[test]
#[ignore = "the parent starts it as a child process"]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let found = std::env::var(FOUND).expect("the parent says what it found");
    let database = open(Path::new(&directory), true);
    std::thread::scope(|scope| {
        for (writer, last) in found.split(',').enumerate() {
            let (writer, last) = (writer as i64, last.parse::<i64>().expect("a number"));
            let database = &database;
            scope.spawn(move || {
                let write = |number| write(database, writer, number).expect("a healthy disk");
                if last > 0 {
                    assert!(write(last), "batch {last} of {writer} was applied twice");
                }
                for number in last + 1.. {
                    assert!(!write(number), "batch {number} of {writer} was not new");
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "ack {writer} {number}").and_then(|()| out.flush()).expect("the parent listens");
                }
            });
        }
    });
}

/// Starts a child, lets it write for a while, kills it; the last acknowledged batch of each writer.
fn one_round(directory: &Path, found: &[i64], random: &mut StdRng) -> Vec<i64> {
    let found_text = found.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["kill::child", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(FOUND, found_text)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child process");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let reader = std::thread::spawn({
        let mut acknowledged = found.to_vec();
        move || {
            for line in lines.map_while(Result::ok) {
                let mut words = line.split(' ');
                if words.next() == Some("ack") {
                    let mut number = || words.next().and_then(|word| word.parse::<i64>().ok()).expect("a whole line");
                    let (writer, number) = (number() as usize, number());
                    acknowledged[writer] = acknowledged[writer].max(number);
                }
            }
            acknowledged
        }
    });
    std::thread::sleep(Duration::from_micros(random.random_range(0..400_000)));
    assert!(child.try_wait().expect("a child").is_none(), "the child ended by itself");
    child.kill().expect("a child");
    child.wait().expect("a child");
    reader.join().expect("the reader of acknowledgements")
}

/// The last batch of each writer, of which `acknowledged` were acknowledged: all of these are there, whole and once, and beyond
/// them at most the one that was on its way.
pub(crate) fn check_ledger(database: &Database, acknowledged: &[i64], context: &str) -> Vec<i64> {
    let mut found = Vec::new();
    for (writer, there) in survey(database).iter().enumerate() {
        let last = there.keys().max().copied().unwrap_or(0);
        let acked = acknowledged[writer];
        let context = format!("{context} writer {writer}: {last} found, {acked} acknowledged");
        assert!((acked..=acked + 1).contains(&last), "{context}");
        assert_eq!(there.len() as i64, last, "{context}: batches are missing in between");
        assert!(there.values().all(|rows| *rows == ROWS), "{context}: a batch is not whole, or there twice");
        found.push(last);
    }
    found
}

/// Declares the table that the writers write to.
pub(crate) fn declare(database: &Database) {
    let entity = json!({"entity": "e", "key": [{"name": "k", "type": "int64"}], "buckets": 2});
    let table = json!({"table": "t", "entity": "e", "event_time": "at", "features": [{"name": "n", "type": "int64"}]});
    for (action, body) in [("create_entity", entity), ("create_table", table)] {
        let change = Change::parse(action, &body).expect("a good declaration");
        database.change(&database.catalog(), &change).expect("a healthy disk");
    }
}

/// How many rows of each batch of each writer there are.
fn survey(database: &Database) -> Vec<BTreeMap<i64, i64>> {
    let request = ScanRequest { table: "t".to_owned(), history: true, parts: 1, ..ScanRequest::default() };
    let scan = database.scan(&database.catalog(), &request).expect("a table");
    let mut there = vec![BTreeMap::new(); WRITERS as usize];
    for batch in (0..scan.parts()).flat_map(|part| scan.open(part).expect("a part")) {
        let batch = batch.expect("a healthy disk");
        let named = |name: &str| batch.column_by_name(name).expect("a column").as_primitive::<Int64Type>();
        for (key, number) in named("k").values().iter().zip(named("n").values()) {
            *there[(key / ROWS) as usize].entry(*number).or_insert(0) += 1;
        }
    }
    there
}

#[test]
fn acknowledged_writes_survive_sigkill() {
    let rounds: u64 = std::env::var("FIRN_KILL_ROUNDS").map_or(60, |text| text.parse().expect("a number of rounds"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let database = open(directory.path(), false);
    declare(&database);
    database.close().expect("a healthy disk");
    drop(database);

    let (mut random, begun) = (StdRng::seed_from_u64(rounds), Instant::now());
    let mut found = vec![0; WRITERS as usize];
    for round in 0..rounds {
        let acknowledged = one_round(directory.path(), &found, &mut random);
        let database = open(directory.path(), false);
        found = check_ledger(&database, &acknowledged, &format!("round {round}"));
        if random.random_bool(0.5) {
            database.close().expect("a healthy disk");
        }
    }
    let batches: i64 = found.iter().sum();
    println!("{rounds} kills, {batches} acknowledged batches, in {:.0} s", begun.elapsed().as_secs_f64());
}
