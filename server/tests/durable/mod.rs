//! The wire of a server with a bucket: what a write is acknowledged for, and reads that answer nothing that may be lost.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_flight::FlightDescriptor;
use firn_client::wire::{Acknowledgement, Answer, Level};
use firn_server::Server;
use firn_storage::config::{HomeOptions, HomePolicy, Options};
use firn_storage::database::Database;
use firn_storage::objects::faulty::{Fault, Faulty};
use firn_storage::objects::memory::Memory;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{HOUR, Harness, connect, keys, messages, rows, temps};

/// A server whose writes are acknowledged for its disk, and its bucket. Nothing goes up that nobody waits for.
async fn with_bucket() -> (Harness, Faulty) {
    let directory = tempfile::tempdir().unwrap();
    let config = Harness::config(&directory);
    let bucket = Faulty::new(Arc::new(Memory::new()));
    let policy = HomePolicy {
        upload_interval: Duration::from_secs(3600),
        backlog_bytes_max: 1 << 30,
        publish_bytes: 1 << 30,
        publish_interval: Duration::from_secs(3600),
        checkpoints_max: 1,
        ..HomePolicy::default()
    };
    let home = HomeOptions { objects: Arc::new(bucket.clone()), writer: "a test".to_owned(), policy };
    let database = Database::open(Options { home: Some(home), ..config.storage.clone() }).unwrap();
    let server = Server::serve(config, database).await.unwrap();
    let client = connect(&server).await;
    let harness = Harness { server, client, _directory: directory };
    harness.weather().await;
    (harness, bucket)
}

fn row(temp: f64) -> Vec<RecordBatch> {
    vec![rows(&["EWR"], &[1], &[Some(temp)])]
}

/// Writes one row, acknowledged as the server is set to, or for `level`.
async fn write(harness: &Harness, temp: f64, level: Option<&str>) -> Result<Acknowledgement, Status> {
    let command = json!({"write":{"table":"weather","acknowledge":level}});
    let (acknowledgements, error) = harness.put(messages(&command, &row(temp)).await).await;
    error.map_or_else(|| Ok(acknowledgements[0].clone()), Err)
}

/// The temperature that a lookup with these options answers, and what it says of itself.
async fn lookup(harness: &Harness, options: &Value) -> Result<(Option<f64>, Answer), Status> {
    let mut command = json!({"features":["weather.temp"],"clock":HOUR});
    command.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let (batches, answers) = harness.exchange(messages(&json!({"lookup":command}), &[keys(&["EWR"])]).await).await?;
    Ok((temps(&batches[0])[0], answers[0].clone()))
}

/// The temperatures that a scan with these options answers, part by part.
async fn scan(harness: &Harness, options: &Value) -> Result<(Vec<Option<f64>>, Vec<Answer>), Status> {
    let mut command = json!({"table":"weather","columns":["temp"],"clock":HOUR});
    command.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let descriptor = FlightDescriptor::new_cmd(json!({"scan":command}).to_string());
    let info = harness.client.clone().get_flight_info(descriptor).await?.into_inner();
    let (mut found, mut said) = (Vec::new(), Vec::new());
    for endpoint in info.endpoint {
        let ticket = serde_json::from_slice(&endpoint.ticket.unwrap().ticket).unwrap();
        let (batches, answers) = harness.get(&ticket).await?;
        found.extend(batches.iter().flat_map(temps));
        said.extend(answers);
    }
    Ok((found, said))
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, Status>, code: Code, word: &str) {
    let status = outcome.expect_err("this must be refused");
    assert!(status.code() == code && status.message().contains(word), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_says_what_it_is_for_and_none_waits_for_another_level() {
    let (harness, bucket) = with_bucket().await;
    let object = write(&harness, 1.0, Some("object")).await.unwrap();
    assert_eq!(object.acknowledged, Some(Level::Object));
    assert_eq!(object.durable_position.as_ref(), Some(&object.read_position));
    bucket.fail_calls(1, 1 << 40, Fault::SlowDown);
    let mut waiting = Box::pin(write(&harness, 2.0, Some("object")));
    tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.expect_err("the bucket is down");
    for level in [None, Some("local")] {
        let local = write(&harness, 3.0, level).await.unwrap();
        assert_eq!(local.acknowledged, Some(Level::Local));
        assert_eq!(local.durable_position.as_ref(), Some(&object.read_position));
    }
    // All rows of a batch may be bad.
    let command = json!({"write":{"table":"weather","bad_rows":"report","acknowledge":"object"}});
    let bad = vec![rows(&["EWR"], &[i64::MIN / HOUR], &[Some(1.0)])];
    let (acknowledgements, _) = harness.put(messages(&command, &bad).await).await;
    let [nothing] = acknowledgements.as_slice() else { panic!("{acknowledgements:?}") };
    assert_eq!((nothing.rows, nothing.bad_row_count, nothing.acknowledged), (0, 1, Some(Level::Object)));
    bucket.heal();
    let waited = waiting.await.unwrap();
    assert_eq!(waited.acknowledged, Some(Level::Object));
    refused(write(&harness, 4.0, Some("disk")).await, Code::InvalidArgument, "write.acknowledge");
    harness.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_client_stops_waiting_for_the_bucket_is_not_lost_by_that() {
    let (harness, bucket) = with_bucket().await;
    bucket.fail_calls(1, 1 << 40, Fault::SlowDown);
    let waiting = tokio::time::timeout(Duration::from_millis(200), write(&harness, 1.0, Some("object")));
    waiting.await.expect_err("the bucket is down");
    assert_eq!(lookup(&harness, &json!({})).await.unwrap().0, Some(1.0));
    assert_eq!(lookup(&harness, &json!({"durable":true})).await.unwrap().0, None);
    bucket.heal();
    write(&harness, 2.0, Some("object")).await.unwrap();
    assert_eq!(lookup(&harness, &json!({"durable":true})).await.unwrap().0, Some(2.0));
    harness.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_durable_read_answers_what_the_bucket_has_and_says_how_far_that_is() {
    let (harness, bucket) = with_bucket().await;
    let kept = write(&harness, 1.0, Some("object")).await.unwrap().read_position;
    bucket.fail_calls(1, 1 << 40, Fault::SlowDown);
    let ahead = write(&harness, 2.0, None).await.unwrap().read_position;
    let (now, said) = lookup(&harness, &json!({})).await.unwrap();
    assert_eq!((now, said.read_position, said.durable_position), (Some(2.0), Some(ahead.clone()), Some(kept.clone())));
    let durable = json!({"durable":true});
    let (found, said) = lookup(&harness, &durable).await.unwrap();
    assert_eq!((found, said.read_position, said.durable_position), (Some(1.0), Some(kept.clone()), Some(kept.clone())));
    let join = json!({"join":{"features":["weather.temp"],"as_of":"latest","clock":HOUR,"durable":true}});
    let (batches, _) = harness.exchange(messages(&join, &[keys(&["EWR"])]).await).await.unwrap();
    assert_eq!(temps(&batches[0]), [Some(1.0)]);
    let ticket =
        json!({"lookup":{"features":["weather.temp"],"entities":{"origin":["EWR"]},"clock":HOUR,"durable":true}});
    assert_eq!(temps(&harness.get(&ticket).await.unwrap().0[0]), [Some(1.0)]);
    let (found, said) = scan(&harness, &durable).await.unwrap();
    assert_eq!(found, [Some(1.0)]);
    assert!(said.iter().all(|said| said.read_position.as_ref() == Some(&kept) && said.durable_position.is_some()));
    assert_eq!(scan(&harness, &json!({})).await.unwrap().0, [Some(2.0)]);

    let at = json!({"durable":true,"position":ahead});
    refused(lookup(&harness, &at).await, Code::OutOfRange, "not yet in the bucket");
    refused(scan(&harness, &at).await, Code::OutOfRange, "not yet in the bucket");
    let soon = json!({"durable":true,"at_least":ahead,"wait":"20ms"});
    refused(lookup(&harness, &soon).await, Code::Unavailable, "did not come within");
    bucket.heal();
    let later = json!({"durable":true,"at_least":ahead,"wait":"60s"});
    let (found, said) = lookup(&harness, &later).await.unwrap();
    assert_eq!((found, said.durable_position), (Some(2.0), Some(ahead)));
    harness.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_says_from_which_tiers_bytes_went_and_is_answered_again() {
    let (harness, bucket) = with_bucket().await;
    write(&harness, 1.0, Some("object")).await.unwrap();
    harness.act("freeze", json!({})).await.unwrap();
    harness.act("create_checkpoint", json!({"checkpoint":"before"})).await.unwrap();
    let erase = json!({"entity":"airport","entities":{"origin":["EWR"]}});
    // One that fails has a receipt that says so.
    bucket.fail_calls(1, 1 << 40, Fault::SlowDown);
    let waiting = tokio::time::timeout(Duration::from_millis(200), harness.act("erase", erase.clone()));
    waiting.await.expect_err("the bucket is down");
    let receipts = async |body: Value| harness.act("receipts", body).await;
    let mut unfinished = Value::Null;
    while unfinished["count"] != 1 {
        unfinished = receipts(json!({"entity":"airport"})).await.unwrap();
    }
    let [first] = unfinished["receipts"].as_array().unwrap().as_slice() else { panic!("{unfinished}") };
    assert_eq!((&first["purged_at"], first.get("tiers")), (&Value::Null, None), "{unfinished}");
    bucket.heal();
    let receipt = harness.act("erase", erase).await.unwrap();
    let tiers = receipt["tiers"].as_object().unwrap();
    let all_tiers = ["disk", "bucket", "ice", "checkpoints"];
    assert!(tiers.len() == 4 && all_tiers.iter().all(|tier| tiers.contains_key(*tier)), "{receipt}");
    let kept = receipts(json!({"entity":"airport","last":1})).await.unwrap();
    assert_eq!((&kept["count"], &kept["entity"]), (&json!(2), &json!("airport")));
    for field in ["entities", "erased_at", "purged_at", "tiers"] {
        assert_eq!(kept["receipts"][0][field], receipt[field]);
    }
    let all = receipts(json!({"entity":"airport"})).await.unwrap();
    let removed = |tier: &str| -> u64 {
        let of = |receipt: &Value| receipt["tiers"][tier]["removed"].as_u64().unwrap();
        all["receipts"].as_array().unwrap().iter().map(of).max().unwrap()
    };
    assert_eq!((removed("ice"), removed("checkpoints")), (1, 1), "{all}");
    for (body, word) in [
        (json!({"entity":"airport","last":0}), "1 to 10000"),
        (json!({"entity":"airport","last":10_001}), "1 to 10000"),
        (json!({"entity":"airport","latest":1}), "unknown field `latest`"),
        (json!({}), "entity"),
    ] {
        refused(receipts(body).await, Code::InvalidArgument, word);
    }
    refused(receipts(json!({"entity":"city"})).await, Code::NotFound, "city");
    harness.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_hot_window_leaves_the_disk() {
    let (harness, _) = with_bucket().await;
    let hot_bytes = async || harness.act("status", json!({})).await.unwrap()["ice"]["hot_bytes"].as_u64().unwrap();
    write(&harness, 1.0, None).await.unwrap();
    harness.act("freeze", json!({})).await.unwrap();
    assert!(hot_bytes().await > 0, "there is room");
    let set = |window: Value| json!({"table":"weather","set":{"hot_window":window}});
    assert_eq!(harness.act("alter_table", set(json!("1d"))).await.unwrap()["hot_window"], "1d");
    harness.act("freeze", json!({})).await.unwrap();
    assert_eq!(hot_bytes().await, 0, "its event is of 1970");
    assert_eq!(scan(&harness, &json!({"history":true})).await.unwrap().0, [Some(1.0)]);
    assert_eq!(harness.act("alter_table", set(Value::Null)).await.unwrap()["hot_window"], "none");
    write(&harness, 2.0, None).await.unwrap();
    harness.act("freeze", json!({})).await.unwrap();
    assert!(hot_bytes().await > 0, "it stays again");
    refused(harness.act("alter_table", set(json!(1))).await, Code::InvalidArgument, "hot_window");
    harness.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bucket_what_needs_one_is_refused_by_its_name() {
    let harness = Harness::start().await;
    harness.weather().await;
    let local = write(&harness, 1.0, Some("local")).await.unwrap();
    assert_eq!((local.acknowledged, local.durable_position), (None, None));
    assert_eq!(lookup(&harness, &json!({})).await.unwrap().1.durable_position, None);
    let durable = json!({"durable":true});
    refused(write(&harness, 2.0, Some("object")).await, Code::FailedPrecondition, "--bucket");
    refused(lookup(&harness, &durable).await, Code::FailedPrecondition, "--bucket");
    refused(scan(&harness, &durable).await, Code::FailedPrecondition, "--bucket");
    let waits = json!({"durable":true,"at_least":local.read_position,"wait":"1s"});
    refused(lookup(&harness, &waits).await, Code::FailedPrecondition, "--bucket");
    assert_eq!(lookup(&harness, &json!({})).await.unwrap().0, Some(1.0), "what was refused was not stored");
    harness.server.stop().await.unwrap();
}
