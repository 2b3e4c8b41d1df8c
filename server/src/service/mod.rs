//! The Flight service: which call goes where, and what all calls share.
//!
//! | call | file |
//! |---|---|
//! | DoPut: write, delete, retract | `put.rs`, handed to the log by `submission.rs`, acknowledged by `acknowledge.rs` |
//! | DoExchange: lookup, join | `exchange.rs`, answered by `answers.rs` |
//! | DoGet: lookup with entities, scan | `get.rs`, `scan.rs` |
//! | DoAction, ListActions | `actions.rs` |
//! | GetFlightInfo, GetSchema, ListFlights | `info.rs` |
//! | all of them, where the command is one of Flight SQL | `sql.rs` |
//!
//! Every call enters by `resources/granted.rs`, which makes its caller and grants what it asks for, and is sorted by
//! the protocol that it speaks (`protocol.rs`). Commands are read by `firn_client::wire` and turned into the engine's
//! requests by `convert.rs`.

mod acknowledge;
mod actions;
mod answers;
mod chunks;
pub(crate) mod convert;
mod decoding;
mod exchange;
mod get;
mod info;
mod moment;
mod outgoing;
mod protocol;
mod put;
mod resources;
mod scan;
mod sql;
mod streams;
mod submission;

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use bytes::Bytes;
use firn_flight_sql::door::Caller as SqlCaller;
use firn_flight_sql::service::FlightSql;
use futures::{Stream, StreamExt, TryFutureExt, TryStreamExt};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

pub use resources::Resources;
pub use streams::Answers;

use crate::framing::too_large;
use crate::refusal::unimplemented;
use protocol::Protocol;
use resources::granted::Entry;
use sql::SqlCall;
use streams::Messages;

/// FirnDB over Arrow Flight.
#[derive(Debug, Clone)]
pub struct Firn {
    resources: Arc<Resources>,
}

impl Firn {
    /// The service over `resources`.
    pub fn new(resources: Arc<Resources>) -> Self {
        Self { resources }
    }

    /// Lets a stream in: its place, its headers, and its messages, of which none is taken yet.
    fn let_in(&self, request: Request<Streaming<FlightData>>) -> Result<(Entry, MetadataMap, Messages), Status> {
        let entry = self.resources.enter(&request)?;
        let limits = Arc::clone(&self.resources.limits);
        let (headers, _, messages) = request.into_parts();
        let messages = messages.map_err(move |status| too_large(status, &limits));
        Ok((entry, headers, messages.boxed().peekable()))
    }

    /// Lets a stream in, and serves it once its first message has come and says how: as ours, or as one of Flight SQL.
    fn enter_stream<T, S, Q>(
        &self,
        request: Request<Streaming<FlightData>>,
        serve: impl FnOnce(Entry, Messages) -> S + Send + 'static,
        serve_sql: impl FnOnce(SqlCall, Messages, Bytes) -> Q + Send + 'static,
    ) -> Result<Response<Answers<T>>, Status>
    where
        T: Send + 'static,
        S: Stream<Item = Result<T, Status>> + Send + 'static,
        Q: Future<Output = Result<T, Status>> + Send + 'static,
    {
        let (entry, headers, mut messages) = self.let_in(request)?;
        let serving = async move {
            Ok(match Protocol::of_stream(&mut messages, &entry.stopping).await {
                Protocol::Native => serve(entry, messages).boxed(),
                Protocol::FlightSql(command) => {
                    let call = SqlCall::new(entry, &headers)?;
                    futures::stream::once(serve_sql(call, messages, command)).boxed()
                }
            })
        };
        Ok(Response::new(serving.try_flatten_stream().boxed()))
    }

    /// DoPut of a client that reads what its session is from the headers of the answer: so they wait for the answer.
    async fn put_in_session(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Answers<PutResult>>, Status> {
        let (entry, headers, mut messages) = self.let_in(request)?;
        let Protocol::FlightSql(command) = Protocol::of_stream(&mut messages, &entry.stopping).await else {
            return Ok(Response::new(put::serve(entry, messages).boxed()));
        };
        let call = SqlCall::new(entry, &headers)?;
        let caller = call.caller();
        let answered = call.put(messages, command).await;
        let answered = answered.map(|answer| futures::stream::once(async move { Ok(answer) }).boxed());
        self.counted_sql(&caller, answered)
    }

    /// The answer of a call of Flight SQL, with its session.
    fn counted_sql<T>(&self, caller: &SqlCaller, result: Result<T, Status>) -> Result<Response<T>, Status> {
        self.counted("sql", result).map(|response| SqlCall::respond(caller, response.into_inner()))
    }

    /// Counts a failure of a call that is not a stream.
    fn counted<T>(&self, call: &'static str, result: Result<T, Status>) -> Result<Response<T>, Status> {
        result.map(Response::new).inspect_err(|status| self.resources.metrics.failed(call, status.code()))
    }
}

#[cfg(test)]
mod tests;

#[tonic::async_trait]
impl FlightService for Firn {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        if SqlCall::reads_put_headers(request.metadata()) {
            return self.put_in_session(request).await;
        }
        self.enter_stream(request, put::serve, SqlCall::put)
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.enter_stream(request, exchange::serve, |call, _, _| call.refuse_exchange())
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let entry = self.resources.enter(&request)?;
        if let Protocol::FlightSql(ticket) = Protocol::of(&request.get_ref().ticket) {
            let call = SqlCall::new(entry, request.metadata())?;
            let caller = call.caller();
            return self.counted_sql(&caller, call.get(&ticket).await);
        }
        self.counted("get", get::serve(entry, request.into_inner().ticket).await)
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let entry = self.resources.enter(&request)?;
        if FlightSql::has_action(&request.get_ref().r#type) {
            let call = SqlCall::new(entry, request.metadata())?;
            let answered = call.act(request.get_ref()).await;
            let answers = answered.map(|answers| futures::stream::iter(answers.into_iter().map(Ok)).boxed());
            return self.counted_sql(&call.caller(), answers);
        }
        let answered = actions::answer(&entry, request.into_inner()).await;
        let once = answered.map(|answer| futures::stream::once(async move { Ok(answer) }).boxed());
        self.counted("action", once)
    }

    async fn list_actions(&self, _request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Ok(Response::new(futures::stream::iter(actions::list().map(Ok)).boxed()))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let entry = self.resources.enter(&request)?;
        if let Protocol::FlightSql(_) = Protocol::of_descriptor(request.get_ref()) {
            let call = SqlCall::new(entry, request.metadata())?;
            return self.counted_sql(&call.caller(), call.flight_info(request.into_inner()).await);
        }
        self.counted("info", info::flight(&entry, request.into_inner()).await)
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let entry = self.resources.enter(&request)?;
        if let Protocol::FlightSql(command) = Protocol::of_descriptor(request.get_ref()) {
            let call = SqlCall::new(entry, request.metadata())?;
            return self.counted_sql(&call.caller(), call.schema(&command).await);
        }
        self.counted("info", info::schema(&entry, request.into_inner()).await)
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        let entry = self.resources.enter(&request)?;
        let listed = info::list(&entry).await;
        self.counted("info", listed.map(|flights| futures::stream::iter(flights.into_iter().map(Ok)).boxed()))
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        // What there is to poll for is known at once.
        let poll =
            |info| PollInfo { info: Some(info), flight_descriptor: None, progress: Some(1.0), expiration_time: None };
        Ok(self.get_flight_info(request).await?.map(poll))
    }

    async fn handshake(
        &self,
        _request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(unimplemented("Handshake is not served: this build has no authentication; connect without credentials"))
    }
}
