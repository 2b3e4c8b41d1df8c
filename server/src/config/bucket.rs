//! The bucket that a database is at home in: how it is reached, tried out, and kept to.

use std::sync::Arc;
use std::time::Duration;

use firn_objects::bucket::Bucket;
use firn_objects::options::Options;
use firn_objects::probe::probe;
use firn_storage::config::{HomeOptions, Level};
use firn_storage::error::Result;

/// The bucket of a database, as settings say it.
#[derive(Debug, Clone, Default)]
pub struct BucketConfig {
    /// Where it is; none is a database without one.
    pub address: Option<String>,
    /// How it is reached.
    pub options: Options,
    /// What writes are acknowledged for that do not say it.
    pub acknowledge: Level,
    /// How long a commit may wait to go up when nobody waits for it.
    pub upload_interval: Duration,
    /// Bytes of the log that the bucket may lack.
    pub backlog_bytes_max: u64,
    /// Bytes of the log after which the files of the database follow.
    pub publish_bytes: u64,
    /// The time after which they do, if anything was written.
    pub publish_interval: Duration,
    /// How long an object stays that nothing needs any more.
    pub garbage_age: Duration,
    /// Whether a local copy is given up that another writer has overtaken.
    pub discard_local: bool,
}

impl BucketConfig {
    /// Opens the bucket, if there is one, and makes sure that it keeps what the protocol of writers relies on. It blocks.
    pub fn open(&self) -> Result<Option<HomeOptions>> {
        let Some(address) = &self.address else { return Ok(None) };
        let objects = Bucket::open(address, &self.options)?;
        let other = Bucket::open(address, &self.options)?;
        probe(objects.as_ref(), other.as_ref())?;
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(Some(HomeOptions {
            objects: Arc::clone(&objects),
            acknowledge: self.acknowledge,
            upload_interval: self.upload_interval,
            backlog_bytes_max: self.backlog_bytes_max,
            publish_bytes: self.publish_bytes,
            publish_interval: self.publish_interval,
            garbage_age: self.garbage_age,
            discard_local: self.discard_local,
            writer: format!("{host} (process {})", std::process::id()),
        }))
    }
}
