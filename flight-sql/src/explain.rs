//! EXPLAIN: how a query is run, in words; with ANALYZE it is run, and how long each step took is told.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::scalar::ScalarValue;
use firn_storage::error::Result;
use futures::{StreamExt, TryStreamExt};
use sqlparser::ast::{DescribeAlias, Statement};

use crate::door::Caller;
use crate::error::{from_datafusion, unsupported};
use crate::query::Query;
use crate::running::within;
use crate::sql::{Rows, Sql};

/// What is to be explained.
#[derive(Debug)]
pub(crate) struct Explained {
    pub(crate) statement: Statement,
    /// Whether it is run.
    pub(crate) analyze: bool,
}

/// The columns of a plan that is told.
pub(crate) fn plan_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("plan", DataType::Utf8, false)]))
}

/// The query whose plan `statement` asks for.
pub(crate) fn explained(statement: &Statement) -> Result<Option<Explained>> {
    let Statement::Explain {
        describe_alias: DescribeAlias::Explain,
        analyze,
        verbose: _,
        query_plan: false,
        estimate: false,
        statement: of,
        format: None,
        options: None,
    } = statement
    else {
        return match statement {
            Statement::Explain { .. } => {
                Err(unsupported("EXPLAIN has ANALYZE and no other options: write EXPLAIN [ANALYZE] and the query"))
            }
            _ => Ok(None),
        };
    };
    match &**of {
        Statement::Query(_) => Ok(Some(Explained { statement: Statement::clone(of), analyze: *analyze })),
        _ => Err(unsupported("EXPLAIN tells the plan of a query: other statements have none")),
    }
}

impl Sql {
    /// How `query` is run with `values`: what it reads at which moment, and its steps, the last first.
    pub(crate) async fn explain(
        &self,
        caller: &Caller,
        query: &Query,
        values: Vec<ScalarValue>,
        analyze: bool,
    ) -> Result<Rows> {
        let begun = self.pin(caller, query, values).await?;
        let position = begun.bounds().position.unwrap_or_else(|| "none".to_owned());
        let lane = if begun.is_small() { "where it arrives" } else { "on threads of queries" };
        let first = format!("reads at position {position}, runs {lane}");
        let (state, context) = (self.state_of(&begun).clone(), self.context(&begun));
        if !analyze {
            let plan = begun.plan(&state).await?;
            return Ok(Rows::of(told(first, &DisplayableExecutionPlan::new(plan.as_ref()))?));
        }
        let place = self.running.enter(&query.text, 0);
        let run = async move {
            let plan = begun.plan(&state).await?;
            let batches = execute_stream(Arc::clone(&plan), context).map_err(|error| from_datafusion(&error))?;
            let rows = batches.try_fold(0, |rows, batch| async move { Ok(rows + batch.num_rows()) }).await;
            let rows = rows.map_err(|error| from_datafusion(&error))?;
            let first = format!("{first}, answered {rows} rows");
            let lines = told(first, &DisplayableExecutionPlan::with_metrics(plan.as_ref()))?;
            Ok(futures::stream::iter([Ok(lines)]).boxed())
        };
        Ok(Rows { schema: plan_schema(), batches: within(&self.limits, place, self.lanes.large.run(run)) })
    }
}

fn told(first: String, plan: &DisplayableExecutionPlan<'_>) -> Result<RecordBatch> {
    let mut lines = vec![first];
    lines.extend(plan.indent(false).to_string().lines().map(str::to_owned));
    let lines: ArrayRef = Arc::new(StringArray::from(lines));
    Ok(RecordBatch::try_new(plan_schema(), vec![lines])?)
}
