//! What no loss of the disk takes away of a database with a bucket: how far it is, waiting for it, and writes that do.

use std::sync::Arc;
use std::time::Duration;

use super::Database;
use crate::commit::Terms;
use crate::config::Level;
use crate::error::{Error, Result};
use crate::model::catalog::Catalog;
use crate::position::Position;
use crate::read::moment::no_bucket;

impl Database {
    /// The terms of a stream of batches that are acknowledged for `level`; `None` is what the database acknowledges for.
    pub fn terms(&self, level: Option<Level>) -> Result<Terms> {
        self.check_writes()?;
        let opened = self.opened();
        let engine = &opened.engine;
        if level == Some(Level::Object) && engine.home.is_none() {
            return Err(Error::precondition(
                "\"acknowledge\":\"object\" waits for the bucket, and the database has none; start it with --bucket, or leave \
                 the field out",
            ));
        }
        Ok(Terms::of_stream(level.unwrap_or_else(|| engine.level())))
    }

    /// How far the bucket is, if there is one: no loss of the disk takes away what is seen there.
    pub fn durable_position(&self) -> Option<Position> {
        self.opened().engine.durable().map(|durable| self.position_of(durable.sequence()))
    }

    /// Waits until `position` is published and in the bucket, which is sent what it lacks at once.
    pub fn wait_for_durable(&self, position: &Position, wait: Duration) -> Result<()> {
        let opened = self.opened();
        let (engine, sequence) = (&opened.engine, position.sequence());
        let durable = engine.durable().ok_or_else(no_bucket)?;
        let left = engine.published.wait(sequence, wait)?;
        if let Some(home) = engine.home.as_ref().filter(|_| durable.sequence() < sequence) {
            home.wake();
        }
        durable.wait(sequence, left).map(drop)
    }

    /// [`Database::catalog_asked`] of what no loss of the disk takes away: the newest version is the newest in the bucket.
    pub fn catalog_in_bucket(&self, schema_version: Option<u64>) -> Result<Arc<Catalog>> {
        let opened = self.opened();
        let durable = opened.engine.durable().ok_or_else(no_bucket)?.sequence();
        let durable = opened.engine.versions.load().newest_within(durable);
        match schema_version {
            Some(version) if version > durable.schema_version => {
                self.catalog_at(version)?;
                Err(Error::out_of_range(format!("schema version {version} is not yet in the bucket; ask again later")))
            }
            Some(version) => self.catalog_at(version),
            None => Ok(durable),
        }
    }
}
