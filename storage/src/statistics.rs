//! Counters of the engine, for metrics and `status`. Relaxed atomics: read them for trends, not for decisions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::traffic::Traffic;

/// A number that is counted up or set.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `by`.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Takes `by` off.
    pub fn subtract(&self, by: u64) {
        self.0.fetch_sub(by, Ordering::Relaxed);
    }

    /// Sets the number.
    pub fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that the engine counts.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Rows committed.
    pub rows: Counter,
    /// Batches committed.
    pub batches: Counter,
    /// Duplicate batches that a producer sent again.
    pub duplicates: Counter,
    /// Bytes appended to the WAL.
    pub wal_bytes: Counter,
    /// Syncs of the WAL.
    pub wal_syncs: Counter,
    /// Microseconds spent in those syncs.
    pub wal_sync_micros: Counter,
    /// Bytes in memtables now.
    pub memtable_bytes: Counter,
    /// Bytes that are reserved for writes on their way through the log now.
    pub queue_bytes: Arc<Counter>,
    /// Segments that were frozen.
    pub frozen: Counter,
    /// Segments that came back to the local disk.
    pub thawed: Counter,
    /// What the bucket was asked for.
    pub bucket: Arc<Traffic>,
    /// Requests for cells of ice.
    pub ice_requests: Counter,
    /// Bytes that they brought.
    pub ice_bytes: Counter,
    /// Bytes of cells that came from ice and are in memory now.
    pub ice_resident_bytes: Counter,
    /// Flushes done.
    pub flushes: Counter,
    /// Bytes that flushes wrote.
    pub flush_bytes: Counter,
    /// Bytes that the scrub found whole.
    pub scrub_bytes: Counter,
    /// Times that the scrub has read everything.
    pub scrubs: Counter,
    /// Damaged places that the scrub found.
    pub scrub_damages: Counter,
    /// Compactions done.
    pub compactions: Counter,
    /// Bytes that compactions wrote.
    pub compaction_bytes: Counter,
    /// Latest packs built.
    pub packs: Counter,
    /// Bytes of latest packs written.
    pub pack_bytes: Counter,
    /// Times that writes waited for memory.
    pub stalls: Counter,
    /// Microseconds that they waited.
    pub stall_micros: Counter,
    /// Errors of background work.
    pub background_errors: Counter,
    /// Rows of lookups and joins answered.
    pub rows_read: Counter,
    /// Rows of those that a latest pack answered.
    pub rows_from_packs: Counter,
}
