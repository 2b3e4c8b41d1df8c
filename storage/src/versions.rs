//! The schema through time: every version that was, so that a request may pin one.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::manifest::VersionEntry;
use crate::model::catalog::{Catalog, Entity, Table};
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
            return Err(Error::new(
                crate::error::Kind::Corrupt,
                format!("schema version {} follows version {}", entry.schema_version, before.schema_version),
            ));
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
            match catalog.tables.iter_mut().find(|known| known.id == table.id) {
                Some(known) => *known = Arc::new(table.clone()),
                None => catalog.tables.push(Arc::new(table.clone())),
            }
        }
        self.catalogs.push(Arc::new(catalog));
        self.entries.push(entry);
        Ok(())
    }
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
