//! The bucket of a schedule, with the processes that call it: who waits, who runs, what is on its way.
//!
//! One thread runs at a time, so that the order of all calls is the schedule's. A process that was killed gets no answer to any
//! call from then on, and what it had under way has landed or never will.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use firn_storage::objects::memory::Memory;
use firn_storage::objects::{Creation, ObjectName};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::call::{Call, Verdict, Write};
use super::lie::{Liar, Lie};

/// A write that is on its way.
#[derive(Debug)]
struct Late {
    call: u64,
    process: usize,
    name: ObjectName,
    write: Write,
    /// Whether it never lands if its process is killed first.
    dies: bool,
}

/// A process: one opening of a database.
#[derive(Debug)]
pub struct Process {
    pub alive: bool,
    /// Whether a command of the schedule runs.
    pub runs: bool,
    /// Whether it calls again and again by itself.
    polls: bool,
    pub waits: Option<Call>,
    pub verdict: Option<Verdict>,
    /// The thread that sends the log: where the system says what it does, and whether its last call failed.
    pub sender: Option<PathBuf>,
    pub sender_failed: bool,
}

pub struct State {
    pub processes: Vec<Process>,
    names: Vec<String>,
    pub liar: Liar,
    late: Vec<Late>,
    calls: u64,
    /// Who claimed which epoch.
    claims: BTreeMap<u64, usize>,
    trace: Vec<String>,
}

/// The bucket as the schedule holds it. Clones share one.
#[derive(Clone)]
pub struct Bucket(Arc<(Mutex<State>, Condvar)>);

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bucket")
    }
}

/// A write that nothing came of for so long is sent again.
const LOST: Duration = Duration::from_millis(500);
/// A schedule in which nothing moves for so long hangs.
const HANGS: Duration = Duration::from_secs(60);

impl Bucket {
    /// The bucket `memory`, which tells `lie`.
    pub fn new(memory: Memory, lie: Option<Lie>) -> Self {
        let state = State {
            processes: Vec::new(),
            names: Vec::new(),
            liar: Liar::new(memory, lie),
            late: Vec::new(),
            calls: 0,
            claims: BTreeMap::new(),
            trace: Vec::new(),
        };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock()
    }

    /// Waits until something changed.
    pub fn wait(&self, state: &mut MutexGuard<'_, State>) {
        self.0.1.wait(state);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.0.1.notify_all();
    }

    /// A new process.
    pub fn process(&self, name: &str) -> usize {
        let mut state = self.lock();
        let process = state.processes.len();
        state.processes.push(Process {
            alive: true,
            runs: false,
            polls: false,
            waits: None,
            verdict: None,
            sender: None,
            sender_failed: false,
        });
        state.names.push(name.to_owned());
        state.liar.process();
        process
    }

    /// A copy of what the bucket holds.
    pub fn copy(&self) -> Memory {
        self.lock().liar.memory.copy()
    }

    /// Who claimed `epoch`.
    pub fn claimant(&self, epoch: u64) -> Option<usize> {
        self.lock().claims.get(&epoch).copied()
    }

    /// The greatest epoch that was claimed in this schedule.
    pub fn greatest_epoch(&self) -> Option<(u64, usize)> {
        self.lock().claims.last_key_value().map(|(epoch, process)| (*epoch, *process))
    }

    /// The epoch that `process` claimed.
    pub fn epoch_of(&self, process: usize) -> Option<u64> {
        self.lock().claims.iter().rev().find(|(_, by)| **by == process).map(|(epoch, _)| *epoch)
    }

    /// Remembers what the schedule does.
    pub fn note(&self, what: impl Into<String>) {
        self.lock().trace.push(what.into());
    }

    /// What the schedule did so far.
    pub fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }

    /// The calls that were let through so far.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// A command of `process` begins.
    pub fn begin(&self, process: usize) {
        self.change(|state| state.processes[process].runs = true);
    }

    /// The command of `process` has ended; from now on it calls by itself if it `polls`.
    pub fn end(&self, process: usize, polls: bool) {
        self.change(|state| {
            state.processes[process].runs = false;
            state.processes[process].polls = polls;
        });
    }

    /// Whether a command of `process` runs.
    pub fn runs(&self, process: usize) -> bool {
        self.lock().processes[process].runs
    }

    /// The call that waits of `process`.
    pub fn waiting(&self, process: usize) -> Option<Call> {
        self.lock().processes[process].waits.clone()
    }

    /// Waits until every process waits at the gate or has nothing to do; false if that does not come about.
    pub fn settle(&self) -> bool {
        let mut state = self.lock();
        let moves = |process: &Process| process.alive && process.waits.is_none() && (process.runs || process.polls);
        while state.processes.iter().any(moves) {
            if self.0.1.wait_for(&mut state, HANGS).timed_out() {
                return false;
            }
        }
        true
    }

    /// Lets the call of `process` that waits have its `verdict`.
    pub fn grant(&self, process: usize, verdict: Verdict) {
        self.change(|state| {
            state.calls += 1;
            let now = state.calls;
            state.land(|late| late.call <= now);
            state.grant(process, verdict);
        });
    }

    /// Ends `process` where it is. If its call `lands`, it does so, without an answer.
    pub fn kill(&self, process: usize, lands: bool) {
        self.change(|state| {
            if lands && state.processes[process].waits.is_some() {
                state.grant(process, Verdict::Land);
            }
            let process_of = |late: &Late| late.process == process && late.dies;
            state.late.retain(|late| !process_of(late));
            let killed = &mut state.processes[process];
            (killed.alive, killed.polls, killed.waits) = (false, false, None);
        });
    }

    /// Lands everything that is on its way.
    pub fn land(&self) {
        self.change(|state| state.land(|_| true));
    }

    /// Waits until `answer` gives something, or the process was killed, or the thread that sends the log rests although its last
    /// call failed: then `again` makes it try again.
    pub fn wait_for<T>(&self, process: usize, mut answer: impl FnMut() -> Option<T>, again: impl Fn()) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(answer) = answer() {
                return Some(answer);
            }
            let this = &mut state.processes[process];
            if !this.alive {
                return None;
            }
            let between = this.sender_failed && this.waits.is_none() && this.verdict.is_none();
            if between && rests(this.sender.as_ref()) {
                this.sender_failed = false;
                MutexGuard::unlocked(&mut state, &again);
                continue;
            }
            let wait = if this.sender_failed { POLL } else { LOST };
            if self.0.1.wait_for(&mut state, wait).timed_out() {
                // Whatever made it give up, it is asked again.
                state.processes[process].sender_failed = true;
            }
        }
    }

    /// Tells all who wait that something changed.
    pub fn tell(&self) {
        self.0.1.notify_all();
    }

    /// Waits until the thread of `process` that sends the log rests.
    pub fn rest(&self, process: usize) {
        let sender = self.lock().processes[process].sender.clone();
        for _ in 0..2 {
            std::thread::sleep(POLL);
            while !rests(sender.as_ref()) {
                std::thread::sleep(POLL);
            }
        }
    }
}

/// How long a look at a thread is from the next.
const POLL: Duration = Duration::from_micros(40);

/// Whether the thread `thread` waits for something; one that is not known has had time enough to.
fn rests(thread: Option<&PathBuf>) -> bool {
    let Some(Ok(text)) = thread.map(std::fs::read_to_string) else {
        std::thread::sleep(10 * POLL);
        return true;
    };
    text.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('S'))
}

impl State {
    fn grant(&mut self, process: usize, verdict: Verdict) {
        let call = self.processes[process].waits.take().expect("it waits");
        let told = if verdict == Verdict::Land { String::new() } else { format!(" {verdict:?}") };
        self.trace.push(format!("{}: {:?} {}{told}", self.names[process], call.doing, call.name));
        self.processes[process].verdict = Some(verdict);
    }

    fn land(&mut self, due: impl Fn(&Late) -> bool) {
        let (now, later) = std::mem::take(&mut self.late).into_iter().partition(|late| due(late));
        self.late = later;
        for Late { process, name, write, .. } in now {
            self.trace.push(format!("{}: {name} lands late", self.names[process]));
            self.write(process, &name, write);
        }
    }

    pub fn hold(&mut self, process: usize, name: &ObjectName, write: Write, calls: u64, dies: bool) {
        let call = self.calls + calls.max(1);
        self.late.push(Late { call, process, name: name.clone(), write, dies });
    }

    pub fn write(&mut self, process: usize, name: &ObjectName, write: Write) -> Creation {
        let creation = self.liar.write(process, name, write);
        let epoch = name.as_str().strip_prefix("epochs/").and_then(|epoch| epoch.parse().ok());
        if let (Some(epoch), Creation::Created) = (epoch, creation) {
            self.claims.insert(epoch, process);
        }
        creation
    }
}
