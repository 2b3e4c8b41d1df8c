//! Ice in the bucket: files of cells, which are objects of their own. A root names them as it names files; what no root names
//! any more is condemned with the rest.

use bytes::Bytes;

use super::{Home, names};
use crate::error::Result;
use crate::manifest::IceEntry;
use crate::objects::ObjectName;

/// The object that holds the ice of a segment of `table`.
pub(crate) fn ice_name(table: u32, ice: &IceEntry) -> ObjectName {
    names::ice(table, ice.epoch, ice.number)
}

impl Home {
    /// Puts the file `ice` of `table`, of which no root knows yet.
    pub(crate) fn put_ice(&self, name: &ObjectName, bytes: Bytes) -> Result<()> {
        self.put_once(name, bytes)
    }

    /// Whether the newest root names `name`: only then may the local disk let go what it holds.
    pub(crate) fn has_published(&self, name: &ObjectName) -> bool {
        self.published.lock().named.contains(name)
    }
}
