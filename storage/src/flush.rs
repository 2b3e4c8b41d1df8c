//! Flush: frozen memtables become segments, and the WAL behind them may go.
//!
//! The manifest that names the new segments is durable before readers see them and before the WAL is removed, so a
//! crash at any point leaves either the WAL or the segments, never neither. Compaction edits the same manifest under
//! the same lock and never blocks a flush for longer than that.

use std::sync::Arc;

use crate::commit::{Frozen, Job, Queue};
use crate::compaction::merge::KeepAll;
use crate::dictionary::Maintained;
use crate::edit::{Outputs, WrittenErasures};
use crate::engine::Engine;
use crate::erase::encode_bitmap;
use crate::error::{Error, Result};
use crate::manifest::{EntityManifest, ManifestState, NamedFile, TableManifest};
use crate::merging::{Merged, Merging, merge_runs};
use crate::model::catalog::Catalog;
use crate::view::{EntityState, TableState};

/// Flushes the memtables of `tables`. One flush runs at a time.
pub(crate) fn flush(engine: &Arc<Engine>, queue: &Queue, tables: &[u32]) -> Result<()> {
    let _guard = engine.flushing.lock();
    finish_frozen(engine)?;
    let frozen = queue.ask(|done| Job::Freeze(tables.to_vec(), done))?;
    flush_frozen(engine, &frozen)
}

/// A flush that failed left frozen memtables behind: they are put back in front of the active ones.
fn finish_frozen(engine: &Engine) -> Result<()> {
    for table in engine.tables() {
        let left = table.view.load().buckets.iter().any(|bucket| !bucket.frozen.is_empty());
        if !left && table.size.lock().frozen_since.is_none() {
            continue;
        }
        table.edit_view(|view| {
            for bucket in &mut view.buckets {
                let bucket = Arc::make_mut(bucket);
                let mut runs = std::mem::take(&mut bucket.frozen);
                runs.append(&mut bucket.memory);
                bucket.memory = runs;
            }
        });
        let mut size = table.size.lock();
        size.active_bytes += std::mem::take(&mut size.frozen_bytes);
        size.active_since = size.frozen_since.take().or(size.active_since);
    }
    Ok(())
}

fn flush_frozen(engine: &Arc<Engine>, frozen: &Frozen) -> Result<()> {
    let outputs = engine.outputs();
    let tables: Vec<Arc<TableState>> = frozen.tables.keys().filter_map(|&id| engine.table(id)).collect();
    let flushed = tables.into_iter().map(|table| write_table(engine, &outputs, table)).collect::<Result<Vec<_>>>()?;
    let entities = persist_entities(engine, &outputs, &flushed)?;
    engine.edit_manifest(outputs, |state| edit(state, frozen, &flushed, &entities))?;
    flushed.into_iter().for_each(|flushed| flushed.show(engine));
    entities.into_iter().for_each(PersistedEntity::adopt);
    engine.statistics.flushes.add(1);
    engine.room.ring();
    engine.work.ring();
    engine.remove_log_files()
}

/// A table whose frozen runs are in segments.
struct FlushedTable {
    table: Arc<TableState>,
    /// Per bucket.
    segments: Vec<(u32, Merged)>,
}

/// Writes the frozen runs of each bucket of `table` as segments.
fn write_table(engine: &Engine, outputs: &Outputs<'_>, table: Arc<TableState>) -> Result<FlushedTable> {
    let view = table.view.load_full();
    let mut segments = Vec::new();
    for (bucket, view) in (0u32..).zip(&view.buckets).filter(|(_, view)| !view.frozen.is_empty()) {
        let erased = table.entity.erased(bucket);
        let merging = Merging { runs: &view.frozen, erased: &erased, filter: &KeepAll, throttle: &|_| {} };
        let merged = merge_runs(engine, &table, outputs, &merging)?;
        engine.statistics.flush_bytes.add(merged.bytes());
        segments.push((bucket, merged));
    }
    Ok(FlushedTable { table, segments })
}

impl FlushedTable {
    /// Swaps the frozen runs for the segments they became.
    fn show(self, engine: &Engine) {
        self.table.edit_view(|view| {
            for (bucket, merged) in self.segments {
                Arc::make_mut(&mut view.buckets[bucket as usize]).segments.extend(merged.runs);
            }
            for bucket in &mut view.buckets {
                if !bucket.frozen.is_empty() {
                    engine.leaving.keep(Arc::make_mut(bucket).frozen.drain(..));
                }
            }
        });
        let mut size = self.table.size.lock();
        engine.memtables_shrank(std::mem::take(&mut size.frozen_bytes));
        size.frozen_since = None;
    }
}

/// An entity whose keys are in files, per bucket.
struct PersistedEntity {
    entity: Arc<EntityState>,
    dictionaries: Vec<Maintained>,
    erasures: WrittenErasures,
}

/// Writes the keys and erases that only memory has, of all entities that the flushed tables use, and of those with an erase that the
/// log alone holds.
fn persist_entities(engine: &Engine, outputs: &Outputs<'_>, flushed: &[FlushedTable]) -> Result<Vec<PersistedEntity>> {
    let mut entities: Vec<Arc<EntityState>> = flushed.iter().map(|flushed| Arc::clone(&flushed.table.entity)).collect();
    entities.extend(engine.unlisted_erases());
    entities.sort_by_key(|entity| entity.id);
    entities.dedup_by_key(|entity| entity.id);
    let next_number = || outputs.number(NamedFile::Dictionary);
    let persist = |entity: Arc<EntityState>| {
        let dictionaries = entity.dictionaries.iter().map(|dictionary| dictionary.persist(&engine.files, &next_number));
        let dictionaries = dictionaries.collect::<Result<Vec<_>>>()?;
        let erasures = WrittenErasures::new(outputs, &entity)?;
        Ok(PersistedEntity { entity, dictionaries, erasures })
    };
    entities.into_iter().map(persist).collect()
}

impl PersistedEntity {
    /// Looks keys up in the files from now on.
    fn adopt(self) {
        for (dictionary, maintained) in self.entity.dictionaries.iter().zip(self.dictionaries) {
            dictionary.adopt(maintained);
        }
        self.erasures.listed(&self.entity);
    }
}

/// Lists what was written, and says up to which commit.
fn edit(state: &mut ManifestState, frozen: &Frozen, flushed: &[FlushedTable], entities: &[PersistedEntity]) {
    state.sequence = state.sequence.max(frozen.through);
    state.ingest_time = state.ingest_time.max(frozen.ingest_time);
    for FlushedTable { table, segments } in flushed {
        let log = &frozen.tables[&table.id];
        let table: &mut TableManifest = state.tables.entry(table.id).or_default();
        table.flushed = frozen.through;
        table.ingest_time = log.ingest_time;
        table.producers = log.producers.iter().map(|(name, seq)| (name.clone(), *seq)).collect();
        table.segments.extend(segments.iter().flat_map(|(bucket, merged)| merged.entries(*bucket)));
    }
    for PersistedEntity { entity, dictionaries, erasures } in entities {
        let erased = entity.dictionaries.iter().zip(dictionaries);
        let kept: &mut EntityManifest = state.entities.entry(entity.id).or_default();
        kept.through = frozen.through;
        kept.dictionaries = dictionaries.iter().map(Maintained::metas).collect();
        kept.erased = erased.map(|(dictionary, maintained)| encode_bitmap(&dictionary.erased_in(maintained))).collect();
        erasures.list(kept);
    }
}

/// What a caller of `flush` named: one table, or all.
pub(crate) fn named_tables(engine: &Engine, catalog: &Catalog, table: Option<&str>) -> Result<Vec<u32>> {
    let standing = |id: u32| engine.table(id).map(|_| id);
    match table {
        None => Ok(catalog.tables.iter().filter_map(|table| standing(table.id)).collect()),
        Some(name) => match standing(catalog.table(name)?.id) {
            Some(id) => Ok(vec![id]),
            None => Err(Error::not_found(format!("table {name} was dropped"))),
        },
    }
}
