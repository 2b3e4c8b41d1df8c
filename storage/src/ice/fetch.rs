//! Fetching: ranges of objects, all that is known to be needed at once, with so many requests in flight and no more.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::config::IcePolicy;
use crate::error::{Error, Kind, Result};
use crate::objects::{ObjectName, Objects};
use crate::parallel;
use crate::statistics::Statistics;

/// The door through which all cells of ice come.
#[derive(Debug)]
pub(crate) struct Fetch {
    objects: Arc<dyn Objects>,
    policy: IcePolicy,
    /// Whether another process may delete what is fetched.
    follows: bool,
    /// Whether something was gone.
    gone: AtomicBool,
    /// Requests in flight, of all reads together.
    in_flight: Mutex<usize>,
    landed: Condvar,
    statistics: Arc<Statistics>,
}

impl Fetch {
    /// From `objects`, within the bounds of `policy`. Who `follows` another process may find that this deleted what was there.
    pub(crate) fn new(
        objects: Arc<dyn Objects>,
        policy: IcePolicy,
        follows: bool,
        statistics: Arc<Statistics>,
    ) -> Self {
        Self {
            objects,
            policy,
            follows,
            gone: AtomicBool::new(false),
            in_flight: Mutex::default(),
            landed: Condvar::new(),
            statistics,
        }
    }

    /// How it keeps to the bucket.
    pub(crate) fn policy(&self) -> &IcePolicy {
        &self.policy
    }

    /// Bytes of cells that came and are in memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.statistics.ice_resident_bytes.get()
    }

    /// Counts bytes of cells that came and stay.
    pub(super) fn came(&self, bytes: u64) {
        self.statistics.ice_resident_bytes.add(bytes);
    }

    /// Counts bytes of cells that went.
    pub(super) fn went(&self, bytes: u64) {
        self.statistics.ice_resident_bytes.subtract(bytes);
    }

    /// The bytes of each of `wanted`, in their order.
    pub(super) fn all(&self, wanted: Vec<(&ObjectName, Range<u64>)>) -> Result<Vec<Bytes>> {
        let threads = self.policy.requests_max.min(wanted.len());
        parallel::map(wanted, threads, |(name, range)| self.one(name, range))
    }

    fn one(&self, name: &ObjectName, range: Range<u64>) -> Result<Bytes> {
        let _flight = Flight::begin(self);
        self.statistics.ice_requests.add(1);
        self.statistics.ice_bytes.add(range.end - range.start);
        self.objects.get_range(name, range)?.ok_or_else(|| self.missing(name))
    }

    /// Whether something that was asked for was gone, because the process that is followed deleted it.
    pub(crate) fn found_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn missing(&self, name: &ObjectName) -> Error {
        if self.follows {
            self.gone.store(true, Ordering::Relaxed);
            let what = format!("object {name} is not there any more: the database that is followed went on; ask again");
            return Error::new(Kind::Unavailable, what);
        }
        Error::new(Kind::Corrupt, format!("object {name} is missing, and history that is asked for lies in it"))
    }
}

/// One of the requests that may be in flight.
struct Flight<'a>(&'a Fetch);

impl<'a> Flight<'a> {
    /// Waits until there may be one more.
    fn begin(fetch: &'a Fetch) -> Self {
        let mut in_flight = fetch.in_flight.lock();
        while *in_flight >= fetch.policy.requests_max {
            fetch.landed.wait(&mut in_flight);
        }
        *in_flight += 1;
        Self(fetch)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        *self.0.in_flight.lock() -= 1;
        self.0.landed.notify_one();
    }
}
