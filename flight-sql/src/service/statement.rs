//! Statements: by their text or prepared, bound, and run from a ticket.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, CommandPreparedStatementQuery,
    CommandStatementQuery, ProstMessageExt, TicketStatementQuery,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use firn_storage::error::Result;
use futures::StreamExt;
use prost::Message;

use super::handle::{Handle, rows_of};
use super::ipc::ipc;
use crate::answer::Prepared;
use crate::door::Caller;
use crate::error::{invalid, unsupported};
use crate::sql::{Rows, Sql};
use crate::statement::{self, Values};

/// Refuses a transaction.
pub(super) fn refuse_transaction(id: Option<&Bytes>) -> Result<()> {
    match id {
        Some(id) if !id.is_empty() => Err(unsupported("transactions are not served: each statement is atomic")),
        _ => Ok(()),
    }
}

/// A statement that is begun.
pub(super) enum Begun {
    /// A query: its columns and its ticket.
    Rows(SchemaRef, Vec<u8>),
    /// Anything else is done: how many rows changed.
    Done(u64),
}

/// Begins a statement by its text.
pub(super) async fn begin_text(sql: &Sql, caller: &Caller, query: CommandStatementQuery) -> Result<Begun> {
    refuse_transaction(query.transaction_id.as_ref())?;
    begin(sql, caller, Handle::of_text(&query.query)).await
}

/// The same of a prepared statement with its values.
pub(super) async fn begin_prepared(sql: &Sql, caller: &Caller, query: &CommandPreparedStatementQuery) -> Result<Begun> {
    begin(sql, caller, Handle::read(&query.prepared_statement_handle)?).await
}

async fn begin(sql: &Sql, caller: &Caller, handle: Handle) -> Result<Begun> {
    let prepared = sql.prepare(caller, &handle.text)?;
    let (query, mut schema) = match &prepared {
        Prepared::Query(query) => (Some(query), Arc::clone(query.schema())),
        // Some clients send all statements as queries, and never fetch what does not answer rows.
        Prepared::Command { command, .. } => {
            return Ok(Begun::Done(statement::run(sql, caller, command, handle.values()?).await?));
        }
        Prepared::Explain(_) | Prepared::Shown(_) => (None, prepared.schema().ok_or_else(no_rows)?),
    };
    let mut bounds = caller.bounds.clone();
    if let (Some(query), Some(values)) = (query, handle.values()?.into_iter().next()) {
        // All runs of one statement read the moment of the first.
        let begun = sql.pin(caller, query, values).await?;
        (bounds, schema) = (begun.bounds(), Arc::clone(begun.schema()));
        // Before anything is declared there is no version to name.
        bounds.schema_version = Some(query.catalog.schema_version).filter(|version| *version > 0);
    }
    let ticket = TicketStatementQuery { statement_handle: handle.within(bounds).bytes() };
    Ok(Begun::Rows(schema, ticket.as_any().encode_to_vec()))
}

/// Runs what a ticket says.
pub(super) async fn run(sql: &Sql, caller: &Caller, handle: &[u8]) -> Result<Rows> {
    let handle = Handle::read(handle)?;
    let caller = Caller { bounds: handle.bounds(), ..caller.clone() };
    let prepared = sql.prepare(&caller, &handle.text)?;
    let (mut schema, mut answers) = (prepared.schema().ok_or_else(no_rows)?, Vec::new());
    for values in handle.values()? {
        let rows = match &prepared {
            Prepared::Query(query) => sql.run(&caller, query, values).await?,
            Prepared::Explain(query) => sql.explain(&caller, query, values).await?,
            Prepared::Shown(rows) => Rows::of(rows.clone()),
            Prepared::Command { .. } => return Err(no_rows()),
        };
        if answers.is_empty() {
            schema = rows.schema;
        } else if schema != rows.schema {
            return Err(invalid("the values that are bound to one statement give its answer several types"));
        }
        answers.push(rows.batches);
    }
    Ok(Rows { schema, batches: futures::stream::iter(answers).flatten().boxed() })
}

fn no_rows() -> firn_storage::error::Error {
    invalid("the statement answers no rows: run it as an update")
}

/// The columns of the answer of the statement `text`.
pub(super) fn columns(sql: &Sql, caller: &Caller, text: &str) -> Result<SchemaRef> {
    sql.prepare(caller, text)?.schema().ok_or_else(no_rows)
}

/// Runs a statement that answers no rows; how many changed.
pub(super) async fn update(sql: &Sql, caller: &Caller, text: &str, values: Values) -> Result<u64> {
    match sql.prepare(caller, text)? {
        Prepared::Command { command, .. } => statement::run(sql, caller, &command, values).await,
        _ => Err(invalid("the statement answers rows and changes nothing: run it as a query")),
    }
}

/// Runs a prepared statement that answers no rows, with the rows of `batches` for its parameters.
pub(super) async fn update_prepared(sql: &Sql, caller: &Caller, handle: &[u8], batches: &[RecordBatch]) -> Result<u64> {
    let handle = Handle::read(handle)?;
    let given = batches.iter().any(|batch| batch.num_columns() > 0);
    let values = if given { rows_of(batches)? } else { handle.values()? };
    update(sql, caller, &handle.text, values).await
}

/// Prepares a statement.
pub(super) fn prepare(
    sql: &Sql,
    caller: &Caller,
    request: &ActionCreatePreparedStatementRequest,
) -> Result<ActionCreatePreparedStatementResult> {
    refuse_transaction(request.transaction_id.as_ref())?;
    let prepared = sql.prepare(caller, &request.query)?;
    let parameters = prepared.parameters().iter().enumerate().map(|(number, data_type)| {
        let told = data_type.clone().unwrap_or(DataType::Utf8);
        Field::new(format!("${}", number + 1), told, true)
    });
    let parameter_schema = ipc(&Schema::new(parameters.collect::<Vec<_>>()))?;
    // An empty one says that there are no rows.
    let dataset_schema = prepared.schema().map_or(Ok(Bytes::new()), |schema| ipc(&schema))?;
    Ok(ActionCreatePreparedStatementResult {
        prepared_statement_handle: Handle::of_text(&request.query).bytes(),
        dataset_schema,
        parameter_schema,
    })
}

/// The handle of a statement with values for its parameters.
pub(super) fn bind(sql: &Sql, caller: &Caller, handle: &[u8], batches: &[RecordBatch]) -> Result<Bytes> {
    let handle = Handle::read(handle)?;
    // What is bound to nothing is said now, not when it runs.
    let given = batches.first().map_or(0, RecordBatch::num_columns);
    let asked = sql.prepare(caller, &handle.text)?.parameters().len();
    if given != asked && !(given == 0 && batches.iter().all(|batch| batch.num_rows() == 0)) {
        return Err(invalid(format!("the statement has {asked} parameters, and {given} are bound")));
    }
    Ok(handle.with_values(batches)?.bytes())
}
