//! Reading a whole table at latest: 2 M entities of 10 float64 features, in the engine and over the wire.
//!
//! In the engine two threads read a part each; over the wire two connections do. The echo sends as many rows of the same
//! width in answer to the same number of calls.

use std::sync::Arc;
use std::time::Instant;

use firn_client::wire::{Command, Scan};
use firn_client::{Answers, Client};
use firn_storage::read::ScanRequest;
use futures::future::try_join_all;

use crate::data::Source;
use crate::echo::Echo;
use crate::engine::Engine;
use crate::firn::Firn;
use crate::harness::{Harness, Reading, Result, System};
use crate::report::{Bound, FIRN};

const FEATURES: usize = 10;
/// Parts that are read at the same time.
const PARTS: usize = 2;
const ECHO: &str = "echo (limit)";
const ENGINE: &str = "in the engine, 2 threads, rate";
const WIRE: &str = "over the wire, 2 connections, rate";
/// What the engine should do at least, rows per second.
const ENGINE_RATE: f64 = 5e6;

/// Measures, and says the targets of bulk reads.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    let users = harness.sized(2_000_000, 5000);
    let directory = harness.directory()?;
    in_engine(harness, directory.path(), users)?;
    over_the_wire(harness, directory.path(), users)?;
    harness.target("rows/s in the engine", harness.value(FIRN, ENGINE), Bound::AtLeast(ENGINE_RATE));
    let ratio = harness.ratio((FIRN, WIRE), (ECHO, WIRE));
    harness.target("over the wire, of the echo", ratio, Bound::AtLeast(0.6));
    Ok(())
}

fn in_engine(harness: &mut Harness, directory: &std::path::Path, users: usize) -> Result<()> {
    let engine = Engine::open(&harness.settings, directory)?;
    engine.declare("t", FEATURES)?;
    engine.write("t", Source::new(1).one_row_each(users, FEATURES))?;
    engine.settle()?;
    let request = ScanRequest { table: "t".to_owned(), parts: PARTS, ..ScanRequest::default() };
    let system = System::new(FIRN, || {
        let started = Instant::now();
        let scan = engine.database.scan(&engine.database.catalog(), &request)?;
        let read =
            |part: usize| -> Result<usize> { scan.open(part)?.try_fold(0, |rows, batch| Ok(rows + batch?.num_rows())) };
        let rows = std::thread::scope(|scope| {
            let reading: Vec<_> = (0..scan.parts()).map(|part| scope.spawn(move || read(part))).collect();
            reading.into_iter().map(|part| part.join().map_err(|_| "a part ended its thread")?).sum::<Result<usize>>()
        })?;
        rated(ENGINE, rows, users, started)
    });
    harness.alternate(vec![system])?;
    engine.close()
}

fn over_the_wire(harness: &mut Harness, directory: &std::path::Path, users: usize) -> Result<()> {
    let firn = Firn::start(harness, directory)?;
    let echo = Echo::start(harness, FEATURES + 1)?;
    let runtime = harness.runtime.handle().clone();
    let connections = |url: &dyn Fn() -> Result<Client>| (0..PARTS).map(|_| url()).collect::<Result<Vec<_>>>();
    let clients = connections(&|| Ok(runtime.block_on(firn.client())?))?;
    let echoes = connections(&|| Ok(runtime.block_on(echo.client())?))?;
    let of_firn = System::new(FIRN, || {
        let started = Instant::now();
        let rows = runtime.block_on(async {
            let parts = clients[0].scan(&Scan { table: "t".to_owned(), ..Scan::default() }).await?;
            let parts = Arc::new(parts);
            let reading = clients.iter().enumerate().map(|(first, client)| {
                let (client, parts) = (client.clone(), Arc::clone(&parts));
                tokio::spawn(async move {
                    let mut rows = 0;
                    for part in (first..parts.len()).step_by(PARTS) {
                        rows += count(client.scan_part(&parts, part).await?).await?;
                    }
                    Result::Ok(rows)
                })
            });
            total(try_join_all(reading).await?)
        })?;
        rated(WIRE, rows, users, started)
    });
    let of_echo = System::new(ECHO, || {
        let started = Instant::now();
        let rows = runtime.block_on(async {
            let reading = echoes.iter().map(|client| {
                let (client, rows) = (client.clone(), users / PARTS);
                let command = Command::Scan(Scan { table: rows.to_string(), ..Scan::default() });
                tokio::spawn(async move { count(client.get(&command).await?).await })
            });
            total(try_join_all(reading).await?)
        })?;
        rated(WIRE, rows, users, started)
    });
    harness.alternate(vec![of_firn, of_echo])?;
    firn.stop()
}

/// The rows of a stream.
async fn count(mut answers: Answers) -> Result<usize> {
    let mut rows = 0;
    while let Some(message) = answers.message().await? {
        rows += message.batch.num_rows();
    }
    Ok(rows)
}

fn total(parts: Vec<Result<usize>>) -> Result<usize> {
    parts.into_iter().sum()
}

/// The rate of `rows`, which must be one for each of `users`.
fn rated(metric: &str, rows: usize, users: usize, started: Instant) -> Result<Vec<Reading>> {
    if rows != users {
        return Err(format!("{rows} rows came of {users}").into());
    }
    Ok(vec![Reading::new(metric, "rows/s", rows as f64 / started.elapsed().as_secs_f64())])
}
