//! Values of SQL in the types of columns, where SQL has other types for them: the same values, or an error.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{IntervalMonthDayNano, IntervalMonthDayNanoType};
use arrow_array::{Array, ArrayRef, DurationMicrosecondArray, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_ord::cmp::distinct;
use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use datafusion::scalar::ScalarValue;
use firn_storage::error::Result;

use crate::error::{from_datafusion, invalid};

/// `given` as durations: SQL writes them as intervals, of which those with months have no length.
fn durations(given: &ArrayRef, name: &str) -> Result<ArrayRef> {
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let given = match given.data_type() {
        text if text.is_string() => cast_with_options(given, &interval, &strict).map_err(|error| {
            invalid(format!("column `{name}` has a text that is no interval: {error}")).of_column(name)
        })?,
        DataType::Null => new_null_array(&interval, given.len()),
        _ => Arc::clone(given),
    };
    let Some(intervals) = given.as_primitive_opt::<IntervalMonthDayNanoType>() else { return Ok(given) };
    let micros = |interval: IntervalMonthDayNano| {
        let days = i64::from(interval.days).checked_mul(86_400_000_000)?;
        let exact = interval.months == 0 && interval.nanoseconds % 1000 == 0;
        days.checked_add(interval.nanoseconds / 1000).filter(|_| exact)
    };
    let lengths = intervals.iter().enumerate().map(|(row, interval)| match interval {
        None => Ok(None),
        Some(interval) => micros(interval).map(Some).ok_or_else(|| {
            invalid(format!(
                "column `{name}` has an interval in row {row} that is no number of microseconds: write days, hours, \
                 minutes and seconds"
            ))
            .of_column(name)
        }),
    });
    Ok(Arc::new(lengths.collect::<Result<DurationMicrosecondArray>>()?))
}

/// `given` in the type `to` where SQL writes values of other families for it: the same values, or an error. What is of the
/// family is left to the door.
pub(super) fn fitted(given: &ArrayRef, to: &DataType, name: &str) -> Result<ArrayRef> {
    if let DataType::Duration(TimeUnit::Microsecond) = to {
        return durations(given, name);
    }
    let from = given.data_type();
    let crosses = from.is_integer() && (to.is_floating() || to.is_decimal())
        || from.is_floating() && (to.is_integer() || to.is_decimal())
        || from.is_decimal() && (to.is_integer() || to.is_floating());
    let spelled = from.is_string() && (to.is_temporal() || to.is_binary());
    let nothing = *from == DataType::Null;
    if !crosses && !spelled && !nothing {
        return Ok(Arc::clone(given));
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let misfit = |row: Option<usize>| {
        let value = row.and_then(|row| ScalarValue::try_from_array(given, row).ok());
        let value = value.map_or_else(String::new, |value| format!(" in row {}: {value}", row.unwrap_or(0)));
        invalid(format!("column `{name}` has {from} values that are no {to}{value}")).of_column(name)
    };
    let cast = cast_with_options(given, to, &strict).map_err(|_| misfit(None))?;
    if crosses && !to.is_floating() {
        let back = cast_with_options(&cast, from, &strict).map_err(|_| misfit(None))?;
        let changed = distinct(&back, given).map_err(|error| from_datafusion(&error.into()))?;
        if let Some(row) = (0..changed.len()).find(|&row| changed.value(row)) {
            return Err(misfit(Some(row)));
        }
    }
    Ok(cast)
}
