//! A proven batch with all that can be worked out before its place in the log is known, so that the log's one writer does
//! little.

use std::sync::Arc;

use super::admission::{Reservation, batch_bytes};
use super::answer::Terms;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::model::batch::WriteBatch;
use crate::model::key;
use crate::run::Chunk;
use crate::view::TableState;
use crate::wal::RECORD_BYTES_MAX;

/// Rows of batches that are applied together, and of one such batch.
pub(super) const TOGETHER_ROWS_MAX: usize = 512;
pub(super) const SMALL_ROWS_MAX: usize = 256;

/// A batch on its way to the log.
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
    /// What it is acknowledged for, and the stream that it came in.
    pub terms: Terms,
    /// Its room among what waits for the log, if it needs any.
    pub room: Option<Arc<Reservation>>,
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
        let entity = &table.entity.declared;
        let mut places: Vec<Vec<u32>> = vec![Vec::new(); entity.buckets as usize];
        let mut hashes = Vec::with_capacity(batch.keys.len());
        for row in 0..batch.keys.len() {
            let bytes = batch.keys.get(row);
            let hash = key::hash(bytes);
            places[key::bucket_of(entity, bytes, hash) as usize].push(row as u32);
            hashes.push(hash);
        }
        let chunk = Arc::new(Chunk { columns: std::mem::take(&mut batch.columns) });
        Ok(Self {
            batch,
            table,
            chunk,
            hashes,
            places,
            payload,
            terms: Terms::default(),
            room: None,
            replayed_bytes: 0,
        })
    }

    /// Lets readers see the number of a producer's batch, which is durable.
    pub(super) fn show_producer(&self) {
        if let Some(producer) = &self.batch.producer {
            self.table.show_producer(&producer.name, producer.seq);
        }
    }

    /// What the batch reserves on its way through the log.
    pub fn bytes_on_the_way(&self) -> u64 {
        batch_bytes(self.payload.len(), self.batch.keys.len())
    }

    /// What the batch costs in a memtable: its cells and what is kept beside each row.
    pub fn bytes(&self) -> u64 {
        const ROW_BYTES: u64 = 48;
        self.payload.len() as u64 + self.replayed_bytes + self.batch.keys.len() as u64 * ROW_BYTES
    }
}
