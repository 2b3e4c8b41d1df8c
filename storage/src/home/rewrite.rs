//! Writing a checkpoint anew, after an erase removed what it must not hold any more.

use super::checkpoint::Checkpoint;
use super::kept::{Kept, KeptLog, Pinned};
use super::lineage::Epoch;
use super::log_object::Piece;
use super::root::Root;
use super::{Home, names};
use crate::error::Result;
use crate::io::{Access, Files};
use crate::manifest::ManifestState;
use crate::position::random_database;
use crate::time::Sequence;
use crate::wal;

/// A checkpoint as it is to be, in a directory of its own, closed.
#[derive(Debug)]
pub(crate) struct Purged<'a> {
    /// What it was.
    pub(crate) before: Kept,
    pub(crate) state: &'a ManifestState,
    pub(crate) files: &'a dyn Files,
    /// Files from this number on are new.
    pub(crate) first_number: u64,
    /// The last commit that it had before.
    pub(crate) begins_after: Sequence,
    /// The last that it has now.
    pub(crate) sequence: Sequence,
}

impl Home {
    /// Puts `purged` into the bucket as the object `number` of this epoch, for a root to name in the place of `checkpoint`: nothing that was
    /// erased up to the commit `erased` is in it. It is another database, since its last commits are no commits of this one.
    pub(crate) fn rewrite_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        (erased, number): (Sequence, u64),
        purged: Purged<'_>,
    ) -> Result<Pinned> {
        let Purged { before: Kept { root: before, .. }, state, files, first_number, begins_after, sequence } = purged;
        let next = Epoch { epoch: self.epoch(), first_number, begins_after, database: None };
        let lineage = before.lineage.copied(before.database, next);
        let database = random_database();
        let manifest = ManifestState { database, ..state.clone() };
        let root = Root { database, lineage, manifest, ..before };
        let checkpoint = Checkpoint { erased, object: (self.epoch(), number), ..checkpoint.clone() };
        let kept = Kept { root, log: log_of(files, state.wal_first)?, sequence };
        let pinned = Pinned { names: Some(kept.names(&checkpoint)), checkpoint };
        let send = || {
            for file in state.files_in_bucket().into_iter().filter(|file| file.number() >= first_number) {
                let local = file.name();
                let bytes = files.map(&local, files.length(&local)?, Access::Ordered)?;
                self.objects().put(&names::data(&kept.root.lineage, file), bytes)?;
            }
            kept.write(self.objects(), &pinned.checkpoint)
        };
        send().inspect_err(|_| self.abandon([&pinned]))?;
        Ok(pinned)
    }

    /// Lets go with the next root what `pinned` consist of and that root does not name.
    pub(crate) fn abandon<'a>(&self, pinned: impl IntoIterator<Item = &'a Pinned>) {
        self.published.lock().unnamed.extend(Pinned::names_of(pinned));
    }
}

/// The log in `files` from the file `first` on.
fn log_of(files: &dyn Files, first: u64) -> Result<KeptLog> {
    let (mut pieces, mut bytes) = (Vec::new(), Vec::new());
    for file in wal::file_numbers(files)?.into_iter().filter(|file| *file >= first) {
        let content = files.read(&wal::file_name(file))?;
        pieces.push(Piece { file, offset: 0, length: content.len() as u64 });
        bytes.extend_from_slice(&content);
    }
    Ok(KeptLog::new(pieces, bytes.into()))
}
