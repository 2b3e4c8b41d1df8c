//! How jobs of the log are answered, and what their senders share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::Level;
use crate::error::{Error, Kind, Result};
use crate::position::Position;
use crate::time::Micros;

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
    /// What it has survived.
    pub level: Level,
    /// The last commit that is in the bucket, if there is one.
    pub durable: Option<Position>,
}

/// The terms that batches are committed on. A clone belongs to the same stream.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    level: Level,
    fence: Option<Fence>,
}

impl Terms {
    /// Of a batch by itself.
    pub(crate) fn of_one(level: Level) -> Self {
        Self { level, fence: None }
    }

    /// Of the batches of one stream: once one of them is refused, the log refuses all that come after it.
    pub(crate) fn of_stream(level: Level) -> Self {
        Self { level, fence: Some(Fence::default()) }
    }

    /// What the batches are acknowledged for.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether an earlier batch of the stream was refused.
    pub(super) fn are_void(&self) -> bool {
        self.fence.as_ref().is_some_and(|Fence(refused)| refused.load(Ordering::Acquire))
    }

    /// Takes note that a batch of the stream was refused.
    pub(super) fn void(&self) {
        self.fence.iter().for_each(|Fence(refused)| refused.store(true, Ordering::Release));
    }
}

/// Joins the batches of one stream: whether one of them was refused.
#[derive(Debug, Clone, Default)]
struct Fence(Arc<AtomicBool>);

/// Answers a job, exactly once: when it is durable and readable, or refused. One that is dropped first, because the thread
/// that held it panicked, answers so: nobody waits for ever.
pub struct Done<T>(Option<Box<dyn FnOnce(Result<T>) + Send>>);

impl<T> Done<T> {
    /// Calls `answer`, which must be quick: it may run on the log's thread.
    pub fn new(answer: impl FnOnce(Result<T>) + Send + 'static) -> Self {
        Self(Some(Box::new(answer)))
    }

    /// Answers.
    pub fn answer(mut self, result: Result<T>) {
        if let Some(answer) = self.0.take() {
            answer(result);
        }
    }
}

impl<T> Drop for Done<T> {
    fn drop(&mut self) {
        let Some(answer) = self.0.take() else { return };
        let unknown = "the log ended before it answered: nobody knows whether this is stored; open the database again \
                       (start the server again) and look";
        // A second panic while the first unwinds would end the process.
        let answered = catch_unwind(AssertUnwindSafe(|| answer(Err(Error::new(Kind::Poisoned, unknown)))));
        if answered.is_err() {
            tracing::error!("what waited for the log panicked when it was answered");
        }
    }
}

impl<T> std::fmt::Debug for Done<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Done")
    }
}

/// The error of a database that is closed.
pub fn closed() -> Error {
    Error::new(Kind::Unavailable, "the database is closing; connect again when it is back")
}
