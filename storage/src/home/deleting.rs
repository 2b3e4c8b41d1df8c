//! Deleting objects that nothing needs, in one place, which counts those that may have held rows or keys.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Home, names};
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
    fn of(&self, name: &ObjectName) -> Option<&AtomicU64> {
        let (folder, file) = name.as_str().split_once('/')?;
        match folder {
            names::ICE => Some(&self.ice),
            names::CHECKPOINTS => Some(&self.checkpoints),
            names::LOG => Some(&self.bucket),
            names::DATA => names::holds_rows(file).then_some(&self.bucket),
            _ => None,
        }
    }
}

impl Home {
    /// Deletes `name`, which no root names; whether it is gone. If not, somebody has to try again.
    pub(super) fn delete(&self, name: &ObjectName) -> bool {
        match self.objects().delete(name) {
            Ok(()) => {
                if let Some(count) = self.deletions.of(name) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                true
            }
            Err(error) => {
                tracing::warn!(%error, "an object that nothing needs could not be deleted and will be tried again");
                false
            }
        }
    }

    /// What this process deleted.
    pub(crate) fn deleted(&self) -> Deleted {
        let Deletions { bucket, ice, checkpoints } = &self.deletions;
        let [bucket, ice, checkpoints] = [bucket, ice, checkpoints].map(|count| count.load(Ordering::Relaxed));
        Deleted { bucket, ice, checkpoints }
    }
}
