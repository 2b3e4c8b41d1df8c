//! Memtables: the rows of one bucket that are not yet in a segment, as a few sorted runs.
//!
//! A batch, or several small ones together, arrives as one run per bucket. Runs of like size are merged as they pile
//! up (the logarithmic method of Bentley and Saxe, 1980), so a read probes few runs and a write moves a row few times.
//! Merging moves what `Rows` holds and leaves the cells where they arrived, unless the pieces are tiny: those are
//! copied together, so that one-row batches do not cost an array per cell.
//!
//! Runs are immutable: a reader that holds one is never disturbed.

mod coalesce;
mod merge;

use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_buffer::ScalarBuffer;

use crate::model::batch::WriteBatch;
use crate::rows::{RowKind, Rows, Steps, step_zones};
use crate::run::{Chunk, Origin, Run};
use crate::segment::directory::Directory;
use crate::time::{Micros, Sequence};

pub use merge::push;

/// The commit or commits that a batch became.
#[derive(Debug, Clone)]
pub struct BatchSteps {
    /// One step, or one for each distinct ingest time of a history load.
    pub steps: Steps,
    /// The step of each row of a history batch; all 0 otherwise.
    pub row_steps: Option<Vec<u32>>,
}

impl BatchSteps {
    /// The step of a batch that the server timed.
    pub fn single(sequence: Sequence, ingest_time: Micros) -> Self {
        let steps = Steps { sequences: vec![sequence].into(), ingest_times: vec![ingest_time].into() };
        Self { steps, row_steps: None }
    }

    /// The steps of a history batch whose `ingest_times` never decrease: one sequence, from `first` on, for each
    /// distinct ingest time.
    pub fn history(first: Sequence, ingest_times: &[Micros]) -> Self {
        let mut sequences: Vec<u64> = Vec::new();
        let mut times: Vec<i64> = Vec::new();
        let mut row_steps = Vec::with_capacity(ingest_times.len());
        for &time in ingest_times {
            if times.last() != Some(&time) {
                sequences.push(first + times.len() as u64);
                times.push(time);
            }
            row_steps.push(times.len() as u32 - 1);
        }
        Self { steps: Steps { sequences: sequences.into(), ingest_times: times.into() }, row_steps: Some(row_steps) }
    }

    /// The sequence of the last step; the batch is published whole up to it.
    pub fn last(&self) -> Sequence {
        self.steps.sequences[self.steps.len() - 1]
    }

    fn of_row(&self, row: u32) -> u32 {
        self.row_steps.as_ref().map_or(0, |steps| steps[row as usize])
    }
}

/// The rows of one batch that fall into one bucket.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// The batch.
    pub batch: &'a WriteBatch,
    /// Its cells.
    pub chunk: &'a Arc<Chunk>,
    /// The commits that it became.
    pub steps: &'a BatchSteps,
    /// Row numbers of the batch, in the order sent.
    pub rows: &'a [u32],
    /// The entities of all rows of the batch.
    pub ordinals: &'a [u32],
}

/// Sorts the rows of `pieces`, which are in the order of their commits, into one run.
pub fn run_of(pieces: &[Piece<'_>]) -> Run {
    let count = pieces.iter().map(|piece| piece.rows.len()).sum();
    let mut origins: Vec<Origin> = Vec::with_capacity(count);
    // Each row by what it sorts by, and its number among all rows: small, for sorting moves it about.
    let mut order: Vec<(u32, u64, u32)> = Vec::with_capacity(count);
    for (chunk, piece) in (0..).zip(pieces) {
        for &row in piece.rows {
            let time = newest_first(piece.batch.event_times[row as usize]);
            order.push((piece.ordinals[row as usize], time, origins.len() as u32));
            origins.push(Origin { chunk, row });
        }
    }
    let id = |number: u32| {
        let Origin { chunk, row } = origins[number as usize];
        pieces[chunk as usize].batch.row_ids.as_ref().map_or(&[][..], |ids| ids.value(row as usize))
    };
    // Later batches are newer, and so are later rows of one batch: among equals the higher number comes first.
    order.sort_unstable_by(|a, b| {
        (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| id(b.2).cmp(id(a.2))).then_with(|| b.2.cmp(&a.2))
    });
    let row_ids = pieces.iter().any(|piece| piece.batch.row_ids.is_some());
    let kinds = pieces.iter().any(|piece| piece.batch.kind != RowKind::Write);
    let mut build = RunBuilder::new(order.len(), row_ids, kinds);
    let steps_before: Vec<u32> = pieces
        .iter()
        .scan(0, |before, piece| Some(std::mem::replace(before, *before + piece.steps.steps.len() as u32)))
        .collect();
    for &(ordinal, _, number) in &order {
        let origin = origins[number as usize];
        let (piece, row) = (&pieces[origin.chunk as usize], origin.row);
        let at = build.event_times.len() as u32;
        build.ordinals.push(ordinal);
        build.event_times.push(piece.batch.event_times[row as usize]);
        build.row_steps.push(steps_before[origin.chunk as usize] + piece.steps.of_row(row));
        build.places.push(piece.batch.places[row as usize]);
        if let Some(kinds) = &mut build.kinds {
            kinds.push(piece.batch.kind as u8);
        }
        if let Some(row_ids) = &mut build.row_ids {
            row_ids.append_value(id(number));
        }
        if piece.batch.kind == RowKind::RetractCells {
            build.retracted.push((at, piece.batch.retracted.clone()));
        }
        build.origins.push(origin);
    }
    let steps = concatenate(pieces.iter().map(|piece| &piece.steps.steps));
    build.finish(steps, pieces.iter().map(|piece| Arc::clone(piece.chunk)).collect())
}

/// The steps of runs or batches, in the order of their commits, as one list.
fn concatenate<'a>(parts: impl Iterator<Item = &'a Steps> + Clone) -> Steps {
    let sequences: ScalarBuffer<u64> = parts.clone().flat_map(|part| part.sequences.iter().copied()).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "rows come into memtables in the order of their commits");
    Steps { sequences, ingest_times: parts.flat_map(|part| part.ingest_times.iter().copied()).collect() }
}

/// A number that sorts event times from the newest to the oldest.
fn newest_first(event_time: Micros) -> u64 {
    !((event_time as u64) ^ (1 << 63))
}

/// The rows of a run as they are gathered in storage order.
struct RunBuilder {
    ordinals: Vec<u32>,
    event_times: Vec<i64>,
    row_steps: Vec<u32>,
    places: Vec<u32>,
    kinds: Option<Vec<u8>>,
    row_ids: Option<BinaryBuilder>,
    retracted: Vec<(u32, Vec<u32>)>,
    origins: Vec<Origin>,
}

impl RunBuilder {
    fn new(rows: usize, row_ids: bool, kinds: bool) -> Self {
        Self {
            ordinals: Vec::with_capacity(rows),
            event_times: Vec::with_capacity(rows),
            row_steps: Vec::with_capacity(rows),
            places: Vec::with_capacity(rows),
            kinds: kinds.then(|| Vec::with_capacity(rows)),
            row_ids: row_ids.then(|| BinaryBuilder::with_capacity(rows, rows * 8)),
            retracted: Vec::new(),
            origins: Vec::with_capacity(rows),
        }
    }

    fn finish(self, steps: Steps, chunks: Vec<Arc<Chunk>>) -> Run {
        let leads = self.event_times.iter().zip(&self.row_steps);
        let lead_max = leads.map(|(time, &step)| time.saturating_sub(steps.ingest_times[step as usize])).max();
        let least = self.event_times.iter().copied().min();
        let greatest = self.event_times.iter().copied().max();
        let rows = Rows {
            directory: Directory::from_sorted_ordinals(&self.ordinals),
            event_times: ScalarBuffer::from(self.event_times),
            step_zones: step_zones(&self.row_steps),
            row_steps: ScalarBuffer::from(self.row_steps),
            steps,
            places: self.places.into(),
            kinds: self.kinds.map(ScalarBuffer::from),
            row_ids: self.row_ids.map(|mut ids| ids.finish().into()),
            retracted: self.retracted,
            lead_max: lead_max.unwrap_or(i64::MIN),
            event_time_range: (least.unwrap_or(i64::MAX), greatest.unwrap_or(i64::MIN)),
            checks: None,
        };
        Run { rows, chunks, origins: Some(self.origins), segment: None, ice: None }
    }
}
