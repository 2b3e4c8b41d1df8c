//! The Delta log of each table's ice: after each root that changed it, a commit that says which files there are.
//!
//! The log is an export, made to agree with the root that is there: what it lacks is added and what is gone is removed, by whoever
//! publishes next, whatever an earlier process left undone. Versions are created and never written again, so that two writers
//! cannot both say one; who lost looks at what is there and goes on from it. Nothing of FirnDB reads it.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use firn_ice::delta::{State, commit_name, version_of};

use super::published::Logs;
use super::{Home, Inhabitant, names};
use crate::error::{Error, Kind, Result};
use crate::lake::Lake;
use crate::manifest::ManifestState;
use crate::objects::{Creation, ObjectName, Objects, damaged};

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
                Entry::Vacant(vacant) => vacant.insert(read(self.objects(), table)?),
            };
            let refused = |error: firn_ice::Error| Error::new(Kind::Unsupported, error.to_string());
            let Some(commit) = log.commit(&lake.table, &lake.files).map_err(refused)? else { return Ok(()) };
            let name = names::in_ice(table, &commit_name(log.version));
            if self.objects().put_new(&name, Bytes::from(commit.clone()))? == Creation::Created {
                let version = log.version;
                return log.apply(version, &commit).map_err(|error| damaged(&name, error));
            }
            // Another's version, or our own whose reply was lost.
            logs.remove(&table);
        }
        Err(Error::new(Kind::Unavailable, format!("the Delta log of table {table} is written by somebody else too")))
    }
}

/// What the log of `table` says.
fn read(objects: &dyn Objects, table: u32) -> Result<State> {
    let folder = names::in_ice(table, firn_ice::delta::LOG);
    let listed = objects.list(folder.as_str())?;
    let mut versions: Vec<(u64, ObjectName)> =
        listed.into_iter().filter_map(|listed| Some((version_of(listed.name.as_str())?, listed.name))).collect();
    versions.sort_unstable();
    let mut state = State::default();
    for (version, name) in versions {
        let bytes = objects.get(&name)?.ok_or_else(|| damaged(&name, "it was listed and is not there"))?;
        state.apply(version, &bytes).map_err(|error| damaged(&name, error))?;
    }
    Ok(state)
}
