//! The rows of one batch of a history, column by column. Only what a column needs is read.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{
    Array, ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array, UInt64Array, new_null_array,
};
use arrow_schema::{DataType, Field};
use arrow_select::interleave::interleave;

use super::cells::Cells;
use crate::error::Result;
use crate::model::key;
use crate::model::types::as_declared;
use crate::read::scan::columns::ScanColumn;
use crate::read::scan::pinned::Scan;
use crate::rows::RowKind;
use crate::run::Run;
use crate::time::Micros;

/// A row of a run and its entity.
#[derive(Debug, Clone, Copy)]
pub(super) struct HistoryRow {
    pub(super) ordinal: u32,
    pub(super) row: u32,
}

/// The rows of a run that one batch answers.
struct BatchRows<'a> {
    scan: &'a Scan,
    run: &'a Run,
    rows: Vec<HistoryRow>,
}

/// How rows are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Cells as they are declared, and the names of all that a row has.
    Declared,
    /// Cells as they are stored, and no names where a row has a cell of each feature that the run has.
    Frozen,
}

/// The batch of `rows` of `run`, but those of entities that were erased since the rows were chosen.
pub(super) fn batch(scan: &Scan, bucket: u32, run: &Run, mut rows: Vec<HistoryRow>) -> Result<RecordBatch> {
    let keys = match scan.columns.any(|column| matches!(column, ScanColumn::Key(_))) {
        true => keys_of(scan, bucket, &mut rows)?,
        false => leave_erased(scan, bucket, &mut rows),
    };
    let of = BatchRows { scan, run, rows };
    scan.batch(of.columns(&keys, Form::Declared)?, of.rows.len())
}

/// The columns of `rows` of `run` as they are frozen: those of a history, cells as they are stored, `features` null where a row
/// has a cell of each feature that the run has, and the ordinals at the end. None if one of the entities was erased.
pub(super) fn frozen(scan: &Scan, bucket: u32, run: &Run, mut rows: Vec<HistoryRow>) -> Result<Option<Vec<ArrayRef>>> {
    let count = rows.len();
    let keys = keys_of(scan, bucket, &mut rows)?;
    if rows.len() < count {
        return Ok(None);
    }
    let of = BatchRows { scan, run, rows };
    let mut columns = of.columns(&keys, Form::Frozen)?;
    columns.push(Arc::new(of.rows.iter().map(|row| row.ordinal).collect::<UInt32Array>()));
    Ok(Some(columns))
}

/// The key columns of `rows`. An entity that was erased meanwhile has no key, and its rows are left out.
fn keys_of(scan: &Scan, bucket: u32, rows: &mut Vec<HistoryRow>) -> Result<Vec<ArrayRef>> {
    let dictionary = &scan.state.dictionaries[bucket as usize];
    let mut keys = key::Decoder::new(&scan.entity.key)?;
    let mut kept = Vec::with_capacity(rows.len());
    let ordinals: Vec<u32> = rows.iter().map(|row| row.ordinal).collect();
    dictionary.keys(&ordinals, |index, key| {
        let Some(key) = key else { return Ok(()) };
        kept.push(rows[index]);
        keys.push(key)
    })?;
    *rows = kept;
    keys.finish()
}

/// [`keys_of`] where no key is asked for.
fn leave_erased(scan: &Scan, bucket: u32, rows: &mut Vec<HistoryRow>) -> Vec<ArrayRef> {
    let erased = scan.state.erased(bucket);
    if !erased.is_empty() {
        rows.retain(|row| !erased.contains(row.ordinal));
    }
    Vec::new()
}

fn kind_name(kind: RowKind) -> &'static str {
    match kind {
        RowKind::Write => "write",
        RowKind::Delete => "delete",
        RowKind::Retract | RowKind::RetractCells => "retract",
    }
}

impl BatchRows<'_> {
    /// `of` each row.
    fn each<T>(&self, of: impl Fn(u32) -> T) -> impl Iterator<Item = T> {
        self.rows.iter().map(move |row| of(row.row))
    }

    fn times(&self, of: impl Fn(u32) -> Micros) -> ArrayRef {
        let times: Vec<Micros> = self.each(of).collect();
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
    }

    /// The row id columns; null for the null row id of a tombstone.
    fn row_ids(&self) -> Result<Vec<ArrayRef>> {
        let Self { scan, run, rows } = self;
        let with_id: Vec<&HistoryRow> = rows.iter().filter(|row| !run.rows.row_id(row.row).is_empty()).collect();
        let decoded = key::decode(&scan.asked.table.row_id, with_id.iter().map(|row| run.rows.row_id(row.row)))?;
        let mut next = 0;
        let picks: Vec<(usize, usize)> = rows
            .iter()
            .map(|row| {
                if run.rows.row_id(row.row).is_empty() {
                    return (0, 0);
                }
                next += 1;
                (1, next - 1)
            })
            .collect();
        let spread = decoded.iter().map(|ids| {
            let null = new_null_array(ids.data_type(), 1);
            Ok(interleave(&[null.as_ref(), ids.as_ref()], &picks)?)
        });
        spread.collect()
    }

    /// The columns of the scan, of which `keys` are those of the keys.
    fn columns(&self, keys: &[ArrayRef], form: Form) -> Result<Vec<ArrayRef>> {
        let Self { scan, run, .. } = self;
        let cells = Cells::new(run, self.each(|row| row)).of(&scan.asked.features)?;
        let ids = match scan.columns.any(|column| matches!(column, ScanColumn::RowId(_))) {
            true => self.row_ids()?,
            false => Vec::new(),
        };
        let column = |column: ScanColumn| -> Result<ArrayRef> {
            match column {
                ScanColumn::Key(place) => Ok(Arc::clone(&keys[place])),
                ScanColumn::EventTime => Ok(self.times(|row| run.rows.event_times[row as usize])),
                ScanColumn::RowId(place) => Ok(Arc::clone(&ids[place])),
                ScanColumn::IngestTime => Ok(self.times(|row| run.rows.ingest_time(row))),
                ScanColumn::Sequence => Ok(Arc::new(self.each(|row| run.rows.sequence(row)).collect::<UInt64Array>())),
                ScanColumn::Kind => {
                    Ok(Arc::new(self.each(|row| Some(kind_name(run.rows.kind(row)))).collect::<StringArray>()))
                }
                ScanColumn::Row => Ok(Arc::new(self.each(|row| run.rows.places.of(row)).collect::<UInt32Array>())),
                ScanColumn::Features => self.features(form),
                ScanColumn::Cells(place) if form == Form::Frozen => Ok(Arc::clone(&cells[place])),
                ScanColumn::Cells(place) => {
                    as_declared(Arc::clone(&cells[place]), &scan.asked.features[place].feature.data_type)
                }
                other => unreachable!("a scan of history has no {other:?}"),
            }
        };
        scan.columns.iter().map(column).collect()
    }

    /// Whether the write row `row` has a cell in each column of its chunk.
    fn is_whole(&self, row: u32) -> Result<bool> {
        let origin = self.run.origin(row);
        for column in self.run.chunks[origin.chunk as usize].columns.iter().filter(|column| !column.is_dense()) {
            if column.position(origin.row)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The names of the cells that each row wrote or took back; null in whole tombstones.
    fn features(&self, form: Form) -> Result<ArrayRef> {
        let Self { scan, run, rows } = self;
        let field = Field::new("item", DataType::Utf8, false);
        let mut names = ListBuilder::new(StringBuilder::new()).with_field(field);
        let all = scan.asked.table.features.iter().chain(&scan.asked.table.retired);
        let known: Vec<(u32, &str)> = all.map(|feature| (feature.id, feature.name.as_str())).collect();
        for row in rows {
            match run.rows.kind(row.row) {
                RowKind::Delete | RowKind::Retract => names.append_null(),
                RowKind::RetractCells => {
                    let taken_back = run.rows.retracted_features(row.row);
                    for (_, name) in known.iter().filter(|(id, _)| taken_back.contains(id)) {
                        names.values().append_value(name);
                    }
                    names.append(true);
                }
                RowKind::Write if form == Form::Frozen && self.is_whole(row.row)? => names.append_null(),
                RowKind::Write => {
                    let origin = run.origin(row.row);
                    let chunk = &run.chunks[origin.chunk as usize];
                    for (id, name) in &known {
                        if let Some(column) = chunk.column(*id)
                            && column.position(origin.row)?.is_some()
                        {
                            names.values().append_value(name);
                        }
                    }
                    names.append(true);
                }
            }
        }
        Ok(Arc::new(names.finish()))
    }
}
