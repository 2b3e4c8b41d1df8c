//! The as-of join, ten times as large: 10 M spine rows × 100 M rows of 1 M entities, 10 float64 features, over the wire.
//!
//! The server's own memory (without what is mapped) is watched while the spine streams through it, at 1 M rows and at
//! 10 M. Feast joins a hundredth of the spine with a tenth of the rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use firn_client::Client;

use super::join::write_parquet;
use crate::data::{BATCH_ROWS, Source, cut};
use crate::firn::{self, Firn};
use crate::harness::{Harness, Reading, Result};
use crate::peers::Script;
use crate::report::{Bound, FIRN};

const FEATURES: usize = 10;
const SPINE_ROWS: usize = 65_536;
const SMALL: &str = "1 M × 10 M rows of 100 K entities, over the wire";
const SHORT: &str = "1 M × 100 M rows of 1 M entities, over the wire";
const LONG: &str = "10 M × 100 M rows of 1 M entities, over the wire";
const FEAST: &str = "100 K × 10 M rows of 100 K entities";

/// Measures, and says the targets of large joins.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    let users = harness.sized(1_000_000, 100);
    let directory = harness.directory()?;
    let firn = Firn::start_loading(harness, directory.path())?;
    let client = harness.runtime.block_on(async {
        let client = firn.client().await?;
        firn::declare_entity(&client, "user", &["user"]).await?;
        firn::declare_table(&client, "small", "user", "f", FEATURES).await?;
        firn::declare_table(&client, "large", "user", "f", FEATURES).await?;
        Result::Ok(client)
    })?;
    load(harness, &client, "small", harness.sized(10_000_000, BATCH_ROWS), users / 10)?;
    load(harness, &client, "large", harness.sized(100_000_000, BATCH_ROWS), users)?;
    firn.settle()?;
    for (work, table, rows, users) in [
        (SMALL, "small", 1_000_000, users / 10),
        (SHORT, "large", 1_000_000, users),
        (LONG, "large", 10_000_000, users),
    ] {
        let spine = cut(&Source::new(71).spine(harness.sized(rows, 1000), users), SPINE_ROWS);
        // Once to warm up.
        join(harness, &firn, &client, table, &spine)?;
        let (seconds, bytes) = join(harness, &firn, &client, table, &spine)?;
        harness.record(FIRN, Reading::new(work, "s", seconds));
        harness.record(FIRN, Reading::new(format!("{work}, peak of own memory"), "MB", bytes / 1e6));
    }
    let times = harness.ratio((FIRN, LONG), (FIRN, SMALL));
    harness.target("10 M × 100 M rows: times 1 M × 10 M", times, Bound::AtMost(15.0));
    let peak = |work: &str| format!("{work}, peak of own memory");
    let memory = harness.ratio((FIRN, &peak(LONG)), (FIRN, &peak(SHORT)));
    harness.target("peak of the server's own memory: spine of 10 M against 1 M", memory, Bound::AtMost(1.25));
    firn.stop()?;
    drop(directory);
    if harness.settings.peers { feast(harness) } else { Ok(()) }
}

fn load(harness: &Harness, client: &Client, table: &str, rows: usize, users: usize) -> Result<()> {
    let mut source = Source::new(70);
    let mut left = rows;
    while left > 0 {
        let count = left.min(128 * BATCH_ROWS);
        harness.runtime.block_on(firn::write(client, table, source.history(count, users, FEATURES)))?;
        left -= count;
    }
    Ok(())
}

/// Streams `spine` through a join; the seconds, and the most memory that the server had of its own meanwhile.
fn join(harness: &Harness, firn: &Firn, client: &Client, table: &str, spine: &[RecordBatch]) -> Result<(f64, f64)> {
    let done = Arc::new(AtomicBool::new(false));
    let (watched, process) = (Arc::clone(&done), firn.process());
    let watching = std::thread::spawn(move || {
        let mut most = 0.0_f64;
        loop {
            most = most.max(own_bytes(process).unwrap_or(0.0));
            if watched.load(Ordering::Relaxed) {
                return most;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let started = Instant::now();
    let joined = harness.runtime.block_on(stream(client, table, spine));
    let seconds = started.elapsed().as_secs_f64();
    done.store(true, Ordering::Relaxed);
    let most = watching.join().map_err(|_| "the watching thread panicked")?;
    joined?;
    Ok((seconds, most))
}

/// Sends the spine while answers come, and keeps none of them.
async fn stream(client: &Client, table: &str, spine: &[RecordBatch]) -> Result<()> {
    let (mut requests, mut answers) = client.joins(firn::join(&[table]), spine[0].schema()).await?;
    let send = async {
        for batch in spine {
            requests.send(batch).await?;
        }
        drop(requests);
        Result::Ok(())
    };
    let receive = async {
        let mut rows = 0;
        while let Some(message) = answers.message().await? {
            rows += message.batch.num_rows();
        }
        Result::Ok(rows)
    };
    let (sent, rows) = tokio::join!(send, receive);
    sent?;
    let asked: usize = spine.iter().map(RecordBatch::num_rows).sum();
    if rows? != asked {
        return Err("the join did not answer every row of the spine".into());
    }
    Ok(())
}

/// The bytes that `process` has of its own, without mapped files.
fn own_bytes(process: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
}

fn feast(harness: &mut Harness) -> Result<()> {
    let users = harness.sized(100_000, 100);
    let files = harness.directory()?;
    let history = Source::new(20).history(harness.sized(10_000_000, BATCH_ROWS), users, FEATURES);
    write_parquet(&files.path().join("history.parquet"), &history)?;
    drop(history);
    let spine = Source::new(21).spine(harness.sized(100_000, 1000), users);
    write_parquet(&files.path().join("spine.parquet"), std::slice::from_ref(&spine))?;
    let mut script = Script::start(harness, "feast", "feast_join.py", &[&files.path().to_string_lossy()])?;
    let answer = script.work("join")?;
    for (metric, unit) in [("seconds", "s"), ("matched", "rows")] {
        let value = answer[metric].as_f64().ok_or_else(|| format!("no number `{metric}` in {answer}"))?;
        harness.record("Feast, file store", Reading::new(format!("{FEAST}, {metric}"), unit, value));
    }
    Ok(())
}
