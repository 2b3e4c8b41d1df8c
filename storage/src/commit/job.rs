//! What the log's writer is asked to do.

use std::sync::Arc;

use super::answer::{Committed, Done};
use super::frozen::Frozen;
use super::prepared::Prepared;
use crate::erase::Erase;
use crate::error::Error;
use crate::model::catalog::Catalog;
use crate::model::declare::Change;
use crate::time::Sequence;
use crate::wal::OwnedRecord;

/// What the log's writer is asked to do.
pub enum Job {
    /// Commit a batch.
    Write(Box<Prepared>, Done<Committed>),
    /// Change the schema.
    Change(Change, Done<Arc<Catalog>>),
    /// Erase entities.
    Erase(Box<Erase>, Done<Sequence>),
    /// Take records of the writer that this database follows; those that it has already are passed over.
    Follow(Arc<Vec<OwnedRecord>>, Done<()>),
    /// Turn the memtables of tables over for flushing.
    Freeze(Vec<u32>, Done<Frozen>),
    /// Stop after everything before it.
    Stop,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Write(..) => "Write",
            Self::Change(..) => "Change",
            Self::Erase(..) => "Erase",
            Self::Follow(..) => "Follow",
            Self::Freeze(..) => "Freeze",
            Self::Stop => "Stop",
        })
    }
}

impl Job {
    /// Bytes that the job holds while it waits.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Write(prepared, _) => prepared.bytes(),
            _ => 0,
        }
    }

    /// Answers the job with an error.
    pub(super) fn refuse(self, error: Error) {
        match self {
            Self::Write(_, done) => done.answer(Err(error)),
            Self::Change(_, done) => done.answer(Err(error)),
            Self::Erase(_, done) => done.answer(Err(error)),
            Self::Follow(_, done) => done.answer(Err(error)),
            Self::Freeze(_, done) => done.answer(Err(error)),
            Self::Stop => {}
        }
    }
}
