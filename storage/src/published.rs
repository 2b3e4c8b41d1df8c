//! The last commit that has come somewhere, and waiting for it: what reads see, and what is in the bucket.

#![expect(clippy::disallowed_methods, reason = "the clock is for waiting only, never for an answer")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Kind, Result};
use crate::time::Sequence;

/// How far the commits of a log have come.
#[derive(Debug, Default)]
pub struct Published {
    sequence: AtomicU64,
    changed: Condvar,
    lock: Mutex<Option<Error>>,
}

impl Published {
    /// The last commit that is there.
    pub fn sequence(&self) -> Sequence {
        self.sequence.load(Ordering::SeqCst)
    }

    /// Says that every commit up to `sequence` is there.
    pub fn publish(&self, sequence: Sequence) {
        let _guard = self.lock.lock();
        self.sequence.fetch_max(sequence, Ordering::SeqCst);
        self.changed.notify_all();
    }

    /// Ends all waiting, now and later, with `error`: nothing more will come. The first error stays.
    pub fn fail(&self, error: Error) {
        self.lock.lock().get_or_insert(error);
        self.changed.notify_all();
    }

    /// Waits until `sequence` is there, at most `wait`; how much of that is left.
    pub fn wait(&self, sequence: Sequence, wait: Duration) -> Result<Duration> {
        if self.sequence() >= sequence {
            return Ok(wait);
        }
        let deadline = Instant::now() + wait;
        let mut failed = self.lock.lock();
        while self.sequence() < sequence {
            if let Some(error) = failed.as_ref() {
                return Err(error.clone());
            }
            if self.changed.wait_until(&mut failed, deadline).timed_out() && self.sequence() < sequence {
                return Err(Error::new(
                    Kind::Unavailable,
                    format!("what was waited for did not come within {} ms; ask again", wait.as_millis()),
                ));
            }
        }
        Ok(deadline.saturating_duration_since(Instant::now()))
    }
}
