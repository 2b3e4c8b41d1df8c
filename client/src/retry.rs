//! Trying again, only where it is safe: connecting, reads, and writes that carry a producer sequence.
//!
//! Only [`Kind::Unavailable`] is tried again. Anything else would be the same the next time.

use std::time::Duration;

use crate::error::{Kind, Result};

/// How often to try and how long to wait in between; each wait is twice the one before, and then cut by up to a half at
/// random, so that clients who lost a server together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How many attempts in all, at least one.
    pub attempts: u32,
    /// The wait after the first attempt.
    pub first_wait: Duration,
    /// No wait is longer.
    pub wait_max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 5, first_wait: Duration::from_millis(50), wait_max: Duration::from_secs(2) }
    }
}

impl Retry {
    /// One attempt.
    pub fn never() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// Runs `attempt` until it succeeds, fails for good, or has failed often enough.
    pub(crate) async fn run<T, A>(&self, attempt: impl Fn() -> A) -> Result<T>
    where
        A: Future<Output = Result<T>>,
    {
        let mut wait = self.first_wait;
        for _ in 1..self.attempts {
            match attempt().await {
                Err(error) if error.kind() == Kind::Unavailable => {
                    tokio::time::sleep(cut(wait, fastrand::f64())).await;
                }
                done => return done,
            }
            wait = (wait * 2).min(self.wait_max);
        }
        attempt().await
    }
}

/// `wait`, cut by half of `chance`, which is from 0 to 1.
fn cut(wait: Duration, chance: f64) -> Duration {
    wait.mul_f64(1.0 - chance / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_cut_by_half_at_most() {
        let wait = Duration::from_millis(100);
        assert_eq!([0.0, 0.5, 1.0].map(|chance| cut(wait, chance).as_millis()), [100, 75, 50]);
    }
}
