//! Lies of a bucket. To a writer each is as if one rule of the protocol were not there: what it looked for is not shown, what it
//! was told is not so yet. So a schedule of the real code shows what each rule is for, and that its invariants can break.

use std::collections::BTreeMap;

use bytes::Bytes;
use firn_storage::objects::memory::Memory;
use firn_storage::objects::{Creation, Listed, ObjectName, Objects};

use super::call::{Call, Doing, Write};

/// A lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Who wrote to the log does not see that the next epoch was claimed: it does not look.
    NoLookAfterLog,
    /// Who wrote to the log sees of the next epoch what was there before it wrote: it looked too early.
    LookBeforeLog,
    /// Who wrote a later root does not see that the next epoch was claimed: it deletes without a look.
    NoLookBeforeDelete,
    /// Who wrote its first root does not see that the next epoch was claimed: it serves without a look.
    NoLookBeforeServe,
    /// Who follows does not see that the next epoch was claimed: it shows the log without a look.
    NoLookOfFollowers,
    /// An object of the log is there some time after that was answered: a write is acknowledged before it is there.
    AcknowledgedBeforeLog,
    /// A first root is there some time after that was answered: it is served before.
    ServedBeforeRoot,
    /// A later root is there some time after that was answered: what it condemns is deleted before.
    DeletedBeforeRoot,
    /// Every create wins.
    EveryCreateWins,
    /// What a create of a claim replaces stays unseen by who made it first: the claim is not looked at again.
    ClaimsAreShared,
    /// A list of roots lacks those that just came.
    LateListOfRoots,
    /// What was not there stays unseen for a while: answers are cached.
    CachedAbsence,
    /// Of all roots those of the greatest number are listed: the newest is not that of the greatest epoch.
    NewestByNumber,
    /// A claim is listed that nobody made: the next one leaves a number out.
    SkippedEpoch,
}

/// All of them.
pub const LIES: [Lie; 14] = [
    Lie::NoLookAfterLog,
    Lie::LookBeforeLog,
    Lie::NoLookBeforeDelete,
    Lie::NoLookBeforeServe,
    Lie::NoLookOfFollowers,
    Lie::AcknowledgedBeforeLog,
    Lie::ServedBeforeRoot,
    Lie::DeletedBeforeRoot,
    Lie::EveryCreateWins,
    Lie::ClaimsAreShared,
    Lie::LateListOfRoots,
    Lie::CachedAbsence,
    Lie::NewestByNumber,
    Lie::SkippedEpoch,
];

/// Answers are late, or cached, for so many calls that a bucket answers.
const WHILE: u64 = 40;

/// What a process wrote last of what is followed by a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrote {
    Nothing,
    Log,
    FirstRoot,
    LaterRoot,
}

/// What is known of a process.
#[derive(Debug)]
struct Known {
    /// Its epoch, or the one that it follows.
    epoch: u64,
    /// Whether it follows.
    follows: bool,
    /// The claim that it tried last.
    tried: Option<(String, Bytes)>,
    wrote: Wrote,
    /// Whether the next epoch was claimed when it was about to write to the log.
    seen: Option<Bytes>,
}

/// The bucket, with what it lies about.
#[derive(Debug)]
pub struct Liar {
    pub memory: Memory,
    lie: Option<Lie>,
    processes: Vec<Known>,
    /// Answers so far.
    answers: u64,
    /// When each object came.
    came: BTreeMap<ObjectName, u64>,
    /// When it was last answered that each is not there, by process.
    absent: BTreeMap<(usize, String), u64>,
}

/// The numbers in `manifest/EPOCH-NUMBER`.
fn root_of(name: &str) -> Option<(u64, u64)> {
    let (epoch, number) = name.strip_prefix("manifest/")?.split_once('-')?;
    Some((epoch.parse().ok()?, number.parse().ok()?))
}

/// The number in `epochs/EPOCH`.
fn epoch_of(name: &str) -> Option<u64> {
    name.strip_prefix("epochs/")?.parse().ok()
}

impl Liar {
    /// `memory`, which tells `lie`.
    pub fn new(memory: Memory, lie: Option<Lie>) -> Self {
        let (processes, came, absent) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { memory, lie, processes, answers: 0, came, absent }
    }

    /// There is one more process.
    pub fn process(&mut self) {
        self.processes.push(Known { epoch: 0, follows: true, tried: None, wrote: Wrote::Nothing, seen: None });
    }

    fn tells(&self, lie: Lie) -> bool {
        self.lie == Some(lie)
    }

    fn there(&self, epoch: u64) -> Option<Bytes> {
        let name = ObjectName::new(format!("epochs/{epoch:010}")).expect("a name");
        self.memory.get(&name).expect("memory answers")
    }

    /// `process` is about to make `call`.
    pub fn arrive(&mut self, process: usize, call: &Call) {
        if call.doing == Doing::Create && call.name.starts_with("wal/") {
            self.processes[process].seen = self.there(self.processes[process].epoch + 1);
        }
    }

    /// How many calls later `call` of `process` lands although it is answered now, if it does.
    pub fn holds_back(&mut self, process: usize, call: &Call) -> Option<u64> {
        let held = match root_of(&call.name) {
            Some((_, 1)) => Lie::ServedBeforeRoot,
            Some(_) => Lie::DeletedBeforeRoot,
            None if call.name.starts_with("wal/") => Lie::AcknowledgedBeforeLog,
            None => return None,
        };
        if call.doing != Doing::Create || !self.tells(held) {
            return None;
        }
        self.wrote(process, &call.name);
        Some(WHILE)
    }

    fn wrote(&mut self, process: usize, name: &str) {
        let wrote = match root_of(name) {
            Some((_, 1)) => Wrote::FirstRoot,
            Some(_) => Wrote::LaterRoot,
            None if name.starts_with("wal/") => Wrote::Log,
            None => return,
        };
        self.processes[process].wrote = wrote;
    }

    /// Writes.
    pub fn write(&mut self, process: usize, name: &ObjectName, write: Write) -> Creation {
        self.answers += 1;
        let text = name.as_str();
        let wins = self.tells(Lie::EveryCreateWins);
        let creation = match write {
            Write::Create(bytes) => {
                if epoch_of(text).is_some() {
                    self.processes[process].tried = Some((text.to_owned(), bytes.clone()));
                }
                if wins {
                    self.memory.put(name, bytes).map(|()| Creation::Created)
                } else {
                    self.memory.put_new(name, bytes)
                }
            }
            Write::Put(bytes) => self.memory.put(name, bytes).map(|()| Creation::Created),
            Write::Delete => return self.memory.delete(name).map(|()| Creation::Created).expect("memory answers"),
        };
        let creation = creation.expect("memory answers");
        if creation == Creation::Created {
            self.came.insert(name.clone(), self.answers);
        }
        self.wrote(process, text);
        creation
    }

    /// Reads `name`.
    pub fn get(&mut self, process: usize, name: &ObjectName) -> Option<Bytes> {
        self.answers += 1;
        let there = self.memory.get(name).expect("memory answers");
        let text = name.as_str().to_owned();
        let tried = self.processes[process].tried.clone().filter(|(tried, _)| *tried == text);
        let there = match tried {
            Some((_, tried)) if self.tells(Lie::ClaimsAreShared) => Some(tried),
            _ => there,
        };
        let known = &mut self.processes[process];
        match (epoch_of(&text), root_of(&text)) {
            (Some(epoch), _) if known.tried.as_ref().is_some_and(|(_, tried)| there.as_ref() == Some(tried)) => {
                (known.epoch, known.follows) = (epoch, false);
            }
            (_, Some((epoch, _))) if known.follows && there.is_some() => known.epoch = epoch,
            _ => {}
        }
        if epoch_of(&text).is_some_and(|epoch| epoch == self.processes[process].epoch + 1) {
            return self.look(process, &text, there);
        }
        there
    }

    /// What `process` is told of the claim of the epoch after its own, `name`.
    fn look(&mut self, process: usize, name: &str, there: Option<Bytes>) -> Option<Bytes> {
        let known = &self.processes[process];
        let wrote = if known.follows { Wrote::Nothing } else { known.wrote };
        match (self.lie, wrote) {
            (Some(Lie::NoLookAfterLog), Wrote::Log) => None,
            (Some(Lie::LookBeforeLog), Wrote::Log) => known.seen.clone(),
            (Some(Lie::NoLookBeforeDelete), Wrote::LaterRoot) => None,
            (Some(Lie::NoLookBeforeServe), Wrote::FirstRoot) => None,
            (Some(Lie::NoLookOfFollowers), _) if known.follows => None,
            (Some(Lie::CachedAbsence), _) => {
                let key = (process, name.to_owned());
                if self.absent.get(&key).is_some_and(|at| self.answers - at < WHILE) {
                    return None;
                }
                if there.is_none() {
                    self.absent.insert(key, self.answers);
                }
                there
            }
            _ => there,
        }
    }

    /// Lists `folder`.
    pub fn list(&mut self, folder: &str) -> Vec<Listed> {
        self.answers += 1;
        let mut listed = self.memory.list(folder).expect("memory answers");
        match (self.lie, folder) {
            (Some(Lie::LateListOfRoots), "manifest") => {
                let old = |name: &ObjectName| self.came.get(name).is_none_or(|at| self.answers - at >= WHILE);
                listed.retain(|listed| old(&listed.name));
            }
            (Some(Lie::NewestByNumber), "manifest") => {
                let number = |listed: &Listed| root_of(listed.name.as_str()).map(|(_, number)| number);
                let greatest = listed.iter().filter_map(number).max();
                listed.retain(|listed| number(listed) == greatest);
            }
            (Some(Lie::SkippedEpoch), "epochs") => {
                let last = listed.iter().filter_map(|listed| epoch_of(listed.name.as_str())).max().unwrap_or(0);
                let name = ObjectName::new(format!("epochs/{:010}", last + 1)).expect("a name");
                listed.push(Listed { name, length: 1 });
            }
            _ => {}
        }
        listed
    }
}
