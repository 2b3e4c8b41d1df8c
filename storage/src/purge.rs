//! Purging: after an erase, rewriting everything that still holds its bytes.
//!
//! Memtables are flushed without the erased entities, so the WAL before them can go; segments, packs and dictionaries
//! that may hold them are rewritten; then the receipt says when the last byte went.

use std::sync::Arc;

use crate::commit::Queue;
use crate::compaction::{self, entries_of, merge_segments};
use crate::engine::Engine;
use crate::erase::encode_bitmap;
use crate::error::Result;
use crate::flush::{edit_common, flush, remove_files};
use crate::time::{Micros, Sequence};
use crate::view::{EntityState, TableState};

/// Removes the bytes of every erased entity of `entity` from all files. Returns when.
pub(crate) fn purge(
    engine: &Arc<Engine>,
    queue: &Queue,
    entity: &Arc<EntityState>,
    sequence: Sequence,
) -> Result<Micros> {
    let tables: Vec<Arc<TableState>> =
        engine.tables().into_iter().filter(|table| table.entity.id == entity.id).collect();
    // All tables of the database are flushed: the erase's own record, with its keys, is in the same WAL.
    let all: Vec<u32> = engine.tables().iter().map(|table| table.id).collect();
    flush(engine, queue, &all)?;
    {
        let _guard = engine.compacting.lock();
        for table in &tables {
            for bucket in 0..entity.dictionaries.len() as u32 {
                purge_bucket(engine, table, bucket)?;
            }
        }
        purge_dictionaries(engine, entity)?;
    }
    let now = engine.clock.now();
    for receipt in entity.erasures.write().receipts.iter_mut() {
        if receipt.sequence <= sequence {
            receipt.purged.get_or_insert(now);
        }
    }
    write_receipts(engine, entity)?;
    Ok(now)
}

fn purge_bucket(engine: &Arc<Engine>, table: &TableState, bucket: u32) -> Result<()> {
    let erased = table.entity.erased(bucket);
    let view = table.view.load_full();
    let view = &view.buckets[bucket as usize];
    let holds = |ordinal: u32| erased.contains(ordinal);
    let mut numbers: Vec<u64> = Vec::new();
    for run in &view.segments {
        if run.rows.entities()?.any(|(ordinal, _)| holds(ordinal)) {
            numbers.extend(run.segment);
        }
    }
    if !numbers.is_empty() {
        let listed = entries_of(engine, table, bucket);
        assert!(
            numbers.iter().all(|number| listed.iter().any(|entry| entry.meta.number == *number)),
            "views show what the manifest lists"
        );
        merge_segments(engine, table, bucket, &numbers)?;
    }
    let pack_holds = view.pack.as_ref().is_some_and(|latest| erased.range(..latest.pack.ordinals()).next().is_some());
    if pack_holds {
        compaction::pack::build(engine, table, bucket)?;
    }
    Ok(())
}

fn purge_dictionaries(engine: &Engine, entity: &EntityState) -> Result<()> {
    let next_number = || engine.take_number();
    let mut lists = Vec::with_capacity(entity.dictionaries.len());
    for dictionary in &entity.dictionaries {
        lists.push(dictionary.purge(&engine.files, &next_number)?);
    }
    let mut stale = Vec::new();
    {
        let mut manifest = engine.manifest.lock();
        let before = manifest.state.clone();
        edit_common(engine, &mut manifest.state);
        let kept = manifest.state.entities.entry(entity.id).or_default();
        let now: std::collections::HashSet<u64> = lists.iter().flatten().map(|meta| meta.number).collect();
        let gone = kept.dictionaries.iter().flatten().filter(|meta| !now.contains(&meta.number));
        stale.extend(gone.map(|meta| crate::dictionary::file_name(meta.number)));
        kept.dictionaries.clone_from(&lists);
        kept.erased = entity.dictionaries.iter().map(|dictionary| encode_bitmap(&dictionary.erased())).collect();
        if let Err(error) = manifest.write() {
            manifest.state = before;
            return Err(error);
        }
    }
    for (dictionary, metas) in entity.dictionaries.iter().zip(&lists) {
        dictionary.adopt(&engine.files, metas)?;
    }
    remove_files(engine, &stale);
    Ok(())
}

fn write_receipts(engine: &Engine, entity: &EntityState) -> Result<()> {
    let mut manifest = engine.manifest.lock();
    let before = manifest.state.clone();
    edit_common(engine, &mut manifest.state);
    manifest.state.entities.entry(entity.id).or_default().erasures = entity.erasures.read().entry();
    if let Err(error) = manifest.write() {
        manifest.state = before;
        return Err(error);
    }
    Ok(())
}
