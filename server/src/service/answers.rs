//! Answers of lookups and joins: chunks computed side by side, framed in the order of their requests.
//!
//! A request is cut into chunks of rows whose answer has a bounded size. Chunks are worked on by the reader pool, as
//! many at once as a stream may; their results leave in order, each encoded message by message as the client takes
//! them. So a stream holds a bounded number of chunks, and a client that stops reading stops being read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_flight::FlightData;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use firn_client::wire::{Answer, Bound, FeatureReference, ReadOptions};
use firn_storage::position::Position;
use firn_storage::read::digest::Digest;
use firn_storage::read::{self, Plan, PointRequest, Snapshot};
use futures::future::{BoxFuture, Shared as SharedFuture};
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use tonic::{Code, Status};

use super::convert;
use super::shared::{MemoryPermit, Pool, Shared, with_metadata};
use crate::framing::Encoder;
use crate::status::{self, from_error, invalid};

/// An answer up to this size may be computed on the connection's own task.
const INLINE_BYTES_MAX: u64 = 1 << 20;

/// A lookup or a join, read but not yet planned.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// `lookup` or `join`.
    pub call: &'static str,
    /// What to answer.
    pub features: Vec<FeatureReference>,
    /// The event bound.
    pub as_of: Bound,
    /// The knowledge bound.
    pub known_at: Bound,
    /// How to answer.
    pub options: ReadOptions,
}

impl Question {
    fn is_join(&self) -> bool {
        self.call == "join"
    }
}

/// A snapshot that several chunks wait for.
type Pinned = SharedFuture<BoxFuture<'static, Result<Arc<Snapshot>, Status>>>;

/// What a chunk came to.
struct Chunk {
    request: u64,
    /// Whether it is the request's last.
    last: bool,
    /// How many rows of the request it covers.
    rows: u64,
    started: Instant,
    outcome: Result<Answered, Status>,
    /// Given back once the chunk has left.
    _memory: Option<MemoryPermit>,
}

/// The answer of a chunk.
struct Answered {
    answer: read::Answer,
    snapshot: Arc<Snapshot>,
    erased_since: Option<Position>,
}

/// A request whose chunks are not all begun.
struct Waiting {
    request: u64,
    batch: RecordBatch,
    next_row: usize,
    snapshot: Pinned,
    started: Instant,
}

/// The chunk that is leaving.
struct Leaving {
    chunk: Chunk,
    batch: RecordBatch,
    metadata: Answer,
    next_row: usize,
}

/// The answering side of one stream.
pub(super) struct Answering {
    shared: Arc<Shared>,
    question: Arc<Question>,
    request: PointRequest,
    at_least: Option<(Position, Duration)>,
    plan: Arc<Plan>,
    encoder: Encoder,
    row_bytes: u64,
    queue: FuturesOrdered<BoxFuture<'static, Chunk>>,
    waiting: Option<Waiting>,
    leaving: Option<Leaving>,
    outgoing: VecDeque<FlightData>,
    /// The one snapshot of a join.
    pinned: Option<Pinned>,
    /// When it may be used no more.
    expires: Option<Instant>,
    /// The request that failed: its later chunks are dropped.
    failed: Option<u64>,
    digest: Option<Digest>,
    requests: u64,
}

impl Answering {
    /// Plans `question` over requests with `schema`; the first message out is the schema of the answers.
    pub(super) fn new(shared: Arc<Shared>, question: Question, schema: &Schema) -> Result<Self, Status> {
        let message_bytes = shared.message_bytes(question.options.max_message_bytes)?;
        let request =
            convert::point_request(&question.features, &question.as_of, &question.known_at, &question.options)?;
        let at_least = convert::at_least(&shared.database, &question.options, &shared.limits)?;
        let plan = shared.database.plan(&request, schema).map_err(|error| from_error(&error))?;
        let answer_schema = if question.is_join() { joined(schema, plan.schema())? } else { Arc::clone(plan.schema()) };
        let row_bytes = plan.schema().fields().iter().map(|field| estimated_bytes(field.data_type())).sum::<u64>();
        let mut encoder = Encoder::new(answer_schema, message_bytes);
        let outgoing = VecDeque::from([encoder.schema_message()]);
        Ok(Self {
            shared,
            question: Arc::new(question),
            request,
            at_least,
            plan: Arc::new(plan),
            encoder,
            row_bytes: row_bytes.max(1),
            queue: FuturesOrdered::new(),
            waiting: None,
            leaving: None,
            outgoing,
            pinned: None,
            expires: None,
            failed: None,
            digest: None,
            requests: 0,
        })
    }

    /// When the snapshot of the stream may be used no more; it then holds up the removal of old segments.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// Whether another request may be given.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_none()
            && self.leaving.is_none()
            && self.outgoing.is_empty()
            && self.queue.len() < self.shared.limits.stream_requests_max
    }

    /// Whether everything given has been answered.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_none() && self.leaving.is_none() && self.outgoing.is_empty() && self.queue.is_empty()
    }

    /// Gives the next request.
    pub(super) fn ask(&mut self, batch: RecordBatch) {
        let started = Instant::now();
        let request = self.requests;
        self.requests += 1;
        if let Some(chunk) = self.answer_inline(request, &batch, started) {
            self.queue.push_back(futures::future::ready(chunk).boxed());
            return;
        }
        let snapshot = self.pin();
        self.waiting = Some(Waiting { request, batch, next_row: 0, snapshot, started });
        self.begin_chunks();
    }

    /// Answers a small latest lookup at once, if nothing has to be waited for.
    fn answer_inline(&mut self, request: u64, batch: &RecordBatch, started: Instant) -> Option<Chunk> {
        let rows = batch.num_rows();
        let small = rows <= self.shared.limits.inline_rows_max && rows as u64 * self.row_bytes <= INLINE_BYTES_MAX;
        if self.question.is_join() || !small || matches!(self.request.known_at, firn_storage::read::Bound::Time { .. })
        {
            return None;
        }
        let database = &self.shared.database;
        if let Some((position, _)) = &self.at_least {
            database.wait_for(position, Duration::ZERO).ok()?;
            self.at_least = None;
        }
        let answered = database.snapshot(&self.plan).and_then(|snapshot| {
            let erased_since = database.erased_since(&self.plan, &snapshot, batch)?;
            let answer = database.answer(&self.plan, &snapshot, batch)?;
            Ok(Answered { answer, snapshot: Arc::new(snapshot), erased_since })
        });
        let outcome = answered.map_err(|error| from_error(&error));
        Some(Chunk { request, last: true, rows: rows as u64, started, outcome, _memory: None })
    }

    /// The snapshot of a request: one per stream for a join, else one per request.
    fn pin(&mut self) -> Pinned {
        if let Some(pinned) = &self.pinned {
            return pinned.clone();
        }
        let shared = Arc::clone(&self.shared);
        let plan = Arc::clone(&self.plan);
        // Kept for the next request, because this one may wait in vain.
        let at_least =
            self.at_least.filter(|(position, _)| shared.database.wait_for(position, Duration::ZERO).is_err());
        let pinning = async move {
            let _place = at_least.is_some().then(|| shared.wait_for_position()).transpose()?;
            let pinned = shared.engine(Pool::Waiters, move |database| {
                if let Some((position, wait)) = at_least {
                    database.wait_for(&position, wait)?;
                }
                database.snapshot(&plan)
            });
            pinned.await.map(Arc::new)
        };
        let pinned = pinning.boxed().shared();
        if self.question.is_join() {
            self.pinned = Some(pinned.clone());
            self.expires = Instant::now().checked_add(self.shared.snapshot_age_max);
        }
        pinned
    }

    /// Begins as many chunks of the waiting request as the stream may.
    fn begin_chunks(&mut self) {
        let chunk_rows = (self.shared.limits.answer_chunk_bytes / self.row_bytes).max(1024) as usize;
        while let Some(mut waiting) = self.waiting.take() {
            if self.queue.len() >= self.shared.limits.stream_requests_max {
                self.waiting = Some(waiting);
                return;
            }
            let rows = chunk_rows.min(waiting.batch.num_rows() - waiting.next_row);
            let slice = waiting.batch.slice(waiting.next_row, rows);
            waiting.next_row += rows;
            let last = waiting.next_row == waiting.batch.num_rows();
            self.queue.push_back(self.chunk(&waiting, slice, last));
            if !last {
                self.waiting = Some(waiting);
            }
        }
    }

    fn chunk(&self, waiting: &Waiting, slice: RecordBatch, last: bool) -> BoxFuture<'static, Chunk> {
        let shared = Arc::clone(&self.shared);
        let plan = Arc::clone(&self.plan);
        let is_join = self.question.is_join();
        let schema = Arc::clone(self.encoder.schema());
        let snapshot = waiting.snapshot.clone();
        let (request, started) = (waiting.request, waiting.started);
        let rows = slice.num_rows() as u64;
        let bytes = rows * self.row_bytes + slice.get_array_memory_size() as u64;
        let future = async move {
            // The snapshot first: whoever waits for a position holds no memory meanwhile.
            let begun = async { Ok((snapshot.await?, shared.memory(bytes).await?)) };
            let (snapshot, memory) = match begun.await {
                Ok(begun) => begun,
                Err(status) => return Chunk { request, last, rows, started, outcome: Err(status), _memory: None },
            };
            let database = shared.database.clone();
            let read = shared.blocking(Pool::Readers, move || {
                let erased_since =
                    database.erased_since(&plan, &snapshot, &slice).map_err(|error| from_error(&error))?;
                let features = database.read(&plan, &snapshot, &slice).map_err(|error| from_error(&error))?;
                let batch = if is_join { extend(schema, &slice, features)? } else { features };
                Ok(Answered { answer: read::Answer::Columns(batch), snapshot, erased_since })
            });
            Chunk { request, last, rows, started, outcome: read.await, _memory: Some(memory) }
        };
        future.boxed()
    }

    /// The next message, if one can be had without waiting for a chunk.
    pub(super) fn ready(&mut self) -> Result<Option<FlightData>, Status> {
        loop {
            if let Some(message) = self.outgoing.pop_front() {
                return Ok(Some(message));
            }
            match self.leaving.take() {
                Some(leaving) => self.encode_next(leaving)?,
                None => return Ok(None),
            }
        }
    }

    /// Waits until the next chunk is done; forever if there is none.
    pub(super) async fn advance(&mut self) -> Result<(), Status> {
        let Some(chunk) = self.queue.next().await else { return std::future::pending().await };
        self.begin_chunks();
        self.leave(chunk)
    }

    fn leave(&mut self, mut chunk: Chunk) -> Result<(), Status> {
        if self.failed == Some(chunk.request) {
            return Ok(());
        }
        self.failed = None;
        match std::mem::replace(&mut chunk.outcome, Err(Status::ok(""))) {
            Err(status) => self.fail(chunk.request, status),
            Ok(Answered { answer, snapshot, erased_since }) => {
                let metadata = Answer {
                    request: chunk.request,
                    last: false,
                    read_position: Some(snapshot.position().to_string()),
                    clock: Some(snapshot.clock()),
                    schema_version: Some(snapshot.schema_version()),
                    erased_since: erased_since.map(|position| position.to_string()),
                    digest: None,
                    error: None,
                };
                let whole = match &answer {
                    read::Answer::Plain(plain) if !self.question.options.digest => self.encoder.whole(plain),
                    _ => None,
                };
                if let Some(message) = whole {
                    self.send(&chunk, message, Answer { last: chunk.last, ..metadata });
                    return Ok(());
                }
                let batch = answer.into_batch().map_err(|error| from_error(&error))?;
                if self.question.options.digest {
                    let schema = self.encoder.schema();
                    let digest = self.digest.get_or_insert_with(|| Digest::new(schema));
                    digest.update(&batch).map_err(|error| from_error(&error))?;
                }
                self.leaving = Some(Leaving { chunk, batch, metadata, next_row: 0 });
                Ok(())
            }
        }
    }

    fn encode_next(&mut self, mut leaving: Leaving) -> Result<(), Status> {
        let encoded = match self.encoder.next(&leaving.batch, leaving.next_row) {
            Ok(encoded) => encoded,
            Err(status) => return self.fail(leaving.chunk.request, status),
        };
        leaving.next_row += encoded.rows;
        let chunk_done = leaving.next_row == leaving.batch.num_rows();
        leaving.metadata.last = chunk_done && leaving.chunk.last;
        if leaving.metadata.last {
            leaving.metadata.digest = self.digest.take().map(|digest| digest.finish());
        }
        self.outgoing.extend(encoded.dictionaries);
        self.send(&leaving.chunk, encoded.message, leaving.metadata.clone());
        if !chunk_done {
            self.leaving = Some(leaving);
        }
        Ok(())
    }

    /// Puts a message of `chunk` on its way.
    fn send(&mut self, chunk: &Chunk, message: FlightData, metadata: Answer) {
        if metadata.last {
            self.shared.metrics.answered(self.question.call, 1, chunk.rows, chunk.started.elapsed());
        }
        self.outgoing.push_back(with_metadata(message, metadata.encode()));
    }

    /// Ends the request with an error: in band if the command says so, else the stream ends with it.
    fn fail(&mut self, request: u64, status: Status) -> Result<(), Status> {
        self.digest = None;
        if !self.question.options.errors_in_band {
            return Err(status::new(status.code(), &format!("request {request}: {}", status.message())));
        }
        self.shared.metrics.failed(self.question.call, status.code());
        self.failed = Some(request);
        if self.waiting.as_ref().is_some_and(|waiting| waiting.request == request) {
            self.waiting = None;
        }
        let nothing = RecordBatch::new_empty(Arc::clone(self.encoder.schema()));
        let encoded = self.encoder.next(&nothing, 0)?;
        let metadata = Answer { request, last: true, error: Some(status::in_band(&status)), ..Answer::default() };
        self.outgoing.extend(encoded.dictionaries);
        self.outgoing.push_back(with_metadata(encoded.message, metadata.encode()));
        Ok(())
    }
}

/// The columns of the spine followed by the features.
fn joined(spine: &Schema, features: &Schema) -> Result<SchemaRef, Status> {
    if let Some(field) = features.fields().iter().find(|field| spine.index_of(field.name()).is_ok()) {
        let name = field.name();
        return Err(invalid(format!(
            "the spine already has a column `{name}`; rename the feature with \"as\", or the table's features with \"prefix\""
        )));
    }
    let fields: Vec<Arc<Field>> = spine.fields().iter().chain(features.fields()).cloned().collect();
    Ok(Arc::new(Schema::new(fields)))
}

fn extend(schema: SchemaRef, spine: &RecordBatch, features: RecordBatch) -> Result<RecordBatch, Status> {
    let columns: Vec<ArrayRef> = spine.columns().iter().chain(features.columns()).cloned().collect();
    let options = RecordBatchOptions::new().with_row_count(Some(spine.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options)
        .map_err(|error| status::new(Code::Internal, &format!("the answer does not fit the spine: {error}")))
}

/// What one value of a type takes, roughly.
fn estimated_bytes(data_type: &DataType) -> u64 {
    match data_type {
        DataType::Boolean | DataType::Null => 1,
        DataType::FixedSizeBinary(width) => *width as u64,
        DataType::FixedSizeList(item, length) => *length as u64 * estimated_bytes(item.data_type()),
        DataType::Struct(fields) => fields.iter().map(|field| estimated_bytes(field.data_type())).sum(),
        DataType::Dictionary(key, _) => estimated_bytes(key),
        DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => {
            16 * estimated_bytes(item.data_type())
        }
        other => other.primitive_width().map_or(40, |width| width as u64),
    }
}
