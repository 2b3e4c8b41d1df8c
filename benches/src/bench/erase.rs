//! What an erase costs those who read and write meanwhile: 100,000 keys of 10 M entities, in the engine.
//!
//! Lookups and writes go on at a steady rate that does not wait for answers, first alone and then beside the erase, until
//! its receipt is there. Only what runs in both is compared: the erase itself is reported, and has no target.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use firn_storage::database::EraseRequest;

use crate::data::Source;
use crate::engine::{self, Engine};
use crate::harness::{Harness, Reading, Result, System};
use crate::report::{Bound, FIRN};
use crate::statistics::latencies;

const FEATURES: usize = 10;
/// Rows of a lookup and of a write, and how often each comes.
const ROWS: usize = 100;
const EVERY: Duration = Duration::from_millis(5);
const LOOKUP: &str = "lookup of 100 entities";
const WRITE: &str = "write of 100 rows";
const ALONE: &str = "alone";
const BESIDE: &str = "beside an erase of 100,000 keys";
const TOOK: &str = "erase of 100,000 keys of 10 M entities";

/// Measures, and says the targets of erasing.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    let users = harness.sized(10_000_000, 10_000);
    let erased = harness.sized(100_000, 100);
    let alone = Duration::from_millis(harness.sized(10_000, 200) as u64);
    let directory = harness.directory()?;
    let engine = Engine::open(&harness.settings, directory.path())?;
    engine.declare("t", FEATURES)?;
    engine.write("t", Source::new(51).one_row_each(users, FEATURES))?;
    engine.settle()?;
    let mut round = 0;
    let system = System::new(FIRN, || {
        round += 1;
        let load = Load { engine: &engine, users, seed: round };
        let mut readings = load.beside(ALONE, || {
            std::thread::sleep(alone);
            Ok(())
        })?;
        let keys: ArrayRef = Arc::new(Int64Array::from(Source::new(1000 + round).users(erased, users)));
        let request = EraseRequest { entity: "user".to_owned(), keys: vec![("user".to_owned(), keys)], block: false };
        let started = Instant::now();
        readings.extend(load.beside(BESIDE, || {
            engine.database.erase(&engine.database.catalog(), &request).map(drop).map_err(Into::into)
        })?);
        readings.push(Reading::new(TOOK, "s", started.elapsed().as_secs_f64()));
        engine.settle()?;
        Ok(readings)
    });
    harness.alternate_rounds(harness.settings.rounds.min(3), vec![system])?;
    for work in [LOOKUP, WRITE] {
        let p99 = |when: &str| format!("{work}, {when}, p99");
        let ratio = harness.ratio((FIRN, &p99(BESIDE)), (FIRN, &p99(ALONE)));
        harness.target(&format!("{work}: p99 {BESIDE} against {ALONE}"), ratio, Bound::AtMost(1.5));
    }
    engine.close()
}

/// Lookups and writes at their rate.
struct Load<'a> {
    engine: &'a Engine,
    users: usize,
    seed: u64,
}

impl Load<'_> {
    /// What they wait while `work` runs, which is `when`.
    fn beside(&self, when: &str, work: impl FnOnce() -> Result<()>) -> Result<Vec<Reading>> {
        let over = AtomicBool::new(false);
        let (worked, lookups, writes) = std::thread::scope(|scope| {
            let lookups = scope.spawn(|| self.lookups(&over));
            let writes = scope.spawn(|| self.writes(&over));
            let worked = work();
            over.store(true, Ordering::Relaxed);
            (worked, lookups.join(), writes.join())
        });
        worked?;
        let lookups = lookups.map_err(|_| "the lookups panicked")??;
        let writes = writes.map_err(|_| "the writes panicked")??;
        let named = |work: &str, waits: &[Duration]| latencies(&format!("{work}, {when}"), waits);
        Ok([named(LOOKUP, &lookups), named(WRITE, &writes)].concat())
    }

    fn lookups(&self, over: &AtomicBool) -> Result<Vec<Duration>> {
        let requests = Source::new(2000 + self.seed).requests(64, ROWS, self.users);
        paced(over, |number| {
            let request: &RecordBatch = &requests[number % requests.len()];
            self.engine.read(&engine::latest("t"), std::slice::from_ref(request)).map(drop)
        })
    }

    fn writes(&self, over: &AtomicBool) -> Result<Vec<Duration>> {
        let mut source = Source::new(3000 + self.seed);
        paced(over, |_| {
            let (users, times) = (source.users(ROWS, self.users), source.times(ROWS));
            self.engine.write("t", [source.rows(users, times, FEATURES)]).map(drop)
        })
    }
}

/// Does `work` at its rate until it is `over`, at least once; what each waited since it was due.
fn paced(over: &AtomicBool, mut work: impl FnMut(usize) -> Result<()>) -> Result<Vec<Duration>> {
    let started = Instant::now();
    let mut waits = Vec::new();
    while waits.is_empty() || !over.load(Ordering::Relaxed) {
        let due = started + EVERY * waits.len() as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        work(waits.len())?;
        waits.push(due.elapsed());
    }
    Ok(waits)
}
