//! Any statement: read, granted, planned if it is a query, and run.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use datafusion::scalar::ScalarValue;
use firn_storage::error::Result;
use sqlparser::ast::{DescribeAlias, Statement};

use crate::door::Caller;
use crate::error::unsupported;
use crate::query::Query;
use crate::sql::{Rows, Sql, plan_schema};
use crate::statement::{self, Command};
use crate::text::{Parsed, needs, parse};

/// A statement that is read and planned.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// A query.
    Query(Arc<Query>),
    /// The plan of a query, to be told.
    Explain(Arc<Query>),
    /// What is declared.
    Shown(RecordBatch),
    /// Anything else.
    Command {
        /// What it does.
        command: Arc<Command>,
        /// The types of its parameters; none where any will do.
        parameters: Vec<Option<DataType>>,
    },
}

impl Prepared {
    /// The columns of its answer, if it answers rows.
    pub(crate) fn schema(&self) -> Option<SchemaRef> {
        match self {
            Self::Query(query) => Some(Arc::clone(query.schema())),
            Self::Explain(_) => Some(plan_schema()),
            Self::Shown(rows) => Some(rows.schema()),
            Self::Command { .. } => None,
        }
    }

    /// The types of its parameters; none where any will do.
    pub(crate) fn parameters(&self) -> &[Option<DataType>] {
        match self {
            Self::Query(query) | Self::Explain(query) => query.parameters(),
            Self::Shown(_) => &[],
            Self::Command { parameters, .. } => parameters,
        }
    }
}

/// The query whose plan `statement` asks for.
fn explained(statement: &Statement) -> Result<Option<Statement>> {
    let Statement::Explain {
        describe_alias: DescribeAlias::Explain,
        analyze: false,
        verbose: _,
        query_plan: false,
        estimate: false,
        statement: of,
        format: None,
        options: None,
    } = statement
    else {
        return match statement {
            Statement::Explain { .. } => Err(unsupported("EXPLAIN has no options yet: write EXPLAIN and the query")),
            _ => Ok(None),
        };
    };
    match &**of {
        Statement::Query(_) => Ok(Some(Statement::clone(of))),
        _ => Err(unsupported("EXPLAIN tells the plan of a query: other statements have none")),
    }
}

/// What a statement answers.
#[derive(Debug)]
pub enum Answered {
    /// The rows of a query.
    Rows(Rows),
    /// How many rows another statement changed.
    Changed(u64),
}

impl Sql {
    /// The statement `text`, read and planned for a caller who may see what it names.
    pub(crate) fn prepare(&self, caller: &Caller, text: &str) -> Result<Prepared> {
        let catalog = caller.door.catalog(caller.bounds.schema_version)?;
        let kept = self.plans.lock().get(text, catalog.schema_version);
        if let Some(query) = kept {
            query.needs.iter().try_for_each(|need| caller.door.grant(*need).map(drop))?;
            return Ok(Prepared::Query(query));
        }
        let parsed = parse(text, &self.limits)?;
        let needs = needs(&parsed.statement);
        needs.iter().try_for_each(|need| caller.door.grant(*need).map(drop))?;
        if let Some(shown) = statement::show(&parsed.statement, &catalog)? {
            return Ok(Prepared::Shown(shown));
        }
        if let Some(statement) = explained(&parsed.statement)? {
            let parsed = Parsed { statement, ..parsed };
            return Ok(Prepared::Explain(Arc::new(Query::new(parsed, needs, catalog, &self.small)?)));
        }
        if let Some(command) = statement::command(&parsed.statement, &catalog)? {
            let parameters = command.parameters(&catalog, parsed.parameters);
            return Ok(Prepared::Command { command: Arc::new(command), parameters });
        }
        let query = Arc::new(Query::new(parsed, needs, catalog, &self.small)?);
        self.plans.lock().keep(text, &query, self.limits.plans_max);
        Ok(Prepared::Query(query))
    }

    /// Runs a statement with `values` for its parameters.
    pub async fn answer(&self, caller: &Caller, text: &str, values: Vec<ScalarValue>) -> Result<Answered> {
        match self.prepare(caller, text)? {
            Prepared::Query(query) => self.run(caller, &query, values).await.map(Answered::Rows),
            Prepared::Explain(query) => self.explain(caller, &query, values).await.map(Answered::Rows),
            Prepared::Shown(rows) => Ok(Answered::Rows(Rows::of(rows))),
            Prepared::Command { command, .. } => {
                statement::run(self, caller, &command, vec![values]).await.map(Answered::Changed)
            }
        }
    }
}
