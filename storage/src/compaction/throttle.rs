//! A bound on how fast background work writes, so that it leaves the disk to reads and the log.

#![expect(clippy::disallowed_methods, reason = "the clock is for slowing only, never for an answer")]

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Spends bytes at a bounded rate, on one thread.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: u64,
    start: Instant,
    spent: Cell<u64>,
}

impl Throttle {
    /// At most `bytes_per_second`; 0 is unlimited.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, start: Instant::now(), spent: Cell::new(0) }
    }

    /// Counts `bytes` and sleeps until the rate allows them.
    pub fn spend(&self, bytes: u64) {
        if self.bytes_per_second == 0 {
            return;
        }
        self.spent.set(self.spent.get() + bytes);
        let due = Duration::from_secs_f64(self.spent.get() as f64 / self.bytes_per_second as f64);
        if let Some(ahead) = due.checked_sub(self.start.elapsed()) {
            std::thread::sleep(ahead);
        }
    }
}
