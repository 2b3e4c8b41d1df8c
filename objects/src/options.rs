//! How a bucket is reached and how long a call may take.

use std::fmt;
use std::time::Duration;

/// How a bucket is reached and how long a call may take. Every limit is finite.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// The server of the store, `http://…` or `https://…`, if it is not the cloud's own. A directory has none.
    pub endpoint: Option<String>,
    /// Settings of the store, named as in the environment (`AWS_REGION`), which they go before.
    pub settings: Vec<(String, String)>,
    /// How long a call may take with all its attempts, beside the time for its bytes. Default 60 s.
    pub deadline_max: Duration,
    /// How long it may take to read a range of an object, with all attempts, beside the time for its bytes: somebody waits for
    /// that. Default 15 s.
    pub read_max: Duration,
    /// Of a hundred reads of ranges about so many are asked a second time, because the first answer is late; 0 for none. Default 5.
    pub hedge_percent: u32,
    /// How long one attempt, or one page of a list, may take, beside the time for its bytes. Default 15 s.
    pub attempt_max: Duration,
    /// How long a list may take with all its pages. Default 10 minutes.
    pub list_max: Duration,
    /// Each MiB of a body gives a call this much more time. Default 1 s.
    pub mebibyte_max: Duration,
    /// Threads for the network. Default 2.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: None,
            settings: Vec::new(),
            deadline_max: Duration::from_secs(60),
            read_max: Duration::from_secs(15),
            hedge_percent: 5,
            attempt_max: Duration::from_secs(15),
            list_max: Duration::from_secs(600),
            mebibyte_max: Duration::from_secs(1),
            threads: 2,
        }
    }
}

impl Options {
    /// The time that a body of `bytes` may take.
    pub(crate) fn body_max(&self, bytes: u64) -> Duration {
        let mebibytes = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
        self.mebibyte_max.saturating_mul(mebibytes)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            endpoint,
            settings,
            deadline_max,
            read_max,
            hedge_percent,
            attempt_max,
            list_max,
            mebibyte_max,
            threads,
        } = self;
        let mut shown = f.debug_struct("Options");
        // A setting may be a secret.
        let names: Vec<&str> = settings.iter().map(|(name, _)| name.as_str()).collect();
        shown.field("endpoint", endpoint).field("settings", &names).field("deadline_max", deadline_max);
        shown.field("read_max", read_max).field("hedge_percent", hedge_percent);
        shown.field("attempt_max", attempt_max).field("list_max", list_max);
        shown.field("mebibyte_max", mebibyte_max).field("threads", threads).finish()
    }
}
