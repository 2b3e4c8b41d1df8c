//! What a bucket costs beside time: objects, bytes, the wait of a write for it, and how its Parquet compares with the best of another
//! writer.

use std::path::Path;
use std::time::{Duration, Instant};

use firn_storage::config::Level;
use firn_storage::objects::{ObjectName, Objects};

use super::database::{bucket_in, home, length_of, load, p99};
use crate::data::Source;
use crate::engine::Engine;
use crate::harness::{Harness, Reading, Result};
use crate::peers::Script;
use crate::report::{Bound, FIRN};
use crate::statistics::median;

/// What goes into an object of the log together.
const INTERVAL: Duration = Duration::from_millis(200);
const WRITES: usize = 40;
const TABLES: usize = 500;

/// Latest of a batch of entities beside a freeze, as the database does it by itself, and alone.
pub(super) fn while_freezing(harness: &mut Harness) -> Result<()> {
    let (disk, directory) = (harness.directory()?, harness.directory()?);
    let (rows, users) = (harness.sized(4_000_000, 20_000), harness.sized(100_000, 200));
    let bucket = bucket_in(directory.path())?;
    let settings = harness.settings.clone();
    let open = |freeze_bytes_min: u64| {
        let mut home = home(&bucket, u64::MAX, 0);
        home.policy.ice.freeze_bytes_min = freeze_bytes_min;
        Engine::open_with(&settings, disk.path(), |options| options.home = Some(home))
    };
    let engine = open(u64::MAX)?;
    load(&engine, rows, users)?;
    engine.settle()?;
    engine.close()?;
    let batches = Source::new(63).requests(harness.sized(4000, 20), 100, users);
    let engine = open(1)?;
    let frozen = || engine.database.statistics().frozen.get();
    p99(&engine, &batches)?;
    let (mut beside, mut last) = (Vec::new(), (frozen(), Instant::now()));
    while last.1.elapsed() < harness.settings.quiet() {
        let begun = frozen();
        let measured = p99(&engine, &batches)?;
        if frozen() > begun {
            beside.push(measured);
            last = (frozen(), Instant::now());
        }
    }
    assert!(!beside.is_empty() && last.0 > 0, "it froze while lookups went on");
    let alone = (0..beside.len()).map(|_| p99(&engine, &batches)).collect::<Result<Vec<_>>>()?;
    let (beside, alone) = (median(beside), median(alone));
    harness.record(FIRN, Reading::new("latest of 100, p99 beside a freeze", "µs", beside));
    harness.target("latest beside a freeze: times p99", Some(beside / alone), Bound::AtMost(1.1));
    engine.close()
}

/// A write that waits for the bucket: half an interval, on average, and then a write and a look.
pub(super) fn acknowledge(harness: &mut Harness) -> Result<()> {
    let (disk, directory) = (harness.directory()?, harness.directory()?);
    let bucket = bucket_in(directory.path())?;
    let mut home = home(&bucket, u64::MAX, 0);
    (home.policy.acknowledge, home.policy.upload_interval) = (Level::Object, INTERVAL);
    let engine = Engine::open_with(&harness.settings, disk.path(), |options| options.home = Some(home))?;
    engine.declare("t", 1)?;
    let mut source = Source::new(66);
    let (mut waits, mut calls) = (Vec::new(), Vec::new());
    for number in 0..harness.sized(WRITES, 4) {
        // At any moment of an interval.
        std::thread::sleep(INTERVAL.mul_f64((number * 7 % 10) as f64 / 10.0));
        let started = Instant::now();
        engine.write("t", source.history(1, 1, 1))?;
        waits.push(started.elapsed().as_secs_f64());
        let (name, started) = (ObjectName::new(format!("bench/{number}"))?, Instant::now());
        bucket.put_new(&name, vec![0; 1024].into())?;
        bucket.get(&name)?;
        calls.push(started.elapsed().as_secs_f64());
    }
    let (wait, calls) = (median(waits), median(calls));
    harness.record(FIRN, Reading::new("written until the bucket has it, p50", "ms", wait * 1e3));
    let least = INTERVAL.as_secs_f64() / 2.0 + calls;
    harness.target("written until the bucket has it: s", Some(wait), Bound::AtMost(least));
    engine.close()
}

/// The root of a database of many tables.
pub(super) fn root(harness: &mut Harness) -> Result<()> {
    let (disk, directory) = (harness.directory()?, harness.directory()?);
    let home = home(&bucket_in(directory.path())?, u64::MAX, 0);
    let engine = Engine::open_with(&harness.settings, disk.path(), |options| options.home = Some(home))?;
    let mut source = Source::new(67);
    for number in 0..harness.sized(TABLES, 4) {
        engine.declare(&format!("t{number}"), 1)?;
        engine.write(&format!("t{number}"), source.history(10, 10, 1))?;
    }
    engine.database.freeze(&engine.database.catalog(), None)?;
    engine.close()?;
    let newest = std::fs::read_dir(directory.path().join("manifest"))?.collect::<std::io::Result<Vec<_>>>()?;
    let newest = newest.iter().max_by_key(|entry| entry.file_name()).ok_or("there is no root")?;
    let bytes = newest.metadata()?.len() as f64;
    harness.record(FIRN, Reading::new("root of 500 tables", "bytes", bytes));
    harness.target("root of 500 tables: bytes", Some(bytes), Bound::AtMost(65_536.0));
    Ok(())
}

/// The files of ice in `directory` beside the best that pyarrow makes of their columns; the bytes of their cells.
pub(super) fn against_pyarrow(harness: &mut Harness, directory: &Path) -> Result<Option<f64>> {
    if !harness.settings.peers {
        return Ok(None);
    }
    let mut script = Script::start(harness, "python", "ice.py", &[&directory.to_string_lossy()])?;
    let sizes = script.work("size")?;
    let of = |what: &str| sizes[what].as_f64().ok_or_else(|| format!("the script said no size of {what}"));
    let (ice, best, cells) = (of("ice")?, of("pyarrow")?, of("cells")?);
    assert!(ice <= length_of(directory)? as f64, "the script saw the files of ice");
    harness.record("pyarrow", Reading::new("the same columns", "MB", best / 1e6));
    harness.target("ice: times the best Parquet of pyarrow", Some(ice / best), Bound::AtMost(1.1));
    Ok(Some(cells))
}
