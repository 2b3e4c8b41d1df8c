//! The door for rows: a client's batch becomes a [`WriteBatch`], or an error that says which rows and why.
//!
//! Columns are checked first (names, roles, types), then values, column by column without work per row where nothing
//! is wrong. A row that cannot be stored is *bad*: it either refuses the whole batch or, if the request asks for a
//! report, is left out. What the door lets through is never refused later for what is in it; the state of the log
//! (sealing, producers, order of ingest times across batches) is the committer's to check.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_buffer::{BooleanBuffer, ScalarBuffer};
use arrow_select::filter::{FilterBuilder, FilterPredicate};

use super::batch::WriteBatch;
use super::cast::Floats;
use super::catalog::{Catalog, Entity, Table};
use super::key::{Keys, encode, encode_row_ids};
use crate::column::Column;
use crate::error::{Error, Result};
use crate::rows::RowKind;
use crate::time::Micros;

mod bad_rows;
mod columns;
mod request;
mod times;

pub use bad_rows::{BAD_ROWS_LISTED_MAX, BAD_ROWS_REPORTED_MAX, BadRow};
pub use request::{Verb, WriteRequest};
pub use times::{EVENT_TIME_MAX, EVENT_TIME_MIN};

use bad_rows::BadRows;
use columns::Roles;

/// A batch after the door.
#[derive(Debug)]
pub struct Proven {
    /// The rows that may be stored; empty if all were bad.
    pub batch: WriteBatch,
    /// The first bad rows, by row, one per row and column.
    pub bad_rows: Vec<BadRow>,
    /// How many there are.
    pub bad_row_count: u64,
}

/// Proves `batch` against the catalog; `now` is the ingest time that rows without their own would get.
pub fn prove(catalog: &Catalog, request: &WriteRequest, batch: &RecordBatch, now: Micros) -> Result<Proven> {
    prove_without(catalog, request, batch, now, None)
}

/// Keys that are not wanted, and why.
pub struct Unwanted<'a> {
    /// Their places among some keys.
    pub places: &'a dyn Fn(&Keys) -> Vec<usize>,
    /// Why.
    pub reason: &'a str,
}

impl std::fmt::Debug for Unwanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unwanted({})", self.reason)
    }
}

/// [`prove`], where rows of `unwanted` keys are bad too.
pub fn prove_without(
    catalog: &Catalog,
    request: &WriteRequest,
    batch: &RecordBatch,
    now: Micros,
    unwanted: Option<Unwanted<'_>>,
) -> Result<Proven> {
    let (table, entity) = named(catalog, request)?;
    let mut bad = BadRows::new(batch.num_rows(), BAD_ROWS_REPORTED_MAX);
    let checked = check(table, entity, request, batch, now, &mut bad)?;
    if let Some(unwanted) = unwanted {
        checked.refuse_keys(entity, &unwanted, &mut bad)?;
    }
    if !bad.is_empty() && !request.report_bad_rows {
        return Err(bad.refusal(&table.name));
    }
    let batch = checked.finish(table, entity, request, bad.good_rows())?;
    let (bad_rows, bad_row_count) = bad.report();
    Ok(Proven { batch, bad_rows, bad_row_count })
}

/// Every bad row of a batch, and the rows that are good; `None` if all are.
#[derive(Debug)]
pub struct Examined {
    /// By row, one per row and column.
    pub bad_rows: Vec<BadRow>,
    /// The rows that [`prove`] lets through.
    pub good: Option<BooleanBuffer>,
}

/// What [`prove`] would find wrong with `batch`, all of it: for whoever can take a report of any length.
pub fn examine(catalog: &Catalog, request: &WriteRequest, batch: &RecordBatch, now: Micros) -> Result<Examined> {
    let (table, entity) = named(catalog, request)?;
    let mut bad = BadRows::new(batch.num_rows(), usize::MAX);
    check(table, entity, request, batch, now, &mut bad)?;
    Ok(Examined { good: bad.good_rows(), bad_rows: bad.report().0 })
}

fn named<'a>(catalog: &'a Catalog, request: &WriteRequest) -> Result<(&'a Arc<Table>, &'a Arc<Entity>)> {
    let table = catalog.table(&request.table)?;
    Ok((table, catalog.entity_of(table)))
}

/// Casts and checks the columns of `batch`; the rows that cannot be stored go to `bad`.
fn check(
    table: &Table,
    entity: &Entity,
    request: &WriteRequest,
    batch: &RecordBatch,
    now: Micros,
    bad: &mut BadRows,
) -> Result<Checked> {
    let place = |error: Error| error.at(format!("table `{}`", table.name));
    if u32::try_from(batch.num_rows()).is_err() {
        return Err(place(Error::exhausted("a batch has at most 2^32 - 1 rows; send smaller batches")));
    }
    let roles = Roles::find(table, entity, request, batch).map_err(place)?;
    Checked::new(table, entity, request, &roles, now, bad).map_err(place)
}

/// The columns of a batch, cast and checked; rows that turned out bad are still among them.
struct Checked {
    keys: Vec<ArrayRef>,
    /// `None` if the rows carry no row id.
    row_ids: Option<Vec<ArrayRef>>,
    /// The rows that have a row id; `None` if all do.
    row_ids_present: Option<BooleanBuffer>,
    event_times: ScalarBuffer<i64>,
    ingest_times: Option<ScalarBuffer<i64>>,
    /// Feature id and cells, sorted by feature.
    cells: Vec<(u32, ArrayRef)>,
    retracted: Vec<u32>,
    rows: usize,
}

impl Checked {
    fn new(
        table: &Table,
        entity: &Entity,
        request: &WriteRequest,
        roles: &Roles<'_>,
        now: Micros,
        bad: &mut BadRows,
    ) -> Result<Self> {
        let keys = roles.keys.iter().zip(&entity.key).map(|(given, column)| columns::key(given, column, bad));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        columns::check_key_lengths("key", &entity.key, &keys, bad);
        let ingest_times = roles.ingest_time.as_ref().map(|given| times::ingest_times(given, now, bad)).transpose()?;
        let event_times = times::event_times(&roles.event_time, table, bad)?;
        if !matches!(request.verb, Verb::Retract { .. }) {
            let known = roles.ingest_time.as_ref().zip(ingest_times.as_deref());
            times::check_future_skew(&roles.event_time, &event_times, known, now, table.max_future_skew, bad);
        }
        let floats = if table.floats_exact { Floats::Exact } else { Floats::Nearest };
        let (row_ids, row_ids_present) = columns::row_ids(table, request, roles, bad)?;
        let cells = roles
            .features
            .iter()
            .map(|(feature, given)| Ok((feature.id, columns::cells(given, &feature.stored_type(), floats, bad)?)));
        let mut cells = cells.collect::<Result<Vec<_>>>()?;
        cells.sort_by_key(|(feature, _)| *feature);
        Ok(Self {
            keys,
            row_ids,
            row_ids_present,
            event_times,
            ingest_times,
            cells,
            retracted: roles.retracted.clone(),
            rows: roles.rows,
        })
    }

    /// Marks the rows of unwanted keys, among those that are good so far.
    fn refuse_keys(&self, entity: &Entity, unwanted: &Unwanted<'_>, bad: &mut BadRows) -> Result<()> {
        let good = bad.good_rows();
        let rows: Vec<usize> = match &good {
            None => (0..self.rows).collect(),
            Some(good) => good.set_indices().collect(),
        };
        let keys = encode(&entity.key, &Keep::new(good).arrays(self.keys.clone())?)?;
        let refused: Vec<usize> = (unwanted.places)(&keys).into_iter().map(|place| rows[place]).collect();
        bad.add(&entity.key[0].name, refused.into_iter(), |_| unwanted.reason.to_owned());
        Ok(())
    }

    /// The rows that are `good` as a batch.
    fn finish(
        self,
        table: &Table,
        entity: &Entity,
        request: &WriteRequest,
        good: Option<BooleanBuffer>,
    ) -> Result<WriteBatch> {
        let keep = Keep::new(good);
        let keys: Vec<ArrayRef> = keep.arrays(self.keys)?;
        let row_ids = match self.row_ids {
            None => None,
            Some(arrays) => {
                let present = self.row_ids_present.map(|present| keep.flags(present)).transpose()?;
                Some(encode_row_ids(&table.row_id, &keep.arrays(arrays)?, present.as_ref())?)
            }
        };
        let cells = self.cells.into_iter().map(|(feature, values)| Ok((feature, keep.array(values)?)));
        let cells = cells.collect::<Result<Vec<_>>>()?;
        let columns =
            cells.into_iter().filter_map(|(feature, values)| as_column(feature, values, request.nulls_absent));
        Ok(WriteBatch {
            table: table.id,
            shape: table.shape,
            kind: match &request.verb {
                Verb::Write => RowKind::Write,
                Verb::Delete => RowKind::Delete,
                Verb::Retract { features } if features.is_empty() => RowKind::Retract,
                Verb::Retract { .. } => RowKind::RetractCells,
            },
            keys: encode(&entity.key, &keys)?,
            row_ids,
            event_times: keep.numbers(self.event_times),
            ingest_times: self.ingest_times.map(|times| keep.numbers(times)),
            places: keep.numbers((0..self.rows as u32).collect()),
            columns: columns.collect(),
            retracted: self.retracted,
            producer: None,
        })
    }
}

/// The cells of one feature; `None` if no row has one.
fn as_column(feature: u32, values: ArrayRef, nulls_absent: bool) -> Option<Column> {
    let present =
        values.nulls().filter(|nulls| nulls_absent && nulls.null_count() > 0).map(|nulls| nulls.inner().clone());
    if present.as_ref().is_some_and(|present| present.count_set_bits() == 0) && !values.is_empty() {
        return None;
    }
    Some(Column::in_memory(feature, values, present))
}

/// Which rows stay; all of them without a copy if none is bad.
struct Keep(Option<(FilterPredicate, BooleanBuffer)>);

impl Keep {
    fn new(good: Option<BooleanBuffer>) -> Self {
        Self(good.map(|good| (FilterBuilder::new(&BooleanArray::new(good.clone(), None)).optimize().build(), good)))
    }

    fn array(&self, array: ArrayRef) -> Result<ArrayRef> {
        match &self.0 {
            None => Ok(array),
            Some((predicate, _)) => Ok(predicate.filter(&array)?),
        }
    }

    fn arrays(&self, arrays: Vec<ArrayRef>) -> Result<Vec<ArrayRef>> {
        arrays.into_iter().map(|array| self.array(array)).collect()
    }

    fn numbers<T: arrow_buffer::ArrowNativeType>(&self, numbers: ScalarBuffer<T>) -> ScalarBuffer<T> {
        match &self.0 {
            None => numbers,
            Some((_, good)) => good.set_indices().map(|row| numbers[row]).collect(),
        }
    }

    fn flags(&self, flags: BooleanBuffer) -> Result<BooleanBuffer> {
        match &self.0 {
            None => Ok(flags),
            Some((_, good)) => Ok(good.set_indices().map(|row| flags.value(row)).collect()),
        }
    }
}

#[cfg(test)]
mod tests;
