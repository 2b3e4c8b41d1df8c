//! The attempts of one call, repeated within its time limit as long as another may work.

use std::time::{Duration, Instant};

use firn_storage::error::{Error, Kind, Result};

use crate::failure::Failure;
use crate::options::Options;
use crate::wire::Attempt;

/// The first pause between two attempts; each is twice as long as the one before.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How often a body may be wrong before the object is taken for damaged.
const WRONG_BODIES_MAX: u32 = 3;

/// The attempts of one call.
pub(crate) struct Tries {
    /// What is called for, as messages say it.
    what: String,
    doing: &'static str,
    attempt_max: Duration,
    end: Instant,
    pause: Duration,
    /// How often a body was wrong.
    wrong: u32,
    /// What the last answer said. The last attempt may have too little time left to hear why.
    heard: Option<String>,
}

impl Tries {
    /// The attempts of `doing` something to `what`, which sends or asks for `bytes`.
    pub(crate) fn new(options: &Options, doing: &'static str, what: String, bytes: u64) -> Self {
        let more = options.body_max(bytes);
        Self {
            what,
            doing,
            attempt_max: options.attempt_max + more,
            end: Instant::now() + options.deadline_max + more,
            pause: PAUSE_MIN,
            wrong: 0,
            heard: None,
        }
    }

    /// The same, with another time limit for all of them together.
    pub(crate) fn ending_in(self, limit: Duration) -> Self {
        Self { end: Instant::now() + limit, ..self }
    }

    /// How long the next attempt may take.
    pub(crate) fn limit(&self) -> Duration {
        self.attempt_max.min(self.end.saturating_duration_since(Instant::now()))
    }

    /// Pauses before another attempt after `failure`; the error of the call if there is none.
    pub(crate) fn again(&mut self, failure: Failure) -> Result<()> {
        if let Failure::Later(Kind::Corrupt, _) = failure {
            self.wrong += 1;
        }
        let pause = self.pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        let in_time = Instant::now() + pause < self.end && self.wrong < WRONG_BODIES_MAX;
        if matches!(failure, Failure::Never(..) | Failure::Short(_)) || !in_time {
            return Err(self.error(failure));
        }
        if !matches!(failure, Failure::Silence(_)) {
            self.heard = Some(failure.clone().last().1);
        }
        tracing::debug!(what = self.what, doing = self.doing, ?failure, "the bucket is asked again");
        std::thread::sleep(pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }

    fn error(&self, failure: Failure) -> Error {
        let is_silence = matches!(failure, Failure::Silence(_));
        let (kind, mut words) = failure.last();
        if let Some(heard) = self.heard.as_deref().filter(|_| is_silence) {
            words = format!("{words}; before that: {heard}");
        }
        Error::new(kind, format!("could not {} {}: {words}", self.doing, self.what))
    }

    /// Repeats `attempt` until it works or says that there is no such object.
    pub(crate) fn until<T>(mut self, attempt: impl Fn(Duration) -> Attempt<T>) -> Result<Option<T>> {
        loop {
            match attempt(self.limit()) {
                Ok(answer) => return Ok(Some(answer)),
                Err(Failure::Absent) => return Ok(None),
                Err(failure) => self.again(failure)?,
            }
        }
    }

    /// Repeats `attempt`, to which no object can be absent, until it works.
    pub(crate) fn always<T>(mut self, attempt: impl Fn(Duration) -> Attempt<T>) -> Result<T> {
        loop {
            match attempt(self.limit()) {
                Ok(answer) => return Ok(answer),
                Err(failure) => self.again(failure)?,
            }
        }
    }
}
