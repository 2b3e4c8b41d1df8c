//! Jobs that have their place in the log, on their way to being applied.

use std::iter::Peekable;
use std::sync::Arc;

use super::answer::{Committed, Done};
use super::ledger::Deal;
use super::prepared::{Prepared, SMALL_ROWS_MAX, TOGETHER_ROWS_MAX};
use crate::config::Level;
use crate::erase::Erase;
use crate::model::catalog::Catalog;
use crate::time::{Micros, Sequence};
use crate::versions::VersionEntry;

/// A batch that has its place in the log.
pub(super) struct StagedWrite {
    pub(super) prepared: Box<Prepared>,
    pub(super) deal: Deal,
    pub(super) done: Done<Committed>,
}

/// A job that has its place in the log.
pub(super) enum Staged {
    /// Writes of one table that follow one another may be applied together.
    Write(StagedWrite),
    Alone(StagedAlone),
}

/// A staged job that is applied by itself.
pub(super) enum StagedAlone {
    /// An answer that waits for the group: a duplicate is acknowledged once its original is durable.
    Duplicate { level: Level, ingest_time: Micros, done: Done<Committed> },
    /// Without an entry nothing changes, but the answer waits for the versions that it builds on.
    Change { entry: Option<Arc<VersionEntry>>, done: Option<Done<Arc<Catalog>>> },
    /// An erase.
    Erase { erase: Box<Erase>, sequence: Sequence, ingest_time: Micros, done: Done<Sequence> },
}

/// `first` and the small writes of its table that follow it in `staged`, if it is small too: together they cost one run
/// and one view.
pub(super) fn together(first: StagedWrite, staged: &mut Peekable<impl Iterator<Item = Staged>>) -> Vec<StagedWrite> {
    let table = Arc::clone(&first.prepared.table);
    let mut rows = first.prepared.batch.keys.len();
    let small_first = rows <= SMALL_ROWS_MAX;
    let mut writes = vec![first];
    let joins = |next: &Staged, rows: usize| match next {
        Staged::Write(next) => {
            small_first
                && rows < TOGETHER_ROWS_MAX
                && next.prepared.batch.keys.len() <= SMALL_ROWS_MAX
                && Arc::ptr_eq(&next.prepared.table, &table)
        }
        Staged::Alone(_) => false,
    };
    while let Some(Staged::Write(next)) = staged.next_if(|next| joins(next, rows)) {
        rows += next.prepared.batch.keys.len();
        writes.push(next);
    }
    writes
}
