//! Opening a database: 10 M entities of 50 features, and a log that has to be replayed.

use std::path::PathBuf;
use std::time::Instant;

use crate::data::{Source, Versions};
use crate::engine::{self, Engine};
use crate::harness::{Harness, Reading, Result, System, copy_directory};
use crate::report::{Bound, FIRN};

const OPEN: &str = "open 10 M entities × 50 features and answer";
const REPLAY: &str = "replay of the log, 10 features";
/// The data directory that several benches of a run share.
const ENTITIES: &str = "entities";

/// Measures, and says the targets of opening.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    let directory = entities(harness)?;
    let request = Source::new(40).requests(1, 1, harness.sized(10_000_000, 10_000));
    let settings = harness.settings.clone();
    let opening = System::new(FIRN, || {
        let started = Instant::now();
        let engine = Engine::open(&settings, &directory)?;
        engine.read(&engine::latest("t"), &request)?;
        let seconds = started.elapsed().as_secs_f64();
        engine.close()?;
        Ok(vec![Reading::new(OPEN, "s", seconds)])
    });
    harness.alternate(vec![opening])?;
    harness.target(&format!("{OPEN}: s"), harness.value(FIRN, OPEN), Bound::AtMost(1.0));
    replay(harness)
}

/// A directory with 10 M entities of 50 features after its normal background work, built once per run.
pub(super) fn entities(harness: &mut Harness) -> Result<PathBuf> {
    if let Some(directory) = harness.kept(ENTITIES) {
        return Ok(directory);
    }
    let users = harness.sized(10_000_000, 10_000);
    let directory = harness.directory()?;
    let engine = Engine::open(&harness.settings, directory.path())?;
    engine.declare("t", 50)?;
    engine.write("t", Versions { users, span: 1 }.rows(0..1, 50))?;
    engine.settle()?;
    engine.close()?;
    Ok(harness.keep(ENTITIES, directory))
}

fn replay(harness: &mut Harness) -> Result<()> {
    let (rows, users) = (harness.sized(2_000_000, 8192), harness.sized(100_000, 100));
    let (written, crashed) = (harness.directory()?, harness.directory()?);
    let in_memory = |options: &mut firn_storage::config::Options| {
        options.background = false;
        options.memory_bytes_max = 16 << 30;
        options.flush_bytes_max = 16 << 30;
    };
    let engine = Engine::open_with(&harness.settings, written.path(), in_memory)?;
    engine.declare("t", 10)?;
    engine.write("t", Source::new(41).history(rows, users, 10))?;
    // Files as they are while the database is open are what a crash leaves.
    copy_directory(written.path(), crashed.path())?;
    engine.close()?;
    let settings = harness.settings.clone();
    let system = System::new(FIRN, || {
        let copy = tempfile::tempdir_in(crashed.path().parent().unwrap_or(crashed.path()))?;
        copy_directory(crashed.path(), copy.path())?;
        let started = Instant::now();
        let engine = Engine::open_with(&settings, copy.path(), in_memory)?;
        let seconds = started.elapsed().as_secs_f64();
        engine.close()?;
        Ok(vec![Reading::new(REPLAY, "rows/s", rows as f64 / seconds)])
    });
    harness.alternate_rounds(harness.settings.rounds.min(3), vec![system])?;
    harness.target(&format!("{REPLAY}: rows/s"), harness.value(FIRN, REPLAY), Bound::AtLeast(2e6));
    Ok(())
}
