//! A bound on how fast background work writes, so that it leaves the disk to reads and the log.

#![expect(clippy::disallowed_methods, reason = "the clock is for slowing only, never for an answer")]

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Spends bytes at a bounded rate, on one thread.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: u64,
    /// When everything that was spent is paid for.
    paid: Cell<Instant>,
}

/// What was not spent is kept for so long: after a rest there is no long burst.
const CREDIT: Duration = Duration::from_secs(1);

impl Throttle {
    /// At most `bytes_per_second`; 0 is unlimited.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, paid: Cell::new(Instant::now()) }
    }

    /// Counts `bytes`; how long to sleep before more are spent.
    pub fn spend(&self, bytes: u64) -> Duration {
        if self.bytes_per_second == 0 {
            return Duration::ZERO;
        }
        self.spend_at(Instant::now(), bytes)
    }

    fn spend_at(&self, now: Instant, bytes: u64) -> Duration {
        let credit = now.checked_sub(CREDIT).unwrap_or(now);
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        self.paid.set(self.paid.get().max(credit) + cost);
        self.paid.get().saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_and_a_rest_is_worth_a_second() {
        let throttle = Throttle::new(100);
        let start = throttle.paid.get();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(throttle.spend_at(at(0), 50), Duration::from_millis(500));
        assert_eq!(throttle.spend_at(at(0), 100), Duration::from_millis(1500));
        assert_eq!(throttle.spend_at(at(2), 50), Duration::ZERO);
        assert_eq!(throttle.spend_at(at(1000), 100), Duration::ZERO);
        assert_eq!(throttle.spend_at(at(1000), 100), Duration::from_secs(1));
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        assert_eq!(Throttle::new(0).spend(u64::MAX), Duration::ZERO);
    }
}
