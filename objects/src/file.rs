//! Files of users in the buckets of clouds, each by its own address: `s3://BUCKET/KEY`, `gs://…` or `az://…`.
//!
//! Guarantees: every range that is read is of the content that [`File::find`] found, where the store tells one content
//! from another (all that are known do); a file that was replaced meanwhile is an error. A file is written whole or not
//! at all: until its last byte is there, its name has what it had before. No more than a part of it is in memory. Calls
//! are repeated within the time limits of [`Options`].
//!
//! Unlike the objects of a [`Bucket`](crate::bucket::Bucket), files have the names that somebody gave them.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use firn_storage::error::{Error, Kind, Result};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, MultipartId, PutMode};
use parking_lot::Mutex;

use crate::address::{Cloud, FileAddress};
use crate::cloud::connect;
use crate::failure::Failure;
use crate::options::Options;
use crate::tries::Tries;
use crate::wire::{Attempt, Wire};

/// A file of more bytes is written in parts of so many, all but the last; stores take none that are smaller than 5 MiB.
const PART_BYTES_MIN: u64 = 8 << 20;

/// Stores take no more parts; a larger file has larger ones.
const PARTS_MAX: u64 = 10_000;

/// Opens files; those of one bucket share a client.
#[derive(Debug)]
pub struct Files {
    options: Options,
    wires: Mutex<BTreeMap<(Cloud, String), Arc<Wire>>>,
}

/// Where a file lies.
#[derive(Debug)]
pub enum Located {
    /// On this machine.
    Path(PathBuf),
    /// In a cloud.
    Object(File),
}

/// A file in a cloud.
#[derive(Debug)]
pub struct File {
    wire: Arc<Wire>,
    key: Path,
    address: String,
    options: Options,
}

/// What a store says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its length in bytes.
    pub length: u64,
    /// What tells its content from others of the same name.
    tag: Option<String>,
}

impl Files {
    /// Opens files as `options` say.
    pub fn new(options: Options) -> Self {
        Self { options, wires: Mutex::default() }
    }

    /// The file at `address`: `s3://BUCKET/KEY`, `gs://…`, `az://…` or `file:///PATH`. Nothing is asked of a store yet.
    ///
    /// # Errors
    /// `Invalid` for an address or settings that cannot be, with what to write instead.
    pub fn open(&self, address: &str) -> Result<Located> {
        let (cloud, bucket, key) = match FileAddress::parse(address)? {
            FileAddress::Path(path) => return Ok(Located::Path(path)),
            FileAddress::Cloud { cloud, bucket, key } => (cloud, bucket, key),
        };
        let mut wires = self.wires.lock();
        let wire = match wires.get(&(cloud, bucket.clone())) {
            Some(wire) => Arc::clone(wire),
            None => {
                let store = connect(cloud, &bucket, &self.options)?;
                let wire = Arc::new(Wire::new(store, None, self.options.clone())?);
                wires.insert((cloud, bucket), Arc::clone(&wire));
                wire
            }
        };
        Ok(Located::Object(File { wire, key, address: address.to_owned(), options: self.options.clone() }))
    }
}

impl File {
    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its key in the bucket.
    pub fn key(&self) -> &str {
        self.key.as_ref()
    }

    /// What there is; none if the store says that there is no such file.
    ///
    /// # Errors
    /// As of [`Objects`](firn_storage::objects), with the address.
    pub fn find(&self) -> Result<Option<Found>> {
        self.tries("look at", 1).until(|limit| self.look(limit))
    }

    /// The bytes `range` of what was `found`, which must not be empty.
    ///
    /// # Errors
    /// `Precondition` if the file was replaced or deleted since; otherwise as of [`File::find`].
    pub fn read(&self, found: &Found, range: Range<u64>) -> Result<Bytes> {
        let Range { start, end } = range;
        assert!(start < end && end <= found.length, "bytes {start} to {end} are read of {}", found.length);
        let asked =
            GetOptions { range: Some(GetRange::Bounded(range)), if_match: found.tag.clone(), ..GetOptions::default() };
        let changed = || Failure::Never(Kind::Precondition, "it was replaced or deleted while it was read".to_owned());
        let read = |limit| match self.wire.read(self.key.clone(), asked.clone(), limit) {
            Ok((body, _)) => Ok(body),
            Err(Failure::Conflict(_) | Failure::Absent) => Err(changed()),
            Err(failure) => Err(failure),
        };
        let body = self.tries("read", end - start).always(read)?;
        if body.len() as u64 != end - start {
            let what = format!("could not read {}: {} bytes came for {}", self.address, body.len(), end - start);
            return Err(Error::new(Kind::Corrupt, what));
        }
        Ok(body)
    }

    /// Writes the next `length` bytes of `from` as the whole file, in place of what may be there.
    ///
    /// # Errors
    /// As of [`File::find`]; `Io` if `from` fails or ends early. An error does not say that nothing is there.
    pub fn write(&self, from: &mut dyn Read, length: u64) -> Result<()> {
        if length <= PART_BYTES_MIN {
            let bytes = self.take(from, length)?;
            let write = |limit| self.wire.write(self.key.clone(), &bytes, PutMode::Overwrite, limit);
            return self.tries("write", length).always(write);
        }
        let before = self.find()?;
        let id = self.tries("begin to write", 0).always(|limit| self.wire.begin(self.key.clone(), limit))?;
        let written = self.send(&id, from, length).and_then(|parts| self.complete(&id, &parts, length, before));
        if written.is_err() {
            // Parts that nobody completes are paid for until somebody deletes them. The error says more than that this failed.
            let _ = self.wire.abort(self.key.clone(), &id, self.options.attempt_max);
        }
        written
    }

    /// Sends all parts.
    fn send(&self, id: &MultipartId, from: &mut dyn Read, length: u64) -> Result<Vec<PartId>> {
        let part_bytes = length.div_ceil(PARTS_MAX).next_multiple_of(1 << 20).max(PART_BYTES_MIN);
        let mut parts = Vec::new();
        let mut left = length;
        while left > 0 {
            let bytes = self.take(from, left.min(part_bytes))?;
            left -= bytes.len() as u64;
            let send = |limit| self.wire.part(self.key.clone(), id, parts.len(), &bytes, limit);
            let part = self.tries("write", bytes.len() as u64).always(send)?;
            parts.push(part);
        }
        Ok(parts)
    }

    /// Makes the file of its `parts`, where `before` is what there was.
    fn complete(&self, id: &MultipartId, parts: &[PartId], length: u64, before: Option<Found>) -> Result<()> {
        let tag = before.and_then(|before| before.tag);
        let mut tries = self.tries("write", 0);
        loop {
            let Err(failure) = self.wire.complete(self.key.clone(), id, parts, tries.limit()) else { return Ok(()) };
            // If only the reply was lost, there is nothing left to complete, and the file is there.
            let is_there = |found: Found| found.length == length && found.tag != tag;
            if self.look(tries.limit()).is_ok_and(is_there) {
                return Ok(());
            }
            tries.again(failure)?;
        }
    }

    /// One look at what there is. The first byte is asked for, because an answer to HEAD has no words.
    fn look(&self, limit: Duration) -> Attempt<Found> {
        let asked = GetOptions { range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() };
        match self.wire.read(self.key.clone(), asked, limit) {
            Ok((_, meta)) => Ok(Found { length: meta.size, tag: meta.e_tag }),
            // An empty file has no first byte.
            Err(Failure::Short(_)) => Ok(Found { length: 0, tag: None }),
            Err(failure) => Err(failure),
        }
    }

    /// The next `length` bytes of `from`.
    fn take(&self, from: &mut dyn Read, length: u64) -> Result<Bytes> {
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        let taken = from.take(length).read_to_end(&mut bytes);
        let ended = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let whole = taken.and_then(|taken| if taken as u64 == length { Ok(()) } else { Err(ended()) });
        let failed = |error| Error::new(Kind::Io, format!("could not write {}: {error}", self.address));
        whole.map_err(failed).map(|()| bytes.into())
    }

    fn tries(&self, doing: &'static str, bytes: u64) -> Tries {
        Tries::new(&self.options, doing, self.address.clone(), bytes)
    }
}
