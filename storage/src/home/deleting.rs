//! Deleting objects that nothing needs, in one place, which counts those that may have held rows or keys.

use std::sync::atomic::Ordering;

use super::Home;
use super::deletions::Deleted;
use crate::objects::ObjectName;

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
        self.deletions.so_far()
    }
}
