//! Thawing: a segment of which reads brought most cells back comes back to the local disk whole, so that they need not come again.
//!
//! It is written by the code of merges, from the rows part and the cells of its ice: the same rows in the same order, in a file of a
//! new number. What is thawed has a bound of its own, beside that of what never left, and the first to come is the first to go.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::tier::{self, Resident};
use crate::column::Column;
use crate::compaction::merge::{KeepAll, Merge};
use crate::edit::Outputs;
use crate::engine::Engine;
use crate::error::Result;
use crate::ice::Fetch;
use crate::manifest::NamedFile;
use crate::run::Run;
use crate::segment::{self, SegmentMeta, away};

/// A column of a segment, at most: it had room in one before.
const COLUMN_BYTES_MAX: u64 = i32::MAX as u64;

/// Thaws the segment of which most cells are in memory, if there is too much of them and it is worth it; whether it did.
pub(super) fn thaw_once(engine: &Arc<Engine>, fetch: &Arc<Fetch>) -> Result<bool> {
    let policy = fetch.policy();
    // Who follows has no say in what the bucket keeps, so what came back could not leave the disk again.
    if engine.home.is_none() || fetch.resident_bytes() <= policy.cache_bytes_max {
        return Ok(false);
    }
    let Some(fullest) = tier::fullest(engine) else { return Ok(false) };
    let length = fullest.entry.meta.length;
    let columns = fullest.run.chunks.iter().flat_map(|chunk| &chunk.columns);
    let cells: usize = columns.map(|column| column.bytes()).sum();
    if fullest.bytes < cells as u64 / 2 || length > policy.thawed_bytes_max {
        return Ok(false);
    }
    let _memory = engine.resources.budget.take(length, length);
    if let Err(error) = bring(&fullest.run) {
        tracing::warn!(%error, "a segment that is often read could not be thawed");
        return Ok(false);
    }
    put(engine, &fullest)
}

/// Brings all cells of `run` that are away, at once.
pub(super) fn bring(run: &Run) -> Result<()> {
    let columns = run.chunks.iter().flat_map(|chunk| &chunk.columns);
    let lacks = columns.map(Column::lack_all).collect::<Result<Vec<_>>>()?;
    away::bring(lacks.into_iter().flatten().collect())
}

/// Writes the segment of `resident` and shows it; whether that was still there.
fn put(engine: &Arc<Engine>, resident: &Resident) -> Result<bool> {
    let Resident { table, entry, run, .. } = resident;
    let _guard = engine.compacting.lock();
    if !tier::is_shown(table, entry.bucket, run) {
        return Ok(false);
    }
    let outputs = engine.outputs();
    let Some(meta) = write(engine, &outputs, run)? else { return Ok(false) };
    let before = &entry.meta;
    let alike = |meta: &SegmentMeta| (meta.rows, meta.tombstones, meta.entities, meta.sequence_min, meta.sequence_max);
    assert_eq!(alike(&meta), alike(before), "a segment thaws as it was");
    let thawed = segment::open(&engine.files, &meta)?;
    engine.edit_manifest(outputs, |state| {
        let listed = state.tables.get_mut(&table.id).map(|table| &mut table.segments);
        let mut listed = listed.into_iter().flatten().filter(|listed| listed.meta.number == before.number);
        if let Some(listed) = listed.next() {
            listed.meta = meta;
            listed.ice.iter_mut().for_each(|ice| (ice.hot, ice.thawed) = (true, true));
        }
    })?;
    tier::show(engine, table, entry.bucket, before.number, Arc::new(thawed));
    engine.statistics.thawed.add(1);
    Ok(true)
}

/// The segment of all rows of `run`; none if they do not fit one.
fn write(engine: &Engine, outputs: &Outputs<'_>, run: &Arc<Run>) -> Result<Option<SegmentMeta>> {
    let columns = run.chunks.iter().flat_map(|chunk| &chunk.columns);
    let types: Vec<_> = columns.map(|column| (column.feature(), column.data_type().clone())).collect();
    let merge = Merge {
        files: &engine.files,
        runs: std::slice::from_ref(run),
        // What was erased meanwhile leaves it as it leaves every segment.
        erased: &RoaringBitmap::new(),
        filter: &KeepAll,
        types: &types,
        segment_rows_max: u32::MAX,
        segment_bytes_max: COLUMN_BYTES_MAX,
        next_number: &|| outputs.number(NamedFile::Segment),
        throttle: &|_| std::thread::yield_now(),
        cancelled: &|| engine.is_closing(),
    };
    let metas = merge.run()?;
    match <[SegmentMeta; 1]>::try_from(metas) {
        Ok([meta]) => Ok(Some(meta)),
        Err(_) => Ok(None),
    }
}
