//! Files that are no part of the database any more, or never became one: removed here, and nowhere else.
//!
//! A file that a durable manifest has ceased to name is removed at once; readers that hold it keep it. One that cannot
//! be removed now is tried again with the next, and counted meanwhile. One that a manifest names whose own write failed
//! stays until a later manifest is durable: the failed one may be on the disk all the same, and be what the next
//! opening finds. The log's files are the log's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Error, Kind, Result};
use crate::io::{Files, TEMPORARY, directory_of};
use crate::manifest::NamedFile;

/// The files that are still there although nothing needs them.
#[derive(Debug)]
pub struct Retired {
    files: Arc<dyn Files>,
    left: Mutex<Left>,
}

#[derive(Debug, Default)]
struct Left {
    /// Names of those that could not be removed, and how many bytes each has.
    stuck: BTreeMap<String, u64>,
    /// A manifest that failed may name them.
    unsure: BTreeMap<NamedFile, u64>,
}

impl Retired {
    /// None yet of `files`.
    pub fn new(files: Arc<dyn Files>) -> Self {
        Self { files, left: Mutex::default() }
    }

    /// Removes `retired`, which no manifest names, and what could not be removed before.
    pub fn remove(&self, retired: impl IntoIterator<Item = NamedFile>) {
        self.remove_names(retired.into_iter().map(NamedFile::name));
    }

    /// Removes what was written for an edit that was not tried: files that may be there, whole or begun.
    pub fn discard(&self, written: &[NamedFile]) {
        self.remove_names(written.iter().flat_map(|file| [file.name(), format!("{}{TEMPORARY}", file.name())]));
    }

    /// Keeps `written`, which a manifest that failed may name, until [`Retired::take_unsure`].
    pub fn keep_until_durable(&self, written: &[NamedFile]) {
        let mut left = self.left.lock();
        left.unsure.extend(written.iter().map(|file| (*file, self.files.length(&file.name()).unwrap_or(0))));
    }

    /// Those that only earlier manifests can name, for one that is durable now.
    pub fn take_unsure(&self) -> Vec<NamedFile> {
        std::mem::take(&mut self.left.lock().unsure).into_keys().collect()
    }

    /// Makes sure that none is left, also after a power loss.
    pub fn confirm(&self) -> Result<()> {
        self.remove([]);
        let left = self.left.lock();
        if let Some(name) = left.stuck.keys().cloned().chain(left.unsure.keys().map(|file| file.name())).next() {
            return Err(Error::new(Kind::Io, format!("{name} is no longer used and could not be removed; try again")));
        }
        NamedFile::FOLDERS.iter().try_for_each(|(folder, _)| self.files.sync_directory(folder))
    }

    /// How many bytes they have together.
    pub fn bytes(&self) -> u64 {
        let left = self.left.lock();
        left.stuck.values().chain(left.unsure.values()).sum()
    }

    fn remove_names(&self, names: impl IntoIterator<Item = String>) {
        let mut left = self.left.lock();
        left.stuck.extend(names.into_iter().map(|name| (name, 0)));
        left.stuck.retain(|name, bytes| match self.remains(name) {
            None => false,
            Some(still) => {
                *bytes = still;
                true
            }
        });
    }

    /// Removes `name`; its bytes if it is still there.
    fn remains(&self, name: &str) -> Option<u64> {
        let error = self.files.remove(name).err()?;
        let directory = directory_of(name);
        let file = name.rsplit('/').next().unwrap_or(name);
        if self.files.list(directory).is_ok_and(|there| !there.iter().any(|there| there == file)) {
            return None;
        }
        tracing::warn!(%error, "a file that is no longer used could not be removed and will be tried again");
        Some(self.files.length(name).unwrap_or(0))
    }
}
