//! A feature table as a statement reads it: which rows, and at which moment.
//!
//! It is the source behind a scan of DataFusion's. The moment is kept as it was written, with its parameters, and worked out
//! when the statement runs; so a plan can be kept and run again.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_schema::SchemaRef;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableSource};
use firn_storage::model::catalog::{Catalog, Entity, Table};
use firn_storage::read::ScanRequest;

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

/// What each feature is answered with, of the latest rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct With {
    /// Why its answer is what it is.
    pub(crate) status: bool,
    /// When its answer became true.
    pub(crate) event_times: bool,
}

/// A feature table and how it is read.
#[derive(Debug, Clone)]
pub(crate) struct FeatureTable {
    pub(crate) entity: Arc<Entity>,
    pub(crate) table: Arc<Table>,
    pub(crate) rows: Rows,
    pub(crate) moment: WrittenMoment,
    pub(crate) with: With,
    /// Event times from and to, of history.
    pub(crate) from: Option<Expr>,
    pub(crate) to: Option<Expr>,
    /// Its columns, which follow from the others.
    pub(crate) schema: SchemaRef,
}

impl FeatureTable {
    /// `rows` of `table` now.
    pub(crate) fn new(entity: Arc<Entity>, table: Arc<Table>, rows: Rows) -> Self {
        let (moment, with) = (WrittenMoment::default(), With::default());
        let schema = request(rows, with).schema(&table, &entity).expect("columns that the engine has by itself");
        Self { entity, table, rows, moment, with, from: None, to: None, schema }
    }

    /// The same with `with` after each feature.
    pub(crate) fn with(self, with: With) -> firn_storage::error::Result<Self> {
        let schema = request(self.rows, with).schema(&self.table, &self.entity)?;
        Ok(Self { with, schema, ..self })
    }

    /// What is asked of the engine for all of its columns, at no moment yet.
    pub(crate) fn request(&self) -> ScanRequest {
        ScanRequest { table: self.table.name.clone(), ..request(self.rows, self.with) }
    }

    /// `rows` of the table of `catalog` that is called `name`.
    pub(crate) fn named(catalog: &Catalog, name: &str, rows: Rows) -> firn_storage::error::Result<Self> {
        let table = catalog.table(name).map_err(in_words_of_sql)?;
        Ok(Self::new(Arc::clone(catalog.entity_of(table)), Arc::clone(table), rows))
    }

    /// All that it reads, in words that no other read has.
    pub(crate) fn read(&self) -> String {
        let Self { entity: _, table, rows, moment, with, from, to, schema: _ } = self;
        format!("{} ({rows:?}, {moment:?}, {with:?}, from {from:?}, to {to:?})", table.name)
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
        let Self { entity: _, table, rows, moment, with, from, to, schema: _ } = self;
        let others = (other.table.id, &other.rows, &other.moment, &other.with, &other.from, &other.to);
        (table.id, rows, moment, with, from, to) == others
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

/// What is asked of the engine for all columns of `rows` of a table.
fn request(rows: Rows, with: With) -> ScanRequest {
    let With { status, event_times } = with;
    ScanRequest { history: rows == Rows::History, event_time: true, status, event_times, ..ScanRequest::default() }
}
