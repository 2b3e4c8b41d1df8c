//! Snapshots: everything that one read sees, pinned.

use std::collections::HashMap;
use std::sync::Arc;

use super::slab::SpareSlabs;
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::model::catalog::Table;
use crate::position::Position;
use crate::time::{Clock, Micros, Sequence};
use crate::view::TableView;

/// What all reads of a database share.
#[derive(Debug)]
pub struct Resources {
    /// Says how old a snapshot is.
    pub clock: Arc<dyn Clock>,
    /// Where the memory of answers comes from.
    pub slabs: Arc<SpareSlabs>,
    /// How much of it may be held.
    pub budget: Arc<Budget>,
}

/// The erases that a read at a fixed bound does not see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErasedSince {
    /// The first of them.
    pub(crate) first: Sequence,
    /// The read position of the newest.
    pub(crate) newest: Position,
}

/// One read's pinned view of the tables of a plan.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) position: Position,
    pub(crate) durable: Option<Position>,
    /// The opening of the database that it is of.
    pub(crate) opening: u64,
    pub(crate) clock: Micros,
    pub(crate) known_at_max: Micros,
    pub(crate) schema_version: u64,
    pub(crate) erased_since: Option<ErasedSince>,
    pub(crate) views: HashMap<u32, Arc<TableView>>,
    /// The moment, by the monotonic clock, after which the snapshot answers no more.
    pub(crate) expires: Micros,
    pub(crate) resources: Arc<Resources>,
}

impl Snapshot {
    /// Exactly which commits the read sees.
    pub fn position(&self) -> Position {
        self.position
    }

    /// How far the bucket was when the snapshot was pinned, if there is one: no loss of the disk takes away what is seen there.
    pub fn durable_position(&self) -> Option<Position> {
        self.durable
    }

    /// The clock that ages are measured from where no bound is stated, µs.
    pub fn clock(&self) -> Micros {
        self.clock
    }

    /// The schema version that chose names, types, defaults and max ages.
    pub fn schema_version(&self) -> u64 {
        self.schema_version
    }

    /// The newest erase of any entity that the read does not see; `Database::erased_since` says whether one touched
    /// the entities that are asked.
    pub fn erased_since(&self) -> Option<Position> {
        self.erased_since.map(|since| since.newest)
    }

    /// The last commit that is visible.
    pub(crate) fn sequence(&self) -> Sequence {
        self.position.sequence()
    }

    /// The greatest knowledge bound that is settled: no later commit will get an ingest time at or below it.
    pub(crate) fn known_at_max(&self) -> Micros {
        self.known_at_max
    }

    /// What it sees of `table`, which must be one of those that it is pinned over.
    pub(crate) fn view(&self, table: &Table) -> Result<&Arc<TableView>> {
        let missing =
            || Error::invalid(format!("the snapshot is not pinned over table {}; pin one that is", table.name));
        self.views.get(&table.id).ok_or_else(missing)
    }

    /// Refuses what was planned in another opening of the database: there an entity may have another number.
    pub(crate) fn check_opening(&self, opening: u64) -> Result<()> {
        if self.opening == opening {
            return Ok(());
        }
        Err(Error::new(
            crate::error::Kind::Unavailable,
            "this node, which follows the writer, was opened anew from the bucket while the request was on its way; ask again",
        ))
    }

    /// Refuses to go on once the snapshot is older than it may be, so that old segments can be removed.
    pub(crate) fn check_age(&self) -> Result<()> {
        if self.resources.clock.monotonic() <= self.expires {
            return Ok(());
        }
        Err(Error::new(
            crate::error::Kind::Unavailable,
            "the read's snapshot is older than snapshot-age-max; ask again with \"position\" to read the same commits",
        ))
    }
}
