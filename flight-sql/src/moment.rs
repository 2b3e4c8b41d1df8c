//! The moment of a statement: one read position and one clock for all of its tables, and for each table its bounds.
//!
//! Bounds of the request or session are the end of its world: a clause inside selects within it, and the earlier of both
//! counts.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use firn_storage::database::Database;
use firn_storage::error::Result;
use firn_storage::model::catalog::Catalog;
use firn_storage::position::Position;
use firn_storage::read::{Bound, KnownAt, Moment, Snapshot};
use firn_storage::time::Micros;

use crate::error::invalid;
use crate::table::WrittenMoment;
use crate::time::micros_of;
use crate::words::in_words_of_sql;

/// The bounds of a request or a session, also as handles and cookies carry them. What is not said is open.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Bounds {
    /// What was true, µs.
    #[prost(int64, optional, tag = "1")]
    pub as_of: Option<Micros>,
    /// What was known, µs.
    #[prost(int64, optional, tag = "2")]
    pub known_at: Option<Micros>,
    /// Exactly which commits.
    #[prost(string, optional, tag = "3")]
    pub position: Option<String>,
    /// The clock that ages are measured from, µs.
    #[prost(int64, optional, tag = "4")]
    pub clock: Option<Micros>,
    /// Whose names and types are meant.
    #[prost(uint64, optional, tag = "5")]
    pub schema_version: Option<u64>,
    /// Nothing that the loss of the disk could take back.
    #[prost(bool, tag = "6")]
    pub durable: bool,
}

impl Bounds {
    /// Whether nothing is bounded.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// The bounds of one table, worked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TableBounds {
    /// An event bound, and whether it is exclusive.
    pub(crate) as_of: Option<(Micros, bool)>,
    pub(crate) known_at: Option<Micros>,
    /// Whether rows bring bounds of what was known themselves.
    pub(crate) known_by_row: bool,
}

impl TableBounds {
    /// What is written after a table, within `bounds`.
    pub(crate) fn new(written: &WrittenMoment, bounds: &Bounds, now: DateTime<Utc>) -> Result<Self> {
        let (as_of, exclusive) = (written.as_of.as_ref(), written.exclusive);
        let as_of = as_of.map(|expr| micros_of(expr, now, exclusive, "the moment of what was true")).transpose()?;
        let as_of = as_of.map(|micros| (micros, exclusive));
        let known_at = written.known_at.as_ref();
        let known_at = known_at.map(|expr| micros_of(expr, now, false, "the moment of what was known")).transpose()?;
        let after = written.known_after.as_ref();
        let after = after.map(|expr| micros_of(expr, now, false, "the first moment of changes")).transpose()?;
        if after > known_at {
            return Err(invalid("changes('t', after, until) begins later than it ends: give the earlier moment first"));
        }
        let world = bounds.as_of.map(|micros| (micros, false));
        Ok(Self {
            // At the same moment the exclusive bound sees less.
            as_of: [as_of, world].into_iter().flatten().min_by_key(|(micros, exclusive)| (*micros, !*exclusive)),
            known_at: [known_at, bounds.known_at].into_iter().flatten().min(),
            known_by_row: false,
        })
    }

    /// Whether pinning may have to wait.
    pub(crate) fn may_wait(&self) -> bool {
        self.known() != Known::Latest
    }

    /// The event bound as the engine says it.
    pub(crate) fn as_of(&self) -> Bound {
        self.as_of.map_or(Bound::Latest, |(micros, exclusive)| Bound::Time { micros, exclusive })
    }

    /// The knowledge bound as the engine says it.
    pub(crate) fn known_at(&self) -> Bound {
        self.known_at.map_or(Bound::Latest, |micros| Bound::Time { micros, exclusive: false })
    }

    /// What must be final of what was known, before anything is read.
    fn known(&self) -> Known {
        match (self.known_by_row, self.known_at) {
            (true, _) => Known::ByRow,
            (false, Some(time)) => Known::At(time),
            (false, None) => Known::Latest,
        }
    }
}

/// What must be final of what was known; those that need most come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Known {
    Latest,
    At(Micros),
    ByRow,
}

/// The tables of a statement, pinned at one moment.
#[derive(Debug)]
pub(crate) struct Pinned {
    snapshots: HashMap<Known, Snapshot>,
    /// The position that all of them read.
    pub(crate) position: Option<Position>,
    /// The clock that all of them go by.
    pub(crate) clock: Option<Micros>,
}

/// A table to be pinned, by its name.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) table: String,
    pub(crate) bounds: TableBounds,
}

impl Pinned {
    /// Pins `wanted`: the greatest bound of what was known first, so that the position which all read holds all that was
    /// known at any of them. It may wait: for a bound a little ahead, and for commits in flight.
    pub(crate) fn new(database: &Database, catalog: &Catalog, wanted: &[Wanted], bounds: &Bounds) -> Result<Self> {
        let mut groups: HashMap<Known, Vec<&str>> = HashMap::new();
        for Wanted { table, bounds } in wanted {
            groups.entry(bounds.known()).or_default().push(table);
        }
        let mut order: Vec<Known> = groups.keys().copied().collect();
        order.sort_unstable_by(|a, b| b.cmp(a));
        let mut pinned = Self { snapshots: HashMap::new(), position: None, clock: bounds.clock };
        pinned.position = bounds.position.as_deref().map(|text| database.parse_position(text)).transpose()?;
        for known in order {
            let known_at = match known {
                Known::Latest => KnownAt::Latest,
                Known::At(time) => KnownAt::Time(time),
                Known::ByRow => KnownAt::Rows(Micros::MIN),
            };
            let moment = Moment { known_at, position: pinned.position, durable: bounds.durable, clock: pinned.clock };
            let snapshot = database.snapshot_of(catalog, &groups[&known], &moment).map_err(in_words_of_sql)?;
            pinned.position = Some(snapshot.position());
            pinned.clock = Some(snapshot.clock());
            pinned.snapshots.insert(known, snapshot);
        }
        Ok(pinned)
    }

    /// What was pinned for a table with `bounds`.
    pub(crate) fn snapshot(&self, bounds: &TableBounds) -> Result<&Snapshot> {
        self.snapshots.get(&bounds.known()).ok_or_else(|| invalid("a table of the statement was not pinned"))
    }
}
