//! P1 through the wire: a server with many pipelining writers is killed with SIGKILL at random moments, again and again.
//!
//! The server is a child process; each writer is a client of it that sends batches without waiting and keeps a ledger
//! of what was acknowledged. After each kill the directory is opened and all history read: every acknowledged batch
//! must be there, whole and once; nothing may be there that was not sent. The next server goes on from there, and each
//! writer first sends its last batch again: it must be a duplicate. `FIRN_KILL_ROUNDS=n` sets the rounds.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, FlightDescriptor};
use firn_client::wire::{Acknowledgement, ProducerStep, Put};
use firn_server::Server;
use firn_server::config::Config;
use firn_storage::config::Options;
use firn_storage::database::Database;
use firn_storage::read::ScanRequest;
use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::sync::Semaphore;
use tonic::transport::{Channel, Endpoint};

const WRITERS: usize = 8;
const ROWS: i64 = 3;
const UNACKNOWLEDGED_MAX: usize = 8;
const DIRECTORY: &str = "FIRN_KILL_DIRECTORY";

/// The child: not a test of its own, so it is left out unless the parent asks for it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the parent starts it as a child process"]
async fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let mut config = Config::new(directory);
    config.listen = "127.0.0.1:0".parse().expect("an address");
    config.metrics = None;
    config.storage.flush_bytes_max = 64 << 10;
    config.storage.wal_bytes_max = 64 << 10;
    let server = Server::start(config).await.expect("whatever the kill left, the server starts");
    let mut out = std::io::stdout();
    writeln!(out, "serving {}", server.url()).and_then(|()| out.flush()).expect("the parent listens");
    std::future::pending::<()>().await;
}

fn start(directory: &Path) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child process");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let url = lines.map_while(Result::ok).find_map(|line| line.split("serving ").nth(1).map(str::to_owned));
    (child, url.expect("the server says where it serves"))
}

/// The batch `number` of `writer`: one row for each of its entities.
fn batch(writer: usize, number: i64) -> RecordBatch {
    let rows = 0..ROWS;
    let keys = Int64Array::from_iter_values(rows.clone().map(|row| writer as i64 * ROWS + row));
    let numbers = Int64Array::from_iter_values(rows.clone().map(|_| number));
    let times = TimestampMicrosecondArray::from_iter_values(rows.map(|_| number)).with_timezone("UTC");
    let columns: [(&str, ArrayRef); 3] = [("k", Arc::new(keys)), ("at", Arc::new(times)), ("n", Arc::new(numbers))];
    RecordBatch::try_from_iter(columns).expect("columns of equal length")
}

fn step(number: i64) -> ProducerStep {
    ProducerStep { producer_seq: number as u64, previous: (number > 1).then_some(number as u64 - 1) }
}

async fn connect(url: String) -> Result<FlightServiceClient<Channel>, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(url).expect("the server's address");
    Ok(FlightServiceClient::new(endpoint.connect().await?))
}

/// Writes from where the last round ended until the server is gone; the last batch that was acknowledged, and sent.
async fn write(url: String, writer: usize, found: i64) -> (i64, i64) {
    // The last batch is sent once more: whether its acknowledgement arrived, the writer cannot know.
    let first = found.max(1);
    let sent = Arc::new(AtomicI64::new(found));
    let room = Arc::new(Semaphore::new(UNACKNOWLEDGED_MAX));
    let Ok(mut client) = connect(url).await else { return (found, found) };
    let batches = futures::stream::unfold(first, {
        let (sent, room) = (Arc::clone(&sent), Arc::clone(&room));
        move |number| {
            let (sent, room) = (Arc::clone(&sent), Arc::clone(&room));
            async move {
                room.acquire().await.ok()?.forget();
                sent.fetch_max(number, Ordering::SeqCst);
                Some((Ok(batch(writer, number)), number + 1))
            }
        }
    });
    let put = Put { producer: Some(format!("writer {writer}")), ..Put::write("t") };
    let descriptor = FlightDescriptor::new_cmd(firn_client::wire::Command::Put(put).encode());
    let encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor)).build(batches);
    // The first message is the schema, then there is one for each batch.
    let messages = encoder.enumerate().map(move |(at, message)| {
        let mut message = message.expect("a batch can be encoded");
        if at > 0 {
            message.app_metadata = step(first + at as i64 - 1).encode().into();
        }
        message
    });
    let (mut acknowledged, mut duplicates) = (0, 0);
    if let Ok(results) = client.do_put(messages).await {
        let mut results = results.into_inner();
        while let Ok(Some(result)) = results.message().await {
            let told = Acknowledgement::decode(&result.app_metadata).expect("an acknowledgement");
            acknowledged += told.batches as i64;
            duplicates += told.duplicates;
            room.add_permits(told.batches as usize);
        }
    }
    assert_eq!(duplicates, u64::from(found > 0 && acknowledged > 0), "writer {writer} found {found} and sent it again");
    (found.max(first - 1 + acknowledged), sent.load(Ordering::SeqCst))
}

/// How many rows of each batch of each writer there are.
fn survey(database: &Database) -> Vec<BTreeMap<i64, i64>> {
    let request = ScanRequest { table: "t".to_owned(), history: true, parts: 1, ..ScanRequest::default() };
    let scan = database.scan(&database.catalog(), &request).expect("a table");
    let mut there = vec![BTreeMap::new(); WRITERS];
    for batch in (0..scan.parts()).flat_map(|part| scan.open(part).expect("a part")) {
        let batch = batch.expect("a healthy disk");
        let named = |name: &str| batch.column_by_name(name).expect("a column").as_primitive::<Int64Type>();
        for (key, number) in named("k").values().iter().zip(named("n").values()) {
            *there[(key / ROWS) as usize].entry(*number).or_insert(0) += 1;
        }
    }
    there
}

fn open(directory: &Path) -> Database {
    let mut options = Options::new(directory);
    options.background = false;
    Database::open(options).expect("whatever the kill left, the database opens")
}

async fn declare(url: &str) {
    let mut client = connect(url.to_owned()).await.expect("the server serves");
    let entity = json!({"entity": "e", "key": [{"name": "k", "type": "int64"}], "buckets": 2});
    let table = json!({"table": "t", "entity": "e", "event_time": "at", "features": [{"name": "n", "type": "int64"}]});
    for (name, body) in [("create_entity", entity), ("create_table", table)] {
        let action = Action { r#type: name.to_owned(), body: body.to_string().into() };
        let mut results = client.do_action(action).await.expect("a good declaration").into_inner();
        results.message().await.expect("a good declaration");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_sigkill_of_the_server() {
    let rounds: u64 = std::env::var("FIRN_KILL_ROUNDS").map_or(100, |text| text.parse().expect("a number of rounds"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut random, begun) = (StdRng::seed_from_u64(rounds), Instant::now());
    let mut found = [0; WRITERS];
    for round in 0..rounds {
        let (mut child, url) = start(directory.path());
        if round == 0 {
            declare(&url).await;
        }
        let writers: Vec<_> =
            found.iter().enumerate().map(|(writer, last)| tokio::spawn(write(url.clone(), writer, *last))).collect();
        tokio::time::sleep(Duration::from_micros(random.random_range(0..500_000))).await;
        child.kill().expect("a child");
        child.wait().expect("a child");
        let mut ledgers = Vec::new();
        for writer in writers {
            ledgers.push(writer.await.expect("a writer"));
        }
        let database = open(directory.path());
        for (writer, there) in survey(&database).iter().enumerate() {
            let last = there.keys().max().copied().unwrap_or(0);
            let (acknowledged, sent) = ledgers[writer];
            let context =
                format!("round {round} writer {writer}: {last} found, {acknowledged} acknowledged, {sent} sent");
            assert!(acknowledged <= last && last <= sent, "{context}");
            assert_eq!(there.len() as i64, last, "{context}: batches are missing in between");
            assert!(there.values().all(|rows| *rows == ROWS), "{context}: a batch is not whole, or there twice");
            found[writer] = last;
        }
        database.close().expect("a healthy disk");
    }
    let batches: i64 = found.iter().sum();
    println!("{rounds} kills, {batches} batches, in {:.0} s", begun.elapsed().as_secs_f64());
}
