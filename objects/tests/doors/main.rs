//! The doors to object storage, put through what they promise: a directory, the S3 of the tests on a real socket,
//! servers that are not ours if they are there, and stores that break their promises.

#![allow(clippy::unwrap_used, reason = "a test may stop at what must not happen")]

use std::sync::Arc;
use std::time::Duration;

use firn_objects::bucket::Bucket;
use firn_objects::options::Options;
use firn_storage::objects::{ObjectName, Objects};

mod bucket;
mod conformance;
mod file;
mod foreign;
mod local;
mod probe;
mod property;
mod server;

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

/// How the store at `endpoint` is reached, with keys that open nothing.
fn options(endpoint: String) -> Options {
    let settings = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "us-east-1")];
    Options {
        endpoint: Some(endpoint),
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..Options::default()
    }
}

/// A bucket on the server of the tests, patient enough for any machine.
fn bucket(server: &server::Server) -> Arc<dyn Objects> {
    Bucket::open("s3://tests/prod", &options(server.endpoint())).unwrap()
}

/// The same with little patience: for calls that fail.
fn impatient(server: &server::Server) -> Arc<dyn Objects> {
    let options = Options {
        deadline_max: Duration::from_secs(1),
        attempt_max: Duration::from_secs(1),
        list_max: Duration::from_secs(1),
        ..options(server.endpoint())
    };
    Bucket::open("s3://tests/prod", &options).unwrap()
}
