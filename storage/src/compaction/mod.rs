//! Compaction: fewer, larger segments with the same answers, latest packs, and forgetting what retention allows.
//!
//! Which segments to merge is a pure decision ([`plan`]); merging is the code path of flush ([`merge`]). Compaction
//! runs on its own thread: a flush never waits for it, a read never notices it.

pub mod merge;
pub mod pack;
pub mod plan;
pub mod retention;
pub mod throttle;

use std::sync::Arc;

use crate::engine::Engine;
use crate::error::Result;
use crate::manifest::SegmentEntry;
use crate::merging::{Merging, merge_runs};
use crate::run::Run;
use crate::view::{Horizon, TableState};
use merge::{KeepAll, RowFilter};
use retention::Forgetting;
use throttle::Throttle;

/// Does the most urgent piece of compaction of any table; whether there was one.
pub(crate) fn compact_once(engine: &Arc<Engine>) -> Result<bool> {
    let _guard = engine.compacting.lock();
    let tables = engine.tables();
    let buckets = || {
        tables.iter().flat_map(|table| (0..table.entity.dictionaries.len() as u32).map(move |bucket| (table, bucket)))
    };
    let behind = buckets().filter_map(|(table, bucket)| Some((pack::urgency(table, bucket, engine)?, table, bucket)));
    if let Some((_, table, bucket)) = behind.max_by_key(|(urgency, ..)| *urgency) {
        pack::build(engine, table, bucket)?;
        return Ok(true);
    }
    let now = engine.clock.monotonic();
    for (table, bucket) in buckets() {
        let entries = entries_of(engine, table, bucket);
        let at_rest = || plan::choose_at_rest(&entries).filter(|_| table.is_quiet(now));
        if let Some(numbers) = plan::choose(&entries).or_else(at_rest) {
            retention::raise_horizon(engine, table)?;
            merge_segments(engine, table, bucket, &numbers)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Merges all segments of every bucket of `tables` into as few as possible and builds fresh packs.
pub(crate) fn compact_all(engine: &Arc<Engine>, tables: &[u32]) -> Result<()> {
    let _guard = engine.compacting.lock();
    for table in tables.iter().filter_map(|&id| engine.table(id)) {
        retention::raise_horizon(engine, &table)?;
        for bucket in 0..table.entity.dictionaries.len() as u32 {
            let entries = entries_of(engine, &table, bucket);
            let groups: std::collections::BTreeSet<u64> = entries.iter().map(|entry| entry.group).collect();
            if groups.len() > 1 || purge_is_due(engine, &table, bucket) {
                let numbers: Vec<u64> = entries.iter().map(|entry| entry.meta.number).collect();
                merge_segments(engine, &table, bucket, &numbers)?;
            }
            if pack::is_stale(&table, bucket, engine) {
                pack::build(engine, &table, bucket)?;
            }
        }
    }
    Ok(())
}

/// Whether segments of the bucket may hold what was erased, purged or forgotten.
fn purge_is_due(engine: &Engine, table: &TableState, bucket: u32) -> bool {
    let declared = engine.declaration(table.id);
    let forgets = declared
        .is_some_and(|table| table.keep_events.is_some() || table.keep_knowledge.is_some() || !table.purged.is_empty());
    forgets || !table.entity.erased(bucket).is_empty()
}

/// The segments of one bucket as the manifest lists them.
pub(crate) fn entries_of(engine: &Engine, table: &TableState, bucket: u32) -> Vec<SegmentEntry> {
    let manifest = engine.manifest.lock();
    let listed = manifest.state.tables.get(&table.id).map(|table| table.segments.as_slice()).unwrap_or_default();
    listed.iter().filter(|entry| entry.bucket == bucket).cloned().collect()
}

/// Replaces the segments `numbers` of a bucket by their merge. The caller holds the compaction lock.
pub(crate) fn merge_segments(engine: &Arc<Engine>, table: &TableState, bucket: u32, numbers: &[u64]) -> Result<()> {
    let view = table.view.load_full();
    let segments = &view.buckets[bucket as usize].segments;
    let is_input = |run: &&Arc<Run>| run.segment.is_some_and(|number| numbers.contains(&number));
    let runs: Vec<Arc<Run>> = segments.iter().filter(is_input).cloned().collect();
    if runs.is_empty() {
        return Ok(());
    }
    // A flush lists its segments before it shows them. Those not yet shown are no part of this merge and stay listed.
    let numbers: Vec<u64> = runs.iter().filter_map(|run| run.segment).collect();
    let erased = table.entity.erased(bucket);
    let throttle = Throttle::new(engine.options.compaction_bytes_per_second);
    // Rows are forgotten only where every tombstone that could speak for them is in the merge.
    let beside = view.buckets[bucket as usize].runs().filter(|run| !runs.iter().any(|input| Arc::ptr_eq(input, run)));
    let forgets = view.horizon != Horizon::default() && !{ beside }.any(|run| run.rows.kinds.is_some());
    let forgetting = Forgetting { runs: &runs, horizon: view.horizon };
    let filter: &dyn RowFilter = if forgets { &forgetting } else { &KeepAll };
    let outputs = engine.outputs();
    let merging = Merging { runs: &runs, erased: &erased, filter, throttle: &|bytes| throttle.spend(bytes) };
    let merged = merge_runs(engine, table, &outputs, &merging)?;
    let bytes = merged.bytes();
    engine.edit_manifest(outputs, |state| {
        // A table that was dropped meanwhile has no entry.
        let Some(listed) = state.tables.get_mut(&table.id) else { return };
        let before = listed.segments.len();
        listed.segments.retain(|entry| entry.bucket != bucket || !numbers.contains(&entry.meta.number));
        assert_eq!(listed.segments.len() + numbers.len(), before, "views show what the manifest lists");
        listed.segments.extend(merged.entries(bucket));
    })?;
    table.edit_view(|view| {
        let bucket = Arc::make_mut(&mut view.buckets[bucket as usize]);
        bucket.segments.retain(|run| run.segment.is_none_or(|number| !numbers.contains(&number)));
        bucket.segments.extend(merged.runs);
    });
    engine.statistics.compactions.add(1);
    engine.statistics.compaction_bytes.add(bytes);
    engine.room.ring();
    Ok(())
}
