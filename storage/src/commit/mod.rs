//! The log's one writer: every commit goes through its thread, in order.
//!
//! Waiting jobs are taken together: each is checked and appended to the WAL, one sync makes all of them durable, then
//! they are applied to the memtables in order, small writes of one table together, and published. A job is answered
//! after that, so an acknowledged write is durable and readable. While a group is syncing the next one gathers; there
//! is no sleep.

mod apply;
mod queue;
mod stage;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::Engine;
use crate::erase::ErasePlan;
use crate::error::{Error, Kind, Result};
use crate::model::catalog::Catalog;
use crate::model::declare::Change;
use crate::position::Position;
use crate::time::{Micros, Sequence};
use crate::versions::Versions;
use crate::wal::Wal;

use apply::together;
pub use apply::{apply_batches, apply_version, note_widened};
pub use queue::Queue;
pub use stage::Prepared;

/// The kinds of WAL records.
pub mod record {
    /// A batch of rows.
    pub const BATCH: u8 = 1;
    /// A schema version.
    pub const VERSION: u8 = 2;
    /// An erase.
    pub const ERASE: u8 = 3;
}

/// A commit that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// A read at this position sees the commit.
    pub position: Position,
    /// When the engine learned the rows, µs.
    pub ingest_time: Micros,
    /// Rows applied.
    pub rows: u64,
    /// Whether the batch was a repetition: nothing was applied now.
    pub duplicate: bool,
}

/// Joins the batches of one stream: once one of them is refused, the log refuses all that come after it.
#[derive(Debug, Clone, Default)]
pub struct Fence(Arc<AtomicBool>);

impl Fence {
    pub(super) fn close(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Answers a job once it is durable and readable, or refused.
pub type Done<T> = Box<dyn FnOnce(Result<T>) + Send>;

/// What the log's writer is asked to do.
pub enum Job {
    /// Commit a batch.
    Write(Box<Prepared>, Done<Committed>),
    /// Change the schema.
    Change(Change, Done<Arc<Catalog>>),
    /// Erase entities.
    Erase(ErasePlan, Done<Sequence>),
    /// Turn the memtables of tables over for flushing.
    Freeze(Vec<u32>, Done<Frozen>),
    /// Stop after everything before it.
    Stop,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Write(..) => "Write",
            Self::Change(..) => "Change",
            Self::Erase(..) => "Erase",
            Self::Freeze(..) => "Freeze",
            Self::Stop => "Stop",
        })
    }
}

/// What a flush must know of the moment its memtables were frozen.
#[derive(Debug, Clone, Default)]
pub struct Frozen {
    /// The last commit that frozen memtables can hold.
    pub through: Sequence,
    /// The last ingest time.
    pub ingest_time: Micros,
    /// The WAL file that was begun: no frozen row is in it or after it.
    pub wal: u64,
    /// Per table: the last producer sequences and the greatest ingest time.
    pub tables: HashMap<u32, FrozenTable>,
}

/// What a flush must know of one table.
#[derive(Debug, Clone, Default)]
pub struct FrozenTable {
    /// The last producer sequences.
    pub producers: HashMap<String, u64>,
    /// The greatest ingest time of its rows.
    pub ingest_time: Option<Micros>,
}

/// What the log's writer remembers of a table.
#[derive(Debug, Clone, Default)]
pub struct TableLog {
    /// The last producer sequences.
    pub producers: HashMap<String, u64>,
    /// The greatest ingest time of its rows.
    pub ingest_time: Option<Micros>,
}

/// The log's writer.
#[derive(Debug)]
pub struct Committer {
    engine: Arc<Engine>,
    wal: Wal,
    sequence: Sequence,
    ingest_time: Micros,
    tables: HashMap<u32, TableLog>,
    /// The schema as the log has it: readers see a version once it is durable.
    versions: Arc<Versions>,
}

impl Committer {
    /// A writer that goes on after `sequence`.
    pub fn new(
        engine: Arc<Engine>,
        wal: Wal,
        sequence: Sequence,
        ingest_time: Micros,
        tables: HashMap<u32, TableLog>,
    ) -> Self {
        let versions = engine.versions.load_full();
        Self { engine, wal, sequence, ingest_time, tables, versions }
    }

    /// Serves `queue` until it is told to stop, then closes the WAL.
    pub fn run(mut self, queue: &Queue) -> Result<()> {
        loop {
            let jobs = queue.take(self.engine.options.queue_bytes_max, &self.engine.statistics);
            if self.group(jobs, queue) {
                break;
            }
        }
        self.engine.published.fail(closed());
        self.engine.poison.check()?;
        self.wal.close()
    }

    /// Commits one group of jobs; whether the writer must stop.
    fn group(&mut self, jobs: Vec<Job>, queue: &Queue) -> bool {
        // Freezes go first: in a group that waits for room they may be the only ones that can make it.
        let (freezes, jobs): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| matches!(job, Job::Freeze(..)));
        for job in freezes {
            if let Job::Freeze(tables, done) = job {
                done(self.freeze(&tables));
            }
        }
        let writes = jobs.iter().any(|job| matches!(job, Job::Write(..)));
        let full = if writes { self.wait_for_room(queue) } else { None };
        let mut staged: Vec<stage::Staged> = Vec::with_capacity(jobs.len());
        let mut stop = false;
        for job in jobs {
            match job {
                Job::Write(prepared, done) if full.is_some() => {
                    // There may be room again for what comes after it.
                    prepared.fence.iter().for_each(Fence::close);
                    done(Err(full.clone().unwrap_or_else(closed)));
                }
                Job::Write(prepared, done) => self.stage_write(*prepared, done, &mut staged),
                Job::Change(change, done) => self.stage_change(&change, done, &mut staged),
                Job::Erase(plan, done) => self.stage_erase(plan, done, &mut staged),
                Job::Freeze(..) => unreachable!("freezes were taken out of the group"),
                Job::Stop => stop = true,
            }
        }
        self.commit(staged);
        stop
    }

    /// Waits while memtables are over their budget; the error that writes get if that took too long. Freezes go on
    /// meanwhile: they are what makes room.
    fn wait_for_room(&mut self, queue: &Queue) -> Option<Error> {
        let engine = Arc::clone(&self.engine);
        let options = &engine.options;
        let mut overload = engine.overload().filter(|_| options.background)?;
        engine.statistics.stalls.add(1);
        let start = engine.clock.monotonic();
        let wait_max = i64::try_from(options.stall_wait_max.as_micros()).unwrap_or(i64::MAX);
        let mut heard = 0;
        loop {
            for (tables, done) in queue.take_freezes() {
                done(self.freeze(&tables));
            }
            let waited = engine.clock.monotonic() - start;
            match engine.overload() {
                Some(still) if waited < wait_max && !engine.is_closing() => overload = still,
                still => {
                    engine.statistics.stall_micros.add(waited.max(0) as u64);
                    return still.map(|_| overload);
                }
            }
            engine.work.ring();
            engine.room.wait(&mut heard, ROOM_WAIT);
        }
    }

    /// Makes `staged` durable, applies and publishes it, and answers.
    fn commit(&mut self, staged: Vec<stage::Staged>) {
        if staged.is_empty() {
            return;
        }
        if self.engine.poison.get().is_none() {
            let start = self.engine.clock.monotonic();
            if let Err(error) = self.wal.commit() {
                self.engine.poison.set(&error);
            }
            let took = self.engine.clock.monotonic() - start;
            self.engine.statistics.wal_syncs.add(1);
            self.engine.statistics.wal_sync_micros.add(took.max(0) as u64);
        }
        let mut staged = staged.into_iter().peekable();
        let mut later = Vec::new();
        while let Some(next) = staged.next() {
            match next {
                stage::Staged::Write(write) => {
                    let writes = together(write, &mut staged);
                    // Clients of the first writes go on while the others are applied.
                    self.apply_writes(writes).into_iter().for_each(|answer| answer());
                }
                stage::Staged::Alone(alone) => later.push(self.apply_alone(alone)),
            }
        }
        if self.engine.poison.get().is_none() {
            self.engine.published.publish(self.sequence);
        }
        later.into_iter().for_each(|answer| answer());
        self.turn_wal();
    }

    /// Begins the next WAL file when the current one is full.
    fn turn_wal(&mut self) {
        if self.engine.poison.get().is_some() || self.wal.bytes() < self.engine.options.wal_bytes_max {
            return;
        }
        let number = self.engine.take_number();
        if let Err(error) = self.wal.rotate(number) {
            tracing::warn!(%error, "the next WAL file could not be begun; the log goes on in the old one");
            self.note_failure(&error);
        }
        self.engine.work.ring();
    }

    /// Turns over the memtables of `tables` and the WAL file they are in.
    fn freeze(&mut self, tables: &[u32]) -> Result<Frozen> {
        self.engine.poison.check()?;
        let number = self.engine.take_number();
        self.wal.rotate(number).inspect_err(|error| self.note_failure(error))?;
        let mut frozen =
            Frozen { through: self.sequence, ingest_time: self.ingest_time, wal: number, tables: HashMap::new() };
        for &id in tables {
            let Some(state) = self.engine.table(id) else { continue };
            state.edit_view(|view| {
                for bucket in &mut view.buckets {
                    let bucket = Arc::make_mut(bucket);
                    assert!(bucket.frozen.is_empty(), "one flush of a table ends before the next begins");
                    bucket.frozen = std::mem::take(&mut bucket.memory);
                }
            });
            let mut size = state.size.lock();
            size.frozen_bytes = std::mem::take(&mut size.active_bytes);
            size.frozen_wal = size.active_wal.take();
            size.active_since = None;
            let log = self.tables.get(&id).cloned().unwrap_or_default();
            frozen.tables.insert(id, FrozenTable { producers: log.producers, ingest_time: log.ingest_time });
        }
        Ok(frozen)
    }

    /// Stops writes if `error` says that what the disk holds is unknown.
    fn note_failure(&self, error: &Error) {
        if error.kind() == Kind::Poisoned {
            self.engine.poison.set(error);
        }
    }
}

/// How long a write waits for memory before it looks again.
const ROOM_WAIT: std::time::Duration = std::time::Duration::from_millis(50);

/// The error of a database that is closed.
pub fn closed() -> Error {
    Error::new(Kind::Unavailable, "the database is closing; connect again when it is back")
}
