//! Roots: what a database in a bucket consists of. The newest root of the newest epoch is the database; what it does not name
//! is nothing.
//!
//! A root is small. What it says of each table lies in a list of its own, which is written again only if the table changed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use super::frame::{self, Magic};
use super::lineage::Lineage;
use super::names;
use crate::error::{Error, Kind, Result};
use crate::manifest::{ManifestState, TableManifest};
use crate::objects::{ObjectName, Objects, damaged};
use crate::time::Micros;

const MAGIC: Magic = *b"FIRNROOT";
const LIST_MAGIC: Magic = *b"FIRNLIST";

/// A root.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Root {
    pub(super) database: u64,
    pub(super) epoch: u64,
    pub(super) number: u64,
    /// The nonce of the epoch's claim.
    pub(super) nonce: String,
    /// All epochs up to this one.
    pub(super) lineage: Lineage,
    /// The first object of this epoch's log that is needed.
    pub(super) replay: u64,
    /// A node that restores from here gives no ingest time at or below it.
    pub(super) ceiling: Micros,
    /// The manifest, without its tables.
    pub(super) manifest: ManifestState,
    /// The list of each table.
    pub(super) lists: BTreeMap<u32, ListEntry>,
    /// The checkpoints.
    #[serde(default)]
    pub(super) checkpoints: Vec<Checkpoint>,
    /// Objects that no root names any more, and that are there for those who read by an older one.
    pub(super) condemned: Vec<Condemned>,
}

/// Where the list of a table is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListEntry {
    /// The epoch and number of the root that was the first to name it.
    pub(super) epoch: u64,
    pub(super) number: u64,
    /// The checksum of what it says.
    pub(super) checksum: u64,
}

/// An object that waits to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Condemned {
    pub(super) name: String,
    /// When a root ceased to name it, µs.
    pub(super) at: Micros,
}

impl Root {
    /// The manifest, with its tables.
    pub(super) fn state(&self, objects: &dyn Objects) -> Result<ManifestState> {
        let mut state = self.manifest.clone();
        for (&table, entry) in &self.lists {
            state.tables.insert(table, read_list(objects, table, entry)?);
        }
        Ok(state)
    }
}

/// The names of all objects that a root of `lineage` needs beside the log: its `lists`, and the files of its manifest.
pub(super) fn names(
    lineage: &Lineage,
    lists: &BTreeMap<u32, ListEntry>,
    manifest: &ManifestState,
) -> BTreeSet<ObjectName> {
    let files = manifest.files_in_bucket().into_iter().map(|file| names::data(lineage, file));
    let ice = manifest.ice().map(|(table, ice)| names::in_ice(table, &ice.file_name()));
    let lists = lists.iter().map(|(&table, entry)| names::list(entry.epoch, entry.number, table));
    files.chain(ice).chain(lists).collect()
}

/// The bytes of `root`.
pub(super) fn encode(root: &Root) -> Bytes {
    frame::encode(MAGIC, root, &[])
}

/// The newest root of the epochs before `epoch`, if there is one.
pub(super) fn newest_before(objects: &dyn Objects, epoch: u64) -> Result<Option<Root>> {
    let mut missing = None;
    loop {
        let roots = objects.list(names::ROOTS)?;
        let numbers = roots.iter().filter_map(|listed| names::root_of(&listed.name));
        let Some((epoch, number)) = numbers.filter(|(of, _)| *of < epoch).max() else { return Ok(None) };
        let name = names::root(epoch, number);
        if missing.as_ref() == Some(&name) {
            return Err(gone(&name));
        }
        let Some(bytes) = objects.get(&name)? else {
            // A newer one may just have replaced it.
            missing = Some(name);
            continue;
        };
        let (root, _): (Root, _) = frame::decode(&name, MAGIC, &bytes)?;
        return match (root.epoch, root.number) == (epoch, number) {
            true => Ok(Some(root)),
            false => Err(damaged(&name, "it is the root of another name")),
        };
    }
}

/// The checksum of what a list says.
pub(super) fn checksum(list: &TableManifest) -> u64 {
    crate::checksum::checksum64(&serde_json::to_vec(list).expect("a list is plain data"))
}

/// Writes what `list` says of `table`.
pub(super) fn write_list(objects: &dyn Objects, table: u32, entry: &ListEntry, list: &TableManifest) -> Result<()> {
    objects.put(&names::list(entry.epoch, entry.number, table), frame::encode(LIST_MAGIC, list, &[]))
}

fn read_list(objects: &dyn Objects, table: u32, entry: &ListEntry) -> Result<TableManifest> {
    let name = names::list(entry.epoch, entry.number, table);
    let bytes = objects.get(&name)?.ok_or_else(|| gone(&name))?;
    let (list, _): (TableManifest, _) = frame::decode(&name, LIST_MAGIC, &bytes)?;
    match checksum(&list) == entry.checksum {
        true => Ok(list),
        false => Err(damaged(&name, "it is not what the root says")),
    }
}

/// The error for an object that a root names and that is not there.
pub(super) fn gone(name: &ObjectName) -> Error {
    Error::new(Kind::Corrupt, format!("object {name} is missing, and the newest root needs it"))
}
