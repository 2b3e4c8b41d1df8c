//! Any statement: read, granted, planned if it is a query, and run.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::scalar::ScalarValue;
use firn_storage::error::Result;
use firn_storage::model::catalog::Catalog;

use crate::door::Caller;
use crate::explain::{Explained, explained, plan_schema};
use crate::lanes::blocking;
use crate::parameters::Parameter;
use crate::query::Query;
use crate::sql::{Rows, Sql, Which};
use crate::statement::{self, Command};
use crate::text::{Parsed, needs, parse};

/// A statement that is read and planned.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// A query.
    Query(Arc<Query>),
    /// The plan of a query, to be told.
    Explain {
        /// The query.
        query: Arc<Query>,
        /// Whether it is run.
        analyze: bool,
    },
    /// What is declared, or set.
    Shown(RecordBatch),
    /// Anything else.
    Command {
        /// What it does.
        command: Arc<Command>,
        /// The types of its parameters; none where any will do.
        parameters: Vec<Parameter>,
    },
}

impl Prepared {
    /// The columns of its answer, if it answers rows.
    pub(crate) fn schema(&self) -> Option<SchemaRef> {
        match self {
            Self::Query(query) => Some(Arc::clone(query.schema())),
            Self::Explain { .. } => Some(plan_schema()),
            Self::Shown(rows) => Some(rows.schema()),
            Self::Command { .. } => None,
        }
    }

    /// The types of its parameters; none where any will do.
    pub(crate) fn parameters(&self) -> &[Parameter] {
        match self {
            Self::Query(query) | Self::Explain { query, .. } => query.parameters(),
            Self::Shown(_) => &[],
            Self::Command { parameters, .. } => parameters,
        }
    }
}

/// The stack that reading and planning a statement may take.
const PLANNING_STACK_BYTES: usize = 64 << 20;

/// What a statement answers.
#[derive(Debug)]
pub enum Answered {
    /// The rows of a query.
    Rows(Rows),
    /// How many rows another statement changed.
    Changed(u64),
}

impl Sql {
    /// The statement `text`, read and planned for a caller who may see what it names: on a thread of its own, unless it is
    /// known, since the other calls of the connection would wait for it.
    pub(crate) async fn prepare(self: &Arc<Self>, caller: &Caller, text: &str) -> Result<Prepared> {
        let catalog = caller.door.catalog(&caller.bounds)?;
        let kept = self.plans.lock().get(text, catalog.schema_version);
        if let Some(query) = kept {
            query.needs.iter().try_for_each(|need| caller.door.grant(*need).map(drop))?;
            return Ok(Prepared::Query(query));
        }
        let (sql, caller, text) = (Arc::clone(self), caller.clone(), text.to_owned());
        // As many at once as there are threads for queries: planning cannot be ended from outside.
        let permit = Arc::clone(&self.planning).acquire_owned().await;
        blocking(move || {
            let _permit = permit;
            // A chain of operators is a tree as deep as it is long.
            stacker::grow(PLANNING_STACK_BYTES, || sql.prepare_anew(&caller, &text, catalog))
        })
        .await
    }

    fn prepare_anew(&self, caller: &Caller, text: &str, catalog: Arc<Catalog>) -> Result<Prepared> {
        let parsed = parse(text, &self.limits)?;
        let needs = needs(&parsed.statement);
        needs.iter().try_for_each(|need| caller.door.grant(*need).map(drop))?;
        if let Some(shown) = statement::show(&parsed.statement, &catalog, &caller.bounds)? {
            return Ok(Prepared::Shown(shown));
        }
        if let Some(Explained { statement, analyze }) = explained(&parsed.statement)? {
            let parsed = Parsed { statement, ..parsed };
            let query = Arc::new(Query::new(parsed, needs, catalog, &self.small)?);
            return Ok(Prepared::Explain { query, analyze });
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
    pub async fn answer(self: &Arc<Self>, caller: &Caller, text: &str, values: Vec<ScalarValue>) -> Result<Answered> {
        match self.prepare(caller, text).await? {
            Prepared::Query(query) => self.run(caller, &query, values, Which::default()).await.map(Answered::Rows),
            Prepared::Explain { query, analyze } => {
                self.explain(caller, &query, values, analyze).await.map(Answered::Rows)
            }
            Prepared::Shown(rows) => Ok(Answered::Rows(Rows::of(rows))),
            Prepared::Command { command, .. } => {
                statement::run(self, caller, &command, vec![values]).await.map(Answered::Changed)
            }
        }
    }
}
