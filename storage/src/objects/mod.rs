//! The one door to object storage.
//!
//! [`Objects`] is what the protocol of the bucket needs of S3, Google Cloud Storage, Azure or a directory, and no more:
//! a create that one caller wins, a write that can be repeated, exact reads, a complete list, a delete that can be
//! repeated. It is synchronous; a call may take as long as the door's own time limit. [`Memory`](memory::Memory) is a
//! store for tests, [`Counted`](counted::Counted) counts what goes through, and [`Faulty`](faulty::Faulty) fails the calls that a test names; the real ones live in the crate
//! `firn-objects`, since this one knows no network.
//!
//! What a door relies on: whatever was written, replaced or deleted is seen so by every later read and list of every
//! client. S3, Google Cloud Storage, Azure and a local directory promise that; caches, replicas and NFS do not.
//!
//! An error never says that nothing happened. A write that failed may have landed, or land minutes later: repeat it
//! with the same bytes, or look. Kinds of errors: [`Kind::Unavailable`] if the store did not answer or said "not now";
//! [`Kind::Denied`] if it refused who asks; [`Kind::Corrupt`] for bytes that are not what was asked for;
//! [`Kind::Precondition`] and [`Kind::Unsupported`] for a store that cannot serve as it is; every message names the
//! object.

use std::fmt::{self, Debug};
use std::ops::Range;

use bytes::Bytes;

pub use name::ObjectName;

use crate::error::{Error, Kind, Result};

pub mod conformance;
pub mod counted;
pub mod faulty;
pub mod memory;
mod name;
#[cfg(test)]
mod tests;

/// A store of named, immutable or replaceable byte strings.
pub trait Objects: Send + Sync + Debug {
    /// Creates `name` with `bytes` if there is no such object, whole and durable, or leaves what is there as it is. Of
    /// several callers at once, at most one is told [`Creation::Created`].
    ///
    /// If what is there are the very same bytes, either answer may come, since a door that lost the reply to its own
    /// attempt tells its object by its bytes: what decides a race must hold a number of its own. After
    /// [`Creation::Found`] read the object before you act on it: a store may also answer so without a cause, and then
    /// nothing is there.
    fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Creation>;

    /// Writes `bytes` under `name`, whole and durable, whether or not there is such an object. It may be repeated.
    fn put(&self, name: &ObjectName, bytes: Bytes) -> Result<()>;

    /// The whole content of `name`; none if the store says that there is no such object, which is never a guess: a
    /// store or a bucket that cannot be reached is an error.
    fn get(&self, name: &ObjectName) -> Result<Option<Bytes>>;

    /// The bytes `range` of `name`, exactly; none if the store says that there is no such object. The range must not
    /// be empty. An object that ends before the range does is [`Kind::Corrupt`].
    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Option<Bytes>>;

    /// The length of `name` in bytes; none if the store says that there is no such object.
    fn length(&self, name: &ObjectName) -> Result<Option<u64>>;

    /// Every object below `folder` at any depth, or every object for `""`, sorted by name. It is complete or an error.
    /// Objects with names that are not [`ObjectName`]s are passed over: they are not ours.
    fn list(&self, folder: &str) -> Result<Vec<Listed>>;

    /// Deletes `name`, durably. One that is not there is deleted already.
    fn delete(&self, name: &ObjectName) -> Result<()>;
}

/// What became of a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// The object is there with the bytes that were given.
    Created,
    /// An object of that name was there already, and stays.
    Found,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: ObjectName,
    /// Its length in bytes.
    pub length: u64,
}

/// The error for an object that does not hold what was asked for.
pub fn damaged(name: &ObjectName, what: impl fmt::Display) -> Error {
    Error::new(Kind::Corrupt, format!("object {name} is damaged: {what}"))
}

/// The error for an object of `length` bytes from which `range` was asked.
pub fn ends_early(name: &ObjectName, range: &Range<u64>, length: u64) -> Error {
    damaged(name, format!("bytes {} to {} were asked for, and it has {length}", range.start, range.end))
}

/// Refuses a `folder` that [`Objects::list`] cannot be asked for.
pub fn check_folder(folder: &str) -> Result<()> {
    if folder.is_empty() { Ok(()) } else { ObjectName::new(folder).map(|_| ()) }
}
