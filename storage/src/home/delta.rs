//! The Delta log of each table's ice: after each root that changed it, a commit that says which files there are, and now and then a
//! checkpoint that stands for all commits before.
//!
//! The log is an export, made to agree with the root that is there: what it lacks is added and what is gone is removed, by whoever
//! publishes next, whatever an earlier process left undone. Versions are created and never written again, so that two writers
//! cannot both say one; who lost looks at what is there and goes on from it. What is older than the checkpoint to which the log points is
//! let go, and deleted as everything is that no root names: who reads an older version then has had the age of garbage for it.
//! Nothing of FirnDB reads it.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use firn_ice::delta::{COMMITS, LOG, POINTER, State, checkpoint_name, checkpoint_of, commit_name, pointed, version_of};

use super::published::{Log, Logs};
use super::{Home, Inhabitant, names};
use crate::error::{Error, Kind, Result};
use crate::lake::Lake;
use crate::manifest::ManifestState;
use crate::objects::{Creation, ObjectName, damaged};

/// A version that somebody else wrote meanwhile is looked at so often.
const ATTEMPTS: u32 = 4;

impl Home {
    /// Makes the logs say what `state`, which a root names, consists of. An error leaves them as they were: the next root tries
    /// again.
    pub(super) fn export(&self, logs: &mut Logs, state: &ManifestState, database: &impl Inhabitant) -> Result<()> {
        let frozen: BTreeSet<u32> = state.ice().map(|(table, _)| table).collect();
        let known: BTreeSet<u32> = logs.keys().copied().collect();
        for table in frozen.union(&known) {
            match database.lake(state, *table)? {
                Some(lake) => self.agree(logs, *table, &lake)?,
                None => drop(logs.remove(table)),
            }
        }
        Ok(())
    }

    fn agree(&self, logs: &mut Logs, table: u32, lake: &Lake) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let log = match logs.entry(table) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(vacant) => vacant.insert(self.read_log(table)?),
            };
            let Some(commit) = log.state.commit(&lake.table, &lake.files).map_err(refused)? else {
                return self.keep_short(log, table);
            };
            let version = log.state.version;
            let name = names::in_ice(table, &commit_name(version));
            if self.objects().put_new(&name, Bytes::from(commit.clone()))? == Creation::Created {
                log.state.apply(version, &commit).map_err(|error| damaged(&name, error))?;
                return self.keep_short(log, table);
            }
            // Another's version, or our own whose reply was lost.
            logs.remove(&table);
        }
        Err(Error::new(Kind::Unavailable, format!("the Delta log of table {table} is written by somebody else too")))
    }

    /// Writes a checkpoint of `log` if one is due, points readers to it, and lets go what is older.
    fn keep_short(&self, log: &mut Log, table: u32) -> Result<()> {
        let last = log.state.version.saturating_sub(1);
        if last < log.due {
            return Ok(());
        }
        let checkpoint = log.state.checkpoint().map_err(refused)?;
        let (name, bytes) = (names::in_ice(table, &checkpoint_name(last)), Bytes::from(checkpoint.bytes));
        let is_there = self.objects().put_new(&name, bytes.clone())? == Creation::Created || {
            let there = self.objects().get(&name)?;
            there.is_some_and(|there| State::of_checkpoint(last, &there).is_ok_and(|there| there == log.state))
        };
        if !is_there {
            // A conflict without a cause, or damage.
            self.objects().put(&name, bytes)?;
        }
        self.objects().put(&pointer(table), Bytes::from(checkpoint.pointer))?;
        self.let_go_before(last, &self.in_log(table)?);
        log.due = last + COMMITS;
        Ok(())
    }

    /// What the log of `table` says: its newest checkpoint that is whole, and the commits since. One of which something is lost says
    /// nothing; it goes on after its last version with all that there is, and a checkpoint, before which nobody needs to look.
    fn read_log(&self, table: u32) -> Result<Log> {
        let names = self.in_log(table)?;
        let get = |name: &ObjectName| {
            self.objects().get(name)?.ok_or_else(|| damaged(name, "it was listed and is not there"))
        };
        let (mut state, mut newest) = (State::default(), None);
        for (version, name) in names.iter().rev().filter_map(|name| Some((checkpoint_of(name.as_str())?, name))) {
            match State::of_checkpoint(version, &get(name)?) {
                Ok(whole) => {
                    (state, newest) = (whole, Some(version));
                    break;
                }
                Err(error) => tracing::warn!(%name, %error, "a checkpoint of a Delta log is damaged"),
            }
        }
        let mut is_whole = true;
        for (version, name) in names.iter().filter_map(|name| Some((version_of(name.as_str())?, name))) {
            if version >= state.version {
                let bytes = get(name)?;
                is_whole &= version == state.version && state.apply(version, &bytes).is_ok();
                state.version = version + 1;
            }
        }
        let pointer = pointer(table);
        let is_pointed = newest.is_some() && self.objects().get(&pointer)?.and_then(|there| pointed(&there)) == newest;
        let checkpoint = newest.filter(|_| is_pointed);
        if let Some(version) = checkpoint {
            self.let_go_before(version, &names);
        }
        if !is_whole {
            tracing::warn!(table, "something of a Delta log is lost, and it is written anew from where it ends");
            return Ok(Log { state: State::lost(state.version), due: 0 });
        }
        Ok(Log { state, due: checkpoint.unwrap_or_default() + COMMITS })
    }

    /// The objects of the log of `table`, sorted by their versions.
    fn in_log(&self, table: u32) -> Result<Vec<ObjectName>> {
        let listed = self.objects().list(names::in_ice(table, LOG).as_str())?;
        Ok(listed.into_iter().map(|listed| listed.name).collect())
    }

    /// Lets go all of `names` that are older than `version`, to whose checkpoint their log points.
    fn let_go_before(&self, version: u64, names: &[ObjectName]) {
        let of = |name: &ObjectName| version_of(name.as_str()).or_else(|| checkpoint_of(name.as_str()));
        self.let_go(names.iter().filter(|name| of(name).is_some_and(|of| of < version)).cloned());
    }
}

/// What points readers of the log of `table` to its newest checkpoint.
fn pointer(table: u32) -> ObjectName {
    names::in_ice(table, &format!("{LOG}/{POINTER}"))
}

/// The error for what no Delta log can say.
fn refused(error: firn_ice::Error) -> Error {
    Error::new(Kind::Unsupported, error.to_string())
}
