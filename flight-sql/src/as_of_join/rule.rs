//! What the optimizer does with as-of joins: filters of the left go below it, and it answers only what is used.
//!
//! DataFusion tells the sides of a node by names without their tables, and narrows inputs only; so both are done here.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Extension, Filter, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::node::AsOfJoin;
use crate::table::feature_table;

/// The rule.
#[derive(Debug)]
pub(crate) struct AsOfJoinRule;

impl OptimizerRule for AsOfJoinRule {
    fn name(&self) -> &'static str {
        "as_of_join"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Filter(filter) => push_down(filter),
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => narrow(plan),
            other => Ok(Transformed::no(other)),
        }
    }
}

/// The expressions that a table of ours in `node` holds, which DataFusion does not know of.
pub(crate) fn written_in(node: &LogicalPlan) -> Vec<&Expr> {
    let table = match node {
        LogicalPlan::TableScan(scan) => feature_table(&scan.source),
        _ => as_of_join(node).map(|join| &join.table),
    };
    table.map_or_else(Vec::new, |table| table.expressions().collect())
}

/// The as-of join that `plan` is.
pub(crate) fn as_of_join(plan: &LogicalPlan) -> Option<&AsOfJoin> {
    match plan {
        LogicalPlan::Extension(Extension { node }) => node.as_any().downcast_ref::<AsOfJoin>(),
        _ => None,
    }
}

pub(super) fn extension(join: AsOfJoin) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(join) })
}

/// What a filter above a join says of the left alone goes below it.
fn push_down(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    let Some(join) = as_of_join(&filter.input) else { return Ok(Transformed::no(LogicalPlan::Filter(filter))) };
    let left = join.input.schema();
    let of_left = |expr: &Expr| {
        !expr.is_volatile() && expr.column_refs().into_iter().all(|column| left.maybe_index_of_column(column).is_some())
    };
    let (below, above): (Vec<Expr>, Vec<Expr>) =
        split_conjunction_owned(filter.predicate.clone()).into_iter().partition(of_left);
    let Some(below) = conjunction(below) else { return Ok(Transformed::no(LogicalPlan::Filter(filter))) };
    let input = LogicalPlan::Filter(Filter::try_new(below, Arc::new(join.input.clone()))?);
    let joined = extension(join.with(input, join.columns.clone())?);
    Ok(Transformed::yes(match conjunction(above) {
        None => joined,
        Some(above) => LogicalPlan::Filter(Filter::try_new(above, Arc::new(joined))?),
    }))
}

/// A join below `plan`, with nothing but filters, sorts and limits in between, answers only what these use.
fn narrow(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut used: Vec<Expr> = plan.expressions();
    let mut between = Vec::new();
    let mut below = plan.inputs()[0];
    while matches!(below, LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_)) {
        used.extend(below.expressions());
        between.push(below.clone());
        below = below.inputs()[0];
    }
    let Some(join) = as_of_join(below) else { return Ok(Transformed::no(plan)) };
    let (schema, left) = (join.schema_ref(), join.left_columns());
    let mut needed = vec![false; join.columns.len()];
    for column in used.iter().flat_map(Expr::column_refs) {
        // What is not found is a column of an outer query, which is no column of this one.
        if let Some(index) = schema.maybe_index_of_column(column)
            && index >= left
        {
            needed[index - left] = true;
        }
    }
    if needed.iter().all(|needed| *needed) {
        return Ok(Transformed::no(plan));
    }
    if join.keeps_left && !needed.contains(&true) {
        // Every left row is answered once, whatever it matches.
        let input = join.input.clone();
        return Ok(Transformed::yes(above(&plan, between, input)?));
    }
    let columns = join.columns.iter().zip(&needed).filter(|(_, needed)| **needed).map(|(&column, _)| column).collect();
    let narrowed = extension(join.with(join.input.clone(), columns)?);
    Ok(Transformed::yes(above(&plan, between, narrowed)?))
}

/// `plan` and the nodes between, over `below`.
fn above(plan: &LogicalPlan, between: Vec<LogicalPlan>, below: LogicalPlan) -> Result<LogicalPlan> {
    let mut rebuilt = below;
    for node in between.into_iter().rev() {
        rebuilt = node.with_new_exprs(node.expressions(), vec![rebuilt])?;
    }
    plan.with_new_exprs(plan.expressions(), vec![rebuilt])
}
