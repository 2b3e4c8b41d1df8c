//! Any statement: read, granted, planned if it is a query, and run.

use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::scalar::ScalarValue;
use firn_storage::error::Result;

use crate::door::Caller;
use crate::query::Query;
use crate::sql::{Rows, Sql};
use crate::statement::{self, Command};
use crate::text::{needs, parse};

/// A statement that is read and planned.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// A query.
    Query(Arc<Query>),
    /// Anything else.
    Command {
        /// What it does.
        command: Arc<Command>,
        /// The types of its parameters; none where any will do.
        parameters: Vec<Option<DataType>>,
    },
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
            Prepared::Command { command, .. } => {
                statement::run(self, caller, &command, vec![values]).await.map(Answered::Changed)
            }
        }
    }
}
