//! DoPut: batches are proven and handed to the log without waiting for the ones before; acknowledgements follow.
//!
//! Receiving runs on a task of its own, because a client may send everything before it reads a single
//! acknowledgement. What awaits its commit is bounded by number and bytes, per stream and over all streams.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_flight::{FlightData, PutResult};
use firn_client::wire::{BadRow, Command, ProducerStep, Put};
use firn_storage::commit::{Committed, Fence};
use firn_storage::database::Database;
use firn_storage::error::Error;
use firn_storage::model::batch::Producer;
use firn_storage::model::prove::{Proven, WriteRequest};
use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tonic::{Status, Streaming};

use super::acknowledge::{Acknowledgements, BadRows, Next};
use super::convert;
use super::exchange::DECODE_INLINE_BYTES_MAX;
use super::shared::{Pool, Shared};
use crate::framing::{Decoded, Decoder, too_large};
use crate::metrics::OpenGuard;
use crate::status::{from_command, from_error, invalid, unavailable};

/// A batch up to this size is proven on the connection's own task.
const PROVE_INLINE_BYTES_MAX: usize = 64 << 10;
/// What the log keeps beside the cells of a row, generously.
const ROW_BYTES: u64 = 96;
/// What the log keeps beside the rows of a batch, generously.
const BATCH_BYTES: u64 = 16 << 10;

/// Serves a stream.
pub(super) fn serve(
    shared: Arc<Shared>,
    input: Streaming<FlightData>,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<PutResult, Status>> + Send {
    let acknowledgements = Arc::new(Acknowledgements::default());
    let limits = Arc::clone(&shared.limits);
    let receiver = Receiver {
        batches: Arc::new(Semaphore::new(limits.stream_batches_max)),
        bytes: limits.stream_batch_bytes_max,
        decoder: Some(Decoder::new(limits)),
        shared: Arc::clone(&shared),
        acknowledgements: Arc::clone(&acknowledgements),
        stream: None,
        _permit: permit,
    };
    let receiving = StopOnDrop(tokio::spawn(receiver.run(input)).abort_handle());
    futures::stream::unfold(Some((shared, acknowledgements, receiving)), |state| async move {
        let (shared, acknowledgements, receiving) = state?;
        match acknowledgements.next().await {
            Next::Acknowledge(acknowledgement) => {
                let result = PutResult { app_metadata: acknowledgement.encode().into() };
                Some((Ok(result), Some((shared, acknowledgements, receiving))))
            }
            Next::End(Ok(())) => None,
            Next::End(Err(status)) => {
                shared.metrics.failed("write", status.code());
                Some((Err(status), None))
            }
        }
    })
}

/// Stops receiving when the client is gone. What was handed to the log is committed all the same.
struct StopOnDrop(AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A stream whose command is known.
#[derive(Clone)]
struct WriteStream {
    call: &'static str,
    producer: Option<String>,
    request: Arc<WriteRequest>,
    /// Keeps what follows a refused batch out of the log.
    fence: Fence,
    _open: Arc<OpenGuard>,
}

struct Receiver {
    shared: Arc<Shared>,
    acknowledgements: Arc<Acknowledgements>,
    decoder: Option<Decoder>,
    stream: Option<WriteStream>,
    batches: Arc<Semaphore>,
    bytes: u64,
    _permit: OwnedSemaphorePermit,
}

impl Receiver {
    async fn run(mut self, mut input: Streaming<FlightData>) {
        let end = self.receive_all(&mut input).await;
        self.acknowledgements.end(end);
    }

    async fn receive_all(&mut self, input: &mut Streaming<FlightData>) -> Result<(), Status> {
        let mut told = self.shared.told.clone();
        loop {
            let message = tokio::select! {
                message = input.message() => message.map_err(|status| too_large(status, &self.shared.limits))?,
                () = told.wait() => {
                    return Err(unavailable("the server is shutting down; what was acknowledged is stored"));
                }
            };
            let Some(message) = message else { return Ok(()) };
            if self.stream.is_none() {
                self.stream = Some(self.begin(&message)?);
            }
            let metadata = message.app_metadata.clone();
            if let Decoded::Batch(batch) = self.decode(message).await? {
                self.submit(batch, &metadata).await?;
            }
            if self.acknowledgements.is_refused() {
                return Ok(());
            }
        }
    }

    /// Reads the descriptor of the first message.
    fn begin(&self, message: &FlightData) -> Result<WriteStream, Status> {
        let missing = "the first message has no descriptor; give a path [\"table\"] or {\"write\":{\"table\":…}}";
        let descriptor = message.flight_descriptor.as_ref().ok_or_else(|| invalid(missing))?;
        let put = match (descriptor.cmd.is_empty(), descriptor.path.as_slice()) {
            (true, [table]) => Put::write(table.clone()),
            (true, []) => return Err(invalid(missing)),
            (true, _) => return Err(invalid("a descriptor path names one table, such as [\"weather\"]")),
            (false, _) => match self.shared.command(&descriptor.cmd)? {
                Command::Put(put) => put,
                other => {
                    let verb = other.verb();
                    return Err(invalid(format!("DoPut takes `write`, `delete` and `retract`, not `{verb}`")));
                }
            },
        };
        let call = put.verb.name();
        // An unknown table is refused before the first row.
        self.shared.database.catalog().table(&put.table).map_err(|error| from_error(&error))?;
        let open = Arc::new(self.shared.metrics.open(call));
        Ok(WriteStream {
            call,
            request: Arc::new(convert::write_request(&put)),
            producer: put.producer,
            fence: Fence::default(),
            _open: open,
        })
    }

    async fn decode(&mut self, message: FlightData) -> Result<Decoded, Status> {
        let mut decoder = self.decoder.take().ok_or_else(|| invalid("the stream has already failed"))?;
        if message.data_body.len() <= DECODE_INLINE_BYTES_MAX {
            let decoded = decoder.decode(message);
            self.decoder = Some(decoder);
            return decoded;
        }
        let decoding = self.shared.blocking(Pool::Readers, move || {
            let decoded = decoder.decode(message)?;
            Ok((decoder, decoded))
        });
        let (decoder, decoded) = decoding.await?;
        self.decoder = Some(decoder);
        Ok(decoded)
    }

    async fn submit(&mut self, batch: RecordBatch, metadata: &[u8]) -> Result<(), Status> {
        let Some(stream) = self.stream.clone() else { return Err(invalid("rows came before a descriptor")) };
        let step = producer_step(stream.producer.as_deref(), metadata)?;
        let permits = self.permits(&batch).await?;
        let small = batch.get_array_memory_size() <= PROVE_INLINE_BYTES_MAX;
        let task = Submission {
            database: self.shared.database.clone(),
            shared: Arc::clone(&self.shared),
            acknowledgements: Arc::clone(&self.acknowledgements),
            stream,
            step,
            batch,
            permits,
        };
        if small { task.run() } else { self.shared.blocking(Pool::Readers, move || task.run()).await }
    }

    /// Waits for room: among the stream's batches, and in the log's queue.
    async fn permits(&self, batch: &RecordBatch) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Status> {
        let place = Arc::clone(&self.batches).acquire_owned().await;
        let place = place.map_err(|_| unavailable("the server is shutting down"))?;
        let cells = batch.get_array_memory_size() as u64;
        let bytes = cells + cells / 4 + batch.num_rows() as u64 * ROW_BYTES + BATCH_BYTES;
        Ok((place, self.shared.log_queue(bytes, self.bytes).await?))
    }
}

/// One batch on its way to the log.
struct Submission {
    database: Database,
    shared: Arc<Shared>,
    acknowledgements: Arc<Acknowledgements>,
    stream: WriteStream,
    step: Option<Producer>,
    batch: RecordBatch,
    permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Submission {
    /// The rows that may be stored. A producer's batch goes on to the log without any: it is acknowledged, so its
    /// number is taken.
    fn prove(&self) -> Result<Proven, Error> {
        let request = &self.stream.request;
        let mut proven = self.database.prove(request, &self.batch)?;
        if proven.batch.is_none() && self.step.is_some() {
            proven.batch = self.database.prove(request, &self.batch.slice(0, 0))?.batch;
        }
        Ok(proven)
    }

    fn run(self) -> Result<(), Status> {
        let started = Instant::now();
        let proven = self.prove();
        let number = self.acknowledgements.begin();
        let Proven { batch, bad_rows, bad_row_count } = match proven {
            Ok(proven) => proven,
            Err(error) => {
                self.acknowledgements.settle(number, Err(error));
                return Ok(());
            }
        };
        let listed = bad_rows.into_iter().map(|bad| BadRow {
            batch: number,
            row: u64::from(bad.row),
            column: bad.column,
            reason: bad.reason,
        });
        self.acknowledgements.note_bad_rows(number, BadRows { listed: listed.collect(), count: bad_row_count });
        self.shared.metrics.bad_rows.inc_by(bad_row_count);
        let Some(mut batch) = batch else {
            let committed = Committed { position: self.database.position(), ingest_time: 0, rows: 0, duplicate: false };
            self.acknowledgements.settle(number, Ok(committed));
            return Ok(());
        };
        batch.producer = self.step;
        let (shared, call, acknowledgements, permits) =
            (self.shared, self.stream.call, self.acknowledgements, self.permits);
        let done = move |outcome: Result<Committed, Error>| {
            if let Ok(committed) = &outcome {
                shared.metrics.answered(call, committed.rows, started.elapsed());
            }
            acknowledgements.settle(number, outcome);
            drop(permits);
        };
        self.database.submit_within(Some(&self.stream.fence), batch, Box::new(done));
        Ok(())
    }
}

/// Where the batch stands in its producer's sequence, if the stream has a producer.
fn producer_step(producer: Option<&str>, metadata: &[u8]) -> Result<Option<Producer>, Status> {
    match (producer, metadata.is_empty()) {
        (None, true) => Ok(None),
        (None, false) => {
            Err(invalid("a batch has app_metadata, but the command names no producer; add \"producer\":\"…\""))
        }
        (Some(name), true) => Err(invalid(format!(
            "a batch of producer `{name}` has no app_metadata; send {{\"producer_seq\":7,\"previous\":6}} with each"
        ))),
        (Some(name), false) => {
            let step = ProducerStep::decode(metadata).map_err(|error| from_command(&error))?;
            Ok(Some(Producer { name: name.to_owned(), seq: step.producer_seq, previous: step.previous }))
        }
    }
}
