//! DoGet of a scan: its parts, one after the other, each batch read when the client has room for it.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use firn_client::wire::{Answer, Scan};
use firn_storage::read::Batches;
use futures::{Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::shared::{Pool, Shared, with_metadata};
use super::{Answers, convert};
use crate::framing::Encoder;
use crate::metrics::OpenGuard;
use crate::status::{from_error, unavailable};

struct Scanning {
    shared: Arc<Shared>,
    scan: Arc<firn_storage::read::Scan>,
    parts: std::ops::Range<usize>,
    batches: Option<Batches>,
    encoder: Encoder,
    metadata: Answer,
    /// The batch that leaves, and the row of it that is next. It waits until it is known whether it is the last.
    leaving: Option<(RecordBatch, usize)>,
    following: Option<RecordBatch>,
    finished: bool,
    outgoing: std::collections::VecDeque<FlightData>,
    rows: u64,
    started: Instant,
    _open: OpenGuard,
    _permit: OwnedSemaphorePermit,
}

/// Serves a scan, or the part of it that its ticket names.
pub(super) async fn serve(
    shared: Arc<Shared>,
    scan: Scan,
    permit: OwnedSemaphorePermit,
) -> Result<Answers<FlightData>, Status> {
    let message_bytes = shared.message_bytes(scan.max_message_bytes)?;
    let parts = scan.part.map_or(1, |part| part.parts as usize);
    let request = convert::scan_request(&scan, parts.min(shared.limits.scan_parts.max(1)))?;
    let found = shared.engine(Pool::Waiters, move |database| database.scan(&request)).await?;
    let parts = match scan.part {
        None => 0..found.parts(),
        // A ticket may name more parts than there are buckets; the surplus is empty.
        Some(part) => {
            let first = (part.part as usize).min(found.parts());
            first..(first + 1).min(found.parts())
        }
    };
    let mut encoder = Encoder::new(Arc::clone(found.schema()), message_bytes);
    let outgoing = [encoder.schema_message()].into();
    let metadata = Answer {
        request: 0,
        last: false,
        read_position: Some(found.snapshot().position().to_string()),
        clock: Some(found.snapshot().clock()),
        schema_version: Some(found.snapshot().schema_version()),
        erased_since: found.snapshot().erased_since().map(|position| position.to_string()),
        ..Answer::default()
    };
    let scanning = Scanning {
        _open: shared.metrics.open("scan"),
        scan: found,
        shared,
        parts,
        batches: None,
        encoder,
        metadata,
        leaving: None,
        following: None,
        finished: false,
        outgoing,
        rows: 0,
        started: Instant::now(),
        _permit: permit,
    };
    Ok(messages(scanning).boxed())
}

fn messages(scanning: Scanning) -> impl Stream<Item = Result<FlightData, Status>> + Send {
    futures::stream::unfold(Some(scanning), |scanning| async move {
        let mut scanning = scanning?;
        match scanning.next().await {
            Ok(Some(message)) => Some((Ok(message), Some(scanning))),
            Ok(None) => {
                scanning.shared.metrics.answered("scan", 1, scanning.rows, scanning.started.elapsed());
                None
            }
            Err(status) => {
                scanning.shared.metrics.failed("scan", status.code());
                Some((Err(status), None))
            }
        }
    })
}

impl Scanning {
    async fn next(&mut self) -> Result<Option<FlightData>, Status> {
        loop {
            if let Some(message) = self.outgoing.pop_front() {
                return Ok(Some(message));
            }
            if self.leaving.is_some() {
                self.encode_next()?;
                continue;
            }
            if self.finished {
                return Ok(None);
            }
            self.following = match self.following.take() {
                Some(following) => Some(following),
                // At least one batch is sent, so that a client learns the position even of nothing.
                None => {
                    Some(self.read().await?.unwrap_or_else(|| RecordBatch::new_empty(self.encoder.schema().clone())))
                }
            };
            let after = self.read().await?;
            self.finished = after.is_none();
            self.leaving = std::mem::replace(&mut self.following, after).map(|batch| (batch, 0));
        }
    }

    fn encode_next(&mut self) -> Result<(), Status> {
        let Some((batch, row)) = self.leaving.take() else { return Ok(()) };
        let encoded = self.encoder.next(&batch, row)?;
        let next = row + encoded.rows;
        let mut metadata = self.metadata.clone();
        metadata.last = self.finished && next == batch.num_rows();
        self.rows += encoded.rows as u64;
        self.outgoing.extend(encoded.dictionaries);
        self.outgoing.push_back(with_metadata(encoded.message, metadata.encode()));
        if next < batch.num_rows() {
            self.leaving = Some((batch, next));
        }
        Ok(())
    }

    /// The next batch of any rows, or none at the end of the last part.
    async fn read(&mut self) -> Result<Option<RecordBatch>, Status> {
        if self.shared.told.has_begun() {
            return Err(unavailable("the server is shutting down"));
        }
        let mut parts = std::mem::take(&mut self.parts);
        let mut batches = self.batches.take();
        let scan = Arc::clone(&self.scan);
        let reading = self.shared.blocking(Pool::Readers, move || {
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
