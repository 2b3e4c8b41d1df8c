//! Tables that nobody writes: what is declared (`information_schema`) and what runs (`firn_system`), as far as the caller sees
//! it. They have no past: they say what is when the query is run.

mod firn_system;
mod information_schema;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use datafusion::logical_expr::{TableSource, TableType};
use datafusion::scalar::ScalarValue;
use firn_storage::error::Result;
use firn_storage::model::catalog::Catalog;

use crate::listing::{listing, schema_of};
use crate::moment::Bounds;
use crate::running::Running;

/// What rows are made of.
pub(crate) struct Here<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) bounds: &'a Bounds,
    pub(crate) running: &'a Running,
}

type Rows = Vec<Vec<ScalarValue>>;

/// A table that nobody writes.
pub(crate) struct SystemTable {
    pub(crate) schema: &'static str,
    pub(crate) name: &'static str,
    columns: &'static [(&'static str, DataType)],
    rows: fn(&Here<'_>) -> Rows,
}

/// All of them.
pub(crate) fn tables() -> impl Iterator<Item = &'static SystemTable> {
    information_schema::TABLES.iter().chain(firn_system::TABLES)
}

/// The table `name` of the schema `schema`.
pub(crate) fn table(schema: &str, name: &str) -> Option<&'static SystemTable> {
    tables().find(|table| table.schema == schema && table.name == name)
}

impl std::fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

impl SystemTable {
    /// Its columns.
    pub(crate) fn columns(&self) -> SchemaRef {
        schema_of(self.columns)
    }

    /// Its rows.
    pub(crate) fn rows(&self, here: &Here<'_>) -> Result<RecordBatch> {
        listing(self.columns(), (self.rows)(here))
    }
}

/// Such a table as the source of a scan.
#[derive(Debug)]
pub(crate) struct SystemSource(pub(crate) &'static SystemTable);

impl TableSource for SystemSource {
    fn schema(&self) -> SchemaRef {
        self.0.columns()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }
}

/// The table behind a source of DataFusion's, if it is one of these.
pub(crate) fn system_table(source: &Arc<dyn TableSource>) -> Option<&'static SystemTable> {
    source.downcast_ref::<SystemSource>().map(|source| source.0)
}
