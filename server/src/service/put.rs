//! DoPut: batches are proven and handed to the log without waiting for the ones before; acknowledgements follow.
//!
//! Receiving runs on a task of its own, because a client may send everything before it reads a single
//! acknowledgement. What awaits its commit is bounded by number and bytes, per stream and over all streams. Messages
//! that have come together go on together; none waits for one that has not come.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_flight::{FlightData, PutResult};
use firn_client::wire::{Command, ProducerStep, Put};
use firn_storage::commit::{Admission, Done, Reservation, batch_bytes};
use firn_storage::model::batch::Producer;
use firn_storage::model::names::check_producer_name;
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;
use tonic::Status;

use super::acknowledge::{Acknowledgements, Next};
use super::convert;
use super::decoding::Decoding;
use super::resources::granted::{Entry, Granted};
use super::resources::{Pool, Resources};
use super::streams::{Messages, Source, stream};
use super::submission::{Room, RoomOfStream, Submission, WriteStream};
use crate::access::Method;
use crate::framing::Together;
use crate::metrics::Metrics;
use crate::refusal::{from_command, from_error, invalid, unavailable};

/// A batch up to this size is proven on the connection's own task.
const PROVE_INLINE_BYTES_MAX: usize = 64 << 10;
/// The body of a message that may go on together with others.
const SMALL_BYTES_MAX: usize = 8 << 10;
/// Messages that go on together, and the bytes of their bodies.
const TOGETHER_MESSAGES_MAX: usize = 64;
const TOGETHER_BYTES_MAX: usize = 64 << 10;

/// Serves a stream.
pub(super) fn serve(entry: Entry, input: Messages) -> impl Stream<Item = Result<PutResult, Status>> + Send {
    let resources = Arc::clone(&entry.resources);
    let acknowledgements = Arc::new(Acknowledgements::default());
    let receiver = Receiver {
        batches: Arc::new(Semaphore::new(resources.limits.stream_batches_max)),
        bytes: Admission::new("stream-batch-bytes-max", resources.limits.stream_batch_bytes_max, Arc::default()),
        decoding: Decoding::new(&resources),
        entry,
        acknowledgements: Arc::clone(&acknowledgements),
        stream: None,
    };
    let receiving = StopOnDrop(tokio::spawn(receiver.run(input)).abort_handle());
    stream(Acknowledging { resources, acknowledgements, _receiving: receiving })
}

/// What the client is sent.
struct Acknowledging {
    resources: Arc<Resources>,
    acknowledgements: Arc<Acknowledgements>,
    _receiving: StopOnDrop,
}

impl Source for Acknowledging {
    type Message = PutResult;

    async fn next(&mut self) -> Result<Option<PutResult>, Status> {
        match self.acknowledgements.next().await {
            Next::Acknowledge(acknowledgement) => Ok(Some(PutResult { app_metadata: acknowledgement.encode().into() })),
            Next::End(end) => end.map(|()| None),
        }
    }

    fn counted(&self) -> (&Metrics, &'static str) {
        (&self.resources.metrics, "write")
    }
}

/// Stops receiving when the client is gone. What was handed to the log is committed all the same.
struct StopOnDrop(AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Messages that have come together and go on together: any one, or several small ones.
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
    entry: Entry,
    acknowledgements: Arc<Acknowledgements>,
    decoding: Decoding,
    stream: Option<WriteStream>,
    batches: Arc<Semaphore>,
    bytes: Arc<Admission>,
}

impl Receiver {
    async fn run(mut self, mut input: Messages) {
        let end = self.receive_all(&mut input).await;
        self.acknowledgements.end(end);
    }

    async fn receive_all(&mut self, input: &mut Messages) -> Result<(), Status> {
        while let Some(gathered) = self.gather(input).await? {
            let several = gathered.messages.len() > 1;
            self.take(gathered).await?;
            if self.acknowledgements.is_refused() {
                return Ok(());
            }
            if several {
                // There may always be more: others of this thread have their turn.
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn producer(&self) -> Option<&str> {
        self.stream.as_ref().and_then(|stream| stream.producer.as_deref())
    }

    /// The next message, and the small ones behind it that have already come. A producer numbers each batch, so each
    /// goes by itself.
    async fn gather(&mut self, input: &mut Messages) -> Result<Option<Gathered>, Status> {
        let first = tokio::select! {
            first = input.next() => first.transpose()?,
            () = self.entry.stopping.cancelled() => {
                return Err(unavailable("the server is shutting down; what was acknowledged is stored"));
            }
        };
        let Some(first) = first else { return Ok(None) };
        if self.stream.is_none() {
            self.stream = Some(self.begin(&first)?);
        }
        let mut gathered = Gathered::default();
        let more = self.producer().is_none() && gathered.takes(&first);
        gathered.add(first);
        // A client that always has more must not keep the server from stopping.
        while more && !self.entry.stopping.is_cancelled() {
            let fitting = |next: &Result<FlightData, Status>| next.as_ref().is_ok_and(|next| gathered.takes(next));
            let Some(Some(Ok(next))) = Pin::new(&mut *input).next_if(fitting).now_or_never() else { break };
            gathered.add(next);
        }
        Ok(Some(gathered))
    }

    /// Decodes messages and hands their rows to the log.
    async fn take(&mut self, Gathered { mut messages, bytes }: Gathered) -> Result<(), Status> {
        let metadata = messages.front().map(|first| first.app_metadata.clone()).unwrap_or_default();
        while !messages.is_empty() {
            let decoding = self.decoding.run(bytes, move |decoder| {
                let decoded = decoder.decode_together(&mut messages);
                Ok((messages, decoded))
            });
            let (left, (batches, end)) = decoding.await?;
            messages = left;
            for batches in batches {
                let step = producer_step(self.producer(), &metadata)?;
                self.submit(batches, step).await?;
            }
            end?;
        }
        Ok(())
    }

    /// Reads the descriptor of the first message.
    fn begin(&self, message: &FlightData) -> Result<WriteStream, Status> {
        let missing = "the first message has no descriptor; give a path [\"table\"] or {\"write\":{\"table\":…}}";
        let descriptor = message.flight_descriptor.as_ref().ok_or_else(|| invalid(missing))?;
        let put = match (descriptor.cmd.is_empty(), descriptor.path.as_slice()) {
            (true, [table]) => Put::write(table.clone()),
            (true, []) => return Err(invalid(missing)),
            (true, _) => return Err(invalid("a descriptor path names one table, such as [\"weather\"]")),
            (false, _) => match self.entry.resources.command(&descriptor.cmd)? {
                Command::Put(put) => put,
                other => {
                    let verb = other.verb();
                    return Err(invalid(format!("DoPut takes `write`, `delete` and `retract`, not `{verb}`")));
                }
            },
        };
        let call = put.verb.name();
        let granted = self.entry.authorize(Method::DoPut, call)?;
        // An unknown table is refused before the first row.
        granted.catalog().table(&put.table).map_err(|error| from_error(&error))?;
        put.producer.as_deref().map_or(Ok(()), check_producer_name).map_err(|error| from_error(&error))?;
        let terms = granted.database().terms(put.acknowledge.map(convert::level));
        let terms = terms.map_err(|error| from_error(&error))?;
        let open = Arc::new(self.entry.resources.metrics.open(call));
        Ok(WriteStream {
            call,
            granted,
            request: Arc::new(convert::write_request(&put)),
            producer: put.producer,
            terms,
            _open: open,
        })
    }

    async fn submit(&self, batches: Together, step: Option<Producer>) -> Result<(), Status> {
        let Some(stream) = self.stream.clone() else { return Err(invalid("rows came before a descriptor")) };
        let room = self.room(&stream.granted, &batches).await?;
        // It may have been refused while there was no room.
        if self.acknowledgements.is_refused() {
            return Ok(());
        }
        let small = batches.rows.get_array_memory_size() <= PROVE_INLINE_BYTES_MAX;
        let submission =
            Submission { acknowledgements: Arc::clone(&self.acknowledgements), stream, step, batches, room };
        if small {
            submission.run();
            return Ok(());
        }
        let running = self.entry.resources.blocking(Pool::Readers, move || {
            submission.run();
            Ok(())
        });
        running.await
    }

    /// Waits for room: among the stream's batches, by number and bytes, and in the log's queue. A batch larger than the
    /// stream may have waits until it is alone.
    async fn room(&self, granted: &Granted, batches: &Together) -> Result<Room, Status> {
        let place = Arc::clone(&self.batches).acquire_owned().await;
        let place = place.map_err(|_| unavailable("the server is shutting down"))?;
        let bytes = batch_bytes(cell_bytes(&batches.rows), batches.rows.num_rows());
        let of_stream = bytes.min(self.entry.resources.limits.stream_batch_bytes_max);
        let of_stream = reserved(|ready| self.bytes.reserve_then(of_stream, ready)).await?;
        let of_log = reserved(|ready| granted.database().reserve_then(bytes, ready)).await?;
        let of_stream = Arc::new(RoomOfStream { _place: place, _bytes: of_stream });
        Ok(Room { of_stream, of_log: Arc::new(of_log) })
    }
}

/// Waits for what `reserve` asks for. If nobody waits any more, the room goes back.
async fn reserved(reserve: impl FnOnce(Done<Reservation>)) -> Result<Reservation, Status> {
    let (send, receive) = oneshot::channel();
    reserve(Done::new(move |room| drop(send.send(room))));
    let room = receive.await.map_err(|_| unavailable("the server is shutting down"))?;
    room.map_err(|error| from_error(&error))
}

/// The bytes of all cells. Columns of one message share its memory, so that the sum of what they hold counts it many
/// times; a small one is not worth looking closer.
fn cell_bytes(rows: &RecordBatch) -> usize {
    let held = rows.get_array_memory_size();
    if held <= PROVE_INLINE_BYTES_MAX {
        return held;
    }
    let exact = |column: &ArrayRef| column.to_data().get_slice_memory_size();
    rows.columns().iter().map(|column| exact(column).unwrap_or_else(|_| column.get_array_memory_size())).sum()
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
