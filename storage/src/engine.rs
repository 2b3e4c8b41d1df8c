//! The state that writers, readers and background work share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};

use crate::config::Options;
use crate::error::{Error, Result};
use crate::ingest_clock::IngestClock;
use crate::io::Files;
use crate::manifest::Manifest;
use crate::model::catalog::{Entity, Table};
use crate::published::Published;
use crate::read::plan::States;
use crate::statistics::Statistics;
use crate::versions::Versions;
use crate::view::{EntityState, TableState};

/// Entities and tables by number; replaced whole when one is created or dropped.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// Entities.
    pub entities: HashMap<u32, Arc<EntityState>>,
    /// Tables.
    pub tables: HashMap<u32, Arc<TableState>>,
}

/// The shared state of an open database.
#[derive(Debug)]
pub struct Engine {
    /// The settings.
    pub options: Options,
    /// The door to files.
    pub files: Arc<dyn Files>,
    /// The clock of the log.
    pub clock: IngestClock,
    /// What reads see of the log.
    pub published: Published,
    /// The schema, all versions.
    pub versions: ArcSwap<Versions>,
    /// Entities and tables.
    pub registry: ArcSwap<Registry>,
    /// The manifest; locked while it changes.
    pub manifest: Mutex<Manifest>,
    /// The next number for a file.
    pub next_number: AtomicU64,
    /// Tells this database from every other.
    pub database: u64,
    /// Counters.
    pub statistics: Statistics,
    /// Wakes background work.
    pub work: Signal,
    /// Wakes writes that wait for memory.
    pub room: Signal,
    /// Set when the database closes: background work stops at its next step.
    pub closing: AtomicBool,
    /// Held by the one compaction that runs.
    pub compacting: Mutex<()>,
    /// Held by the one flush that runs.
    pub flushing: Mutex<()>,
}

impl Engine {
    /// The next number for a file.
    pub fn take_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether the database is being closed.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// The state of table `id`, unless it was dropped.
    pub fn table(&self, id: u32) -> Option<Arc<TableState>> {
        self.registry.load().tables.get(&id).cloned()
    }

    /// The state of entity `id`, unless it was dropped.
    pub fn entity(&self, id: u32) -> Option<Arc<EntityState>> {
        self.registry.load().entities.get(&id).cloned()
    }

    /// The tables, by number.
    pub fn tables(&self) -> Vec<Arc<TableState>> {
        let mut tables: Vec<_> = self.registry.load().tables.values().cloned().collect();
        tables.sort_by_key(|table| table.id);
        tables
    }

    /// The newest declaration of table `id`.
    pub fn declaration(&self, id: u32) -> Option<Arc<Table>> {
        self.versions.load().newest().table_by_id(id).cloned()
    }

    /// Bytes that all memtables hold.
    pub fn memtable_bytes(&self) -> u64 {
        let size = |table: &Arc<TableState>| {
            let size = table.size.lock();
            size.active_bytes + size.frozen_bytes
        };
        self.registry.load().tables.values().map(size).sum()
    }
}

impl States for Engine {
    fn table_state(&self, table: &Table) -> Result<Arc<TableState>> {
        self.table(table.id).ok_or_else(|| Error::not_found(format!("table {} was dropped", table.name)))
    }

    fn entity_state(&self, entity: &Entity) -> Result<Arc<EntityState>> {
        self.entity(entity.id).ok_or_else(|| Error::not_found(format!("entity {} was dropped", entity.name)))
    }
}

/// A bell: work waits for it, others ring it.
#[derive(Debug, Default)]
pub struct Signal {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Signal {
    /// Rings the bell.
    pub fn ring(&self) {
        *self.rung.lock() = true;
        self.bell.notify_all();
    }

    /// Waits until the bell rings, at most `wait`, and takes the ring.
    pub fn wait(&self, wait: std::time::Duration) {
        let mut rung = self.rung.lock();
        if !*rung {
            let _ = self.bell.wait_for(&mut rung, wait);
        }
        *rung = false;
    }
}
