//! Purging: after an erase, rewriting everything that still holds its bytes.
//!
//! Memtables are flushed without the erased entities, so the WAL before them can go; segments, packs and dictionaries
//! that may hold them are rewritten; then the receipt says when the last byte went.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::commit::Queue;
use crate::compaction::{self, merge_segments};
use crate::dictionary::Maintained;
use crate::edit::WrittenErasures;
use crate::engine::Engine;
use crate::erase::encode_bitmap;
use crate::error::{Kind, Result};
use crate::flush::flush;
use crate::home::{Home, Pinned};
use crate::manifest::NamedFile;
use crate::time::{Micros, Sequence};
use crate::view::{EntityState, TableState};

/// Writes checkpoints without what was erased since each was created; they are to be named by the next root. It opens databases, and
/// so it is given by whoever may: `checkpoints.rs` is the one.
pub(crate) type PurgeCheckpoints = fn(&Arc<Engine>, &Home) -> Result<BTreeMap<String, Pinned>>;

/// Removes the bytes of every erased entity of `entity` from all files. Returns when.
pub(crate) fn purge(
    engine: &Arc<Engine>,
    queue: &Queue,
    entity: &Arc<EntityState>,
    sequence: Sequence,
    purge_checkpoints: PurgeCheckpoints,
) -> Result<Micros> {
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
    engine.retired.confirm()?;
    purge_objects(engine, purge_checkpoints)?;
    let now = engine.clock.now();
    entity.erasures.rcu(|erasures| erasures.purged(sequence, now));
    entity.merge_erasures();
    write_receipts(engine, entity)?;
    publish_receipts(engine)?;
    Ok(now)
}

/// Lets the bucket know the receipts too: a node that is restored takes no checkpoint while one is missing.
fn publish_receipts(engine: &Arc<Engine>) -> Result<()> {
    let Some(home) = &engine.home else { return Ok(()) };
    home.publish(&**engine).or_else(|error| match error.kind() {
        Kind::Poisoned => Err(error),
        _ => {
            tracing::warn!(%error, "the bucket does not know a receipt of an erase yet; the next root has it");
            Ok(())
        }
    })
}

/// Lets the objects go that hold what was erased, those of checkpoints too, and then the log files that stayed because the bucket lacked them.
fn purge_objects(engine: &Arc<Engine>, purge_checkpoints: PurgeCheckpoints) -> Result<()> {
    let Some(home) = &engine.home else { return Ok(()) };
    let _rewriting = home.rewriting.lock();
    let rewritten = purge_checkpoints(engine, home)?;
    home.publish_and_purge(&**engine, &rewritten).inspect_err(|_| home.abandon(rewritten.values()))?;
    engine.remove_log_files()
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
