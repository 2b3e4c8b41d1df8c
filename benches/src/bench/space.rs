//! Bytes on disk and bytes written: 10 M rows of 10 features, and 20 M entities in the dictionary.

use std::path::Path;

use crate::data::{BATCH_ROWS, Source, Versions};
use crate::engine::Engine;
use crate::harness::{Harness, Reading, Result};
use crate::report::{Bound, FIRN};

const FEATURES: usize = 10;
const HISTORY: &str = "history, per row of key, time and 10 float64";
const PACK: &str = "latest pack, per entity of 10 float64";
const AMPLIFICATION: &str = "written for history, per byte of rows";
const PACK_AMPLIFICATION: &str = "written for packs, per byte of rows";
const DICTIONARY: &str = "dictionary, per entity with an int64 key";
const DIRECTORY: &str = "segments beyond time and feature, per entity";

/// Measures, and says the targets of space.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    history(harness)?;
    dictionary(harness)
}

fn history(harness: &mut Harness) -> Result<()> {
    // In full, as many rows as a day brings at a little over 1,000 a second.
    let rows = harness.sized(if harness.settings.full { 100_000_000 } else { 20_000_000 }, BATCH_ROWS * 16);
    let users = harness.sized(100_000, 100);
    let directory = harness.directory()?;
    let engine = Engine::open(&harness.settings, directory.path())?;
    engine.declare("t", FEATURES)?;
    let mut source = Source::new(50);
    let mut written = 0;
    while written < rows {
        written += engine.write("t", source.history((rows - written).min(64 * BATCH_ROWS), users, FEATURES))?;
    }
    engine.settle()?;
    let statistics = engine.database.statistics();
    let arrow_bytes = (written * (2 + FEATURES) * 8) as f64;
    let history = statistics.wal_bytes.get() + statistics.flush_bytes.get() + statistics.compaction_bytes.get();
    let packs = statistics.pack_bytes.get() as f64;
    let segments = bytes_of(directory.path(), "segment")? as f64;
    let pack = bytes_of(directory.path(), "pack")? as f64;
    for (metric, unit, value) in [
        (HISTORY, "bytes", segments / written as f64),
        (PACK, "bytes", pack / users as f64),
        (AMPLIFICATION, "bytes", history as f64 / arrow_bytes),
        (PACK_AMPLIFICATION, "bytes", packs / arrow_bytes),
    ] {
        harness.record(FIRN, Reading::new(metric, unit, value));
    }
    harness.target("history against its Arrow size", Some(segments / arrow_bytes), Bound::AtMost(1.1));
    harness.target(
        "bytes written for history per byte of rows",
        Some(history as f64 / arrow_bytes),
        Bound::AtMost(10.0),
    );
    engine.close()
}

fn dictionary(harness: &mut Harness) -> Result<()> {
    let users = harness.sized(20_000_000, 100_000);
    let directory = harness.directory()?;
    let engine = Engine::open(&harness.settings, directory.path())?;
    engine.declare("t", 1)?;
    engine.write("t", Versions { users, span: 1 }.rows(0..1, 1))?;
    engine.settle()?;
    let per_user = |kind: &str| -> Result<f64> { Ok(bytes_of(directory.path(), kind)? as f64 / users as f64) };
    let (dictionary, segments) = (per_user("dictionary")?, per_user("segment")? - 16.0);
    harness.record(FIRN, Reading::new(DICTIONARY, "bytes", dictionary));
    harness.record(FIRN, Reading::new(DIRECTORY, "bytes", segments));
    harness.target("dictionary: bytes per int64 key", Some(dictionary), Bound::AtMost(28.0));
    harness.target("per table beyond its data: bytes per entity", Some(segments), Bound::AtMost(8.0));
    engine.close()
}

/// The bytes of all files below `directory` whose names end with `kind`.
fn bytes_of(directory: &Path, kind: &str) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            bytes += bytes_of(&path, kind)?;
        } else if path.extension().is_some_and(|extension| extension == kind) {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}
