//! A scan of history: every row and tombstone, with everything needed to rebuild the table. Rows are met a batch at a
//! time, so that a scan holds no more than one batch, however large the runs are.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{
    Array, ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array, UInt64Array, new_null_array,
};
use arrow_schema::{DataType, Field};
use arrow_select::interleave::interleave;
use roaring::RoaringBitmap;

use super::pinned::{Batches, Scan};
use crate::column::Column;
use crate::error::Result;
use crate::gather::{CellOrigin, gather};
use crate::model::key;
use crate::model::types::as_declared;
use crate::rows::{RowKind, StepBound};
use crate::run::Run;
use crate::segment::directory::{EntityCursor, Hint};
use crate::time::Micros;

/// A row of a run and its entity.
#[derive(Debug, Clone, Copy)]
struct HistoryRow {
    ordinal: u32,
    row: u32,
}

/// The batches of `bucket`, of at most so many rows.
pub(super) fn read(scan: Arc<Scan>, bucket: u32, rows_max: usize) -> Batches {
    let runs: Vec<Arc<Run>> = scan.view.buckets[bucket as usize].runs().cloned().collect();
    Box::new(runs.into_iter().flat_map(move |run| read_run(Arc::clone(&scan), bucket, run, rows_max)))
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
    steps: StepBound,
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
        let steps = run.rows.steps.bound(scan.bounds.of(0).known_at, scan.snapshot.sequence());
        let erased = scan.state.erased(bucket);
        let entities = match &scan.chosen {
            Some(chosen) => Entities::Chosen(chosen[bucket as usize].clone().into_iter(), Hint::default()),
            None => Entities::All(EntityCursor::default(), false),
        };
        Self { scan, bucket, run, rows_max, steps, erased, entities, begun: None }
    }

    /// The next batch; none after the last row.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut rows = Vec::new();
        while rows.len() < self.rows_max {
            if self.begun.is_none() {
                self.begun = self.next_entity()?;
            }
            let Some((ordinal, left)) = self.begun.take() else { break };
            let left = self.take_visible(ordinal, left, &mut rows);
            self.begun = (!left.is_empty()).then_some((ordinal, left));
        }
        if rows.is_empty() {
            return Ok(None);
        }
        batch(&self.scan, self.bucket, &self.run, &rows).map(Some)
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
        let rows = &self.run.rows;
        let (from, to) = self.scan.event_times.unwrap_or((i64::MIN, i64::MAX));
        let to = to.min(self.scan.bounds.of(0).as_of);
        while into.len() < self.rows_max
            && let Some(row) = range.next()
        {
            let time = rows.event_times[row as usize];
            if self.steps.sees(&rows.steps, rows.row_steps[row as usize]) && (from..=to).contains(&time) {
                into.push(HistoryRow { ordinal, row });
            }
        }
        range
    }
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
    let mut columns = key::decode(&scan.entity.key, keys.iter().map(Vec::as_slice))?;
    let times = |of: &dyn Fn(u32) -> Micros| -> ArrayRef {
        let times: Vec<i64> = kept.iter().map(|row| of(row.row)).collect();
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
    };
    columns.push(times(&|row| run.rows.event_times[row as usize]));
    if !scan.asked.table.row_id.is_empty() {
        columns.extend(row_id_columns(scan, run, &kept)?);
    }
    columns.push(times(&|row| run.rows.ingest_time(row)));
    columns.push(Arc::new(kept.iter().map(|row| run.rows.sequence(row.row)).collect::<UInt64Array>()));
    columns.push(Arc::new(kept.iter().map(|row| Some(kind_name(run.rows.kind(row.row)))).collect::<StringArray>()));
    columns.push(Arc::new(kept.iter().map(|row| run.rows.places.of(row.row)).collect::<UInt32Array>()));
    columns.push(features_column(scan, run, &kept)?);
    for feature in &scan.asked.features {
        columns.push(as_declared(cells(run, &kept, feature.feature.id, &feature.stored)?, &feature.feature.data_type)?);
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

/// The names of the cells that each row wrote or took back; null in whole tombstones.
fn features_column(scan: &Scan, run: &Run, rows: &[HistoryRow]) -> Result<ArrayRef> {
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
    let columns: Vec<Option<&Column>> = run.chunks.iter().map(|chunk| chunk.column(feature)).collect();
    let mut origins = Vec::with_capacity(rows.len());
    for row in rows {
        let origin = run.origin(row.row);
        let found = match columns[origin.chunk as usize] {
            Some(column) if run.rows.kind(row.row) == RowKind::Write => {
                let position = column.position(origin.row)?;
                position.map(|position| column.check(position).map(|()| position)).transpose()?
            }
            _ => None,
        };
        origins.push(found.map_or(CellOrigin::ABSENT, |position| CellOrigin { column: origin.chunk, position }));
    }
    gather(data_type, &columns, &origins)
}
