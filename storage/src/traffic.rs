//! What a bucket was asked for: so many requests of each kind about each folder, and the bytes that they carried. The door counts
//! them ([`objects::counted`](crate::objects::counted)); what a store bills is made of these.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    /// Writes an object, if it is not there or in any case.
    Put,
    /// Reads an object, a range of it, or its length.
    Get,
    /// Lists a folder.
    List,
    /// Deletes an object.
    Delete,
}

impl Request {
    /// All.
    pub const ALL: [Self; 4] = [Self::Put, Self::Get, Self::List, Self::Delete];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

/// So many requests, and what they carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub requests: u64,
    /// Bytes to the bucket.
    pub sent_bytes: u64,
    /// Bytes from it.
    pub received_bytes: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
    }
}

/// What a bucket was asked for so far, by the folder at the beginning of the name and by what was done.
#[derive(Debug, Default)]
pub struct Traffic(Mutex<BTreeMap<(String, Request), Tally>>);

impl Traffic {
    /// Everything.
    pub fn all(&self) -> BTreeMap<(String, Request), Tally> {
        self.0.lock().clone()
    }

    /// All of one kind of `request`.
    pub fn of(&self, request: Request) -> Tally {
        let mut sum = Tally::default();
        self.0.lock().iter().filter(|((_, kind), _)| *kind == request).for_each(|(_, tally)| sum.add(*tally));
        sum
    }

    /// Counts a request about the object or folder `name`.
    pub(crate) fn count(&self, name: &str, request: Request, tally: Tally) {
        let folder = name.split('/').next().unwrap_or_default();
        self.0.lock().entry((folder.to_owned(), request)).or_default().add(tally);
    }
}
