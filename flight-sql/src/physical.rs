//! From a logical plan to one that runs: our scans and joins are planned at the moment that was pinned for them.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::catalog::Session;
use datafusion::common::NullEquality;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::Result;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, TableScan, UserDefinedLogicalNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, PartitionMode, SortMergeJoinExec,
    SymmetricHashJoinExec,
};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use firn_storage::database::Database;
use firn_storage::model::catalog::Catalog;
use firn_storage::read::ScanRequest;

use crate::as_of_join::exec::{AsOfJoinExec, Evaluated};
use crate::as_of_join::node::{AsOfJoin, Matched};
use crate::error::{invalid, through};
use crate::moment::{Bounds, Pinned, TableBounds};
use crate::running::Running;
use crate::scan::exec::ScanExec;
use crate::scan::filters::{Chosen, entities};
use crate::system::{Here, system_table};
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
    /// What runs.
    pub(crate) running: Arc<Running>,
    /// How many parts a scan is cut into.
    pub(crate) parts: usize,
    /// A table that takes more is not held whole to be joined.
    pub(crate) hash_bytes_max: u64,
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
            as_of: as_of.as_ref().map(|time| physical(&time.expr)).transpose()?,
            known_at: known_at.as_ref().map(|time| physical(&time.expr)).transpose()?,
        };
        let bounds = join.bounds(&self.bounds, self.now).map_err(through)?;
        let snapshot = self.pinned.snapshot(&bounds).map_err(through)?;
        let input = Arc::clone(&physical_inputs[0]);
        if join.is_lookup()
            && let Some(hashed) = self.hashed(join, &bounds, &evaluated.keys, &input)?
        {
            return Ok(Some(hashed));
        }
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
        let Some(table) = feature_table(&scan.source) else { return self.system_scan(scan) };
        let bounds = TableBounds::new(&table.moment, &self.bounds, self.now).map_err(through)?;
        let columns = Arc::clone(scan.projected_schema.inner());
        Ok(Some(Arc::new(self.scan(table, &bounds, &scan.filters, columns, scan.fetch)?)))
    }
}

impl Planner {
    /// A scan of a table that nobody writes.
    fn system_scan(&self, scan: &TableScan) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(table) = system_table(&scan.source) else { return Ok(None) };
        let here = Here { catalog: &self.catalog, bounds: &self.bounds, running: &self.running };
        let rows = table.rows(&here).map_err(through)?;
        let exec = MemorySourceConfig::try_new_exec(&[vec![rows]], table.columns(), scan.projection.clone())?;
        Ok(Some(exec))
    }

    /// A scan of `table`, answering `columns` of the rows for which `filters` hold, all of which the engine takes.
    fn scan(
        &self,
        table: &FeatureTable,
        bounds: &TableBounds,
        filters: &[Expr],
        columns: SchemaRef,
        fetch: Option<usize>,
    ) -> Result<ScanExec> {
        let (request, words) = self.request(table, bounds, filters, &columns).map_err(through)?;
        let snapshot = self.pinned.snapshot(bounds).map_err(through)?.clone();
        let planned = self.database.scan_at(&self.catalog, &request, snapshot).map_err(through)?;
        ScanExec::new(self.database.clone(), planned, columns, fetch, words)
    }

    /// What is asked of the engine, and in words.
    fn request(
        &self,
        table: &FeatureTable,
        bounds: &TableBounds,
        filters: &[Expr],
        columns: &Schema,
    ) -> firn_storage::error::Result<(ScanRequest, String)> {
        let chosen = Chosen::new(table, filters, self.now)?;
        let time = |expr: &Option<Expr>| {
            expr.as_ref().map(|expr| crate::time::micros_of(expr, self.now, true, "the event time")).transpose()
        };
        let (from, to) = (time(&table.from)?, time(&table.to)?);
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            return Err(invalid("history('t', from, to) begins later than it ends: give the earlier moment first"));
        }
        let used = columns.fields().iter().map(|field| field.name().clone());
        let few = chosen.keys.as_ref().is_some_and(|keys| entities(keys) <= ONE_PART_ENTITIES_MAX);
        let words = words(table, &chosen);
        let request = ScanRequest {
            as_of: bounds.as_of(),
            known_at: bounds.known_at(),
            from: from.max(chosen.from),
            to: [to, chosen.to].into_iter().flatten().min(),
            parts: if few { 1 } else { self.parts },
            keys: chosen.keys,
            only: Some(used.collect()),
            ..table.request()
        };
        Ok((request, words))
    }

    /// A lookup join as a join with the whole table, where that is less: `input` has more rows than the table, which fits
    /// into the memory of the query.
    fn hashed(
        &self,
        join: &AsOfJoin,
        bounds: &TableBounds,
        keys: &[Arc<dyn PhysicalExpr>],
        input: &Arc<dyn ExecutionPlan>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let mut needed: Vec<usize> = (0..join.table.keys()).chain(join.columns.iter().copied()).collect();
        needed.sort_unstable();
        needed.dedup();
        let whole = Arc::new(join.table.columns().project(&needed)?);
        let statistics = StatisticsContext::new().compute(input.as_ref(), &StatisticsArgs::new())?;
        let Some(&rows) = statistics.num_rows.get_value() else { return Ok(None) };
        let scan = self.scan(&join.table, bounds, &[], Arc::clone(&whole), None)?;
        if rows <= scan.rows_at_most() || scan.bytes_at_most() > self.hash_bytes_max {
            return Ok(None);
        }
        let column = |schema: &Schema, place: usize| -> Arc<dyn PhysicalExpr> {
            Arc::new(Column::new(schema.field(place).name(), place))
        };
        let on = keys.iter().enumerate().map(|(place, key)| (column(&whole, place), Arc::clone(key)));
        let kind = if join.keeps_left { JoinType::Right } else { JoinType::Inner };
        let joined = HashJoinExecBuilder::new(Arc::new(scan), Arc::clone(input), on.collect(), kind)
            .with_partition_mode(PartitionMode::CollectLeft)
            .with_null_equality(NullEquality::NullEqualsNothing)
            .build()?;
        let schema = joined.schema();
        let left = (0..input.schema().fields().len()).map(|place| whole.fields().len() + place);
        let right = join.columns.iter().filter_map(|column| needed.iter().position(|needed| needed == column));
        let columns = left.chain(right).map(|place| (column(&schema, place), schema.field(place).name().clone()));
        let columns: Vec<(Arc<dyn PhysicalExpr>, String)> = columns.collect();
        Ok(Some(Arc::new(ProjectionExec::try_new(columns, Arc::new(joined))?)))
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
