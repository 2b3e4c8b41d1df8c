//! Rows as files have them, each with its place.

use arrow_array::RecordBatch;

/// Rows as a file has them.
pub(crate) struct Given {
    pub(crate) batch: RecordBatch,
    /// Where each row is: the line of CSV, or the row, both from 1.
    pub(crate) origins: Vec<u64>,
    /// What is no row.
    pub(crate) broken: Vec<Broken>,
}

/// A line of CSV that is no row.
pub(crate) struct Broken {
    pub(crate) origin: u64,
    /// What it has.
    pub(crate) fields: Vec<String>,
    pub(crate) reason: String,
}
