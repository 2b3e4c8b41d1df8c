//! Asking again before the first answer is there: of many requests some few are late for no reason of their own, and whoever
//! waits for all of them waits for the latest.
//!
//! How late is late is learned: about the share of requests that was asked for is asked a second time. Whichever answer comes
//! first counts. Only for what changes nothing.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

/// Answers after which the time is trusted.
const ANSWERS_MIN: u32 = 50;
/// How much of itself the learned time changes by with one answer, at most.
const STEP: f64 = 0.05;
/// What is late at least: below it there is nothing to win.
const LATE_MIN: Duration = Duration::from_millis(5);

/// Learns how late is late.
#[derive(Debug)]
pub(crate) struct Hedge {
    /// How many of a hundred requests are asked again.
    percent: u32,
    learned: Mutex<Learned>,
}

#[derive(Debug, Default)]
struct Learned {
    answers: u32,
    /// The time that all but the share of the answers keep to, seconds.
    late: f64,
}

impl Hedge {
    /// One that asks about so many of a hundred requests again; none if 0.
    pub(crate) fn new(percent: u32) -> Self {
        Self { percent, learned: Mutex::default() }
    }

    /// When a request is late; none while that is not known.
    fn late(&self) -> Option<Duration> {
        let learned = self.learned.lock();
        let is_known = self.percent > 0 && learned.answers >= ANSWERS_MIN;
        is_known.then(|| Duration::from_secs_f64(learned.late).max(LATE_MIN))
    }

    /// Learns that an answer took `time`. The estimate rises by as much more than it falls as answers in time are more than late
    /// ones, and so rests where the share is right (frugal streaming: Ma, Muthukrishnan, Sandler 2013).
    fn learn(&self, time: Duration) {
        let (time, share) = (time.as_secs_f64(), f64::from(self.percent) / 100.0);
        let mut learned = self.learned.lock();
        learned.answers = learned.answers.saturating_add(1);
        learned.late = match learned.answers {
            1 => time,
            _ if time > learned.late => learned.late * (1.0 + STEP * (1.0 - share)),
            _ => learned.late * (1.0 - STEP * share),
        };
    }

    /// What `call` answers, which is made once more if the first is late; whether it was. An error of one waits for the other.
    pub(crate) async fn ask<T, E, F: Future<Output = Result<T, E>>>(
        &self,
        call: impl Fn() -> F,
    ) -> (Result<T, E>, bool) {
        let begun = Instant::now();
        let mut first = pin!(call());
        let Some(late) = self.late() else {
            let answer = first.await;
            self.learn(begun.elapsed());
            return (answer, false);
        };
        match select(first.as_mut(), pin!(sleep(late))).await {
            Either::Left((answer, _)) => {
                self.learn(begun.elapsed());
                return (answer, false);
            }
            Either::Right(_) => {}
        }
        // Of what is asked again the first answer alone would say how long it takes; that it is late is known.
        self.learn(late.mul_f64(2.0));
        let answer = match select(first, pin!(call())).await {
            Either::Left((Ok(answer), _)) | Either::Right((Ok(answer), _)) => Ok(answer),
            Either::Left((Err(_), other)) => other.await,
            Either::Right((Err(_), other)) => other.await,
        };
        (answer, true)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// One that knows that answers come at once.
    fn learned() -> Hedge {
        let hedge = Hedge::new(5);
        (0..ANSWERS_MIN).for_each(|_| hedge.learn(Duration::from_millis(1)));
        assert_eq!(hedge.late(), Some(LATE_MIN));
        hedge
    }

    #[tokio::test]
    async fn a_late_request_is_asked_again_and_the_first_answer_counts() {
        let calls = AtomicU32::new(0);
        let call = || async {
            if calls.fetch_add(1, Ordering::Relaxed) == 0 { pending().await } else { Ok::<_, ()>("the second") }
        };
        assert_eq!(learned().ask(call).await, (Ok("the second"), true));
    }

    #[tokio::test]
    async fn an_error_of_one_waits_for_the_other() {
        let calls = AtomicU32::new(0);
        let call = || async {
            if calls.fetch_add(1, Ordering::Relaxed) == 1 {
                return Err(());
            }
            sleep(LATE_MIN * 4).await;
            Ok("the first")
        };
        assert_eq!(learned().ask(call).await, (Ok("the first"), true));
    }

    #[tokio::test]
    async fn nothing_is_asked_again_before_it_is_known_what_is_late() {
        for hedge in [Hedge::new(5), Hedge::new(0)] {
            for _ in 0..ANSWERS_MIN {
                assert_eq!(hedge.ask(|| async { Ok::<_, ()>(()) }).await, (Ok(()), false));
            }
        }
        assert_eq!(Hedge::new(0).late(), None);
    }

    #[test]
    fn about_the_share_is_late() {
        let hedge = learned();
        let mut late = 0;
        for number in 0..20_000_u64 {
            // 10 to 109 ms, in no order.
            let time = Duration::from_millis(10 + number * 7919 % 100);
            late += u32::from(number >= 10_000 && hedge.late().is_some_and(|late| time > late));
            hedge.learn(time);
        }
        assert!((300..=800).contains(&late), "{late} of 10,000");
    }
}
