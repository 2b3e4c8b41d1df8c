//! DoPut: batches are proven and handed to the log without waiting for the ones before; acknowledgements follow.
//!
//! Receiving runs on a task of its own, because a client may send everything before it reads a single
//! acknowledgement. What awaits its commit is bounded by number and bytes, per stream and over all streams. Small
//! batches that have come together go on together; none waits for one that has not come.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_flight::{FlightData, PutResult};
use firn_client::wire::{Command, ProducerStep, Put};
use firn_storage::commit::Fence;
use firn_storage::model::batch::Producer;
use futures::{FutureExt, Stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tonic::{Status, Streaming};

use super::acknowledge::{Acknowledgements, Next};
use super::convert;
use super::exchange::DECODE_INLINE_BYTES_MAX;
use super::shared::{Pool, Shared};
use super::submission::{Submission, WriteStream};
use crate::framing::{Decoded, Decoder, Together, too_large};
use crate::status::{from_command, from_error, invalid, unavailable};

/// A batch up to this size is proven on the connection's own task.
const PROVE_INLINE_BYTES_MAX: usize = 64 << 10;
/// The body of a message that may go on together with others.
const SMALL_BYTES_MAX: usize = 8 << 10;
/// Messages that go on together, and the bytes of their bodies.
const TOGETHER_MESSAGES_MAX: usize = 64;
const TOGETHER_BYTES_MAX: usize = 64 << 10;
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
        gathered: Gathered::default(),
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

/// Small messages that have come and are not yet on their way to the log.
#[derive(Default)]
struct Gathered {
    messages: VecDeque<FlightData>,
    bytes: usize,
}

impl Gathered {
    /// Whether there is room for `message`, which is then one that can go together with others.
    fn takes(&self, message: &FlightData) -> bool {
        let bytes = message.data_body.len();
        (1..=SMALL_BYTES_MAX).contains(&bytes)
            && message.app_metadata.is_empty()
            && self.messages.len() < TOGETHER_MESSAGES_MAX
            && self.bytes + bytes <= TOGETHER_BYTES_MAX
    }

    fn add(&mut self, message: FlightData) {
        self.bytes += message.data_body.len();
        self.messages.push_back(message);
    }
}

struct Receiver {
    shared: Arc<Shared>,
    acknowledgements: Arc<Acknowledgements>,
    decoder: Option<Decoder>,
    stream: Option<WriteStream>,
    gathered: Gathered,
    batches: Arc<Semaphore>,
    bytes: u64,
    _permit: OwnedSemaphorePermit,
}

impl Receiver {
    async fn run(mut self, mut input: Streaming<FlightData>) {
        let end = self.receive_all(&mut input).await;
        // What came before the end counts, whatever the end is.
        let end = self.submit_gathered().await.and(end);
        self.acknowledgements.end(end);
    }

    async fn receive_all(&mut self, input: &mut Streaming<FlightData>) -> Result<(), Status> {
        while let Some(message) = self.message(input).await? {
            if self.stream.is_none() {
                self.stream = Some(self.begin(&message)?);
            }
            if !self.gathered.messages.is_empty() && !self.gathered.takes(&message) {
                self.submit_gathered().await?;
                // There is always more: others of this thread have their turn.
                tokio::task::yield_now().await;
            }
            if self.gathered.takes(&message) && self.producer().is_none() {
                self.gathered.add(message);
            } else {
                let metadata = message.app_metadata.clone();
                if let Decoded::Batch(rows) = self.decode(message).await? {
                    let step = producer_step(self.producer(), &metadata)?;
                    self.submit(Together { lengths: vec![rows.num_rows()], rows }, step).await?;
                }
            }
            if self.acknowledgements.is_refused() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn producer(&self) -> Option<&str> {
        self.stream.as_ref().and_then(|stream| stream.producer.as_deref())
    }

    /// The next message. Small ones wait for no more than what has already come.
    async fn message(&mut self, input: &mut Streaming<FlightData>) -> Result<Option<FlightData>, Status> {
        let limits = Arc::clone(&self.shared.limits);
        let too_large = |status| too_large(status, &limits);
        if !self.gathered.messages.is_empty() {
            // A client that always has more must not keep the server from stopping.
            let going_on = !self.shared.told.has_begun();
            if going_on && let Some(message) = input.message().now_or_never() {
                return message.map_err(too_large);
            }
            self.submit_gathered().await?;
        }
        let mut told = self.shared.told.clone();
        tokio::select! {
            message = input.message() => message.map_err(too_large),
            () = told.wait() => Err(unavailable("the server is shutting down; what was acknowledged is stored")),
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

    async fn submit_gathered(&mut self) -> Result<(), Status> {
        let Gathered { mut messages, .. } = std::mem::take(&mut self.gathered);
        while let (Some(decoder), false) = (&mut self.decoder, messages.is_empty()) {
            let (batches, end) = decoder.decode_together(&mut messages);
            for batches in batches {
                self.submit(batches, None).await?;
            }
            end?;
        }
        Ok(())
    }

    async fn submit(&self, batches: Together, step: Option<Producer>) -> Result<(), Status> {
        let Some(stream) = self.stream.clone() else { return Err(invalid("rows came before a descriptor")) };
        let permits = Arc::new(self.permits(&batches).await?);
        // It may have been refused while there was no room.
        if self.acknowledgements.is_refused() {
            return Ok(());
        }
        let small = batches.rows.get_array_memory_size() <= PROVE_INLINE_BYTES_MAX;
        let submission = Submission {
            database: self.shared.database.clone(),
            metrics: Arc::clone(&self.shared.metrics),
            acknowledgements: Arc::clone(&self.acknowledgements),
            stream,
            step,
            batches,
            permits,
        };
        if small {
            submission.run();
            return Ok(());
        }
        let running = self.shared.blocking(Pool::Readers, move || {
            submission.run();
            Ok(())
        });
        running.await
    }

    /// Waits for room: among the stream's batches, and in the log's queue.
    async fn permits(&self, batches: &Together) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Status> {
        let place = Arc::clone(&self.batches).acquire_owned().await;
        let place = place.map_err(|_| unavailable("the server is shutting down"))?;
        let Together { rows, lengths } = batches;
        let cells = rows.get_array_memory_size() as u64;
        let beside = rows.num_rows() as u64 * ROW_BYTES + lengths.len() as u64 * BATCH_BYTES;
        let bytes = cells + cells / 4 + beside;
        Ok((place, self.shared.log_queue(bytes, self.bytes).await?))
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
