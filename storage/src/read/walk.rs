//! One entity's visible rows across the runs of its bucket, newest event time first.
//!
//! [`newest`] is the fast way for the common case: one look into each run that could beat the best row so far.
//! [`walk`] is the whole rule for everything else: tombstones, partial rows, ties.

use std::ops::Range;
use std::sync::Arc;

use super::resolve::{GroupRow, Settled, settle, sort_group};
use crate::error::Result;
use crate::rows::{RowKind, StepBound};
use crate::run::Run;
use crate::time::{Micros, Sequence};

/// The bounds of one read of one entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PointBounds {
    /// The greatest event time that is visible.
    pub as_of: Micros,
    /// The greatest ingest time that is visible.
    pub known_at: Micros,
    /// The last commit that is visible.
    pub position: Sequence,
}

/// A run and what of it is visible.
#[derive(Debug)]
pub struct BoundedRun<'a> {
    /// The run.
    pub run: &'a Arc<Run>,
    /// The steps that are visible.
    pub steps: StepBound,
}

impl BoundedRun<'_> {
    /// The event bound that can find anything: what is known at S lies at most the run's lead after S.
    fn reach(&self, bounds: &PointBounds) -> Micros {
        bounds.as_of.min(bounds.known_at.saturating_add(self.run.rows.lead_max))
    }
}

/// The runs of a bucket under constant `known_at` and `position`, those with the newest event times first.
pub fn bound_runs<'a>(
    runs: impl Iterator<Item = &'a Arc<Run>>,
    known_at: Micros,
    position: Sequence,
) -> Vec<BoundedRun<'a>> {
    let bounded = runs.map(|run| BoundedRun { run, steps: run.rows.steps.bound(known_at, position) });
    let mut bounded: Vec<_> = bounded.filter(|bounded| !bounded.steps.is_empty()).collect();
    bounded.sort_by_key(|bounded| std::cmp::Reverse(bounded.run.rows.event_time_range.1));
    bounded
}

/// The rows of one entity in each run, looked up when they are first asked for. Questions about many entities come in
/// the order of their ordinals, if in any.
#[derive(Debug)]
pub struct EntityRows {
    ordinal: u32,
    ranges: Vec<Option<Range<u32>>>,
    hints: Vec<u32>,
}

impl EntityRows {
    /// For questions over `runs` runs.
    pub fn new(runs: usize) -> Self {
        Self { ordinal: 0, ranges: vec![None; runs], hints: vec![0; runs] }
    }

    /// Goes to another entity.
    pub fn turn_to(&mut self, ordinal: u32) {
        self.ordinal = ordinal;
        self.ranges.fill(None);
    }

    /// The entity's rows in `run`, which has this `index`.
    fn of(&mut self, index: usize, run: &Run) -> Result<Range<u32>> {
        if let Some(range) = &self.ranges[index] {
            return Ok(range.clone());
        }
        let range = run.rows.range_from(&mut self.hints[index], self.ordinal)?;
        self.ranges[index] = Some(range.clone());
        Ok(range)
    }
}

/// What the fast way found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newest {
    /// No row is visible.
    None,
    /// This row is the newest by the whole order, and no tombstone is near it.
    Row {
        /// Index of the run.
        run: u32,
        /// Row of the run.
        row: u32,
    },
    /// A run that holds the entity has tombstones: the whole rule must be walked.
    Walk,
}

/// The newest visible row of `entity`.
pub fn newest(runs: &[BoundedRun<'_>], entity: &mut EntityRows, bounds: &PointBounds) -> Result<Newest> {
    let mut best: Option<(Micros, u32, u32)> = None;
    for (index, bounded) in runs.iter().enumerate() {
        let rows = &bounded.run.rows;
        if best.is_some_and(|(time, ..)| time > rows.event_time_range.1) {
            // Runs are ordered by their newest event time: none of the others can beat this row.
            break;
        }
        if rows.event_time_range.0 > bounds.as_of {
            continue;
        }
        let range = entity.of(index, bounded.run)?;
        if range.is_empty() {
            continue;
        }
        if rows.kinds.is_some() {
            return Ok(Newest::Walk);
        }
        let end = range.end;
        let row = rows.skip_unknown(rows.seek(range, bounded.reach(bounds)), end, &bounded.steps);
        if row == end {
            continue;
        }
        let time = rows.event_times[row as usize];
        let beaten = best.is_none_or(|(best_time, best_run, best_row)| {
            let best_rows = &runs[best_run as usize].run.rows;
            (time, rows.row_id(row), rows.sequence(row))
                > (best_time, best_rows.row_id(best_row), best_rows.sequence(best_row))
        });
        if beaten {
            best = Some((time, index as u32, row));
        }
    }
    Ok(best.map_or(Newest::None, |(_, run, row)| Newest::Row { run, row }))
}

/// The winner of one feature, if a write decided it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Winner {
    /// Index of the run.
    pub run: u32,
    /// Row of the run.
    pub row: u32,
}

/// What a whole walk found for one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked {
    /// The winner of each feature that was asked.
    pub winners: Vec<Option<Winner>>,
    /// The walk ended at a delete: features without a winner are deleted, not never.
    pub deleted: bool,
    /// The newest event time at which a write stands, inside the window that was asked.
    pub standing: Option<Micros>,
}

/// Which standing rows a walk looks for beside winners.
#[derive(Debug, Clone, Copy)]
pub enum Standing {
    /// None: stop when every feature is decided.
    Ignored,
    /// One with an event time from the first to the second, both included.
    Within(Micros, Micros),
}

struct Cursor<'a> {
    index: u32,
    bounded: &'a BoundedRun<'a>,
    next: u32,
    end: u32,
}

/// Walks the rule for `ordinal` and `features`.
pub fn walk(
    runs: &[BoundedRun<'_>],
    ordinal: u32,
    bounds: &PointBounds,
    features: &[u32],
    standing: Standing,
) -> Result<Walked> {
    let mut cursors = cursors(runs, ordinal, bounds)?;
    let mut walked = Walked { winners: vec![None; features.len()], deleted: false, standing: None };
    let mut open: Vec<usize> = (0..features.len()).collect();
    let mut group: Vec<GroupRow<'_>> = Vec::new();
    loop {
        let looking = matches!(standing, Standing::Within(..)) && walked.standing.is_none();
        if open.is_empty() && !looking {
            return Ok(walked);
        }
        let Some(time) = cursors.iter().map(|cursor| cursor.bounded.run.rows.event_times[cursor.next as usize]).max() else {
            return Ok(walked);
        };
        if let (Standing::Within(from, _), true) = (standing, open.is_empty()) {
            if time < from {
                return Ok(walked);
            }
        }
        group.clear();
        take_group(&mut cursors, time, &mut group);
        sort_group(&mut group);
        let settled = settle(
            &group,
            features,
            &mut open,
            |row, slot| has_cell(runs, row, features[slot]),
            |row, slot| walked.winners[slot] = Some(Winner { run: row.run, row: row.row }),
        )?;
        note_standing(&mut walked, standing, time, settled);
        if settled.deleted {
            walked.deleted = true;
            return Ok(walked);
        }
    }
}

fn note_standing(walked: &mut Walked, standing: Standing, time: Micros, settled: Settled) {
    if let Standing::Within(from, to) = standing {
        if settled.standing && walked.standing.is_none() && (from..=to).contains(&time) {
            walked.standing = Some(time);
        }
    }
}

fn cursors<'a>(runs: &'a [BoundedRun<'a>], ordinal: u32, bounds: &PointBounds) -> Result<Vec<Cursor<'a>>> {
    let mut cursors = Vec::with_capacity(runs.len());
    for (index, bounded) in runs.iter().enumerate() {
        let rows = &bounded.run.rows;
        let range = rows.range(ordinal)?;
        let end = range.end;
        let start = rows.seek(range, bounded.reach(bounds));
        let next = rows.skip_unknown(start, end, &bounded.steps);
        if next < end {
            cursors.push(Cursor { index: index as u32, bounded, next, end });
        }
    }
    Ok(cursors)
}

/// Moves the visible rows at `time` from the cursors to `group`.
fn take_group<'a>(cursors: &mut Vec<Cursor<'a>>, time: Micros, group: &mut Vec<GroupRow<'a>>) {
    for cursor in cursors.iter_mut() {
        let rows = &cursor.bounded.run.rows;
        while cursor.next < cursor.end && rows.event_times[cursor.next as usize] == time {
            let row = cursor.next;
            group.push(GroupRow {
                run: cursor.index,
                row,
                kind: rows.kind(row),
                row_id: rows.row_id(row),
                sequence: rows.sequence(row),
                place: rows.places[row as usize],
                retracted: rows.retracted_features(row),
            });
            cursor.next = rows.skip_unknown(row + 1, cursor.end, &cursor.bounded.steps);
        }
    }
    cursors.retain(|cursor| cursor.next < cursor.end);
}

fn has_cell(runs: &[BoundedRun<'_>], row: &GroupRow<'_>, feature: u32) -> Result<bool> {
    debug_assert_eq!(row.kind, RowKind::Write);
    let run = runs[row.run as usize].run;
    let origin = run.origin(row.row);
    match run.chunks[origin.chunk as usize].column(feature) {
        Some(column) => Ok(column.position(origin.row)?.is_some()),
        None => Ok(false),
    }
}
