//! Staging: a job is checked against the state it meets, gets its place in the log, and is appended to the WAL.

use std::sync::Arc;

use super::{Committed, Committer, Done, Fence, record};
use crate::engine::Engine;
use crate::erase::ErasePlan;
use crate::error::{Error, Result};
use crate::memtable::BatchSteps;
use crate::model::batch::WriteBatch;
use crate::model::catalog::Catalog;
use crate::model::declare::Change;
use crate::model::key;
use crate::run::Chunk;
use crate::time::{Micros, Sequence};
use crate::versions::{VersionEntry, Versions, difference};
use crate::view::TableState;
use crate::wal::{RECORD_BYTES_MAX, Record};

/// A proven batch with all that can be worked out before its place in the log is known, so that the log's one writer
/// does little.
#[derive(Debug)]
pub struct Prepared {
    /// The batch.
    pub batch: WriteBatch,
    /// Its table.
    pub table: Arc<TableState>,
    /// Its cells.
    pub chunk: Arc<Chunk>,
    /// The hash of each row's key.
    pub hashes: Vec<u64>,
    /// The rows of each bucket, in the order sent.
    pub places: Vec<Vec<u32>>,
    /// What the WAL keeps; empty in replay.
    pub payload: Vec<u8>,
    /// The stream that it came in, if a refusal there ends all after it.
    pub fence: Option<Fence>,
    /// The length of a replayed payload.
    pub replayed_bytes: u64,
}

impl Prepared {
    /// Prepares `batch` for the log of `engine`.
    pub fn new(engine: &Engine, batch: WriteBatch) -> Result<Self> {
        let payload = batch.encode()?;
        if payload.len() > RECORD_BYTES_MAX {
            return Err(Error::exhausted(format!(
                "the batch takes {} bytes in the log, beyond the limit of {RECORD_BYTES_MAX}; send smaller batches",
                payload.len()
            )));
        }
        Self::with_payload(engine, batch, payload)
    }

    /// Prepares a batch whose WAL payload is known (or not needed, in replay).
    pub fn with_payload(engine: &Engine, mut batch: WriteBatch, payload: Vec<u8>) -> Result<Self> {
        let table = engine
            .table(batch.table)
            .ok_or_else(|| Error::not_found("the batch's table was dropped while the batch was on its way"))?;
        let versions = engine.versions.load();
        let entity = Arc::clone(
            versions.newest().entity_by_id(table.entity.id).expect("an entity outlives the tables that use it"),
        );
        let mut places: Vec<Vec<u32>> = vec![Vec::new(); entity.buckets as usize];
        let mut hashes = Vec::with_capacity(batch.keys.len());
        for row in 0..batch.keys.len() {
            let bytes = batch.keys.get(row);
            let hash = key::hash(bytes);
            places[key::bucket_of(&entity, bytes, hash) as usize].push(row as u32);
            hashes.push(hash);
        }
        let chunk = Arc::new(Chunk { columns: std::mem::take(&mut batch.columns) });
        Ok(Self { batch, table, chunk, hashes, places, payload, fence: None, replayed_bytes: 0 })
    }

    /// What the batch costs in memory: its cells and what is kept beside each row.
    pub fn bytes(&self) -> u64 {
        const ROW_BYTES: u64 = 48;
        self.payload.len() as u64 + self.replayed_bytes + self.batch.keys.len() as u64 * ROW_BYTES
    }
}

/// A batch that has its place in the log.
pub(super) struct StagedWrite {
    pub(super) prepared: Box<Prepared>,
    /// The commits that it became; none if it has no rows.
    pub(super) steps: Option<BatchSteps>,
    /// The last sequence that it took.
    pub(super) last: Sequence,
    pub(super) ingest_time: Micros,
    pub(super) done: Done<Committed>,
}

/// A job that has its place in the log.
pub(super) enum Staged {
    /// Writes of one table that follow one another may be applied together.
    Write(StagedWrite),
    Alone(StagedAlone),
}

/// A staged job that is applied by itself.
pub(super) enum StagedAlone {
    /// An answer that waits for the group: a duplicate is acknowledged once its original is durable.
    Duplicate {
        ingest_time: Micros,
        done: Done<Committed>,
    },
    /// Without an entry nothing changes, but the answer waits for the versions that it builds on.
    Change {
        entry: Option<Arc<VersionEntry>>,
        done: Option<Done<Arc<Catalog>>>,
    },
    Erase {
        plan: ErasePlan,
        sequence: Sequence,
        ingest_time: Micros,
        done: Done<Sequence>,
    },
}

impl Committer {
    pub(super) fn stage_write(&mut self, prepared: Prepared, done: Done<Committed>, staged: &mut Vec<Staged>) {
        let fence = prepared.fence.clone();
        match self.place_write(prepared, staged) {
            Ok(Placed::New(prepared, steps, ingest_time)) => {
                let last = self.sequence;
                staged.push(Staged::Write(StagedWrite { prepared, steps, last, ingest_time, done }));
            }
            Ok(Placed::Duplicate) => {
                staged.push(Staged::Alone(StagedAlone::Duplicate { ingest_time: self.ingest_time, done }))
            }
            Err(error) => {
                fence.iter().for_each(Fence::close);
                done(Err(error));
            }
        }
    }

    fn place_write(&mut self, prepared: Prepared, staged: &mut Vec<Staged>) -> Result<Placed> {
        self.check_open()?;
        if prepared.fence.as_ref().is_some_and(Fence::is_closed) {
            return Err(Error::precondition("an earlier batch of the same stream was refused, so this one is too"));
        }
        let batch = &prepared.batch;
        if self.versions.newest().table_by_id(batch.table).is_none() {
            return Err(Error::not_found("the batch's table was dropped while the batch was on its way"));
        }
        if self.check_producer(batch)? {
            return Ok(Placed::Duplicate);
        }
        prepared.table.entity.erasures.read().check_blocked(&batch.keys)?;
        let rows = batch.keys.len();
        let history = batch.ingest_times.is_some();
        self.check_history(&prepared)?;
        if rows > 0 && !history {
            self.seal(batch.table, staged)?;
        }
        let (steps, first, last, ingest_time) = if rows == 0 {
            // An empty batch of a producer still advances its numbers, so it takes a place in the log.
            let sequence = self.sequence + 1;
            let ingest_time = self.assign(sequence)?;
            (None, sequence, sequence, ingest_time)
        } else if let Some(times) = &batch.ingest_times {
            let steps = BatchSteps::history(self.sequence + 1, times);
            let last = steps.last();
            self.engine.clock.assign_history(last);
            let ingest_time = times[times.len() - 1];
            (Some(steps), self.sequence + 1, last, ingest_time)
        } else {
            let sequence = self.sequence + 1;
            let ingest_time = self.assign(sequence)?;
            (Some(BatchSteps::single(sequence, ingest_time)), sequence, sequence, ingest_time)
        };
        let payload = &prepared.payload;
        self.append(&Record { kind: record::BATCH, first, last, ingest_time, payload })?;
        self.sequence = last;
        let log = self.tables.entry(batch.table).or_default();
        if rows > 0 {
            log.ingest_time = Some(log.ingest_time.map_or(ingest_time, |before| before.max(ingest_time)));
        }
        if let Some(producer) = &batch.producer {
            log.producers.insert(producer.name.clone(), producer.seq);
        }
        Ok(Placed::New(Box::new(prepared), steps, ingest_time))
    }

    fn assign(&mut self, sequence: Sequence) -> Result<Micros> {
        self.engine.clock.check_skew()?;
        let least = self.tables.values().filter_map(|log| log.ingest_time).max().unwrap_or(i64::MIN);
        self.ingest_time = self.engine.clock.assign(sequence, least);
        Ok(self.ingest_time)
    }

    fn append(&mut self, record: &Record<'_>) -> Result<()> {
        self.engine.statistics.wal_bytes.add(record.payload.len() as u64);
        let appended = self.wal.append(record);
        if let Err(error) = &appended {
            // Nobody waits for a sequence that was shown as taken and is not.
            self.engine.clock.give_back(self.sequence);
            self.note_failure(error);
        }
        appended
    }

    fn check_open(&self) -> Result<()> {
        self.engine.poison.check()
    }

    /// Whether the batch repeats the last one of its producer.
    fn check_producer(&self, batch: &WriteBatch) -> Result<bool> {
        let Some(producer) = &batch.producer else { return Ok(false) };
        let log = self.tables.get(&batch.table);
        let stored = log.and_then(|log| log.producers.get(&producer.name).copied());
        if stored == Some(producer.seq) {
            return Ok(true);
        }
        let shown = |value: Option<u64>| value.map_or_else(|| "null".to_owned(), |value| value.to_string());
        if stored != producer.previous {
            return Err(Error::precondition(format!(
                "producer {:?} sent \"previous\":{}, but its last batch here is {}; go on from \"previous\":{}",
                producer.name,
                shown(producer.previous),
                shown(stored),
                shown(stored)
            )));
        }
        if stored.is_some_and(|stored| producer.seq < stored) {
            return Err(Error::invalid(format!(
                "producer {:?} sent producer_seq {}, which must exceed \"previous\", {}",
                producer.name,
                producer.seq,
                shown(stored)
            )));
        }
        let known = log.map_or(0, |log| log.producers.len());
        if stored.is_none() && known >= self.engine.options.producers_max {
            return Err(Error::exhausted(format!(
                "the table knows {known} producers (limit producers-max); use the names of producers again"
            )));
        }
        Ok(false)
    }

    /// Refuses a history batch on a sealed table, or one that goes back before what the table knows.
    fn check_history(&self, prepared: &Prepared) -> Result<()> {
        let batch = &prepared.batch;
        let Some(times) = &batch.ingest_times else { return Ok(()) };
        let Some(table) = self.versions.newest().table_by_id(batch.table) else { return Ok(()) };
        if table.sealed {
            return Err(Error::precondition(format!(
                "table {} is sealed: rows that bring their own ingest times (\"ingest_time\") go only into a table that \
                 is not; write without \"ingest_time\", or load the history into a new table",
                table.name
            )));
        }
        let before = self.tables.get(&batch.table).and_then(|log| log.ingest_time);
        match (before, times.first()) {
            (Some(before), Some(&first)) if first < before => Err(Error::invalid(format!(
                "the batch's first ingest time ({first} µs) is before the table's last ({before} µs); send history sorted \
                 by ingest time, across batches too"
            ))),
            _ => Ok(()),
        }
    }

    /// Seals the table before its first row that the server times.
    fn seal(&mut self, table: u32, staged: &mut Vec<Staged>) -> Result<()> {
        let Some(declaration) = self.versions.newest().table_by_id(table) else { return Ok(()) };
        if declaration.sealed {
            return Ok(());
        }
        let change = Change::Seal { table: declaration.name.clone() };
        if let Some(entry) = self.place_change(&change)? {
            staged.push(Staged::Alone(StagedAlone::Change { entry: Some(entry), done: None }));
        }
        Ok(())
    }

    pub(super) fn stage_change(&mut self, change: &Change, done: Done<Arc<Catalog>>, staged: &mut Vec<Staged>) {
        match self.place_change(change) {
            Ok(entry) => staged.push(Staged::Alone(StagedAlone::Change { entry, done: Some(done) })),
            Err(error) => done(Err(error)),
        }
    }

    /// Gives a schema change its place in the log; the schema counts for the rest of the group at once.
    fn place_change(&mut self, change: &Change) -> Result<Option<Arc<VersionEntry>>> {
        self.check_open()?;
        let Some(after) = change.apply(self.versions.newest())? else { return Ok(None) };
        let sequence = self.sequence + 1;
        let entry = Arc::new(difference(self.versions.newest(), &after, sequence));
        let mut next = Versions::clone(&self.versions);
        next.apply(Arc::clone(&entry))?;
        let ingest_time = self.assign(sequence)?;
        let payload = serde_json::to_vec(&*entry).expect("a schema version is plain data");
        self.append(&Record {
            kind: record::VERSION,
            first: sequence,
            last: sequence,
            ingest_time,
            payload: &payload,
        })?;
        self.sequence = sequence;
        self.versions = Arc::new(next);
        Ok(Some(entry))
    }

    pub(super) fn stage_erase(&mut self, plan: ErasePlan, done: Done<Sequence>, staged: &mut Vec<Staged>) {
        match self.place_erase(&plan) {
            Ok((sequence, ingest_time)) => {
                staged.push(Staged::Alone(StagedAlone::Erase { plan, sequence, ingest_time, done }));
            }
            Err(error) => done(Err(error)),
        }
    }

    fn place_erase(&mut self, plan: &ErasePlan) -> Result<(Sequence, Micros)> {
        self.check_open()?;
        if self.versions.newest().entity_by_id(plan.entity).is_none() {
            return Err(Error::not_found("the entity was dropped"));
        }
        let sequence = self.sequence + 1;
        let ingest_time = self.assign(sequence)?;
        let payload = plan.encode();
        self.append(&Record { kind: record::ERASE, first: sequence, last: sequence, ingest_time, payload: &payload })?;
        self.sequence = sequence;
        Ok((sequence, ingest_time))
    }
}

enum Placed {
    New(Box<Prepared>, Option<BatchSteps>, Micros),
    Duplicate,
}
