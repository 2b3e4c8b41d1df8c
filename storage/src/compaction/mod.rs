//! Compaction: fewer, larger segments with the same answers, latest packs, and forgetting what retention allows.
//!
//! Which segments to merge is a pure decision ([`choice`]); merging is the code path of flush ([`merge`]). Compaction
//! runs on its own thread: a flush never waits for it, a read never notices it.

pub mod choice;
pub mod merge;
pub mod pack;
pub mod retention;
pub mod throttle;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::engine::Engine;
use crate::error::Result;
use crate::horizon::{Before, Horizon};
use crate::manifest::SegmentEntry;
use crate::merging::{Merged, Merging, merge_runs};
use crate::run::Run;
use crate::time::Micros;
use crate::view::{Looked, TableState};
use merge::{KeepAll, RowFilter};
use retention::Forgetting;
use throttle::Throttle;

/// Does the most urgent piece of compaction of any table; whether there was one.
pub(crate) fn compact_once(engine: &Arc<Engine>) -> Result<bool> {
    let _guard = engine.compacting.lock();
    engine.leaving.sweep();
    let now = engine.clock.monotonic();
    let looks: Vec<Look> = engine.tables().into_iter().filter_map(|table| Look::due(engine, table, now)).collect();
    let buckets = looks.iter().flat_map(|look| buckets_of(&look.table).map(move |bucket| (&look.table, bucket)));
    let behind = buckets.filter_map(|(table, bucket)| Some((pack::urgency(table, bucket, engine)?, table, bucket)));
    if let Some((_, table, bucket)) = behind.max_by_key(|(urgency, ..)| *urgency) {
        return pass_over(table, now, pack::build(engine, table, bucket)).map(|()| true);
    }
    for look in looks {
        if pass_over(&look.table, now, look.merge(engine))? {
            return Ok(true);
        }
        *look.table.looked.lock() = look.seen;
    }
    Ok(false)
}

/// How long a table in which compaction failed is passed over, µs, so that one with damaged bytes does not keep all
/// others from being compacted.
const FAILED_REST_MICROS: Micros = 10_000_000;

/// Notes that compaction failed in `table`, if it did.
fn pass_over<T>(table: &TableState, now: Micros, outcome: Result<T>) -> Result<T> {
    outcome.inspect_err(|_| table.failed_until.store(now.saturating_add(FAILED_REST_MICROS), Ordering::Relaxed))
}

fn buckets_of(table: &TableState) -> Range<u32> {
    0..table.entity.dictionaries.len() as u32
}

/// How often a table that keeps its rows for a time only is looked at, µs: rows come to lie before its horizon although
/// nothing changes.
const RETENTION_LOOK_MICROS: Micros = 1_000_000;

/// A table that may have something to do, and what was seen of it before that was looked for.
struct Look {
    table: Arc<TableState>,
    seen: Looked,
}

impl Look {
    /// Looks at `table` unless it is as it was when there was nothing to do.
    fn due(engine: &Engine, table: Arc<TableState>, now: Micros) -> Option<Self> {
        let schema_version = engine.versions.load().newest().schema_version;
        let seen = Looked { edits: table.view.load().edits, schema_version, at_rest: table.is_quiet(now), at: now };
        let before = *table.looked.lock();
        let same = before == Looked { at: before.at, ..seen } && seen.at_rest;
        if now < table.failed_until.load(Ordering::Relaxed) {
            return None;
        }
        let waits = same && (now - before.at < RETENTION_LOOK_MICROS || !has_retention(engine, &table));
        (!waits).then_some(Self { table, seen })
    }

    /// Does one merge of the table; whether there was one to do.
    fn merge(&self, engine: &Arc<Engine>) -> Result<bool> {
        let table = &self.table;
        let horizon = retention::horizon_now(engine, table);
        for bucket in buckets_of(table) {
            let entries = entries_of(engine, table, bucket);
            let at_rest = || choice::choose_at_rest(&entries).filter(|_| self.seen.at_rest);
            let to_forget = || retention::choose(table, bucket, horizon.as_ref()?, &entries);
            if let Some(numbers) = choice::choose(&entries).or_else(at_rest).or_else(to_forget) {
                if let Some(horizon) = horizon {
                    retention::raise_to(engine, table, horizon)?;
                }
                merge_segments(engine, table, bucket, &numbers)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether rows of the table may be forgotten in time.
fn has_retention(engine: &Engine, table: &TableState) -> bool {
    let declared = engine.declaration(table.id);
    declared.is_some_and(|table| table.keep_events.is_some() || table.keep_knowledge.is_some())
}

/// Merges all segments of every bucket of `tables` into as few as possible and builds fresh packs. What is frozen stays as it
/// is, unless bytes in it must go.
pub(crate) fn compact_all(engine: &Arc<Engine>, tables: &[u32]) -> Result<()> {
    let _guard = engine.compacting.lock();
    for table in tables.iter().filter_map(|&id| engine.table(id)) {
        retention::raise_horizon(engine, &table)?;
        for bucket in buckets_of(&table) {
            let purges = purge_is_due(engine, &table, bucket);
            let mut entries = entries_of(engine, &table, bucket);
            entries.retain(|entry| purges || entry.ice.is_none());
            let groups: std::collections::BTreeSet<u64> = entries.iter().map(|entry| entry.group).collect();
            if groups.len() > 1 || purges {
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
    let purges = engine.declaration(table.id).is_some_and(|table| !table.purged.is_empty());
    purges || has_retention(engine, table) || !table.entity.erased(bucket).is_empty()
}

/// The segments of one bucket as the manifest lists them.
pub(crate) fn entries_of(engine: &Engine, table: &TableState, bucket: u32) -> Vec<SegmentEntry> {
    let listed = engine.listed.load();
    let listed = listed.tables.get(&table.id).map(|table| table.segments.as_slice()).unwrap_or_default();
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
    let merging =
        Merging { runs: &runs, erased: &erased, filter, throttle: &|bytes| engine.sleep(throttle.spend(bytes)) };
    let merged = merge_runs(engine, table, &outputs, &merging)?;
    let bytes = merged.bytes();
    engine.edit_manifest(outputs, |state| {
        // A table that was dropped meanwhile has no entry.
        let Some(listed) = state.tables.get_mut(&table.id) else { return };
        let (gone, kept): (Vec<SegmentEntry>, Vec<SegmentEntry>) = std::mem::take(&mut listed.segments)
            .into_iter()
            .partition(|entry| entry.bucket == bucket && numbers.contains(&entry.meta.number));
        assert_eq!(gone.len(), numbers.len(), "views show what the manifest lists");
        let mut others = kept.iter().filter(|entry| entry.bucket == bucket);
        let whole = forgets && !others.any(|entry| entry.reaches_before(&view.horizon));
        let stayed = if whole { stayed_in(&merged, &view.horizon) } else { shared_out(&gone, &merged) };
        listed.segments = kept;
        let entries = merged.entries(bucket).zip(stayed).map(|(entry, stayed)| SegmentEntry { stayed, ..entry });
        listed.segments.extend(entries);
    })?;
    table.edit_view(|view| {
        let bucket = Arc::make_mut(&mut view.buckets[bucket as usize]);
        bucket.segments.retain(|run| run.segment.is_none_or(|number| !numbers.contains(&number)));
        bucket.segments.extend(merged.runs);
    });
    engine.leaving.keep(runs);
    engine.statistics.compactions.add(1);
    engine.statistics.compaction_bytes.add(bytes);
    engine.room.ring();
    Ok(())
}

/// The rows of each segment that stayed although they lie before `horizon`.
fn stayed_in(merged: &Merged, horizon: &Horizon) -> Vec<Before> {
    merged.runs.iter().map(|run| Before::of(&run.rows, horizon)).collect()
}

/// What stayed in `gone` before, as if it were first in what was made of them: only sums count.
fn shared_out(gone: &[SegmentEntry], merged: &Merged) -> Vec<Before> {
    let sum = |side: fn(&Before) -> u64| gone.iter().map(|entry| side(&entry.stayed)).sum::<u64>();
    let mut left = Before { events: sum(|stayed| stayed.events), knowledge: sum(|stayed| stayed.knowledge) };
    let mut take = |rows: u64| {
        let taken = Before { events: left.events.min(rows), knowledge: left.knowledge.min(rows) };
        left = Before { events: left.events - taken.events, knowledge: left.knowledge - taken.knowledge };
        taken
    };
    merged.runs.iter().map(|run| take(u64::from(run.rows.len()))).collect()
}
