//! Load on an exchange: closed, with a number of requests in flight, or open, at a rate that does not wait for answers.
//!
//! FirnDB and the echo are driven by the same code through the same client.

use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use firn_client::wire::{Lookup, Put};
use firn_client::{Answers, Client};

use crate::harness::Result;

/// What a load came to.
#[derive(Debug)]
pub(crate) struct Load {
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// From each request to its answer.
    pub waits: Vec<Duration>,
    /// How many rows were answered.
    pub rows: usize,
}

impl Load {
    /// Rows per second.
    pub(crate) fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.elapsed.as_secs_f64()
    }
}

/// Sends `requests` over one exchange, `in_flight` at a time.
pub(crate) async fn closed(
    client: &Client,
    lookup: &Lookup,
    requests: &[RecordBatch],
    in_flight: usize,
) -> Result<Load> {
    let Some(first) = requests.first() else { return Err("there are no requests".into()) };
    let (mut asking, mut answers) = client.lookups(lookup.clone(), first.schema()).await?;
    // Whatever happens once per stream happens here.
    asking.send(first).await?;
    answered(&mut answers, first).await?;
    let mut waits = Vec::with_capacity(requests.len());
    let mut sent = Vec::with_capacity(requests.len());
    let mut rows = 0;
    let started = Instant::now();
    for request in requests.iter().take(in_flight) {
        sent.push(Instant::now());
        asking.send(request).await?;
    }
    for (number, request) in requests.iter().enumerate() {
        rows += answered(&mut answers, request).await?;
        waits.push(sent[number].elapsed());
        if let Some(next) = requests.get(sent.len()) {
            sent.push(Instant::now());
            asking.send(next).await?;
        }
    }
    Ok(Load { elapsed: started.elapsed(), waits, rows })
}

/// Sends requests over one exchange, `per_second` of them for `seconds`, whether or not answers have come. Waits count
/// from the moment at which a request was due.
pub(crate) async fn open(
    client: &Client,
    lookup: &Lookup,
    requests: &[RecordBatch],
    per_second: f64,
    seconds: f64,
) -> Result<Load> {
    let Some(first) = requests.first() else { return Err("there are no requests".into()) };
    let (mut asking, mut answers) = client.lookups(lookup.clone(), first.schema()).await?;
    asking.send(first).await?;
    answered(&mut answers, first).await?;
    let count = (per_second * seconds) as usize;
    let started = Instant::now();
    let due = move |number: usize| started + Duration::from_secs_f64(number as f64 / per_second);
    let requests: Vec<RecordBatch> = requests.iter().cycle().take(count).cloned().collect();
    let sending = requests.clone();
    // A thread of its own: the timers of the runtime are too coarse.
    let pace = tokio::task::spawn_blocking(move || {
        for (number, request) in sending.iter().enumerate() {
            std::thread::sleep(due(number).saturating_duration_since(Instant::now()));
            // The answers say why a stream has ended.
            if futures::executor::block_on(asking.send(request)).is_err() {
                break;
            }
        }
    });
    let mut waits = Vec::with_capacity(count);
    let mut rows = 0;
    for (number, request) in requests.iter().enumerate() {
        rows += answered(&mut answers, request).await?;
        waits.push(due(number).elapsed());
    }
    pace.await?;
    Ok(Load { elapsed: started.elapsed(), waits, rows })
}

/// Writes `batches` over one stream, `per_second` of them, and waits until all are acknowledged. Calls `sent` after each
/// has been handed to the connection. Answers the rows that were acknowledged per second.
pub(crate) async fn paced_writes(
    client: &Client,
    table: &str,
    batches: Vec<RecordBatch>,
    per_second: f64,
    sent: impl Fn(usize) + Send + 'static,
) -> Result<f64> {
    let Some(first) = batches.first() else { return Err("there is nothing to write".into()) };
    let mut writer = client.writer(Put::write(table), first.schema());
    let started = Instant::now();
    let sending = tokio::task::spawn_blocking(move || {
        for (number, batch) in batches.iter().enumerate() {
            let due = started + Duration::from_secs_f64(number as f64 / per_second);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // The end of the stream says why it has ended.
            if futures::executor::block_on(writer.send(batch)).is_err() {
                break;
            }
            sent(number);
        }
        writer
    });
    let (written, end) = sending.await?.finish().await;
    end?;
    Ok(written.rows as f64 / started.elapsed().as_secs_f64())
}

/// Waits for the answer to `request`; how many rows it has.
async fn answered(answers: &mut Answers, request: &RecordBatch) -> Result<usize> {
    let answer = answers.answer().await?.ok_or("the stream ended before its last answer")?;
    if let Some(error) = answer.answer.error {
        return Err(error.message.into());
    }
    let rows = answer.batches.iter().map(RecordBatch::num_rows).sum();
    if rows != request.num_rows() {
        return Err(format!("{} rows were asked for and {rows} answered", request.num_rows()).into());
    }
    Ok(rows)
}
