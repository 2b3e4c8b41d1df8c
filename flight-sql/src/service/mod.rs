//! Flight SQL: which command does what.
//!
//! | message | file |
//! |---|---|
//! | statements, prepared statements, their tickets | `statement.rs`, as `handle.rs` writes them |
//! | catalogs, schemas, tables, keys | `catalog.rs` |
//! | what the server is, which types there are | `server_info.rs`, `type_info.rs` |
//! | actions, options of sessions | `action.rs`, `options.rs` |
//!
//! A handle says everything: the server keeps none, so one that was restarted answers what another gave. Messages that the
//! protocol has and FirnDB has not are refused by name. The frames of Flight are the server's.

mod action;
mod catalog;
mod handle;
mod ipc;
mod options;
mod server_info;
mod statement;
mod type_info;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_flight::sql::{Any, Command, DoPutPreparedStatementResult, DoPutUpdateResult};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use arrow_schema::Schema;
use bytes::Bytes;
use firn_storage::error::{Error, Result};
use futures::TryStreamExt;
use prost::Message;

use crate::door::Caller;
use crate::error::{defect, invalid, unsupported};
use crate::lanes::Batches;
use crate::limits::Limits;
use crate::session::Session;
use crate::sql::{Rows, Sql};
use crate::statement::ingest::ingest;
use ipc::ipc;
use statement::Begun;

/// Flight SQL over one database.
#[derive(Debug, Clone)]
pub struct FlightSql {
    sql: Arc<Sql>,
}

/// Whether a command or a ticket is one of Flight SQL.
pub fn is_flight_sql(command: &[u8]) -> bool {
    Any::decode(command).is_ok_and(|any| any.type_url.starts_with("type.googleapis.com/arrow.flight.protocol.sql."))
}

/// The command of a descriptor or a ticket.
fn read(command: &[u8]) -> Result<Command> {
    let any = Any::decode(command).map_err(|error| invalid(format!("the command cannot be read: {error}")))?;
    Command::try_from(any).map_err(|error| invalid(format!("the command cannot be read: {error}")))
}

impl FlightSql {
    /// SQL within `limits`.
    pub fn begin(limits: Limits) -> Result<Self> {
        Ok(Self { sql: Arc::new(Sql::new(limits)?) })
    }

    /// The session that the `cookie` headers of a call say.
    pub fn session<'a>(&self, cookies: impl IntoIterator<Item = &'a str>) -> Result<Session> {
        Session::of_cookies(cookies, self.sql.unheard())
    }

    /// What a command answers, and the tickets to get it with.
    pub async fn flight_info(&self, caller: &Caller, descriptor: FlightDescriptor) -> Result<FlightInfo> {
        let (this, caller) = (self.clone(), caller.clone());
        self.sql.lanes.small.call(async move { this.info_here(&caller, descriptor).await }).await
    }

    async fn info_here(&self, caller: &Caller, descriptor: FlightDescriptor) -> Result<FlightInfo> {
        let command = read(&descriptor.cmd)?;
        if let Some(rows) = self.catalog(caller, &command)? {
            let ticket = command.into_any().encode_to_vec();
            return info(&rows.schema, descriptor, vec![ticket]);
        }
        let begun = match command {
            Command::CommandStatementQuery(query) => statement::begin_text(&self.sql, caller, query).await?,
            Command::CommandPreparedStatementQuery(query) => {
                statement::begin_prepared(&self.sql, caller, &query).await?
            }
            other => return Err(not_served(&other)),
        };
        match begun {
            Begun::Rows(schema, tickets) => info(&schema, descriptor, tickets),
            Begun::Done(rows) => {
                let total_records = i64::try_from(rows).unwrap_or(i64::MAX);
                Ok(info(&Schema::empty(), descriptor, Vec::new())?.with_total_records(total_records))
            }
        }
    }

    /// The columns that a command answers.
    pub async fn schema(&self, caller: &Caller, command: &[u8]) -> Result<Bytes> {
        let (this, caller, command) = (self.clone(), caller.clone(), command.to_vec());
        self.sql.lanes.small.call(async move { this.schema_here(&caller, &command).await }).await
    }

    async fn schema_here(&self, caller: &Caller, command: &[u8]) -> Result<Bytes> {
        let command = read(command)?;
        if let Some(rows) = self.catalog(caller, &command)? {
            return ipc(&rows.schema);
        }
        match command {
            Command::CommandStatementQuery(query) => ipc(&*statement::columns(&self.sql, caller, &query.query).await?),
            Command::CommandPreparedStatementQuery(query) => {
                let handle = handle::Handle::read(&query.prepared_statement_handle)?;
                ipc(&*statement::columns(&self.sql, caller, &handle.text).await?)
            }
            other => Err(not_served(&other)),
        }
    }

    /// The rows behind a ticket.
    pub async fn get(&self, caller: &Caller, ticket: &[u8]) -> Result<Rows> {
        let (this, caller, ticket) = (self.clone(), caller.clone(), ticket.to_vec());
        self.sql.lanes.small.call(async move { this.get_here(&caller, &ticket).await }).await
    }

    async fn get_here(&self, caller: &Caller, ticket: &[u8]) -> Result<Rows> {
        let command = read(ticket)?;
        if let Some(rows) = self.catalog(caller, &command)? {
            return Ok(rows);
        }
        match command {
            Command::TicketStatementQuery(ticket) => statement::run(&self.sql, caller, &ticket.statement_handle).await,
            other => Err(not_served(&other)),
        }
    }

    /// What a stream of rows is for; answers what is sent back.
    pub async fn put(&self, caller: &Caller, command: &[u8], batches: Batches) -> Result<Bytes> {
        match read(command)? {
            Command::CommandPreparedStatementQuery(query) => {
                let batches = collected(batches).await?;
                let bound = statement::bind(&self.sql, caller, &query.prepared_statement_handle, &batches).await?;
                let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(bound) };
                Ok(result.encode_to_vec().into())
            }
            Command::CommandStatementUpdate(update) => {
                changed(statement::update(&self.sql, caller, &update.query, vec![Vec::new()]).await?)
            }
            Command::CommandPreparedStatementUpdate(update) => {
                let batches = collected(batches).await?;
                let handle = &update.prepared_statement_handle;
                changed(statement::update_prepared(&self.sql, caller, handle, &batches).await?)
            }
            Command::CommandStatementIngest(command) => {
                statement::refuse_transaction(command.transaction_id.as_ref())?;
                changed(ingest(caller, &command, batches).await?)
            }
            other => Err(not_served(&other)),
        }
    }

    /// The answer of a command about what is declared.
    fn catalog(&self, caller: &Caller, command: &Command) -> Result<Option<Rows>> {
        let batch = match command {
            Command::CommandGetSqlInfo(asked) => server_info::info(asked, &self.sql.limits, &self.sql.small)?,
            Command::CommandGetXdbcTypeInfo(asked) => type_info::types(asked)?,
            other => match catalog::answer(caller, other)? {
                Some(batch) => batch,
                None => return Ok(None),
            },
        };
        Ok(Some(Rows::of(batch)))
    }
}

/// The values of parameters may take so much.
const PARAMETERS_BYTES_MAX: usize = 64 << 20;

/// All of `batches`, which are values of parameters.
async fn collected(mut batches: Batches) -> Result<Vec<RecordBatch>> {
    let (mut collected, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = batches.try_next().await? {
        bytes += batch.get_array_memory_size();
        if bytes > PARAMETERS_BYTES_MAX {
            return Err(Error::exhausted(format!(
                "the values of parameters take more than {PARAMETERS_BYTES_MAX} bytes: bulk ingest streams"
            )));
        }
        collected.push(batch);
    }
    Ok(collected)
}

/// How many rows a statement changed, as Flight SQL says it.
fn changed(rows: u64) -> Result<Bytes> {
    let record_count = i64::try_from(rows).unwrap_or(i64::MAX);
    Ok(DoPutUpdateResult { record_count }.encode_to_vec().into())
}

fn not_served(command: &Command) -> Error {
    let name = command.type_url().rsplit('.').next().unwrap_or_default().to_owned();
    unsupported(format!("{name} is not served here"))
}

fn info(schema: &Schema, descriptor: FlightDescriptor, tickets: Vec<Vec<u8>>) -> Result<FlightInfo> {
    // No location: read from the server that was asked.
    let endpoints = tickets.into_iter().map(|ticket| FlightEndpoint::new().with_ticket(Ticket::new(ticket)));
    let endpoints: Vec<_> = endpoints.collect();
    // Parts of one answer are those of a plan that promises no order.
    let ordered = endpoints.len() <= 1;
    let info = FlightInfo::new().with_descriptor(descriptor).with_endpoints(endpoints).with_ordered(ordered);
    info.try_with_schema(schema).map_err(|error| defect(&format!("a schema cannot be encoded: {error}")))
}
