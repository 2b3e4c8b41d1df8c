//! Which row wins for every row of a request, in one bucket of one table: places, not yet cells.

use std::collections::HashMap;
use std::sync::Arc;

use super::bounds::RowBounds;
use super::walk::{BoundedRun, Newest, PointBounds, Standing, Walked, Winner, bound_runs, newest, walk};
use crate::column::Column;
use crate::error::Result;
use crate::run::Chunk;
use crate::time::{Micros, Sequence};
use crate::view::BucketView;

/// One row of a request: where its answer goes and which entity it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) place: u32,
    pub(crate) ordinal: u32,
}

/// A row that wins for all features at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Picked {
    pub(crate) place: u32,
    /// Index into [`Resolved::sources`].
    pub(crate) source: u32,
    /// Row of that chunk.
    pub(crate) row: u32,
    pub(crate) event_time: Micros,
}

/// The winners of one bucket for some rows of a request.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// The chunks that winners are in.
    pub(crate) sources: Vec<Arc<Chunk>>,
    /// Rows whose winner carries every feature.
    pub(crate) picked: Vec<Picked>,
    /// Rows whose features were decided one by one.
    pub(crate) walked: Vec<WalkedItem>,
}

/// A row whose features were decided one by one.
#[derive(Debug)]
pub(crate) struct WalkedItem {
    pub(crate) place: u32,
    /// The winner of each feature: source, row of the chunk, event time.
    pub(crate) winners: Vec<Option<(u32, u32, Micros)>>,
    pub(crate) deleted: bool,
}

/// The bounds of a batch of rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchBounds<'a> {
    pub(crate) as_of: &'a RowBounds,
    pub(crate) known_at: &'a RowBounds,
    pub(crate) position: Sequence,
}

impl BatchBounds<'_> {
    fn of(&self, place: u32) -> PointBounds {
        let place = place as usize;
        PointBounds { as_of: self.as_of.of(place), known_at: self.known_at.of(place), position: self.position }
    }
}

/// Rows from which sorting a request into storage order pays.
const SORT_ROWS_MIN: usize = 64;

/// Resolves `items` against `view`.
pub(crate) fn resolve(
    view: &BucketView,
    mut items: Vec<Item>,
    bounds: &BatchBounds<'_>,
    features: &[u32],
) -> Result<Resolved> {
    let known_at = bounds.known_at.constant();
    let mut runs = bound_runs(view.runs(), known_at.unwrap_or(i64::MAX), bounds.position);
    if items.len() >= SORT_ROWS_MIN {
        items.sort_unstable_by_key(|item| (item.ordinal, std::cmp::Reverse(bounds.as_of.of(item.place as usize))));
    }
    let mut sources = Sources::default();
    let mut resolved = Resolved::default();
    resolved.picked.reserve(items.len());
    for item in items {
        let point = bounds.of(item.place);
        if known_at.is_none() {
            for bounded in &mut runs {
                bounded.step_end = bounded.run.rows.steps.end(point.known_at, point.position);
            }
        }
        match newest(&runs, item.ordinal, &point)? {
            Newest::None => {}
            Newest::Row { run, row } if sources.is_complete(&runs, run, row, features) => {
                let (source, chunk_row, event_time) = sources.locate(&runs, run, row);
                resolved.picked.push(Picked { place: item.place, source, row: chunk_row, event_time });
            }
            Newest::Row { .. } | Newest::Walk => {
                let walked = walk(&runs, item.ordinal, &point, features, Standing::Ignored)?;
                resolved.walked.push(sources.walked_item(item.place, &walked, &runs));
            }
        }
    }
    resolved.sources = sources.chunks;
    Ok(resolved)
}

/// The chunks in which winners were found, numbered as they are met.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) chunks: Vec<Arc<Chunk>>,
    /// (run, chunk of the run) → number.
    numbers: HashMap<(u32, u32), u32>,
    /// Whether a write row of the chunk has a cell for every feature that any chunk has.
    complete: Vec<Option<bool>>,
    /// The last hit of `numbers`: neighbours in storage order are mostly in one chunk.
    last: Option<((u32, u32), u32)>,
}

impl Sources {
    fn number(&mut self, runs: &[BoundedRun<'_>], run: u32, chunk: u32) -> u32 {
        if let Some((key, number)) = self.last {
            if key == (run, chunk) {
                return number;
            }
        }
        let number = *self.numbers.entry((run, chunk)).or_insert_with(|| {
            self.chunks.push(Arc::clone(&runs[run as usize].run.chunks[chunk as usize]));
            self.complete.push(None);
            self.chunks.len() as u32 - 1
        });
        self.last = Some(((run, chunk), number));
        number
    }

    fn is_complete(&mut self, runs: &[BoundedRun<'_>], run: u32, row: u32, features: &[u32]) -> bool {
        let number = self.number(runs, run, runs[run as usize].run.origin(row).chunk) as usize;
        match self.complete[number] {
            Some(complete) => complete,
            None => {
                let chunk = &self.chunks[number];
                let dense = |feature: u32| chunk.column(feature).map(Column::is_dense);
                // A feature that no chunk has cannot win anywhere, so it needs no walk.
                let complete = features
                    .iter()
                    .all(|&feature| dense(feature).unwrap_or_else(|| !runs.iter().any(|run| run.run.has_feature(feature))));
                self.complete[number] = Some(complete);
                complete
            }
        }
    }

    /// Source, row of the chunk and event time of `row` of `run`.
    pub(crate) fn locate(&mut self, runs: &[BoundedRun<'_>], run: u32, row: u32) -> (u32, u32, Micros) {
        let in_run = runs[run as usize].run;
        let origin = in_run.origin(row);
        (self.number(runs, run, origin.chunk), origin.row, in_run.rows.event_times[row as usize])
    }

    pub(crate) fn walked_item(&mut self, place: u32, walked: &Walked, runs: &[BoundedRun<'_>]) -> WalkedItem {
        let mut locate = |winner: &Option<Winner>| winner.map(|winner| self.locate(runs, winner.run, winner.row));
        WalkedItem { place, winners: walked.winners.iter().map(&mut locate).collect(), deleted: walked.deleted }
    }
}
