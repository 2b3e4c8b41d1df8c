//! Plain feature tables in FROM, and the moments that are written after them.

use datafusion::common::{DFSchema, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use firn_storage::error::Error;
use sqlparser::ast::{Expr as Written, TableAlias, TableFactor};
use std::sync::Arc;

use crate::error::{invalid, through};
use crate::table::{FeatureTable, WrittenMoment, feature_table};
use crate::text::VALID_TIME;

/// The feature table that `relation` names, without its clauses of time, and what it is called.
pub(super) fn plain_table(
    relation: &TableFactor,
    context: &mut dyn RelationPlannerContext,
) -> Result<(FeatureTable, TableReference, Option<TableAlias>)> {
    let TableFactor::Table { name, alias, .. } = relation else {
        return Err(through(invalid(format!("a moment can be read of a feature table alone, not of `{relation}`"))));
    };
    let called = context.object_name_to_table_reference(name.clone())?;
    let bare = sqlparser::ast::TableFactor::Table {
        name: name.clone(),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    let plan = context.plan(bare)?;
    let table = match &plan {
        LogicalPlan::TableScan(scan) => feature_table(&scan.source),
        _ => None,
    };
    match table {
        Some(table) => Ok((table.clone(), called, alias.clone())),
        None => Err(through(invalid(format!(
            "`{called}` is no feature table, so it has no past: put the clause of time after the tables inside it"
        )))),
    }
}

/// A scan of `source`, which is called `name`.
///
/// DataFusion takes two scans of one name for one read, whatever they read, and computes only one of two subqueries that are the
/// same to it. So inside a scan is called by all that it reads.
pub(super) fn scan(name: TableReference, source: FeatureTable) -> Result<LogicalPlan> {
    let read = TableReference::bare(source.read());
    LogicalPlanBuilder::scan(read, Arc::new(source), None)?.alias(name)?.build()
}

/// The moment that the clauses after a table say: system time, valid time, or both.
pub(super) fn written_moment(clause: Written, context: &mut dyn RelationPlannerContext) -> Result<WrittenMoment> {
    let clauses = match clause {
        Written::Tuple(clauses) => clauses,
        one => vec![one],
    };
    let mut moment = WrittenMoment::default();
    for clause in clauses {
        let (valid, expr) = match clause {
            Written::Prefixed { prefix, value } if prefix.value == VALID_TIME => (true, *value),
            expr => (false, expr),
        };
        let expr = constant(expr, context)?;
        let (place, name) = if valid {
            (&mut moment.as_of, "FOR VALID_TIME AS OF")
        } else {
            (&mut moment.known_at, "FOR SYSTEM_TIME AS OF")
        };
        if place.replace(expr).is_some() {
            return Err(through(invalid(format!("`{name}` stands twice after one table: once is enough"))));
        }
    }
    Ok(moment)
}

/// An expression that names no column.
pub(super) fn constant(expr: Written, context: &mut dyn RelationPlannerContext) -> Result<Expr> {
    let written = expr.to_string();
    context.sql_to_expr(expr, &DFSchema::empty()).map_err(|error| match crate::error::from_datafusion(&error) {
        error if error.message().contains("No field named") => through(not_constant(&written)),
        error => through(error),
    })
}

fn not_constant(written: &str) -> Error {
    invalid(format!(
        "the moment of a table is a constant or a parameter, not `{written}`; a moment for each row is an ASOF JOIN"
    ))
}
