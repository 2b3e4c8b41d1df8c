//! The probe lets good buckets pass and refuses those that could lose a database.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use firn_objects::local::Local;
use firn_objects::probe::probe;
use firn_storage::error::{Kind, Result};
use firn_storage::objects::faulty::{Fault, Faulty};
use firn_storage::objects::memory::Memory;
use firn_storage::objects::{Creation, Listed, ObjectName, Objects};

use crate::bucket;
use crate::server::Server;

/// A way in which a store breaks its promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// A create looks, and writes then.
    TwoSteps,
    /// A create writes whatever is there.
    NoCondition,
    /// A create that finds something replaces it all the same.
    FoundAndReplaced,
    /// Every create finds something.
    NeverCreates,
    /// A list does not show the newest object.
    LateList,
    /// A read shows what was there first.
    StaleRead,
    /// A delete does nothing.
    NoDelete,
    /// A range begins a byte too late.
    WrongRange,
}

/// A store in memory with a flaw.
#[derive(Debug)]
struct Flawed {
    memory: Memory,
    first: Memory,
    flaw: Flaw,
}

impl Flawed {
    fn new(flaw: Flaw) -> Self {
        Self { memory: Memory::new(), first: Memory::new(), flaw }
    }
}

impl Objects for Flawed {
    fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Creation> {
        match self.flaw {
            Flaw::TwoSteps => {
                if self.memory.get(name)?.is_some() {
                    return Ok(Creation::Found);
                }
                std::thread::yield_now();
                std::thread::sleep(std::time::Duration::from_millis(5));
                self.memory.put(name, bytes)?;
                Ok(Creation::Created)
            }
            Flaw::NoCondition => self.memory.put(name, bytes).map(|()| Creation::Created),
            Flaw::FoundAndReplaced => {
                let creation = self.memory.put_new(name, bytes.clone())?;
                self.memory.put(name, bytes)?;
                Ok(creation)
            }
            Flaw::NeverCreates => Ok(Creation::Found),
            _ => self.memory.put_new(name, bytes),
        }
    }

    fn put(&self, name: &ObjectName, bytes: Bytes) -> Result<()> {
        self.first.put_new(name, bytes.clone())?;
        self.memory.put(name, bytes)
    }

    fn get(&self, name: &ObjectName) -> Result<Option<Bytes>> {
        let first = self.first.get(name)?.filter(|_| self.flaw == Flaw::StaleRead);
        first.map_or_else(|| self.memory.get(name), |first| Ok(Some(first)))
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Option<Bytes>> {
        let moved = u64::from(self.flaw == Flaw::WrongRange && range.end < 256);
        self.memory.get_range(name, range.start + moved..range.end + moved)
    }

    fn length(&self, name: &ObjectName) -> Result<Option<u64>> {
        self.memory.length(name)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let mut listed = self.memory.list(folder)?;
        if self.flaw == Flaw::LateList {
            listed.pop();
        }
        Ok(listed)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        if self.flaw == Flaw::NoDelete { Ok(()) } else { self.memory.delete(name) }
    }
}

#[test]
fn good_buckets_pass_and_nothing_is_left_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (Local::open(folder.path()).unwrap(), Local::open(folder.path()).unwrap());
    probe(&one, &other).unwrap();
    assert_eq!(one.list("").unwrap(), []);
    let memory = Memory::new();
    probe(&memory, &memory.clone()).unwrap();
    assert_eq!(memory.names(), []);
    let server = Server::start();
    let (one, other) = (bucket(&server), bucket(&server));
    probe(one.as_ref(), other.as_ref()).unwrap();
    assert_eq!(one.list("").unwrap(), []);
}

#[test]
fn creates_of_two_steps_are_refused() {
    for flaw in [Flaw::TwoSteps, Flaw::NoCondition, Flaw::FoundAndReplaced, Flaw::NeverCreates] {
        let objects = Flawed::new(flaw);
        let error = probe(&objects, &objects).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{flaw:?}");
        let expected =
            if flaw == Flaw::NeverCreates { "nobody wrote" } else { "conditional writes are not atomic here" };
        assert!(error.message().contains(expected), "{flaw:?}: {error}");
        assert_eq!(objects.memory.names(), [], "nothing is left: {flaw:?}");
    }
}

#[test]
fn the_same_over_the_wire_is_refused() {
    for careless in [false, true] {
        let server = Server::start();
        if careless {
            server.ignore_conditions()
        } else {
            server.create_in_two_steps()
        }
        let (one, other) = (bucket(&server), bucket(&server));
        let error = probe(one.as_ref(), other.as_ref()).unwrap_err();
        assert!(error.message().contains("conditional writes are not atomic here"), "{error}");
        assert_eq!(one.list("").unwrap(), []);
    }
}

#[test]
fn stores_that_show_old_or_wrong_things_are_refused() {
    for (flaw, words) in [
        (Flaw::LateList, "a list after a write"),
        (Flaw::StaleRead, "a read after a write"),
        (Flaw::NoDelete, "a read after a delete"),
        (Flaw::WrongRange, "a read of a range"),
    ] {
        let objects = Flawed::new(flaw);
        let error = probe(&objects, &objects).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{flaw:?}");
        assert!(error.message().contains(words), "{flaw:?}: {error}");
    }
}

#[test]
fn a_store_that_fails_is_not_refused_but_unavailable() {
    // Each call in turn; those of the race come in any order, and a create may fail there for all.
    for call in 1..80 {
        let faulty = Faulty::new(Arc::new(Memory::new()));
        faulty.fail_call(call, Fault::Before);
        if let Err(error) = probe(&faulty, &faulty.clone()) {
            assert_eq!(error.kind(), Kind::Unavailable, "call {call}: {error}");
        }
    }
}
