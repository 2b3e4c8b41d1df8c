//! How many objects were deleted, of those that may have held rows or keys.

use std::sync::atomic::{AtomicU64, Ordering};

use super::names;
use crate::objects::ObjectName;

/// How many objects were deleted that may have held rows or keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deleted {
    /// Of the log, and of files that the local disk has or had too.
    pub(crate) bucket: u64,
    /// Files of ice.
    pub(crate) ice: u64,
    /// Checkpoints.
    pub(crate) checkpoints: u64,
}

impl Deleted {
    /// Those since `before` was counted.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            bucket: self.bucket - before.bucket,
            ice: self.ice - before.ice,
            checkpoints: self.checkpoints - before.checkpoints,
        }
    }
}

/// The same as it is counted.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    bucket: AtomicU64,
    ice: AtomicU64,
    checkpoints: AtomicU64,
}

impl Deletions {
    /// Where objects like `name` are counted; nowhere if they hold neither rows nor keys.
    pub(super) fn of(&self, name: &ObjectName) -> Option<&AtomicU64> {
        let (folder, file) = name.as_str().split_once('/')?;
        match folder {
            names::ICE => Some(&self.ice),
            names::CHECKPOINTS => Some(&self.checkpoints),
            names::LOG => Some(&self.bucket),
            names::DATA => names::holds_rows(file).then_some(&self.bucket),
            _ => None,
        }
    }

    /// How many there were so far.
    pub(super) fn so_far(&self) -> Deleted {
        let [bucket, ice, checkpoints] =
            [&self.bucket, &self.ice, &self.checkpoints].map(|count| count.load(Ordering::Relaxed));
        Deleted { bucket, ice, checkpoints }
    }
}
