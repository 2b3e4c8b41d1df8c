//! Applying: what the WAL holds durably is put into memory, in the order of the log.

use std::sync::Arc;

use super::stage::{Prepared, Staged};
use super::{Committed, Committer};
use crate::dictionary::{Dictionary, UNKNOWN};
use crate::engine::{Engine, Registry};
use crate::erase::apply_erase;
use crate::error::Result;
use crate::manifest::VersionEntry;
use crate::memtable::{BatchSteps, push, run_of_batch};
use crate::model::catalog::{Catalog, Entity};
use crate::position::Position;
use crate::versions::Versions;
use crate::view::{EntityState, TableState, TableView};

/// Answers a job after its group was published.
type Answer = Box<dyn FnOnce()>;

impl Committer {
    /// Applies one staged job, unless the log is poisoned, and returns how to answer it.
    pub(super) fn apply(&mut self, staged: Staged) -> Answer {
        let poisoned = self.poisoned.clone();
        let database = self.engine.database;
        let position = |sequence| Position::new(database, sequence);
        match staged {
            Staged::Write { prepared, steps, ingest_time, done } => {
                let rows = prepared.batch.keys.len() as u64;
                let last = steps.as_ref().map_or(self.sequence, BatchSteps::last);
                let result = match (poisoned, &steps) {
                    (Some(error), _) => Err(error),
                    (None, None) => Ok(()),
                    (None, Some(steps)) => {
                        apply_batch(&prepared, steps, self.wal.number(), self.engine.clock.monotonic())
                    }
                };
                if let Err(error) = &result {
                    self.poison(error);
                } else {
                    self.engine.statistics.rows.add(rows);
                    self.engine.statistics.batches.add(1);
                }
                if prepared.table.size.lock().active_bytes >= self.engine.options.flush_bytes_max {
                    self.engine.work.ring();
                }
                let committed = Committed { position: position(last), ingest_time, rows, duplicate: false };
                Box::new(move || {
                    if let Some(done) = done {
                        done(result.map(|()| committed));
                    }
                })
            }
            Staged::Duplicate { ingest_time, done } => {
                self.engine.statistics.duplicates.add(1);
                let committed = Committed { position: position(self.sequence), ingest_time, rows: 0, duplicate: true };
                Box::new(move || done(poisoned.map_or(Ok(committed), Err)))
            }
            Staged::Change { entry, done } => {
                let applied = match poisoned {
                    Some(error) => Err(error),
                    None => self.apply_change(entry.as_ref()).inspect_err(|error| self.poison(error)),
                };
                Box::new(move || {
                    if let Some(done) = done {
                        done(applied);
                    }
                })
            }
            Staged::Erase { plan, sequence, ingest_time, done } => {
                let result = match poisoned {
                    Some(error) => Err(error),
                    None => apply_erase(&self.engine, &plan, sequence, ingest_time),
                };
                Box::new(move || done(result.map(|()| sequence)))
            }
        }
    }
}

impl Committer {
    /// Lets readers see the schema version `entry`, which is durable, and answers the newest.
    fn apply_change(&self, entry: Option<&VersionEntry>) -> Result<Arc<Catalog>> {
        let versions = self.engine.versions.load();
        let Some(entry) = entry else { return Ok(Arc::clone(versions.newest())) };
        let mut versions = Versions::clone(&versions);
        versions.apply(entry.clone())?;
        let catalog = Arc::clone(versions.newest());
        apply_version(&self.engine, versions, entry)?;
        Ok(catalog)
    }
}

/// Puts a batch into the memtables of its table. `wal` is the file that holds it.
pub fn apply_batch(prepared: &Prepared, steps: &BatchSteps, wal: u64, monotonic: i64) -> Result<()> {
    let batch = &prepared.batch;
    let table = &prepared.table;
    let mut runs = Vec::new();
    let mut ordinals = vec![UNKNOWN; batch.keys.len()];
    for (bucket, rows) in prepared.places.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
        table.entity.dictionaries[bucket].find_or_insert(&batch.keys, rows, &prepared.hashes, &mut ordinals)?;
        let run = run_of_batch(batch, &prepared.chunk, steps, rows, &ordinals);
        runs.push((bucket, rows, run));
    }
    {
        let mut size = table.size.lock();
        size.active_bytes += prepared.bytes();
        size.active_wal.get_or_insert(wal);
        size.active_since.get_or_insert(monotonic);
    }
    table.edit_view(|view| -> Result<()> {
        for (bucket, rows, run) in runs {
            let written = rows.iter().map(|&row| ordinals[row as usize]);
            table.mark_dirty(bucket as u32, &view.buckets[bucket], written);
            push(&mut Arc::make_mut(&mut view.buckets[bucket]).memory, run)?;
        }
        view.through = steps.last();
        Ok(())
    })
}

/// Makes `versions` the schema, with states for what `entry` created and without those it dropped.
pub fn apply_version(engine: &Engine, versions: Versions, entry: &VersionEntry) -> Result<()> {
    let mut registry = Registry::clone(&engine.registry.load());
    for entity in entry.entities.iter().filter(|entity| !registry.entities.contains_key(&entity.id)).collect::<Vec<_>>()
    {
        registry.entities.insert(entity.id, Arc::new(new_entity(engine, entity)?));
    }
    for table in &entry.tables {
        match registry.tables.get(&table.id) {
            Some(state) => note_widened(state, &engine.versions.load(), table),
            None => {
                let entity = Arc::clone(&registry.entities[&table.entity]);
                let view = TableView::empty(entity.dictionaries.len() as u32);
                registry.tables.insert(table.id, Arc::new(TableState::new(table.id, entity, view)));
            }
        }
    }
    entry.dropped_tables.iter().for_each(|id| drop(registry.tables.remove(id)));
    entry.dropped_entities.iter().for_each(|id| drop(registry.entities.remove(id)));
    engine.registry.store(Arc::new(registry));
    engine.versions.store(Arc::new(versions));
    Ok(())
}

/// Remembers which features of `table` were stored with another type before.
pub fn note_widened(state: &TableState, before: &Versions, table: &crate::model::catalog::Table) {
    let Some(old) = before.newest().table_by_id(table.id) else { return };
    for feature in &table.features {
        let widened =
            old.features.iter().any(|known| known.id == feature.id && known.stored_type() != feature.stored_type());
        if widened {
            state.mixed.write().insert(feature.id);
        }
    }
}

fn new_entity(engine: &Engine, entity: &Entity) -> Result<EntityState> {
    let open = |_| Dictionary::open(&engine.files, &[], roaring::RoaringBitmap::new());
    let dictionaries = (0..entity.buckets).map(open).collect::<Result<Vec<_>>>()?;
    Ok(EntityState { id: entity.id, dictionaries, erasures: parking_lot::RwLock::default() })
}
