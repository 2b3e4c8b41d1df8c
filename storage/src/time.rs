//! Times and positions: microseconds UTC, the sequence of commits, and the one door to the clock.
//!
//! Event times are the writer's, ingest times the server's; both are `i64` microseconds since 1970-01-01 UTC and
//! either may be negative. A [`Sequence`] orders the commits of one log. The wall clock is read only through
//! [`Clock`], so that a test can replace it.

#![expect(clippy::disallowed_methods, reason = "this is the door to clocks")]

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970-01-01 UTC.
pub type Micros = i64;

/// The order of commits in the log of one database; the first commit has sequence 1.
pub type Sequence = u64;

/// The one door to time.
pub trait Clock: Send + Sync + Debug {
    /// The wall clock.
    fn now(&self) -> Micros;
    /// A clock that never jumps, from an arbitrary start.
    fn monotonic(&self) -> Micros;
}

/// The clocks of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Micros {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        }
    }

    fn monotonic(&self) -> Micros {
        i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

/// A clock that moves only when it is told to: for tests and replays.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: AtomicI64,
    jump: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Micros) -> Self {
        Self { now: AtomicI64::new(now), jump: AtomicI64::new(0) }
    }

    /// Moves both clocks to `now`.
    pub fn set(&self, now: Micros) {
        self.now.store(now, Ordering::SeqCst);
    }

    /// Moves both clocks forward.
    pub fn advance(&self, micros: Micros) {
        self.now.fetch_add(micros, Ordering::SeqCst);
    }

    /// Moves the wall clock against the monotonic one.
    pub fn jump(&self, micros: Micros) {
        self.jump.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Micros {
        self.now.load(Ordering::SeqCst) + self.jump.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Micros {
        self.now.load(Ordering::SeqCst)
    }
}
