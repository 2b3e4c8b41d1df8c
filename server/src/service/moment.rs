//! The moment that requests of one stream are answered at: a snapshot per request, or one for a whole join.
//!
//! It waits for the position that the command asked for, once, on a thread that serves nobody else.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use firn_storage::error::Result as EngineResult;
use firn_storage::read::{Plan, Snapshot};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared as SharedFuture};
use tonic::Status;

use super::convert::AtLeast;
use super::resources::Pool;
use super::resources::granted::Granted;

/// A snapshot that several chunks wait for.
pub(super) type Pinned = SharedFuture<BoxFuture<'static, Result<Arc<Snapshot>, Status>>>;

/// What decides the snapshots of one stream.
pub(super) struct Moment {
    granted: Granted,
    plan: Arc<Plan>,
    /// The position to wait for; none once it was seen.
    at_least: Option<AtLeast>,
    /// Whether all requests have the snapshot of the first.
    is_one: bool,
    /// Whether making a snapshot, or reading at it, may have to wait for the clock or for the disk: at latest it has not.
    waits: bool,
    pinned: Option<Pinned>,
    expires: Option<Instant>,
}

impl Moment {
    /// The moments of requests of `plan`, or their one moment.
    pub(super) fn new(
        granted: &Granted,
        plan: &Arc<Plan>,
        at_least: Option<AtLeast>,
        is_one: bool,
        waits: bool,
    ) -> Self {
        let (granted, plan) = (granted.clone(), Arc::clone(plan));
        Self { granted, plan, at_least, is_one, waits, pinned: None, expires: None }
    }

    /// When the one snapshot may be used no more; it then holds up the removal of old segments.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// The snapshot of one request, if it is to be had without waiting for anything.
    pub(super) fn at_once(&mut self, batch: &RecordBatch) -> Option<EngineResult<Snapshot>> {
        if self.is_one || self.waits {
            return None;
        }
        let database = self.granted.database();
        if self.at_least.is_some_and(|at_least| !at_least.is_there(database)) {
            return None;
        }
        self.at_least = None;
        Some(database.snapshot(&self.plan, batch))
    }

    /// The snapshot of one request, or that of all if it is the first.
    pub(super) fn pin(&mut self, batch: &RecordBatch) -> Pinned {
        if let Some(pinned) = &self.pinned {
            return pinned.clone();
        }
        let granted = self.granted.clone();
        let plan = Arc::clone(&self.plan);
        let first = batch.clone();
        // Kept for the next request, because this one may wait in vain.
        let at_least = self.at_least.filter(|at_least| !at_least.is_there(granted.database()));
        let pinning = async move {
            let _place = at_least.is_some().then(|| granted.resources().wait_for_position()).transpose()?;
            let pinned = granted.engine(Pool::Waiters, move |database| {
                at_least.map_or(Ok(()), |at_least| at_least.wait(database))?;
                database.snapshot(&plan, &first)
            });
            pinned.await.map(Arc::new)
        };
        let pinned = pinning.boxed().shared();
        if self.is_one {
            self.pinned = Some(pinned.clone());
            self.expires = Instant::now().checked_add(self.granted.resources().snapshot_age_max);
        }
        pinned
    }
}
