//! Durable writes over the wire: 10 float64 features, acknowledged once they are synced and readable.

use crate::data::Source;
use crate::firn::{self, Firn};
use crate::harness::{Harness, Reading, Result, System};
use crate::report::{Bound, FIRN};

const FEATURES: usize = 10;
const BATCHES: &str = "batches of 8,192, rate";

/// Measures, and says the targets of ingest.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    let (users, rows) = (harness.sized(100_000, 100), harness.sized(2_000_000, 8192));
    let directory = harness.directory()?;
    let firn = Firn::start(harness, directory.path())?;
    let runtime = harness.runtime.handle().clone();
    let client = runtime.block_on(async {
        let client = firn.client().await?;
        firn::declare_entity(&client, "user", &["user"]).await?;
        firn::declare_table(&client, "t", "user", "f", FEATURES).await?;
        Result::Ok(client)
    })?;
    let mut source = Source::new(3);
    let batches = System::new(FIRN, || {
        let batches = source.history(rows, users, FEATURES);
        let started = std::time::Instant::now();
        let written = runtime.block_on(firn::write(&client, "t", batches))?;
        let seconds = started.elapsed().as_secs_f64();
        Ok(vec![Reading::new(BATCHES, "rows/s", written.rows as f64 / seconds)])
    });
    harness.alternate(vec![batches])?;
    harness.target("batches of 8,192: rows/s, durable", harness.value(FIRN, BATCHES), Bound::AtLeast(1.2e6));
    firn.stop()
}
