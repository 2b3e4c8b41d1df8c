//! Scans: every entity of a table at some bounds, or every row of its history.
//!
//! A scan is cut into parts, groups of buckets, that share one snapshot and may be read at the same time. The order
//! of rows is unspecified.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, SchemaRef, TimeUnit};

use super::plan::{Bound, FeaturePart, PlannedBound};
use super::snapshot::Snapshot;
use super::{history, latest_rows};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::model::catalog::{Entity, Feature, Table};
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

/// A scan, pinned to one snapshot.
#[derive(Debug)]
pub struct Scan {
    pub(crate) table: Arc<Table>,
    pub(crate) entity: Arc<Entity>,
    pub(crate) state: Arc<EntityState>,
    pub(crate) table_state: Arc<TableState>,
    /// Whose clock says how old the snapshot is.
    engine: Arc<Engine>,
    pub(crate) features: Vec<FeaturePart>,
    pub(crate) snapshot: Snapshot,
    pub(crate) as_of: Micros,
    pub(crate) known_at: Micros,
    /// The moment ages are measured from.
    pub(crate) base: Micros,
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
        let read = read.map(move |batch| pinned.snapshot.check_age(pinned.engine.clock.monotonic()).and(batch));
        let first = RecordBatch::new_empty(Arc::clone(&self.schema));
        Ok(Box::new(std::iter::once(Ok(first)).chain(read)))
    }

    fn read_bucket(self: &Arc<Self>, bucket: u32) -> Batches {
        match self.history {
            true => history::read(Arc::clone(self), bucket),
            false => latest_rows::read(Arc::clone(self), bucket),
        }
    }

    pub(crate) fn view(&self) -> &Arc<TableView> {
        self.snapshot.view(self.table.id)
    }
}

/// What a scan needs beside its request.
pub(crate) struct ScanParts {
    pub(crate) engine: Arc<Engine>,
    pub(crate) table: Arc<Table>,
    pub(crate) entity: Arc<Entity>,
    pub(crate) state: Arc<EntityState>,
    pub(crate) table_state: Arc<TableState>,
    pub(crate) snapshot: Snapshot,
}

/// Plans `request` over its parts.
pub(crate) fn plan(request: &ScanRequest, parts: ScanParts) -> Result<Scan> {
    let ScanParts { engine, table, entity, state, table_state, snapshot } = parts;
    let features = asked(&table, request)?;
    let schema = schema_of(&table, &entity, &features, request.history);
    let as_of = constant(&request.as_of, "as_of")?;
    let known_at = constant(&request.known_at, "known_at")?;
    let horizon = snapshot.view(table.id).horizon;
    for (which, bound, least) in [("as_of", as_of, horizon.events), ("known_at", known_at, horizon.knowledge)] {
        if bound < least {
            return Err(Error::out_of_range(format!(
                "\"{which}\" lies before the horizon of table {}: its retention forgot what is asked; the least bound is \
                 {{\"us\":{least}}}",
                table.name
            )));
        }
    }
    let base = match (&request.as_of, &request.known_at) {
        (Bound::Time { micros, .. }, _) | (Bound::Latest, Bound::Time { micros, .. }) => *micros,
        _ => snapshot.clock(),
    };
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
        engine,
        features,
        snapshot,
        as_of,
        known_at,
        base,
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

fn constant(bound: &Bound, which: &str) -> Result<Micros> {
    match bound {
        Bound::Latest => Ok(i64::MAX),
        Bound::Time { micros, exclusive } => Ok(if *exclusive { micros.saturating_sub(1) } else { *micros }),
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

/// A constant bound as a plan has it, for pinning a snapshot.
pub(crate) fn planned(bound: &Bound) -> PlannedBound {
    match bound {
        Bound::Time { micros, exclusive } => PlannedBound::Time { micros: *micros, exclusive: *exclusive },
        _ => PlannedBound::Latest,
    }
}
