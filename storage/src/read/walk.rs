//! One entity's visible rows across the runs of its bucket, newest event time first.
//!
//! [`walk`] is the whole rule: tombstones, partial rows, ties. `newest.rs` and `partial.rs` are
//! the fast ways where none, or only partial rows, are met.

use std::sync::Arc;

use super::bounds::PointBounds;
use super::rule::{Settled, VisibleRow, settle, sort_group};
use crate::error::Result;
use crate::rows::{RowKind, StepBound};
use crate::run::Run;
use crate::time::{Micros, Sequence};

/// A run and what of it is visible.
#[derive(Debug, Clone)]
pub(crate) struct BoundedRun<'a> {
    /// The run.
    pub(crate) run: &'a Arc<Run>,
    /// The steps that are visible.
    pub(crate) steps: StepBound,
}

impl BoundedRun<'_> {
    /// The event bound that can find anything: what is known at S lies at most the run's lead after S.
    pub(super) fn reach(&self, bounds: &PointBounds) -> Micros {
        bounds.as_of.min(bounds.known_at.saturating_add(self.run.rows.lead_max))
    }
}

/// The runs of a bucket under constant `known_at` and `position`, those with the newest event times first.
pub(crate) fn bound_runs<'a>(
    runs: impl Iterator<Item = &'a Arc<Run>>,
    known_at: Micros,
    position: Sequence,
) -> Vec<BoundedRun<'a>> {
    let bounded = runs.map(|run| BoundedRun { run, steps: run.rows.steps.bound(known_at, position) });
    let mut bounded: Vec<_> = bounded.filter(|bounded| !bounded.steps.is_empty()).collect();
    bounded.sort_by_key(|bounded| std::cmp::Reverse(bounded.run.rows.event_time_range.1));
    bounded
}

/// Where the chunks of each of `runs` start if all chunks are numbered through, and how many there are.
pub(crate) fn chunk_starts(runs: &[BoundedRun<'_>]) -> (Vec<usize>, usize) {
    let mut chunks = 0;
    let starts = runs.iter().map(|bounded| {
        chunks += bounded.run.chunks.len();
        chunks - bounded.run.chunks.len()
    });
    (starts.collect(), chunks)
}

/// The winner of one feature, if a write decided it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Winner {
    /// Index of the run.
    pub(crate) run: u32,
    /// Row of the run.
    pub(crate) row: u32,
}

/// What a whole walk found for one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Walked {
    /// The winner of each feature that was asked.
    pub(crate) winners: Vec<Option<Winner>>,
    /// The walk ended at a delete: features without a winner are deleted, not never.
    pub(crate) deleted: bool,
    /// The newest event time at which a write stands, among the event times that were asked.
    pub(crate) standing: Option<Micros>,
}

/// Which standing rows a walk looks for beside winners.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Standing {
    /// None: stop when every feature is decided.
    Ignored,
    /// One with an event time from the first to the second, both included.
    Within(Micros, Micros),
}

/// Where a walk is in a run.
#[derive(Debug)]
struct Cursor<'a> {
    index: u32,
    bounded: &'a BoundedRun<'a>,
    next: u32,
    end: u32,
}

/// The visible rows of an entity, one event time after another, from the newest on.
#[derive(Debug)]
pub(crate) struct Groups<'a> {
    runs: &'a [BoundedRun<'a>],
    cursors: Vec<Cursor<'a>>,
}

impl<'a> Groups<'a> {
    /// Of `ordinal`, within `bounds`.
    pub(crate) fn new(runs: &'a [BoundedRun<'a>], ordinal: u32, bounds: &PointBounds) -> Result<Self> {
        Ok(Self { runs, cursors: cursors(runs, ordinal, bounds)? })
    }

    /// The runs that they are in.
    pub(crate) fn runs(&self) -> &'a [BoundedRun<'a>] {
        self.runs
    }

    /// The next event time; none after the last row.
    pub(crate) fn time(&self) -> Option<Micros> {
        self.cursors.iter().map(|cursor| cursor.bounded.run.rows.event_times[cursor.next as usize]).max()
    }

    /// Takes the rows of the next event time, `time`, into `group`, as the rule walks them.
    pub(crate) fn take(&mut self, time: Micros, group: &mut Vec<VisibleRow<'a>>) {
        group.clear();
        take_group(&mut self.cursors, time, group);
        sort_group(group);
    }
}

/// Walks the rule for `ordinal` and `features`.
pub(crate) fn walk(
    runs: &[BoundedRun<'_>],
    ordinal: u32,
    bounds: &PointBounds,
    features: &[u32],
    standing: Standing,
) -> Result<Walked> {
    let mut groups = Groups::new(runs, ordinal, bounds)?;
    let mut walked = Walked { winners: vec![None; features.len()], deleted: false, standing: None };
    let mut open: Vec<usize> = (0..features.len()).collect();
    let mut group: Vec<VisibleRow<'_>> = Vec::new();
    loop {
        let looking = matches!(standing, Standing::Within(..)) && walked.standing.is_none();
        if open.is_empty() && !looking {
            return Ok(walked);
        }
        let Some(time) = groups.time() else { return Ok(walked) };
        if let (Standing::Within(from, _), true) = (standing, open.is_empty())
            && time < from
        {
            return Ok(walked);
        }
        groups.take(time, &mut group);
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
    if let Standing::Within(from, to) = standing
        && settled.standing
        && walked.standing.is_none()
        && (from..=to).contains(&time)
    {
        walked.standing = Some(time);
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
fn take_group<'a>(cursors: &mut Vec<Cursor<'a>>, time: Micros, group: &mut Vec<VisibleRow<'a>>) {
    for cursor in cursors.iter_mut() {
        let rows = &cursor.bounded.run.rows;
        while cursor.next < cursor.end && rows.event_times[cursor.next as usize] == time {
            let row = cursor.next;
            group.push(VisibleRow {
                run: cursor.index,
                row,
                kind: rows.kind(row),
                row_id: rows.row_id(row),
                sequence: rows.sequence(row),
                place: rows.places.of(row),
                retracted: rows.retracted_features(row),
            });
            cursor.next = rows.skip_unknown(row + 1, cursor.end, &cursor.bounded.steps);
        }
    }
    cursors.retain(|cursor| cursor.next < cursor.end);
}

fn has_cell(runs: &[BoundedRun<'_>], row: &VisibleRow<'_>, feature: u32) -> Result<bool> {
    debug_assert_eq!(row.kind, RowKind::Write);
    let run = runs[row.run as usize].run;
    let origin = run.origin(row.row);
    match run.chunks[origin.chunk as usize].column(feature) {
        Some(column) => Ok(column.position(origin.row)?.is_some()),
        None => Ok(false),
    }
}
