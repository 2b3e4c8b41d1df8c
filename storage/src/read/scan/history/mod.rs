//! A scan of history: every row and tombstone, with everything needed to rebuild the table. Rows are met a batch at a
//! time, so that a scan holds no more than one batch, however large the runs are.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use roaring::RoaringBitmap;

use self::rows::{HistoryRow, batch, frozen};
use super::known::Seen;
use super::pinned::{Batches, Scan};
use crate::error::Result;
use crate::run::Run;
use crate::segment::directory::{EntityCursor, Hint};

mod cells;
mod rows;

/// The batches of `bucket`, of at most so many rows.
pub(super) fn read(scan: Arc<Scan>, bucket: u32, rows_max: usize) -> Batches {
    let runs: Vec<Arc<Run>> = scan.view.buckets[bucket as usize].runs().cloned().collect();
    Box::new(runs.into_iter().flat_map(move |run| read_run(Arc::clone(&scan), bucket, run, rows_max)))
}

/// Gives `each` the columns of all rows of `run` as they are frozen, at most `rows_max` rows at a time. False if not all rows are
/// seen, or an entity was erased: then what it was given is worth nothing.
pub(super) fn freeze(
    scan: &Arc<Scan>,
    bucket: u32,
    run: &Arc<Run>,
    rows_max: usize,
    mut each: impl FnMut(Vec<ArrayRef>) -> Result<()>,
) -> Result<bool> {
    let mut rows = HistoryRows::new(Arc::clone(scan), bucket, Arc::clone(run), rows_max);
    let mut left = u64::from(run.rows.len());
    loop {
        let next = rows.next_rows()?;
        left -= next.len() as u64;
        if next.is_empty() {
            return Ok(left == 0);
        }
        match frozen(scan, bucket, run, next)? {
            Some(columns) => each(columns)?,
            None => return Ok(false),
        }
    }
}

fn read_run(scan: Arc<Scan>, bucket: u32, run: Arc<Run>, rows_max: usize) -> Batches {
    let mut rows = HistoryRows::new(scan, bucket, run, rows_max);
    Box::new(std::iter::from_fn(move || rows.next_batch().transpose()))
}

/// The rows of a run that a scan answers, met one batch at a time.
struct HistoryRows {
    scan: Arc<Scan>,
    bucket: u32,
    run: Arc<Run>,
    rows_max: usize,
    seen: Seen,
    erased: Arc<RoaringBitmap>,
    entities: Entities,
    /// An entity and those of its rows that are not yet looked at.
    begun: Option<(u32, Range<u32>)>,
}

/// The entities that are not yet begun.
enum Entities {
    /// All of the run; the flag says whether its directory is known to be whole.
    All(EntityCursor, bool),
    /// Those that were asked for.
    Chosen(std::vec::IntoIter<u32>, Hint),
}

impl HistoryRows {
    fn new(scan: Arc<Scan>, bucket: u32, run: Arc<Run>, rows_max: usize) -> Self {
        let seen = scan.seen(&run.rows);
        let erased = scan.state.erased(bucket);
        let entities = match &scan.chosen {
            Some(chosen) => Entities::Chosen(chosen[bucket as usize].clone().into_iter(), Hint::default()),
            None => Entities::All(EntityCursor::default(), false),
        };
        Self { scan, bucket, run, rows_max, seen, erased, entities, begun: None }
    }

    /// The next batch; none after the last row.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let rows = self.next_rows()?;
        if rows.is_empty() {
            return Ok(None);
        }
        batch(&self.scan, self.bucket, &self.run, rows).map(Some)
    }

    /// The rows of the next batch; empty after the last.
    fn next_rows(&mut self) -> Result<Vec<HistoryRow>> {
        let mut rows = Vec::new();
        while rows.len() < self.rows_max {
            if self.begun.is_none() {
                self.begun = self.next_entity()?;
            }
            let Some((ordinal, left)) = self.begun.take() else { break };
            let left = self.take_visible(ordinal, left, &mut rows);
            self.begun = (!left.is_empty()).then_some((ordinal, left));
        }
        Ok(rows)
    }

    /// The next entity and its rows, whose bytes are checked.
    fn next_entity(&mut self) -> Result<Option<(u32, Range<u32>)>> {
        let rows = &self.run.rows;
        loop {
            let (ordinal, range) = match &mut self.entities {
                Entities::All(cursor, whole) => {
                    if !std::mem::replace(whole, true) {
                        rows.entities()?;
                    }
                    let Some((ordinal, range)) = cursor.next(&rows.directory) else { return Ok(None) };
                    if let Some(checks) = &rows.checks {
                        checks.rows(range.clone())?;
                    }
                    (ordinal, range)
                }
                Entities::Chosen(ordinals, hint) => {
                    let Some(ordinal) = ordinals.next() else { return Ok(None) };
                    let Some(entity) = rows.entity_from(hint, ordinal)? else { continue };
                    (ordinal, rows.rows_of(entity)?)
                }
            };
            if !self.erased.contains(ordinal) {
                return Ok(Some((ordinal, range)));
            }
        }
    }

    /// Adds the visible rows of `range`, which belong to `ordinal`, until there are enough; what is left of it.
    fn take_visible(&self, ordinal: u32, mut range: Range<u32>, into: &mut Vec<HistoryRow>) -> Range<u32> {
        if self.seen.is_all {
            let taken = range.len().min(self.rows_max - into.len()) as u32;
            into.extend((range.start..range.start + taken).map(|row| HistoryRow { ordinal, row }));
            return range.start + taken..range.end;
        }
        let rows = &self.run.rows;
        let Seen { steps, event_times: (from, to), .. } = &self.seen;
        while into.len() < self.rows_max
            && let Some(row) = range.next()
        {
            let time = rows.event_times[row as usize];
            if steps.sees(&rows.steps, rows.row_steps[row as usize]) && (from..=to).contains(&&time) {
                into.push(HistoryRow { ordinal, row });
            }
        }
        range
    }
}
