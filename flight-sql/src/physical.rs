//! From a logical plan to one that runs: our scans and joins are planned at the moment that was pinned for them.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, TableScan, UserDefinedLogicalNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec, SymmetricHashJoinExec,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use firn_storage::database::Database;
use firn_storage::model::catalog::Catalog;
use firn_storage::read::ScanRequest;

use crate::as_of_join::exec::{AsOfJoinExec, Evaluated};
use crate::as_of_join::node::{AsOfJoin, Matched};
use crate::error::through;
use crate::moment::{Bounds, Pinned, TableBounds};
use crate::scan::exec::ScanExec;
use crate::scan::filters::{Chosen, entities};
use crate::table::{FeatureTable, Rows, feature_table};

/// So few entities are read as one part.
const ONE_PART_ENTITIES_MAX: usize = 1000;

/// Plans what is ours of one run of a statement.
pub(crate) struct Planner {
    pub(crate) database: Database,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) pinned: Arc<Pinned>,
    pub(crate) bounds: Bounds,
    pub(crate) now: DateTime<Utc>,
    /// How many parts a scan is cut into.
    pub(crate) parts: usize,
}

#[async_trait]
impl ExtensionPlanner for Planner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(join) = node.as_any().downcast_ref::<AsOfJoin>() else { return Ok(None) };
        let over = join.input.schema();
        let physical = |expr| planner.create_physical_expr(expr, over, session, context);
        let Matched { keys, as_of, known_at } = &join.matched;
        let evaluated = Evaluated {
            keys: keys.iter().map(physical).collect::<Result<_>>()?,
            as_of: physical(&as_of.expr)?,
            known_at: known_at.as_ref().map(|time| physical(&time.expr)).transpose()?,
        };
        let bounds = join.bounds(&self.bounds, self.now).map_err(through)?;
        let snapshot = self.pinned.snapshot(&bounds).map_err(through)?;
        let input = Arc::clone(&physical_inputs[0]);
        let exec = AsOfJoinExec::new(self.database.clone(), &self.catalog, join, &bounds, snapshot, evaluated, input)?;
        Ok(Some(Arc::new(exec)))
    }

    async fn plan_table_scan(
        &self,
        _planner: &dyn PhysicalPlanner,
        scan: &TableScan,
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(table) = feature_table(&scan.source) else { return Ok(None) };
        let bounds = TableBounds::new(&table.moment, &self.bounds, self.now).map_err(through)?;
        let (request, words) = self.request(table, scan, &bounds).map_err(through)?;
        let snapshot = self.pinned.snapshot(&bounds).map_err(through)?.clone();
        let planned = self.database.scan_at(&self.catalog, &request, snapshot).map_err(through)?;
        let schema = Arc::clone(scan.projected_schema.inner());
        let exec = ScanExec::new(self.database.clone(), planned, schema, scan.fetch, words)?;
        Ok(Some(Arc::new(exec)))
    }
}

impl Planner {
    /// What is asked of the engine, and in words.
    fn request(
        &self,
        table: &FeatureTable,
        scan: &TableScan,
        bounds: &TableBounds,
    ) -> firn_storage::error::Result<(ScanRequest, String)> {
        let chosen = Chosen::new(table, &scan.filters, self.now)?;
        let time = |expr: &Option<datafusion::logical_expr::Expr>| {
            expr.as_ref().map(|expr| crate::time::micros_of(expr, self.now, true, "the event time")).transpose()
        };
        let (from, to) = (time(&table.from)?, time(&table.to)?);
        let used: HashSet<&str> = scan.projected_schema.fields().iter().map(|field| field.name().as_str()).collect();
        let features = table.table.features.iter().filter(|feature| used.contains(feature.name.as_str()));
        let few = chosen.keys.as_ref().is_some_and(|keys| entities(keys) <= ONE_PART_ENTITIES_MAX);
        let words = words(table, &chosen);
        let request = ScanRequest {
            table: table.table.name.clone(),
            columns: Some(features.map(|feature| feature.name.clone()).collect()),
            as_of: bounds.as_of(),
            known_at: bounds.known_at(),
            history: table.rows == Rows::History,
            from: from.max(chosen.from),
            to: [to, chosen.to].into_iter().flatten().min(),
            parts: if few { 1 } else { self.parts },
            keys: chosen.keys,
            event_time: used.contains(table.table.event_time.as_str()),
            ..ScanRequest::default()
        };
        Ok((request, words))
    }
}

/// What a scan does, for an explanation.
fn words(table: &FeatureTable, chosen: &Chosen) -> String {
    let name = &table.table.name;
    let rows = match (table.rows, &chosen.keys) {
        (Rows::Latest, Some(keys)) => format!("lookup of {} keys in {name}", entities(keys)),
        (Rows::History, Some(keys)) => format!("history of {} keys in {name}", entities(keys)),
        (Rows::Latest, None) => format!("scan of {name}"),
        (Rows::History, None) => format!("scan of the history of {name}"),
    };
    let ranged = chosen.from.is_some() || chosen.to.is_some() || table.from.is_some() || table.to.is_some();
    if ranged { format!("{rows} between event times") } else { rows }
}

/// Joins give way: without it a query that was dropped goes on in them.
#[derive(Debug)]
pub(crate) struct YieldingJoins;

impl PhysicalOptimizerRule for YieldingJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let yielding = plan.transform_up(|plan| {
            let any: &dyn std::any::Any = &*plan;
            let join = any.is::<HashJoinExec>()
                || any.is::<NestedLoopJoinExec>()
                || any.is::<CrossJoinExec>()
                || any.is::<SortMergeJoinExec>()
                || any.is::<SymmetricHashJoinExec>();
            Ok(if join { Transformed::yes(Arc::new(CooperativeExec::new(plan)) as _) } else { Transformed::no(plan) })
        });
        Ok(yielding?.data)
    }

    fn name(&self) -> &'static str {
        "yielding_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
