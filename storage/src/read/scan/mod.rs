//! Scans: every entity of a table at some bounds, or every row of its history.
//!
//! A scan is cut into parts, some buckets each, that share one snapshot and may be read at the same time. The order of
//! rows is unspecified. Nothing is read before it is asked for: whoever drops the batches ends the reading.

mod columns;
mod history;
mod known;
mod latest;
mod pinned;
mod request;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};

pub use known::Exactly;
pub use pinned::{Batches, Scan};
pub(crate) use pinned::{ScanInputs, plan};
pub use request::ScanRequest;

use crate::budget::Share;
use crate::error::{Error, Result};
use crate::read::window::BLOCK_BYTES;
use crate::run::Run;

impl Scan {
    /// Reads a part: at least one, possibly empty, batch. A reader that takes its time gets an error once the snapshot
    /// is older than it may be. Memory for a batch is waited for here, and held until the batches are dropped.
    pub fn open(self: &Arc<Self>, part: usize) -> Result<Batches> {
        let memory = self.snapshot.resources.budget.reserve(self.batch_bytes())?;
        self.open_within(part, memory)
    }

    /// About how many bytes a batch takes at most.
    pub fn batch_bytes(&self) -> u64 {
        let beside = if self.asked.outputs.is_empty() { 0 } else { BLOCK_BYTES };
        u64::from(self.batch_rows).min(self.rows_at_most().max(1)) * self.row_bytes + beside
    }

    /// [`Scan::open`] in memory that was reserved before, [`Scan::batch_bytes`] of it.
    pub fn open_within(self: &Arc<Self>, part: usize, memory: Share) -> Result<Batches> {
        let buckets = self
            .parts
            .get(part)
            .ok_or_else(|| Error::invalid(format!("the scan has no part {part}; it has {}", self.parts.len())))?;
        let scan = Arc::clone(self);
        let buckets = buckets.clone();
        let pinned = Arc::clone(self);
        let read = buckets.into_iter().flat_map(move |bucket| scan.read_bucket(bucket));
        let read = read.map(move |batch| {
            let _held = &memory;
            pinned.snapshot.check_age().and(batch)
        });
        let first = RecordBatch::new_empty(Arc::clone(self.schema()));
        Ok(Box::new(std::iter::once(Ok(first)).chain(read)))
    }

    /// Gives `each` the columns of all rows of `run`, one of `bucket`, as they are frozen; see `history::freeze`.
    pub(crate) fn freeze(
        self: &Arc<Self>,
        bucket: u32,
        run: &Arc<Run>,
        rows_max: usize,
        each: impl FnMut(Vec<ArrayRef>) -> Result<()>,
    ) -> Result<bool> {
        history::freeze(self, bucket, run, rows_max, each)
    }

    fn read_bucket(self: &Arc<Self>, bucket: u32) -> Batches {
        match self.history {
            true => history::read(Arc::clone(self), bucket, self.batch_rows as usize),
            false => latest::read(Arc::clone(self), bucket, self.batch_rows),
        }
    }
}
