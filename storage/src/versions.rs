//! The schema through time: every version that was, so that a request may pin one.

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::manifest::VersionEntry;
use crate::model::catalog::{Catalog, Entity, Table};
use crate::model::types::can_widen;
use crate::time::Sequence;

/// All schema versions, oldest first. Version 0 is the empty schema.
#[derive(Debug, Clone)]
pub struct Versions {
    catalogs: Vec<Arc<Catalog>>,
    entries: Vec<VersionEntry>,
}

impl Default for Versions {
    fn default() -> Self {
        Self { catalogs: vec![Arc::new(Catalog::default())], entries: Vec::new() }
    }
}

impl Versions {
    /// Replays `entries`, which a manifest or the WAL kept.
    pub fn replay(entries: &[VersionEntry]) -> Result<Self> {
        let mut versions = Self::default();
        entries.iter().try_for_each(|entry| versions.apply(entry.clone()))?;
        Ok(versions)
    }

    /// The newest schema.
    pub fn newest(&self) -> &Arc<Catalog> {
        self.catalogs.last().expect("version 0 always exists")
    }

    /// The schema `version`.
    pub fn at(&self, version: u64) -> Result<&Arc<Catalog>> {
        let known = self.catalogs.get(version as usize).filter(|_| version > 0);
        known.ok_or_else(|| {
            let newest = self.newest().schema_version;
            Error::invalid(format!("schema version {version} does not exist; versions go from 1 to {newest}"))
        })
    }

    /// What changed in each version.
    pub fn entries(&self) -> &[VersionEntry] {
        &self.entries
    }

    /// Adds a version.
    pub fn apply(&mut self, entry: VersionEntry) -> Result<()> {
        let before = self.newest();
        if entry.schema_version != before.schema_version + 1 {
            let (version, last) = (entry.schema_version, before.schema_version);
            return Err(corrupt(format!("schema version {version} follows version {last}")));
        }
        let mut catalog = Catalog::clone(before);
        catalog.schema_version = entry.schema_version;
        catalog.next_id = entry.next_id;
        catalog.entities.retain(|entity| !entry.dropped_entities.contains(&entity.id));
        catalog.tables.retain(|table| !entry.dropped_tables.contains(&table.id));
        for entity in &entry.entities {
            match catalog.entities.iter_mut().find(|known| known.id == entity.id) {
                Some(known) => *known = Arc::new(entity.clone()),
                None => catalog.entities.push(Arc::new(entity.clone())),
            }
        }
        for table in &entry.tables {
            check_types(before, table)?;
            match catalog.tables.iter_mut().find(|known| known.id == table.id) {
                Some(known) => *known = Arc::new(table.clone()),
                None => catalog.tables.push(Arc::new(table.clone())),
            }
        }
        let sound = entry.entities.iter().try_for_each(Entity::check);
        let sound = sound.and_then(|()| entry.tables.iter().try_for_each(|table| table.check(&catalog)));
        sound.map_err(|error| corrupt(format!("schema version {} makes no sense: {error}", entry.schema_version)))?;
        if let Some(left) = catalog.tables.iter().find(|table| catalog.entity_by_id(table.entity).is_none()) {
            return Err(corrupt(format!("table `{}` has no entity", left.name)));
        }
        self.catalogs.push(Arc::new(catalog));
        self.entries.push(entry);
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
    let entities = after.entities.iter().filter(|new| !before.entities.contains(new));
    let tables = after.tables.iter().filter(|new| !before.tables.contains(new));
    let dropped_entities = before.entities.iter().filter(|old| !after.entities.iter().any(|new| new.id == old.id));
    let dropped_tables = before.tables.iter().filter(|old| !after.tables.iter().any(|new| new.id == old.id));
    VersionEntry {
        schema_version: after.schema_version,
        sequence,
        next_id: after.next_id,
        entities: entities.map(|entity| Entity::clone(entity)).collect(),
        tables: tables.map(|table| Table::clone(table)).collect(),
        dropped_entities: dropped_entities.map(|entity| entity.id).collect(),
        dropped_tables: dropped_tables.map(|table| table.id).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn replayed(entries: serde_json::Value) -> Result<Versions> {
        let entries: Vec<VersionEntry> = serde_json::from_value(entries).expect("entries of the right form");
        Versions::replay(&entries)
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
}
