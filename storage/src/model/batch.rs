//! A proven batch: what the WAL logs, the memtable takes and replay finds again.
//!
//! A `WriteBatch` holds only rows that may be stored, of one kind, in the order in which they were sent, with their
//! keys and row ids encoded and every cell in its stored type. [`prove`](super::prove::prove) is the only way to make
//! one from a client's batch and [`WriteBatch::decode`] the only way to make one from bytes.

use arrow_array::BinaryArray;
use arrow_buffer::ScalarBuffer;

use super::key::Keys;
use crate::column::Column;
use crate::rows::RowKind;

pub use super::prove::{BadRow, Proven, Verb, WriteRequest, prove};

/// Rows of one table that may be stored as they are.
#[derive(Debug, Clone)]
pub struct WriteBatch {
    /// The table's id.
    pub table: u32,
    /// The table's shape against which the batch was proven.
    pub shape: u64,
    /// What every row does.
    pub kind: RowKind,
    /// The encoded key of each row.
    pub keys: Keys,
    /// The encoded row id of each row, empty for a null one; `None` if the table has none or the rows are deletes.
    pub row_ids: Option<BinaryArray>,
    /// The event time of each row, in microseconds.
    pub event_times: ScalarBuffer<i64>,
    /// The ingest time that each row brings; `None` if the server gives it.
    pub ingest_times: Option<ScalarBuffer<i64>>,
    /// The place of each row in the batch as it was sent.
    pub places: ScalarBuffer<u32>,
    /// The cells, one column per feature that any row has, sorted by feature.
    pub columns: Vec<Column>,
    /// The features whose cells a retraction names, sorted.
    pub retracted: Vec<u32>,
    /// Who sent the batch, for applying it once.
    pub producer: Option<Producer>,
}

impl WriteBatch {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.event_times.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.event_times.is_empty()
    }
}

/// The place of a batch among those of its producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// Who sends.
    pub name: String,
    /// The number of this batch.
    pub seq: u64,
    /// The number of the batch before it; `None` for the first.
    pub previous: Option<u64>,
}
