//! Lookups and joins: the winners of every feature for every row of a request. Both doors are this one function.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};

use super::answer::{AnswerColumn, Status};
use super::bounds::{RowBounds, row_bounds};
use super::plan::{KeyGroup, Plan, TablePart};
use super::resolved::{BatchBounds, Item, Resolved, resolve};
use super::snapshot::Snapshot;
use super::{latest, parallel};
use crate::column::fixed_width;
use crate::dictionary::UNKNOWN;
use crate::error::{Error, Result};
use crate::model::key::{self, Keys};
use crate::model::cast::door_cast;
use crate::time::Sequence;
use crate::view::{Horizon, TableView};

/// The bounds of a batch, and the moment its ages are measured from.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) as_of: RowBounds,
    pub(crate) known_at: RowBounds,
    base: RowBounds,
}

/// Answers `plan` for the rows of `batch` at `snapshot`: features only, rows in the order of the request.
pub(crate) fn read(plan: &Plan, snapshot: &Snapshot, batch: &RecordBatch, threads: usize) -> Result<RecordBatch> {
    if batch.schema_ref().fields() != plan.request.fields() {
        return Err(Error::invalid("a batch of the request has another schema than the stream began with"));
    }
    let bounds = bounds_of(plan, snapshot, batch)?;
    let mut finished: Vec<Option<[Option<ArrayRef>; 3]>> = vec![None; plan.features];
    for group in &plan.groups {
        let items = group_items(group, batch)?;
        for part in &group.tables {
            let view = snapshot.view(part.table.id);
            let forgotten = forgotten_rows(plan, part, &view.horizon, &bounds, batch.num_rows())?;
            let mut columns = fill_table(plan, snapshot, part, view, &items, &bounds, batch.num_rows(), threads)?;
            let base = &bounds.base;
            let arrays = parallel::map_mut(&mut columns, threads_for(threads, batch.num_rows()), |column| {
                forgotten.iter().for_each(|&row| column.statuses[row] = Status::Forgotten as u8);
                column.expire(base);
                let status = plan.status.then(|| column.status_array());
                let time = plan.event_times.then(|| column.event_time_array());
                Ok([Some(column.finish()?), status, time])
            })?;
            for (feature, arrays) in part.features.iter().zip(arrays) {
                finished[feature.output] = Some(arrays);
            }
        }
    }
    let columns = finished.into_iter().flatten().flatten().flatten().collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(&plan.output), columns, &options)?)
}

/// Rows from which a read is spread over threads.
const PARALLEL_ROWS_MIN: usize = 8192;

fn threads_for(threads: usize, rows: usize) -> usize {
    if rows < PARALLEL_ROWS_MIN { 1 } else { threads }
}

fn bounds_of(plan: &Plan, snapshot: &Snapshot, batch: &RecordBatch) -> Result<Bounds> {
    let as_of = row_bounds(&plan.as_of, batch, "as_of")?;
    let known_at = row_bounds(&plan.known_at, batch, "known_at")?;
    if let RowBounds::PerRow(times) = &known_at {
        if let Some(row) = times.iter().position(|&time| time > snapshot.known_at_max()) {
            return Err(Error::invalid(format!(
                "row {row}: the \"known_at\" bound lies after the server's clock; knowledge of the future cannot be asked"
            )));
        }
    }
    // Age is measured from T as stated; if T is open, from S where S is a time; else from the read's clock.
    let base = match (&plan.as_of, &plan.known_at) {
        (super::plan::PlannedBound::Latest, super::plan::PlannedBound::Latest) => RowBounds::Constant(snapshot.clock()),
        (super::plan::PlannedBound::Latest, stated) => stated_times(stated, batch, "known_at")?,
        (stated, _) => stated_times(stated, batch, "as_of")?,
    };
    Ok(Bounds { as_of, known_at, base })
}

/// A bound as stated: an exclusive one counts from the stated moment, not from the microsecond before.
fn stated_times(bound: &super::plan::PlannedBound, batch: &RecordBatch, which: &str) -> Result<RowBounds> {
    use super::plan::PlannedBound;
    let stated = match bound {
        PlannedBound::Latest => PlannedBound::Latest,
        PlannedBound::Time { micros, .. } => PlannedBound::Time { micros: *micros, exclusive: false },
        PlannedBound::Column { index, name, .. } => {
            PlannedBound::Column { index: *index, name: name.clone(), exclusive: false }
        }
    };
    row_bounds(&stated, batch, which)
}

/// The encoded key of each row of `batch`.
fn group_keys(group: &KeyGroup, batch: &RecordBatch) -> Result<Keys> {
    let mut arrays = Vec::with_capacity(group.columns.len());
    for (key, &index) in group.entity.key.iter().zip(&group.columns) {
        let column = batch.column(index);
        let name = batch.schema_ref().field(index).name().clone();
        if let Some(nulls) = column.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
            let row = nulls.iter().position(|valid| !valid).expect("a null was counted");
            return Err(Error::invalid(format!(
                "row {row}: column {name:?}, the key column {} of entity {}, is null; every row needs a key",
                key.name, group.entity.name
            )));
        }
        let cast = door_cast(column, &key.data_type).and_then(|cast| cast.into_whole(column.as_ref(), &key.data_type));
        arrays.push(cast.map_err(|error| error.at(format!("column {name:?}")))?);
    }
    key::encode(&group.entity.key, &arrays)
}

/// The newest commit, at or after `first`, that erased an entity which `batch` asks for.
pub(crate) fn erased_from(plan: &Plan, first: Sequence, batch: &RecordBatch) -> Result<Option<Sequence>> {
    let mut newest = None;
    for group in &plan.groups {
        let erasures = group.state.erasures.read();
        if erasures.is_empty() {
            continue;
        }
        let keys = group_keys(group, batch)?;
        let erased = (0..keys.len()).filter_map(|row| erasures.erased_at(keys.get(row)));
        newest = newest.max(erased.filter(|&sequence| sequence >= first).max());
    }
    Ok(newest)
}

/// The rows of `batch` whose entity is known, per bucket.
fn group_items(group: &KeyGroup, batch: &RecordBatch) -> Result<Vec<Vec<Item>>> {
    let keys = group_keys(group, batch)?;
    let mut places: Vec<Vec<u32>> = vec![Vec::new(); group.entity.buckets as usize];
    let mut hashes: Vec<u64> = Vec::with_capacity(keys.len());
    for row in 0..keys.len() {
        let bytes = keys.get(row);
        let hash = key::hash(bytes);
        places[key::bucket_of(&group.entity, bytes, hash) as usize].push(row as u32);
        hashes.push(hash);
    }
    let mut ordinals = vec![UNKNOWN; keys.len()];
    let mut items = Vec::with_capacity(places.len());
    for (bucket, places) in places.iter().enumerate() {
        group.state.dictionaries[bucket].find(&keys, places, &hashes, &mut ordinals)?;
        let found = places.iter().map(|&place| Item { place, ordinal: ordinals[place as usize] });
        items.push(found.filter(|item| item.ordinal != UNKNOWN).collect());
    }
    Ok(items)
}

/// The answer columns of one table, filled from the latest pack where it serves and from history elsewhere.
#[expect(clippy::too_many_arguments, reason = "each is one independent part of the request")]
fn fill_table<'a>(
    plan: &Plan,
    snapshot: &Snapshot,
    part: &'a TablePart,
    view: &TableView,
    items: &[Vec<Item>],
    bounds: &Bounds,
    rows: usize,
    threads: usize,
) -> Result<Vec<AnswerColumn<'a>>> {
    let threads = threads_for(threads, rows);
    let features: Vec<u32> = part.features.iter().map(|part| part.feature.id).collect();
    let batch_bounds =
        BatchBounds { as_of: &bounds.as_of, known_at: &bounds.known_at, position: snapshot.sequence() };
    let mut columns: Vec<AnswerColumn<'a>> = part
        .features
        .iter()
        .map(|feature| {
            // A feature that was widened has columns of several types: those are cast, not copied.
            let fixed = fixed_width(&feature.stored).filter(|_| !part.state.is_mixed(feature.feature.id));
            AnswerColumn::new(feature, rows, fixed, plan.event_times)
        })
        .collect();
    let from_history = latest::fill(plan, snapshot, view, items, &mut columns)?;
    let resolved: Vec<Resolved> = parallel::map(from_history, threads, |(bucket, items)| {
        resolve(&view.buckets[bucket], items, &batch_bounds, &features)
    })?;
    let mut slots: Vec<(usize, &mut AnswerColumn<'a>)> = columns.iter_mut().enumerate().collect();
    parallel::map_mut(&mut slots, threads, |(slot, column)| {
        resolved.iter().try_for_each(|resolved| column.fill(resolved, *slot))
    })?;
    Ok(columns)
}

/// The rows whose bounds lie before the horizon: an error unless statuses were asked for and bounds are per row.
fn forgotten_rows(plan: &Plan, part: &TablePart, horizon: &Horizon, bounds: &Bounds, rows: usize) -> Result<Vec<usize>> {
    if *horizon == Horizon::default() {
        return Ok(Vec::new());
    }
    let mut forgotten = Vec::new();
    let sides = [("as_of", &bounds.as_of, horizon.events), ("known_at", &bounds.known_at, horizon.knowledge)];
    for (which, side, least) in sides {
        let table = &part.table.name;
        match side {
            RowBounds::Constant(bound) if *bound < least => {
                return Err(Error::out_of_range(format!(
                    "\"{which}\" lies before the horizon of table {table}: its retention forgot what is asked; the least \
                     bound is {{\"us\":{least}}}"
                )));
            }
            RowBounds::Constant(_) => {}
            RowBounds::PerRow(_) => forgotten.extend((0..rows).filter(|&row| side.of(row) < least)),
        }
    }
    if let (Some(row), false) = (forgotten.first(), plan.status) {
        return Err(Error::out_of_range(format!(
            "row {row}: its bound lies before the horizon of table {}; ask with \"status\":true to get such rows as null \
             with status \"forgotten\"",
            part.table.name
        )));
    }
    Ok(forgotten)
}
