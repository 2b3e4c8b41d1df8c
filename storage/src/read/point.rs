//! Lookups and joins: the winners of every feature for every row of a request. Both doors are this one function.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt32Array};
use arrow_buffer::NullBuffer;
use arrow_select::take::take;

use super::bounds::{Bounds, RowBounds};
use super::fill::{Filling, Patience, fill};
use super::find::find;
use super::plain::{Answer, FeatureAnswer, PlainAnswer, TableAnswer};
use super::plan::{AskedTable, KeyedTables, Plan};
use super::resolved::Item;
use super::snapshot::Snapshot;
use super::standing::stand_at;
use super::window;
use crate::budget::Share;
use crate::error::{Error, Result};
use crate::model::cast::key_values;
use crate::model::key;
use crate::model::value::time_text;
use crate::parallel;
use crate::time::Sequence;
use crate::view::{Horizon, TableView};

/// Answers `plan` for the rows of `batch` at `snapshot`: features only, rows in the order of the request, in `memory`
/// that grows where values are longer than was thought.
pub(crate) fn read(
    plan: &Plan,
    snapshot: &Snapshot,
    batch: &RecordBatch,
    (threads, patience): (usize, Patience),
    memory: &mut Share,
) -> Result<Answer> {
    if batch.schema_ref().fields() != plan.request.fields() {
        return Err(Error::invalid("a batch of the request has another schema than the stream began with"));
    }
    let bounds = bounds_of(plan, snapshot, batch)?;
    let threads = if batch.num_rows() < PARALLEL_ROWS_MIN { 1 } else { threads };
    let mut answers: Vec<(&AskedTable, TableAnswer, Vec<FeatureAnswer>)> = Vec::new();
    let mut bytes = 0;
    let mut stand = None;
    for keyed in &plan.keyed {
        let items = keyed_items(plan, keyed, batch, threads)?;
        let of_buckets = || items.iter().map(Vec::as_slice).enumerate();
        for asked in &keyed.tables {
            let horizon = &snapshot.view(&asked.table)?.horizon;
            let forgotten = forgotten_rows(plan, asked, horizon, &bounds, batch.num_rows())?;
            let how = Filling {
                view: snapshot.view(&asked.table)?,
                bounds: &bounds,
                rows: batch.num_rows(),
                event_times: plan.event_times,
                threads,
                patience,
                slabs: &snapshot.resources.slabs,
            };
            let with = (plan.status, plan.event_times);
            let answer = if asked.features.is_empty() {
                TableAnswer::Columns(Vec::new())
            } else {
                let table = fill(asked, of_buckets(), &how)?;
                bytes += table.bytes();
                memory.grow_to(bytes)?;
                table.finish(&forgotten, &bounds, with, threads)?
            };
            let mut outputs = Vec::new();
            if !asked.outputs.is_empty() {
                memory.grow_to(bytes + window::BLOCK_BYTES * threads as u64)?;
                outputs = window::answer(asked, of_buckets(), &how, &forgotten, with)?;
                let columns = outputs.iter().flatten().flatten();
                bytes += columns.map(|column| column.get_array_memory_size() as u64).sum::<u64>();
                memory.grow_to(bytes)?;
            }
            answers.push((asked, answer, outputs));
            if plan.standing == Some(asked.table.id) {
                stand = Some(standing_rows(how.view, &items, &bounds, batch.num_rows())?);
            }
        }
    }
    assemble(plan, answers, stand, batch.num_rows())
}

/// The event times of the newest standing rows, null where none stands.
fn standing_rows(view: &TableView, items: &[Vec<Item>], bounds: &Bounds, rows: usize) -> Result<ArrayRef> {
    let mut stand = vec![None; rows];
    for (bucket, items) in items.iter().enumerate().filter(|(_, items)| !items.is_empty()) {
        stand_at(&view.buckets[bucket], items, bounds, None, &mut stand)?;
    }
    Ok(Arc::new(TimestampMicrosecondArray::from(stand).with_timezone("UTC")))
}

/// The answers of all tables as one.
fn assemble(
    plan: &Plan,
    answers: Vec<(&AskedTable, TableAnswer, Vec<FeatureAnswer>)>,
    stand: Option<ArrayRef>,
    rows: usize,
) -> Result<Answer> {
    let schema = Arc::clone(&plan.output);
    if plan.in_order && answers.iter().all(|(_, answer, _)| matches!(answer, TableAnswer::Plain(_))) {
        let slabs = answers.into_iter().filter_map(|(_, answer, _)| match answer {
            TableAnswer::Plain(slab) => Some(slab),
            TableAnswer::Columns(_) => None,
        });
        return Ok(Answer::Plain(PlainAnswer { schema, rows, slabs: slabs.collect() }));
    }
    let mut finished: Vec<Option<FeatureAnswer>> = vec![None; plan.features];
    for (asked, answer, outputs) in answers {
        for (feature, columns) in asked.features.iter().zip(answer.into_columns(&asked.features, rows)?) {
            finished[feature.output] = Some(columns);
        }
        for (output, columns) in asked.outputs.iter().zip(outputs) {
            finished[output.output] = Some(columns);
        }
    }
    let columns = finished.into_iter().flatten().flatten().flatten().chain(stand).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(Answer::Columns(RecordBatch::try_new_with_options(schema, columns, &options)?))
}

/// Rows from which a read is spread over threads.
const PARALLEL_ROWS_MIN: usize = 8192;

fn bounds_of(plan: &Plan, snapshot: &Snapshot, batch: &RecordBatch) -> Result<Bounds> {
    let as_of = plan.as_of.of_rows(batch, "as_of")?;
    let known_at = plan.known_at.of_rows(batch, "known_at")?;
    if let RowBounds::PerRow { .. } = known_at {
        refuse_unknown(&known_at, snapshot, batch.num_rows())?;
    }
    Ok(Bounds { as_of, known_at, position: snapshot.sequence(), clock: snapshot.clock() })
}

/// Refuses bounds after what is final at the moment of `snapshot`.
fn refuse_unknown(known_at: &RowBounds, snapshot: &Snapshot, rows: usize) -> Result<()> {
    let greatest = (0..rows).map(|row| (known_at.of(row), row)).max();
    match greatest.filter(|(time, _)| *time > snapshot.known_at_max()) {
        None => Ok(()),
        Some((time, row)) => Err(Error::invalid(format!(
            "row {row}: \"known_at\" is {}, after the moment that is read at, {}: what will be known cannot be asked; give \
             a time that has passed, or ask again then",
            time_text(time),
            time_text(snapshot.known_at_max())
        ))),
    }
}

/// The keys of a request's rows.
struct RequestKeys {
    /// The key columns, in the types of the entity's key.
    columns: Vec<ArrayRef>,
    /// The row of each key, where some rows have none.
    rows: Option<Vec<u32>>,
}

/// The keys of the rows of `batch`; without those that are null, if such rows are kept.
fn request_keys(plan: &Plan, keyed: &KeyedTables, batch: &RecordBatch) -> Result<RequestKeys> {
    let mut given: Vec<ArrayRef> = keyed.columns.iter().map(|&index| Arc::clone(batch.column(index))).collect();
    let mut rows = None;
    if plan.keep_null_keys {
        let nulls = given.iter().map(|column| column.logical_nulls());
        let nulls = nulls.fold(None, |all, nulls| NullBuffer::union(all.as_ref(), nulls.as_ref()));
        if let Some(present) = nulls.filter(|nulls| nulls.null_count() > 0) {
            let with_key: Vec<u32> = present.valid_indices().map(|row| row as u32).collect();
            let indices = UInt32Array::from(with_key.clone());
            given = given.iter().map(|column| take(column, &indices, None)).collect::<Result<_, _>>()?;
            rows = Some(with_key);
        }
    }
    let mut columns = Vec::with_capacity(given.len());
    for ((key, given), &index) in keyed.entity.key.iter().zip(&given).zip(&keyed.columns) {
        let name = batch.schema_ref().field(index).name();
        let values = key_values(given, &keyed.entity.name, key, &|| format!("column {name:?}"));
        columns.push(values.map_err(|error| error.of_column(name))?);
    }
    Ok(RequestKeys { columns, rows })
}

/// The newest commit, at or after `first`, that erased an entity which `batch` asks for.
pub(crate) fn erased_from(plan: &Plan, first: Sequence, batch: &RecordBatch) -> Result<Option<Sequence>> {
    let mut newest = None;
    for keyed in &plan.keyed {
        let erasures = keyed.state.erasures.load();
        if erasures.is_empty() {
            continue;
        }
        let keys = key::encode(&keyed.entity.key, &request_keys(plan, keyed, batch)?.columns)?;
        let erased = (0..keys.len()).filter_map(|row| erasures.erased_at(keys.get(row)));
        newest = newest.max(erased.filter(|&sequence| sequence >= first).max());
    }
    Ok(newest)
}

/// The rows of `batch` whose entity is known, per bucket.
fn keyed_items(plan: &Plan, keyed: &KeyedTables, batch: &RecordBatch, threads: usize) -> Result<Vec<Vec<Item>>> {
    let RequestKeys { columns, rows: with_key } = request_keys(plan, keyed, batch)?;
    let count = with_key.as_ref().map_or(batch.num_rows(), Vec::len);
    let share = count.div_ceil(threads).max(1);
    let starts: Vec<usize> = (0..count).step_by(share).collect();
    let found = parallel::map(starts, threads, |start| {
        let rows = share.min(count - start);
        let columns: Vec<ArrayRef> = columns.iter().map(|column| column.slice(start, rows)).collect();
        find(&keyed.entity, &keyed.state, &columns, start as u32)
    })?;
    let mut parts = found.into_iter();
    let mut items = parts.next().unwrap_or_else(|| vec![Vec::new(); keyed.entity.buckets as usize]);
    for part in parts {
        items.iter_mut().zip(part).for_each(|(items, more)| items.extend(more));
    }
    if let Some(with_key) = with_key {
        items.iter_mut().flatten().for_each(|item| item.place = with_key[item.place as usize]);
    }
    Ok(items)
}

/// The rows whose bounds lie before the horizon: an error unless statuses were asked for and bounds are per row.
fn forgotten_rows(
    plan: &Plan,
    asked: &AskedTable,
    horizon: &Horizon,
    bounds: &Bounds,
    rows: usize,
) -> Result<Vec<usize>> {
    if *horizon == Horizon::default() {
        return Ok(Vec::new());
    }
    let mut forgotten = Vec::new();
    let sides = [("as_of", &bounds.as_of, horizon.events), ("known_at", &bounds.known_at, horizon.knowledge)];
    for (which, side, least) in sides {
        let table = &asked.table.name;
        match side {
            RowBounds::PerRow { .. } => forgotten.extend((0..rows).filter(|&row| side.of(row) < least)),
            same if same.of(0) < least => {
                return Err(Error::out_of_range(format!(
                    "\"{which}\" lies before the horizon of table {table}: its retention forgot what is asked; the least \
                     bound is {{\"us\":{least}}}"
                )));
            }
            _ => {}
        }
    }
    if let (Some(row), false) = (forgotten.first(), plan.status) {
        return Err(Error::out_of_range(format!(
            "row {row}: its bound lies before the horizon of table {}; ask with \"status\":true to get such rows as null \
             with status \"forgotten\"",
            asked.table.name
        )));
    }
    Ok(forgotten)
}
