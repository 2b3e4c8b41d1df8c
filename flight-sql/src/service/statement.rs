//! Statements: by their text or prepared, bound, and run from a ticket.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, CommandPreparedStatementQuery, CommandStatementQuery, ProstMessageExt,
    TicketStatementQuery,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use datafusion::scalar::ScalarValue;
use firn_storage::error::{Error, Kind, Result};
use futures::{StreamExt, TryStreamExt};
use prost::Message;

use super::handle::{Handle, rows_of};
use super::ipc::ipc;
use crate::answer::Prepared;
use crate::door::Caller;
use crate::error::{invalid, unsupported};
use crate::parameters;
use crate::parts;
use crate::sql::{Rows, Sql, Which};
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
    /// A query: its columns, and the tickets of the parts of its answer.
    Rows(SchemaRef, Vec<Vec<u8>>),
    /// Anything else is done: how many rows changed.
    Done(u64),
}

/// Begins a statement by its text.
pub(super) async fn begin_text(sql: &Arc<Sql>, caller: &Caller, query: CommandStatementQuery) -> Result<Begun> {
    refuse_transaction(query.transaction_id.as_ref())?;
    begin(sql, caller, Handle::of_text(&query.query)).await
}

/// The same of a prepared statement with its values.
pub(super) async fn begin_prepared(
    sql: &Arc<Sql>,
    caller: &Caller,
    query: &CommandPreparedStatementQuery,
) -> Result<Begun> {
    begin(sql, caller, Handle::read(&query.prepared_statement_handle)?).await
}

async fn begin(sql: &Arc<Sql>, caller: &Caller, handle: Handle) -> Result<Begun> {
    let prepared = sql.prepare(caller, &handle.text).await?;
    let (query, mut schema) = match &prepared {
        Prepared::Query(query) => (Some(query), Arc::clone(query.schema())),
        // Some clients send all statements as queries, and never fetch what does not answer rows.
        Prepared::Command { command, .. } => {
            return Ok(Begun::Done(statement::run(sql, caller, command, handle.values()?).await?));
        }
        Prepared::Explain { .. } | Prepared::Shown(_) => (None, prepared.schema().ok_or_else(no_rows)?),
    };
    let (mut bounds, mut parts) = (caller.bounds.clone(), 1);
    let mut values = handle.values()?.into_iter();
    if let (Some(query), Some(first)) = (query, values.next()) {
        // All runs of one statement read the moment of the first.
        let begun = sql.pin(caller, query, first).await?;
        (bounds, schema) = (begun.bounds(), Arc::clone(begun.schema()));
        // Before anything is declared there is no version to name.
        bounds.schema_version = Some(query.catalog.schema_version).filter(|version| *version > 0);
        if begun.may_run_apart() && values.next().is_none() {
            parts = parts::count(&begun.plan(sql.state_of_large()).await?);
        }
    }
    let tickets = handle
        .about_to_run(bounds)
        .in_parts(parts)
        .into_iter()
        .map(|handle| TicketStatementQuery { statement_handle: handle.bytes() }.as_any().encode_to_vec());
    Ok(Begun::Rows(schema, tickets.collect()))
}

/// Runs what a ticket says.
pub(super) async fn run(sql: &Arc<Sql>, caller: &Caller, handle: &[u8]) -> Result<Rows> {
    let handle = Handle::read(handle)?;
    let caller = Caller { bounds: handle.bounds(), ..caller.clone() };
    let prepared = Arc::new(sql.prepare(&caller, &handle.text).await?);
    let mut values = handle.values()?.into_iter();
    let which = handle.which();
    let Some(first) = values.next() else {
        return Ok(Rows::of(RecordBatch::new_empty(prepared.schema().ok_or_else(no_rows)?)));
    };
    let Rows { schema, batches } = answer(sql, &caller, &prepared, first, which).await?;
    let (sql, told) = (Arc::clone(sql), Arc::clone(&schema));
    // Each begins when the one before it has ended.
    let others = futures::stream::iter(values).then(move |values| {
        let (sql, caller, prepared, told) =
            (Arc::clone(&sql), caller.clone(), Arc::clone(&prepared), Arc::clone(&told));
        async move {
            let rows = answer(&sql, &caller, &prepared, values, which).await?;
            match rows.schema == told {
                true => Ok(rows.batches),
                false => Err(invalid("the values that are bound to one statement give its answer several types")),
            }
        }
    });
    Ok(Rows { schema, batches: batches.chain(others.try_flatten()).boxed() })
}

/// Runs a statement once.
async fn answer(
    sql: &Arc<Sql>,
    caller: &Caller,
    prepared: &Prepared,
    values: Vec<ScalarValue>,
    which: Which,
) -> Result<Rows> {
    match prepared {
        Prepared::Query(query) => sql.run(caller, query, values, which).await,
        Prepared::Explain { query, analyze } => sql.explain(caller, query, values, *analyze).await,
        Prepared::Shown(rows) => Ok(Rows::of(rows.clone())),
        Prepared::Command { .. } => Err(no_rows()),
    }
}

fn no_rows() -> firn_storage::error::Error {
    invalid("the statement answers no rows: run it as an update")
}

/// The columns of the answer of the statement `text`.
pub(super) async fn columns(sql: &Arc<Sql>, caller: &Caller, text: &str) -> Result<SchemaRef> {
    sql.prepare(caller, text).await?.schema().ok_or_else(no_rows)
}

/// Runs a statement that answers no rows; how many changed.
pub(super) async fn update(sql: &Arc<Sql>, caller: &Caller, text: &str, values: Values) -> Result<u64> {
    match sql.prepare(caller, text).await? {
        Prepared::Command { command, .. } if command.changes_session() && !caller.is_java => Err(Error::precondition(
            "this client does not read what the answer to an update brings for its session: send SET and RESET as queries \
             (execute, not execute_update)",
        )),
        Prepared::Command { command, .. } => statement::run(sql, caller, &command, values).await,
        _ => Err(invalid("the statement answers rows and changes nothing: run it as a query")),
    }
}

/// Runs a prepared statement that answers no rows, with the rows of `batches` for its parameters.
pub(super) async fn update_prepared(
    sql: &Arc<Sql>,
    caller: &Caller,
    handle: &[u8],
    batches: &[RecordBatch],
) -> Result<u64> {
    let handle = Handle::read(handle)?;
    let given = batches.iter().any(|batch| batch.num_columns() > 0);
    let values = if given { rows_of(batches)? } else { handle.values()? };
    update(sql, caller, &handle.text, values).await
}

/// `ActionCreatePreparedStatementResult`, of which the library does not know the last field.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PreparedResult {
    #[prost(bytes = "bytes", tag = "1")]
    handle: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    dataset_schema: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    parameter_schema: Bytes,
    /// Whether it is to be run as an update.
    #[prost(bool, optional, tag = "4")]
    is_update: Option<bool>,
}

/// Its name on the wire.
pub(super) const PREPARED_RESULT: &str =
    "type.googleapis.com/arrow.flight.protocol.sql.ActionCreatePreparedStatementResult";

/// Prepares a statement.
pub(super) async fn prepare(
    sql: &Arc<Sql>,
    caller: &Caller,
    request: &ActionCreatePreparedStatementRequest,
) -> Result<PreparedResult> {
    refuse_transaction(request.transaction_id.as_ref())?;
    // A driver for Python takes "unimplemented" for a server that prepares nothing, and loses what is said.
    let heard = |error: Error| match error.kind() {
        Kind::Unsupported => Error::invalid(error.message()),
        _ => error,
    };
    let prepared = sql.prepare(caller, &request.query).await.map_err(heard)?;
    let parameters = prepared.parameters().iter().enumerate().map(|(number, parameter)| {
        let told = match &parameter.data_type {
            Some(DataType::Timestamp(_, zone)) if caller.is_java => {
                DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
            }
            Some(DataType::Time64(_)) if caller.is_java => DataType::Time32(TimeUnit::Millisecond),
            Some(data_type) => data_type.clone(),
            None => DataType::Utf8,
        };
        Field::new(format!("${}", number + 1), told, true)
    });
    let parameter_schema = ipc(&Schema::new(parameters.collect::<Vec<_>>()))?;
    // An empty one says that there are no rows.
    let dataset_schema = prepared.schema().map_or(Ok(Bytes::new()), |schema| ipc(&schema))?;
    // SET and RESET are sent as queries: most clients read no headers of the answer to an update.
    let is_update = Some(matches!(&prepared, Prepared::Command { command, .. } if !command.changes_session()));
    Ok(PreparedResult { handle: Handle::of_text(&request.query).bytes(), dataset_schema, parameter_schema, is_update })
}

/// The handle of a statement with values for its parameters.
pub(super) async fn bind(sql: &Arc<Sql>, caller: &Caller, handle: &[u8], batches: &[RecordBatch]) -> Result<Bytes> {
    let handle = Handle::read(handle)?;
    // What is bound to nothing is said now, not when it runs.
    let given = batches.first().map_or(0, RecordBatch::num_columns);
    let asked = sql.prepare(caller, &handle.text).await?.parameters().len();
    if given != asked && !(given == 0 && batches.iter().all(|batch| batch.num_rows() == 0)) {
        return Err(invalid(format!("the statement has {}, and {given} are bound", parameters::counted(asked))));
    }
    Ok(handle.with_values(batches)?.bytes())
}
