//! Counting what a bucket is asked for: each request by what it does and by the folder that it is about, and the bytes in both
//! directions. What a store bills is made of these.
//!
//! It counts calls of the door, also those that fail. A door that sends a request again, or an object in parts, is billed for more.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::{Creation, Listed, ObjectName, Objects};
use crate::error::Result;
use crate::traffic::{Request, Tally, Traffic};

/// A store answers a list in pages of so many names, each of which is a request.
const PAGE_NAMES: usize = 1000;

/// A door that counts what goes through it.
#[derive(Debug)]
pub struct Counted {
    door: Arc<dyn Objects>,
    traffic: Arc<Traffic>,
}

impl Counted {
    /// `door`, whose requests are counted in `traffic`.
    pub fn new(door: Arc<dyn Objects>, traffic: Arc<Traffic>) -> Self {
        Self { door, traffic }
    }

    fn put(&self, name: &ObjectName, bytes: &Bytes) {
        let tally = Tally { requests: 1, sent_bytes: bytes.len() as u64, received_bytes: 0 };
        self.traffic.count(name.as_str(), Request::Put, tally);
    }

    fn got<T>(&self, name: &ObjectName, answer: Result<T>, length: impl Fn(&T) -> usize) -> Result<T> {
        let received_bytes = answer.as_ref().map_or(0, length) as u64;
        let tally = Tally { requests: 1, sent_bytes: 0, received_bytes };
        self.traffic.count(name.as_str(), Request::Get, tally);
        answer
    }
}

fn length_of(found: &Option<Bytes>) -> usize {
    found.as_ref().map_or(0, Bytes::len)
}

impl Objects for Counted {
    fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Creation> {
        self.put(name, &bytes);
        self.door.put_new(name, bytes)
    }

    fn put(&self, name: &ObjectName, bytes: Bytes) -> Result<()> {
        self.put(name, &bytes);
        self.door.put(name, bytes)
    }

    fn get(&self, name: &ObjectName) -> Result<Option<Bytes>> {
        self.got(name, self.door.get(name), length_of)
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Option<Bytes>> {
        self.got(name, self.door.get_range(name, range), length_of)
    }

    fn length(&self, name: &ObjectName) -> Result<Option<u64>> {
        self.got(name, self.door.length(name), |_| 0)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let listed = self.door.list(folder);
        let pages = listed.as_ref().map_or(1, |names| names.len().div_ceil(PAGE_NAMES).max(1));
        self.traffic.count(folder, Request::List, Tally { requests: pages as u64, ..Tally::default() });
        listed
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.traffic.count(name.as_str(), Request::Delete, Tally { requests: 1, ..Tally::default() });
        self.door.delete(name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::super::faulty::{Fault, Faulty};
    use super::super::memory::Memory;
    use super::*;

    fn counted() -> (Faulty, Counted, Arc<Traffic>) {
        let (faulty, traffic) = (Faulty::new(Arc::new(Memory::new())), Arc::new(Traffic::default()));
        (faulty.clone(), Counted::new(Arc::new(faulty), Arc::clone(&traffic)), traffic)
    }

    #[test]
    fn it_is_a_door_like_the_one_behind_it_and_counts_each_call() {
        let (faulty, door, traffic) = counted();
        let door: Arc<dyn Objects> = Arc::new(door);
        conformance::check(&door, "folder", 30).unwrap();
        let requests: u64 = Request::ALL.iter().map(|request| traffic.of(*request).requests).sum();
        assert!(requests >= faulty.calls() && faulty.calls() > 20, "{requests}, {}", faulty.calls());
    }

    #[test]
    fn bytes_are_counted_in_both_directions_and_failures_cost_too() {
        let (faulty, door, traffic) = counted();
        let name = |name: &str| ObjectName::new(name).unwrap();
        let object = name("wal/1");
        Objects::put(&door, &object, Bytes::from_static(b"12345")).unwrap();
        door.put_new(&object, Bytes::from_static(b"123")).unwrap();
        assert_eq!(door.get_range(&object, 1..3).unwrap().unwrap(), "23");
        assert_eq!((door.get(&object).unwrap().unwrap().len(), door.length(&object).unwrap()), (5, Some(5)));
        assert_eq!(door.get(&name("epochs/2")).unwrap(), None);
        (0..1001).for_each(|number| Objects::put(&door, &name(&format!("data/{number}")), Bytes::new()).unwrap());
        door.list("data").unwrap();
        faulty.fail_calls(1, 1 << 40, Fault::SlowDown);
        door.delete(&object).unwrap_err();
        let all = traffic.all();
        let tally = |folder: &str, request| all[&(folder.to_owned(), request)];
        assert_eq!(tally("wal", Request::Put), Tally { requests: 2, sent_bytes: 8, received_bytes: 0 });
        assert_eq!(tally("wal", Request::Get), Tally { requests: 3, sent_bytes: 0, received_bytes: 7 });
        assert_eq!(tally("epochs", Request::Get), Tally { requests: 1, ..Tally::default() });
        assert_eq!(tally("data", Request::List).requests, 2);
        assert_eq!(tally("wal", Request::Delete).requests, 1);
        assert_eq!(traffic.of(Request::Put).requests, 1003);
    }
}
