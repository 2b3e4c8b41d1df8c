//! The databases that the benches of ice are of, and what is measured of them in several.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use firn_objects::bucket::Bucket;
use firn_storage::config::{HomeOptions, HomePolicy, IcePolicy, Level};
use firn_storage::objects::Objects;
use firn_storage::objects::faulty::Faulty;

use crate::data::Source;
use crate::engine::{self, Engine};
use crate::harness::Result;

/// Features of a row.
pub(super) const FEATURES: usize = 10;

/// The bucket that is `directory`, which counts its calls.
pub(super) fn bucket_in(directory: &Path) -> Result<Faulty> {
    Ok(Faulty::new(Bucket::open(&format!("file://{}", directory.display()), &Default::default())?))
}

/// How the database keeps to `bucket`, with so many bytes of cells in memory.
pub(super) fn home(bucket: &Faulty, hot_bytes_max: u64, cache_bytes_max: u64) -> HomeOptions {
    let objects: Arc<dyn Objects> = Arc::new(bucket.clone());
    let ice = IcePolicy { hot_bytes_max, cache_bytes_max, ..IcePolicy::default() };
    let policy = HomePolicy {
        acknowledge: Level::Local,
        upload_interval: Duration::from_secs(1),
        backlog_bytes_max: 16 << 30,
        publish_bytes: 64 << 20,
        publish_interval: Duration::from_secs(600),
        garbage_age: Duration::from_secs(3600),
        checkpoints_max: 1,
        discard_local: false,
        ice,
    };
    HomeOptions { objects, writer: "firn-bench".to_owned(), policy }
}

/// Rows of features of several kinds, merged into as few segments as there may be.
pub(super) fn load(engine: &Engine, rows: usize, users: usize) -> Result<()> {
    engine.declare("t", FEATURES)?;
    engine.write("t", Source::new(61).varied(rows, users))?;
    Ok(engine.database.compact(&engine.database.catalog(), None)?)
}

/// The bytes of all files below `directory`.
pub(super) fn length_of(directory: &Path) -> Result<u64> {
    let mut length = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        length += if entry.file_type()?.is_dir() { length_of(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(length)
}

/// The 99th percentile of the time of a batch, µs.
pub(super) fn p99(engine: &Engine, batches: &[RecordBatch]) -> Result<f64> {
    let mut times = Vec::with_capacity(batches.len());
    for batch in batches {
        let (_, elapsed) = engine.read(&engine::latest("t"), std::slice::from_ref(batch))?;
        times.push(elapsed.as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[(times.len() - 1) * 99 / 100])
}
