//! A feature table as the source of a scan of DataFusion's.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableSource};

use super::filters;
use crate::table::FeatureTable;

impl TableSource for FeatureTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters::supported(self, filters))
    }
}
