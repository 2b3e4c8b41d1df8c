//! The rows of one bucket of one table in storage order: what a memtable run and a segment have in common.
//!
//! Storage order is `(ordinal ↑, event time ↓, row id ↓, sequence ↓, place ↓)`. [`Rows`] holds everything but the
//! cells: where an entity's rows are, their times, their order and their kind. Every read (`read/`), flush and
//! compaction works on `Rows`, so memory and disk cannot disagree.
//!
//! Ingest times are kept as a step list: a row names its step, a step is one commit's sequence and ingest time. Both
//! grow together within a table, so any knowledge bound and any position become one number, the *step end*: the rows
//! whose step is below it are visible.

use std::ops::Range;

use arrow_array::BinaryArray;
use arrow_buffer::{Buffer, ScalarBuffer};

use crate::error::Result;
pub use crate::places::Places;
pub use crate::row_kind::RowKind;
use crate::segment::checks::Checks;
use crate::segment::directory::{Directory, Entities, Hint};
use crate::time::{Micros, Sequence};

/// The commits that rows came in, both columns strictly (sequence) or weakly (ingest time) increasing.
#[derive(Debug, Clone)]
pub struct Steps {
    /// The sequence of each step, strictly increasing.
    pub sequences: ScalarBuffer<u64>,
    /// The ingest time of each step, never decreasing.
    pub ingest_times: ScalarBuffer<i64>,
}

impl Steps {
    /// How many steps from the start are visible to a read that knows what was ingested up to `known_at` and sees
    /// commits up to `position`.
    pub fn end(&self, known_at: Micros, position: Sequence) -> u32 {
        let by_time = self.ingest_times.partition_point(|&time| time <= known_at);
        let by_sequence = self.sequences.partition_point(|&sequence| sequence <= position);
        by_time.min(by_sequence) as u32
    }

    /// [`Steps::end`] as a bound on single steps.
    pub fn bound(&self, known_at: Micros, position: Sequence) -> StepBound {
        let end = self.end(known_at, position);
        StepBound { certain: end, possible: end, known_at }
    }

    /// The number of steps.
    pub fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }
}

/// Which steps of a run a read sees.
#[derive(Debug, Clone, Copy)]
pub struct StepBound {
    /// Every step below is seen.
    certain: u32,
    /// No step from here on is seen; one between the two is if it was ingested by `known_at`.
    possible: u32,
    known_at: Micros,
}

impl StepBound {
    /// Whether no step is seen.
    pub fn is_empty(&self) -> bool {
        self.possible == 0
    }

    /// Whether every step of `steps` is seen, so that none needs to be looked at.
    #[inline]
    pub fn sees_all(&self, steps: &Steps) -> bool {
        self.certain as usize >= steps.len()
    }

    /// Whether `step` of `steps` is seen.
    #[inline]
    pub fn sees(&self, steps: &Steps, step: u32) -> bool {
        step < self.certain || (step < self.possible && steps.ingest_times[step as usize] <= self.known_at)
    }
}

/// One ingest time in [`SAMPLE_STEPS`]: finds the bound of any `known_at` without missing the cache, for reads with
/// many of them. The few steps between two samples are compared when a row is met.
#[derive(Debug)]
pub struct StepSamples {
    times: Vec<Micros>,
    /// The first step after the read's position.
    end: u32,
}

/// Steps per sample.
const SAMPLE_STEPS: usize = 256;

impl StepSamples {
    /// The samples of `steps` for reads at `position`.
    pub fn new(steps: &Steps, position: Sequence) -> Self {
        let times = steps.ingest_times.iter().step_by(SAMPLE_STEPS).copied().collect();
        Self { times, end: steps.sequences.partition_point(|&sequence| sequence <= position) as u32 }
    }

    /// What a read that knows what was ingested up to `known_at` sees.
    pub fn bound(&self, known_at: Micros) -> StepBound {
        let known = self.times.partition_point(|&time| time <= known_at);
        let (certain, possible) = match known.checked_sub(1) {
            None => (0, 0),
            Some(last) => (last * SAMPLE_STEPS + 1, known * SAMPLE_STEPS),
        };
        StepBound { certain: (certain as u32).min(self.end), possible: (possible as u32).min(self.end), known_at }
    }
}

/// The encoded row ids of rows. Unlike an Arrow array it can be made without touching the offsets, so that opening a
/// segment does not read them.
#[derive(Debug, Clone)]
pub struct RowIds {
    offsets: ScalarBuffer<i32>,
    bytes: Buffer,
}

impl RowIds {
    /// Row ids over sections of a file, which are checked (`Checks::rows`) before any is read.
    pub(crate) fn from_parts(offsets: ScalarBuffer<i32>, bytes: Buffer) -> Self {
        Self { offsets, bytes }
    }

    /// The row id of `row`.
    #[inline]
    pub fn value(&self, row: usize) -> &[u8] {
        &self.bytes[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

impl From<BinaryArray> for RowIds {
    /// Without nulls: the null row id of a tombstone is the empty string.
    fn from(ids: BinaryArray) -> Self {
        let (offsets, bytes, _) = ids.into_parts();
        Self { offsets: offsets.into_inner(), bytes }
    }
}

/// The rows of one bucket in storage order, without their cells.
#[derive(Debug, Clone)]
pub struct Rows {
    /// Ordinal → range of rows.
    pub directory: Directory,
    /// Event time per row, µs.
    pub event_times: ScalarBuffer<i64>,
    /// Step per row: an index into `steps`.
    pub row_steps: ScalarBuffer<u32>,
    /// The commits of the rows.
    pub steps: Steps,
    /// Place of each row in its batch, counted from 0.
    pub places: Places,
    /// Kind per row; `None` if all rows are writes.
    pub kinds: Option<ScalarBuffer<u8>>,
    /// Order-preserving encoded row id per row (`model/key/mod.rs`), empty for the null row id of a tombstone; `None` if
    /// the table has no row ids.
    pub row_ids: Option<RowIds>,
    /// Rows that retract named cells, in row order, with the features that each names; empty for most runs.
    pub retracted: Vec<(u32, Vec<u32>)>,
    /// The greatest `event time − ingest time` of a row: a row known at S has an event time of at most S + this.
    pub lead_max: i64,
    /// The least and greatest event time.
    pub event_time_range: (Micros, Micros),
    /// The least step in each block of [`STEP_ZONE_ROWS`] rows, to pass over rows that are not yet known.
    pub step_zones: ScalarBuffer<u32>,
    /// The first-touch checksums of a segment; `None` in memory.
    pub checks: Option<Checks>,
}

/// Rows per entry of [`Rows::step_zones`].
pub const STEP_ZONE_ROWS: u32 = 256;

impl Rows {
    /// The number of rows.
    pub fn len(&self) -> u32 {
        self.event_times.len() as u32
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.event_times.is_empty()
    }

    /// The rows of `ordinal`, their bytes checked; empty if it has none.
    pub fn range(&self, ordinal: u32) -> Result<Range<u32>> {
        self.entity_from(&mut Hint::default(), ordinal)?.map_or(Ok(0..0), |entity| self.rows_of(entity))
    }

    /// Which of the entities `ordinal` is, if it has rows. Questions in the order of their ordinals share a `hint`.
    #[inline]
    pub fn entity_from(&self, hint: &mut Hint, ordinal: u32) -> Result<Option<u32>> {
        self.directory.entity_from(hint, ordinal, self.checks.as_ref())
    }

    /// The rows of one of the entities, their bytes checked.
    pub fn rows_of(&self, entity: u32) -> Result<Range<u32>> {
        let range = self.directory.rows_of(entity as usize, self.checks.as_ref())?;
        if let Some(checks) = &self.checks {
            checks.rows(range.clone())?;
        }
        Ok(range)
    }

    /// Every entity with its rows, in order. Checks the directory, but not the rows.
    pub fn entities(&self) -> Result<Entities<'_>> {
        if let Some(checks) = &self.checks {
            self.directory.verify(self.len(), checks)?;
        }
        Ok(self.directory.iter())
    }

    /// The kind of `row`.
    pub fn kind(&self, row: u32) -> RowKind {
        match &self.kinds {
            None => RowKind::Write,
            // A segment's kinds are checked at first touch, a memtable's when they are made.
            Some(kinds) => RowKind::from_number(kinds[row as usize]).expect("kinds are checked before they are read"),
        }
    }

    /// The sequence of `row`.
    pub fn sequence(&self, row: u32) -> Sequence {
        self.steps.sequences[self.row_steps[row as usize] as usize]
    }

    /// The ingest time of `row`.
    pub fn ingest_time(&self, row: u32) -> Micros {
        self.steps.ingest_times[self.row_steps[row as usize] as usize]
    }

    /// The encoded row id of `row`: empty if the table has none, or for a null one.
    pub fn row_id(&self, row: u32) -> &[u8] {
        self.row_ids.as_ref().map_or(&[], |ids| ids.value(row as usize))
    }

    /// What orders rows of one entity and event time, the greatest first in storage order: row id, then sequence, then
    /// place. A merge may cut an entity's rows in two, so rows of one batch may lie in two runs.
    pub fn order(&self, row: u32) -> (&[u8], Sequence, u32) {
        (self.row_id(row), self.sequence(row), self.places.of(row))
    }

    /// Whether `row` comes before `other_row` of `other`, another run's row of the same entity and event time.
    pub fn comes_before(&self, row: u32, other: &Rows, other_row: u32) -> bool {
        if self.row_ids.is_none() && other.row_ids.is_none() {
            // Runs mostly hold commits that do not overlap: then no row has to be looked at.
            let ends = |rows: &Rows| Some((*rows.steps.sequences.first()?, *rows.steps.sequences.last()?));
            if let (Some((first, last)), Some((other_first, other_last))) = (ends(self), ends(other))
                && (first > other_last || last < other_first)
            {
                return first > other_last;
            }
        }
        self.order(row) > other.order(other_row)
    }

    /// The features that the retraction `row` names; empty for any other row.
    pub fn retracted_features(&self, row: u32) -> &[u32] {
        match self.retracted.binary_search_by_key(&row, |(at, _)| *at) {
            Ok(found) => &self.retracted[found].1,
            Err(_) => &[],
        }
    }

    /// The first row of `range` (one entity's rows) whose event time is at most `bound`.
    pub fn seek(&self, range: Range<u32>, bound: Micros) -> u32 {
        let times = &self.event_times[range.start as usize..range.end as usize];
        range.start + times.partition_point(|&time| time > bound) as u32
    }

    /// The first row at or after `row`, before `end`, whose step is visible.
    pub fn skip_unknown(&self, mut row: u32, end: u32, bound: &StepBound) -> u32 {
        if bound.sees_all(&self.steps) {
            return row;
        }
        while row < end {
            if bound.sees(&self.steps, self.row_steps[row as usize]) {
                return row;
            }
            let zone = row / STEP_ZONE_ROWS;
            if row.is_multiple_of(STEP_ZONE_ROWS) && self.step_zones[zone as usize] >= bound.possible {
                row = (zone + 1) * STEP_ZONE_ROWS;
            } else {
                row += 1;
            }
        }
        end
    }
}

/// The least step in each block of [`STEP_ZONE_ROWS`] rows.
pub fn step_zones(row_steps: &[u32]) -> ScalarBuffer<u32> {
    row_steps.chunks(STEP_ZONE_ROWS as usize).map(|zone| zone.iter().copied().min().unwrap_or(u32::MAX)).collect()
}
