//! The schema through time: every version that was, so that a request may pin one.

mod file;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::io::Files;
use crate::model::catalog::{Catalog, Entity, Table, shared_list};
use crate::model::types::can_widen;
use crate::time::Sequence;

pub use file::{VersionFile, file_name};
pub(crate) use file::{is_heavy, put_aside};

/// What one schema version changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionEntry {
    /// The schema version.
    pub schema_version: u64,
    /// The commit that made it.
    pub sequence: Sequence,
    /// The next number for an entity or a table.
    pub next_id: u32,
    /// Entities that are new or changed.
    #[serde(with = "shared_list")]
    pub entities: Vec<Arc<Entity>>,
    /// Tables that are new or changed.
    #[serde(with = "shared_list")]
    pub tables: Vec<Arc<Table>>,
    /// Entities that were dropped.
    pub dropped_entities: Vec<u32>,
    /// Tables that were dropped.
    pub dropped_tables: Vec<u32>,
}

/// All schema versions, oldest first. Version 0 is the empty schema. A clone shares all but the last few of them, so
/// that a change costs as much after many versions as after none.
#[derive(Debug, Clone, Default)]
pub struct Versions {
    /// The newest schema.
    newest: Arc<Catalog>,
    /// The versions from 1 on, [`CHUNK`] in each chunk but the last.
    chunks: Vec<Arc<Vec<Version>>>,
}

/// Versions that are copied at most when one is added.
const CHUNK: usize = 64;

/// One schema version.
#[derive(Debug, Clone)]
struct Version {
    entry: Arc<VersionEntry>,
    catalog: Arc<Catalog>,
}

impl Versions {
    /// Reads what a manifest lists: files of older versions, and the newest. An error about one of the files names it.
    pub fn read(files: &Arc<dyn Files>, listed: &[VersionFile], newest: &[Arc<VersionEntry>]) -> Result<Self> {
        let mut versions = Self::default();
        for file in listed {
            for entry in file.read(files)? {
                versions.apply(entry).map_err(|error| Error::corrupt(&file.name(), 0, &error))?;
            }
        }
        newest.iter().try_for_each(|entry| versions.apply(Arc::clone(entry)))?;
        Ok(versions)
    }

    /// The newest schema.
    pub fn newest(&self) -> &Arc<Catalog> {
        &self.newest
    }

    /// The schema `version`.
    pub fn at(&self, version: u64) -> Result<&Arc<Catalog>> {
        let known = version.checked_sub(1).and_then(|index| self.version(index as usize));
        known.map(|version| &version.catalog).ok_or_else(|| {
            let newest = self.newest().schema_version;
            Error::invalid(format!("schema version {version} does not exist; versions go from 1 to {newest}"))
        })
    }

    /// The newest schema that a commit up to `sequence` made.
    pub fn newest_within(&self, sequence: Sequence) -> Arc<Catalog> {
        let versions = (0..self.newest.schema_version as usize).rev().filter_map(|index| self.version(index));
        let mut within = versions.filter(|version| version.entry.sequence <= sequence);
        within.next().map_or_else(Arc::default, |version| Arc::clone(&version.catalog))
    }

    fn version(&self, index: usize) -> Option<&Version> {
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    /// What changed in each version after `version`.
    pub fn after(&self, version: u64) -> impl Iterator<Item = &Arc<VersionEntry>> {
        (version as usize..).map_while(|index| self.version(index)).map(|version| &version.entry)
    }

    /// Adds a version.
    pub fn apply(&mut self, entry: Arc<VersionEntry>) -> Result<()> {
        let before = &self.newest;
        if entry.schema_version != before.schema_version + 1 {
            let (version, last) = (entry.schema_version, before.schema_version);
            return Err(corrupt(format!("schema version {version} follows version {last}")));
        }
        let mut catalog = Catalog::clone(before);
        catalog.schema_version = entry.schema_version;
        catalog.next_id = entry.next_id;
        entry.dropped_entities.iter().for_each(|&id| catalog.entities.remove(id));
        entry.dropped_tables.iter().for_each(|&id| catalog.tables.remove(id));
        let mut put = true;
        for entity in &entry.entities {
            put &= catalog.entities.put(Arc::clone(entity));
        }
        for table in &entry.tables {
            check_types(before, table)?;
            put &= catalog.tables.put(Arc::clone(table));
        }
        if !put {
            return Err(corrupt(format!("schema version {} gives one name to two", entry.schema_version)));
        }
        let sound = entry.entities.iter().try_for_each(|entity| entity.check());
        let sound = sound.and_then(|()| entry.tables.iter().try_for_each(|table| table.check(&catalog)));
        sound.map_err(|error| corrupt(format!("schema version {} makes no sense: {error}", entry.schema_version)))?;
        let entities: HashSet<u32> = catalog.entities.iter().map(|entity| entity.id).collect();
        if let Some(left) = catalog.tables.iter().find(|table| !entities.contains(&table.entity)) {
            return Err(corrupt(format!("table `{}` has no entity", left.name)));
        }
        let catalog = Arc::new(catalog);
        self.newest = Arc::clone(&catalog);
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Arc::default());
        }
        let last = self.chunks.last_mut().expect("one was pushed if there was none");
        Arc::make_mut(last).push(Version { entry, catalog });
        assert!(self.version(self.newest.schema_version as usize - 1).is_some(), "versions are in their places");
        Ok(())
    }
}

/// Refuses a feature whose cells, stored before, are no values of its type.
fn check_types(before: &Catalog, table: &Table) -> Result<()> {
    let Some(old) = before.table_by_id(table.id) else { return Ok(()) };
    for feature in table.features.iter().chain(&table.retired) {
        let Some(known) = old.feature_by_id(feature.id) else { continue };
        let (from, to) = (&known.data_type, &feature.data_type);
        if known.stored_type() != feature.stored_type() && !can_widen(from, to) {
            return Err(corrupt(format!(
                "feature `{}` of table `{}` becomes {to} and was {from}",
                feature.name, table.name
            )));
        }
    }
    Ok(())
}

/// The caller knows which file it is.
fn corrupt(what: String) -> Error {
    Error::new(Kind::Corrupt, what)
}

/// What `after` changed against `before`, as the commit `sequence`.
pub fn difference(before: &Catalog, after: &Catalog, sequence: Sequence) -> VersionEntry {
    let (entities, dropped_entities) = changed(&before.entities, &after.entities, |entity| entity.id);
    let (tables, dropped_tables) = changed(&before.tables, &after.tables, |table| table.id);
    let (schema_version, next_id) = (after.schema_version, after.next_id);
    VersionEntry { schema_version, sequence, next_id, entities, tables, dropped_entities, dropped_tables }
}

/// What is new or different in `after`, and the ids of what is only in `before`.
fn changed<T: PartialEq>(before: &[Arc<T>], after: &[Arc<T>], id: fn(&T) -> u32) -> (Vec<Arc<T>>, Vec<u32>) {
    let mut known: BTreeMap<u32, &Arc<T>> = before.iter().map(|old| (id(old), old)).collect();
    // What a change leaves alone is shared, so that most need not be compared.
    let same = |old: Option<&Arc<T>>, new: &Arc<T>| old.is_some_and(|old| Arc::ptr_eq(old, new) || old == new);
    let changed = after.iter().filter(|new| !same(known.remove(&id(new)), new)).cloned().collect();
    (changed, known.into_keys().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn replayed(entries: serde_json::Value) -> Result<Versions> {
        let entries: Vec<VersionEntry> = serde_json::from_value(entries).expect("entries of the right form");
        let mut versions = Versions::default();
        entries.into_iter().try_for_each(|entry| versions.apply(Arc::new(entry)))?;
        Ok(versions)
    }

    fn entry(
        version: u64,
        entities: &[serde_json::Value],
        tables: &[serde_json::Value],
        dropped: &[u32],
    ) -> serde_json::Value {
        json!({"schema_version": version, "sequence": version, "next_id": 9, "entities": entities, "tables": tables,
            "dropped_entities": dropped, "dropped_tables": []})
    }

    fn entity(buckets: u32) -> serde_json::Value {
        json!({"id": 1, "name": "e", "key": [{"name": "k", "type": "int64"}], "bucket_by": 1, "buckets": buckets})
    }

    fn table(entity: u32) -> serde_json::Value {
        json!({"id": 2, "name": "t", "entity": entity, "event_time": "at", "row_id": [], "features": [], "retired": [],
            "purged": [], "max_age": null, "max_future_skew": null, "keep_events": null, "keep_knowledge": null,
            "rounding_floor": false, "owner": "", "description": "", "tags": [], "sealed": false, "next_feature": 1,
            "shape": 1})
    }

    fn typed(of: &str) -> serde_json::Value {
        let mut table = table(1);
        table["features"] = json!([{"id": 1, "name": "n", "type": of, "max_age": "Table", "default": null,
            "description": "", "tags": []}]);
        table
    }

    /// Found by fuzzing: opening a manifest with such a schema stopped the process, or took all its memory.
    #[test]
    fn a_schema_that_cannot_be_is_refused() {
        replayed(json!([entry(1, &[entity(4)], &[table(1)], &[])])).expect("a sound schema");
        let widened = [typed("int32"), typed("int64")];
        replayed(json!([entry(1, &[entity(4)], &widened[..1], &[]), entry(2, &[], &widened[1..], &[])]))
            .expect("wider");
        for (entries, what) in [
            (json!([entry(1, &[entity(4)], &[table(7)], &[])]), "table `t` has no entity"),
            (json!([entry(1, &[entity(4)], &[table(1)], &[]), entry(2, &[], &[], &[1])]), "table `t` has no entity"),
            (json!([entry(1, &[entity(0)], &[], &[])]), "entity `e` is not placed by its key"),
            (json!([entry(1, &[entity(u32::MAX)], &[], &[])]), "entity `e` is not placed by its key"),
            (json!([entry(2, &[], &[], &[])]), "schema version 2 follows version 0"),
            (
                json!([entry(1, &[entity(4)], &[typed("int64")], &[]), entry(2, &[], &[typed("int32")], &[])]),
                "feature `n` of table `t` becomes Int32 and was Int64",
            ),
        ] {
            let error = replayed(entries).expect_err(what);
            assert_eq!(error.kind(), Kind::Corrupt);
            assert!(error.message().contains(what), "{error}");
        }
    }

    #[test]
    fn a_change_copies_no_more_versions_than_a_few() {
        let count = 10 * CHUNK as u64 + 7;
        let mut entries = vec![entry(1, &[entity(4)], &[], &[])];
        entries.extend((2..=count).map(|version| entry(version, &[], &[table(1)], &[])));
        let before = replayed(json!(entries)).expect("a sound schema");
        let mut after = before.clone();
        after.apply(Arc::new(serde_json::from_value(entry(count + 1, &[], &[], &[])).unwrap())).unwrap();
        let shared = before.chunks.iter().zip(&after.chunks).filter(|(old, new)| Arc::ptr_eq(old, new));
        assert_eq!(shared.count(), 10);
        assert_eq!(after.after(count - 1).map(|entry| entry.schema_version).collect::<Vec<_>>(), [count, count + 1]);
        for version in [1, 2, count] {
            assert!(Arc::ptr_eq(before.at(version).unwrap(), after.at(version).unwrap()));
        }
        assert_eq!(before.newest().schema_version, count, "whoever holds the versions before keeps them");
        assert!(after.at(0).is_err() && after.at(count + 2).is_err());
    }
}
