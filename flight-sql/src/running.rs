//! Queries that run: they can be seen, ended from outside, and end by themselves where their limits are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use firn_storage::error::{Error, Kind, Result};
use firn_storage::time::Micros;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::lanes::Batches;
use crate::limits::Limits;

/// A run of a query.
#[derive(Debug)]
pub(crate) struct Run {
    /// The statement.
    pub(crate) text: String,
    /// Which run of it, as tickets say it.
    pub(crate) run: u64,
    /// When it began.
    pub(crate) began_at: Micros,
    /// The rows that it answered.
    pub(crate) rows: AtomicU64,
    /// Rings when it is to end.
    pub(crate) end: CancellationToken,
}

/// All queries that run.
#[derive(Debug, Default)]
pub(crate) struct Running {
    runs: Mutex<BTreeMap<u64, Arc<Run>>>,
    last: AtomicU64,
}

/// A place among the queries that run.
#[derive(Debug)]
pub(crate) struct Place {
    running: Arc<Running>,
    number: u64,
    pub(crate) run: Arc<Run>,
}

impl Running {
    /// A place for the run `run` of `text`.
    pub(crate) fn enter(self: &Arc<Self>, text: &str, run: u64) -> Place {
        let run = Arc::new(Run {
            text: text.to_owned(),
            run,
            began_at: chrono::Utc::now().timestamp_micros(),
            rows: AtomicU64::new(0),
            end: CancellationToken::new(),
        });
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        self.runs.lock().insert(number, Arc::clone(&run));
        Place { running: Arc::clone(self), number, run }
    }

    /// Ends what runs by the name `run`; whether there was something.
    pub(crate) fn cancel(&self, run: u64) -> bool {
        let runs = self.runs.lock();
        let named = runs.values().filter(|known| run != 0 && known.run == run);
        named.map(|known| known.end.cancel()).count() > 0
    }

    /// Everything that runs, the oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Run>> {
        self.runs.lock().values().cloned().collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.runs.lock().remove(&self.number);
    }
}

/// An answer with its end.
struct Ending {
    /// None once it failed.
    batches: Option<Batches>,
    place: Place,
    rows_max: u64,
    time_max: std::time::Duration,
    deadline: Instant,
}

/// `batches` of the query at `place`, ended by `limits` or from outside.
pub(crate) fn within(limits: &Limits, place: Place, batches: Batches) -> Batches {
    let (rows_max, time_max) = (limits.result_rows_max, limits.query_time_max);
    let deadline = Instant::now() + time_max;
    let ending = Ending { batches: Some(batches), place, rows_max, time_max, deadline };
    futures::stream::unfold(ending, |mut ending| async move {
        let next = ending.next().await?;
        if next.is_err() {
            ending.batches = None;
        }
        Some((next, ending))
    })
    .boxed()
}

impl Ending {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        let batches = self.batches.as_mut()?;
        let batch = tokio::select! {
            () = self.place.run.end.cancelled() => return Some(Err(cancelled())),
            () = sleep_until(self.deadline) => {
                let most = self.time_max;
                return Some(Err(Error::exhausted(format!(
                    "the query takes longer than {most:?} (sql-query-time-max): ask for less, or raise the limit"
                ))));
            }
            batch = batches.next() => batch?,
        };
        let rows = batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        let before = self.place.run.rows.fetch_add(rows, Ordering::Relaxed);
        Some(match before + rows > self.rows_max {
            true => Err(Error::exhausted(format!(
                "the answer has more than {} rows (sql-result-rows-max): ask for less, or raise the limit",
                self.rows_max
            ))),
            false => batch,
        })
    }
}

/// What a query that was ended from outside answers.
fn cancelled() -> Error {
    Error::new(Kind::Cancelled, "the query was cancelled")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn endless() -> Batches {
        futures::stream::pending().boxed()
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(test)
    }

    #[test]
    fn a_query_that_is_cancelled_says_so_and_is_gone() {
        let running = Arc::new(Running::default());
        let mut batches = within(&Limits::default(), running.enter("SELECT 1", 7), endless());
        assert!(running.cancel(7) && !running.cancel(8) && !running.cancel(0));
        let error = run(batches.next()).expect("an end").expect_err("it was cancelled");
        assert_eq!(error.kind(), Kind::Cancelled);
        assert!(run(batches.next()).is_none());
        drop(batches);
        assert!(running.all().is_empty());
    }

    #[test]
    fn a_query_that_answers_nothing_ends_at_its_time() {
        let limits = Limits { query_time_max: Duration::from_millis(1), ..Limits::default() };
        let mut batches = within(&limits, Arc::new(Running::default()).enter("SELECT 1", 0), endless());
        let error = run(batches.next()).expect("an end").expect_err("its time is over");
        assert!(error.message().contains("sql-query-time-max"), "{error:?}");
    }
}
