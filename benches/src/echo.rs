//! The limit on the wire: a Flight server of FirnDB's own stack whose answers are built already.
//!
//! It reads of a request only how many rows it has, and answers with that many rows of the same types, names and
//! metadata as FirnDB, framed by FirnDB's encoder once per size. So it has the cost of the network, of HTTP/2 and of
//! gRPC, and no other. A write is acknowledged unread.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use arrow_schema::{DataType, Field, Schema};
use firn_client::Client;
use firn_client::wire::{Acknowledgement, Answer};
use firn_server::framing::Encoder;
use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use crate::data::Source;
use crate::firn::connect;
use crate::harness::{Harness, Result};
use crate::process::{Process, free_port};

/// The windows of FirnDB's server.
const WINDOW_BYTES: u32 = 8 << 20;
/// The messages of FirnDB's answers.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// The rows of a message of a scan.
const SCAN_ROWS: usize = 8192;
/// As long as a position of FirnDB.
const POSITION: &str = "0123456789abcdef0123456789abcdef.12345";

/// An echo server in a process of its own.
#[derive(Debug)]
pub(crate) struct Echo {
    _process: Process,
    url: String,
}

impl Echo {
    /// Starts one that answers `features` float64 features.
    pub(crate) fn start(harness: &Harness, features: usize) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["echo", "--port", &port.to_string(), "--features", &features.to_string()]);
        let process = Process::start(&mut command, &harness.log("echo"))?;
        Ok(Self { _process: process, url: format!("grpc://127.0.0.1:{port}") })
    }

    /// A connection of its own.
    pub(crate) async fn client(&self) -> firn_client::Result<Client> {
        connect(&self.url).await
    }
}

/// Serves until the process is killed.
pub(crate) async fn serve(port: u16, features: usize) -> Result<()> {
    let service = FlightServiceServer::new(EchoService { features })
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX);
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .add_service(service)
        .serve(SocketAddr::from(([127, 0, 0, 1], port)))
        .await?;
    Ok(())
}

#[derive(Debug)]
struct EchoService {
    features: usize,
}

/// The answers of one stream, built at the first request of their size.
struct Prebuilt {
    features: usize,
    encoder: Option<Encoder>,
    answers: HashMap<i64, Vec<FlightData>>,
}

impl Prebuilt {
    /// What `message` is answered with.
    fn answer(&mut self, message: &FlightData) -> std::result::Result<Vec<FlightData>, Status> {
        let header = arrow_ipc::root_as_message(&message.data_header)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let Some(rows) = header.header_as_record_batch().map(|batch| batch.length()) else {
            let mut encoder = encoder(self.features);
            let schema = encoder.schema_message();
            self.encoder = Some(encoder);
            return Ok(vec![schema]);
        };
        if let Some(answer) = self.answers.get(&rows) {
            return Ok(answer.clone());
        }
        let encoder = self.encoder.as_mut().ok_or_else(|| Status::invalid_argument("rows before a schema"))?;
        let answer = build(encoder, rows as usize)?;
        self.answers.insert(rows, answer.clone());
        Ok(answer)
    }
}

/// An encoder of answers of `features` float64 features.
fn encoder(features: usize) -> Encoder {
    let fields: Vec<Field> =
        (0..features).map(|number| Field::new(format!("f{number}"), DataType::Float64, true)).collect();
    Encoder::new(Arc::new(Schema::new(fields)), MESSAGE_BYTES_MAX)
}

/// The messages of an answer of `rows` rows.
fn build(encoder: &mut Encoder, rows: usize) -> std::result::Result<Vec<FlightData>, Status> {
    let schema = Arc::clone(encoder.schema());
    let columns = Source::new(0).features(rows, "f", schema.fields().len());
    let columns: Vec<ArrayRef> = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(schema, columns).map_err(|error| Status::internal(error.to_string()))?;
    let (mut messages, mut row) = (Vec::new(), 0);
    while row < rows {
        let encoded = encoder.next(&batch, row)?;
        row += encoded.rows;
        let answer = Answer {
            request: 0,
            last: row == rows,
            read_position: Some(POSITION.to_owned()),
            clock: Some(crate::data::EPOCH),
            schema_version: Some(2),
            ..Answer::default()
        };
        messages.push(FlightData { app_metadata: answer.encode().into(), ..encoded.message });
    }
    Ok(messages)
}

fn unserved<T>() -> std::result::Result<T, Status> {
    Err(Status::unimplemented("the echo answers exchanges and writes"))
}

#[tonic::async_trait]
impl FlightService for EchoService {
    type HandshakeStream = BoxStream<'static, std::result::Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, std::result::Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, std::result::Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, std::result::Result<PutResult, Status>>;
    type DoActionStream = BoxStream<'static, std::result::Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, std::result::Result<ActionType, Status>>;
    type DoExchangeStream = BoxStream<'static, std::result::Result<FlightData, Status>>;

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> std::result::Result<Response<Self::DoExchangeStream>, Status> {
        let mut prebuilt = Prebuilt { features: self.features, encoder: None, answers: HashMap::new() };
        let answers = request.into_inner().flat_map(move |message| {
            let answered = message.and_then(|message| prebuilt.answer(&message));
            let messages: Vec<_> = match answered {
                Ok(messages) => messages.into_iter().map(Ok).collect(),
                Err(status) => vec![Err(status)],
            };
            futures::stream::iter(messages)
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> std::result::Result<Response<Self::DoPutStream>, Status> {
        let acknowledgement =
            Acknowledgement { batches: 1, rows: 1, read_position: POSITION.to_owned(), ..Acknowledgement::default() };
        let metadata = bytes::Bytes::from(acknowledgement.encode());
        // The first message is the schema.
        let acknowledged = request
            .into_inner()
            .skip(1)
            .map(move |message| message.map(|_| PutResult { app_metadata: metadata.clone() }));
        Ok(Response::new(acknowledged.boxed()))
    }

    /// Answers a scan of a table that is called by the number of its rows.
    async fn do_get(&self, request: Request<Ticket>) -> std::result::Result<Response<Self::DoGetStream>, Status> {
        let asked = match firn_client::wire::Command::decode(&request.into_inner().ticket) {
            Ok(firn_client::wire::Command::Scan(scan)) => scan.table.parse().ok(),
            _ => None,
        };
        let mut left: usize = asked.ok_or_else(|| Status::invalid_argument("a scan is of a number of rows"))?;
        let mut encoder = encoder(self.features);
        let schema = encoder.schema_message();
        let chunk = build(&mut encoder, SCAN_ROWS)?;
        let rest = build(&mut encoder, left % SCAN_ROWS)?;
        let chunks = std::iter::from_fn(move || {
            let messages = match left {
                0 => return None,
                short if short < SCAN_ROWS => rest.clone(),
                _ => chunk.clone(),
            };
            left = left.saturating_sub(SCAN_ROWS);
            Some(messages)
        });
        let messages = std::iter::once(schema).chain(chunks.flatten()).map(Ok);
        Ok(Response::new(futures::stream::iter(messages).boxed()))
    }

    async fn do_action(&self, _: Request<Action>) -> std::result::Result<Response<Self::DoActionStream>, Status> {
        unserved()
    }

    async fn list_actions(&self, _: Request<Empty>) -> std::result::Result<Response<Self::ListActionsStream>, Status> {
        unserved()
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> std::result::Result<Response<FlightInfo>, Status> {
        unserved()
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> std::result::Result<Response<SchemaResult>, Status> {
        unserved()
    }

    async fn list_flights(
        &self,
        _: Request<Criteria>,
    ) -> std::result::Result<Response<Self::ListFlightsStream>, Status> {
        unserved()
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> std::result::Result<Response<PollInfo>, Status> {
        unserved()
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> std::result::Result<Response<Self::HandshakeStream>, Status> {
        unserved()
    }
}
