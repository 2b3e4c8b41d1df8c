//! The ceiling in the bucket: a node that restores from there gives no ingest time at or below it.
//!
//! What was answered at a knowledge bound stays so after the disk was lost, also by a node whose clock is behind. So the bucket
//! hears of a bound before the answer leaves: of a step ahead of it, in the next object of the log, or in one without commits if
//! nothing else goes up. That is one object a step at most, and none while no bound is asked.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::published::Published;
use crate::time::Micros;

/// How far ahead of a bound that is asked the ceiling is put.
const STEP: Micros = 60_000_000;

/// The ceiling in the bucket.
#[derive(Debug)]
pub(super) struct Ceiling {
    /// Where it is to be.
    asked: AtomicI64,
    /// Where it is, as [`rank`] counts.
    there: Published,
}

impl Default for Ceiling {
    fn default() -> Self {
        Self { asked: AtomicI64::new(Micros::MIN), there: Published::default() }
    }
}

impl Ceiling {
    /// Where it is to be.
    pub(super) fn asked(&self) -> Micros {
        self.asked.load(Ordering::SeqCst)
    }

    /// Where it is.
    pub(super) fn there(&self) -> Micros {
        time_of(self.there.sequence())
    }

    /// Whether the bucket lacks what was asked.
    pub(super) fn lacks(&self) -> bool {
        self.there() < self.asked()
    }

    /// Takes note that the bucket has the ceiling `time`.
    pub(super) fn put(&self, time: Micros) {
        self.there.publish(rank(time));
    }

    /// Asks that it be at or above `bound`.
    pub(super) fn ask(&self, bound: Micros) {
        self.asked.fetch_max(bound.saturating_add(STEP), Ordering::SeqCst);
    }

    /// Waits until it is at or above `bound`, no longer than `wait`.
    pub(super) fn wait(&self, bound: Micros, wait: Duration) -> Result<()> {
        let unknown = |error: Error| {
            let what =
                "the bucket must know of a \"known_at\" before it is answered, so that it stays final on any node";
            Error::new(error.kind(), format!("{what}: {error}"))
        };
        self.there.wait(rank(bound), wait).map(drop).map_err(unknown)
    }

    /// Ends all waiting with `error`.
    pub(super) fn fail(&self, error: Error) {
        self.there.fail(error);
    }
}

/// Times in their order, from 0 on.
fn rank(time: Micros) -> u64 {
    (time as u64) ^ (1 << 63)
}

/// The time of a rank.
fn time_of(rank: u64) -> Micros {
    (rank ^ (1 << 63)) as Micros
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_in_the_order_of_their_times() {
        let times = [Micros::MIN, -7, -1, 0, 1, 7, Micros::MAX];
        assert!(times.is_sorted_by_key(|time| rank(*time)) && rank(Micros::MIN) == 0);
        assert_eq!(times.map(|time| time_of(rank(time))), times);
    }
}
