//! Lookups at a moment of the past, on the path that serves: 100 versions per entity in 1, 4 and 8 runs.
//!
//! Compaction is off, so that the number of runs is the one that is meant. Each run holds a slice of time, as flushes
//! leave them. The time of latest, which all of it is compared with, is that of the same rows compacted.

use arrow_array::RecordBatch;
use firn_storage::config::Options;

use crate::data::{SPAN, Source, Versions, cut};
use crate::engine::{self, Engine};
use crate::harness::{Harness, Reading, Result, System};
use crate::report::{Bound, FIRN};

const FEATURES: usize = 10;
const VERSIONS: usize = 100;
const BATCH: usize = 1000;
const LATEST: &str = "latest, batch 1,000";

/// Measures, and says the targets of lookups of the past.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    let users = harness.sized(100_000, 200);
    let spine = Source::new(30).spine(harness.sized(200, 2) * BATCH, users);
    let requests = cut(&spine, BATCH);
    let mut kept = Vec::new();
    for runs in [1, 4, 8] {
        let directory = harness.directory()?;
        let engine = Engine::open_with(&harness.settings, directory.path(), quiet)?;
        engine.declare("t", FEATURES)?;
        let versions = Versions { users, span: SPAN / VERSIONS as i64 };
        for run in 0..runs {
            let slice = run * VERSIONS / runs..(run + 1) * VERSIONS / runs;
            engine.write("t", versions.rows(slice, FEATURES))?;
            engine.database.flush(&engine.database.catalog(), None)?;
        }
        if runs == 1 {
            // One run is what compaction leaves; this also builds the packs that latest reads.
            engine.database.compact(&engine.database.catalog(), None)?;
        }
        kept.push((runs, engine, directory));
    }
    let system = System::new(FIRN, || {
        let mut readings = vec![per_vector(LATEST, &kept[0].1, &engine::latest("t"), &requests)?];
        for (runs, engine, _) in &kept {
            readings.push(per_vector(&name(*runs), engine, &engine::as_of("t"), &requests)?);
        }
        Ok(readings)
    });
    harness.alternate(vec![system])?;
    for (runs, bound) in [(4, 3.0), (8, 6.0)] {
        let ratio = harness.ratio((FIRN, &name(runs)), (FIRN, LATEST));
        harness.target(&format!("{}: times latest", name(runs)), ratio, Bound::AtMost(bound));
    }
    Ok(())
}

fn name(runs: usize) -> String {
    format!("as of, {VERSIONS} versions, {runs} runs, batch 1,000")
}

/// Leaves flush and compaction to the bench, with room for all rows in memory.
fn quiet(options: &mut Options) {
    options.background = false;
    options.memory_bytes_max = 16 << 30;
    options.flush_bytes_max = 16 << 30;
}

/// The time of one vector.
pub(super) fn per_vector(
    metric: &str,
    engine: &Engine,
    request: &firn_storage::read::PointRequest,
    batches: &[RecordBatch],
) -> Result<Reading> {
    let (rows, elapsed) = engine.read(request, batches)?;
    Ok(Reading::new(metric, "µs/vector", elapsed.as_secs_f64() * 1e6 / rows as f64))
}
