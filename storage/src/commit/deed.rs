//! Deeds: what a record of the log says, done again. Recovery does so with the records of the local log, and a follower with those
//! that its writer put into the bucket.
//!
//! Whether a deed was done already is for its caller to know.

use std::sync::Arc;

use super::apply::{apply_batches, apply_version};
use super::prepared::{Prepared, SMALL_ROWS_MAX, TOGETHER_ROWS_MAX};
use super::record;
use crate::engine::Engine;
use crate::erase::ErasePrefixes;
use crate::error::{Error, Result};
use crate::manifest::Subject;
use crate::memtable::BatchSteps;
use crate::model::batch::WriteBatch;
use crate::versions::{VersionEntry, Versions};
use crate::wal::Record;

/// What a record says.
#[derive(Debug)]
pub enum Deed {
    /// Rows of a table.
    Batch(Box<WriteBatch>),
    /// A schema version.
    Version(Arc<VersionEntry>),
    /// An erase.
    Erase(ErasePrefixes),
}

impl Deed {
    /// What `record` says.
    pub fn decode(record: &Record<'_>) -> Result<Self> {
        match record.kind {
            record::BATCH => WriteBatch::decode(record.payload).map(|batch| Self::Batch(Box::new(batch))),
            record::VERSION => serde_json::from_slice(record.payload)
                .map(|entry| Self::Version(Arc::new(entry)))
                .map_err(|error| Error::invalid(format!("a schema version does not read: {error}"))),
            record::ERASE => ErasePrefixes::decode(record.payload).map(Self::Erase),
            kind => Err(Error::invalid(format!("a record of unknown kind {kind}"))),
        }
    }

    /// What it is about.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Batch(batch) => Subject::Table(batch.table),
            Self::Version(_) => Subject::Schema,
            Self::Erase(prefixes) => Subject::Entity(prefixes.entity),
        }
    }
}

/// Deeds being done again, in the order of the log.
#[derive(Debug)]
pub struct Again<'a> {
    engine: &'a Engine,
    /// Small batches of one table that are applied together.
    waiting: Vec<(Prepared, BatchSteps)>,
}

impl<'a> Again<'a> {
    /// Nothing yet in `engine`.
    pub fn new(engine: &'a Engine) -> Self {
        Self { engine, waiting: Vec::new() }
    }

    /// Does what `record` says, perhaps only with what follows or in [`Again::finish`].
    pub fn act(&mut self, record: &Record<'_>, deed: Deed) -> Result<()> {
        match deed {
            Deed::Batch(batch) => self.batch(record, *batch),
            Deed::Version(entry) => {
                self.finish()?;
                let mut next = Versions::clone(&self.engine.versions.load());
                next.apply(Arc::clone(&entry))?;
                apply_version(self.engine, next, &entry)
            }
            Deed::Erase(prefixes) => {
                self.finish()?;
                let Some(entity) = self.engine.entity(prefixes.entity) else { return Ok(()) };
                entity.erase(entity.look_up(prefixes)?, record.first, record.ingest_time)
            }
        }
    }

    /// Does what still waits.
    pub fn finish(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let batches: Vec<_> = waiting.iter().map(|(prepared, steps)| (prepared, steps)).collect();
        apply_batches(self.engine, &batches)
    }

    fn batch(&mut self, record: &Record<'_>, batch: WriteBatch) -> Result<()> {
        let Some(table) = self.engine.table(batch.table) else { return Ok(()) };
        table.note_batch(self.engine.clock.monotonic());
        if batch.is_empty() {
            return Ok(());
        }
        let steps = match &batch.ingest_times {
            Some(times) => BatchSteps::history(record.first, times),
            None => BatchSteps::single(record.first, record.ingest_time),
        };
        let mut prepared = Prepared::with_payload(self.engine, batch, Vec::new())?;
        let erasures = table.entity.erasures.load();
        if !erasures.is_empty() {
            let keys = &prepared.batch.keys;
            // What was erased later never comes back.
            let stands =
                |row: &u32| erasures.erased_at(keys.get(*row as usize)).is_none_or(|erased| erased <= record.first);
            for places in &mut prepared.places {
                places.retain(stands);
            }
        }
        prepared.replayed_bytes = record.payload.len() as u64;
        self.put(prepared, steps)
    }

    /// Applies a batch after those that wait, or lets it wait with them, as the log's writer does.
    fn put(&mut self, prepared: Prepared, steps: BatchSteps) -> Result<()> {
        let rows: usize = self.waiting.iter().map(|(waiting, _)| waiting.batch.keys.len()).sum();
        let joins = |(waiting, _): &(Prepared, BatchSteps)| Arc::ptr_eq(&waiting.table, &prepared.table);
        let small = prepared.batch.keys.len() <= SMALL_ROWS_MAX;
        if !small || rows >= TOGETHER_ROWS_MAX || !self.waiting.first().is_none_or(joins) {
            self.finish()?;
        }
        self.waiting.push((prepared, steps));
        if small { Ok(()) } else { self.finish() }
    }
}
