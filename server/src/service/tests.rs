//! Everything that can be asked, asked by callers who may and who may not.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandGetTables, CommandStatementQuery, ProstMessageExt};
use arrow_flight::{Action, Criteria, Empty, FlightData, FlightDescriptor, Ticket};
use firn_storage::database::Database;
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::Server;
use crate::access::{CALLS, Call, Method, Right, Rights};
use crate::config::Config;

type Client = FlightServiceClient<Channel>;

/// A server for callers with `rights` over a database with the table `weather`.
async fn serve(rights: Rights) -> (Server, Client, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config::new(directory.path());
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.metrics = None;
    config.limits.serving_threads = 1;
    config.storage.background = false;
    let database = Database::open(config.storage.clone()).unwrap();
    let change = |action: &str, body: Value| {
        let change = firn_storage::model::declare::Change::parse(action, &body).unwrap();
        database.change(&database.catalog(), &change).unwrap();
    };
    change("create_entity", json!({"entity":"airport","key":[{"name":"origin","type":"utf8"}],"buckets":1}));
    let features = json!([{"name":"temp","type":"float64"}]);
    change("create_table", json!({"table":"weather","entity":"airport","event_time":"observed","features":features}));
    let server = Server::serve_callers(config, database, rights).await.unwrap();
    let channel = tonic::transport::Endpoint::new(server.url()).unwrap().connect().await.unwrap();
    let client = Client::new(channel);
    (server, client, directory)
}

async fn messages(command: &Value, columns: Vec<(&str, ArrayRef)>) -> impl futures::Stream<Item = FlightData> + use<> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let encoder = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(FlightDescriptor::new_cmd(command.to_string())))
        .build(futures::stream::iter([Ok(batch)]));
    futures::stream::iter(encoder.try_collect::<Vec<_>>().await.unwrap())
}

fn origins() -> (&'static str, ArrayRef) {
    ("origin", Arc::new(StringArray::from(vec!["EWR"])))
}

fn rows() -> Vec<(&'static str, ArrayRef)> {
    let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC"));
    vec![origins(), ("observed", at), ("temp", Arc::new(Float64Array::from(vec![1.0])))]
}

async fn read_all<T>(answers: Result<tonic::Response<Streaming<T>>, Status>) -> Result<(), Status> {
    let mut answers = answers?.into_inner();
    while let Some(answer) = answers.next().await {
        answer?;
    }
    Ok(())
}

/// The command of a call about `table`.
fn command(call: &Call, table: &str) -> Value {
    let feature = format!("{table}.temp");
    match call.name {
        "lookup" if call.method == Method::DoExchange => json!({"lookup":{"features":[feature]}}),
        "lookup" => json!({"lookup":{"features":[feature],"entities":{"origin":["EWR"]}}}),
        "join" => json!({"join":{"features":[{"feature":feature,"as":"warmth"}],"as_of":"latest"}}),
        "scan" => json!({"scan":{"table":table}}),
        "history" => json!({"scan":{"table":table,"history":true}}),
        put => json!({put:{"table":table}}),
    }
}

/// The body of an action about `table`.
fn body(action: &str, table: &str) -> Value {
    match action {
        "create_entity" => json!({"entity":"plane","key":[{"name":"tail","type":"utf8"}]}),
        "create_table" => json!({"table":table,"entity":"airport","event_time":"observed","features":[]}),
        "alter_table" => json!({"table":table,"add":[{"name":"wind","type":"float64"}]}),
        "describe_entity" | "drop_entity" | "receipts" => json!({"entity":"airport"}),
        "blocked" | "unblock" => json!({"entity":"airport","entities":{"origin":["LGA"]}}),
        "erase" => json!({"entity":"airport","entities":{"origin":["LGA"]}}),
        "create_checkpoint" | "drop_checkpoint" => json!({"checkpoint":"one"}),
        "list_entities" | "list_tables" | "list_checkpoints" | "status" => json!({}),
        _ => json!({"table":table}),
    }
}

/// The command of Flight SQL for a call about `table`.
fn statement(name: &str, table: &str) -> FlightDescriptor {
    let query = match name {
        "describe" => {
            return FlightDescriptor::new_cmd(CommandGetTables::default().as_any().encode_to_vec());
        }
        "read" => format!("SELECT * FROM {table}"),
        "history" => format!("SELECT * FROM history('{table}')"),
        "write" => format!("INSERT INTO {table} (origin, temp) VALUES ('EWR', 1.0)"),
        "delete" => format!("DELETE FROM {table} WHERE origin = 'EWR'"),
        "create" => format!("CREATE TABLE {table} (origin VARCHAR PRIMARY KEY, observed TIMESTAMP NOT NULL)"),
        "alter" => format!("ALTER TABLE {table} ADD COLUMN gust DOUBLE"),
        "drop" => format!("DROP TABLE IF EXISTS {table}_of_another_time"),
        "erase" => "CALL erase('airport', origin => 'LGA')".to_owned(),
        "operate" => format!("CALL flush('{table}')"),
        other => panic!("{other} is no call of SQL"),
    };
    FlightDescriptor::new_cmd(CommandStatementQuery { query, transaction_id: None }.as_any().encode_to_vec())
}

/// Makes `call` about `table`.
async fn make(client: &mut Client, call: &Call, table: &str) -> Result<(), Status> {
    let command = command(call, table);
    let descriptor = FlightDescriptor::new_cmd(command.to_string());
    match call.method {
        Method::DoPut => {
            let columns = if call.name == "write" { rows() } else { rows()[..2].to_vec() };
            read_all(client.do_put(messages(&command, columns).await).await).await
        }
        Method::DoExchange => read_all(client.do_exchange(messages(&command, vec![origins()]).await).await).await,
        Method::DoGet => read_all(client.do_get(Ticket::new(command.to_string())).await).await,
        Method::GetFlightInfo => client.get_flight_info(descriptor).await.map(drop),
        Method::GetSchema => client.get_schema(descriptor).await.map(drop),
        Method::Sql => {
            let info = client.get_flight_info(statement(call.name, table)).await?.into_inner();
            for endpoint in info.endpoint {
                read_all(client.do_get(endpoint.ticket.unwrap()).await).await?;
            }
            Ok(())
        }
        Method::ListFlights => read_all(client.list_flights(Criteria::default()).await).await,
        Method::DoAction => {
            let action = Action::new(call.name, body(call.name, table).to_string());
            read_all(client.do_action(action).await).await
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_do_everything_is_denied_nothing_and_everything_is_served() {
    let (_server, mut client, _directory) = serve(Rights::all()).await;
    for call in CALLS {
        if let Err(status) = make(&mut client, call, "weather").await {
            // What the calls before have left behind may be in the way, but nothing else.
            let expected = [Code::AlreadyExists, Code::NotFound, Code::FailedPrecondition];
            assert!(expected.contains(&status.code()), "{call:?}: {status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rights_nothing_is_answered_and_what_is_there_looks_like_what_is_not() {
    let (_server, mut client, _directory) = serve(Rights::none()).await;
    for call in CALLS {
        let hidden = make(&mut client, call, "weather").await.unwrap_err();
        assert_eq!(hidden.code(), Code::PermissionDenied, "{call:?}: {hidden}");
        assert!(hidden.message().contains(call.needs.name()), "{hidden}");
        let absent = make(&mut client, call, "nowhere").await.unwrap_err();
        assert_eq!((hidden.code(), hidden.message()), (absent.code(), absent.message()), "{call:?}");
    }
    // Which actions there are is no secret.
    read_all(client.list_actions(Empty {}).await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_denies_exactly_what_needs_it() {
    for right in Right::ALL {
        let (_server, mut client, _directory) = serve(Rights::all().without(*right)).await;
        for call in CALLS {
            let made = make(&mut client, call, "weather").await;
            let denied = made.is_err_and(|status| status.code() == Code::PermissionDenied);
            assert_eq!(denied, call.needs == *right, "{call:?} without {right}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_is_not_served() {
    let (_server, mut client, _directory) = serve(Rights::all()).await;
    let sql = {
        // The beginning of a protobuf `Any`: field 1.
        let name = "type.googleapis.com/arrow.flight.protocol.sql.CommandStatementSubstraitPlan";
        [&[0x0a, name.len() as u8][..], name.as_bytes()].concat()
    };
    let descriptor = FlightDescriptor::new_cmd(sql.clone());
    let first = FlightData { flight_descriptor: Some(descriptor.clone()), ..FlightData::default() };
    let sent = || futures::stream::iter([first.clone()]);
    for refused in [
        read_all(client.do_put(sent()).await).await,
        read_all(client.do_exchange(sent()).await).await,
        read_all(client.do_get(Ticket::new(sql)).await).await,
        client.get_flight_info(descriptor.clone()).await.map(drop),
        client.get_schema(descriptor).await.map(drop),
    ] {
        let status = refused.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{status}");
        let said = ["CommandStatementSubstraitPlan is not served", "Flight SQL has no DoExchange"];
        assert!(said.iter().any(|said| status.message().contains(said)), "{status}");
    }
}
