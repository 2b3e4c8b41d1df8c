//! The engine in-process, on the doors that the server calls.

use std::sync::mpsc::channel;
use std::time::Instant;

use arrow_array::RecordBatch;
use firn_storage::config::Options;
use firn_storage::database::Database;
use firn_storage::error::Result;
use firn_storage::model::prove::{Verb, WriteRequest};
use firn_storage::read::{Bound, FeatureReference, PointRequest};

use crate::data::{EPOCH, Source, declare};

fn write_request() -> WriteRequest {
    WriteRequest {
        table: "t".into(),
        verb: Verb::Write,
        nulls_absent: false,
        ingest_time: None,
        report_bad_rows: false,
    }
}

/// Sends all batches pipelined and waits for the last acknowledgement.
fn send(database: &Database, batches: &[RecordBatch]) -> Result<()> {
    let (acknowledge, acknowledged) = channel();
    let mut waiting = 0;
    for batch in batches {
        let proven = database.prove(&write_request(), batch)?;
        let acknowledge = acknowledge.clone();
        let done = Box::new(move |answer: Result<_>| drop(acknowledge.send(answer.map(|_| ()))));
        database.submit(proven.batch.expect("every row is good"), done);
        waiting += 1;
        if waiting > 64 {
            acknowledged.recv().expect("the sender is held")?;
            waiting -= 1;
        }
    }
    for _ in 0..waiting {
        acknowledged.recv().expect("the sender is held")?;
    }
    Ok(())
}

fn all_features() -> Vec<FeatureReference> {
    vec![FeatureReference { table: "t".into(), feature: "*".into(), ..FeatureReference::default() }]
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn timed(runs: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut seconds = Vec::with_capacity(runs);
    for _ in 0..runs {
        let start = Instant::now();
        work()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(median(seconds))
}

/// Latest vectors: 50 features of 1 M entities, batches of 1,000.
pub(crate) fn latest(shrink: usize, runs: usize) -> Result<()> {
    let users = 1_000_000 / shrink;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let database = Database::open(Options::new(directory.path()))?;
    declare(&database, 50)?;
    let mut source = Source::new(1);
    for start in (0..users).step_by(8192) {
        let ids: Vec<i64> = (start..(start + 8192).min(users)).map(|user| user as i64).collect();
        let times = vec![EPOCH; ids.len()];
        let batch = source.batch(ids, times, 50);
        send(&database, &[batch])?;
    }
    let request = PointRequest { features: all_features(), ..PointRequest::default() };
    let mut look = |label: &str, database: &Database| -> Result<()> {
        let requests: Vec<RecordBatch> = (0..200).map(|_| keys(source.users(1000, users as i64))).collect();
        let plan = database.plan(&request, &requests[0].schema())?;
        let seconds = timed(runs, || {
            for batch in &requests {
                let snapshot = database.snapshot(&plan)?;
                database.read(&plan, &snapshot, batch)?;
            }
            Ok(())
        })?;
        println!("latest ({label}): {:.2} M vectors/s", 200.0 * 1000.0 / seconds / 1e6);
        Ok(())
    };
    look("memtables and segments", &database)?;
    database.compact(None)?;
    look("latest pack", &database)?;
    database.close()
}

fn keys(users: Vec<i64>) -> RecordBatch {
    let users: arrow_array::ArrayRef = std::sync::Arc::new(arrow_array::Int64Array::from(users));
    RecordBatch::try_from_iter([("user", users)]).expect("one column")
}

/// Ingest of 10 M rows of 10 features and 100 K entities, joins of 1 M spine rows against them, and reopening.
pub(crate) fn history(shrink: usize, runs: usize) -> Result<()> {
    let rows = 10_000_000 / shrink;
    let users = 100_000 / shrink as i64;
    let span = 1_000_000_000;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let database = Database::open(Options::new(directory.path()))?;
    declare(&database, 10)?;
    let mut source = Source::new(2);
    let mut seconds = 0.0;
    let mut sent = 0;
    while sent < rows {
        let count = (rows - sent).min(64 * 8192);
        let batches: Vec<RecordBatch> = (0..count.div_ceil(8192))
            .map(|_| {
                let ids = source.users(8192, users);
                let times = source.times(8192, span);
                source.batch(ids, times, 10)
            })
            .collect();
        let start = Instant::now();
        send(&database, &batches)?;
        seconds += start.elapsed().as_secs_f64();
        sent += batches.len() * 8192;
    }
    println!("ingest, durable, 10 features, batches of 8,192: {:.2} M rows/s", sent as f64 / seconds / 1e6);
    let spine_rows = 1_000_000 / shrink;
    let spine = source.batch_spine(spine_rows, users, span);
    let both = Bound::Column { name: "decided_at".into(), exclusive: false };
    let one = PointRequest { features: all_features(), as_of: both.clone(), ..PointRequest::default() };
    let strict = PointRequest { known_at: both, ..one.clone() };
    let join = |label: &str, request: &PointRequest, database: &Database| -> Result<()> {
        let plan = database.plan(request, &spine.schema())?;
        let seconds = timed(runs, || {
            let snapshot = database.snapshot(&plan)?;
            database.read(&plan, &snapshot, &spine).map(drop)
        })?;
        println!("join of {spine_rows} rows ({label}): {seconds:.3} s");
        Ok(())
    };
    join("event bound, after ingest", &one, &database)?;
    join("both bounds, after ingest", &strict, &database)?;
    database.compact(None)?;
    join("event bound, compacted", &one, &database)?;
    join("both bounds, compacted", &strict, &database)?;
    database.close()?;
    drop(database);
    let start = Instant::now();
    let database = Database::open(Options::new(directory.path()))?;
    println!("reopen: {:.3} s", start.elapsed().as_secs_f64());
    database.close()
}

impl Source {
    fn batch_spine(&mut self, rows: usize, users: i64, span: i64) -> RecordBatch {
        use std::sync::Arc;
        let ids: arrow_array::ArrayRef = Arc::new(arrow_array::Int64Array::from(self.users(rows, users)));
        let times = arrow_array::TimestampMicrosecondArray::from(self.times(rows, span)).with_timezone("UTC");
        RecordBatch::try_from_iter([("user", ids), ("decided_at", Arc::new(times) as arrow_array::ArrayRef)])
            .expect("columns of one length")
    }
}
