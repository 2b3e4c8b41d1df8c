//! A file of the real directory whose bytes come in any order, and its view.
//!
//! The view is a map of the file, or memory where files are not mapped. Either is read only where something has come, which is
//! for [`coming`](super::coming) to know.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::Sparse;
use super::failure::{failed, poisoned};
use super::region::Region;
use crate::error::Result;

/// A file that was created with its whole length, and holds nothing yet.
pub(super) struct SparseFile {
    pub(super) file: File,
    pub(super) name: String,
    pub(super) view: View,
    /// Whether a sync failed.
    pub(super) poisoned: AtomicBool,
}

/// What reads of it see.
pub(super) enum View {
    /// Its map.
    Mapped(Bytes),
    /// A copy.
    Copied(Region),
}

impl fmt::Debug for SparseFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SparseFile").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Sparse for SparseFile {
    fn view(&self) -> Bytes {
        match &self.view {
            View::Mapped(bytes) => bytes.clone(),
            View::Copied(region) => region.bytes(),
        }
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(|error| failed(&self.name, "write", &error))?;
        if let View::Copied(region) = &self.view {
            region.put_piece(offset as usize, bytes);
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        // A second try that succeeds proves nothing.
        if self.poisoned.load(Ordering::Relaxed) {
            return Err(poisoned(&self.name, "an earlier fsync failed"));
        }
        self.file.sync_all().map_err(|error| {
            self.poisoned.store(true, Ordering::Relaxed);
            poisoned(&self.name, &error.to_string())
        })
    }
}
