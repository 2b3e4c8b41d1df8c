//! Joins with a feature table by all of its key columns: each row of the other side looks its entity up, so that nothing of
//! the table is read that nobody asked for.
//!
//! Only rows at the table's own moment are looked up, and what has no match is null, as in any join. Where the other side has
//! more rows than the table, reading the whole table is less work; that is decided when the plan runs
//! ([`physical`](crate::physical)).

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{NullEquality, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Filter, Join, JoinType, LogicalPlan, Projection};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::node::{AsOfJoin, Matched};
use super::rule::extension;
use crate::table::{FeatureTable, Rows, With, feature_table};

/// The rule.
#[derive(Debug)]
pub(crate) struct LookupJoinRule;

impl OptimizerRule for LookupJoinRule {
    fn name(&self) -> &'static str {
        "lookup_join"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(join) = &plan else { return Ok(Transformed::no(plan)) };
        match looked_up(join)? {
            Some(rewritten) => Ok(Transformed::yes(rewritten)),
            None => Ok(Transformed::no(plan)),
        }
    }
}

/// A side of a join that is a feature table, read whole.
struct Table {
    table: FeatureTable,
    name: TableReference,
    columns: Vec<usize>,
}

impl Table {
    fn of(plan: &LogicalPlan) -> Option<Self> {
        match plan {
            LogicalPlan::TableScan(scan) if scan.filters.is_empty() && scan.fetch.is_none() => {
                let table = feature_table(&scan.source);
                let table = table.filter(|table| table.rows == Rows::Latest && table.with == With::default())?;
                let all = || (0..table.columns().fields().len()).collect();
                let columns = scan.projection.clone().unwrap_or_else(all);
                Some(Self { table: table.clone(), name: scan.table_name.clone(), columns })
            }
            LogicalPlan::SubqueryAlias(alias) => Some(Self { name: alias.alias.clone(), ..Self::of(&alias.input)? }),
            _ => None,
        }
    }
}

/// `join` as lookups, if it can be.
fn looked_up(join: &Join) -> Result<Option<LogicalPlan>> {
    let served = matches!(join.join_type, JoinType::Inner | JoinType::Left)
        && join.null_equality == NullEquality::NullEqualsNothing
        && !join.null_aware;
    if !served {
        return Ok(None);
    }
    if let Some(rewritten) = with_right(join, &join.left, Table::of(&join.right), &join.on)? {
        return Ok(Some(rewritten));
    }
    if join.join_type != JoinType::Inner {
        return Ok(None);
    }
    let swapped: Vec<(Expr, Expr)> = join.on.iter().map(|(left, right)| (right.clone(), left.clone())).collect();
    let Some(rewritten) = with_right(join, &join.right, Table::of(&join.left), &swapped)? else { return Ok(None) };
    // The columns are in the order of the sides as they were written.
    let columns = join.schema.columns().into_iter().map(Expr::Column).collect();
    Projection::try_new(columns, Arc::new(rewritten)).map(|projection| Some(LogicalPlan::Projection(projection)))
}

/// The rows of `other` with those of the table, by the pairs `on`.
fn with_right(
    join: &Join,
    other: &LogicalPlan,
    table: Option<Table>,
    on: &[(Expr, Expr)],
) -> Result<Option<LogicalPlan>> {
    let Some(Table { table, name, columns }) = table else { return Ok(None) };
    let is_key = |expr: &Expr, key: &str| matches!(expr, Expr::Column(column) if column.name == key && column.relation.as_ref() == Some(&name));
    let mut rest: Vec<(Expr, Expr)> = on.to_vec();
    let mut keys = Vec::with_capacity(table.keys());
    for key in &table.entity.key {
        let Some(place) = rest.iter().position(|(_, right)| is_key(right, &key.name)) else { return Ok(None) };
        keys.push(rest.remove(place).0);
    }
    let rest = rest.into_iter().map(|(left, right)| left.eq(right)).chain(join.filter.clone());
    let rest = conjunction(rest);
    let keeps_left = join.join_type == JoinType::Left;
    if keeps_left && rest.is_some() {
        return Ok(None);
    }
    let matched = Matched { keys, as_of: None, known_at: None };
    let node = AsOfJoin::new(other.clone(), table, name, matched, keeps_left, false)?;
    let joined = extension(node.with(other.clone(), columns)?);
    Ok(Some(match rest {
        None => joined,
        Some(rest) => LogicalPlan::Filter(Filter::try_new(rest, Arc::new(joined))?),
    }))
}
