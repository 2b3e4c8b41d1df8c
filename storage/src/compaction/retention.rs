//! Retention: what may be forgotten, and the horizon that says so first.
//!
//! The horizon is in the manifest, only rises, and rises before any byte goes. Behind it a row is dropped only if no
//! bounds inside the horizon can pick any of its cells ([`Forgetting`]). That happens with every merge, and a merge
//! happens for its sake once a quarter of the rows that it would read has come to lie before the horizon.

use std::collections::HashMap;
use std::sync::Arc;

use super::choice::{Aged, choose_to_forget};
use super::merge::{MergedRow, RowFilter};
use crate::engine::Engine;
use crate::error::Result;
use crate::manifest::SegmentEntry;
use crate::model::catalog::Table;
use crate::rows::RowKind;
use crate::run::Run;
use crate::time::{Micros, Sequence};
use crate::view::{Horizon, TableState};

/// The horizon that the retention of `table` allows now, if it has any: never before the one it has.
pub(crate) fn horizon_now(engine: &Engine, table: &TableState) -> Option<Horizon> {
    let before = table.view.load().horizon;
    let declared = engine.declaration(table.id)?;
    if declared.keep_events.is_none() && declared.keep_knowledge.is_none() {
        return None;
    }
    let now = engine.clock.now();
    let back = |keep: Option<i64>| keep.map_or(i64::MIN, |keep| now.saturating_sub(keep));
    let events = before.events.max(back(declared.keep_events));
    let mut horizon = Horizon {
        events,
        knowledge: before.knowledge.max(back(declared.keep_knowledge)),
        sequence: before.sequence,
        rows: before.rows.max(events.saturating_sub(reach_of(&declared))),
    };
    let known = known_sequence(table, horizon.knowledge);
    horizon.sequence = horizon.sequence.max(known);
    Some(horizon)
}

/// How far before an event bound the windows of `table` reach, in microseconds.
fn reach_of(table: &Table) -> i64 {
    table.aggregates.iter().map(|aggregate| aggregate.reach().unwrap_or(i64::MAX)).max().unwrap_or(0)
}

/// Raises the horizon of `table` to what its retention allows now.
pub(crate) fn raise_horizon(engine: &Engine, table: &TableState) -> Result<()> {
    horizon_now(engine, table).map_or(Ok(()), |horizon| raise_to(engine, table, horizon))
}

/// Raises the horizon of `table`.
pub(crate) fn raise_to(engine: &Engine, table: &TableState, horizon: Horizon) -> Result<()> {
    if horizon == table.view.load().horizon {
        return Ok(());
    }
    engine.edit_manifest(engine.outputs(), |state| {
        state.tables.entry(table.id).or_default().horizon = horizon;
    })?;
    table.edit_view(|view| view.horizon = horizon);
    Ok(())
}

/// The segments of `bucket` to merge so that what lies before `horizon` can be forgotten, if that is due. They are all
/// that reach before it: what one holds may be superseded in another.
pub(crate) fn choose(table: &TableState, bucket: u32, horizon: &Horizon, entries: &[SegmentEntry]) -> Option<Vec<u64>> {
    let view = table.view.load();
    let view = &view.buckets[bucket as usize];
    let mut in_memory = view.memory.iter().chain(&view.frozen);
    if in_memory.any(|run| run.rows.kinds.is_some()) {
        // A tombstone that is in no segment yet may speak for any row: after the next flush.
        return None;
    }
    let taken = entries.iter().filter(|entry| entry.reaches_before(horizon) || entry.meta.tombstones > 0);
    let aged = taken.map(|entry| {
        let run = view.segments.iter().find(|run| run.segment == Some(entry.meta.number))?;
        Some(Aged { entry, before: table.ages_of(run).before(horizon) })
    });
    // A segment that is listed and not yet shown will be soon.
    choose_to_forget(&aged.collect::<Option<Vec<_>>>()?)
}

/// The last commit of `table` that was known at `knowledge`.
fn known_sequence(table: &TableState, knowledge: i64) -> u64 {
    let view = table.view.load_full();
    let runs = view.buckets.iter().flat_map(|bucket| bucket.runs().map(Arc::clone).collect::<Vec<_>>());
    let last = runs.filter_map(|run| {
        let end = run.rows.steps.end(knowledge, u64::MAX) as usize;
        end.checked_sub(1).map(|step| run.rows.steps.sequences[step])
    });
    last.max().unwrap_or(0)
}

/// Leaves out rows that no bounds inside the horizon can pick.
///
/// A cell of row x loses at every such bound if a newer row y of the entity (by the order of the rule) has a cell of
/// the same feature, lies no later than every event bound that sees x, and was known no later than every knowledge
/// bound that does: `t_y ≤ max(t_x, events)` and `s_y ≤ max(s_x, sequence)`. A row goes when all of its cells lose.
/// A row that a window counts goes only if a newer row of its identity takes its place.
/// Where an entity has tombstones, only what lies before a delete that every bound sees goes; the delete stays, and so do tombstones
/// that a window reaches: one that ends before the delete answers that nothing counts because of them.
pub(crate) struct Forgetting<'a> {
    pub(crate) runs: &'a [Arc<Run>],
    pub(crate) horizon: Horizon,
}

impl RowFilter for Forgetting<'_> {
    fn keep(&self, _ordinal: u32, rows: &[MergedRow], keep: &mut [bool]) -> Result<()> {
        let of = |row: &MergedRow| &self.runs[row.run as usize].rows;
        if rows.iter().any(|row| of(row).kind(row.row) != RowKind::Write) {
            let before = self.final_delete(rows);
            for (row, keep) in rows.iter().zip(keep) {
                let time = of(row).event_times[row.row as usize];
                let may_tell = of(row).kind(row.row) != RowKind::Write && time > self.horizon.rows;
                *keep = may_tell || before.is_none_or(|delete| time >= delete);
            }
            return Ok(());
        }
        // The least sequence of a newer row with the feature: among those at or before the horizon, and among those
        // of the identity at hand. Feature [`ANY`] stands for the row itself.
        let mut settled: HashMap<u32, Sequence> = HashMap::new();
        let mut same_identity: HashMap<u32, Sequence> = HashMap::new();
        let mut at_hand = None;
        for (row, keep) in rows.iter().zip(keep) {
            let time = of(row).event_times[row.row as usize];
            let sequence = of(row).sequence(row.row);
            let identity = (time, of(row).row_id(row.row));
            if at_hand != Some(identity) {
                at_hand = Some(identity);
                same_identity.clear();
            }
            let latest_needed = sequence.max(self.horizon.sequence);
            let features = self.features_of(row)?;
            let newer = if time <= self.horizon.rows { &settled } else { &same_identity };
            let loses = |feature: &u32| newer.get(feature).is_some_and(|&known| known <= latest_needed);
            *keep = !features.iter().all(loses);
            let before_horizon = (time <= self.horizon.events).then_some(&mut settled);
            for newer in [Some(&mut same_identity), before_horizon].into_iter().flatten() {
                for &feature in &features {
                    newer.entry(feature).and_modify(|known| *known = sequence.min(*known)).or_insert(sequence);
                }
            }
        }
        Ok(())
    }
}

/// Stands for a row itself beside its features: a row without cells still makes its entity stand.
const ANY: u32 = u32::MAX;

impl Forgetting<'_> {
    fn features_of(&self, row: &MergedRow) -> Result<Vec<u32>> {
        let run = &self.runs[row.run as usize];
        let origin = run.origin(row.row);
        let mut features = vec![ANY];
        for column in &run.chunks[origin.chunk as usize].columns {
            if column.position(origin.row)?.is_some() {
                features.push(column.feature());
            }
        }
        Ok(features)
    }

    /// The event time of the newest delete that every bound inside the horizon sees and that nothing took back.
    fn final_delete(&self, rows: &[MergedRow]) -> Option<Micros> {
        let of = |row: &MergedRow| &self.runs[row.run as usize].rows;
        let mut deletes = rows.iter().filter(|row| {
            let rows = of(row);
            rows.kind(row.row) == RowKind::Delete
                && rows.event_times[row.row as usize] <= self.horizon.events
                && rows.sequence(row.row) <= self.horizon.sequence
        });
        let taken_back = |time: Micros| {
            rows.iter()
                .any(|row| of(row).kind(row.row) == RowKind::Retract && of(row).event_times[row.row as usize] == time)
        };
        deletes.find_map(|row| {
            let time = of(row).event_times[row.row as usize];
            (!taken_back(time)).then_some(time)
        })
    }
}
