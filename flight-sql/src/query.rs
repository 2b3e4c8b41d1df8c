//! A query: planned and optimized once, its parameters left in, and run any number of times, each at a moment of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use chrono::{DateTime, Utc};
use datafusion::common::ParamValues;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan};
use datafusion::scalar::ScalarValue;
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use firn_storage::error::Result;
use firn_storage::model::catalog::Catalog;

use crate::as_of_join::rule::{as_of_join, written_in};
use crate::door::Need;
use crate::error::{invalid, planned, through};
use crate::moment::{Bounds, TableBounds, Wanted};
use crate::parameters::{self, Parameter};
use crate::scope::Scope;
use crate::shape;
use crate::table::{FeatureTable, feature_table};
use crate::text::Parsed;
use crate::time::{at_clock, reads_clock, value_of};
use crate::told::told_schema;

/// A query that is planned.
#[derive(Debug)]
pub(crate) struct Query {
    /// The statement.
    pub(crate) text: String,
    plan: LogicalPlan,
    /// Whether the plan is optimized: one with parameters of unknown types is when they have values.
    optimized: bool,
    /// The columns that clients are told, and get.
    schema: SchemaRef,
    /// The types of the parameters, by their number less one; none where any will do.
    parameters: Vec<Parameter>,
    /// Whether it asks for the clock.
    reads_clock: bool,
    /// What its caller must be granted.
    pub(crate) needs: Vec<Need>,
    /// Whose names it was planned with.
    pub(crate) catalog: Arc<Catalog>,
}

/// A query with its values, for one run.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) plan: LogicalPlan,
    /// The columns that clients are told, and get: now that parameters have values, all have types.
    pub(crate) schema: SchemaRef,
    /// The tables that it reads, with their bounds.
    pub(crate) wanted: Vec<Wanted>,
    /// Whether it looks at few rows.
    pub(crate) small: bool,
}

impl Query {
    /// Plans a statement, which needs `needs`, with the names of `catalog`.
    pub(crate) fn new(
        Parsed { statement, parameters, text }: Parsed,
        needs: Vec<Need>,
        catalog: Arc<Catalog>,
        state: &SessionState,
    ) -> Result<Self> {
        let scope = Scope::new(Arc::clone(&catalog), state);
        let options = ParserOptions::from(&state.config_options().sql_parser);
        let planner = SqlToRel::new_with_options(&scope, options);
        let plan = planner.sql_statement_to_plan(statement).map_err(|error| planned(&error))?;
        let types = parameters::types_of(&plan, parameters)?;
        let known = types.iter().all(|parameter| parameter.data_type.is_some());
        let plan = if known { state.optimize(&plan).map_err(|error| planned(&error))? } else { plan };
        let schema = told_schema(plan.schema().as_arrow());
        let reads_clock = any_expression(&plan, &mut reads_clock)?;
        Ok(Self { text, plan, optimized: known, schema, parameters: types, reads_clock, needs, catalog })
    }

    /// The columns that clients are told, and get.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The types of the parameters.
    pub(crate) fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The query with `values` for its parameters, at the clock `now`, within `bounds`.
    pub(crate) fn bind(
        &self,
        values: Vec<ScalarValue>,
        bounds: &Bounds,
        now: DateTime<Utc>,
        state: &SessionState,
    ) -> Result<Bound> {
        let (given, asked) = (values.len(), self.parameters.len());
        if given != asked {
            return Err(invalid(format!("the statement has {}, and {given} are bound", parameters::counted(asked))));
        }
        let mut plan = self.plan.clone();
        if asked > 0 || self.reads_clock {
            let values = parameters::cast(values, &self.parameters)?;
            plan = fill(plan, values, now).map_err(|error| planned(&error))?;
        }
        if !self.optimized {
            plan = state.optimize(&plan).map_err(|error| planned(&error))?;
        }
        let schema = if self.optimized { Arc::clone(&self.schema) } else { told_schema(plan.schema().as_arrow()) };
        shape::check_constants(&plan)?;
        let small = shape::is_small(&plan)?;
        let mut wanted = Vec::new();
        let mut look = |table: &FeatureTable, bounds: TableBounds| {
            wanted.push(Wanted { table: table.table.name.clone(), bounds });
        };
        let mut failed = None;
        let visited = plan.apply_with_subqueries(|node| {
            let found = match node {
                LogicalPlan::TableScan(scan) => feature_table(&scan.source)
                    .map(|table| TableBounds::new(&table.moment, bounds, now).map(|bounds| look(table, bounds))),
                _ => as_of_join(node).map(|join| join.bounds(bounds, now).map(|bounds| look(&join.table, bounds))),
            };
            Ok(match found {
                Some(Err(error)) => {
                    failed = Some(error);
                    TreeNodeRecursion::Stop
                }
                _ => TreeNodeRecursion::Continue,
            })
        });
        visited.map_err(|error| planned(&error))?;
        failed.map_or(Ok(()), Err)?;
        Ok(Bound { plan, schema, wanted, small })
    }
}

/// Whether `is` holds for some part of some expression of `plan`.
fn any_expression(plan: &LogicalPlan, is: &mut dyn FnMut(&Expr) -> bool) -> Result<bool> {
    let mut found = false;
    let mut look = |expr: &Expr| {
        expr.apply(|part| {
            found |= is(part);
            Ok(TreeNodeRecursion::Continue)
        })
    };
    let visited = plan.apply_with_subqueries(|node| {
        node.apply_expressions(&mut look)?;
        written_in(node).into_iter().try_for_each(|expr| look(expr).map(|_| ()))?;
        Ok(TreeNodeRecursion::Continue)
    });
    visited.map_err(|error| planned(&error))?;
    Ok(found)
}

/// Puts values for parameters and the clock into `plan`, also where DataFusion does not look.
fn fill(plan: LogicalPlan, values: Vec<ScalarValue>, now: DateTime<Utc>) -> datafusion::error::Result<LogicalPlan> {
    let filled = |expr: Expr| {
        let value = |expr: Expr| match &expr {
            Expr::Placeholder(placeholder) => match parameters::number(&placeholder.id) {
                Some(number) if number < values.len() => Transformed::yes(Expr::Literal(values[number].clone(), None)),
                _ => Transformed::no(expr),
            },
            _ => Transformed::yes(at_clock(expr, now)),
        };
        expr.transform_up(|expr| Ok(value(expr))).map(|transformed| transformed.data)
    };
    let parameters = ParamValues::List(values.iter().cloned().map(Into::into).collect());
    let plan = plan.replace_params_with_values(&parameters)?;
    let plan = plan.transform_up_with_subqueries(|node| {
        let node = node.map_expressions(|expr| Ok(Transformed::yes(filled(expr)?)))?.data;
        Ok(Transformed::yes(match node {
            LogicalPlan::TableScan(mut scan) => {
                if let Some(table) = feature_table(&scan.source) {
                    let table = table.clone().map_expressions(&filled)?;
                    scan.source = Arc::new(table);
                }
                LogicalPlan::TableScan(scan)
            }
            // What a limit is computed of must be a number by now.
            LogicalPlan::Limit(mut limit) => {
                for expr in [&mut limit.skip, &mut limit.fetch].into_iter().flatten() {
                    **expr = Expr::Literal(value_of(expr, now).map_err(through)?, None);
                }
                LogicalPlan::Limit(limit)
            }
            other => match as_of_join(&other) {
                None => other,
                Some(join) => {
                    let mut join = join.clone();
                    join.table = join.table.map_expressions(&filled)?;
                    LogicalPlan::Extension(Extension { node: Arc::new(join) })
                }
            },
        }))
    })?;
    Ok(plan.data)
}

/// Plans by their text and what it was planned with, the least used forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    kept: BTreeMap<(String, u64), (u64, Arc<Query>)>,
    uses: u64,
}

impl Plans {
    /// The plan of `text` in a schema version.
    pub(crate) fn get(&mut self, text: &str, schema_version: u64) -> Option<Arc<Query>> {
        self.uses += 1;
        let kept = self.kept.get_mut(&(text.to_owned(), schema_version))?;
        kept.0 = self.uses;
        Some(Arc::clone(&kept.1))
    }

    /// Keeps a plan among at most `most`.
    pub(crate) fn keep(&mut self, text: &str, query: &Arc<Query>, most: usize) {
        self.uses += 1;
        self.kept.insert((text.to_owned(), query.catalog.schema_version), (self.uses, Arc::clone(query)));
        while self.kept.len() > most {
            let oldest = self.kept.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            oldest.map(|key| self.kept.remove(&key));
        }
    }
}
