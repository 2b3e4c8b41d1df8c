//! Memtables: the rows of one bucket that are not yet in a segment, as a few sorted runs.
//!
//! A batch arrives as one run per bucket. Runs of like size are merged as they pile up (the logarithmic method of
//! Bentley and Saxe, 1980), so a read probes few runs and a write moves a row few times. Merging moves what `Rows`
//! holds and leaves the cells where they arrived, unless the pieces are tiny: those are copied together, so that
//! one-row batches do not cost an array per cell.
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

/// Sorts the rows of `batch` that fall into one bucket into a run.
///
/// `rows` are row numbers of the batch in the order sent, `ordinals` the entities of all its rows; `chunk` holds the
/// batch's cells.
pub fn run_of_batch(batch: &WriteBatch, chunk: &Arc<Chunk>, steps: &BatchSteps, rows: &[u32], ordinals: &[u32]) -> Run {
    let ids = batch.row_ids.as_ref();
    let mut order: Vec<(u32, u64, u32)> =
        rows.iter().map(|&row| (ordinals[row as usize], newest_first(batch.event_times[row as usize]), row)).collect();
    let id = |row: u32| ids.map_or(&[][..], |ids| ids.value(row as usize));
    // Later rows of a batch are newer, so among equals the higher row comes first.
    order.sort_unstable_by(|a, b| {
        (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| id(b.2).cmp(id(a.2))).then_with(|| b.2.cmp(&a.2))
    });
    let mut build = RunBuilder::new(order.len(), ids.is_some(), batch.kind != RowKind::Write);
    for &(ordinal, _, row) in &order {
        let at = build.event_times.len() as u32;
        build.ordinals.push(ordinal);
        build.event_times.push(batch.event_times[row as usize]);
        build.row_steps.push(steps.of_row(row));
        build.places.push(batch.places[row as usize]);
        if let Some(kinds) = &mut build.kinds {
            kinds.push(batch.kind as u8);
        }
        if let Some(row_ids) = &mut build.row_ids {
            row_ids.append_value(id(row));
        }
        if batch.kind == RowKind::RetractCells {
            build.retracted.push((at, batch.retracted.clone()));
        }
        build.origins.push(Origin { chunk: 0, row });
    }
    build.finish(steps.steps.clone(), vec![Arc::clone(chunk)])
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
            places: ScalarBuffer::from(self.places),
            kinds: self.kinds.map(ScalarBuffer::from),
            row_ids: self.row_ids.map(|mut ids| ids.finish().into()),
            retracted: self.retracted,
            lead_max: lead_max.unwrap_or(i64::MIN),
            event_time_range: (least.unwrap_or(i64::MAX), greatest.unwrap_or(i64::MIN)),
            checks: None,
        };
        Run { rows, chunks, origins: Some(self.origins), segment: None }
    }
}
