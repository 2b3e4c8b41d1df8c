//! Ice in the bucket: files of cells, which are objects of their own. A root names them as it names files; what no root names
//! any more is condemned with the rest.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{Home, names};
use crate::error::Result;
use crate::manifest::IceEntry;
use crate::objects::ObjectName;

/// The object that holds the ice of a segment of `table`.
pub(crate) fn ice_name(table: u32, ice: &IceEntry) -> ObjectName {
    names::in_ice(table, &ice.file_name())
}

impl Home {
    /// Puts the file `ice` of `table`, of which no root knows yet.
    pub(crate) fn put_ice(&self, name: &ObjectName, bytes: Bytes) -> Result<()> {
        self.put_once(name, bytes)
    }

    /// Deletes the file of ice `name`, which nothing names; if that cannot be now, with the next root.
    pub(crate) fn discard(&self, name: &ObjectName) {
        self.litter.lock().push(name.clone());
        self.clear_litter();
    }

    /// Deletes what was put and is named by nothing; how much of it is still there.
    pub(super) fn clear_litter(&self) -> usize {
        let mut litter = self.litter.lock();
        litter.retain(|name| !self.delete(name));
        litter.len()
    }

    /// Takes note that `objects` are not needed any more: ice that the manifest has ceased to name, and what Delta logs no longer
    /// need. The next root that does not name them condemns them, though perhaps no root ever named them.
    pub(crate) fn let_go(&self, objects: impl IntoIterator<Item = ObjectName>) {
        self.let_go.lock().extend(objects);
    }

    /// What was let go since this was asked last.
    pub(super) fn take_let_go(&self) -> Vec<ObjectName> {
        std::mem::take(&mut self.let_go.lock())
    }

    /// The number of the newest root of this epoch.
    pub(crate) fn root(&self) -> u64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// Whether the newest root names `name`: only then may the local disk let go what it holds.
    pub(crate) fn has_published(&self, name: &ObjectName) -> bool {
        self.named.load().contains(name)
    }
}
