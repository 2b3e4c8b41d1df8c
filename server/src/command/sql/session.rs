//! A session with the server over Flight SQL: statements, the bounds they stand within, and cookies.
//!
//! Bounds go as headers with every call. Cookies come back with the next call, so that what `SET` sets holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, CommandGetTables,
    CommandPreparedStatementQuery, ProstMessageExt,
};
use arrow_flight::{Action, FlightDescriptor, FlightInfo, IpcMessage, Ticket};
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;
use firn_client::Stub;
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Request, Response, Status};

/// A bound of everything that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bound {
    AsOf,
    KnownAt,
    Position,
}

impl Bound {
    /// Its name in the shell, and the header that says it.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::AsOf => ("as_of", "firn.as_of"),
            Self::KnownAt => ("known_at", "firn.known_at"),
            Self::Position => ("position", "firn.position"),
        }
    }
}

/// A statement that the server has read.
#[derive(Debug)]
pub(super) enum Prepared {
    /// It answers rows.
    Query(Bytes),
    /// It changes something.
    Update(Bytes),
}

/// A query that has begun: its columns, and where its rows are.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) schema: SchemaRef,
    pub(super) tickets: Vec<Ticket>,
}

/// The tables and their columns.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) tables: BTreeMap<String, Vec<String>>,
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    flight: Stub,
    bounds: BTreeMap<Bound, MetadataValue<Ascii>>,
    cookies: BTreeMap<String, String>,
}

impl Session {
    /// A session over `flight`.
    pub(super) fn new(flight: Stub) -> Self {
        Self { flight, bounds: BTreeMap::new(), cookies: BTreeMap::new() }
    }

    /// Sets a bound, or clears it.
    pub(super) fn bind(&mut self, bound: Bound, value: Option<&str>) -> Result<(), String> {
        let Some(value) = value else {
            self.bounds.remove(&bound);
            return Ok(());
        };
        let header = value.parse().map_err(|_| format!("`{value}` holds signs that no bound has"))?;
        self.bounds.insert(bound, header);
        Ok(())
    }

    /// The bounds that are set.
    pub(super) fn bounds(&self) -> impl Iterator<Item = (Bound, &str)> {
        self.bounds.iter().map(|(bound, value)| (*bound, value.to_str().unwrap_or_default()))
    }

    /// Refuses bounds that nothing can be read within.
    pub(super) async fn check(&mut self) -> Result<(), String> {
        match self.prepare("SELECT 1").await? {
            Prepared::Query(handle) | Prepared::Update(handle) => self.query(handle).await.map(drop),
        }
    }

    /// Has the server read a statement.
    pub(super) async fn prepare(&mut self, statement: &str) -> Result<Prepared, String> {
        let asked = ActionCreatePreparedStatementRequest { query: statement.to_owned(), transaction_id: None };
        let action = Action::new("CreatePreparedStatement", asked.as_any().encode_to_vec());
        let answer = self.flight.do_action(self.request(action)).await;
        let result = self.kept(answer)?.message().await.map_err(|status| message(&status))?;
        let result = Any::decode(result.unwrap_or_default().body).map_err(unreadable)?;
        let result: Option<ActionCreatePreparedStatementResult> = result.unpack().map_err(unreadable)?;
        let prepared = result.ok_or_else(|| unreadable("it is no prepared statement"))?;
        // The server keeps nothing for a handle, so there is nothing to close.
        let handle = prepared.prepared_statement_handle;
        Ok(if prepared.dataset_schema.is_empty() { Prepared::Update(handle) } else { Prepared::Query(handle) })
    }

    /// Runs a statement that answers no rows; how many it changed. It is sent as a query: the headers of that answer bring
    /// what a session is to keep.
    pub(super) async fn update(&mut self, handle: Bytes) -> Result<u64, String> {
        let info = self.info(CommandPreparedStatementQuery { prepared_statement_handle: handle }).await?;
        Ok(u64::try_from(info.total_records).unwrap_or(0))
    }

    /// Begins a statement that answers rows.
    pub(super) async fn query(&mut self, handle: Bytes) -> Result<Begun, String> {
        self.begin(CommandPreparedStatementQuery { prepared_statement_handle: handle }).await
    }

    async fn info(&mut self, command: impl ProstMessageExt) -> Result<FlightInfo, String> {
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let answer = self.flight.get_flight_info(self.request(descriptor)).await;
        self.kept(answer)
    }

    async fn begin(&mut self, command: impl ProstMessageExt) -> Result<Begun, String> {
        let mut info = self.info(command).await?;
        let endpoints = std::mem::take(&mut info.endpoint);
        let tickets = endpoints.into_iter().filter_map(|endpoint| endpoint.ticket).collect();
        Ok(Begun { schema: Arc::new(Schema::try_from(info).map_err(unreadable)?), tickets })
    }

    /// The rows behind `ticket`, as they come. Dropping them ends the query.
    pub(super) async fn rows(
        &mut self,
        ticket: Ticket,
    ) -> Result<impl futures::Stream<Item = Result<RecordBatch, String>> + Unpin + use<>, String> {
        let answer = self.flight.do_get(self.request(ticket)).await;
        let messages = self.kept(answer)?.map_err(FlightError::from);
        Ok(FlightRecordBatchStream::new_from_flight_data(messages).map_err(|error| match error {
            FlightError::Tonic(status) => message(&status),
            other => unreadable(other),
        }))
    }

    /// What is declared.
    pub(super) async fn names(&mut self) -> Result<Names, String> {
        let begun = self.begin(CommandGetTables { include_schema: true, ..CommandGetTables::default() }).await?;
        let mut names = Names::default();
        for ticket in begun.tickets {
            let mut batches = self.rows(ticket).await?;
            while let Some(batch) = batches.next().await.transpose()? {
                let column = |name: &str| batch.column_by_name(name).ok_or_else(|| unreadable(format!("no {name}")));
                let tables = column("table_name")?.as_string_opt::<i32>().into_iter().flatten();
                let schemas = column("table_schema")?.as_binary_opt::<i32>().into_iter().flatten();
                for (table, schema) in tables.zip(schemas) {
                    let bytes = Bytes::copy_from_slice(schema.unwrap_or_default());
                    let schema = Schema::try_from(IpcMessage(bytes)).map_err(unreadable)?;
                    let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
                    names.tables.insert(table.unwrap_or_default().to_owned(), columns);
                }
            }
        }
        Ok(names)
    }

    fn request<T>(&self, sent: T) -> Request<T> {
        let mut request = Request::new(sent);
        for (bound, value) in &self.bounds {
            request.metadata_mut().insert(bound.names().1, value.clone());
        }
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if let (false, Ok(cookies)) = (cookies.is_empty(), cookies.join("; ").parse()) {
            request.metadata_mut().insert("cookie", cookies);
        }
        request
    }

    /// What was answered; its cookies are kept.
    fn kept<T>(&mut self, answer: Result<Response<T>, Status>) -> Result<T, String> {
        match answer {
            Ok(response) => {
                keep(&mut self.cookies, response.metadata());
                Ok(response.into_inner())
            }
            Err(status) => {
                keep(&mut self.cookies, status.metadata());
                Err(message(&status))
            }
        }
    }
}

/// Keeps the cookies that `headers` set, and forgets those that they end.
fn keep(cookies: &mut BTreeMap<String, String>, headers: &MetadataMap) {
    for header in headers.get_all("set-cookie").iter().filter_map(|header| header.to_str().ok()) {
        let mut parts = header.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
        if parts.any(|part| part.eq_ignore_ascii_case("max-age=0")) {
            cookies.remove(name);
        } else {
            cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}

/// What the server says, or why nothing came from it.
fn message(status: &Status) -> String {
    let mut reason: Option<&dyn std::error::Error> = std::error::Error::source(status);
    while let Some(deeper) = reason.and_then(std::error::Error::source) {
        reason = Some(deeper);
    }
    reason.map_or_else(|| status.message().to_owned(), |reason| format!("the server is gone: {reason}"))
}

fn unreadable(what: impl std::fmt::Display) -> String {
    format!("the server's answer cannot be read: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_kept_until_they_end() {
        let mut cookies = BTreeMap::new();
        let mut headers = MetadataMap::new();
        headers.append("set-cookie", "arrow_flight_session_id=v1.CAE; Path=/".parse().unwrap());
        headers.append("set-cookie", "other=a=b".parse().unwrap());
        keep(&mut cookies, &headers);
        let text = |cookies: &BTreeMap<String, String>| format!("{cookies:?}");
        assert_eq!(text(&cookies), r#"{"arrow_flight_session_id": "v1.CAE", "other": "a=b"}"#);
        let mut headers = MetadataMap::new();
        headers.append("set-cookie", "arrow_flight_session_id=; Max-Age=0".parse().unwrap());
        keep(&mut cookies, &headers);
        assert_eq!(text(&cookies), r#"{"other": "a=b"}"#);
    }

    #[test]
    fn an_error_is_what_the_server_says() {
        assert_eq!(message(&Status::not_found("there is no table `t`")), "there is no table `t`");
        let lost = Status::from_error(Box::new(std::io::Error::other("connection reset")));
        assert_eq!(message(&lost), "the server is gone: connection reset");
    }
}
