//! A run: rows of one bucket in storage order together with their cells, in memory or in a segment.
//!
//! Cells live in chunks. A segment is one chunk whose rows are the run's rows; a memtable run points into the chunks
//! in which its batches arrived, so that sorting it moves no cells.

use std::sync::Arc;

use crate::column::Column;
use crate::ice::IceFile;
use crate::rows::Rows;

/// Columns of equally many rows; a feature that has no column has no cell in any row.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    /// The columns, sorted by feature.
    pub columns: Vec<Column>,
}

impl Chunk {
    /// The column of `feature`.
    pub fn column(&self, feature: u32) -> Option<&Column> {
        let found = self.columns.binary_search_by_key(&feature, Column::feature).ok()?;
        Some(&self.columns[found])
    }

    /// Whether the cells are not in the file of the segment.
    pub fn is_away(&self) -> bool {
        self.columns.first().is_some_and(Column::is_away)
    }
}

/// Where the cells of a row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Index into [`Run::chunks`].
    pub chunk: u32,
    /// Row of that chunk.
    pub row: u32,
}

/// Rows of one bucket and their cells.
#[derive(Debug, Clone)]
pub struct Run {
    /// Everything but the cells.
    pub rows: Rows,
    /// Where the cells are.
    pub chunks: Vec<Arc<Chunk>>,
    /// The origin of each row; `None` if there is one chunk whose rows are the run's rows.
    pub origins: Option<Vec<Origin>>,
    /// The number of the segment; `None` in memory.
    pub segment: Option<u64>,
    /// The ice that its cells come from, if they are away.
    pub(crate) ice: Option<Arc<IceFile>>,
}

impl Run {
    /// Bytes of cells that came from ice and are in memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.ice.as_ref().map_or(0, |ice| ice.resident_bytes())
    }

    /// Whether any chunk has a column of `feature`.
    pub fn has_feature(&self, feature: u32) -> bool {
        self.chunks.iter().any(|chunk| chunk.column(feature).is_some())
    }

    /// Where the cells of `row` are.
    pub fn origin(&self, row: u32) -> Origin {
        match &self.origins {
            None => Origin { chunk: 0, row },
            Some(origins) => origins[row as usize],
        }
    }
}
