//! What is remembered of a pack outside of its file.

use serde::{Deserialize, Serialize};

use crate::time::Sequence;

/// What the manifest remembers of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackMeta {
    /// The number in the file's name.
    pub number: u64,
    /// The length of the file in bytes.
    pub length: u64,
    /// The commit up to which the winners count everything.
    pub position: Sequence,
    /// How many ordinals it covers; greater ones had no row at `position`.
    pub ordinals: u32,
    /// How many of them have a row.
    pub rows: u32,
    /// The CRC-64 of the file's checksums and foot.
    pub crc: u64,
}

impl PackMeta {
    /// The name of the file.
    pub fn name(&self) -> String {
        file_name(self.number)
    }
}

/// The name of pack file `number`.
pub fn file_name(number: u64) -> String {
    format!("packs/{number:020}.pack")
}
