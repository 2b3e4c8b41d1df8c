//! What the log remembers of tables, for its writer and for a flush.

use std::collections::HashMap;

use crate::model::batch::WriteBatch;
use crate::time::{Micros, Sequence};

/// What a flush must know of the moment its memtables were frozen.
#[derive(Debug, Clone, Default)]
pub struct Frozen {
    /// The last commit that frozen memtables can hold.
    pub through: Sequence,
    /// The last ingest time.
    pub ingest_time: Micros,
    /// What the log remembers of each table.
    pub tables: HashMap<u32, TableLog>,
}

/// What the log remembers of a table.
#[derive(Debug, Clone, Default)]
pub struct TableLog {
    /// The last producer sequences.
    pub producers: HashMap<String, u64>,
    /// The greatest ingest time of its rows.
    pub ingest_time: Option<Micros>,
    /// Whether no more history may be loaded.
    pub sealed: bool,
}

impl TableLog {
    /// Remembers `batch`, whose greatest ingest time is `ingest_time`.
    pub(crate) fn note(&mut self, batch: &WriteBatch, ingest_time: Micros) {
        if !batch.is_empty() {
            self.ingest_time = self.ingest_time.max(Some(ingest_time));
        }
        if let Some(producer) = &batch.producer {
            self.producers.insert(producer.name.clone(), producer.seq);
        }
    }
}
