//! A scan that is planned and pinned: what it reads, of which entities, in which parts.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;

use super::columns::ScanColumns;
use super::request::{ScanRequest, constant};
use crate::error::{Error, Result};
use crate::model::cast::key_values;
use crate::model::catalog::{Entity, Table};
use crate::model::key::KeyColumn;
use crate::read::bounds::Bounds;
use crate::read::estimate;
use crate::read::find::find;
use crate::read::plan::AskedTable;
use crate::read::resolved::Item;
use crate::read::snapshot::Snapshot;
use crate::time::Micros;
use crate::view::{EntityState, TableState, TableView};

/// The batches of one part.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A scan, pinned to one snapshot.
#[derive(Debug)]
pub struct Scan {
    pub(crate) entity: Arc<Entity>,
    pub(crate) state: Arc<EntityState>,
    /// The table and the features that are asked for.
    pub(crate) asked: AskedTable,
    pub(crate) snapshot: Snapshot,
    pub(crate) view: Arc<TableView>,
    pub(crate) bounds: Bounds,
    /// The least and greatest event time that selects, both included.
    pub(crate) event_times: Option<(Micros, Micros)>,
    /// The ordinals that were asked for, ascending, by bucket; `None` is all.
    pub(crate) chosen: Option<Vec<Vec<u32>>>,
    pub(crate) history: bool,
    pub(super) columns: ScanColumns,
    /// About how many bytes a row takes.
    pub(crate) row_bytes: u64,
    /// How many rows are looked at for one batch.
    pub(crate) batch_rows: u32,
    pub(crate) parts: Vec<Vec<u32>>,
}

impl Scan {
    /// The schema of every batch.
    pub fn schema(&self) -> &SchemaRef {
        self.columns.schema()
    }

    /// What the scan sees.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The name of the event time's column.
    pub fn event_time(&self) -> &str {
        &self.asked.table.event_time
    }

    /// How many parts there are; at least one.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// A batch of the scan: for each of its columns an array of so many `rows`.
    pub(super) fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(self.schema()), columns, &options)?)
    }

    /// The ordinals of `bucket` that are looked at, in pieces of at most `most`, ascending.
    pub(super) fn pieces(&self, bucket: u32, most: u32) -> Vec<Piece> {
        match &self.chosen {
            None => {
                let end = self.state.dictionaries[bucket as usize].len();
                (0..end).step_by(most as usize).map(|start| Piece::Range(start, (start + most).min(end))).collect()
            }
            Some(chosen) => {
                let chosen = chosen[bucket as usize].chunks(most as usize);
                chosen.map(|ordinals| Piece::List(ordinals.to_vec())).collect()
            }
        }
    }
}

/// Ordinals that are looked at together.
#[derive(Debug)]
pub(super) enum Piece {
    /// From the first up to, but without, the second.
    Range(u32, u32),
    /// These.
    List(Vec<u32>),
}

impl Piece {
    /// The ordinals, ascending.
    pub(super) fn ordinals(&self) -> Vec<u32> {
        match self {
            Self::Range(start, end) => (*start..*end).collect(),
            Self::List(ordinals) => ordinals.clone(),
        }
    }
}

/// Rows that are looked at for one batch, at most.
const BATCH_ROWS_MAX: u64 = 8192;
/// One batch takes at most one in so many bytes of what all requests may hold.
const BATCH_SHARE: u64 = 16;

/// What a row takes beside its features: a key, times, and notes of where it is.
const BESIDE_BYTES: u64 = 128;

/// What a scan needs beside its request.
pub(crate) struct ScanInputs {
    pub(crate) table: Arc<Table>,
    pub(crate) entity: Arc<Entity>,
    pub(crate) state: Arc<EntityState>,
    pub(crate) table_state: Arc<TableState>,
    pub(crate) snapshot: Snapshot,
}

/// Plans `request` over its inputs.
pub(crate) fn plan(request: &ScanRequest, inputs: ScanInputs) -> Result<Scan> {
    let ScanInputs { table, entity, state, table_state, snapshot } = inputs;
    let view = Arc::clone(snapshot.view(&table)?);
    let features = request.features(&table)?;
    let columns = ScanColumns::new(request, &table, &entity, &features)?;
    let bounds = bounds_of(request, &table, &view, &snapshot)?;
    let event_times = match (request.from, request.to) {
        (None, None) => None,
        (from, to) => Some((from.unwrap_or(i64::MIN), to.map_or(i64::MAX, |to| to.saturating_sub(1)))),
    };
    let chosen = request.keys.as_ref().map(|keys| chosen(&entity, &state, keys)).transpose()?;
    let mut asked = AskedTable { table, state: table_state, features: Vec::new(), outputs: Vec::new() };
    for (place, named) in features.into_iter().enumerate() {
        asked.add(named, place)?;
    }
    let reckoned: u64 = asked.outputs.iter().map(|output| output.aggregate.row_bytes()).sum();
    let row_bytes = BESIDE_BYTES + estimate::row_bytes(asked.stored_types(), &view) + reckoned;
    // Few at a time where they are so wide that many would take too much of all memory.
    let bytes_max = snapshot.resources.budget.bytes_max() / BATCH_SHARE;
    let batch_rows = (bytes_max / row_bytes).clamp(1, BATCH_ROWS_MAX) as u32;
    let parts = deal(entity.buckets, request.parts.max(1));
    Ok(Scan {
        asked,
        entity,
        state,
        snapshot,
        view,
        bounds,
        event_times,
        chosen,
        history: request.history,
        columns,
        row_bytes,
        batch_rows,
        parts,
    })
}

/// The bounds of `request`, which must be within what the snapshot made final and what the table still remembers.
fn bounds_of(request: &ScanRequest, table: &Table, view: &TableView, snapshot: &Snapshot) -> Result<Bounds> {
    let as_of = constant(&request.as_of, "as_of")?;
    let known_at = constant(&request.known_at, "known_at")?;
    if known_at.of(0) > snapshot.known_at_max() {
        return Err(Error::invalid("\"known_at\" lies after that of the snapshot; pin one with the same \"known_at\""));
    }
    for (which, bound, least) in
        [("as_of", &as_of, view.horizon.events), ("known_at", &known_at, view.horizon.knowledge)]
    {
        if bound.of(0) < least {
            return Err(Error::out_of_range(format!(
                "\"{which}\" lies before the horizon of table {}: its retention forgot what is asked; the least bound is \
                 {{\"us\":{least}}}",
                table.name
            )));
        }
    }
    Ok(Bounds { as_of, known_at, position: snapshot.sequence(), clock: snapshot.clock() })
}

/// The ordinals of the entities that `keys` name, ascending, by bucket; unknown ones are left out.
fn chosen(entity: &Entity, state: &EntityState, keys: &[ArrayRef]) -> Result<Vec<Vec<u32>>> {
    if keys.len() != entity.key.len() {
        let (given, needed) = (keys.len(), entity.key.len());
        return Err(Error::invalid(format!(
            "the scan names {given} key columns, and entity {} has {needed}; give a value of each",
            entity.name
        )));
    }
    let cast = |(key, values): (&KeyColumn, &ArrayRef)| {
        key_values(values, &entity.name, key, &|| format!("column {:?} of the scan", key.name))
    };
    let arrays = entity.key.iter().zip(keys).map(cast).collect::<Result<Vec<_>>>()?;
    let ordinals = |items: Vec<Item>| {
        let mut ordinals: Vec<u32> = items.iter().map(|item| item.ordinal).collect();
        ordinals.sort_unstable();
        ordinals.dedup();
        ordinals
    };
    Ok(find(entity, state, &arrays, 0)?.into_iter().map(ordinals).collect())
}

/// Deals buckets into at most `parts` lots of like size.
fn deal(buckets: u32, parts: usize) -> Vec<Vec<u32>> {
    let parts = parts.min(buckets as usize).max(1);
    let mut dealt = vec![Vec::new(); parts];
    (0..buckets).for_each(|bucket| dealt[bucket as usize % parts].push(bucket));
    dealt
}
