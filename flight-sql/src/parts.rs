//! Parts of a large answer, each to be got from an endpoint of its own.
//!
//! A plan is cut only where its partitions are run each by itself: below an exchange of rows, each part would do the work of
//! all.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, StatisticsArgs};

use crate::as_of_join::exec::AsOfJoinExec;
use crate::error::through;
use crate::scan::exec::ScanExec;

/// A part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) number: u32,
    /// How many there are.
    pub(crate) of: u32,
}

/// An answer that may have more rows than these is cut.
const ROWS_WHOLE_MAX: usize = 1 << 20;

/// How many parts the answer of `plan` has; one if it is not cut.
pub(crate) fn count(plan: &Arc<dyn ExecutionPlan>) -> u32 {
    let parts = plan.output_partitioning().partition_count();
    if parts > 1 && rows_at_most(plan) > ROWS_WHOLE_MAX && runs_apart(plan) { parts as u32 } else { 1 }
}

/// Whether the partitions of `plan` are run each by itself.
fn runs_apart(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let mut apart = true;
    let visited = plan.apply(|node| {
        let any: &dyn std::any::Any = &**node;
        apart &= any.is::<ScanExec>()
            || any.is::<AsOfJoinExec>()
            || any.is::<FilterExec>()
            || any.is::<ProjectionExec>()
            || any.is::<CooperativeExec>();
        Ok(TreeNodeRecursion::Continue)
    });
    apart && visited.is_ok()
}

/// How many rows the scan at the bottom of `plan` answers at most.
fn rows_at_most(plan: &Arc<dyn ExecutionPlan>) -> usize {
    match plan.children().as_slice() {
        [] => {
            let statistics = plan.statistics_from_inputs(&[], &StatisticsArgs::default());
            statistics.ok().and_then(|statistics| statistics.num_rows.get_value().copied()).unwrap_or(0)
        }
        [below, ..] => rows_at_most(below),
    }
}

/// Runs a part of `plan`.
pub(crate) fn execute(
    plan: &Arc<dyn ExecutionPlan>,
    part: Part,
    context: Arc<TaskContext>,
) -> datafusion::error::Result<SendableRecordBatchStream> {
    let found = plan.output_partitioning().partition_count();
    if part.number >= part.of || found != part.of as usize {
        return Err(through(firn_storage::error::Error::precondition(format!(
            "the ticket is of part {} of {}, and the answer has {found} parts here: ask for tickets again",
            part.number, part.of
        ))));
    }
    plan.execute(part.number as usize, context)
}
