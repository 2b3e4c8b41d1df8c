//! A bucket in a cloud: attempts, repeated within a time limit.
//!
//! Guarantees: every call ends within its limit ([`Options`]), and every attempt of it repeats the same bytes. What is
//! worth another attempt is tried again after a pause that grows: no answer, "slow down", a conflict without a cause, a
//! body that is not what was asked for. A create whose reply was lost, or that is told of a conflict, is looked at: if
//! the object holds the bytes that were sent, it is ours; if others, it is another's; if there is none, the create is
//! tried again. So whoever creates must send bytes that no other creator sends. A call that fails may have landed, or
//! may land later.
//!
//! It keeps nothing of what it read, and orders nothing: calls from several threads go their own ways.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use firn_storage::error::{Error, Kind, Result};
use firn_storage::objects::{Creation, Listed, ObjectName, Objects, check_folder, ends_early};

use crate::address::Address;
use crate::cloud::connect;
use crate::failure::Failure;
use crate::local::Local;
use crate::options::Options;
use crate::tries::Tries;
use crate::wire::{Attempt, Wire};

/// A bucket in a cloud.
#[derive(Debug)]
pub struct Bucket {
    wire: Wire,
    /// How messages call it.
    address: String,
    options: Options,
}

impl Bucket {
    /// Opens the bucket at `address`: `s3://BUCKET/PREFIX`, `gs://…`, `az://…` or `file:///DIRECTORY`. Credentials come
    /// from the environment. Only a directory is touched: whether a cloud's bucket serves is for
    /// [`probe`](crate::probe::probe) to say.
    ///
    /// # Errors
    /// `Invalid` for an address or settings that cannot be, with what to write instead.
    pub fn open(address: &str, options: &Options) -> Result<Arc<dyn Objects>> {
        let address = Address::parse(address)?;
        let Address::Cloud { cloud, bucket, prefix } = &address else {
            let Address::Directory(path) = address else { unreachable!("an address is of a cloud or a directory") };
            if options.endpoint.is_some() {
                return Err(Error::invalid("a bucket that is a directory has no endpoint: leave it out"));
            }
            return Ok(Arc::new(Local::open(path)?));
        };
        let store = connect(*cloud, bucket, options)?;
        let wire = Wire::new(store, prefix.as_ref(), options.clone())?;
        Ok(Arc::new(Self { wire, address: address.to_string(), options: options.clone() }))
    }

    /// The attempts of a call that sends or asks for `bytes`.
    fn tries(&self, name: &str, doing: &'static str, bytes: u64) -> Tries {
        let shown = if name.is_empty() { "all objects".to_owned() } else { format!("object {name}") };
        Tries::new(&self.options, doing, format!("{shown} of {}", self.address), bytes)
    }

    /// Whether `name` holds `bytes`; none if there is no such object.
    fn holds(&self, name: &ObjectName, bytes: &Bytes, limit: Duration) -> Attempt<Option<bool>> {
        match self.wire.get(name, None, limit) {
            Ok(found) => Ok(Some(found == *bytes)),
            Err(Failure::Absent) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Whether there is such an object after the store would not say how long it is: an answer to that has no words.
    fn is_there(&self, name: &ObjectName, limit: Duration) -> Attempt<bool> {
        match self.wire.get(name, Some(0..1), limit) {
            // An empty object has no first byte.
            Ok(_) | Err(Failure::Short(_)) => Ok(true),
            Err(Failure::Absent) => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}

impl Objects for Bucket {
    fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Creation> {
        let mut tries = self.tries(name.as_str(), "create", bytes.len() as u64);
        loop {
            match self.wire.create(name, &bytes, tries.limit()) {
                Ok(()) => return Ok(Creation::Created),
                Err(Failure::Conflict(words)) => match self.holds(name, &bytes, tries.limit()) {
                    // An attempt whose reply was lost, here or below, had landed.
                    Ok(Some(true)) => return Ok(Creation::Created),
                    Ok(Some(false)) => return Ok(Creation::Found),
                    // Two creates met, and neither landed.
                    Ok(None) => tries.again(Failure::Conflict(words))?,
                    Err(failure) => tries.again(failure)?,
                },
                Err(failure) => tries.again(failure)?,
            }
        }
    }

    fn put(&self, name: &ObjectName, bytes: Bytes) -> Result<()> {
        self.tries(name.as_str(), "write", bytes.len() as u64).always(|limit| self.wire.put(name, &bytes, limit))
    }

    fn get(&self, name: &ObjectName) -> Result<Option<Bytes>> {
        self.tries(name.as_str(), "read", 0).until(|limit| self.wire.get(name, None, limit))
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Option<Bytes>> {
        assert!(range.start < range.end, "an empty range of {name} is read");
        let wanted = range.end - range.start;
        let tries = self.tries(name.as_str(), "read", wanted);
        let read_max = self.options.read_max.min(self.options.deadline_max);
        let tries = tries.ending_in(read_max + self.options.body_max(wanted));
        let Some(body) = tries.until(|limit| self.wire.get_soon(name, range.clone(), limit))? else { return Ok(None) };
        if body.len() as u64 != wanted {
            return Err(ends_early(name, &range, range.start + body.len() as u64));
        }
        Ok(Some(body))
    }

    fn length(&self, name: &ObjectName) -> Result<Option<u64>> {
        let mut tries = self.tries(name.as_str(), "look at", 0);
        loop {
            let failure = match self.wire.head(name, tries.limit()) {
                Ok(length) => return Ok(Some(length)),
                Err(failure) => failure,
            };
            match self.is_there(name, tries.limit()) {
                Ok(false) => return Ok(None),
                Ok(true) => tries.again(failure)?,
                Err(failure) => tries.again(failure)?,
            }
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        check_folder(folder)?;
        let tries = self.tries(folder, "list", 0).ending_in(self.options.list_max);
        let listed = tries.until(|limit| match self.wire.list(folder, limit) {
            Err(Failure::Absent) => Err(Failure::Later(Kind::Unavailable, "the store would not list".to_owned())),
            other => other,
        })?;
        Ok(listed.expect("a list is never absent"))
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.tries(name.as_str(), "delete", 0).until(|limit| self.wire.delete(name, limit)).map(|_| ())
    }
}
