//! Upkeep of a database: what it does by itself, done when it is asked for, and the checkpoints of its bucket.

use std::sync::Arc;

use super::Database;
use crate::background;
use crate::commit::Queue;
use crate::compaction;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::flush::{flush, named_tables};
use crate::freeze;
use crate::home::{self, Checkpoint, Home};
use crate::model::catalog::Catalog;

impl Database {
    /// Writes the memtables of one table, or of all of `catalog`, to segments.
    pub fn flush(&self, catalog: &Catalog, table: Option<&str>) -> Result<()> {
        let tables = self.tables_to_write(catalog, table)?;
        let opened = self.opened();
        flush(&opened.engine, &opened.queue, &tables)
    }

    /// Flushes, then merges the segments of one table, or of all of `catalog`, and builds fresh latest packs.
    pub fn compact(&self, catalog: &Catalog, table: Option<&str>) -> Result<()> {
        let tables = self.tables_to_write(catalog, table)?;
        self.aside(move |engine, queue| {
            flush(engine, queue, &tables)?;
            compaction::compact_all(engine, &tables)
        })
    }

    /// Freezes all segments of one table, or of all of `catalog`, puts a root into the bucket that names their ice, and lets
    /// leave the local disk what it has no room for.
    pub fn freeze(&self, catalog: &Catalog, table: Option<&str>) -> Result<()> {
        let tables = self.tables_to_write(catalog, table)?;
        self.aside(move |engine, queue| {
            flush(engine, queue, &tables)?;
            freeze::freeze_all(engine, &tables)
        })
    }

    /// Takes a checkpoint: the database as it is now stays in the bucket by this name until it is dropped. Answers it.
    pub fn create_checkpoint(&self, catalog: &Catalog, name: &str) -> Result<Checkpoint> {
        let tables = self.tables_to_write(catalog, None)?;
        let taken = name.to_owned();
        self.aside(move |engine, queue| {
            let home = home_of(engine)?;
            let _erasing = home.erasing.write();
            check_erases(engine)?;
            // What is in files need not be in the checkpoint's log.
            flush(engine, queue, &tables)?;
            home.create_checkpoint(&**engine, &taken, engine.take_number())
        })?;
        let known = self.checkpoints()?;
        known
            .into_iter()
            .find(|one| one.name == name)
            .ok_or_else(|| Error::not_found(format!("checkpoint {name:?} was taken, and somebody dropped it at once")))
    }

    /// Drops the checkpoint `name`. The objects that only it needs go after the age of garbage.
    pub fn drop_checkpoint(&self, name: &str) -> Result<()> {
        self.check_writes()?;
        let dropped = name.to_owned();
        self.aside(move |engine, _| home_of(engine)?.drop_checkpoint(&**engine, &dropped))
    }

    /// The checkpoints of the bucket, the oldest first.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>> {
        let engine = Arc::clone(&self.opened().engine);
        match &engine.options.follow {
            Some(follow) => home::checkpoints(follow.objects.as_ref()),
            None => Ok(home_of(&engine)?.pinned().iter().map(|pinned| pinned.checkpoint().clone()).collect()),
        }
    }

    /// One table, or all of `catalog`, if files are written here.
    fn tables_to_write(&self, catalog: &Catalog, table: Option<&str>) -> Result<Vec<u32>> {
        self.check_writes()?;
        named_tables(&self.opened().engine, catalog, table)
    }

    /// Does `work` after all that serves, and waits for it.
    pub(super) fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Engine>, &Queue) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let opened = self.opened();
        background::aside(&opened.engine, &opened.queue, work)
    }

    /// Does the most urgent piece of what is done in the background; whether there was one. For those who opened the
    /// database without background work.
    pub fn compact_once(&self) -> Result<bool> {
        let opened = self.opened();
        let engine = &opened.engine;
        Ok(engine.restore_once()? || compaction::compact_once(engine)? || freeze::step(engine)?)
    }
}

/// The bucket of a database that has one.
fn home_of(engine: &Engine) -> Result<&Home> {
    engine.home.as_deref().ok_or_else(|| {
        Error::precondition("checkpoints are kept in a bucket, and this database has none: start it with --bucket")
    })
}

/// Refuses while the bytes of what was erased are not gone.
fn check_erases(engine: &Engine) -> Result<()> {
    let entities = engine.registry.load();
    let mut erasures = entities.entities.values().map(|entity| entity.erasures.load());
    match erasures.any(|erasures| erasures.receipts().iter().any(|receipt| receipt.purged.is_none())) {
        false => Ok(()),
        true => Err(Error::new(
            Kind::Unavailable,
            "bytes of erased entities are still being removed, and a checkpoint would keep them: take it when the erase has answered; \
             if it failed, erase again",
        )),
    }
}
