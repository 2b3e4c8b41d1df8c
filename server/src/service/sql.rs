//! Flight SQL on the wire: callers, headers, frames. What commands mean is in the crate `firn-flight-sql`.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_flight::{Action, FlightData, FlightDescriptor, FlightInfo, PutResult, SchemaResult};
use bytes::Bytes;
use firn_flight_sql::door::{Caller, Door, IngestRoles, Need};
use firn_flight_sql::moment::Bounds;
use firn_flight_sql::session::Session;
use firn_flight_sql::setting::Setting;
use firn_flight_sql::sql::Rows;
use firn_storage::database::Database;
use firn_storage::error::Result as EngineResult;
use firn_storage::model::catalog::Catalog;
use futures::{StreamExt, TryStreamExt};
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

use super::decoding::Decoding;
use super::outgoing::Outgoing;
use super::resources::granted::Entry;
use super::streams::{Answers, Messages, Source, stream};
use crate::access::Method;
use crate::framing::Decoded;
use crate::metrics::{Metrics, OpenGuard};
use crate::refusal::{from_error, invalid, to_error, unavailable, unimplemented};

/// A caller as the server let it in.
#[derive(Debug)]
struct Entered(Arc<Entry>);

impl Door for Entered {
    fn grant(&self, need: Need) -> EngineResult<Database> {
        let name = match need {
            Need::Describe => "describe",
            Need::Read => "read",
            Need::History => "history",
            Need::Write => "write",
            Need::Delete => "delete",
            Need::Create => "create",
            Need::Alter => "alter",
            Need::Drop => "drop",
            Need::Erase => "erase",
            Need::Operate => "operate",
        };
        let granted = self.0.authorize(Method::Sql, name);
        granted.map(|granted| granted.database().clone()).map_err(|status| to_error(&status))
    }

    fn catalog(&self, bounds: &Bounds) -> EngineResult<Arc<Catalog>> {
        self.0.catalog_to_plan(bounds.schema_version, bounds.durable)
    }
}

/// A call of Flight SQL.
pub(super) struct SqlCall {
    entry: Arc<Entry>,
    caller: Caller,
}

impl SqlCall {
    /// The call of `entry` with these headers.
    pub(super) fn new(entry: Entry, headers: &MetadataMap) -> Result<Self, Status> {
        let cookies = headers.get_all("cookie").iter().filter_map(|cookie| cookie.to_str().ok());
        let session = entry.resources.sql.session(cookies).map_err(|error| from_error(&error))?;
        let bounds = bounds(headers)?.within(&session.bounds()).map_err(|error| from_error(&error))?;
        let ingest = IngestRoles {
            key: text(headers, "firn.ingest_key")?.map(str::to_owned),
            event_time: text(headers, "firn.ingest_event_time")?.map(str::to_owned),
        };
        let entry = Arc::new(entry);
        let door = Arc::new(Entered(Arc::clone(&entry)));
        // Its driver writes milliseconds into a parameter of any unit (arrow-java#838).
        let is_java = is_java(headers);
        Ok(Self { caller: Caller { door, bounds, session: Arc::new(session), ingest, is_java }, entry })
    }

    /// `answer` with what the client is to keep of its session.
    pub(super) fn respond<T>(caller: &Caller, answer: T) -> Response<T> {
        let mut response = Response::new(answer);
        set_cookie(&caller.session, response.metadata_mut());
        response
    }

    /// Whether a client reads what its session is from the headers of the answer to a DoPut; those in Go and Python do not.
    pub(super) fn reads_put_headers(headers: &MetadataMap) -> bool {
        headers.contains_key("cookie") && is_java(headers)
    }

    /// Who calls.
    pub(super) fn caller(&self) -> Caller {
        self.caller.clone()
    }

    /// GetFlightInfo.
    pub(super) async fn flight_info(&self, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
        let sql = &self.entry.resources.sql;
        sql.flight_info(&self.caller, descriptor).await.map_err(|error| from_error(&error))
    }

    /// GetSchema.
    pub(super) async fn schema(&self, command: &[u8]) -> Result<SchemaResult, Status> {
        let schema = self.entry.resources.sql.schema(&self.caller, command).await;
        schema.map(|schema| SchemaResult { schema }).map_err(|error| from_error(&error))
    }

    /// DoGet.
    pub(super) async fn get(self, ticket: &[u8]) -> Result<Answers<FlightData>, Status> {
        let rows = self.entry.resources.sql.get(&self.caller, ticket).await.map_err(|error| from_error(&error))?;
        let outgoing = Outgoing::new(Arc::clone(&rows.schema), self.entry.resources.limits.answer_message_bytes);
        let open = self.entry.resources.metrics.open("sql");
        let started = std::time::Instant::now();
        Ok(stream(Answer { entry: self.entry, rows, outgoing, count: 0, started, _open: open }).boxed())
    }

    /// DoPut.
    pub(super) async fn put(self, messages: Messages, command: Bytes) -> Result<PutResult, Status> {
        let resources = &self.entry.resources;
        let receiving = (messages, Decoding::new(resources));
        let batches = futures::stream::try_unfold(receiving, |(mut messages, mut decoding)| async move {
            loop {
                let Some(message) = messages.next().await.transpose()? else { return Ok(None) };
                let bytes = message.data_body.len();
                let batch = match decoding.run(bytes, move |decoder| decoder.decode(message)).await? {
                    Decoded::Batch(batch) => batch,
                    Decoded::Schema(schema) => RecordBatch::new_empty(schema),
                    Decoded::Nothing | Decoded::Dictionary => continue,
                };
                return Ok(Some((batch, (messages, decoding))));
            }
        });
        let batches = batches.map_err(|status: Status| to_error(&status)).boxed();
        let answer = resources.sql.put(&self.caller, &command, batches).await;
        answer.map(|app_metadata| PutResult { app_metadata }).map_err(|error| from_error(&error))
    }

    /// DoExchange, which Flight SQL does not have.
    pub(super) async fn refuse_exchange<T>(self) -> Result<T, Status> {
        Err(unimplemented(
            "Flight SQL has no DoExchange: send lookups and joins as JSON commands, or SQL to GetFlightInfo",
        ))
    }

    /// DoAction.
    pub(super) async fn act(&self, action: &Action) -> Result<Vec<arrow_flight::Result>, Status> {
        self.entry.resources.check_command_size(&action.body)?;
        let bodies = self.entry.resources.sql.act(&self.caller, action).await.map_err(|error| from_error(&error))?;
        Ok(bodies.into_iter().map(|body| arrow_flight::Result { body }).collect())
    }
}

/// Puts what the client is to keep of `session` into the headers of an answer.
fn set_cookie(session: &Session, headers: &mut MetadataMap) {
    if let Some(cookie) = session.set_cookie() {
        headers.insert("set-cookie", cookie.parse().expect("a cookie is written in ASCII"));
    }
}

fn is_java(headers: &MetadataMap) -> bool {
    let agent = headers.get("user-agent").and_then(|agent| agent.to_str().ok());
    agent.is_some_and(|agent| agent.starts_with("grpc-java"))
}

/// The text of a header.
fn text<'a>(headers: &'a MetadataMap, name: &'static str) -> Result<Option<&'a str>, Status> {
    let value = headers.get(name).map(|value| value.to_str());
    value.transpose().map_err(|_| invalid(format!("the header {name} is no text")))
}

/// The bounds that headers say.
fn bounds(headers: &MetadataMap) -> Result<Bounds, Status> {
    let mut bounds = Bounds::default();
    for setting in Setting::ALL {
        if let Some(said) = text(headers, setting.name())? {
            let set = bounds.set_text(setting, said);
            set.map_err(|error| from_error(&error.at("a header")))?;
        }
    }
    Ok(bounds)
}

/// An answer on its way, batch by batch as the client takes it.
struct Answer {
    entry: Arc<Entry>,
    rows: Rows,
    outgoing: Outgoing,
    count: u64,
    started: std::time::Instant,
    _open: OpenGuard,
}

impl Source for Answer {
    type Message = FlightData;

    async fn next(&mut self) -> Result<Option<FlightData>, Status> {
        loop {
            if let Some(message) = self.outgoing.next()? {
                return Ok(Some(message));
            }
            let batch = tokio::select! {
                batch = self.rows.batches.next() => batch,
                () = self.entry.stopping.cancelled() => return Err(unavailable("the server is shutting down")),
            };
            let Some(batch) = batch else {
                self.entry.resources.metrics.answered("sql", 1, self.count, self.started.elapsed());
                return Ok(None);
            };
            let batch = batch.map_err(|error| from_error(&error))?;
            self.count += batch.num_rows() as u64;
            self.outgoing.put_plainly(batch);
        }
    }

    fn counted(&self) -> (&Metrics, &'static str) {
        (&self.entry.resources.metrics, "sql")
    }
}
