//! Requests cut into chunks of rows whose answer has a bounded size, worked on side by side, answered in order.
//!
//! As many are begun at once as a stream may; one request at most waits for its chunks to be begun.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use firn_storage::budget::Share;
use firn_storage::error::{Kind, Result as EngineResult};
use firn_storage::position::Position;
use firn_storage::read::{Answer, Patience, Plan, Snapshot};
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use tonic::Status;

use super::moment::Pinned;
use super::resources::Pool;
use super::resources::granted::Granted;
use crate::refusal::from_error;

/// An answer up to this size may be computed on the connection's own task.
const INLINE_BYTES_MAX: u64 = 1 << 20;

/// How requests of one stream are read.
pub(super) struct Reading {
    pub granted: Granted,
    pub plan: Arc<Plan>,
    /// The schema of a join's answers, which begin with the columns of the spine.
    pub joined: Option<SchemaRef>,
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
    pub memory: Held,
}

/// What a chunk holds until it has left.
#[derive(Default)]
pub(super) struct Held {
    _answer: Option<Share>,
    /// Of the request, whose columns a join answers too.
    _request: Option<Arc<Share>>,
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
    memory: Arc<Share>,
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
    /// Whether the answer of `batch` is so small that the connection's task computes it.
    pub(super) fn is_small(&self, batch: &RecordBatch) -> bool {
        batch.num_rows() <= self.granted.resources().limits.inline_rows_max && self.bytes(batch) <= INLINE_BYTES_MAX
    }

    /// What the answer of `batch` takes, by what its features take on average.
    fn bytes(&self, batch: &RecordBatch) -> u64 {
        batch.num_rows() as u64 * self.plan.row_bytes()
    }

    /// The answer of a small lookup, here and now. None if it turns out not to be small.
    pub(super) fn answer(&self, snapshot: Snapshot, batch: &RecordBatch) -> EngineResult<Option<(Answered, Held)>> {
        let database = self.granted.database();
        let erased_since = database.erased_since(&self.plan, &snapshot, batch)?;
        // Counted, but not waited for: a small lookup is answered also where large ones hold all memory.
        let mut memory = database.budget().take(self.bytes(batch), INLINE_BYTES_MAX);
        let answer = match database.answer(&self.plan, &snapshot, batch, &mut memory, Patience::None) {
            // Nor is the bucket waited for here, where hot reads would wait behind it.
            Err(error) if matches!(error.kind(), Kind::Exhausted | Kind::Away) => return Ok(None),
            answer => answer?,
        };
        let held = Held { _answer: Some(memory), _request: None };
        Ok(Some((Answered { answer, snapshot: Arc::new(snapshot), erased_since }, held)))
    }

    fn read(
        &self,
        snapshot: Arc<Snapshot>,
        batch: &RecordBatch,
        memory: &mut Share,
        pool: Pool,
    ) -> EngineResult<Answered> {
        let database = self.granted.database();
        let erased_since = database.erased_since(&self.plan, &snapshot, batch)?;
        let patience = match pool {
            Pool::Readers => Patience::None,
            Pool::Waiters => Patience::Waits,
        };
        let features = database.answer(&self.plan, &snapshot, batch, memory, patience)?.into_batch()?;
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
        request: Arc<Share>,
    ) -> (Result<Answered, Status>, Held) {
        // The snapshot first: whoever waits for a position holds no memory meanwhile.
        let begun = async { Ok((snapshot.await?, self.granted.resources().memory(self.bytes(&batch)).await?)) };
        let (snapshot, mut memory) = match begun.await {
            Ok(begun) => begun,
            Err(status) => return (Err(status), Held::default()),
        };
        let resources = Arc::clone(self.granted.resources());
        let mut pool = Pool::Readers;
        loop {
            let (reading, snapshot, batch) = (Arc::clone(&self), Arc::clone(&snapshot), batch.clone());
            let read = resources.blocking(pool, move || reading.read_in(pool, snapshot, &batch, memory));
            match read.await {
                Ok((Some(answered), memory)) => {
                    return (Ok(answered), Held { _answer: Some(memory), _request: Some(request) });
                }
                // What waits for the bucket does so where nobody who computes is kept from it.
                Ok((None, back)) => (pool, memory) = (Pool::Waiters, back),
                Err(status) => return (Err(status), Held::default()),
            }
        }
    }

    /// [`Reading::read`] on a thread of `pool`; no answer if the bucket would have to be waited for where nobody waits.
    fn read_in(
        &self,
        pool: Pool,
        snapshot: Arc<Snapshot>,
        batch: &RecordBatch,
        mut memory: Share,
    ) -> Result<(Option<Answered>, Share), Status> {
        match self.read(snapshot, batch, &mut memory, pool) {
            Ok(answered) => Ok((Some(answered), memory)),
            Err(error) if error.kind() == Kind::Away => Ok((None, memory)),
            Err(error) => Err(from_error(&error)),
        }
    }
}

impl Chunks {
    /// No requests yet.
    pub(super) fn new(reading: &Arc<Reading>) -> Self {
        Self { reading: Arc::clone(reading), begun: FuturesOrdered::new(), waiting: None }
    }

    /// Whether another request may be given: one at a time where memory is short.
    pub(super) fn has_room(&self) -> bool {
        let budget = self.reading.granted.database().budget();
        let most = self.reading.granted.resources().limits.stream_requests_max;
        self.is_empty() || (self.waiting.is_none() && self.begun.len() < most && budget.held() < budget.bytes_max() / 2)
    }

    /// Whether everything given has been answered.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_none() && self.begun.is_empty()
    }

    /// Gives a request to be answered at `snapshot`. The one before must be begun.
    pub(super) fn ask(&mut self, asked: Asked, snapshot: Pinned) {
        assert!(self.waiting.is_none(), "one request waits at a time");
        let bytes = asked.batch.get_array_memory_size() as u64;
        let memory = Arc::new(self.reading.granted.database().budget().take(bytes, bytes));
        self.waiting = Some(Waiting { asked, memory, snapshot, next_row: 0 });
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
        let chunk_rows = (limits.answer_chunk_bytes / self.reading.plan.row_bytes()).max(1) as usize;
        while self.begun.len() < limits.stream_requests_max
            && let Some(mut waiting) = self.waiting.take()
        {
            let Asked { request, batch, started } = &waiting.asked;
            let (request, started, rows) = (*request, *started, batch.num_rows());
            let slice = batch.slice(waiting.next_row, chunk_rows.min(rows - waiting.next_row));
            waiting.next_row += slice.num_rows();
            let last = waiting.next_row == rows;
            let (snapshot, memory) = (waiting.snapshot.clone(), Arc::clone(&waiting.memory));
            let reading = Arc::clone(&self.reading).read_chunk(snapshot, slice, memory);
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

/// The columns of the spine followed by the features.
fn extend(schema: &SchemaRef, spine: &RecordBatch, features: RecordBatch) -> EngineResult<RecordBatch> {
    let columns: Vec<ArrayRef> = spine.columns().iter().chain(features.columns()).cloned().collect();
    let options = RecordBatchOptions::new().with_row_count(Some(spine.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
