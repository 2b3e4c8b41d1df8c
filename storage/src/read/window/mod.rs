//! Aggregates over windows of events, for every row of a request, in one table: exact, at any bounds.
//!
//! The events of an entity lie together, the newest first, so that all windows are one walk over them ([`events`]); their cells come
//! as arrays, a block at a time ([`inputs`]), are held against the conditions ([`conditions`]), taken up ([`reckon`]), and answered
//! ([`answers`]). What this means is `docs/aggregates.md`. Nothing is stored: what is declared is answered at once. A block takes
//! [`BLOCK_BYTES`], however many events an entity has; what is kept from one block to the next is what answers list.

mod answers;
mod conditions;
mod events;
mod inputs;
mod reckon;

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, TimestampMicrosecondArray, new_null_array};
use arrow_schema::DataType;
use arrow_select::interleave::interleave;

use self::answers::{Answers, too_large};
pub(crate) use self::events::BLOCK_BYTES;
use self::events::{Entity, Events, block_events, within};
use self::inputs::Inputs;
use self::reckon::{Block, Reckoned};
use super::bounds::{Bounds, RowBounds};
use super::estimate;
use super::fill::Filling;
use super::newest::Knowledge;
use super::plain::FeatureAnswer;
use super::plan::{AskedOutput, AskedTable};
use super::resolved::Item;
use super::statuses::{Status, status_array};
use super::walk::{BoundedRun, bound_runs, chunk_starts};
use crate::error::{Error, Result};
use crate::model::aggregate::{Aggregate, Input, Reach, feature_of, input_type};
use crate::model::catalog::Table;
use crate::model::types::stored_type;
use crate::model::value::time_text;
use crate::parallel;
use crate::time::Micros;
use crate::view::BucketView;

/// The windows of one row of a request.
#[derive(Debug, Clone, Copy)]
struct Moment {
    /// What windows are measured back from.
    anchor: Micros,
    /// Whether all that is visible counts that is not too old, be it after the anchor.
    open: bool,
}

impl Moment {
    fn of(bounds: &Bounds, place: u32) -> Self {
        let row = place as usize;
        let open = bounds.as_of == RowBounds::Latest;
        let anchor = match (&bounds.as_of, &bounds.known_at) {
            (RowBounds::Latest, RowBounds::Latest) => bounds.clock,
            (RowBounds::Latest, known_at) => known_at.of(row),
            (as_of, _) => as_of.of(row),
        };
        Self { anchor, open }
    }

    /// The window of `asked`: after the first, unless it reaches back without end, up to the second.
    fn window(self, asked: &AskedOutput) -> (Option<Micros>, Micros) {
        let end = self.anchor.saturating_sub(asked.aggregate.delay);
        let from = match asked.reach {
            Reach::Micros(micros) => Some(end.saturating_sub(micros)),
            Reach::Lifetime => None,
        };
        (from, if self.open && asked.aggregate.delay == 0 { Micros::MAX } else { end })
    }

    /// The event time that all windows of `asked` lie after, if none reaches back without end.
    fn end(self, asked: &[AskedOutput]) -> Option<Micros> {
        let from = asked.iter().map(|asked| self.window(asked).0);
        from.reduce(|one, other| Some(one?.min(other?))).flatten()
    }
}

/// What is known of the answers of one output: by row of the request.
#[derive(Debug)]
struct Column {
    /// The first has one row, what an empty window answers; the second a null, which stands for what is not known any more.
    arrays: Vec<ArrayRef>,
    cells: Vec<(usize, usize)>,
    statuses: Vec<u8>,
    event_times: Vec<Option<Micros>>,
}

impl Column {
    fn new(asked: &AskedOutput, rows: usize) -> Self {
        Self {
            arrays: vec![Arc::clone(&asked.empty), new_null_array(&asked.data_type, 1)],
            cells: vec![(0, 0); rows],
            statuses: vec![Status::Never as u8; rows],
            event_times: vec![None; rows],
        }
    }

    /// The answers of these rows are not known any more.
    fn forget(&mut self, rows: impl Iterator<Item = usize>) {
        for row in rows {
            (self.cells[row], self.statuses[row], self.event_times[row]) = ((1, 0), Status::Forgotten as u8, None);
        }
    }

    fn finish(self, (status, event_times): (bool, bool)) -> Result<FeatureAnswer> {
        let arrays: Vec<&dyn Array> = self.arrays.iter().map(AsRef::as_ref).collect();
        let values = interleave(&arrays, &self.cells)?;
        let statuses = status.then(|| status_array(self.statuses.into_iter()));
        let times = event_times
            .then(|| Arc::new(TimestampMicrosecondArray::from(self.event_times).with_timezone("UTC")) as ArrayRef);
        Ok([Some(values), statuses, times])
    }
}

/// What a bucket answers of an output.
#[derive(Debug, Default)]
struct BucketAnswers {
    arrays: Vec<ArrayRef>,
    answers: Vec<Answered>,
}

/// The answer of one row of the request.
#[derive(Debug)]
struct Answered {
    place: u32,
    /// Where the value is: which array, and the row there.
    value: (usize, usize),
    status: Status,
    event_time: Option<Micros>,
}

/// The answers of all outputs of `asked` for `items`: some buckets, each with its items. In the order of the outputs.
///
/// # Errors
/// `OutOfRange` where a sum is larger than its type; `Away` where cells are in the bucket and nobody may wait for it.
pub(crate) fn answer<'i>(
    asked: &AskedTable,
    items: impl Iterator<Item = (usize, &'i [Item])>,
    how: &Filling<'_>,
    forgotten: &[usize],
    with: (bool, bool),
) -> Result<Vec<FeatureAnswer>> {
    let kept = how.view.horizon.rows;
    let inputs = Inputs::of(asked.outputs.iter().map(|output| &*output.aggregate));
    let work: Vec<_> = items.filter(|(_, items)| !items.is_empty()).collect();
    let found = parallel::map(work, how.threads, |(bucket, items)| {
        Reading::new(asked, &inputs, how).read(&how.view.buckets[bucket], items)
    })?;
    let mut columns: Vec<Column> = asked.outputs.iter().map(|output| Column::new(output, how.rows)).collect();
    for bucket in found {
        for (column, BucketAnswers { arrays, answers }) in columns.iter_mut().zip(bucket) {
            let before = column.arrays.len();
            column.arrays.extend(arrays);
            for Answered { place, value: (array, row), status, event_time } in answers {
                let place = place as usize;
                (column.statuses[place], column.event_times[place]) = (status as u8, event_time);
                if matches!(status, Status::Value | Status::Null) {
                    column.cells[place] = (before + array, row);
                }
            }
        }
    }
    for (column, output) in columns.iter_mut().zip(&asked.outputs) {
        column.forget(forgotten.iter().copied());
        let reaches = |row: &usize| Moment::of(how.bounds, *row as u32).window(output).0.is_none_or(|from| from < kept);
        let mut beyond = (0..how.rows).filter(|_| kept > Micros::MIN).filter(reaches);
        match with {
            (true, _) => column.forget(beyond),
            (false, _) => beyond.next().map_or(Ok(()), |row| Err(beyond_retention(row, output, kept)))?,
        }
    }
    columns.into_iter().map(|column| column.finish(with)).collect()
}

/// The reading of the items of one bucket.
struct Reading<'a> {
    asked: &'a AskedTable,
    inputs: &'a Inputs,
    how: &'a Filling<'a>,
    /// How many events are looked at together.
    block_events: usize,
    /// Of each output what a window without an event came to.
    nothing: Vec<Reckoned>,
    /// Whether a window may end before the moment that is asked for.
    delays: bool,
    /// By output.
    answers: Vec<BucketAnswers>,
}

/// A row of the request whose windows are being reckoned, and its events in the block.
struct Begun {
    place: u32,
    moment: Moment,
    reckoned: Vec<Reckoned>,
    /// Its events that are new in the block.
    events: Range<usize>,
    ended: bool,
    deletes: Vec<Micros>,
}

impl<'a> Reading<'a> {
    fn new(asked: &'a AskedTable, inputs: &'a Inputs, how: &'a Filling<'a>) -> Self {
        let answers = asked.outputs.iter().map(|_| BucketAnswers::default()).collect();
        let stored: Vec<(u32, DataType)> =
            inputs.features.iter().map(|id| (*id, feature_of(&asked.table, *id).stored_type())).collect();
        let cell_bytes = estimate::row_bytes(stored.iter().map(|(id, stored)| (*id, stored)), how.view);
        let block_events = block_events(cell_bytes, stored.len());
        let nothing = asked.outputs.iter().map(|output| {
            let of = output.aggregate.of.first();
            let stored = of.map(|input| stored_type(&input_type(&asked.table, *input)));
            Reckoned::new(&output.aggregate, stored.as_ref())
        });
        let delays = asked.outputs.iter().any(|output| output.aggregate.delay > 0);
        Self { asked, inputs, how, block_events, nothing: nothing.collect(), delays, answers }
    }

    fn read(mut self, view: &BucketView, items: &[Item]) -> Result<Vec<BucketAnswers>> {
        let bounds = self.how.bounds;
        let known_at = bounds.known_at.constant();
        let runs = bound_runs(view.runs(), known_at.unwrap_or(Micros::MAX), bounds.position);
        let knowledge = Knowledge::new(&runs, bounds.position, known_at.is_some(), items.len());
        let (chunk_starts, _) = chunk_starts(&runs);
        let mut items = items.to_vec();
        items.sort_unstable_by_key(|item| (item.ordinal, item.place));
        let mut events = Events::new(&self.inputs.features, self.inputs.row_ids());
        let mut begun: Vec<Begun> = Vec::new();
        for Item { place, ordinal } in items {
            let (point, moment) = (bounds.of(place), Moment::of(bounds, place));
            let seen = knowledge.seen_from(&runs, &point);
            let mut entity = Entity::new(&seen, ordinal, &point, moment.end(&self.asked.outputs))?;
            begun.push(Begun {
                place,
                moment,
                reckoned: self.nothing.clone(),
                events: events.len()..events.len(),
                ended: false,
                deletes: Vec::new(),
            });
            loop {
                let more = entity.next(&chunk_starts, &mut events, self.block_events)?;
                if self.delays && !entity.deletes.is_empty() {
                    entity.seek_deletes()?;
                }
                let last = begun.last_mut().expect("it was begun");
                last.events.end = events.len();
                (last.ended, last.deletes) = (!more, std::mem::take(&mut entity.deletes));
                if events.len() >= self.block_events {
                    self.end_block(&runs, &mut events, &mut begun)?;
                }
                if !more {
                    break;
                }
            }
        }
        self.end_block(&runs, &mut events, &mut begun)?;
        Ok(self.answers)
    }

    /// Takes up the events of a block, answers the rows that ended in it, and leaves of the block what the last row needs that goes
    /// on.
    fn end_block(&mut self, runs: &[BoundedRun<'_>], events: &mut Events<'_>, begun: &mut Vec<Begun>) -> Result<()> {
        let table = &self.asked.table;
        let cells = self.inputs.gather(table, runs, events, self.how.patience)?;
        let mut block: Option<(*const Aggregate, Block<'_>)> = None;
        for (slot, output) in self.asked.outputs.iter().enumerate() {
            let aggregate = &*output.aggregate;
            // The windows of an aggregate mostly follow each other.
            let of = match block.take() {
                Some((known, block)) if std::ptr::eq(known, aggregate) => block,
                _ => Block::new(aggregate, table, self.inputs, &cells)?,
            };
            for row in begun.iter_mut() {
                let (from, to) = row.moment.window(output);
                let new = &events.event_times[row.events.clone()];
                let range = within(new, from, to);
                let range = row.events.start + range.start..row.events.start + range.end;
                of.take_up(&mut row.reckoned[slot], range, &events.event_times);
            }
            block = Some((aggregate, of));
        }
        self.answer_ended(&cells, begun)?;
        begun.retain(|row| !row.ended);
        assert!(begun.len() <= 1, "only the last row goes on in the next block");
        let mut kept: Vec<u32> = begun.iter().flat_map(|row| &row.reckoned).flat_map(Reckoned::places).collect();
        kept.sort_unstable();
        kept.dedup();
        events.keep(&kept);
        for row in begun {
            row.events = kept.len()..kept.len();
            row.reckoned.iter_mut().for_each(|reckoned| reckoned.moved(&kept));
        }
        Ok(())
    }

    /// Answers the rows that ended.
    fn answer_ended(&mut self, cells: &[ArrayRef], begun: &mut [Begun]) -> Result<()> {
        for (slot, output) in self.asked.outputs.iter().enumerate() {
            let aggregate = &*output.aggregate;
            let mut answers = Answers::new(aggregate, &self.nothing[slot]);
            let scale = scale_of(&self.asked.table, aggregate);
            let BucketAnswers { arrays, answers: all } = &mut self.answers[slot];
            let first = all.len();
            for row in begun.iter_mut().filter(|row| row.ended) {
                let reckoned = std::mem::replace(&mut row.reckoned[slot], self.nothing[slot].clone());
                let (from, to) = row.moment.window(output);
                let deleted = !within(&row.deletes, from, to).is_empty();
                let status = match (reckoned.newest, deleted) {
                    (Some(_), _) => Status::Value,
                    (None, true) => Status::Deleted,
                    (None, false) => Status::Never,
                };
                let value = (arrays.len(), all.len() - first);
                all.push(Answered { place: row.place, value, status, event_time: reckoned.newest });
                answers.end(reckoned, &aggregate.function, scale);
            }
            let of: Vec<ArrayRef> =
                aggregate.of.iter().map(|input| Arc::clone(&cells[self.inputs.place(*input)])).collect();
            let array = match answers.finish(aggregate, &output.data_type, &of)? {
                Ok(array) => array,
                Err(place) => return Err(too_large(all[first + place].place, &output.name, &output.data_type)),
            };
            for answered in &mut all[first..] {
                if answered.status == Status::Value && array.is_null(answered.value.1) {
                    answered.status = Status::Null;
                }
            }
            arrays.push(array);
        }
        Ok(())
    }
}

/// The error for a window that reaches below what was `kept`, where no status can say so.
fn beyond_retention(row: usize, output: &AskedOutput, kept: Micros) -> Error {
    Error::out_of_range(format!(
        "row {row}: the window of {} reaches back before {}, where retention forgot rows; ask with \"status\":true to get such \
         rows with status \"forgotten\"",
        output.name,
        time_text(kept)
    ))
}

/// The scale of the decimals that `aggregate` reads, if it reads decimals.
fn scale_of(table: &Table, aggregate: &Aggregate) -> i8 {
    match aggregate.of.first() {
        Some(Input::Feature(feature)) => match feature_of(table, *feature).stored_type() {
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => scale,
            _ => 0,
        },
        _ => 0,
    }
}
