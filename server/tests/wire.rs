//! The wire, end to end: a real server on a free port, driven through Arrow Flight as any client would; and the
//! command line (`commands/`), in the same binary because linking is slow.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod commands;
mod durable;
mod model;

use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, Empty, FlightData, FlightDescriptor, Ticket};
use bytes::Bytes;
use firn_client::wire::{Acknowledgement, Answer, ProducerStep};
use firn_server::Server;
use firn_server::config::Config;
use firn_server::framing::{Decoded, Decoder};
use firn_storage::commit::Done;
use firn_storage::database::Database;
use firn_storage::model::prove::{Verb, WriteRequest};
use firn_storage::time::ManualClock;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

type Client = FlightServiceClient<Channel>;

async fn connect(server: &Server) -> Client {
    let endpoint = tonic::transport::Endpoint::new(server.url()).unwrap();
    FlightServiceClient::new(endpoint.connect().await.unwrap())
}

/// A server over an empty directory, and a client of it.
struct Harness {
    server: Server,
    client: Client,
    _directory: tempfile::TempDir,
}

impl Harness {
    async fn start() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Self::config(&directory);
        change(&mut config);
        let server = Server::start(config).await.unwrap();
        let client = connect(&server).await.max_decoding_message_size(usize::MAX);
        Self { server, client, _directory: directory }
    }

    fn config(directory: &tempfile::TempDir) -> Config {
        let mut config = Config::new(directory.path());
        config.listen = "127.0.0.1:0".parse().unwrap();
        config.metrics = Some("127.0.0.1:0".parse().unwrap());
        config.storage.background = false;
        config
    }

    /// What the port of metrics and health answers.
    async fn monitor(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.server.metrics_address().unwrap()).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn act(&self, name: &str, body: Value) -> Result<Value, Status> {
        let action = Action { r#type: name.to_owned(), body: body.to_string().into() };
        let mut results = self.client.clone().do_action(action).await?.into_inner();
        let result = results.message().await?.expect("an action has one result");
        Ok(serde_json::from_slice(&result.body).unwrap())
    }

    async fn weather(&self) {
        self.act("create_entity", json!({"entity":"airport","key":[{"name":"origin","type":"utf8"}],"buckets":2}))
            .await
            .unwrap();
        let features = json!([
            {"name":"temp","type":"float64","max_age":"3h"},
            {"name":"note","type":"utf8","default":"none"}]);
        let table = json!({"table":"weather","entity":"airport","event_time":"observed","features":features,
            "max_future_skew":"none"});
        self.act("create_table", table).await.unwrap();
    }

    /// Sends messages and collects what comes back.
    async fn put(&self, messages: Vec<FlightData>) -> (Vec<Acknowledgement>, Option<Status>) {
        let sent = futures::stream::iter(messages);
        let mut results = match self.client.clone().do_put(sent).await {
            Ok(results) => results.into_inner(),
            Err(status) => return (Vec::new(), Some(status)),
        };
        let mut acknowledgements = Vec::new();
        loop {
            match results.message().await {
                Ok(Some(result)) => acknowledgements.push(Acknowledgement::decode(&result.app_metadata).unwrap()),
                Ok(None) => return (acknowledgements, None),
                Err(status) => return (acknowledgements, Some(status)),
            }
        }
    }

    async fn write(&self, batches: &[RecordBatch]) -> Acknowledgement {
        let (acknowledgements, error) = self.put(messages(&json!({"write":{"table":"weather"}}), batches).await).await;
        assert!(error.is_none(), "{error:?}");
        acknowledgements.last().expect("batches are acknowledged").clone()
    }

    async fn exchange(&self, messages: Vec<FlightData>) -> Result<(Vec<RecordBatch>, Vec<Answer>), Status> {
        let sent = futures::stream::iter(messages);
        let received = self.client.clone().do_exchange(sent).await?.into_inner();
        collect(received.try_collect().await?)
    }

    async fn get(&self, ticket: &Value) -> Result<(Vec<RecordBatch>, Vec<Answer>), Status> {
        let ticket = Ticket { ticket: ticket.to_string().into() };
        let received = self.client.clone().do_get(ticket).await?.into_inner();
        collect(received.try_collect().await?)
    }
}

/// The batches of an answer and the metadata of each.
fn collect(messages: Vec<FlightData>) -> Result<(Vec<RecordBatch>, Vec<Answer>), Status> {
    assert!(messages[0].app_metadata.is_empty(), "the schema message carries no metadata");
    let answers = messages.iter().filter(|message| !message.app_metadata.is_empty());
    let answers = answers.map(|message| Answer::decode(&message.app_metadata).unwrap()).collect();
    let mut decoder = Decoder::new(Arc::new(Config::new("unused").limits));
    let mut batches = Vec::new();
    for message in messages {
        if let Decoded::Batch(batch) = decoder.decode(message).unwrap() {
            batches.push(batch);
        }
    }
    Ok((batches, answers))
}

async fn messages(command: &Value, batches: &[RecordBatch]) -> Vec<FlightData> {
    let descriptor = FlightDescriptor::new_cmd(command.to_string());
    let batches = batches.to_vec();
    let encoder = FlightDataEncoderBuilder::new()
        .with_schema(batches[0].schema())
        .with_flight_descriptor(Some(descriptor))
        .build(futures::stream::iter(batches.into_iter().map(Ok)));
    encoder.try_collect().await.unwrap()
}

const HOUR: i64 = 3_600_000_000;

fn times(hours: &[i64]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(hours.iter().map(|hour| hour * HOUR)).with_timezone("UTC"))
}

fn rows(origins: &[&str], hours: &[i64], temps: &[Option<f64>]) -> RecordBatch {
    RecordBatch::try_from_iter([
        ("origin", Arc::new(StringArray::from_iter_values(origins)) as ArrayRef),
        ("observed", times(hours)),
        ("temp", Arc::new(Float64Array::from(temps.to_vec())) as ArrayRef),
    ])
    .unwrap()
}

fn keys(origins: &[&str]) -> RecordBatch {
    RecordBatch::try_from_iter([("origin", Arc::new(StringArray::from_iter_values(origins)) as ArrayRef)]).unwrap()
}

fn temps(batch: &RecordBatch) -> Vec<Option<f64>> {
    batch.column_by_name("temp").unwrap().as_primitive::<Float64Type>().iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_acknowledged_is_looked_up() {
    let harness = Harness::start().await;
    harness.weather().await;
    let acknowledged = harness.write(&[rows(&["EWR", "JFK"], &[1, 2], &[Some(1.5), None])]).await;
    assert_eq!((acknowledged.batches, acknowledged.rows, acknowledged.bad_row_count), (1, 2, 0));

    let command = json!({"lookup":{"features":["weather.temp",{"feature":"weather.note","as":"remark"}],
        "as_of":{"us":3 * HOUR},"status":true,"event_times":true,"digest":true}});
    let (batches, answers) = harness.exchange(messages(&command, &[keys(&["JFK", "EWR", "LGA"])]).await).await.unwrap();
    let names: Vec<_> = batches[0].schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["temp", "temp__status", "temp__event_time", "remark", "remark__status", "remark__event_time"]);
    assert_eq!(temps(&batches[0]), [None, Some(1.5), None]);
    let statuses = arrow_cast::cast(&batches[0].columns()[1], &arrow_schema::DataType::Utf8).unwrap();
    assert_eq!(statuses.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["null", "value", "never"]);
    assert_eq!(batches[0].column(2).as_primitive::<TimestampMicrosecondType>().value(1), HOUR);
    assert_eq!(answers.len(), 1);
    assert!(answers[0].last && answers[0].request == 0);
    assert_eq!(answers[0].read_position.as_deref(), Some(acknowledged.read_position.as_str()));
    assert!(answers[0].digest.is_some() && answers[0].clock.is_some());

    let ticket = json!({"lookup":{"features":["weather.temp"],"as_of":{"us":3 * HOUR},"entities":{"origin":["EWR"]}}});
    let (batches, _) = harness.get(&ticket).await.unwrap();
    assert_eq!(temps(&batches[0]), [Some(1.5)]);
    harness.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_in_order_and_zero_rows_with_zero_rows() {
    let harness = Harness::start().await;
    harness.weather().await;
    harness.write(&[rows(&["EWR"], &[1], &[Some(1.0)])]).await;
    let command = json!({"lookup":{"features":["weather.temp"],"as_of":{"us":2 * HOUR}}});
    let mut requests: Vec<_> = (0..100).map(|size| keys(&vec!["EWR"; size * 37 % 3000])).collect();
    requests.push(keys(&[]));
    let mut sent = messages(&command, &requests[..1]).await;
    sent.truncate(1);
    for request in &requests {
        // The stock encoder sends nothing for zero rows; requests are encoded one by one instead.
        let mut encoder = firn_server::framing::Encoder::new(request.schema(), 1 << 26);
        encoder.schema_message();
        sent.push(encoder.next(request, 0).unwrap().message);
    }
    let (batches, answers) = harness.exchange(sent).await.unwrap();
    assert_eq!(answers.iter().map(|answer| answer.request).collect::<Vec<_>>(), (0..101).collect::<Vec<_>>());
    for (batch, request) in batches.iter().zip(&requests) {
        assert_eq!(batch.num_rows(), request.num_rows());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_answers_the_spine_and_the_features_as_of_each_row() {
    let harness = Harness::start().await;
    harness.weather().await;
    harness.write(&[rows(&["EWR", "EWR", "JFK"], &[1, 3, 2], &[Some(1.0), Some(3.0), Some(2.0)])]).await;
    let spine = RecordBatch::try_from_iter([
        ("label", Arc::new(Float64Array::from(vec![0.0, 1.0, 2.0, 3.0])) as ArrayRef),
        ("place", Arc::new(StringArray::from_iter_values(["EWR", "EWR", "JFK", "EWR"])) as ArrayRef),
        ("decided_at", times(&[0, 2, 2, 4])),
    ])
    .unwrap();
    let feature = json!({"feature":"weather.temp","entity":{"origin":"place"}});
    let command = json!({"join":{"features":[feature],"as_of":{"column":"decided_at"},"digest":true}});
    let (batches, answers) = harness.exchange(messages(&command, &[spine.clone(), spine.clone()]).await).await.unwrap();
    assert_eq!(batches.len(), 2);
    assert_eq!(batches[0].num_columns(), 4);
    assert_eq!(batches[0].column(0), spine.column(0));
    assert_eq!(temps(&batches[0]), [None, Some(1.0), Some(2.0), Some(3.0)]);
    assert_eq!(answers[0].read_position, answers[1].read_position);
    assert_eq!(answers[0].digest, answers[1].digest, "equal answers have equal digests");

    let exclusive = json!({"join":{"features":[{"feature":"weather.temp","entity":{"origin":"place"}}],
        "as_of":{"column":"decided_at","exclusive":true}}});
    let (batches, _) = harness.exchange(messages(&exclusive, &[spine]).await).await.unwrap();
    assert_eq!(temps(&batches[0]), [None, Some(1.0), None, Some(3.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_spans_messages_below_the_limit_with_the_same_digest() {
    let harness = Harness::start().await;
    harness.weather().await;
    harness.write(&[rows(&["EWR"], &[1], &[Some(1.0)])]).await;
    let request = keys(&vec!["EWR"; 50_000]);
    let mut digests = Vec::new();
    for most in [4096, 4 << 20] {
        let command =
            json!({"lookup":{"features":["weather.*"],"as_of":{"us":HOUR},"digest":true,"max_message_bytes":most}});
        let sent = futures::stream::iter(messages(&command, std::slice::from_ref(&request)).await);
        let received = harness.client.clone().do_exchange(sent).await.unwrap().into_inner();
        let messages: Vec<FlightData> = received.try_collect().await.unwrap();
        assert!(messages.iter().all(|message| prost::Message::encoded_len(message) < most));
        let (batches, answers) = collect(messages).unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 50_000);
        let (last, others) = answers.split_last().unwrap();
        assert!(last.last && others.iter().all(|answer| !answer.last && answer.digest.is_none()));
        digests.push(last.digest.clone().unwrap());
    }
    assert_eq!(digests[0], digests[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_rows_end_the_stream_or_come_in_band() {
    let harness = Harness::start().await;
    harness.weather().await;
    harness.write(&[rows(&["EWR"], &[1], &[Some(1.0)])]).await;
    let null = RecordBatch::try_new(
        Arc::new(arrow_schema::Schema::new(vec![arrow_schema::Field::new(
            "origin",
            arrow_schema::DataType::Utf8,
            true,
        )])),
        vec![Arc::new(StringArray::from(vec![Some("EWR"), None]))],
    )
    .unwrap();
    let good = RecordBatch::try_new(null.schema(), keys(&["EWR"]).columns().to_vec()).unwrap();
    let requests = [good.clone(), null, good];
    let command = |errors: &str| json!({"lookup":{"features":["weather.temp"],"as_of":{"us":HOUR},"errors":errors}});
    let error = harness.exchange(messages(&command("status"), &requests).await).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("request 1"), "{error}");

    let (batches, answers) = harness.exchange(messages(&command("in_band"), &requests).await).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [1, 0, 1]);
    assert_eq!(answers.iter().map(|answer| answer.request).collect::<Vec<_>>(), [0, 1, 2]);
    let error = answers[1].error.as_ref().unwrap();
    assert_eq!(error.code, "INVALID_ARGUMENT");
    assert!(answers[1].last && answers[2].error.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_command_alone_decides_ends_the_stream() {
    let harness = Harness::start().await;
    harness.weather().await;
    let spine = RecordBatch::try_from_iter([
        ("origin", Arc::new(StringArray::from_iter_values(["EWR"])) as ArrayRef),
        ("temp", Arc::new(Float64Array::from(vec![0.0])) as ArrayRef),
    ])
    .unwrap();
    for (command, code, part) in [
        (json!({"lookup":{"features":["weather.tmp"]}}), Code::NotFound, "tmp"),
        (json!({"lookup":{"features":["wether.temp"]}}), Code::NotFound, "wether"),
        (json!({"lookup":{"features":["weather.temp"],"as_of":{"column":"when"}}}), Code::InvalidArgument, "when"),
        (
            json!({"lookup":{"features":["weather.temp"],"max_message_bytes":1}}),
            Code::InvalidArgument,
            "max_message_bytes",
        ),
        (json!({"lookup":{"features":["weather.temp"],"position":"x"}}), Code::InvalidArgument, "position"),
        (json!({"lookup":{"features":["weather.temp"],"entities":{"origin":["x"]}}}), Code::InvalidArgument, "DoGet"),
        (
            json!({"lookup":{"features":["weather.temp"],"oops":1}}),
            Code::InvalidArgument,
            "lookup: unknown field `oops`",
        ),
        (json!({"join":{"features":["weather.temp"],"as_of":"latest"}}), Code::InvalidArgument, "\"as\""),
        (
            json!({"join":{"features":["weather.temp"],"as_of":"latest","spine":{"table":"x"}}}),
            Code::Unimplemented,
            "spine",
        ),
        (json!({"write":{"table":"weather"}}), Code::InvalidArgument, "DoPut"),
    ] {
        let error = harness.exchange(messages(&command, std::slice::from_ref(&spine)).await).await.unwrap_err();
        assert_eq!(error.code(), code, "{command}: {error}");
        assert!(error.message().contains(part), "{command}: {error}");
    }
    let error = harness.get(&json!("SELECT")).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("Flight SQL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_cover_all_batches_even_if_read_last() {
    let harness = Harness::start().await;
    harness.weather().await;
    let batches: Vec<_> = (0..500).map(|hour| rows(&["EWR"; 20], &[hour; 20], &[Some(hour as f64); 20])).collect();
    let (send, receive) = mpsc::channel(1);
    let mut results = harness.client.clone().do_put(ReceiverStream::new(receive)).await.unwrap().into_inner();
    for message in messages(&json!({"write":{"table":"weather"}}), &batches).await {
        send.send(message).await.unwrap();
    }
    drop(send);
    let (mut count, mut rows) = (0, 0);
    while let Some(result) = results.message().await.unwrap() {
        let acknowledgement = Acknowledgement::decode(&result.app_metadata).unwrap();
        count += acknowledgement.batches;
        rows += acknowledgement.rows;
    }
    assert_eq!((count, rows), (500, 10_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_batch_ends_the_stream_after_earlier_acknowledgements() {
    let harness = Harness::start().await;
    harness.weather().await;
    let good = |hour| rows(&["EWR"], &[hour], &[Some(1.0)]);
    let mut sent =
        messages(&json!({"write":{"table":"weather","producer":"p"}}), &[good(1), good(2), good(3), good(4)]).await;
    for (message, (producer_seq, previous)) in
        sent[1..].iter_mut().zip([(1, None), (2, Some(1)), (7, Some(6)), (3, Some(2))])
    {
        message.app_metadata = ProducerStep { producer_seq, previous }.encode().into();
    }
    let (acknowledgements, error) = harness.put(sent.clone()).await;
    assert_eq!(acknowledgements.iter().map(|acknowledgement| acknowledgement.batches).sum::<u64>(), 2);
    let error = error.unwrap();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().starts_with("batch 2:"), "{error}");
    let status = harness.get(&json!({"scan":{"table":"weather","history":true}})).await.unwrap();
    assert_eq!(
        status.0.iter().map(RecordBatch::num_rows).sum::<usize>(),
        2,
        "nothing after the refused batch is applied"
    );

    // Only the stored last is a duplicate when it comes again.
    sent.truncate(3);
    sent.remove(1);
    let (acknowledgements, error) = harness.put(sent).await;
    assert!(error.is_none());
    assert_eq!(acknowledgements.iter().map(|acknowledgement| acknowledgement.duplicates).sum::<u64>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_refuse_the_batch_or_are_reported() {
    let harness = Harness::start().await;
    harness.weather().await;
    let origins: ArrayRef = Arc::new(StringArray::from(vec![Some("EWR"), None, Some("JFK")]));
    let temps: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]));
    let fields = vec![
        arrow_schema::Field::new("origin", arrow_schema::DataType::Utf8, true),
        arrow_schema::Field::new("observed", times(&[1]).data_type().clone(), true),
        arrow_schema::Field::new("temp", arrow_schema::DataType::Float64, true),
    ];
    let schema = Arc::new(arrow_schema::Schema::new(fields));
    let bad = RecordBatch::try_new(Arc::clone(&schema), vec![origins, times(&[1, 1, 1]), temps]).unwrap();
    let good = RecordBatch::try_new(schema, rows(&["EWR"], &[1], &[Some(1.0)]).columns().to_vec()).unwrap();

    let (acknowledgements, error) =
        harness.put(messages(&json!({"write":{"table":"weather"}}), &[good.clone(), bad.clone()]).await).await;
    assert_eq!(acknowledgements.iter().map(|acknowledgement| acknowledgement.rows).sum::<u64>(), 1);
    let error = error.unwrap();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("origin"), "{error}");

    let (acknowledgements, error) =
        harness.put(messages(&json!({"write":{"table":"weather","bad_rows":"report"}}), &[good, bad]).await).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(acknowledgements.iter().map(|acknowledgement| acknowledgement.rows).sum::<u64>(), 3);
    let bad_rows: Vec<_> = acknowledgements.iter().flat_map(|acknowledgement| &acknowledgement.bad_rows).collect();
    assert_eq!(bad_rows.len(), 1);
    assert_eq!((bad_rows[0].batch, bad_rows[0].row, bad_rows[0].column.as_str()), (1, 1, "origin"));
}

/// Small batches that come together are stored as one, which only their order and their atomicity may show.
#[tokio::test(flavor = "multi_thread")]
async fn of_batches_that_come_together_exactly_the_wrong_one_is_refused() {
    let harness = Harness::with(|config| config.storage.background = true).await;
    harness.weather().await;
    let write = json!({"write":{"table":"weather"}});
    let hour = |hour: i64| rows(&["EWR"], &[hour], &[Some(hour as f64)]);
    let stored = async || {
        let scan = harness.get(&json!({"scan":{"table":"weather","history":true}})).await.unwrap();
        scan.0.iter().map(RecordBatch::num_rows).sum::<usize>()
    };
    // Beyond all event times: refused at the door.
    let batches: Vec<_> = (0..40).map(|at| if at == 25 { hour(1 << 30) } else { hour(at) }).collect();
    let (acknowledgements, error) = harness.put(messages(&write, &batches).await).await;
    assert_eq!(acknowledgements.iter().map(|acknowledgement| acknowledgement.batches).sum::<u64>(), 25);
    let error = error.unwrap();
    assert!(error.message().starts_with("batch 25: "), "{error}");
    assert_eq!(stored().await, 25, "nothing after the refused batch is applied");

    // Erased and blocked: refused by the log.
    harness.act("erase", json!({"entity":"airport","entities":{"origin":["LGA"]},"block":true})).await.unwrap();
    let batches: Vec<_> =
        (100..140).map(|at| if at == 107 { rows(&["LGA"], &[at], &[Some(0.0)]) } else { hour(at) }).collect();
    let (acknowledgements, error) = harness.put(messages(&write, &batches).await).await;
    assert_eq!(acknowledgements.iter().map(|acknowledgement| acknowledgement.batches).sum::<u64>(), 7);
    let error = error.unwrap();
    assert!(error.message().starts_with("batch 7: "), "{error}");
    assert_eq!(stored().await, 32);

    // Of several rows of one identity the last one sent counts.
    let batches: Vec<_> = (0..60).map(|value| rows(&["JFK"], &[7], &[Some(value as f64)])).collect();
    let (acknowledgements, error) = harness.put(messages(&write, &batches).await).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(acknowledgements.iter().map(|acknowledgement| acknowledgement.rows).sum::<u64>(), 60);
    assert_eq!(stored().await, 92);
    let lookup = json!({"lookup":{"features":["weather.temp"],"as_of":{"us":7 * HOUR}}});
    let (answers, _) = harness.exchange(messages(&lookup, &[keys(&["JFK"])]).await).await.unwrap();
    assert_eq!(temps(&answers[0]), [Some(59.0)]);
}

/// Without a digest, an answer of plain values leaves as the engine's bytes; with one it is made of arrays.
#[tokio::test(flavor = "multi_thread")]
async fn plain_answers_of_one_table_and_of_several_are_those_made_of_arrays() {
    let harness = Harness::start().await;
    harness.weather().await;
    let features = json!([{"name":"gusts","type":"int32"}, {"name":"at","type":"timestamp[us, tz=UTC]"}]);
    let table = json!({"table":"wind","entity":"airport","event_time":"observed","features":features,
        "max_future_skew":"none"});
    harness.act("create_table", table).await.unwrap();
    let none =
        json!({"table":"none","entity":"airport","event_time":"observed","features":[],"max_future_skew":"none"});
    harness.act("create_table", none).await.unwrap();
    let origins: Vec<String> = (0..200).map(|origin| format!("A{origin}")).collect();
    let origins: Vec<&str> = origins.iter().map(String::as_str).collect();
    let temperatures: Vec<_> = (0..200).map(|row| Some(f64::from(row) / 3.0)).collect();
    harness.write(&[rows(&origins, &[1; 200], &temperatures)]).await;
    let wind = RecordBatch::try_from_iter([
        ("origin", Arc::new(StringArray::from(origins.clone())) as ArrayRef),
        ("observed", times(&[1; 200])),
        ("gusts", Arc::new(arrow_array::Int32Array::from_iter_values(0..200))),
        ("at", times(&(0..200).collect::<Vec<_>>())),
    ]);
    let wind = messages(&json!({"write":{"table":"wind"}}), &[wind.unwrap()]).await;
    assert!(harness.put(wind).await.1.is_none());
    let none = RecordBatch::try_from_iter([
        ("origin", Arc::new(StringArray::from(origins.clone())) as ArrayRef),
        ("observed", times(&[1; 200])),
    ]);
    let none = messages(&json!({"write":{"table":"none"}}), &[none.unwrap()]).await;
    assert!(harness.put(none).await.1.is_none());
    for features in [
        json!(["weather.temp"]),
        json!(["wind.*", "weather.temp"]),
        json!(["wind.at", "weather.temp", "wind.gusts"]),
        json!(["weather.temp", "none.*", "wind.gusts"]),
    ] {
        for asked in [&origins[..], &origins[7..8], &origins[..0], &["A1", "nobody"]] {
            let ask = async |digest: bool| {
                let lookup = json!({"lookup":{"features":features,"as_of":{"us":2 * HOUR},"clock":9,"digest":digest}});
                harness.exchange(messages(&lookup, &[keys(asked)]).await).await.unwrap().0
            };
            let (plain, arrays) = (ask(false).await, ask(true).await);
            assert_eq!(plain, arrays, "{features} of {} airports", asked.len());
            assert_eq!(plain.iter().map(RecordBatch::num_rows).sum::<usize>(), asked.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_least_waits_and_times_out() {
    let harness = Harness::start().await;
    harness.weather().await;
    let first = harness.write(&[rows(&["EWR"], &[1], &[Some(1.0)])]).await;
    let (log, sequence) = first.read_position.rsplit_once('-').unwrap();
    let next = u64::from_str_radix(sequence, 16).unwrap() + 1;
    let future = format!("{log}-{next:x}");
    let ask = |wait: &str| {
        let lookup = json!({"features":["weather.temp"],"as_of":{"us":9 * HOUR},"at_least":future,"wait":wait});
        json!({"lookup":lookup})
    };
    let error = harness.exchange(messages(&ask("10ms"), &[keys(&["EWR"])]).await).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    let waiting = ask("20s");
    let waiting = async { harness.exchange(messages(&waiting, &[keys(&["EWR"])]).await).await };
    let writing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        harness.write(&[rows(&["EWR"], &[9], &[Some(9.0)])]).await
    };
    let (answered, _) = tokio::join!(waiting, writing);
    assert_eq!(temps(&answered.unwrap().0[0]), [Some(9.0)]);
    let position = json!({"lookup":{"features":["weather.temp"],"as_of":{"us":2 * HOUR},"position":first.read_position,
        "clock":9}});
    let (batches, answers) = harness.exchange(messages(&position, &[keys(&["EWR"])]).await).await.unwrap();
    assert_eq!(temps(&batches[0]), [Some(1.0)]);
    assert_eq!(answers[0].clock, Some(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_at_of_a_row_just_ahead_of_the_clock_is_waited_for_and_holds_up_nobody() {
    const NOW: i64 = 1_700_000_000_000_000;
    let clock = Arc::new(ManualClock::at(NOW));
    let given = Arc::clone(&clock);
    let harness = Harness::with(|config| {
        config.storage.clock = Some(given);
        config.limits.serving_threads = 1;
    })
    .await;
    harness.weather().await;
    harness.write(&[rows(&["EWR"], &[1], &[Some(1.5)])]).await;
    let asked = |ahead: i64| {
        let known: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![NOW + ahead]).with_timezone("UTC"));
        let origin: ArrayRef = Arc::new(StringArray::from(vec!["EWR"]));
        RecordBatch::try_from_iter([("origin", origin), ("known", known)]).unwrap()
    };
    let command = json!({"lookup":{"features":["weather.temp"],"as_of":{"us":2 * HOUR},"known_at":{"column":"known"}}});
    let sent = futures::stream::iter(messages(&command, &[asked(500_000)]).await);
    let mut waits = harness.client.clone().do_exchange(sent).await.unwrap().into_inner();
    assert!(waits.message().await.unwrap().is_some(), "the schema needs no clock");

    // The one thread that serves connections is free meanwhile.
    let ticket = json!({"lookup":{"features":["weather.temp"],"as_of":{"us":2 * HOUR},"entities":{"origin":["EWR"]}}});
    let beside = tokio::time::timeout(Duration::from_secs(60), harness.get(&ticket)).await.expect("nobody is held up");
    assert_eq!(temps(&beside.unwrap().0[0]), [Some(1.5)]);
    clock.set(NOW + 500_000);
    assert!(waits.message().await.unwrap().is_some_and(|answer| !answer.app_metadata.is_empty()));

    let refused = harness.exchange(messages(&command, &[asked(3_000_000)]).await).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("row 0") && refused.message().contains("known_at"), "{refused:?}");
    harness.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_is_read_through_its_endpoints_and_history_rebuilds_the_table() {
    let harness = Harness::start().await;
    harness.weather().await;
    let origins: Vec<String> = (0..100).map(|origin| format!("A{origin}")).collect();
    let origins: Vec<&str> = origins.iter().map(String::as_str).collect();
    harness
        .write(&[rows(&origins, &[1; 100], &[Some(1.0); 100]), rows(&origins[..10], &[2; 10], &[Some(2.0); 10])])
        .await;
    let descriptor = FlightDescriptor::new_cmd(
        json!({"scan":{"table":"weather","columns":["temp"],"as_of":{"us":2 * HOUR}}}).to_string(),
    );
    let info = harness.client.clone().get_flight_info(descriptor).await.unwrap().into_inner();
    assert_eq!(info.endpoint.len(), 2, "two buckets");
    harness.write(&[rows(&origins[..1], &[2], &[Some(7.0)])]).await;
    let (mut total, mut positions) = (0.0, Vec::new());
    for endpoint in info.endpoint {
        let ticket: Value = serde_json::from_slice(&endpoint.ticket.unwrap().ticket).unwrap();
        let (batches, answers) = harness.get(&ticket).await.unwrap();
        total += batches.iter().flat_map(temps).flatten().sum::<f64>();
        assert!(answers.last().unwrap().last);
        positions.push(answers[0].read_position.clone());
    }
    assert_eq!(total, 110.0, "every endpoint reads the position of the info");
    assert_eq!(positions[0], positions[1]);
    let (batches, _) = harness.get(&json!({"scan":{"table":"weather","history":true}})).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 111);
    assert!(batches[0].column_by_name("sequence").is_some());
    let empty = json!({"scan":{"table":"weather","from":{"us":90 * HOUR},"to":{"us":99 * HOUR}}});
    let (batches, answers) = harness.get(&empty).await.unwrap();
    assert_eq!((batches[0].num_rows(), answers.len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_answer_json_and_name_what_is_wrong() {
    let harness = Harness::start().await;
    harness.weather().await;
    let described = harness.act("describe_table", json!({"table":"weather"})).await.unwrap();
    assert_eq!(described["table"], "weather");
    assert_eq!(described["sealed"], false);
    assert!(described["schema_version"].is_number());
    let altered =
        harness.act("alter_table", json!({"table":"weather","add":[{"name":"wind","type":"int32"}]})).await.unwrap();
    assert!(altered["features"].as_array().unwrap().iter().any(|feature| feature["name"] == "wind"));
    harness.act("seal_table", json!({"table":"weather"})).await.unwrap();
    for action in ["list_tables", "list_entities", "status", "flush", "compact"] {
        harness.act(action, json!({})).await.unwrap();
    }
    let error = harness.act("freeze", json!({})).await.unwrap_err();
    assert!(error.code() == Code::FailedPrecondition && error.message().contains("--bucket"), "{error}");
    let error = harness.act("create_tabel", json!({})).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
    assert!(error.message().contains("create_table"), "{error}");
    let error = harness.act("flush", json!({"tabel":"weather"})).await.unwrap_err();
    assert!(error.message().contains("unknown field `tabel`; the fields are `table`"), "{error}");
    let error = harness.act("describe_table", json!({"table":"wether"})).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    let listed: Vec<_> =
        harness.client.clone().list_actions(Empty {}).await.unwrap().into_inner().try_collect().await.unwrap();
    // 22 of ours, and those of Flight SQL that are served.
    assert_eq!(listed.len(), 22 + 7);
    let flights: Vec<_> = harness
        .client
        .clone()
        .list_flights(arrow_flight::Criteria { expression: Bytes::new() })
        .await
        .unwrap()
        .into_inner()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(flights.len(), 1);
    let schema =
        harness.client.clone().get_schema(FlightDescriptor::new_path(vec!["weather".to_owned()])).await.unwrap();
    let schema: arrow_schema::Schema = (&schema.into_inner()).try_into().unwrap();
    assert!(schema.field_with_name("temp").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_above_the_limit_is_refused_by_name() {
    let harness = Harness::with(|config| config.limits.message_bytes_max = 100_000).await;
    harness.weather().await;
    let large = rows(&vec!["EWR"; 20_000], &vec![1; 20_000], &vec![Some(1.0); 20_000]);
    let (_, error) = harness.put(messages(&json!({"write":{"table":"weather"}}), &[large]).await).await;
    let error = error.unwrap();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert!(error.message().contains("message-bytes-max"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_above_the_limit_are_refused() {
    let harness = Harness::with(|config| config.limits.header_bytes_max = 4096).await;
    harness.weather().await;
    let ask = async |bytes: usize| {
        let mut request = tonic::Request::new(FlightDescriptor::new_path(vec!["weather".to_owned()]));
        request.metadata_mut().insert("x-long", "x".repeat(bytes).parse().unwrap());
        harness.client.clone().get_schema(request).await
    };
    ask(8192).await.unwrap_err();
    ask(100).await.unwrap();
}

/// A connection of HTTP/2 by hand, for what no client does.
struct Bare(tokio::net::TcpStream);

impl Bare {
    async fn open(server: &Server) -> Self {
        use tokio::io::AsyncWriteExt;
        let mut stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
        // The greeting and empty settings.
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        Self(stream)
    }

    /// A frame on `stream`.
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// `count` calls, each followed by a frame that ends it.
    async fn begin(&mut self, count: u32, end: impl Fn(u32) -> Vec<u8>) {
        use tokio::io::AsyncWriteExt;
        // POST, http, / and a content of one byte, by the numbers in the table that every side knows.
        let headers = |stream: u32| Self::frame(1, 4, stream, &[0x83, 0x86, 0x84, 0x0f, 0x0d, 1, b'1']);
        let calls = (0..count).map(|call| 2 * call + 1).flat_map(|stream| [headers(stream), end(stream)]);
        let bytes = calls.collect::<Vec<_>>().concat();
        // A server that has had enough may close while this is sent.
        let _ = self.0.write_all(&bytes).await;
    }

    /// The code with which the server goes away.
    async fn goes_away(mut self) -> u32 {
        use tokio::io::AsyncReadExt;
        const GOAWAY: u8 = 7;
        let frames = async {
            loop {
                let mut head = [0; 9];
                self.0.read_exact(&mut head).await.unwrap();
                let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
                self.0.read_exact(&mut payload).await.unwrap();
                if head[3] == GOAWAY {
                    return u32::from_be_bytes(payload[4..8].try_into().unwrap());
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), frames).await.expect("the server says that it goes away")
    }
}

/// HTTP/2's code for a client that asks too much.
const ENHANCE_YOUR_CALM: u32 = 11;

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_takes_back_its_calls_too_fast_is_closed() {
    let harness = Harness::with(|config| config.limits.stream_resets_max = 10).await;
    harness.weather().await;
    let mut bare = Bare::open(&harness.server).await;
    bare.begin(1000, |stream| Bare::frame(3, 0, stream, &8u32.to_be_bytes())).await;
    assert_eq!(bare.goes_away().await, ENHANCE_YOUR_CALM);
    harness.act("status", json!({})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_streams_break_the_protocol_too_often_is_closed() {
    let harness = Harness::with(|config| config.limits.stream_errors_max = 10).await;
    harness.weather().await;
    let mut bare = Bare::open(&harness.server).await;
    // More content than was said.
    bare.begin(1000, |stream| Bare::frame(0, 0, stream, b"twice")).await;
    assert_eq!(bare.goes_away().await, ENHANCE_YOUR_CALM);
    harness.act("status", json!({})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_old_takes_no_new_calls_and_clients_do_not_notice() {
    let harness = Harness::with(|config| config.limits.connection_age_max = Duration::from_millis(20)).await;
    harness.weather().await;
    Bare::open(&harness.server).await.goes_away().await;
    // The client's first connection is as old.
    harness.act("status", json!({})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_command_is_read_beside_the_connection_and_answered_as_a_short_one() {
    let harness = Harness::start().await;
    harness.weather().await;
    harness.write(&[rows(&["EWR"], &[1], &[Some(1.0)])]).await;
    let features = ["weather.temp", "weather.note"];
    let short = json!({"lookup":{"features":features,"entities":{"origin":["EWR"]}}});
    let long = json!({"lookup":{"features":features,"entities":{"origin":vec!["EWR"; 10_000]}}});
    assert!(long.to_string().len() > 32 << 10);
    let (short, _) = harness.get(&short).await.unwrap();
    let (long, _) = harness.get(&long).await.unwrap();
    assert_eq!(long.iter().map(RecordBatch::num_rows).sum::<usize>(), 10_000);
    assert_eq!(long[0].slice(0, 1), short[0]);
    let wrong = json!({"lookup":{"features":vec!["weather.tmep"; 4000]}});
    let error = harness.exchange(messages(&wrong, &[keys(&["EWR"])]).await).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_can_never_wait_for_the_log_is_refused_at_once_and_smaller_ones_go_on() {
    let harness = Harness::with(|config| {
        config.storage.queue_bytes_max = 1 << 20;
        config.limits.stream_batch_bytes_max = 1 << 20;
    })
    .await;
    harness.weather().await;
    let large = rows(&vec!["EWR"; 50_000], &vec![1; 50_000], &vec![Some(1.0); 50_000]);
    let put = harness.put(messages(&json!({"write":{"table":"weather"}}), std::slice::from_ref(&large)).await);
    let (_, error) = tokio::time::timeout(Duration::from_secs(60), put).await.expect("it does not wait for ever");
    let error = error.unwrap();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert!(error.message().contains("queue-bytes-max"), "{error}");
    // Pieces of it wait their turn, however many there are.
    let pieces: Vec<_> = (0..50).map(|piece| large.slice(piece * 1000, 1000)).collect();
    harness.write(&pieces).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_finishes_what_was_asked_and_the_data_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config::new(directory.path());
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.metrics = None;
    let server = Server::start(config.clone()).await.unwrap();
    let client = connect(&server).await;
    let harness = Harness { server, client, _directory: directory };
    harness.weather().await;
    harness.write(&[rows(&["EWR"], &[1], &[Some(1.0)])]).await;
    // A stream that stays open does not hold up the stop.
    let (send, receive) = mpsc::channel(4);
    let command = json!({"lookup":{"features":["weather.temp"],"as_of":{"us":2 * HOUR}}});
    for message in messages(&command, &[keys(&["EWR"])]).await {
        send.send(message).await.unwrap();
    }
    let mut open = harness.client.clone().do_exchange(ReceiverStream::new(receive)).await.unwrap().into_inner();
    for _ in 0..2 {
        open.next().await.unwrap().unwrap();
    }
    let Harness { server, client, _directory } = harness;
    let stopping = tokio::spawn(server.stop());
    assert_eq!(open.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    drop((open, client));
    tokio::time::timeout(Duration::from_secs(20), stopping).await.unwrap().unwrap().unwrap();

    let server = Server::start(config).await.unwrap();
    let client = connect(&server).await;
    let harness = Harness { server, client, _directory };
    let ticket = json!({"lookup":{"features":["weather.temp"],"as_of":{"us":2 * HOUR},"entities":{"origin":["EWR"]}}});
    assert_eq!(temps(&harness.get(&ticket).await.unwrap().0[0]), [Some(1.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_health_are_served_over_http() {
    let harness = Harness::with(|config| config.limits.answer_chunk_bytes = 1 << 16).await;
    harness.weather().await;
    harness.write(&[rows(&["EWR"], &[1], &[Some(1.0)])]).await;
    // Rows of all chunks of a request count.
    let lookup = json!({"lookup":{"features":["weather.temp"],"as_of":{"us":2 * HOUR}}});
    harness.exchange(messages(&lookup, &[keys(&["EWR"; 50_000])]).await).await.unwrap();
    for (path, part) in [
        ("/metrics", "firn_request_rows_total{call=\"write\"} 1"),
        ("/metrics", "firn_request_rows_total{call=\"lookup\"} 50000"),
        ("/metrics", "firn_engine_rows_total 1"),
        ("/health", "200 OK"),
        ("/ready", "ready"),
        ("/else", "404"),
    ] {
        let answer = harness.monitor(path).await;
        assert!(answer.contains(part), "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_engine_lost_a_thread_says_so_and_reads_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let config = Harness::config(&directory);
    let database = Database::open(config.storage.clone()).unwrap();
    let server = Server::serve(config, database.clone()).await.unwrap();
    let client = connect(&server).await;
    let harness = Harness { server, client, _directory: directory };
    harness.weather().await;
    let row = rows(&["EWR"], &[1], &[Some(1.0)]);
    harness.write(std::slice::from_ref(&row)).await;
    assert!(harness.monitor("/ready").await.contains("200 OK"));
    let request = WriteRequest {
        table: "weather".to_owned(),
        verb: Verb::Write,
        nulls_absent: false,
        ingest_time: None,
        report_bad_rows: false,
    };
    let proven = database.prove(&database.catalog(), &request, &row).unwrap();
    database.submit(proven.batch, Done::new(|_| panic!("a test's panic on the thread of the log")));
    let not_ready = async {
        while !harness.monitor("/ready").await.contains("503") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), not_ready).await.expect("the server says that it is not ready");
    assert!(harness.monitor("/metrics").await.contains("firn_engine_poisoned 1"));
    let (_, refused) = harness.put(messages(&json!({"write":{"table":"weather"}}), &[row]).await).await;
    assert_eq!(refused.unwrap().code(), Code::Unavailable);
    let latest = json!({"lookup":{"features":["weather.temp"],"entities":{"origin":["EWR"]},"clock":HOUR}});
    assert_eq!(temps(&harness.get(&latest).await.unwrap().0[0]), [Some(1.0)]);
}
