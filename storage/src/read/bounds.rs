//! Bounds per row: from what was asked to plain microseconds.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};

use super::plan::PlannedBound;
use crate::error::{Error, Result};
use crate::time::Micros;

/// An inclusive bound for every row of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowBounds {
    /// The same for all rows; open is [`i64::MAX`].
    Constant(Micros),
    /// One for each row.
    PerRow(Vec<Micros>),
}

impl RowBounds {
    pub(crate) fn of(&self, row: usize) -> Micros {
        match self {
            Self::Constant(bound) => *bound,
            Self::PerRow(bounds) => bounds[row],
        }
    }

    /// The constant, if there is one.
    pub(crate) fn constant(&self) -> Option<Micros> {
        match self {
            Self::Constant(bound) => Some(*bound),
            Self::PerRow(_) => None,
        }
    }
}

/// The inclusive bounds of `bound` for the rows of `batch`. An exclusive bound becomes the microsecond before it.
pub(crate) fn row_bounds(bound: &PlannedBound, batch: &RecordBatch, which: &str) -> Result<RowBounds> {
    match bound {
        PlannedBound::Latest => Ok(RowBounds::Constant(i64::MAX)),
        PlannedBound::Time { micros, exclusive } => Ok(RowBounds::Constant(inclusive(*micros, *exclusive))),
        PlannedBound::Column { index, name, exclusive } => {
            let column = batch.column(*index);
            if let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) {
                let row = nulls.iter().position(|valid| !valid).expect("a null was counted");
                return Err(Error::invalid(format!(
                    "row {row}: column {name:?}, the \"{which}\" bound, is null; every row needs a time"
                )));
            }
            let times = micros_of(column.as_ref(), *exclusive).ok_or_else(|| {
                Error::invalid(format!("column {name:?}, the \"{which}\" bound, has a time out of range"))
            })?;
            Ok(RowBounds::PerRow(times))
        }
    }
}

fn inclusive(micros: Micros, exclusive: bool) -> Micros {
    if exclusive { micros.saturating_sub(1) } else { micros }
}

/// Inclusive microseconds of a timestamp column without nulls; nanoseconds are floored where the bound is inclusive
/// and rounded up where it is exclusive, so that neither sees a microsecond too many.
fn micros_of(column: &dyn Array, exclusive: bool) -> Option<Vec<Micros>> {
    let DataType::Timestamp(unit, _) = column.data_type() else { return None };
    let scaled = |values: &[i64], factor: i64| -> Option<Vec<i64>> {
        values.iter().map(|&value| value.checked_mul(factor).map(|micros| inclusive(micros, exclusive))).collect()
    };
    match unit {
        TimeUnit::Second => scaled(column.as_primitive::<TimestampSecondType>().values(), 1_000_000),
        TimeUnit::Millisecond => scaled(column.as_primitive::<TimestampMillisecondType>().values(), 1_000),
        TimeUnit::Microsecond => scaled(column.as_primitive::<TimestampMicrosecondType>().values(), 1),
        TimeUnit::Nanosecond => {
            let values = column.as_primitive::<TimestampNanosecondType>().values();
            let floor = |value: i64| value.div_euclid(1_000);
            let before = |value: i64| (value.div_euclid(1_000) + i64::from(value.rem_euclid(1_000) != 0)) - 1;
            Some(values.iter().map(|&value| if exclusive { before(value) } else { floor(value) }).collect())
        }
    }
}
