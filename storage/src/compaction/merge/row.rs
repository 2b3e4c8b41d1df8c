//! Where a row comes from that is merged.

/// A row of one of the runs that are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergedRow {
    /// Index into the runs of the merge.
    pub run: u32,
    /// Row of that run.
    pub row: u32,
}
