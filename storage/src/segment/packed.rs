//! Which rows have a cell in a column of a segment: a bit for each, and counts by which a row finds its value.

use crate::segment::checks::{Checks, Elements};

/// The rows that have a cell in a column of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    /// A bit per row.
    pub(crate) words: Elements<u64>,
    /// The ones before each 512 rows.
    pub(crate) ranks: Elements<u32>,
    /// First-touch checks of the file.
    pub(crate) checks: Checks,
}
