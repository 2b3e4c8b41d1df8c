//! What statements are made of: changes of what is declared, and what all of them need.

use std::sync::Arc;

use firn_storage::database::Database;
use firn_storage::error::{Error, Result};
use firn_storage::model::catalog::Catalog;
use firn_storage::model::declare::Change;
use sqlparser::ast::ObjectName;

use crate::door::{Caller, Need};
use crate::error::{defect, invalid};
use crate::scope::{CATALOG, SCHEMA};

/// A change of what is declared.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(super) change: Change,
    pub(super) need: Need,
    /// Whether it is no error if there is nothing to change.
    pub(super) if_exists: bool,
}

impl Step {
    /// The change that the native protocol's `action` with `body` is.
    pub(super) fn new(action: &str, body: &serde_json::Value, need: Need) -> Result<Self> {
        Ok(Self { change: Change::parse(action, body)?, need, if_exists: false })
    }
}

/// Makes changes of what is declared, one after the other.
pub(super) async fn declare(caller: &Caller, steps: &[Step]) -> Result<()> {
    for step in steps {
        let (database, catalog) = writing(caller, step.need)?;
        if step.if_exists && catalog.table(step.change.subject()).is_err() {
            continue;
        }
        let change = step.change.clone();
        blocking(move || database.change(&catalog, &change)).await?;
    }
    Ok(())
}

/// The values of parameters, one row for each run.
pub(crate) type Values = Vec<Vec<datafusion::scalar::ScalarValue>>;

/// Runs `work` on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.unwrap_or_else(|error| Err(defect(&format!("a statement ended its thread: {error}"))))
}

/// The feature table that `name` means.
pub(crate) fn table_name(name: &ObjectName) -> Result<String> {
    let parts: Vec<String> = name
        .0
        .iter()
        .map(|part| match part.as_ident() {
            Some(ident) if ident.quote_style.is_some() => Ok(ident.value.clone()),
            Some(ident) => Ok(ident.value.to_lowercase()),
            None => Err(invalid(format!("`{name}` is no name of a table"))),
        })
        .collect::<Result<_>>()?;
    match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [table] | [SCHEMA, table] | [CATALOG, SCHEMA, table] => Ok((*table).to_owned()),
        _ => Err(Error::not_found(format!("`{name}` is not in {CATALOG}.{SCHEMA}, where all feature tables are"))),
    }
}

/// A database to write to, and what is declared in it.
pub(crate) fn writing(caller: &Caller, need: Need) -> Result<(Database, Arc<Catalog>)> {
    Ok((caller.door.grant(need)?, caller.door.catalog(None)?))
}
