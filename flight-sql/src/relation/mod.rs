//! Relations in FROM that are ours: tables with a clause of time, table functions, as-of joins.
//!
//! Everything else is planned by DataFusion, which leaves clauses of time out; so none reaches it.

mod as_of;
mod function;
mod plain;

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use firn_storage::model::catalog::Catalog;
use sqlparser::ast::{TableAlias, TableFactor, TableVersion};

use crate::table::FeatureTable;
use crate::text::is_as_of;
use plain::{plain_table, scan, written_moment};

/// Plans our relations.
#[derive(Debug)]
pub(crate) struct Relations {
    catalog: Arc<Catalog>,
}

impl Relations {
    /// Over the tables of `catalog`.
    pub(crate) fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog }
    }
}

impl RelationPlanner for Relations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        match relation {
            TableFactor::Table { version: Some(_), .. } => with_version(relation, context),
            TableFactor::Table { ref name, args: Some(ref args), ref alias, .. } => {
                let Some(function) = function::named(name) else { return Ok(original(relation)) };
                let plan = function::plan(&self.catalog, function, &args.args, context)?;
                planned(plan, alias.clone())
            }
            TableFactor::NestedJoin { ref table_with_joins, .. }
                if table_with_joins.joins.last().is_some_and(|join| is_as_of(&join.join_operator)) =>
            {
                let TableFactor::NestedJoin { table_with_joins, alias } = relation else {
                    unreachable!("it was looked at")
                };
                planned(as_of::plan(*table_with_joins, context)?, alias)
            }
            other => Ok(original(other)),
        }
    }
}

fn original(relation: TableFactor) -> RelationPlanning {
    RelationPlanning::Original(Box::new(relation))
}

fn planned(plan: LogicalPlan, alias: Option<TableAlias>) -> Result<RelationPlanning> {
    Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
}

/// A table with clauses of time.
fn with_version(relation: TableFactor, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
    let (source, name, alias) = plain_table(&relation, context)?;
    let TableFactor::Table { version: Some(TableVersion::ForSystemTimeAsOf(clause)), .. } = relation else {
        unreachable!("the gate lets no other version pass")
    };
    let moment = written_moment(clause, context)?;
    planned(scan(name, FeatureTable { moment, ..source })?, alias)
}
