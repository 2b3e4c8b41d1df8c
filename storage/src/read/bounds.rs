//! Bounds: as they were asked, with their columns found, and for the rows of one batch.
//!
//! A bound is kept as it was stated, and whether the stated moment itself is left out: what a row sees ends at the last
//! microsecond within, ages count from the moment as stated.

use arrow_array::{Array, RecordBatch};
use arrow_buffer::ScalarBuffer;
use arrow_schema::Schema;

use crate::error::{Error, Result};
use crate::model::micros::{Rounding, check_times, to_micros};
use crate::time::{Micros, Sequence};

/// An event or knowledge bound as it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Bound {
    /// Everything.
    #[default]
    Latest,
    /// Up to a moment.
    Time {
        /// The moment, µs.
        micros: Micros,
        /// Whether the moment itself is left out.
        exclusive: bool,
    },
    /// Up to a moment of each row.
    Column {
        /// A timestamp column of the request.
        name: String,
        /// Whether the moment itself is left out.
        exclusive: bool,
    },
}

/// A bound whose column was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlannedBound {
    Latest,
    Time { micros: Micros, exclusive: bool },
    Column { index: usize, name: String, exclusive: bool },
}

impl PlannedBound {
    /// Finds the column of `bound`, which is called `which`, in requests of `schema`.
    pub(crate) fn find(bound: &Bound, schema: &Schema, which: &str) -> Result<Self> {
        let (name, exclusive) = match bound {
            Bound::Latest => return Ok(Self::Latest),
            Bound::Time { micros, exclusive } => return Ok(Self::Time { micros: *micros, exclusive: *exclusive }),
            Bound::Column { name, exclusive } => (name, *exclusive),
        };
        let index = schema.fields().iter().position(|field| field.name() == name).ok_or_else(|| {
            Error::invalid(format!(
                "the request has no column {name:?}, which \"{which}\" names; send it as a timestamp"
            ))
        })?;
        let given = schema.field(index).data_type();
        check_times(given).map_err(|error| error.at(format!("column {name:?}, which \"{which}\" names")))?;
        Ok(Self::Column { index, name: name.clone(), exclusive })
    }

    /// The bound for the rows of `batch`.
    pub(crate) fn of_rows(&self, batch: &RecordBatch, which: &str) -> Result<RowBounds> {
        let (index, name, exclusive) = match self {
            Self::Latest => return Ok(RowBounds::Latest),
            Self::Time { micros, exclusive } => {
                return Ok(RowBounds::Constant { stated: *micros, exclusive: *exclusive });
            }
            Self::Column { index, name, exclusive } => (*index, name, *exclusive),
        };
        let column = batch.column(index);
        if let Some(nulls) = column.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
            let row = nulls.iter().position(|valid| !valid).expect("a null was counted");
            return Err(Error::invalid(format!(
                "row {row}: column {name:?}, the \"{which}\" bound, is null; every row needs a time"
            )));
        }
        // Neither sees a microsecond too many.
        let rounding = if exclusive { Rounding::Up } else { Rounding::Down };
        let times = to_micros(column, rounding)?;
        if let Some(row) = times.misfits.and_then(|misfits| misfits.set_indices().next()) {
            let wrong = if column.data_type().is_temporal() { "a time out of range" } else { "text that is no time" };
            return Err(Error::invalid(format!("row {row}: column {name:?}, the \"{which}\" bound, has {wrong}")));
        }
        Ok(RowBounds::PerRow { stated: times.micros, exclusive })
    }
}

/// One bound for every row of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowBounds {
    /// Everything.
    Latest,
    /// The same for all rows.
    Constant { stated: Micros, exclusive: bool },
    /// One for each row.
    PerRow { stated: ScalarBuffer<Micros>, exclusive: bool },
}

impl RowBounds {
    /// The greatest time that `row` sees; [`i64::MAX`] if all.
    #[inline]
    pub(crate) fn of(&self, row: usize) -> Micros {
        match self {
            Self::Latest => i64::MAX,
            Self::Constant { stated, exclusive } => last_within(*stated, *exclusive),
            Self::PerRow { stated, exclusive } => last_within(stated[row], *exclusive),
        }
    }

    /// The greatest time that every row sees, if it is the same for all.
    pub(crate) fn constant(&self) -> Option<Micros> {
        match self {
            Self::PerRow { .. } => None,
            same => Some(same.of(0)),
        }
    }

    /// The moment that was stated for `row`.
    fn stated(&self, row: usize) -> Option<Micros> {
        match self {
            Self::Latest => None,
            Self::Constant { stated, .. } => Some(*stated),
            Self::PerRow { stated, .. } => Some(stated[row]),
        }
    }
}

/// The bounds of one read of one entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PointBounds {
    /// The greatest event time that is visible.
    pub(crate) as_of: Micros,
    /// The greatest ingest time that is visible.
    pub(crate) known_at: Micros,
    /// The last commit that is visible.
    pub(crate) position: Sequence,
}

/// The bounds of the rows of a batch, and the clock that ages are measured from where no moment is stated.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub(crate) as_of: RowBounds,
    pub(crate) known_at: RowBounds,
    pub(crate) position: Sequence,
    pub(crate) clock: Micros,
}

impl Bounds {
    /// Everything up to `position`.
    pub(crate) fn latest(position: Sequence, clock: Micros) -> Self {
        Self { as_of: RowBounds::Latest, known_at: RowBounds::Latest, position, clock }
    }

    /// Whether every row sees everything up to the position.
    pub(crate) fn is_latest(&self) -> bool {
        self.as_of == RowBounds::Latest && self.known_at == RowBounds::Latest
    }

    /// What the row at `place` sees.
    #[inline]
    pub(crate) fn of(&self, place: u32) -> PointBounds {
        let place = place as usize;
        PointBounds { as_of: self.as_of.of(place), known_at: self.known_at.of(place), position: self.position }
    }

    /// What the ages of `row` are measured from: T as stated; if T is open, S where S is a time; else the clock.
    #[inline]
    pub(crate) fn ages_from(&self, row: usize) -> Micros {
        self.as_of.stated(row).or_else(|| self.known_at.stated(row)).unwrap_or(self.clock)
    }
}

/// The last microsecond within a bound.
#[inline]
fn last_within(stated: Micros, exclusive: bool) -> Micros {
    stated.saturating_sub(i64::from(exclusive))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, TimestampNanosecondArray};

    use super::*;

    #[test]
    fn a_bound_between_two_microseconds_sees_none_too_many_and_ages_count_from_it() {
        let column: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![5_000, 5_001, -1]));
        let batch = RecordBatch::try_from_iter([("t", column)]).expect("a column");
        let of = |exclusive: bool| {
            let planned = PlannedBound::Column { index: 0, name: "t".to_owned(), exclusive };
            let as_of = planned.of_rows(&batch, "as_of").expect("times");
            let bounds = Bounds { as_of, ..Bounds::latest(9, 100) };
            (0..3).map(|row| (bounds.of(row).as_of, bounds.ages_from(row as usize))).collect::<Vec<_>>()
        };
        assert_eq!(of(false), [(5, 5), (5, 5), (-1, -1)]);
        assert_eq!(of(true), [(4, 5), (5, 6), (-1, 0)]);
    }

    #[test]
    fn ages_count_from_the_event_bound_then_from_the_knowledge_bound_then_from_the_clock() {
        let at = |stated| RowBounds::Constant { stated, exclusive: true };
        let open = Bounds::latest(9, 100);
        assert_eq!((open.ages_from(0), open.is_latest()), (100, true));
        let known = Bounds { known_at: at(7), ..open };
        assert_eq!((known.ages_from(0), known.of(0).known_at, known.is_latest()), (7, 6, false));
        let both = Bounds { as_of: at(3), ..known };
        assert_eq!((both.ages_from(0), both.of(0).as_of), (3, 2));
    }
}
