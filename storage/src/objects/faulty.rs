//! Object storage that fails the calls that a test names, or those that a seed picks.
//!
//! It stands around any [`Objects`] and does what real stores were seen to do: refuse before or after a call landed,
//! let a write land long after it was given up, say "conflict" without a cause, say "slow down" for a while, and answer
//! with bytes that are not the ones asked for. It keeps the contract of the door: what a door must notice, such as a
//! range that is cut, is an error here; what it cannot notice, such as a flipped bit, is an answer. With no faults it
//! answers as the store inside. Clones share one state. Nothing but tests and benches uses it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Creation, Listed, ObjectName, Objects, damaged};
use crate::error::{Error, Kind, Result};

/// A write that was given up lands at most this many calls later, if a seed decides.
const LATE_CALLS_MAX: u64 = 100;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happens, and the call fails.
    Before,
    /// The call lands, and its reply is lost.
    After,
    /// The call times out, and lands just before the `calls`-th call from then on. A read fails only.
    Later {
        /// How many calls later, at least 1.
        calls: u64,
    },
    /// Status 409 without a cause: nothing happens. A create says that it found something.
    Conflict,
    /// Status 412 without a cause, as [`Fault::Conflict`].
    Mismatch,
    /// Status 429: nothing happens.
    TooMany,
    /// Status 503: nothing happens.
    SlowDown,
    /// A read of a whole object brings all but its last byte; one of a range fails, for the door counts.
    Truncated,
    /// A read of a whole object brings a byte too many; one of a range fails, for the door counts.
    Longer,
    /// A read of a range brings as many bytes from elsewhere.
    WrongRange,
    /// A read brings one bit the other way round.
    FlippedBit,
}

/// A store that fails.
#[derive(Debug, Clone)]
pub struct Faulty {
    inside: Arc<dyn Objects>,
    state: Arc<Mutex<State>>,
    watch: Arc<Mutex<Option<Watch>>>,
}

/// What a test does at each call, on the thread that makes it: it is told the object and what is done to it.
#[derive(Clone)]
struct Watch(Arc<dyn Fn(&str, &str) + Send + Sync>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// What is planned, and what is on its way.
#[derive(Debug, Default)]
struct State {
    /// Calls so far.
    calls: u64,
    planned: Vec<Planned>,
    chance: Option<Chance>,
    late: Vec<Late>,
}

/// Calls that will fail, and how.
#[derive(Debug)]
struct Planned {
    calls: Range<u64>,
    fault: Fault,
}

/// Faults by seed.
#[derive(Debug)]
struct Chance {
    random: u64,
    per_mille: u64,
}

/// A write that was given up and still lands.
#[derive(Debug)]
struct Late {
    /// The call before which it lands.
    call: u64,
    name: ObjectName,
    write: Write,
}

/// A call that changes the store.
#[derive(Debug, Clone)]
enum Write {
    Create(Bytes),
    Put(Bytes),
    Delete,
}

impl Faulty {
    /// The store `inside`, without faults yet.
    pub fn new(inside: Arc<dyn Objects>) -> Self {
        Self { inside, state: Arc::default(), watch: Arc::default() }
    }

    /// The store `inside`, of whose calls `per_mille` in a thousand fail as `seed` decides.
    pub fn seeded(inside: Arc<dyn Objects>, seed: u64, per_mille: u64) -> Self {
        let faulty = Self::new(inside);
        faulty.state.lock().chance = Some(Chance { random: seed, per_mille });
        faulty
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Lets the `call`-th call from now (the next one is 1) fail.
    pub fn fail_call(&self, call: u64, fault: Fault) {
        self.fail_calls(call, 1, fault);
    }

    /// Lets `count` calls fail, from the `call`-th from now on: a storm.
    pub fn fail_calls(&self, call: u64, count: u64, fault: Fault) {
        assert!(call > 0, "the next call is call 1");
        let mut state = self.state.lock();
        let first = state.calls + call;
        state.planned.push(Planned { calls: first..first.saturating_add(count), fault });
    }

    /// Calls `watch` before each call, with the name of the object or folder and what is done to it. It may use the
    /// store, wait, or panic.
    pub fn watch(&self, watch: impl Fn(&str, &str) + Send + Sync + 'static) {
        *self.watch.lock() = Some(Watch(Arc::new(watch)));
    }

    /// No call fails from now on, and none is watched. What is on its way still lands.
    pub fn heal(&self) {
        *self.watch.lock() = None;
        let mut state = self.state.lock();
        state.planned.clear();
        state.chance = None;
    }

    /// Lands everything that is still on its way.
    pub fn land(&self) {
        self.land_before(u64::MAX);
    }

    fn land_before(&self, call: u64) {
        let mut state = self.state.lock();
        let (due, later) = std::mem::take(&mut state.late).into_iter().partition(|late: &Late| late.call <= call);
        state.late = later;
        for Late { name, write, .. } in due {
            // Whoever sent it is not there any more to hear of an error.
            let _ = write.land(self.inside.as_ref(), &name);
        }
    }

    /// Counts a call; the fault that is planned for it, if any.
    fn enter(&self, name: &str, doing: &str) -> Option<Fault> {
        let watch = self.watch.lock().clone();
        if let Some(Watch(watch)) = watch {
            watch(name, doing);
        }
        let (call, fault) = {
            let mut state = self.state.lock();
            state.calls += 1;
            let call = state.calls;
            let planned =
                state.planned.iter().find(|planned| planned.calls.contains(&call)).map(|planned| planned.fault);
            let chance = state.chance.as_mut().and_then(Chance::fault);
            (call, planned.or(chance))
        };
        self.land_before(call);
        fault
    }

    /// Makes a call that changes the store.
    fn write(&self, name: &ObjectName, doing: &str, write: Write) -> Result<Creation> {
        let Some(fault) = self.enter(name.as_str(), doing) else { return write.land(self.inside.as_ref(), name) };
        match fault {
            Fault::After => {
                write.land(self.inside.as_ref(), name)?;
            }
            Fault::Later { calls } => {
                let mut state = self.state.lock();
                let call = state.calls + calls.max(1);
                state.late.push(Late { call, name: name.clone(), write });
            }
            Fault::Conflict | Fault::Mismatch if matches!(write, Write::Create(_)) => return Ok(Creation::Found),
            Fault::Truncated | Fault::Longer | Fault::WrongRange | Fault::FlippedBit => {
                return write.land(self.inside.as_ref(), name);
            }
            _ => {}
        }
        Err(fault.error(name.as_str(), doing))
    }

    /// Enters a call that reads; the fault of its body, if it has one.
    fn read(&self, name: &str, doing: &str) -> Result<Option<Fault>> {
        match self.enter(name, doing) {
            Some(fault) if !fault.is_of_body() => Err(fault.error(name, doing)),
            fault => Ok(fault),
        }
    }
}

impl Write {
    /// Changes the store.
    fn land(self, inside: &dyn Objects, name: &ObjectName) -> Result<Creation> {
        match self {
            Write::Create(bytes) => inside.put_new(name, bytes),
            Write::Put(bytes) => inside.put(name, bytes).map(|()| Creation::Created),
            Write::Delete => inside.delete(name).map(|()| Creation::Created),
        }
    }
}

impl Fault {
    /// The error of a call that fails so.
    fn error(self, name: &str, doing: &str) -> Error {
        let why = match self {
            Fault::Before => "connection refused",
            Fault::After => "the connection broke before the reply",
            Fault::Later { .. } => "no answer in time",
            Fault::Conflict => "status 409: conflict",
            Fault::Mismatch => "status 412: precondition failed",
            Fault::TooMany => "status 429: too many requests",
            Fault::SlowDown => "status 503: slow down",
            Fault::Truncated | Fault::Longer | Fault::WrongRange | Fault::FlippedBit => "the body is not whole",
        };
        let shown = if name.is_empty() { "all objects" } else { name };
        Error::new(Kind::Unavailable, format!("could not {doing} {shown}: {why} (simulated)"))
    }

    fn is_of_body(self) -> bool {
        matches!(self, Fault::Truncated | Fault::Longer | Fault::WrongRange | Fault::FlippedBit)
    }
}

impl Chance {
    /// The fault of the next call, if it has one.
    fn fault(&mut self) -> Option<Fault> {
        if self.below(1000) >= self.per_mille {
            return None;
        }
        Some(match self.below(11) {
            0 => Fault::Before,
            1 => Fault::After,
            2 => Fault::Later { calls: 1 + self.below(LATE_CALLS_MAX) },
            3 => Fault::Conflict,
            4 => Fault::Mismatch,
            5 => Fault::TooMany,
            6 => Fault::SlowDown,
            7 => Fault::Truncated,
            8 => Fault::Longer,
            9 => Fault::WrongRange,
            _ => Fault::FlippedBit,
        })
    }

    /// A number below `end`, by SplitMix64.
    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

impl Objects for Faulty {
    fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Creation> {
        self.write(name, "create", Write::Create(bytes))
    }

    fn put(&self, name: &ObjectName, bytes: Bytes) -> Result<()> {
        self.write(name, "write", Write::Put(bytes)).map(|_| ())
    }

    fn get(&self, name: &ObjectName) -> Result<Option<Bytes>> {
        let fault = self.read(name.as_str(), "read")?;
        let Some(bytes) = self.inside.get(name)? else { return Ok(None) };
        let mut changed = bytes.to_vec();
        match fault {
            Some(Fault::Truncated) => changed.truncate(bytes.len().saturating_sub(1)),
            Some(Fault::Longer) => changed.push(0),
            Some(Fault::FlippedBit) => flip(&mut changed),
            _ => return Ok(Some(bytes)),
        }
        Ok(Some(changed.into()))
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Option<Bytes>> {
        let fault = self.read(name.as_str(), "read")?;
        let Some(bytes) = self.inside.get_range(name, range.clone())? else { return Ok(None) };
        match fault {
            Some(Fault::Truncated | Fault::Longer) => {
                Err(damaged(name, "a read brought more or less than was asked for"))
            }
            Some(Fault::WrongRange) => {
                // The nearest range of as many bytes, if there is another.
                let before = range.start.checked_sub(1).map(|start| start..range.end - 1);
                let other = self.inside.get_range(name, before.unwrap_or(range.start + 1..range.end + 1));
                Ok(Some(other.ok().flatten().unwrap_or(bytes)))
            }
            Some(Fault::FlippedBit) => {
                let mut changed = bytes.to_vec();
                flip(&mut changed);
                Ok(Some(changed.into()))
            }
            _ => Ok(Some(bytes)),
        }
    }

    fn length(&self, name: &ObjectName) -> Result<Option<u64>> {
        self.read(name.as_str(), "look at")?;
        self.inside.length(name)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        match self.read(folder, "list")? {
            // A list that is not whole is no list.
            Some(fault) => Err(fault.error(folder, "list")),
            None => self.inside.list(folder),
        }
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.write(name, "delete", Write::Delete).map(|_| ())
    }
}

/// Flips one bit in the middle.
fn flip(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1 << (middle % 8);
    }
}
