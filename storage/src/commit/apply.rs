//! Applying: what the WAL holds durably is put into memory, in the order of the log. Replay does the same.

use std::sync::Arc;

use super::prepared::Prepared;
use crate::dictionary::{Dictionary, UNKNOWN};
use crate::engine::{Engine, Registry};
use crate::erase::Erasures;
use crate::error::Result;
use crate::memtable::{BatchSteps, Piece, push, run_of};
use crate::model::catalog::{Catalog, Entity, Table};
use crate::run::Run;
use crate::versions::{VersionEntry, Versions};
use crate::view::{EntityState, TableState, TableView};

/// Puts batches of one table, in the order of their commits, into its memtables.
pub(super) fn apply_batches(engine: &Engine, batches: &[(&Prepared, &BatchSteps)]) -> Result<()> {
    let Some((first, _)) = batches.first() else { return Ok(()) };
    let table = &first.table;
    let mut ordinals = Vec::with_capacity(batches.len());
    for (prepared, _) in batches {
        ordinals.push(ordinals_of(prepared)?);
    }
    let bucket_run = |bucket: usize| {
        let pieces = batches.iter().zip(&ordinals).map(|((prepared, steps), ordinals)| Piece {
            batch: &prepared.batch,
            chunk: &prepared.chunk,
            steps,
            rows: &prepared.places[bucket],
            ordinals,
        });
        let pieces: Vec<Piece<'_>> = pieces.filter(|piece| !piece.rows.is_empty()).collect();
        (!pieces.is_empty()).then(|| run_of(&pieces))
    };
    let buckets = 0..table.entity.dictionaries.len();
    let runs: Vec<(usize, Run)> = buckets.filter_map(|bucket| Some((bucket, bucket_run(bucket)?))).collect();
    let bytes = batches.iter().map(|(prepared, _)| prepared.bytes()).sum::<u64>();
    engine.memtables_grew(bytes);
    table.size.lock().active_bytes += bytes;
    table.edit_view(|view| -> Result<()> {
        for (bucket, run) in runs {
            let written = run.rows.directory.iter().map(|(ordinal, _)| ordinal);
            table.mark_dirty(bucket as u32, &view.buckets[bucket], written);
            push(&mut Arc::make_mut(&mut view.buckets[bucket]).memory, run)?;
        }
        view.through = batches.iter().map(|(_, steps)| steps.last()).max().unwrap_or(view.through);
        Ok(())
    })
}

/// The ordinals of a batch's rows; keys that nobody knows get the next ones.
fn ordinals_of(prepared: &Prepared) -> Result<Vec<u32>> {
    let keys = &prepared.batch.keys;
    let mut ordinals = vec![UNKNOWN; keys.len()];
    for (bucket, rows) in prepared.places.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
        prepared.table.entity.dictionaries[bucket].find_or_insert(keys, rows, &prepared.hashes, &mut ordinals)?;
    }
    Ok(ordinals)
}

/// Makes `versions` the schema, with states for what `entry` created and without those it dropped.
pub(super) fn apply_version(engine: &Engine, versions: Versions, entry: &VersionEntry) -> Result<()> {
    let mut registry = Registry::clone(&engine.registry.load());
    for entity in entry.entities.iter().filter(|entity| !registry.entities.contains_key(&entity.id)).collect::<Vec<_>>()
    {
        registry.entities.insert(entity.id, Arc::new(new_entity(engine, entity)?));
    }
    for table in &entry.tables {
        match registry.tables.get(&table.id) {
            Some(state) => note_widened(state, engine.versions.load().newest(), table),
            None => {
                let entity = Arc::clone(&registry.entities[&table.entity]);
                let view = TableView::empty(entity.dictionaries.len() as u32);
                registry.tables.insert(table.id, Arc::new(TableState::new(table.id, entity, view)));
            }
        }
    }
    let dropped: Vec<_> = entry.dropped_tables.iter().filter_map(|id| registry.tables.remove(id)).collect();
    entry.dropped_entities.iter().for_each(|id| drop(registry.entities.remove(id)));
    engine.registry.store(Arc::new(registry));
    engine.versions.store(Arc::new(versions));
    dropped.iter().for_each(|table| engine.memtables_shrank(table.take_bytes()));
    engine.leaving.keep(dropped);
    Ok(())
}

/// Remembers which features of `table` were stored with another type before.
pub fn note_widened(state: &TableState, before: &Catalog, table: &Table) {
    let Some(old) = before.table_by_id(table.id) else { return };
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
    let erasures = Erasures::new(engine.secret, &entity.key);
    Ok(EntityState::new(Arc::new(entity.clone()), dictionaries, erasures))
}
