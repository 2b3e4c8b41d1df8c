//! Segments: immutable files of rows in storage order, with their cells by column.
//!
//! `format.rs` alone knows where things are in the file; `writer.rs` streams one out, `reader.rs` opens one as a
//! [`Run`](crate::run::Run) without touching its columns; `checks.rs` checks what is touched, `verify.rs` everything. The cells of a segment
//! may be away: `rows_part.rs` writes what stays, `away.rs` brings what is asked for.

use serde::{Deserialize, Serialize};

use crate::time::{Micros, Sequence};

pub(crate) mod away;
pub mod checks;
pub mod directory;
pub(crate) mod format;
pub(crate) mod mapped;
pub(crate) mod packed;
mod reader;
mod rows_part;
pub(crate) mod stretch;
mod verify;
pub(crate) mod writer;

#[cfg(test)]
mod golden;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use reader::{block_list, open_away, open_rows};
pub use reader::{describe, open};
pub(crate) use rows_part::write_rows_part;
pub(crate) use verify::verify;

/// The folder of segments.
pub const DIRECTORY: &str = "segments";

/// The name of the file of segment `number`.
pub fn file_name(number: u64) -> String {
    format!("{DIRECTORY}/{number:020}.segment")
}

/// What the manifest knows of a segment: enough to tell whether a read needs it, and whether the file is the one meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentMeta {
    /// The number that names the file.
    pub number: u64,
    /// The length of the file in bytes.
    pub length: u64,
    /// The CRC-64 of the footer, and by it of everything.
    pub footer_crc: u64,
    /// How many rows there are.
    pub rows: u32,
    /// How many of them are tombstones.
    pub tombstones: u32,
    /// How many entities have rows.
    pub entities: u32,
    /// The least ordinal.
    pub ordinal_min: u32,
    /// The greatest ordinal.
    pub ordinal_max: u32,
    /// The least event time.
    pub event_time_min: Micros,
    /// The greatest event time.
    pub event_time_max: Micros,
    /// The least ingest time.
    pub ingest_time_min: Micros,
    /// The greatest ingest time.
    pub ingest_time_max: Micros,
    /// The least sequence.
    pub sequence_min: Sequence,
    /// The greatest sequence.
    pub sequence_max: Sequence,
    /// The greatest `event time − ingest time` of a row.
    pub lead_max: i64,
}
