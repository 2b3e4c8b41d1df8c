//! The bucket that a database is at home in: how it is reached, tried out, and kept to.

use firn_objects::bucket::Bucket;
use firn_objects::options::Options;
use firn_objects::probe::probe;
use firn_storage::config::{HomeOptions, HomePolicy};
use firn_storage::error::Result;

/// The bucket of a database, as settings say it.
#[derive(Debug, Clone, Default)]
pub struct BucketConfig {
    /// Where it is; none is a database without one.
    pub address: Option<String>,
    /// How it is reached.
    pub options: Options,
    /// How the database keeps to it.
    pub policy: HomePolicy,
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
            objects,
            writer: format!("{host} (process {})", std::process::id()),
            policy: self.policy.clone(),
        }))
    }
}
