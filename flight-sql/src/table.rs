//! A feature table as a statement reads it: which rows, and at which moment.
//!
//! It is the source behind a scan of DataFusion's. The moment is kept as it was written, with its parameters, and worked out
//! when the statement runs; so a plan can be kept and run again.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableSource};
use firn_storage::model::catalog::{Catalog, Entity, Table};

use crate::words::in_words_of_sql;

/// Which rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Rows {
    /// One for each entity that stands.
    Latest,
    /// Every row and tombstone.
    History,
}

/// The moment of a table as it was written. What is not said is open, within the bounds of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct WrittenMoment {
    /// What was true.
    pub(crate) as_of: Option<Expr>,
    /// Whether the moment itself is left out.
    pub(crate) exclusive: bool,
    /// What was known.
    pub(crate) known_at: Option<Expr>,
    /// What became known after this, of changes.
    pub(crate) known_after: Option<Expr>,
}

/// A feature table and how it is read.
#[derive(Debug, Clone)]
pub(crate) struct FeatureTable {
    pub(crate) entity: Arc<Entity>,
    pub(crate) table: Arc<Table>,
    pub(crate) rows: Rows,
    pub(crate) moment: WrittenMoment,
    /// Event times from and to, of history.
    pub(crate) from: Option<Expr>,
    pub(crate) to: Option<Expr>,
    /// Its columns, which follow from the others.
    pub(crate) schema: SchemaRef,
}

/// The type of times.
pub(crate) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl FeatureTable {
    /// `rows` of `table` now.
    pub(crate) fn new(entity: Arc<Entity>, table: Arc<Table>, rows: Rows) -> Self {
        let schema = schema_of(&entity, &table, rows);
        Self { entity, table, rows, moment: WrittenMoment::default(), from: None, to: None, schema }
    }

    /// `rows` of the table of `catalog` that is called `name`.
    pub(crate) fn named(catalog: &Catalog, name: &str, rows: Rows) -> firn_storage::error::Result<Self> {
        let table = catalog.table(name).map_err(in_words_of_sql)?;
        Ok(Self::new(Arc::clone(catalog.entity_of(table)), Arc::clone(table), rows))
    }

    /// All that it reads, in words that no other read has.
    pub(crate) fn read(&self) -> String {
        let Self { entity: _, table, rows, moment, from, to, schema: _ } = self;
        format!("{} ({rows:?}, {moment:?}, from {from:?}, to {to:?})", table.name)
    }

    /// The columns.
    pub(crate) fn columns(&self) -> &SchemaRef {
        &self.schema
    }

    /// The number of key columns, which come first.
    pub(crate) fn keys(&self) -> usize {
        self.entity.key.len()
    }

    /// The columns that the engine answers beside keys and features, which come between them.
    pub(crate) fn beside(&self) -> usize {
        self.schema.fields().len() - self.keys() - self.table.features.len()
    }

    /// What of a moment is written: everything that may hold parameters.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expr> {
        let Self { moment: WrittenMoment { as_of, exclusive: _, known_at, known_after }, from, to, .. } = self;
        [as_of, known_at, known_after, from, to].into_iter().flatten()
    }

    /// The same with what is written put through `map`.
    pub(crate) fn map_expressions(mut self, map: &dyn Fn(Expr) -> Result<Expr>) -> Result<Self> {
        let Self { moment: WrittenMoment { as_of, exclusive: _, known_at, known_after }, from, to, .. } = &mut self;
        for written in [as_of, known_at, known_after, from, to] {
            *written = written.take().map(map).transpose()?;
        }
        Ok(self)
    }
}

/// Two are the same if they read the same; the schema follows.
impl PartialEq for FeatureTable {
    fn eq(&self, other: &Self) -> bool {
        let Self { entity: _, table, rows, moment, from, to, schema: _ } = self;
        (table.id, rows, moment, from, to) == (other.table.id, &other.rows, &other.moment, &other.from, &other.to)
    }
}

impl Eq for FeatureTable {}

impl Hash for FeatureTable {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.table.id, self.rows).hash(state);
    }
}

impl PartialOrd for FeatureTable {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (self.table.id, self.rows, &self.moment).partial_cmp(&(other.table.id, other.rows, &other.moment))
    }
}

/// The feature table behind a source of DataFusion's, if it is one.
pub(crate) fn feature_table(source: &Arc<dyn TableSource>) -> Option<&FeatureTable> {
    source.downcast_ref::<FeatureTable>()
}

/// The columns in the order in which a scan of the engine answers them.
fn schema_of(entity: &Entity, table: &Table, rows: Rows) -> SchemaRef {
    let keys = entity.key.iter().map(|key| Field::new(&key.name, key.data_type.clone(), false));
    let mut fields: Vec<Field> = keys.collect();
    fields.push(Field::new(&table.event_time, time_type(), false));
    if rows == Rows::History {
        fields.extend(table.row_id.iter().map(|id| Field::new(&id.name, id.data_type.clone(), true)));
        fields.push(Field::new("ingest_time", time_type(), false));
        fields.push(Field::new("sequence", DataType::UInt64, false));
        fields.push(Field::new("kind", DataType::Utf8, false));
        fields.push(Field::new("row", DataType::UInt32, false));
        let item = Field::new("item", DataType::Utf8, false);
        fields.push(Field::new("features", DataType::List(Arc::new(item)), true));
    }
    fields.extend(table.features.iter().map(|feature| Field::new(&feature.name, feature.data_type.clone(), true)));
    Arc::new(Schema::new(fields))
}
