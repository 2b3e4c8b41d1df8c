//! What can be told of a plan before it is run: whether it looks at few rows, whether its parts can be run each by itself, and
//! whether it repeats something large in every row.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};
use firn_storage::error::{Error, Result};

use crate::as_of_join::rule::as_of_join;
use crate::error::{from_datafusion, through};
use crate::scan::filters;
use crate::table::{FeatureTable, feature_table};

/// A query that looks at no more rows of a table than these is small.
const SMALL_ROWS_MAX: usize = 1000;
/// A constant in each row of an answer takes no more than this.
const CONSTANT_BYTES_MAX: usize = 64 << 10;

/// Whether `plan` looks at few rows, and makes few of them.
pub(crate) fn is_small(plan: &LogicalPlan) -> Result<bool> {
    let (mut small, mut joins) = (true, 0);
    let visited = plan.apply_with_subqueries(|node| {
        small &= match node {
            LogicalPlan::TableScan(scan) => feature_table(&scan.source).is_none_or(|table| reads_few(table, scan)),
            LogicalPlan::Values(values) => values.values.len() <= SMALL_ROWS_MAX,
            // Rows of several that are multiplied are soon many.
            LogicalPlan::Join(join) => {
                joins += 1;
                joins == 1 && !join.on.is_empty()
            }
            LogicalPlan::Unnest(_) | LogicalPlan::RecursiveQuery(_) => false,
            _ => true,
        };
        Ok(TreeNodeRecursion::Continue)
    });
    visited.map_err(|error| from_datafusion(&error))?;
    Ok(small)
}

fn reads_few(table: &FeatureTable, scan: &TableScan) -> bool {
    scan.fetch.is_some_and(|fetch| fetch <= SMALL_ROWS_MAX)
        || filters::entities_at_most(table, &scan.filters).is_some_and(|entities| entities <= SMALL_ROWS_MAX)
}

/// Whether the parts of a scan below `plan` may be run each by itself.
pub(crate) fn may_run_apart(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
            plan.inputs().into_iter().all(may_run_apart)
        }
        other => as_of_join(other).is_some_and(|join| may_run_apart(&join.input)),
    }
}

/// Refuses constants that would be repeated in many rows.
pub(crate) fn check_constants(plan: &LogicalPlan) -> Result<()> {
    let visited = plan.apply_with_subqueries(|node| {
        let filters = matches!(node, LogicalPlan::Filter(_) | LogicalPlan::TableScan(_) | LogicalPlan::Values(_));
        if filters || node.inputs().into_iter().all(|input| matches!(input, LogicalPlan::EmptyRelation(_))) {
            return Ok(TreeNodeRecursion::Continue);
        }
        node.apply_expressions(|expr| {
            expr.apply(|part| match part {
                Expr::Literal(value, _) if value.size() > CONSTANT_BYTES_MAX => {
                    Err(through(Error::exhausted(format!(
                        "a constant of {} bytes would stand in every row, where it may have {CONSTANT_BYTES_MAX}: join it, or \
                         leave it out",
                        value.size()
                    ))))
                }
                _ => Ok(TreeNodeRecursion::Continue),
            })
        })
    });
    visited.map(drop).map_err(|error| from_datafusion(&error))
}
