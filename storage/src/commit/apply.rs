//! Applying: what the WAL holds durably is put into memory, in the order of the log.

use std::iter::Peekable;
use std::sync::Arc;

use super::stage::{Prepared, Staged, StagedAlone, StagedWrite};
use super::{Committed, Committer};
use crate::dictionary::{Dictionary, UNKNOWN};
use crate::engine::{Engine, Registry};
use crate::erase::apply_erase;
use crate::error::Result;
use crate::memtable::{BatchSteps, Piece, push, run_of};
use crate::model::catalog::{Catalog, Entity};
use crate::position::Position;
use crate::run::Run;
use crate::versions::{VersionEntry, Versions};
use crate::view::{EntityState, TableState, TableView};

/// Answers a job after its group was published.
type Answer = Box<dyn FnOnce()>;

impl Committer {
    /// Applies staged writes of one table and publishes them, unless the log is poisoned; how to answer each.
    pub(super) fn apply_writes(&mut self, writes: Vec<StagedWrite>) -> Vec<Answer> {
        let batches: Vec<(&Prepared, &BatchSteps)> =
            writes.iter().filter_map(|write| Some((&*write.prepared, write.steps.as_ref()?))).collect();
        let result = match self.engine.poison.get() {
            Some(error) => Err(error.clone()),
            None => apply_batches(&batches, self.wal.number(), self.engine.clock.monotonic()),
        };
        match &result {
            Err(error) => self.engine.poison.set(error),
            Ok(()) => {
                let rows: usize = writes.iter().map(|write| write.prepared.batch.keys.len()).sum();
                self.engine.statistics.rows.add(rows as u64);
                self.engine.statistics.batches.add(writes.len() as u64);
                writes.iter().for_each(|write| show_producer(&write.prepared));
            }
        }
        let full =
            |write: &StagedWrite| write.prepared.table.size.lock().active_bytes >= self.engine.options.flush_bytes_max;
        if writes.first().is_some_and(full) {
            self.engine.work.ring();
        }
        if let (Ok(()), Some(last)) = (&result, writes.last()) {
            self.engine.published.publish(last.last);
        }
        let answer = |StagedWrite { prepared, last, ingest_time, done, .. }: StagedWrite| -> Answer {
            let position = Position::new(self.engine.log, last);
            let rows = prepared.batch.keys.len() as u64;
            let committed = Committed { position, ingest_time, rows, duplicate: false };
            let result = result.clone();
            Box::new(move || done(result.map(|()| committed)))
        };
        writes.into_iter().map(answer).collect()
    }

    /// Applies a staged job that is no write, unless the log is poisoned, and returns how to answer it.
    pub(super) fn apply_alone(&mut self, staged: StagedAlone) -> Answer {
        let poisoned = self.engine.poison.get().cloned();
        let log = self.engine.log;
        let position = |sequence| Position::new(log, sequence);
        match staged {
            StagedAlone::Duplicate { ingest_time, done } => {
                self.engine.statistics.duplicates.add(1);
                let committed = Committed { position: position(self.sequence), ingest_time, rows: 0, duplicate: true };
                Box::new(move || done(poisoned.map_or(Ok(committed), Err)))
            }
            StagedAlone::Change { entry, done } => {
                let applied = match poisoned {
                    Some(error) => Err(error),
                    None => self.apply_change(entry.as_ref()).inspect_err(|error| self.engine.poison.set(error)),
                };
                Box::new(move || {
                    if let Some(done) = done {
                        done(applied);
                    }
                })
            }
            StagedAlone::Erase { plan, sequence, ingest_time, done } => {
                let result = match poisoned {
                    Some(error) => Err(error),
                    None => apply_erase(&self.engine, &plan, sequence, ingest_time),
                };
                Box::new(move || done(result.map(|()| sequence)))
            }
        }
    }
}

/// Lets readers see the number of a producer's batch, which is durable.
fn show_producer(prepared: &Prepared) {
    if let Some(producer) = &prepared.batch.producer {
        prepared.table.show_producer(&producer.name, producer.seq);
    }
}

impl Committer {
    /// Lets readers see the numbers of all producers that recovery found.
    pub(crate) fn show_producers(&self) {
        for (id, log) in &self.tables {
            let Some(table) = self.engine.table(*id) else { continue };
            log.producers.iter().for_each(|(name, seq)| table.show_producer(name, *seq));
        }
    }

    /// Lets readers see the schema version `entry`, which is durable, and answers the newest.
    fn apply_change(&self, entry: Option<&Arc<VersionEntry>>) -> Result<Arc<Catalog>> {
        let versions = self.engine.versions.load();
        let Some(entry) = entry else { return Ok(Arc::clone(versions.newest())) };
        let mut versions = Versions::clone(&versions);
        versions.apply(Arc::clone(entry))?;
        let catalog = Arc::clone(versions.newest());
        apply_version(&self.engine, versions, entry)?;
        Ok(catalog)
    }
}

/// Rows of writes that are applied together, and of one such write.
const TOGETHER_ROWS_MAX: usize = 512;
const SMALL_ROWS_MAX: usize = 256;

/// `first` and the small writes of its table that follow it in `staged`, if it is small too: together they cost one run
/// and one view.
pub(super) fn together(first: StagedWrite, staged: &mut Peekable<impl Iterator<Item = Staged>>) -> Vec<StagedWrite> {
    let table = Arc::clone(&first.prepared.table);
    let mut rows = first.prepared.batch.keys.len();
    let small_first = rows <= SMALL_ROWS_MAX;
    let mut writes = vec![first];
    let joins = |next: &Staged, rows: usize| match next {
        Staged::Write(next) => {
            small_first
                && rows < TOGETHER_ROWS_MAX
                && next.prepared.batch.keys.len() <= SMALL_ROWS_MAX
                && Arc::ptr_eq(&next.prepared.table, &table)
        }
        Staged::Alone(_) => false,
    };
    while let Some(Staged::Write(next)) = staged.next_if(|next| joins(next, rows)) {
        rows += next.prepared.batch.keys.len();
        writes.push(next);
    }
    writes
}

/// Puts batches of one table, in the order of their commits, into its memtables. `wal` is the file that holds them.
pub fn apply_batches(batches: &[(&Prepared, &BatchSteps)], wal: u64, monotonic: i64) -> Result<()> {
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
    {
        let mut size = table.size.lock();
        size.active_bytes += batches.iter().map(|(prepared, _)| prepared.bytes()).sum::<u64>();
        size.active_wal.get_or_insert(wal);
        size.active_since.get_or_insert(monotonic);
    }
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
pub fn apply_version(engine: &Engine, versions: Versions, entry: &VersionEntry) -> Result<()> {
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
    entry.dropped_tables.iter().for_each(|id| drop(registry.tables.remove(id)));
    entry.dropped_entities.iter().for_each(|id| drop(registry.entities.remove(id)));
    engine.registry.store(Arc::new(registry));
    engine.versions.store(Arc::new(versions));
    Ok(())
}

/// Remembers which features of `table` were stored with another type before.
pub fn note_widened(state: &TableState, before: &Catalog, table: &crate::model::catalog::Table) {
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
    Ok(EntityState { id: entity.id, dictionaries, erasures: parking_lot::RwLock::default() })
}
