//! Merging runs of a bucket as the engine does it: under its settings, into the files of an edit, and opened.

use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::compaction::merge::{Merge, RowFilter};
use crate::edit::Outputs;
use crate::engine::Engine;
use crate::error::Result;
use crate::horizon::Before;
use crate::manifest::{NamedFile, SegmentEntry};
use crate::run::Run;
use crate::segment::{self, SegmentMeta};
use crate::view::TableState;

/// Segments that one merge wrote: open, and on their way into the manifest.
#[derive(Debug)]
pub(crate) struct Merged {
    metas: Vec<SegmentMeta>,
    /// The same, as runs.
    pub(crate) runs: Vec<Arc<Run>>,
}

impl Merged {
    /// Bytes of the files.
    pub(crate) fn bytes(&self) -> u64 {
        self.metas.iter().map(|meta| meta.length).sum()
    }

    /// As the manifest lists them for `bucket`. They are one group, for they do not overlap.
    pub(crate) fn entries(&self, bucket: u32) -> impl Iterator<Item = SegmentEntry> {
        let group = self.metas.first().map_or(0, |meta| meta.number);
        let entry = move |meta: &SegmentMeta| SegmentEntry {
            bucket,
            group,
            stayed: Before::default(),
            meta: meta.clone(),
            ice: None,
        };
        self.metas.iter().map(entry)
    }
}

/// What of the runs of a bucket goes into segments, and how fast.
pub(crate) struct Merging<'a> {
    /// The runs.
    pub(crate) runs: &'a [Arc<Run>],
    /// Entities of which nothing stays.
    pub(crate) erased: &'a RoaringBitmap,
    /// Which rows stay.
    pub(crate) filter: &'a dyn RowFilter,
    /// Told how many bytes are written; may sleep.
    pub(crate) throttle: &'a dyn Fn(u64),
}

/// Merges runs of one bucket into segments, as the table is declared now. Gives way to whatever else waits for the core,
/// unless writes may soon have to wait for this.
pub(crate) fn merge_runs(
    engine: &Engine,
    table: &TableState,
    outputs: &Outputs<'_>,
    merging: &Merging<'_>,
) -> Result<Merged> {
    let declared = engine.declaration(table.id);
    let features = declared.iter().flat_map(|table| table.features.iter().chain(&table.retired));
    let mut types: Vec<_> = features.map(|feature| (feature.id, feature.stored_type())).collect();
    types.sort_unstable_by_key(|(feature, _)| *feature);
    let gives_way = !engine.is_pressed();
    let merge = Merge {
        files: &engine.files,
        runs: merging.runs,
        erased: merging.erased,
        filter: merging.filter,
        types: &types,
        segment_rows_max: engine.options.segment_rows_max,
        segment_bytes_max: engine.options.segment_bytes_max,
        next_number: &|| outputs.number(NamedFile::Segment),
        throttle: &|bytes| {
            (merging.throttle)(bytes);
            if gives_way {
                std::thread::yield_now();
            }
        },
        cancelled: &|| engine.is_closing(),
    };
    let bytes = merge.memory_bytes();
    let _memory = engine.resources.budget.take(bytes, bytes);
    let metas = merge.run()?;
    let opened = metas.iter().map(|meta| segment::open(&engine.files, meta).map(Arc::new));
    let runs = opened.collect::<Result<Vec<_>>>()?;
    Ok(Merged { metas, runs })
}
