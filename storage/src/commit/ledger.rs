//! What the log's one writer knows of the log: what a job is checked against, and the place that it gets.
//!
//! It is ahead of what readers see by the group that is being committed. What it looks up per job does not grow with the
//! number of tables or of schema versions. It applies nothing and answers nobody.

use std::collections::HashMap;
use std::sync::Arc;

use super::deed::Deed;
use super::frozen::{Frozen, TableLog};
use super::prepared::Prepared;
use super::record;
use crate::engine::Engine;
use crate::erase::Erase;
use crate::error::{Error, Kind, Result};
use crate::home::LogTail;
use crate::manifest::{Contents, Subject};
use crate::memtable::BatchSteps;
use crate::model::batch::WriteBatch;
use crate::model::declare::Change;
use crate::time::{Micros, Sequence};
use crate::versions::{VersionEntry, Versions, difference};
use crate::wal::{Record, Wal};

/// Where the log stands after replay.
#[derive(Debug)]
pub struct LogEnd {
    /// The files.
    pub wal: Wal,
    /// The last commit.
    pub sequence: Sequence,
    /// The last ingest time.
    pub ingest_time: Micros,
    /// Per table that ever was.
    pub tables: HashMap<u32, TableLog>,
    /// What the current WAL file holds.
    pub contents: Contents,
}

/// The log, with what is not durable yet.
#[derive(Debug)]
pub(super) struct Ledger {
    engine: Arc<Engine>,
    wal: Wal,
    sequence: Sequence,
    ingest_time: Micros,
    /// No ingest time that the server gives is before this: the greatest of any row.
    least: Micros,
    /// The tables that exist.
    tables: HashMap<u32, TableLog>,
    contents: Contents,
    /// The schema as the log has it: readers see a version once it is durable.
    versions: Arc<Versions>,
}

/// How a batch stands to the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is the next.
    Next,
    /// It is the next, and the first whose rows the server times: it seals its table.
    Seals,
    /// It repeats the last one of its producer.
    Duplicate,
}

/// The place of a batch in the log.
#[derive(Debug)]
pub(super) struct Deal {
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    pub(super) ingest_time: Micros,
    /// The commits that its rows become; none if it has no rows.
    pub(super) steps: Option<BatchSteps>,
}

impl Ledger {
    /// Of the log of `engine`, which goes on at `end`.
    pub(super) fn new(engine: Arc<Engine>, end: LogEnd) -> Self {
        let LogEnd { wal, sequence, ingest_time, mut tables, contents } = end;
        let least = tables.values().filter_map(|table| table.ingest_time).max().unwrap_or(i64::MIN);
        let versions = engine.versions.load_full();
        let existing = versions.newest().tables.iter().map(|table| {
            let known = tables.remove(&table.id).unwrap_or_default();
            (table.id, TableLog { sealed: table.sealed, ..known })
        });
        let tables = existing.collect();
        Self { engine, wal, sequence, ingest_time, least, tables, contents, versions }
    }

    /// Lets readers see the numbers of all producers.
    pub(super) fn show_producers(&self) {
        for (id, known) in &self.tables {
            let Some(table) = self.engine.table(*id) else { continue };
            known.producers.iter().for_each(|(name, seq)| table.show_producer(name, *seq));
        }
    }

    /// The last commit that has a place.
    pub(super) fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// The ingest time of the last commit that the server timed.
    pub(super) fn ingest_time(&self) -> Micros {
        self.ingest_time
    }

    /// Checks a batch against the state that it meets.
    pub(super) fn standing(&self, prepared: &Prepared) -> Result<Standing> {
        self.engine.poison.check()?;
        if prepared.terms.are_void() {
            return Err(Error::precondition("an earlier batch of the same stream was refused, so this one is too"));
        }
        let batch = &prepared.batch;
        let Some(table) = self.tables.get(&batch.table) else {
            return Err(Error::not_found("the batch's table was dropped while the batch was on its way"));
        };
        if self.repeats(table, batch)? {
            return Ok(Standing::Duplicate);
        }
        prepared.table.entity.erasures.load().check_blocked(&batch.keys)?;
        match &batch.ingest_times {
            Some(times) => self.check_history(table, batch.table, times)?,
            None if !table.sealed && !batch.is_empty() => return Ok(Standing::Seals),
            None => {}
        }
        Ok(Standing::Next)
    }

    /// Gives a batch that [`Ledger::standing`] lets through its place.
    pub(super) fn write(&mut self, prepared: &Prepared) -> Result<Deal> {
        let batch = &prepared.batch;
        let deal = self.deal(batch)?;
        let Deal { first, last, ingest_time, .. } = deal;
        assert!(first == self.sequence + 1 && last >= first, "a batch follows what is before it");
        let payload = &prepared.payload;
        let record = Record { kind: record::BATCH, first, last, ingest_time, payload };
        self.append(Subject::Table(batch.table), &record)?;
        self.note_batch(batch, ingest_time);
        Ok(deal)
    }

    fn note_batch(&mut self, batch: &WriteBatch, ingest_time: Micros) {
        self.tables.entry(batch.table).or_default().note(batch, ingest_time);
        if !batch.is_empty() {
            self.least = self.least.max(ingest_time);
        }
    }

    /// Takes a record of the writer that this log follows, which says `deed`: it has its place and its ingest time already.
    pub(super) fn follow(&mut self, record: &Record<'_>, deed: &Deed) -> Result<()> {
        self.engine.poison.check()?;
        let next = match deed {
            Deed::Version(entry) => {
                let mut next = Versions::clone(&self.versions);
                next.apply(Arc::clone(entry))?;
                Some((Arc::new(next), entry))
            }
            Deed::Batch(_) | Deed::Erase(_) => None,
        };
        self.append(deed.subject(), record)?;
        if let Some((next, entry)) = next {
            self.take_version(next, entry);
        }
        match deed {
            Deed::Batch(batch) => {
                self.note_batch(batch, record.ingest_time);
                if batch.ingest_times.is_none() {
                    self.ingest_time = self.ingest_time.max(record.ingest_time);
                }
            }
            Deed::Version(_) | Deed::Erase(_) => self.ingest_time = self.ingest_time.max(record.ingest_time),
        }
        Ok(())
    }

    /// Goes on with the schema `next`, which `entry` made.
    fn take_version(&mut self, next: Arc<Versions>, entry: &VersionEntry) {
        entry.tables.iter().for_each(|table| self.tables.entry(table.id).or_default().sealed = table.sealed);
        entry.dropped_tables.iter().for_each(|id| drop(self.tables.remove(id)));
        self.versions = next;
    }

    /// Sequences and an ingest time for a batch. One of a producer without rows has them too, for it takes a number.
    fn deal(&mut self, batch: &WriteBatch) -> Result<Deal> {
        let first = self.sequence + 1;
        match batch.ingest_times.as_deref() {
            Some(times @ [.., newest]) => {
                let steps = BatchSteps::history(first, times);
                let last = steps.last();
                self.engine.clock.assign_history(last);
                Ok(Deal { first, last, ingest_time: *newest, steps: Some(steps) })
            }
            _ => {
                let ingest_time = self.assign(first)?;
                let steps = (!batch.is_empty()).then(|| BatchSteps::single(first, ingest_time));
                Ok(Deal { first, last: first, ingest_time, steps })
            }
        }
    }

    fn assign(&mut self, sequence: Sequence) -> Result<Micros> {
        self.engine.clock.check_skew()?;
        self.ingest_time = self.engine.clock.assign(sequence, self.least);
        Ok(self.ingest_time)
    }

    /// Adds a record to the group; its sequences are taken.
    fn append(&mut self, subject: Subject, record: &Record<'_>) -> Result<()> {
        assert!(record.first == self.sequence + 1 && record.last >= record.first, "records follow one another");
        self.engine.statistics.wal_bytes.add(record.payload.len() as u64);
        if let Err(error) = self.wal.append(record) {
            // Nobody waits for a sequence that was shown as taken and is not.
            self.engine.clock.give_back(self.sequence);
            self.note_failure(&error);
            return Err(error);
        }
        self.contents.insert(subject, record.last);
        self.sequence = record.last;
        Ok(())
    }

    /// Whether the batch repeats the last one of its producer.
    fn repeats(&self, table: &TableLog, batch: &WriteBatch) -> Result<bool> {
        let Some(producer) = &batch.producer else { return Ok(false) };
        let stored = table.producers.get(&producer.name).copied();
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
        let known = table.producers.len();
        if stored.is_none() && known >= self.engine.options.producers_max {
            return Err(Error::exhausted(format!(
                "the table knows {known} producers (limit producers-max); use the names of producers again"
            )));
        }
        Ok(false)
    }

    /// Refuses a history batch on a sealed table, or one that goes back before what the table knows.
    fn check_history(&self, table: &TableLog, id: u32, times: &[Micros]) -> Result<()> {
        if table.sealed {
            let name = self.versions.newest().table_by_id(id).map(|table| table.name.clone()).unwrap_or_default();
            return Err(Error::precondition(format!(
                "table {name} is sealed: rows that bring their own ingest times (\"ingest_time\") go only into a table \
                 that is not; write without \"ingest_time\", or load the history into a new table"
            )));
        }
        match (table.ingest_time, times.first()) {
            (Some(before), Some(&first)) if first < before => Err(Error::invalid(format!(
                "the batch's first ingest time ({first} µs) is before the table's last ({before} µs); send history sorted \
                 by ingest time, across batches too"
            ))),
            _ => Ok(()),
        }
    }

    /// Seals a table, before its first row that the server times.
    pub(super) fn seal(&mut self, table: u32) -> Result<Option<Arc<VersionEntry>>> {
        let Some(declaration) = self.versions.newest().table_by_id(table) else { return Ok(None) };
        self.change(&Change::Seal { table: declaration.name.clone() })
    }

    /// Gives a schema change its place; the schema counts for the rest of the group at once. `None` if it changes nothing.
    pub(super) fn change(&mut self, change: &Change) -> Result<Option<Arc<VersionEntry>>> {
        self.engine.poison.check()?;
        let Some(after) = change.apply(self.versions.newest())? else { return Ok(None) };
        let sequence = self.sequence + 1;
        let entry = Arc::new(difference(self.versions.newest(), &after, sequence));
        let mut next = Versions::clone(&self.versions);
        next.apply(Arc::clone(&entry))?;
        let ingest_time = self.assign(sequence)?;
        let payload = serde_json::to_vec(&*entry).expect("a schema version is plain data");
        let (kind, payload) = (record::VERSION, payload.as_slice());
        self.append(Subject::Schema, &Record { kind, first: sequence, last: sequence, ingest_time, payload })?;
        self.take_version(Arc::new(next), &entry);
        Ok(Some(entry))
    }

    /// Gives an erase its place.
    pub(super) fn erase(&mut self, erase: &Erase) -> Result<(Sequence, Micros)> {
        self.engine.poison.check()?;
        let entity = erase.prefixes.entity;
        if self.versions.newest().entity_by_id(entity).is_none() {
            return Err(Error::not_found("the entity was dropped"));
        }
        let sequence = self.sequence + 1;
        let ingest_time = self.assign(sequence)?;
        let (kind, payload) = (record::ERASE, erase.payload.as_slice());
        self.append(Subject::Entity(entity), &Record { kind, first: sequence, last: sequence, ingest_time, payload })?;
        Ok((sequence, ingest_time))
    }

    /// Makes the group durable, unless the database is poisoned.
    pub(super) fn sync(&mut self) {
        if self.engine.poison.get().is_some() {
            return;
        }
        let start = self.engine.clock.monotonic();
        match self.wal.commit() {
            Ok(()) => self.note_tail(),
            Err(error) => self.engine.poison.set(&error),
        }
        let took = self.engine.clock.monotonic() - start;
        self.engine.statistics.wal_syncs.add(1);
        self.engine.statistics.wal_sync_micros.add(took.max(0) as u64);
    }

    /// Lets the bucket have what is durable here.
    pub(super) fn note_tail(&self) {
        if let Some(home) = &self.engine.home {
            let (file, bytes) = (self.wal.number(), self.wal.bytes());
            home.note_tail(LogTail { file, bytes, sequence: self.sequence });
        }
    }

    /// Begins the next WAL file when the current one is full.
    pub(super) fn turn_if_full(&mut self) {
        if self.engine.poison.get().is_some() || self.wal.bytes() < self.engine.options.wal_bytes_max {
            return;
        }
        if let Err(error) = self.turn() {
            tracing::warn!(%error, "the next WAL file could not be begun; the log goes on in the old one");
        }
        self.engine.work.ring();
    }

    /// Closes the current WAL file and begins the next.
    fn turn(&mut self) -> Result<()> {
        let number = self.engine.take_number();
        self.wal.rotate(number).inspect_err(|error| self.note_failure(error))?;
        // Before any manifest can name the new file as the first that is needed.
        self.note_tail();
        self.engine.log_files.lock().turn(std::mem::take(&mut self.contents), number);
        Ok(())
    }

    /// Turns over the memtables of `tables` and the WAL file that they are in.
    pub(super) fn freeze(&mut self, tables: &[u32]) -> Result<Frozen> {
        self.engine.poison.check()?;
        self.turn()?;
        let mut frozen = Frozen { through: self.sequence, ingest_time: self.ingest_time, tables: HashMap::new() };
        for &id in tables {
            let Some(state) = self.engine.table(id) else { continue };
            state.freeze();
            frozen.tables.insert(id, self.tables.get(&id).cloned().unwrap_or_default());
        }
        Ok(frozen)
    }

    /// Stops writes if `error` says that what the disk holds is unknown.
    fn note_failure(&self, error: &Error) {
        if error.kind() == Kind::Poisoned {
            self.engine.poison.set(error);
        }
    }

    /// Closes the files, so that the next opening can tell a torn end from damage.
    pub(super) fn close(self) -> Result<()> {
        let closed = self.wal.close();
        self.engine.poison.check().and(closed)
    }
}
