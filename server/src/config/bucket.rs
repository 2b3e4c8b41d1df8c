//! The bucket that a database is at home in, or that it follows: how it is reached, tried out, and kept to.

use std::time::Duration;

use firn_objects::bucket::Bucket;
use firn_objects::options::Options;
use firn_objects::probe::probe;
use firn_storage::config::{FollowOptions, HomeOptions, HomePolicy};
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
    /// Whether another process writes the database, and this one only follows it.
    pub read_only: bool,
    /// How often a follower asks the bucket for what is newer.
    pub follow_interval: Duration,
    /// The checkpoint that it stays at instead.
    pub checkpoint: Option<String>,
}

/// The shortest pause between two looks of a follower.
const FOLLOW_INTERVAL_MIN: Duration = Duration::from_millis(10);

impl BucketConfig {
    /// Refuses settings that contradict each other.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        if self.read_only && self.address.is_none() {
            return Err(
                "read-only follows a database that another process writes, and needs the bucket that it is in: give \
                        --bucket too"
                    .to_owned(),
            );
        }
        if self.read_only && self.policy.discard_local {
            return Err("discard-local is for who writes, and read-only writes nothing: give one of them".to_owned());
        }
        if self.checkpoint.is_some() && !self.read_only {
            return Err(
                "checkpoint is read and not written: give --read-only too, or make a copy with firn restore".to_owned()
            );
        }
        if self.follow_interval < FOLLOW_INTERVAL_MIN {
            return Err(format!("bucket-follow-interval is below {} ms", FOLLOW_INTERVAL_MIN.as_millis()));
        }
        Ok(())
    }

    /// Opens the bucket of a database that is followed, if it is. Nothing is tried out there, for that writes.
    pub fn open_followed(&self) -> Result<Option<FollowOptions>> {
        let Some(address) = self.address.as_ref().filter(|_| self.read_only) else { return Ok(None) };
        let objects = Bucket::open(address, &self.options)?;
        let (interval, ice, checkpoint) = (self.follow_interval, self.policy.ice.clone(), self.checkpoint.clone());
        Ok(Some(FollowOptions { objects, interval, ice, checkpoint }))
    }

    /// Opens the bucket that the database is at home in, if there is one, and makes sure that it keeps what the protocol of writers relies on. It blocks.
    pub fn open(&self) -> Result<Option<HomeOptions>> {
        let Some(address) = self.address.as_ref().filter(|_| !self.read_only) else { return Ok(None) };
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
