//! The gate before the bucket of a schedule: every call of every process waits here until the schedule lets it through.
//!
//! A call lands, fails before or after it landed, or fails and lands later. Ranges of ice are read without a gate: they are never
//! written twice, and reads take as many as they like at once. What the bucket then does is [`Liar`]'s to say.

use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use firn_storage::error::{Error, Kind, Result};
use firn_storage::objects::{Creation, Listed, ObjectName, Objects};

use super::bucket::Bucket;
use super::call::{Call, Doing, Verdict, Write};
use super::lie::Liar;

/// The bucket as a process sees it.
#[derive(Debug)]
pub struct Gate {
    bucket: Bucket,
    process: usize,
}

/// The thread of the engine that sends the log.
const SENDER: &str = "firn-upload";
/// The thread of the engine that follows.
const FOLLOWER: &str = "firn-follow";

/// The error of a call that fails as a schedule says.
fn simulated(call: &Call, why: &str) -> Error {
    Error::new(Kind::Unavailable, format!("could not {:?} {}: {why} (simulated)", call.doing, call.name))
}

impl Gate {
    /// The door of a new process to `bucket`, and its number.
    pub fn new(bucket: &Bucket, name: &str) -> (usize, Self) {
        let process = bucket.process(name);
        (process, Self { bucket: bucket.clone(), process })
    }

    /// Waits for the verdict on `call`.
    fn pass(&self, call: &Call) -> Result<Verdict> {
        let thread = std::thread::current();
        let (is_sender, follows) = (thread.name() == Some(SENDER), thread.name() == Some(FOLLOWER));
        let mut state = self.bucket.lock();
        // It begins while the command that started it still runs.
        while follows && state.processes[self.process].runs {
            self.bucket.wait(&mut state);
        }
        let gone = || Err(simulated(call, "the process is gone"));
        state.liar.arrive(self.process, call);
        let this = &mut state.processes[self.process];
        if !this.alive {
            return gone();
        }
        assert!(this.waits.is_none(), "{call:?} and {:?} at once: there is no one order", this.waits);
        this.waits = Some(call.clone());
        if is_sender && this.sender.is_none() {
            let thread = std::fs::read_link("/proc/thread-self");
            this.sender = thread.ok().map(|thread| PathBuf::from("/proc").join(thread).join("stat"));
        }
        self.bucket.tell();
        loop {
            let this = &mut state.processes[self.process];
            if let Some(verdict) = this.verdict.take() {
                this.sender_failed |= is_sender && verdict != Verdict::Land;
                self.bucket.tell();
                return Ok(verdict);
            }
            if !this.alive {
                return gone();
            }
            self.bucket.wait(&mut state);
        }
    }

    fn write(&self, doing: Doing, name: &ObjectName, write: Write) -> Result<Creation> {
        let call = Call { doing, name: name.to_string() };
        let verdict = self.pass(&call)?;
        let mut state = self.bucket.lock();
        match verdict {
            Verdict::Land => match state.liar.holds_back(self.process, &call) {
                Some(calls) => {
                    state.hold(self.process, name, write, calls, true);
                    Ok(Creation::Created)
                }
                None => {
                    let creation = state.write(self.process, name, write);
                    // What was found may be gone when it is looked at, and then the sender rests.
                    let found = creation == Creation::Found && std::thread::current().name() == Some(SENDER);
                    state.processes[self.process].sender_failed |= found;
                    self.bucket.tell();
                    Ok(creation)
                }
            },
            Verdict::Before => Err(simulated(&call, "nothing happened")),
            Verdict::After => {
                state.write(self.process, name, write);
                Err(simulated(&call, "the reply was lost"))
            }
            Verdict::Later(calls) => {
                state.hold(self.process, name, write, calls, false);
                Err(simulated(&call, "no answer in time"))
            }
            Verdict::Conflict => Ok(Creation::Found),
        }
    }

    fn read<T>(&self, doing: Doing, name: &str, read: impl FnOnce(&mut Liar) -> T) -> Result<T> {
        let call = Call { doing, name: name.to_owned() };
        match self.pass(&call)? {
            Verdict::Land => Ok(read(&mut self.bucket.lock().liar)),
            _ => Err(simulated(&call, "no answer")),
        }
    }
}

impl Objects for Gate {
    fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Creation> {
        self.write(Doing::Create, name, Write::Create(bytes))
    }

    fn put(&self, name: &ObjectName, bytes: Bytes) -> Result<()> {
        self.write(Doing::Put, name, Write::Put(bytes)).map(drop)
    }

    fn get(&self, name: &ObjectName) -> Result<Option<Bytes>> {
        self.read(Doing::Get, name.as_str(), |liar| liar.get(self.process, name))
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Option<Bytes>> {
        if name.as_str().starts_with("ice/") {
            let memory = self.bucket.lock().liar.memory.clone();
            return memory.get_range(name, range);
        }
        self.read(Doing::Get, name.as_str(), |liar| liar.memory.get_range(name, range))?
    }

    fn length(&self, name: &ObjectName) -> Result<Option<u64>> {
        self.read(Doing::Length, name.as_str(), |liar| liar.memory.length(name))?
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        self.read(Doing::List, folder, |liar| liar.list(folder))
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.write(Doing::Delete, name, Write::Delete).map(drop)
    }
}
