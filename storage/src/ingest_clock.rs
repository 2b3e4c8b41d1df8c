//! The clock of the log: ingest times only rise, and never reach back to a moment that was answered.
//!
//! A read at a knowledge bound S says "nothing at or below S will ever be added". So S is registered before the read
//! looks at the log, and a commit takes its ingest time after it has shown its sequence: whichever comes first sees
//! the other (both sides use sequentially consistent atomics). For a restart, a durable *ceiling* at or above every
//! answered S is written before the answer leaves; the next opening starts its clock there.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::checksum::checksum64;
use crate::error::{Error, Kind, Result};
use crate::io::{Files, publish};
use crate::time::{Clock, Micros, Sequence};

/// The name of the file that holds the ceiling.
pub(crate) const CEILING: &str = "ceiling";
const MAGIC: &[u8; 8] = b"firnceil";
/// How far ahead of an answered bound the ceiling is reserved, so that it is written at most once in this time.
const CEILING_STEP: Micros = 1_000_000;
/// How far after the clock a knowledge bound may lie; the read waits for it.
pub const KNOWN_AT_AHEAD_MAX: Micros = 1_000_000;

/// The clock of one log.
#[derive(Debug)]
pub struct IngestClock {
    clock: Arc<dyn Clock>,
    files: Arc<dyn Files>,
    /// The highest knowledge bound or clock that was answered.
    answered: AtomicI64,
    /// The last ingest time that was given.
    last: AtomicI64,
    /// The last sequence that was shown to readers as taken.
    assigned: AtomicU64,
    ceiling: Mutex<Micros>,
    skew_max: Micros,
    /// Wall and monotonic clock at the last commit.
    anchor: Mutex<Option<(Micros, Micros)>>,
}

impl IngestClock {
    /// Opens the clock of a log whose last commit was `sequence` at `last`.
    pub fn open(
        clock: Arc<dyn Clock>,
        files: Arc<dyn Files>,
        sequence: Sequence,
        last: Micros,
        skew_max: Duration,
    ) -> Result<Self> {
        let ceiling = read_ceiling(&files)?;
        Ok(Self {
            clock,
            files,
            answered: AtomicI64::new(ceiling),
            last: AtomicI64::new(last),
            assigned: AtomicU64::new(sequence),
            ceiling: Mutex::new(ceiling),
            skew_max: i64::try_from(skew_max.as_micros()).unwrap_or(i64::MAX),
            anchor: Mutex::new(None),
        })
    }

    /// Goes on after what the WAL held beyond the manifest, or after commits of the writer that is followed. The sequence is shown
    /// before the time, as in [`IngestClock::assign`].
    pub fn resume(&self, sequence: Sequence, last: Micros) {
        self.assigned.fetch_max(sequence, Ordering::SeqCst);
        self.last.fetch_max(last, Ordering::SeqCst);
    }

    /// The last ingest time that was given.
    pub fn last(&self) -> Micros {
        self.last.load(Ordering::SeqCst)
    }

    /// The last ingest time that was given, and a sequence up to which every commit was taken that has it or an earlier one.
    pub fn taken(&self) -> (Micros, Sequence) {
        let last = self.last();
        (last, self.assigned.load(Ordering::SeqCst))
    }

    /// The clock: the wall clock, but never before the last ingest time or an answered bound.
    pub fn now(&self) -> Micros {
        let wall = self.clock.now();
        wall.max(self.last.load(Ordering::SeqCst)).max(self.answered.load(Ordering::SeqCst))
    }

    /// No ingest time at or below was given to a commit that is still to come, nor will be after a restart.
    pub fn ceiling(&self) -> Micros {
        self.last.load(Ordering::SeqCst).max(*self.ceiling.lock())
    }

    /// The monotonic clock.
    pub fn monotonic(&self) -> Micros {
        self.clock.monotonic()
    }

    /// Takes `sequence` (the last of `count` from the next on) and gives it an ingest time of at least `least`.
    pub fn assign(&self, sequence: Sequence, least: Micros) -> Micros {
        self.assigned.store(sequence, Ordering::SeqCst);
        let answered = self.answered.load(Ordering::SeqCst);
        let last = self.last.load(Ordering::SeqCst);
        let time = self.clock.now().max(last.saturating_add(1)).max(answered.saturating_add(1)).max(least);
        self.last.store(time, Ordering::SeqCst);
        time
    }

    /// Shows `sequence` as taken by commits that bring their own ingest times.
    pub fn assign_history(&self, sequence: Sequence) {
        self.assigned.store(sequence, Ordering::SeqCst);
    }

    /// Takes back that sequences after `sequence` are taken: the commit was refused.
    pub fn give_back(&self, sequence: Sequence) {
        self.assigned.store(sequence, Ordering::SeqCst);
    }

    /// Refuses a commit if the wall clock jumped against the monotonic one since the last commit.
    pub fn check_skew(&self) -> Result<()> {
        let (wall, monotonic) = (self.clock.now(), self.clock.monotonic());
        let mut anchor = self.anchor.lock();
        if let Some((wall_before, monotonic_before)) = *anchor {
            let jump = (wall - wall_before) - (monotonic - monotonic_before);
            if jump.abs() > self.skew_max {
                return Err(Error::new(
                    Kind::Unavailable,
                    format!(
                        "the wall clock jumped by {} ms against the monotonic clock since the last commit, more than \
                         clock-skew-max ({} ms): writes stop so that ingest times stay true; set the clock right, or \
                         restart the server to accept the new time",
                        jump / 1000,
                        self.skew_max / 1000
                    ),
                ));
            }
        }
        *anchor = Some((wall, monotonic));
        Ok(())
    }

    /// Registers a clock that an answer carries. Later commits come after it.
    pub fn answer_clock(&self, clock: Micros) {
        if self.answered.load(Ordering::Relaxed) < clock {
            self.answered.fetch_max(clock, Ordering::SeqCst);
        }
    }

    /// Registers the knowledge bound `known_at` durably and returns the sequence that the read must wait for: every
    /// commit that could have an ingest time at or below the bound.
    pub fn answer_known_at(&self, known_at: Micros) -> Result<Sequence> {
        self.answered.fetch_max(known_at, Ordering::SeqCst);
        let mut ceiling = self.ceiling.lock();
        if known_at > *ceiling {
            let next = known_at.saturating_add(CEILING_STEP);
            write_ceiling(&self.files, next)?;
            *ceiling = next;
        }
        Ok(self.assigned.load(Ordering::SeqCst))
    }
}

/// Checks the file that holds the ceiling, if there is one.
pub(crate) fn verify_ceiling(files: &Arc<dyn Files>) -> Result<()> {
    read_ceiling(files).map(drop)
}

/// Replaces a lost ceiling by one above everything that can have been answered before `now`.
pub(crate) fn renew_ceiling(files: &Arc<dyn Files>, now: Micros) -> Result<()> {
    write_ceiling(files, now.saturating_add(KNOWN_AT_AHEAD_MAX + CEILING_STEP))
}

fn read_ceiling(files: &Arc<dyn Files>) -> Result<Micros> {
    if !files.list("")?.iter().any(|name| name == CEILING) {
        return Ok(i64::MIN);
    }
    let bytes = files.read(CEILING)?;
    let time = bytes.get(8..16).and_then(|bytes| bytes.try_into().ok()).map(i64::from_le_bytes);
    match time {
        Some(time) if bytes == encode_ceiling(time) => Ok(time),
        _ => Err(Error::corrupt(CEILING, 0, "the ceiling of answered times does not check")),
    }
}

pub(crate) fn write_ceiling(files: &Arc<dyn Files>, time: Micros) -> Result<()> {
    publish(files, CEILING, |file| file.append(&encode_ceiling(time)))
}

fn encode_ceiling(time: Micros) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&time.to_le_bytes());
    bytes.extend_from_slice(&checksum64(&bytes).to_le_bytes());
    bytes
}
