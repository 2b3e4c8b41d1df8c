//! Purging: after an erase, rewriting everything that still holds its bytes.
//!
//! Memtables are flushed without the erased entities, so the WAL before them can go; segments, packs and dictionaries
//! that may hold them are rewritten; then the receipt says when the last byte went.

use std::collections::HashSet;
use std::sync::Arc;

use crate::commit::Queue;
use crate::compaction::{self, merge_segments};
use crate::dictionary::Maintained;
use crate::edit::WrittenErasures;
use crate::engine::Engine;
use crate::erase::{Gone, Tiers, encode_bitmap};
use crate::error::Result;
use crate::flush::flush;
use crate::manifest::NamedFile;
use crate::time::Sequence;
use crate::view::{EntityState, TableState};
use crate::wal;

/// Removes the bytes of every erased entity of `entity` from all files of a database that no bucket is the home of.
pub(crate) fn purge(engine: &Arc<Engine>, queue: &Queue, entity: &Arc<EntityState>, sequence: Sequence) -> Result<()> {
    let held = Held::now(engine, entity)?;
    purge_files(engine, queue, entity)?;
    give_receipt(engine, entity, sequence, &Tiers { disk: held.gone(engine)?, home: None })
}

/// The files of the local disk that may hold what was erased.
#[derive(Debug)]
pub(crate) struct Held {
    files: HashSet<NamedFile>,
    log: Vec<u64>,
}

impl Held {
    /// Those of now: the log, and what belongs to `entity` and its tables.
    pub(crate) fn now(engine: &Engine, entity: &EntityState) -> Result<Self> {
        let listed = engine.listed.load_full();
        let of_it: Vec<u32> =
            engine.tables().iter().filter(|table| table.entity.id == entity.id).map(|table| table.id).collect();
        let files = listed.files_of(entity.id, &of_it).into_iter().filter(|file| file.holds_rows()).collect();
        Ok(Self { files, log: wal::file_numbers(engine.files.as_ref())? })
    }

    /// How many of them are gone by now.
    pub(crate) fn gone(&self, engine: &Engine) -> Result<Gone> {
        let (files, log) = (engine.listed.load().files(), wal::file_numbers(engine.files.as_ref())?);
        let log = self.log.iter().filter(|file| !log.contains(file)).count();
        let removed = (self.files.difference(&files).count() + log) as u64;
        Ok(Gone { gone_at: engine.clock.now(), removed })
    }
}

/// Removes the bytes of every erased entity of `entity` from the files of the local disk.
pub(crate) fn purge_files(engine: &Arc<Engine>, queue: &Queue, entity: &Arc<EntityState>) -> Result<()> {
    // What is let go is deleted from the bucket too, so nothing may still have to come from there.
    while engine.restore_once()? {}
    let tables: Vec<Arc<TableState>> =
        engine.tables().into_iter().filter(|table| table.entity.id == entity.id).collect();
    // All tables of the database are flushed: the erase's own record, with its keys, is in the same WAL.
    let all: Vec<u32> = engine.tables().iter().map(|table| table.id).collect();
    flush(engine, queue, &all)?;
    {
        let _freezing = engine.freezing.lock();
        let _guard = engine.compacting.lock();
        for table in &tables {
            for bucket in 0..entity.dictionaries.len() as u32 {
                purge_bucket(engine, table, bucket)?;
            }
        }
        purge_dictionaries(engine, entity)?;
    }
    engine.retired.confirm()
}

/// Says in the receipts that the bytes of what was erased up to `sequence` are gone, from these `tiers`.
pub(crate) fn give_receipt(
    engine: &Arc<Engine>,
    entity: &Arc<EntityState>,
    sequence: Sequence,
    tiers: &Tiers,
) -> Result<()> {
    let now = engine.clock.now();
    entity.erasures.rcu(|erasures| erasures.purged(sequence, now, tiers));
    entity.merge_erasures();
    write_receipts(engine, entity)
}

fn purge_bucket(engine: &Arc<Engine>, table: &TableState, bucket: u32) -> Result<()> {
    if engine.table(table.id).is_none() {
        // It was dropped, and its files with it.
        return Ok(());
    }
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
        merge_segments(engine, table, bucket, &numbers)?;
    }
    let pack_holds = view.pack.as_ref().is_some_and(|latest| erased.range(..latest.pack.ordinals()).next().is_some());
    if pack_holds {
        compaction::pack::build(engine, table, bucket)?;
    }
    Ok(())
}

fn purge_dictionaries(engine: &Engine, entity: &EntityState) -> Result<()> {
    // One thread at a time maintains a dictionary, and a flush does so too.
    let _guard = engine.flushing.lock();
    let outputs = engine.outputs();
    let next_number = || outputs.number(NamedFile::Dictionary);
    let purged = entity.dictionaries.iter().map(|dictionary| dictionary.purge(&engine.files, &next_number));
    let purged = purged.collect::<Result<Vec<_>>>()?;
    engine.edit_manifest(outputs, |state| {
        let kept = state.entities.entry(entity.id).or_default();
        kept.dictionaries = purged.iter().map(Maintained::metas).collect();
        let erased = entity.dictionaries.iter().zip(&purged);
        kept.erased = erased.map(|(dictionary, purged)| encode_bitmap(&dictionary.erased_in(purged))).collect();
    })?;
    for (dictionary, maintained) in entity.dictionaries.iter().zip(purged) {
        dictionary.adopt(maintained);
    }
    Ok(())
}

fn write_receipts(engine: &Engine, entity: &EntityState) -> Result<()> {
    let _guard = engine.flushing.lock();
    let outputs = engine.outputs();
    let written = WrittenErasures::new(&outputs, entity)?;
    engine.edit_manifest(outputs, |state| written.list(state.entities.entry(entity.id).or_default()))?;
    written.listed(entity);
    Ok(())
}
