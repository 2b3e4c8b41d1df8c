//! Copying the cells of many tiny chunks into one.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, new_null_array};
use arrow_buffer::BooleanBufferBuilder;
use arrow_select::interleave::interleave;

use crate::column::Column;
use crate::error::Result;
use crate::rows::RowKind;
use crate::run::{Chunk, Run};

/// Chunks below which a run is left as it is.
const CHUNKS_MIN: usize = 16;
/// Rows per chunk above which copying would cost more than it saves.
const ROWS_PER_CHUNK_MAX: usize = 128;

/// The same run with its cells in one chunk, if it has many tiny ones.
pub(super) fn coalesce(run: Run) -> Result<Run> {
    let rows = run.rows.len() as usize;
    if run.chunks.len() < CHUNKS_MIN || rows / run.chunks.len() > ROWS_PER_CHUNK_MAX {
        return Ok(run);
    }
    let features: BTreeSet<u32> =
        run.chunks.iter().flat_map(|chunk| chunk.columns.iter().map(Column::feature)).collect();
    let whole =
        |chunk: &Arc<Chunk>| chunk.columns.len() == features.len() && chunk.columns.iter().all(Column::is_dense);
    let picks = (run.rows.kinds.is_none() && run.chunks.iter().all(whole)).then(|| picks_of(&run));
    let mut columns = Vec::with_capacity(features.len());
    for feature in features {
        let copied = match &picks {
            Some(picks) => copy_dense(&run, feature, picks)?,
            None => copy_column(&run, feature)?,
        };
        match copied {
            Some(column) => columns.push(column),
            // A feature was widened between two of the batches: their chunks stay apart.
            None => return Ok(run),
        }
    }
    Ok(Run { rows: run.rows, chunks: vec![Arc::new(Chunk { columns })], origins: None, segment: None, ice: None })
}

/// Chunk and row of every row.
fn picks_of(run: &Run) -> Vec<(usize, usize)> {
    let origins = (0..run.rows.len()).map(|row| run.origin(row));
    origins.map(|origin| (origin.chunk as usize, origin.row as usize)).collect()
}

/// The cells of `feature`, which every chunk has for each of its rows, in run order; `None` if they are of two types.
fn copy_dense(run: &Run, feature: u32, picks: &[(usize, usize)]) -> Result<Option<Column>> {
    let columns = run.chunks.iter().filter_map(|chunk| chunk.column(feature));
    let arrays = columns.map(|column| Ok(column.values()?.as_ref())).collect::<Result<Vec<&dyn Array>>>()?;
    if arrays.iter().any(|array| array.data_type() != arrays[0].data_type()) {
        return Ok(None);
    }
    Ok(Some(Column::in_memory(feature, interleave(&arrays, picks)?, None)))
}

/// The cells of `feature` in run order, or `None` if they are of two types.
fn copy_column(run: &Run, feature: u32) -> Result<Option<Column>> {
    let columns: Vec<Option<&Column>> = run.chunks.iter().map(|chunk| chunk.column(feature)).collect();
    let Some(data_type) = columns.iter().flatten().map(|column| column.data_type().clone()).next() else {
        return Ok(None);
    };
    // Source 0 stands for no cell.
    let mut sources: Vec<ArrayRef> = vec![new_null_array(&data_type, 1)];
    let mut source_of_chunk = vec![0; columns.len()];
    for (chunk, column) in columns.iter().enumerate() {
        let Some(column) = column else { continue };
        if *column.data_type() != data_type {
            return Ok(None);
        }
        source_of_chunk[chunk] = sources.len();
        sources.push(Arc::clone(column.values()?));
    }
    let mut picks = Vec::with_capacity(run.rows.len() as usize);
    let mut present = BooleanBufferBuilder::new(run.rows.len() as usize);
    let mut dense = true;
    for row in 0..run.rows.len() {
        let origin = run.origin(row);
        let position = match columns[origin.chunk as usize] {
            Some(column) if run.rows.kind(row) == RowKind::Write => column.position(origin.row)?,
            _ => None,
        };
        picks.push(position.map_or((0, 0), |at| (source_of_chunk[origin.chunk as usize], at as usize)));
        present.append(position.is_some());
        dense &= position.is_some() || run.rows.kind(row) != RowKind::Write;
    }
    let arrays: Vec<&dyn Array> = sources.iter().map(AsRef::as_ref).collect();
    let values = interleave(&arrays, &picks)?;
    let present = present.finish();
    Ok(Some(Column::in_memory(feature, values, (!dense).then_some(present))))
}
