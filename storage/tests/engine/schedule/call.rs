//! Calls of a bucket, as a schedule sees them.

use bytes::Bytes;

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    Create,
    Put,
    Delete,
    Get,
    Length,
    List,
}

/// A call that waits at the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub doing: Doing,
    pub name: String,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Land,
    Before,
    After,
    /// It lands so many calls later, of all processes together.
    Later(u64),
    /// A create finds something, though nothing is there.
    Conflict,
}

/// A call that changes the bucket.
#[derive(Debug, Clone)]
pub enum Write {
    Create(Bytes),
    Put(Bytes),
    Delete,
}
