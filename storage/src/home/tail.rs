//! How far the log is on the local disk, and how far in the bucket.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use parking_lot::Mutex;

use super::ceiling::Ceiling;
use crate::error::Result;
use crate::published::Published;
use crate::signal::Signal;
use crate::time::{Micros, Sequence};

/// A place in the log: so many bytes of a file, and the last commit up to there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogTail {
    /// The number of the file.
    pub file: u64,
    /// How many bytes of it.
    pub bytes: u64,
    /// The last commit.
    pub sequence: Sequence,
}

/// Called when a commit is in the bucket, or never will be.
pub(super) type Waiting = Box<dyn FnOnce(Result<()>) + Send>;

/// The state of the upload.
pub(super) struct Upload {
    /// How far the local disk has the log.
    pub(super) tail: Mutex<LogTail>,
    pub(super) done: Mutex<Done>,
    /// The commits that are in the bucket.
    pub(super) durable: Published,
    /// Up to where no ingest time is given, as the bucket knows.
    pub(super) ceiling: Ceiling,
    /// Files before this one are in the bucket.
    pub(super) file: AtomicU64,
    /// How many bytes the bucket lacks.
    pub(super) backlog_bytes: AtomicU64,
    /// How many bytes went up in all.
    pub(super) bytes: AtomicU64,
    pub(super) waiting: Mutex<VecDeque<(Sequence, Waiting)>>,
    pub(super) bell: Signal,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("tail", &self.tail).field("durable", &self.durable).finish_non_exhaustive()
    }
}

/// What is in the bucket.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) tail: LogTail,
    /// The number of the next object.
    pub(super) next: u64,
    /// The checksum of the last one.
    pub(super) chain: u64,
    /// The last file that each object has a piece of, of those that are still needed.
    pub(super) objects: VecDeque<(u64, u64)>,
    /// An object that may have landed.
    pub(super) begun: Option<Begun>,
}

/// An object that was begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) bytes: Bytes,
    pub(super) chain: u64,
    pub(super) reached: LogTail,
    pub(super) ceiling: Micros,
    /// Bytes of the log.
    pub(super) sent: u64,
}

impl Upload {
    /// Of a log whose first file that is needed is `file`, and of which the bucket has nothing in this epoch.
    pub(super) fn new(file: u64) -> Self {
        let done = Done { tail: LogTail { file, ..LogTail::default() }, next: 1, ..Done::default() };
        Self {
            tail: Mutex::new(done.tail),
            done: Mutex::new(done),
            durable: Published::default(),
            ceiling: Ceiling::default(),
            file: AtomicU64::new(file),
            backlog_bytes: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            waiting: Mutex::default(),
            bell: Signal::default(),
        }
    }

    /// Answers those who wait for a commit up to `through`, in their order.
    pub(super) fn answer(&self, through: Sequence) {
        let mut answered = Vec::new();
        {
            let mut waiting = self.waiting.lock();
            while waiting.front().is_some_and(|(sequence, _)| *sequence <= through) {
                answered.extend(waiting.pop_front());
            }
        }
        answered.into_iter().for_each(|(_, waiting)| waiting(Ok(())));
    }
}
