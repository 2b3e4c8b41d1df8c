//! What statements are made of: changes of what is declared, and what all of them need.

use std::sync::Arc;

use arrow_array::RecordBatch;
use firn_storage::database::Database;
use firn_storage::error::{Error, Result};
use firn_storage::model::catalog::Catalog;
use firn_storage::model::declare::Change;
use firn_storage::model::prove::{Verb, WriteRequest};
use sqlparser::ast::{Ident, ObjectName};

use crate::door::{Caller, Need};
use crate::error::invalid;
use crate::lanes::blocking;
use crate::names::{CATALOG, SCHEMA};
use crate::words::in_words_of_sql;

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

/// Makes changes of what is declared, one after the other, if all of them can be made.
pub(super) async fn declare(caller: &Caller, steps: &[Step]) -> Result<()> {
    if let [first, _, ..] = steps {
        let (_, mut catalog) = writing(caller, first.need)?;
        let there = |step: &&Step, catalog: &Catalog| !step.if_exists || catalog.table(step.change.subject()).is_ok();
        for step in steps {
            if !there(&step, &catalog) {
                continue;
            }
            if let Some(next) = step.change.apply(&catalog).map_err(in_words_of_sql)? {
                catalog = Arc::new(next);
            }
        }
    }
    for step in steps {
        let (database, catalog) = writing(caller, step.need)?;
        if step.if_exists && catalog.table(step.change.subject()).is_err() {
            continue;
        }
        let change = step.change.clone();
        blocking(move || database.change(&catalog, &change)).await.map_err(in_words_of_sql)?;
    }
    Ok(())
}

/// The values of parameters, one row for each run.
pub(crate) type Values = Vec<Vec<datafusion::scalar::ScalarValue>>;

/// What a name means: lower case, unless it is quoted.
pub(super) fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// The feature table that `name` means.
pub(super) fn table_name(name: &ObjectName) -> Result<String> {
    let parts: Vec<String> = name
        .0
        .iter()
        .map(|part| part.as_ident().map(folded).ok_or_else(|| invalid(format!("`{name}` is no name of a table"))))
        .collect::<Result<_>>()?;
    match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [table] | [SCHEMA, table] | [CATALOG, SCHEMA, table] => Ok((*table).to_owned()),
        _ => Err(Error::not_found(format!("`{name}` is not in {CATALOG}.{SCHEMA}, where all feature tables are"))),
    }
}

/// A database to write to, and what is declared in it; nothing is written in the past.
pub(super) fn writing(caller: &Caller, need: Need) -> Result<(Database, Arc<Catalog>)> {
    let database = caller.door.grant(need)?;
    if !caller.bounds.is_open() {
        return Err(Error::precondition(
            "the session stands in the past (firn.as_of, firn.known_at, firn.position or firn.durable is set), where nothing can \
             be written: unset it",
        ));
    }
    Ok((database, caller.door.catalog(&caller.bounds)?))
}

/// Writes `batch`, which is of `table`, as one commit; how many rows.
pub(super) async fn write(
    (database, catalog): (Database, Arc<Catalog>),
    table: &str,
    verb: Verb,
    batch: RecordBatch,
) -> Result<u64> {
    let table = table.to_owned();
    let request = WriteRequest { table, verb, nulls_absent: false, ingest_time: None, report_bad_rows: false };
    blocking(move || {
        let proven = database.prove(&catalog, &request, &batch)?;
        Ok(database.write(proven.batch)?.rows)
    })
    .await
    .map_err(in_words_of_sql)
}
