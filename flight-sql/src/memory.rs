//! Memory of queries: all of it comes from the budget that requests share, and none waits on a thread that serves.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation};
use firn_storage::budget::{Budget, Share};
use firn_storage::database::Database;
use tokio::sync::oneshot;

/// A share of the memory of all requests, waited for.
pub async fn reserve(database: &Database, bytes: u64) -> firn_storage::error::Result<Share> {
    let budget = database.budget();
    let (send, receive) = oneshot::channel();
    // Who waited too long has dropped the receiver, and with it what was sent.
    let place = budget.reserve_later(bytes, move |granted| drop(send.send(granted)));
    let _place = place?;
    match tokio::time::timeout(budget.wait_max(), receive).await {
        Ok(Ok(granted)) => Ok(granted),
        _ => Err(budget.exhausted(bytes)),
    }
}

/// The pool of one query: it takes from the budget of all requests as it grows, within the most that a query may have.
#[derive(Debug)]
pub(crate) struct QueryPool {
    budget: Arc<Budget>,
    bytes_max: usize,
    used: AtomicUsize,
    /// What is taken from the budget, in steps.
    taken: parking_lot::Mutex<Vec<Share>>,
}

/// What is taken from the budget at once.
const STEP: usize = 1 << 20;

impl QueryPool {
    /// A pool of at most `bytes_max` of `budget`.
    pub(crate) fn new(budget: &Arc<Budget>, bytes_max: u64) -> Self {
        let bytes_max = usize::try_from(bytes_max.min(budget.bytes_max())).unwrap_or(usize::MAX);
        Self { budget: Arc::clone(budget), bytes_max, used: AtomicUsize::new(0), taken: parking_lot::Mutex::default() }
    }

    /// Takes from the budget what `used` needs, or gives back what it does not.
    fn settle(&self, used: usize) {
        let steps = used.div_ceil(STEP);
        let mut taken = self.taken.lock();
        if taken.len() > steps {
            taken.truncate(steps);
        }
        while taken.len() < steps {
            taken.push(self.budget.take(STEP as u64, STEP as u64));
        }
    }

    fn refused(&self, reservation: &MemoryReservation, additional: usize, limit: &str) -> DataFusionError {
        DataFusionError::ResourcesExhausted(format!(
            "the query needs {additional} bytes more for {} and holds {} of {limit}: ask for less at once, filter \
             earlier, or raise the limit",
            reservation.consumer().name(),
            self.reserved(),
        ))
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.reserved(), self.bytes_max)
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &'static str {
        "query"
    }

    fn grow(&self, _reservation: &MemoryReservation, additional: usize) {
        let used = self.used.fetch_add(additional, Ordering::Relaxed) + additional;
        self.settle(used);
    }

    fn shrink(&self, _reservation: &MemoryReservation, shrink: usize) {
        let used = self.used.fetch_sub(shrink, Ordering::Relaxed) - shrink;
        self.settle(used);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let fits = |used: usize| used.checked_add(additional).filter(|used| *used <= self.bytes_max);
        let Ok(before) = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) else {
            return Err(self.refused(reservation, additional, &format!("{} (sql-query-bytes-max)", self.bytes_max)));
        };
        let used = before + additional;
        let grows = used.div_ceil(STEP) > before.div_ceil(STEP);
        // Others need room for their answers: what a query holds is not waited for, so it ends where theirs begins.
        if grows && self.budget.held().saturating_add(additional as u64) > self.budget.bytes_max() {
            self.used.fetch_sub(additional, Ordering::Relaxed);
            let all = format!("what all requests may hold, {} (request-bytes-max)", self.budget.bytes_max());
            return Err(self.refused(reservation, additional, &all));
        }
        self.settle(used);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}
