//! The Flight service: which call goes where, and what all calls share.
//!
//! | call | file |
//! |---|---|
//! | DoPut: write, delete, retract | `put.rs`, handed to the log by `submission.rs`, acknowledged by `acknowledge.rs` |
//! | DoExchange: lookup, join | `exchange.rs`, answered by `answers.rs` |
//! | DoGet: lookup with entities, scan | `get.rs`, `scan.rs` |
//! | DoAction, ListActions | `actions.rs` |
//! | GetFlightInfo, GetSchema, ListFlights | `info.rs` |
//!
//! Commands are read by `firn_client::wire` and turned into the engine's requests by `convert.rs`.

mod acknowledge;
mod actions;
mod answers;
mod chunks;
mod convert;
mod decoding;
mod exchange;
mod get;
mod info;
mod moment;
mod outgoing;
mod put;
mod scan;
mod shared;
mod source;
mod submission;

use std::pin::Pin;
use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::stream::{BoxStream, Peekable};
use futures::{Stream, StreamExt, TryStreamExt};
use tonic::{Request, Response, Status, Streaming};

pub use shared::Shared;

use crate::framing::too_large;
use crate::status::unimplemented;

/// What a client sends on a stream; its first message can be looked at before it is taken.
type Messages = Peekable<BoxStream<'static, Result<FlightData, Status>>>;

/// A stream of answers.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// FirnDB over Arrow Flight.
#[derive(Debug, Clone)]
pub struct Firn {
    shared: Arc<Shared>,
}

impl Firn {
    /// The service over `shared`.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What the client of `request` sends.
    fn messages(&self, request: Request<Streaming<FlightData>>) -> Messages {
        let limits = Arc::clone(&self.shared.limits);
        request.into_inner().map_err(move |status| too_large(status, &limits)).boxed().peekable()
    }

    /// Counts a failure of a call that is not a stream.
    fn counted<T>(&self, call: &'static str, result: Result<T, Status>) -> Result<Response<T>, Status> {
        result.map(Response::new).inspect_err(|status| self.shared.metrics.failed(call, status.code()))
    }
}

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
        let permit = self.shared.admit()?;
        Ok(Response::new(put::serve(Arc::clone(&self.shared), self.messages(request), permit).boxed()))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        let permit = self.shared.admit()?;
        Ok(Response::new(exchange::serve(Arc::clone(&self.shared), self.messages(request), permit).boxed()))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let permit = self.shared.admit()?;
        let served = get::serve(Arc::clone(&self.shared), &request.into_inner().ticket, permit).await;
        self.counted("get", served)
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let _permit = self.shared.admit()?;
        let answered = actions::answer(&self.shared, request.into_inner()).await;
        let once = answered.map(|answer| futures::stream::once(async move { Ok(answer) }).boxed());
        self.counted("action", once)
    }

    async fn list_actions(&self, _request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Ok(Response::new(futures::stream::iter(actions::list().map(Ok)).boxed()))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let _permit = self.shared.admit()?;
        self.counted("info", info::flight(&self.shared, request.into_inner()).await)
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let _permit = self.shared.admit()?;
        self.counted("info", info::schema(&self.shared, request.into_inner()).await)
    }

    async fn list_flights(&self, _request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        let _permit = self.shared.admit()?;
        let listed = info::list(&self.shared).await;
        self.counted("info", listed.map(|flights| futures::stream::iter(flights.into_iter().map(Ok)).boxed()))
    }

    async fn poll_flight_info(&self, _request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(unimplemented("PollFlightInfo is not served: GetFlightInfo answers at once"))
    }

    async fn handshake(
        &self,
        _request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(unimplemented("Handshake is not served: this build has no authentication; connect without credentials"))
    }
}
