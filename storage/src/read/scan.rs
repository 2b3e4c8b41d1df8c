//! Scans: every entity of a table at some bounds, or every row of its history.
//!
//! A scan is cut into parts, groups of buckets, that share one snapshot and may be read at the same time. The order
//! of rows is unspecified.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, SchemaRef, TimeUnit};

use super::bounds::{Bound, Bounds, RowBounds};
use super::moment::{KnownAt, Moment};
use super::plan::FeaturePart;
use super::snapshot::Snapshot;
use super::{history, latest_rows};
use crate::error::{Error, Result};
use crate::model::catalog::{Entity, Feature, Table};
use crate::position::Position;
use crate::time::Micros;
use crate::view::{EntityState, TableState, TableView};

/// A scan as it was asked.
#[derive(Debug, Clone, Default)]
pub struct ScanRequest {
    /// The feature table.
    pub table: String,
    /// The features to answer; `None` is all.
    pub columns: Option<Vec<String>>,
    /// The event bound.
    pub as_of: Bound,
    /// The knowledge bound.
    pub known_at: Bound,
    /// Every row and tombstone instead of the winners.
    pub history: bool,
    /// Only rows, or entities with a row, from this event time on.
    pub from: Option<Micros>,
    /// Only rows, or entities with a row, before this event time.
    pub to: Option<Micros>,
    /// The position to read at; `None` is everything published.
    pub position: Option<String>,
    /// The schema version; `None` is the newest.
    pub schema_version: Option<u64>,
    /// Replaces the clock for ages, µs.
    pub clock: Option<Micros>,
    /// How many parts to cut the scan into at most.
    pub parts: usize,
}

impl ScanRequest {
    /// The moment that is asked for, with its position read.
    pub(crate) fn moment(&self, position: Option<Position>) -> Result<Moment> {
        let known_at = match constant(&self.known_at, "known_at")? {
            RowBounds::Latest => KnownAt::Latest,
            same => KnownAt::Time(same.of(0)),
        };
        Ok(Moment { known_at, position, clock: self.clock })
    }
}

/// A scan, pinned to one snapshot.
#[derive(Debug)]
pub struct Scan {
    pub(crate) table: Arc<Table>,
    pub(crate) entity: Arc<Entity>,
    pub(crate) state: Arc<EntityState>,
    pub(crate) table_state: Arc<TableState>,
    pub(crate) features: Vec<FeaturePart>,
    pub(crate) snapshot: Snapshot,
    pub(crate) view: Arc<TableView>,
    pub(crate) bounds: Bounds,
    /// The least and greatest event time that selects, both included.
    pub(crate) window: Option<(Micros, Micros)>,
    pub(crate) history: bool,
    pub(crate) schema: SchemaRef,
    parts: Vec<Vec<u32>>,
}

/// The batches of one part.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

impl Scan {
    /// The schema of every batch.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What the scan sees.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// How many parts there are; at least one.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Reads a part: at least one, possibly empty, batch. A reader that takes its time gets an error once the snapshot
    /// is older than it may be.
    pub fn open(self: &Arc<Self>, part: usize) -> Result<Batches> {
        let buckets = self
            .parts
            .get(part)
            .ok_or_else(|| Error::invalid(format!("the scan has no part {part}; it has {}", self.parts.len())))?;
        let scan = Arc::clone(self);
        let buckets = buckets.clone();
        let pinned = Arc::clone(self);
        let read = buckets.into_iter().flat_map(move |bucket| scan.read_bucket(bucket));
        let read = read.map(move |batch| pinned.snapshot.check_age().and(batch));
        let first = RecordBatch::new_empty(Arc::clone(&self.schema));
        Ok(Box::new(std::iter::once(Ok(first)).chain(read)))
    }

    fn read_bucket(self: &Arc<Self>, bucket: u32) -> Batches {
        match self.history {
            true => history::read(Arc::clone(self), bucket),
            false => latest_rows::read(Arc::clone(self), bucket),
        }
    }
}

/// What a scan needs beside its request.
pub(crate) struct ScanParts {
    pub(crate) table: Arc<Table>,
    pub(crate) entity: Arc<Entity>,
    pub(crate) state: Arc<EntityState>,
    pub(crate) table_state: Arc<TableState>,
    pub(crate) snapshot: Snapshot,
}

/// Plans `request` over its parts.
pub(crate) fn plan(request: &ScanRequest, parts: ScanParts) -> Result<Scan> {
    let ScanParts { table, entity, state, table_state, snapshot } = parts;
    let view = Arc::clone(snapshot.view(&table)?);
    let features = asked(&table, request)?;
    let schema = schema_of(&table, &entity, &features, request.history);
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
    let bounds = Bounds { as_of, known_at, position: snapshot.sequence(), clock: snapshot.clock() };
    let window = match (request.from, request.to) {
        (None, None) => None,
        (from, to) => Some((from.unwrap_or(i64::MIN), to.map_or(i64::MAX, |to| to.saturating_sub(1)))),
    };
    let parts = features.into_iter().enumerate();
    let features = parts.map(|(output, feature)| FeaturePart::new(&table, feature, output)).collect();
    let groups = deal(entity.buckets, request.parts.max(1));
    Ok(Scan {
        table,
        entity,
        state,
        table_state,
        features,
        snapshot,
        view,
        bounds,
        window,
        history: request.history,
        schema,
        parts: groups,
    })
}

/// Deals buckets into at most `parts` groups of like size.
fn deal(buckets: u32, parts: usize) -> Vec<Vec<u32>> {
    let parts = parts.min(buckets as usize).max(1);
    let mut dealt = vec![Vec::new(); parts];
    (0..buckets).for_each(|bucket| dealt[bucket as usize % parts].push(bucket));
    dealt
}

fn constant(bound: &Bound, which: &str) -> Result<RowBounds> {
    match bound {
        Bound::Latest => Ok(RowBounds::Latest),
        Bound::Time { micros, exclusive } => Ok(RowBounds::Constant { stated: *micros, exclusive: *exclusive }),
        Bound::Column { name, .. } => Err(Error::invalid(format!(
            "a scan has no rows, so \"{which}\" cannot be the column {name:?}; give a time, or use a join"
        ))),
    }
}

fn asked(table: &Table, request: &ScanRequest) -> Result<Vec<Arc<Feature>>> {
    let Some(columns) = &request.columns else { return Ok(table.features.clone()) };
    let mut features = Vec::with_capacity(columns.len());
    for name in columns {
        let feature = table.feature(name)?;
        if features.iter().any(|known: &Arc<Feature>| known.id == feature.id) {
            return Err(Error::invalid(format!("the scan names feature {name:?} twice; name it once")));
        }
        features.push(Arc::clone(feature));
    }
    Ok(features)
}

fn schema_of(table: &Table, entity: &Entity, features: &[Arc<Feature>], history: bool) -> SchemaRef {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut fields: Vec<Field> =
        entity.key.iter().map(|key| Field::new(&key.name, key.data_type.clone(), false)).collect();
    if history {
        fields.push(Field::new(&table.event_time, time(), false));
        fields.extend(table.row_id.iter().map(|id| Field::new(&id.name, id.data_type.clone(), true)));
        fields.push(Field::new("ingest_time", time(), false));
        fields.push(Field::new("sequence", DataType::UInt64, false));
        fields.push(Field::new("kind", DataType::Utf8, false));
        fields.push(Field::new("row", DataType::UInt32, false));
        let item = Field::new("item", DataType::Utf8, false);
        fields.push(Field::new("features", DataType::List(Arc::new(item)), true));
    }
    fields.extend(features.iter().map(|feature| Field::new(&feature.name, feature.data_type.clone(), true)));
    Arc::new(arrow_schema::Schema::new(fields))
}
