//! A scan of history: every row and tombstone, with everything needed to rebuild the table.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{
    Array, ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array, UInt64Array, new_null_array,
};
use arrow_cast::cast;
use arrow_schema::{DataType, Field};
use arrow_select::interleave::interleave;

use super::scan::{Batches, Scan};
use crate::error::Result;
use crate::model::key;
use crate::model::types::as_declared;
use crate::rows::RowKind;
use crate::run::Run;
use crate::time::Micros;

/// Rows of one batch.
const BATCH_ROWS: usize = 8192;

/// A row of a run and its entity.
#[derive(Debug, Clone, Copy)]
struct HistoryRow {
    ordinal: u32,
    row: u32,
}

/// The batches of `bucket`.
pub(crate) fn read(scan: Arc<Scan>, bucket: u32) -> Batches {
    let runs: Vec<Arc<Run>> = scan.view.buckets[bucket as usize].runs().cloned().collect();
    Box::new(runs.into_iter().flat_map(move |run| read_run(Arc::clone(&scan), bucket, run)))
}

fn read_run(scan: Arc<Scan>, bucket: u32, run: Arc<Run>) -> Batches {
    let rows = match visible_rows(&scan, bucket, &run) {
        Ok(rows) => rows,
        Err(error) => return Box::new(std::iter::once(Err(error))),
    };
    let starts = (0..rows.len()).step_by(BATCH_ROWS);
    Box::new(starts.map(move |start| {
        let end = (start + BATCH_ROWS).min(rows.len());
        batch(&scan, bucket, &run, &rows[start..end])
    }))
}

/// The rows of `run` within the bounds and the window.
fn visible_rows(scan: &Scan, bucket: u32, run: &Run) -> Result<Vec<HistoryRow>> {
    let rows = &run.rows;
    let point = scan.bounds.of(0);
    let visible_steps = rows.steps.bound(point.known_at, point.position);
    let (from, to) = scan.window.unwrap_or((i64::MIN, i64::MAX));
    let to = to.min(point.as_of);
    let erased = scan.state.erased(bucket);
    let mut visible = Vec::new();
    for (ordinal, range) in rows.entities()? {
        if erased.contains(ordinal) {
            continue;
        }
        if let Some(checks) = &rows.checks {
            checks.rows(range.clone())?;
        }
        for row in range {
            let time = rows.event_times[row as usize];
            if visible_steps.sees(&rows.steps, rows.row_steps[row as usize]) && (from..=to).contains(&time) {
                visible.push(HistoryRow { ordinal, row });
            }
        }
    }
    Ok(visible)
}

fn batch(scan: &Scan, bucket: u32, run: &Run, rows: &[HistoryRow]) -> Result<RecordBatch> {
    let dictionary = &scan.state.dictionaries[bucket as usize];
    let mut keys: Vec<Vec<u8>> = Vec::with_capacity(rows.len());
    let mut kept: Vec<HistoryRow> = Vec::with_capacity(rows.len());
    for row in rows {
        // An entity that was erased since the rows were chosen has no key.
        if let Some(key) = dictionary.key(row.ordinal)? {
            keys.push(key);
            kept.push(*row);
        }
    }
    let mut columns = key::decode(&scan.entity.key, &mut keys.iter().map(Vec::as_slice))?;
    let times = |of: &dyn Fn(u32) -> Micros| -> ArrayRef {
        let times: Vec<i64> = kept.iter().map(|row| of(row.row)).collect();
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
    };
    columns.push(times(&|row| run.rows.event_times[row as usize]));
    if !scan.table.row_id.is_empty() {
        columns.extend(row_id_columns(scan, run, &kept)?);
    }
    columns.push(times(&|row| run.rows.ingest_time(row)));
    columns.push(Arc::new(kept.iter().map(|row| run.rows.sequence(row.row)).collect::<UInt64Array>()));
    columns.push(Arc::new(kept.iter().map(|row| Some(kind_name(run.rows.kind(row.row)))).collect::<StringArray>()));
    columns.push(Arc::new(kept.iter().map(|row| run.rows.places.of(row.row)).collect::<UInt32Array>()));
    columns.push(features_column(scan, run, &kept)?);
    for part in &scan.features {
        columns.push(as_declared(cells(run, &kept, part.feature.id, &part.stored)?, &part.feature.data_type)?);
    }
    Ok(RecordBatch::try_new(Arc::clone(&scan.schema), columns)?)
}

fn kind_name(kind: RowKind) -> &'static str {
    match kind {
        RowKind::Write => "write",
        RowKind::Delete => "delete",
        RowKind::Retract | RowKind::RetractCells => "retract",
    }
}

/// The row id columns; null for the null row id of a tombstone.
fn row_id_columns(scan: &Scan, run: &Run, rows: &[HistoryRow]) -> Result<Vec<ArrayRef>> {
    let with_id: Vec<&HistoryRow> = rows.iter().filter(|row| !run.rows.row_id(row.row).is_empty()).collect();
    let decoded = key::decode(&scan.table.row_id, &mut with_id.iter().map(|row| run.rows.row_id(row.row)))?;
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

/// The names of the cells that each row wrote or took back; null in whole tombstones.
fn features_column(scan: &Scan, run: &Run, rows: &[HistoryRow]) -> Result<ArrayRef> {
    let field = Field::new("item", DataType::Utf8, false);
    let mut names = ListBuilder::new(StringBuilder::new()).with_field(field);
    let all = scan.table.features.iter().chain(&scan.table.retired);
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

/// The cells of `feature`; null where there is none.
fn cells(run: &Run, rows: &[HistoryRow], feature: u32, data_type: &DataType) -> Result<ArrayRef> {
    let mut sources: Vec<ArrayRef> = vec![new_null_array(data_type, 1)];
    let mut opened: HashMap<(u32, u32), usize> = HashMap::new();
    let mut picks = Vec::with_capacity(rows.len());
    for row in rows {
        let origin = run.origin(row.row);
        let column = run.chunks[origin.chunk as usize].column(feature);
        let position = match column {
            Some(column) if run.rows.kind(row.row) == RowKind::Write => column.position(origin.row)?,
            _ => None,
        };
        let (Some(column), Some(position)) = (column, position) else {
            picks.push((0, 0));
            continue;
        };
        column.check(position)?;
        let (window, position) = column.locate(position);
        let source = match opened.get(&(origin.chunk, window)) {
            Some(&source) => source,
            None => {
                let values = column.window(window)?;
                sources.push(if values.data_type() == data_type { values } else { cast(&values, data_type)? });
                opened.insert((origin.chunk, window), sources.len() - 1);
                sources.len() - 1
            }
        };
        picks.push((source, position as usize));
    }
    let arrays: Vec<&dyn Array> = sources.iter().map(AsRef::as_ref).collect();
    Ok(interleave(&arrays, &picks)?)
}
