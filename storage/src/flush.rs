//! Flush: frozen memtables become segments, and the WAL behind them may go.
//!
//! The manifest that names the new segments is durable before readers see them and before the WAL is removed, so a
//! crash at any point leaves either the WAL or the segments, never neither. Compaction edits the same manifest under
//! the same lock and never blocks a flush for longer than that.

use std::collections::HashMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::commit::{Frozen, Job, Queue};
use crate::compaction::merge::{KeepAll, Merge, RowFilter};
use crate::engine::Engine;
use crate::erase::encode_bitmap;
use crate::error::{Error, Result};
use crate::manifest::{EntityManifest, ManifestState, SegmentEntry, TableManifest};
use crate::run::Run;
use crate::segment::{self, SegmentMeta};
use crate::view::{EntityState, TableState};

/// Flushes the memtables of `tables`. One flush runs at a time.
pub(crate) fn flush(engine: &Arc<Engine>, queue: &Queue, tables: &[u32]) -> Result<()> {
    let _guard = engine.flushing.lock();
    finish_frozen(engine)?;
    let (send, receive) = std::sync::mpsc::sync_channel(1);
    let answer = Box::new(move |frozen| {
        // The receiver is gone only if this thread panicked.
        let _ = send.send(frozen);
    });
    queue.put(Job::Freeze(tables.to_vec(), answer), u64::MAX, &engine.statistics);
    let frozen = receive.recv().map_err(|_| crate::commit::closed())??;
    flush_frozen(engine, &frozen)
}

/// A flush that failed left frozen memtables behind: they are put back in front of the active ones.
fn finish_frozen(engine: &Engine) -> Result<()> {
    for table in engine.tables() {
        let left = table.view.load().buckets.iter().any(|bucket| !bucket.frozen.is_empty());
        if !left {
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
        size.active_wal = size.frozen_wal.take().or(size.active_wal);
        size.active_since.get_or_insert(engine.clock.monotonic());
    }
    Ok(())
}

fn flush_frozen(engine: &Arc<Engine>, frozen: &Frozen) -> Result<()> {
    let mut written: HashMap<u32, Vec<(u32, Vec<SegmentMeta>)>> = HashMap::new();
    for &id in frozen.tables.keys() {
        let Some(table) = engine.table(id) else { continue };
        written.insert(id, write_table(engine, &table)?);
    }
    // Opened before the manifest names them: after that nothing may fail before they are shown, or the rows would go
    // back to the memtable and be flushed twice.
    let opened = open_segments(engine, &written)?;
    let entities = entities_of(engine, frozen.tables.keys().copied());
    let dictionaries = entities.iter().map(|entity| persist(engine, entity)).collect::<Result<Vec<_>>>()?;
    let stale = {
        let mut manifest = engine.manifest.lock();
        let before = manifest.state.clone();
        edit_manifest(engine, &mut manifest.state, frozen, &written, &entities, &dictionaries);
        let stale = unlisted_dictionaries(&before, &manifest.state);
        if let Err(error) = manifest.write() {
            manifest.state = before;
            return Err(error);
        }
        stale
    };
    for (id, segments) in opened {
        if let Some(table) = engine.table(id) {
            show_segments(&table, segments);
        }
    }
    for (entity, metas) in entities.iter().zip(&dictionaries) {
        for (dictionary, metas) in entity.dictionaries.iter().zip(metas) {
            dictionary.adopt(&engine.files, metas)?;
        }
    }
    remove_files(engine, &stale);
    crate::wal::remove_before(&engine.files, wal_first(engine, frozen))?;
    engine.statistics.memtable_bytes.set(engine.memtable_bytes());
    engine.statistics.flushes.add(1);
    engine.room.ring();
    engine.work.ring();
    Ok(())
}

/// Writes the frozen runs of each bucket as segments.
fn write_table(engine: &Engine, table: &Arc<TableState>) -> Result<Vec<(u32, Vec<SegmentMeta>)>> {
    let view = table.view.load_full();
    let mut written = Vec::new();
    for (bucket, view) in view.buckets.iter().enumerate().filter(|(_, view)| !view.frozen.is_empty()) {
        let erased = table.entity.erased(bucket as u32);
        let metas = merge_runs(engine, table, &view.frozen, &erased, &KeepAll, &|_| {})?;
        engine.statistics.flush_bytes.add(metas.iter().map(|meta| meta.length).sum());
        written.push((bucket as u32, metas));
    }
    Ok(written)
}

/// Merges `runs` of one bucket into segments, as the table is declared now, without erased entities. Gives way to
/// whatever else waits for the core, unless writes may soon have to wait for this.
pub(crate) fn merge_runs(
    engine: &Engine,
    table: &TableState,
    runs: &[Arc<Run>],
    erased: &RoaringBitmap,
    filter: &dyn RowFilter,
    throttle: &dyn Fn(u64),
) -> Result<Vec<SegmentMeta>> {
    let declared = engine.declaration(table.id);
    let features = declared.iter().flat_map(|table| table.features.iter().chain(&table.retired));
    let mut types: Vec<_> = features.map(|feature| (feature.id, feature.stored_type())).collect();
    types.sort_unstable_by_key(|(feature, _)| *feature);
    let gives_way = !engine.is_pressed();
    let merge = Merge {
        files: &engine.files,
        runs,
        erased,
        filter,
        types: &types,
        segment_rows_max: engine.options.segment_rows_max,
        segment_bytes_max: engine.options.segment_bytes_max,
        next_number: &|| engine.take_number(),
        throttle: &|bytes| {
            throttle(bytes);
            if gives_way {
                std::thread::yield_now();
            }
        },
        cancelled: &|| engine.is_closing(),
    };
    merge.run()
}

pub(crate) fn entities_of(engine: &Engine, tables: impl Iterator<Item = u32>) -> Vec<Arc<EntityState>> {
    let mut entities: Vec<Arc<EntityState>> =
        tables.filter_map(|id| Some(Arc::clone(&engine.table(id)?.entity))).collect();
    entities.sort_by_key(|entity| entity.id);
    entities.dedup_by_key(|entity| entity.id);
    entities
}

type DictionaryMetas = Vec<Vec<crate::dictionary::DictionaryMeta>>;

fn persist(engine: &Engine, entity: &EntityState) -> Result<DictionaryMetas> {
    let next_number = || engine.take_number();
    entity.dictionaries.iter().map(|dictionary| dictionary.persist(&engine.files, &next_number)).collect()
}

/// Fills in everything that a manifest says beside segments: what only the WAL knew until now.
pub(crate) fn edit_common(engine: &Engine, state: &mut ManifestState) {
    state.next_number = engine.next_number.load(std::sync::atomic::Ordering::SeqCst);
    // A version that is staged but not yet durable waits for the next manifest.
    let published = engine.published.sequence();
    let versions = engine.versions.load();
    state.versions = versions.entries().iter().filter(|entry| entry.sequence <= published).cloned().collect();
    let registry = engine.registry.load();
    state.tables.retain(|id, _| registry.tables.contains_key(id));
    state.entities.retain(|id, _| registry.entities.contains_key(id));
}

fn edit_manifest(
    engine: &Engine,
    state: &mut ManifestState,
    frozen: &Frozen,
    written: &HashMap<u32, Vec<(u32, Vec<SegmentMeta>)>>,
    entities: &[Arc<EntityState>],
    dictionaries: &[DictionaryMetas],
) {
    edit_common(engine, state);
    state.sequence = state.sequence.max(frozen.through);
    state.ingest_time = state.ingest_time.max(frozen.ingest_time);
    for (id, log) in &frozen.tables {
        let Some(segments) = written.get(id) else { continue };
        let table: &mut TableManifest = state.tables.entry(*id).or_default();
        table.flushed = frozen.through;
        table.ingest_time = log.ingest_time;
        table.producers = log.producers.iter().map(|(name, seq)| (name.clone(), *seq)).collect();
        for (bucket, metas) in segments {
            let group = metas.first().map_or(0, |meta| meta.number);
            let entries = metas.iter().map(|meta| SegmentEntry { bucket: *bucket, group, meta: meta.clone() });
            table.segments.extend(entries);
        }
    }
    for (entity, metas) in entities.iter().zip(dictionaries) {
        let erased = entity.dictionaries.iter().map(|dictionary| encode_bitmap(&dictionary.erased())).collect();
        let entry = EntityManifest {
            through: frozen.through,
            dictionaries: metas.clone(),
            erased,
            erasures: entity.erasures.read().entry(),
        };
        state.entities.insert(entity.id, entry);
    }
    state.wal_first = wal_first(engine, frozen);
}

/// The oldest WAL file that still holds a row which is in no segment. Rows frozen by this flush are in segments now.
fn wal_first(engine: &Engine, frozen: &Frozen) -> u64 {
    let tables = engine.tables();
    let oldest = tables.iter().filter_map(|table| {
        let size = table.size.lock();
        let still_frozen = size.frozen_wal.filter(|_| !frozen.tables.contains_key(&table.id));
        still_frozen.into_iter().chain(size.active_wal).min()
    });
    oldest.min().unwrap_or(frozen.wal).min(frozen.wal)
}

/// The segments of each bucket, opened.
type Opened = Vec<(u32, Vec<Arc<Run>>)>;

fn open_segments(
    engine: &Engine,
    written: &HashMap<u32, Vec<(u32, Vec<SegmentMeta>)>>,
) -> Result<HashMap<u32, Opened>> {
    let open = |meta: &SegmentMeta| segment::open(&engine.files, meta).map(Arc::new);
    let bucket =
        |(bucket, metas): &(u32, Vec<SegmentMeta>)| Ok((*bucket, metas.iter().map(open).collect::<Result<_>>()?));
    written.iter().map(|(id, buckets)| Ok((*id, buckets.iter().map(bucket).collect::<Result<_>>()?))).collect()
}

/// Swaps the frozen runs for the segments they became.
fn show_segments(table: &TableState, opened: Opened) {
    table.edit_view(|view| {
        for (bucket, runs) in opened {
            Arc::make_mut(&mut view.buckets[bucket as usize]).segments.extend(runs);
        }
        for bucket in &mut view.buckets {
            if !bucket.frozen.is_empty() {
                Arc::make_mut(bucket).frozen.clear();
            }
        }
    });
    let mut size = table.size.lock();
    size.frozen_bytes = 0;
    size.frozen_wal = None;
}

fn unlisted_dictionaries(before: &ManifestState, after: &ManifestState) -> Vec<String> {
    let numbers = |state: &ManifestState| -> std::collections::BTreeSet<u64> {
        let entities = state.entities.values();
        entities.flat_map(|entity| entity.dictionaries.iter().flatten().map(|meta| meta.number)).collect()
    };
    let kept = numbers(after);
    numbers(before).difference(&kept).map(|&number| crate::dictionary::file_name(number)).collect()
}

/// Removes files that no manifest names; one that cannot be removed now is swept at the next opening.
pub(crate) fn remove_files(engine: &Engine, names: &[String]) {
    for name in names {
        if let Err(error) = engine.files.remove(name) {
            tracing::warn!(%error, "a file that is no longer used stays until the next opening");
        }
    }
}

/// What a caller of `flush` named: one table, or all.
pub(crate) fn named_tables(engine: &Engine, table: Option<&str>) -> Result<Vec<u32>> {
    match table {
        None => Ok(engine.tables().iter().map(|table| table.id).collect()),
        Some(name) => {
            let versions = engine.versions.load();
            let found = versions.newest().table(name)?;
            match engine.table(found.id) {
                Some(_) => Ok(vec![found.id]),
                None => Err(Error::not_found(format!("table {name} was dropped"))),
            }
        }
    }
}
