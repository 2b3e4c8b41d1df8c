//! Requests cut into chunks of rows whose answer has a bounded size, worked on side by side, answered in order.
//!
//! As many are begun at once as a stream may; one request at most waits for its chunks to be begun.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, SchemaRef};
use firn_storage::error::Result as EngineResult;
use firn_storage::position::Position;
use firn_storage::read::{Answer, Plan, Snapshot};
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use tonic::{Code, Status};

use super::moment::Pinned;
use super::resources::granted::Granted;
use super::resources::{MemoryPermit, Pool};
use crate::status::{self, from_error};

/// An answer up to this size may be computed on the connection's own task.
const INLINE_BYTES_MAX: u64 = 1 << 20;

/// How requests of one stream are read.
pub(super) struct Reading {
    pub granted: Granted,
    pub plan: Arc<Plan>,
    /// The schema of a join's answers, which begin with the columns of the spine.
    pub joined: Option<SchemaRef>,
    /// What a row of the answer takes, roughly, and at least 1.
    pub row_bytes: u64,
}

/// A request.
pub(super) struct Asked {
    pub request: u64,
    pub batch: RecordBatch,
    pub started: Instant,
}

/// What a chunk came to.
pub(super) struct Chunk {
    pub request: u64,
    /// Whether it is the request's last.
    pub last: bool,
    /// The rows of the whole request.
    pub rows: u64,
    pub started: Instant,
    pub outcome: Result<Answered, Status>,
    /// Given back once the chunk has left.
    pub memory: Option<MemoryPermit>,
}

/// The answer of a chunk.
pub(super) struct Answered {
    pub answer: Answer,
    pub snapshot: Arc<Snapshot>,
    pub erased_since: Option<Position>,
}

/// A request whose chunks are not all begun.
struct Waiting {
    asked: Asked,
    snapshot: Pinned,
    next_row: usize,
}

/// The chunks of one stream.
pub(super) struct Chunks {
    reading: Arc<Reading>,
    begun: FuturesOrdered<BoxFuture<'static, Chunk>>,
    waiting: Option<Waiting>,
}

impl Reading {
    /// What a row of an answer with `schema` takes, roughly.
    pub(super) fn row_bytes(schema: &SchemaRef) -> u64 {
        schema.fields().iter().map(|field| estimated_bytes(field.data_type())).sum::<u64>().max(1)
    }

    /// Whether the answer of `batch` is so small that the connection's task computes it.
    pub(super) fn is_small(&self, batch: &RecordBatch) -> bool {
        let rows = batch.num_rows();
        rows <= self.granted.resources().limits.inline_rows_max && rows as u64 * self.row_bytes <= INLINE_BYTES_MAX
    }

    /// The answer of a small lookup, here and now.
    pub(super) fn answer(&self, snapshot: Snapshot, batch: &RecordBatch) -> EngineResult<Answered> {
        let database = self.granted.database();
        let erased_since = database.erased_since(&self.plan, &snapshot, batch)?;
        let answer = database.answer(&self.plan, &snapshot, batch)?;
        Ok(Answered { answer, snapshot: Arc::new(snapshot), erased_since })
    }

    fn read(&self, snapshot: Arc<Snapshot>, batch: &RecordBatch) -> Result<Answered, Status> {
        let database = self.granted.database();
        let erased_since = database.erased_since(&self.plan, &snapshot, batch).map_err(|error| from_error(&error))?;
        let features = database.read(&self.plan, &snapshot, batch).map_err(|error| from_error(&error))?;
        let answer = match &self.joined {
            Some(schema) => extend(schema, batch, features)?,
            None => features,
        };
        Ok(Answered { answer: Answer::Columns(answer), snapshot, erased_since })
    }

    /// Reads a chunk on a thread that may block, once there is memory for it.
    async fn read_chunk(
        self: Arc<Self>,
        snapshot: Pinned,
        batch: RecordBatch,
    ) -> (Result<Answered, Status>, Option<MemoryPermit>) {
        let bytes = batch.num_rows() as u64 * self.row_bytes + batch.get_array_memory_size() as u64;
        // The snapshot first: whoever waits for a position holds no memory meanwhile.
        let begun = async { Ok((snapshot.await?, self.granted.resources().memory(bytes).await?)) };
        let (snapshot, memory) = match begun.await {
            Ok(begun) => begun,
            Err(status) => return (Err(status), None),
        };
        let resources = Arc::clone(self.granted.resources());
        let outcome = resources.blocking(Pool::Readers, move || self.read(snapshot, &batch)).await;
        (outcome, Some(memory))
    }
}

impl Chunks {
    /// No requests yet.
    pub(super) fn new(reading: &Arc<Reading>) -> Self {
        Self { reading: Arc::clone(reading), begun: FuturesOrdered::new(), waiting: None }
    }

    /// Whether another request may be given.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_none() && self.begun.len() < self.reading.granted.resources().limits.stream_requests_max
    }

    /// Whether everything given has been answered.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_none() && self.begun.is_empty()
    }

    /// Gives a request to be answered at `snapshot`. The one before must be begun.
    pub(super) fn ask(&mut self, asked: Asked, snapshot: Pinned) {
        assert!(self.waiting.is_none(), "one request waits at a time");
        self.waiting = Some(Waiting { asked, snapshot, next_row: 0 });
        self.begin();
    }

    /// Gives what was answered at once its place behind what was asked before.
    pub(super) fn answered(&mut self, chunk: Chunk) {
        self.begun.push_back(futures::future::ready(chunk).boxed());
    }

    /// The next chunk that is done; waits for ever if there is none.
    pub(super) async fn next(&mut self) -> Chunk {
        let Some(chunk) = self.begun.next().await else { return std::future::pending().await };
        self.begin();
        chunk
    }

    /// Begins no more chunks of `request`.
    pub(super) fn give_up(&mut self, request: u64) {
        self.waiting.take_if(|waiting| waiting.asked.request == request);
    }

    /// Begins as many chunks of the waiting request as the stream may.
    fn begin(&mut self) {
        let limits = &self.reading.granted.resources().limits;
        let chunk_rows = (limits.answer_chunk_bytes / self.reading.row_bytes).max(1024) as usize;
        while self.begun.len() < limits.stream_requests_max
            && let Some(mut waiting) = self.waiting.take()
        {
            let Asked { request, batch, started } = &waiting.asked;
            let (request, started, rows) = (*request, *started, batch.num_rows());
            let slice = batch.slice(waiting.next_row, chunk_rows.min(rows - waiting.next_row));
            waiting.next_row += slice.num_rows();
            let last = waiting.next_row == rows;
            let reading = Arc::clone(&self.reading).read_chunk(waiting.snapshot.clone(), slice);
            let chunk = reading.map(move |(outcome, memory)| Chunk {
                request,
                last,
                rows: rows as u64,
                started,
                outcome,
                memory,
            });
            self.begun.push_back(chunk.boxed());
            if !last {
                self.waiting = Some(waiting);
            }
        }
    }
}

fn extend(schema: &SchemaRef, spine: &RecordBatch, features: RecordBatch) -> Result<RecordBatch, Status> {
    let columns: Vec<ArrayRef> = spine.columns().iter().chain(features.columns()).cloned().collect();
    let options = RecordBatchOptions::new().with_row_count(Some(spine.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
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
