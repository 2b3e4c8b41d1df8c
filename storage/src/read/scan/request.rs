//! A scan as it was asked, before anything is pinned.

use std::collections::HashSet;

use arrow_array::ArrayRef;

use crate::error::{Error, Result};
use crate::model::catalog::Table;
use crate::position::Position;
use crate::read::bounds::{Bound, RowBounds};
use crate::read::moment::{KnownAt, Moment};
use crate::read::plan::{Named, event_time_name, status_name};
use crate::time::Micros;

/// A scan as it was asked.
#[derive(Debug, Clone, Default)]
pub struct ScanRequest {
    /// The feature table.
    pub table: String,
    /// The features, and windows of aggregates, to answer; `None` is all features.
    pub columns: Option<Vec<String>>,
    /// The event bound.
    pub as_of: Bound,
    /// The knowledge bound.
    pub known_at: Bound,
    /// Every row and tombstone instead of the winners.
    pub history: bool,
    /// Only rows, or entities with a row, from this event time on.
    pub from: Option<Micros>,
    /// Only rows, or entities with a row, before this event time.
    pub to: Option<Micros>,
    /// The position to read at; `None` is everything published.
    pub position: Option<String>,
    /// Whether nothing is seen that the loss of the disk could take back.
    pub durable: bool,
    /// The schema version; `None` is the newest.
    pub schema_version: Option<u64>,
    /// Replaces the clock for ages, µs.
    pub clock: Option<Micros>,
    /// How many parts to cut the scan into at most.
    pub parts: usize,
    /// Only these entities: the values of all key columns, in their order, one array per column, of equal length.
    pub keys: Option<Vec<ArrayRef>>,
    /// Without history: whether the event time of each entity's newest standing row follows the keys.
    pub event_time: bool,
    /// Without history: whether the status of each feature follows it, as text.
    pub status: bool,
    /// Without history: whether the event time of each winner follows it.
    pub event_times: bool,
    /// Of these columns only those with these names; `None` is all.
    pub only: Option<HashSet<String>>,
}

impl ScanRequest {
    /// The moment that is asked for, with its position read.
    pub(crate) fn moment(&self, position: Option<Position>) -> Result<Moment> {
        let known_at = match constant(&self.known_at, "known_at")? {
            RowBounds::Latest => KnownAt::Latest,
            same => KnownAt::Time(same.of(0)),
        };
        Ok(Moment { known_at, position, durable: self.durable, clock: self.clock })
    }

    /// The features of `table` and the windows of its aggregates that are asked for, and of which some column is answered.
    pub(super) fn features(&self, table: &Table) -> Result<Vec<Named>> {
        let mut features = self.named_features(table)?;
        if let Some(only) = &self.only {
            let answered = |name: &str| {
                only.contains(name)
                    || (self.status && only.contains(&status_name(name)))
                    || (self.event_times && only.contains(&event_time_name(name)))
            };
            features.retain(|named| answered(named.name()));
        }
        Ok(features)
    }

    fn named_features(&self, table: &Table) -> Result<Vec<Named>> {
        let Some(columns) = &self.columns else {
            return Ok(table.features.iter().cloned().map(Named::Feature).collect());
        };
        let mut features: Vec<Named> = Vec::with_capacity(columns.len());
        for name in columns {
            let named = Named::find(table, name)?;
            if features.iter().any(|known| known.name() == named.name()) {
                return Err(Error::invalid(format!("the scan names feature {name:?} twice; name it once")));
            }
            if self.history && matches!(named, Named::Output(..)) {
                return Err(Error::invalid(format!(
                    "{name:?} is an answer of an aggregate, which no row of a history has; scan without history, or name \
                     features"
                )));
            }
            features.push(named);
        }
        Ok(features)
    }
}

/// A bound that is the same for all rows: a scan has none of its own.
pub(super) fn constant(bound: &Bound, which: &str) -> Result<RowBounds> {
    match bound {
        Bound::Latest => Ok(RowBounds::Latest),
        Bound::Time { micros, exclusive } => Ok(RowBounds::Constant { stated: *micros, exclusive: *exclusive }),
        Bound::Column { name, .. } => Err(Error::invalid(format!(
            "a scan has no rows, so \"{which}\" cannot be the column {name:?}; give a time, or use a join"
        ))),
    }
}
