//! How soon a written value is in a lookup on another connection, while 100,000 rows a second are written.
//!
//! Every batch ends with a row of one entity, the marker, whose value is the batch's number. A reader asks for the
//! marker again and again; what it sees for the first time has been waited for since its batch had been sent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use firn_client::Client;

use crate::data::{EPOCH, Source, assemble, keys};
use crate::firn::{self, Firn};
use crate::harness::{Harness, Reading, Result, System};
use crate::load;
use crate::report::{Bound, FIRN};
use crate::statistics::latencies;

const FEATURES: usize = 10;
const ROWS: usize = 250;
const ROWS_PER_SECOND: f64 = 100_000.0;
const WAIT: &str = "sent to seen at 100,000 rows/s";
/// How long the reader rests between two questions.
const REST: Duration = Duration::from_micros(200);

/// Measures, and says the target of freshness.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    let users = harness.sized(100_000, 1000);
    let directory = harness.directory()?;
    let firn = Firn::start(harness, directory.path())?;
    let (writer, reader) = harness.runtime.block_on(async {
        let client = firn.client().await?;
        firn::declare_entity(&client, "user", &["user"]).await?;
        firn::declare_table(&client, "t", "user", "f", FEATURES).await?;
        Result::Ok((client, firn.client().await?))
    })?;
    let seconds = 4.0 / harness.settings.shrink.min(20) as f64;
    let count = (ROWS_PER_SECOND * seconds) as usize / ROWS;
    let (mut source, mut moment) = (Source::new(8), EPOCH);
    let features = source.features(ROWS, "f", FEATURES);
    let runtime = harness.runtime.handle().clone();
    let round = System::new(FIRN, || {
        let batches: Vec<RecordBatch> = (0..count)
            .map(|number| {
                moment += 1;
                let mut users = source.users(ROWS, users);
                users[ROWS - 1] = marker();
                assemble(&[("user", users)], ("at", vec![moment; ROWS]), marked(&features, number))
            })
            .collect();
        let (rate, waits) = runtime.block_on(watch(&writer, &reader, batches))?;
        let [p50, p99] = latencies(WAIT, &waits);
        Ok(vec![p50, p99, Reading::new(format!("{WAIT}, written"), "rows/s", rate)])
    });
    harness.alternate(vec![round])?;
    let p99 = harness.value(FIRN, &format!("{WAIT}, p99"));
    harness.target(&format!("{WAIT}: p99, ms"), p99, Bound::AtMost(20.0));
    firn.stop()
}

/// The entity that is asked for.
fn marker() -> i64 {
    -1
}

/// `features` with `number` in the last row of the first of them.
fn marked(features: &[(String, ArrayRef)], number: usize) -> Vec<(String, ArrayRef)> {
    let mut values = features[0].1.as_primitive::<Float64Type>().values().to_vec();
    values[ROWS - 1] = number as f64;
    let first = (features[0].0.clone(), Arc::new(Float64Array::from(values)) as ArrayRef);
    [first].into_iter().chain(features[1..].iter().cloned()).collect()
}

/// Writes `batches` at the rate while the reader looks; the rows written per second, and how long each batch took.
async fn watch(writer: &Client, reader: &Client, batches: Vec<RecordBatch>) -> Result<(f64, Vec<Duration>)> {
    let count = batches.len();
    let sent = Arc::new(Mutex::new(Vec::with_capacity(count)));
    let ended = Arc::new(AtomicBool::new(false));
    let seeing = {
        let (reader, ended) = (reader.clone(), Arc::clone(&ended));
        tokio::task::spawn_blocking(move || futures::executor::block_on(look(&reader, count, &ended)))
    };
    let note = {
        let sent = Arc::clone(&sent);
        move |_: usize| sent.lock().expect("no thread panicked with it").push(Instant::now())
    };
    let rate = load::paced_writes(writer, "t", batches, ROWS_PER_SECOND / ROWS as f64, note).await;
    ended.store(rate.is_err(), Ordering::Relaxed);
    let seen = seeing.await??;
    let sent = sent.lock().expect("no thread panicked with it");
    let waits = seen.iter().zip(sent.iter()).map(|(seen, sent)| seen.saturating_duration_since(*sent));
    Ok((rate?, waits.collect()))
}

/// Asks for the marker until it has the last number; when each number, or a later one, was first seen.
async fn look(reader: &Client, count: usize, ended: &AtomicBool) -> Result<Vec<Instant>> {
    let request = keys(&[("user", vec![marker()])]);
    let (mut asking, mut answers) = reader.lookups(firn::lookup(&["t"]), request.schema()).await?;
    let mut seen = Vec::with_capacity(count);
    // The value that an earlier round left.
    let mut old = None;
    while seen.len() < count && !ended.load(Ordering::Relaxed) {
        asking.send(&request).await?;
        let answer = answers.answer().await?.ok_or("the stream ended")?.batch()?;
        let now = Instant::now();
        let newest = answer.column(0).as_primitive::<Float64Type>().iter().next().flatten();
        let old = *old.get_or_insert(newest);
        let is_new = newest != old || !seen.is_empty();
        while is_new && newest.is_some_and(|newest| newest >= seen.len() as f64) && seen.len() < count {
            seen.push(now);
        }
        std::thread::sleep(REST);
    }
    Ok(seen)
}
