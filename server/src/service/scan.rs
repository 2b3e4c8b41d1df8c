//! DoGet of a scan: its parts, one after the other, each batch read when the client has room for it.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use firn_client::wire::{Answer, Scan};
use firn_storage::read::Batches;
use futures::StreamExt;
use tonic::Status;

use super::convert;
use super::outgoing::Outgoing;
use super::resources::Pool;
use super::resources::granted::Entry;
use super::streams::{Answers, Source, stream};
use crate::access::Method;
use crate::metrics::{Metrics, OpenGuard};
use crate::refusal::{from_error, unavailable};

struct Scanning {
    entry: Entry,
    scan: Arc<firn_storage::read::Scan>,
    parts: std::ops::Range<usize>,
    batches: Option<Batches>,
    /// What every message says.
    metadata: Answer,
    /// A batch leaves when it is known whether it is the last.
    following: Option<RecordBatch>,
    finished: bool,
    outgoing: Outgoing,
    rows: u64,
    started: Instant,
    _open: OpenGuard,
}

/// Serves a scan, or the part of it that its ticket names.
pub(super) async fn serve(entry: Entry, scan: Scan) -> Result<Answers<FlightData>, Status> {
    let granted = entry.authorize(Method::DoGet, call(&scan))?;
    let resources = granted.resources();
    let message_bytes = resources.message_bytes(scan.max_message_bytes)?;
    let parts = scan.part.map_or(1, |part| part.parts as usize);
    let request = convert::scan_request(&scan, parts.min(resources.limits.scan_parts.max(1)))?;
    let catalog = granted.catalog_asked(request.schema_version, request.durable)?;
    let found = granted.engine(Pool::Waiters, move |database| database.scan(&catalog, &request)).await?;
    let parts = match scan.part {
        None => 0..found.parts(),
        // A ticket may name more parts than there are buckets; the surplus is empty.
        Some(part) => {
            let first = (part.part as usize).min(found.parts());
            first..(first + 1).min(found.parts())
        }
    };
    let outgoing = Outgoing::new(Arc::clone(found.schema()), message_bytes);
    let metadata = Answer {
        request: 0,
        last: false,
        read_position: Some(found.snapshot().position().to_string()),
        durable_position: found.snapshot().durable_position().map(|position| position.to_string()),
        clock: Some(found.snapshot().clock()),
        schema_version: Some(found.snapshot().schema_version()),
        erased_since: found.snapshot().erased_since().map(|position| position.to_string()),
        ..Answer::default()
    };
    let scanning = Scanning {
        _open: resources.metrics.open("scan"),
        scan: found,
        entry,
        parts,
        batches: None,
        metadata,
        following: None,
        finished: false,
        outgoing,
        rows: 0,
        started: Instant::now(),
    };
    Ok(stream(scanning).boxed())
}

/// The call that a scan is.
pub(super) fn call(scan: &Scan) -> &'static str {
    if scan.history { "history" } else { "scan" }
}

impl Source for Scanning {
    type Message = FlightData;

    async fn next(&mut self) -> Result<Option<FlightData>, Status> {
        loop {
            if let Some(message) = self.outgoing.next()? {
                return Ok(Some(message));
            }
            if self.finished {
                self.entry.resources.metrics.answered("scan", 1, self.rows, self.started.elapsed());
                return Ok(None);
            }
            let batch = match self.following.take() {
                Some(following) => following,
                // At least one batch is sent, so that a client learns the position even of nothing.
                None => self.read().await?.unwrap_or_else(|| RecordBatch::new_empty(self.outgoing.schema().clone())),
            };
            self.following = self.read().await?;
            self.finished = self.following.is_none();
            self.rows += batch.num_rows() as u64;
            self.outgoing.put(batch, Answer { last: self.finished, ..self.metadata.clone() });
        }
    }

    fn counted(&self) -> (&Metrics, &'static str) {
        (&self.entry.resources.metrics, "scan")
    }
}

impl Scanning {
    /// The next batch of any rows, or none at the end of the last part.
    async fn read(&mut self) -> Result<Option<RecordBatch>, Status> {
        if self.entry.stopping.is_cancelled() {
            return Err(unavailable("the server is shutting down"));
        }
        let mut parts = std::mem::take(&mut self.parts);
        let mut batches = self.batches.take();
        let scan = Arc::clone(&self.scan);
        // A part that is opened waits for its memory.
        let pool = if batches.is_none() { Pool::Waiters } else { Pool::Readers };
        let reading = self.entry.resources.blocking(pool, move || {
            loop {
                if batches.is_none() {
                    let Some(part) = parts.next() else { return Ok((parts, None, None)) };
                    batches = Some(scan.open(part).map_err(|error| from_error(&error))?);
                }
                match batches.as_mut().and_then(Iterator::next) {
                    None => batches = None,
                    Some(Ok(batch)) if batch.num_rows() == 0 => {}
                    Some(Ok(batch)) => return Ok((parts, batches, Some(batch))),
                    Some(Err(error)) => return Err(from_error(&error)),
                }
            }
        });
        let (parts, batches, batch) = reading.await?;
        (self.parts, self.batches) = (parts, batches);
        Ok(batch)
    }
}
