//! What names mean in a statement: tables of the catalog that the caller sees, and functions.
//!
//! Catalog `firn`, schema `public`: `firn.public.weather`, `public.weather` and `weather` are one table.

use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::common::TableReference;
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use firn_storage::error::Error;
use firn_storage::model::catalog::Catalog;

use crate::error::{invalid, through};
use crate::names::{CATALOG, SCHEMA};
use crate::relation::Relations;
use crate::system::{self, SystemSource};
use crate::table::{FeatureTable, Rows};
use crate::types::Types;

fn no_system_table(schema: &str, name: &TableReference) -> DataFusionError {
    let names = system::tables().filter(|table| table.schema == schema).map(|table| table.name);
    let names = names.collect::<Vec<_>>().join(", ");
    through(Error::not_found(match names.is_empty() {
        true => format!("there is no schema `{schema}`; feature tables are in {SCHEMA}"),
        false => format!("there is no table `{name}`; {schema} has {names}"),
    }))
}

/// The names of one statement.
pub(crate) struct Scope<'a> {
    catalog: Arc<Catalog>,
    state: &'a SessionState,
    relations: [Arc<dyn RelationPlanner>; 1],
    types: Arc<dyn TypePlanner>,
}

impl<'a> Scope<'a> {
    /// The names of `catalog`, and the functions of `state`.
    pub(crate) fn new(catalog: Arc<Catalog>, state: &'a SessionState) -> Self {
        Self { relations: [Arc::new(Relations::new(Arc::clone(&catalog)))], types: Arc::new(Types), catalog, state }
    }
}

impl ContextProvider for Scope<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        if name.catalog().is_some_and(|catalog| catalog != CATALOG) {
            return Err(through(Error::not_found(format!(
                "there is no catalog of `{name}`; the one there is, is {CATALOG}"
            ))));
        }
        match name.schema() {
            None | Some(SCHEMA) => {}
            Some(schema) => {
                let table = system::table(schema, name.table());
                return table
                    .map(|table| Arc::new(SystemSource(table)) as _)
                    .ok_or_else(|| no_system_table(schema, &name));
            }
        }
        let table = FeatureTable::named(&self.catalog, name.table(), Rows::Latest).map_err(through)?;
        Ok(Arc::new(table))
    }

    fn get_table_function_source(&self, name: &str, _args: Vec<Expr>) -> Result<Arc<dyn TableSource>> {
        Err(through(invalid(format!(
            "there is no table function `{name}`; there are as_of('t', moment), history('t'), changes('t', after, until), \
             and unnest(…)"
        ))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relations
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::clone(&self.types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
