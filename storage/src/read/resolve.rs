//! Which row wins for every row of a request, in one bucket of one table: places, not yet cells.

use std::collections::HashSet;
use std::sync::Arc;

use super::bounds::Bounds;
use super::from_pack::{self, Met};
use super::newest::{Knowledge, Newest, Question, newest};
use super::partial::newest_cells;
use super::resolved::{FeatureWinners, Item, Pick, Resolved, Source, Won};
use super::walk::{BoundedRun, Standing, Walked, Winner, bound_runs, chunk_starts, walk};
use crate::column::Column;
use crate::error::Result;
use crate::run::Chunk;
use crate::time::Micros;
use crate::view::BucketView;

/// What to resolve.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) features: &'a [u32],
    pub(crate) event_times: bool,
}

/// Rows from which sorting a request by entity pays.
const SORT_ROWS_MIN: usize = 64;

/// Resolves `items` against `view`.
pub(crate) fn resolve(
    view: &BucketView,
    mut items: Vec<Item>,
    bounds: &Bounds,
    wanted: Wanted<'_>,
) -> Result<Resolved> {
    let known_at = bounds.known_at.constant();
    let runs = bound_runs(view.runs(), known_at.unwrap_or(i64::MAX), bounds.position);
    let knowledge = Knowledge::new(&runs, bounds.position, known_at.is_some(), items.len());
    if items.len() >= SORT_ROWS_MIN {
        items = by_ordinal(items);
    }
    let mut sources = Sources::new(&runs);
    let mut decided: Vec<FeatureWinners> = Vec::new();
    // What is in the pack too is asked of it, if cells are away.
    let latest = view.serving(bounds).filter(|_| runs.iter().any(|bounded| bounded.run.ice.is_some()));
    let mut walked = HashSet::new();
    let all_partial = all_partial(&runs, wanted.features);
    for items in items.chunks(PIECE_ROWS) {
        let questions: Vec<Question> =
            items.iter().map(|item| Question { ordinal: item.ordinal, point: bounds.of(item.place) }).collect();
        let found = if all_partial { vec![Newest::Walk; items.len()] } else { newest(&runs, &knowledge, &questions)? };
        let mut left = Vec::new();
        for ((item, question), newest) in items.iter().zip(&questions).zip(found) {
            match newest {
                Newest::None => {}
                Newest::Row { run, row } if sources.is_complete(&runs, run, row, wanted.features) => {
                    sources.pick(&runs, item.place, (run, row), wanted.event_times);
                }
                Newest::Row { .. } | Newest::Walk => left.push((item.place, *question)),
            }
        }
        if !left.is_empty() {
            decided.resize(wanted.features.len(), FeatureWinners::default());
            let walks = decide(&runs, &knowledge, &left, wanted, &mut sources, &mut decided)?;
            if latest.is_some() {
                walked.extend(walks.into_iter().map(|question| left[question as usize].0));
            }
        }
    }
    let Sources { sources, runs: runs_of_sources, .. } = sources;
    let mut resolved = Resolved { sources, features: decided };
    if let Some(latest) = latest
        && resolved.sources.iter().any(|source| source.chunk.is_away())
    {
        let (pack, features) = (&latest.pack, wanted.features);
        let runs_of_sources = &runs_of_sources;
        let met = Met { pack, runs: &runs, runs_of_sources, items: &items, features, walked: &walked };
        from_pack::take(&met, &mut resolved)?;
    }
    Ok(resolved)
}

/// Whether no row of `runs` can have a cell for each of `features`, as far as this is cheap to say: then it is not worth
/// while to seek the newest row first.
fn all_partial(runs: &[BoundedRun<'_>], features: &[u32]) -> bool {
    let partial = |chunk: &Chunk, feature: u32| chunk.column(feature).is_some_and(|column| !column.is_dense());
    runs.iter().all(|run| match &run.run.chunks[..] {
        [chunk] => features.iter().any(|&feature| partial(chunk, feature)),
        _ => false,
    })
}

/// Decides every feature of the questions at these places by itself; which of them are of entities with tombstones.
fn decide(
    runs: &[BoundedRun<'_>],
    knowledge: &Knowledge,
    left: &[(u32, Question)],
    wanted: Wanted<'_>,
    sources: &mut Sources,
    decided: &mut [FeatureWinners],
) -> Result<Vec<u32>> {
    let (places, questions): (Vec<u32>, Vec<Question>) = left.iter().copied().unzip();
    let cells = newest_cells(runs, knowledge, &questions, wanted.features)?;
    for (decided, winners) in decided.iter_mut().zip(&cells.winners) {
        for (question, winner) in winners {
            sources.win(runs, decided, places[*question as usize], *winner, wanted.event_times);
        }
    }
    for question in &cells.walks {
        let (place, Question { ordinal, point }) = left[*question as usize];
        let seen = knowledge.seen_from(runs, &point);
        let walked = walk(&seen, ordinal, &point, wanted.features, Standing::Ignored)?;
        sources.note(&seen, place, &walked, decided, wanted.event_times);
    }
    Ok(cells.walks)
}

/// Rows whose questions are held at once.
const PIECE_ROWS: usize = 4096;

/// `items` in the order of their ordinals, so that each entity's rows are looked up once and all are met in storage
/// order. Counted, not compared, unless the ordinals lie far apart.
fn by_ordinal(mut items: Vec<Item>) -> Vec<Item> {
    let ordinals = || items.iter().map(|item| item.ordinal);
    let (Some(first), Some(last)) = (ordinals().min(), ordinals().max()) else { return items };
    let span = (last - first) as usize + 1;
    if span > items.len().saturating_mul(4) {
        items.sort_unstable_by_key(|item| u64::from(item.ordinal) << 32 | u64::from(item.place));
        return items;
    }
    let mut starts = vec![0u32; span + 1];
    ordinals().for_each(|ordinal| starts[(ordinal - first) as usize + 1] += 1);
    let mut before = 0;
    for start in &mut starts {
        before += *start;
        *start = before;
    }
    let mut sorted = vec![Item::default(); items.len()];
    for item in &items {
        let start = &mut starts[(item.ordinal - first) as usize];
        sorted[*start as usize] = *item;
        *start += 1;
    }
    sorted
}

fn event_time_of(runs: &[BoundedRun<'_>], run: u32, row: u32) -> Micros {
    runs[run as usize].run.rows.event_times[row as usize]
}

/// The chunks in which winners were found, numbered as they are met.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) sources: Vec<Source>,
    /// Where the chunks of each run start in `numbers`.
    starts: Vec<usize>,
    /// The number of each chunk of each run; [`UNNUMBERED`] before it is met.
    numbers: Vec<u32>,
    /// The run of each source.
    runs: Vec<u32>,
    /// Whether a write row of the chunk has a cell for every feature that any chunk has.
    complete: Vec<Option<bool>>,
}

/// A chunk without a number.
const UNNUMBERED: u32 = u32::MAX;

impl Sources {
    /// None of the chunks of `runs` yet.
    pub(crate) fn new(runs: &[BoundedRun<'_>]) -> Self {
        let (starts, chunks) = chunk_starts(runs);
        let numbers = vec![UNNUMBERED; chunks];
        Self { sources: Vec::new(), starts, numbers, runs: Vec::new(), complete: Vec::new() }
    }

    #[inline]
    fn number(&mut self, runs: &[BoundedRun<'_>], run: u32, chunk: u32) -> u32 {
        let number = &mut self.numbers[self.starts[run as usize] + chunk as usize];
        if *number == UNNUMBERED {
            *number = self.sources.len() as u32;
            let chunk = Arc::clone(&runs[run as usize].run.chunks[chunk as usize]);
            self.sources.push(Source { chunk, picks: Vec::new(), event_times: Vec::new() });
            self.runs.push(run);
            self.complete.push(None);
        }
        *number
    }

    fn is_complete(&mut self, runs: &[BoundedRun<'_>], run: u32, row: u32, features: &[u32]) -> bool {
        let number = self.number(runs, run, runs[run as usize].run.origin(row).chunk) as usize;
        match self.complete[number] {
            Some(complete) => complete,
            None => {
                let chunk = &self.sources[number].chunk;
                let dense = |feature: u32| chunk.column(feature).map(Column::is_dense);
                // A feature that no chunk has cannot win anywhere, so it needs no walk, unless a tombstone may say
                // that it is deleted rather than never written.
                let nowhere =
                    |feature: u32| runs.iter().all(|run| run.run.rows.kinds.is_none() && !run.run.has_feature(feature));
                let complete = features.iter().all(|&feature| dense(feature).unwrap_or_else(|| nowhere(feature)));
                self.complete[number] = Some(complete);
                complete
            }
        }
    }

    /// Source and row of the chunk of `row` of `run`.
    pub(crate) fn locate(&mut self, runs: &[BoundedRun<'_>], run: u32, row: u32) -> (u32, u32) {
        let origin = runs[run as usize].run.origin(row);
        (self.number(runs, run, origin.chunk), origin.row)
    }

    /// Notes that a row of a run wins for every feature at `place`.
    fn pick(&mut self, runs: &[BoundedRun<'_>], place: u32, (run, row): (u32, u32), event_time: bool) {
        let (source, row_of_chunk) = self.locate(runs, run, row);
        let source = &mut self.sources[source as usize];
        source.picks.push(Pick { place, row: row_of_chunk });
        if event_time {
            source.event_times.push(event_time_of(runs, run, row));
        }
    }

    /// Notes that the cell of `winner` wins for a feature at `place`.
    fn win(
        &mut self,
        runs: &[BoundedRun<'_>],
        decided: &mut FeatureWinners,
        place: u32,
        winner: Winner,
        event_time: bool,
    ) {
        let (source, row) = self.locate(runs, winner.run, winner.row);
        if decided.won.len() <= source as usize {
            decided.won.resize(source as usize + 1, Won::default());
        }
        let won = &mut decided.won[source as usize];
        won.picks.push(Pick { place, row });
        if event_time {
            won.event_times.push(event_time_of(runs, winner.run, winner.row));
        }
    }

    /// Notes what a walk decided at `place`, feature by feature.
    pub(crate) fn note(
        &mut self,
        runs: &[BoundedRun<'_>],
        place: u32,
        walked: &Walked,
        decided: &mut [FeatureWinners],
        event_time: bool,
    ) {
        for (decided, winner) in decided.iter_mut().zip(&walked.winners) {
            match winner {
                Some(winner) => self.win(runs, decided, place, *winner, event_time),
                None if walked.deleted => decided.deleted.push(place),
                None => {}
            }
        }
    }
}
