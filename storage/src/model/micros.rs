//! Times as microseconds UTC: timestamps of any unit and zone, dates, which are their midnights, and text in ISO 8601. The
//! one place where units of stored times and bounds meet.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, TimestampMicrosecondArray, new_null_array};
use arrow_buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};

use super::cast::relabel;
use super::duration::nanos_of;
use super::types::print_type;
use crate::error::{Error, Result};
use crate::time::Micros;

/// What becomes of nanoseconds that are not whole microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// They are misfits.
    Refused,
    /// The microsecond before.
    Down,
    /// The microsecond after.
    Up,
}

impl Rounding {
    fn micros(self, nanos: i128) -> Option<Micros> {
        let rest = nanos.rem_euclid(1_000);
        let micros = i64::try_from(nanos.div_euclid(1_000)).ok()?;
        match self {
            Self::Refused if rest != 0 => None,
            Self::Up if rest != 0 => micros.checked_add(1),
            _ => Some(micros),
        }
    }
}

/// A column of times.
#[derive(Debug)]
pub(crate) struct Times {
    /// Microseconds; what stands in rows that are null or do not fit means nothing.
    pub(crate) micros: ScalarBuffer<Micros>,
    /// The rows that have a time; `None` if all have.
    pub(crate) nulls: Option<NullBuffer>,
    /// The rows whose time is not whole microseconds or too far away; `None` if all fit.
    pub(crate) misfits: Option<BooleanBuffer>,
}

/// The time in the one row of `given`, rounded to microseconds up or down; `None` if it is null.
pub fn one_time(given: &ArrayRef, round_up: bool) -> Result<Option<Micros>> {
    assert_eq!(given.len(), 1, "one time is asked for");
    let times = micros_array(given, round_up)?;
    Ok(times.as_primitive::<TimestampMicrosecondType>().iter().next().flatten())
}

/// The times in `given` as microseconds, rounded up or down; null where it is.
pub fn micros_array(given: &ArrayRef, round_up: bool) -> Result<ArrayRef> {
    let times = to_micros(given, if round_up { Rounding::Up } else { Rounding::Down })?;
    match times.misfits.and_then(|misfits| misfits.set_indices().next()) {
        None => Ok(Arc::new(TimestampMicrosecondArray::new(times.micros, times.nulls))),
        Some(row) => Err(Error::invalid(format!("row {row}: no time, or one that is too far away"))),
    }
}

/// The times in `given`; an error if no value of its type is one. Microseconds are not copied.
pub(crate) fn to_micros(given: &ArrayRef, rounding: Rounding) -> Result<Times> {
    let unit = match given.data_type() {
        DataType::Timestamp(unit, _) => *unit,
        // What has no value is no time, whatever type its writer thought of.
        _ if given.logical_null_count() == given.len() => {
            let nulls = new_null_array(&DataType::Timestamp(TimeUnit::Microsecond, None), given.len());
            return to_micros(&nulls, rounding);
        }
        DataType::Date32 => return to_micros(&cast(given, &DataType::Timestamp(TimeUnit::Second, None))?, rounding),
        DataType::Date64 => {
            return to_micros(&relabel(given, &DataType::Timestamp(TimeUnit::Millisecond, None))?, rounding);
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => return of_text(given, rounding),
        DataType::Dictionary(_, values) => return to_micros(&cast(given, values)?, rounding),
        other => return Err(no_times(other)),
    };
    let raw = relabel(given, &DataType::Int64)?;
    let raw = raw.as_primitive::<Int64Type>();
    let (times, nulls) = (raw.values(), raw.nulls().cloned());
    let convert = |time: i64| match unit {
        TimeUnit::Second => time.checked_mul(1_000_000),
        TimeUnit::Millisecond => time.checked_mul(1_000),
        TimeUnit::Microsecond => Some(time),
        TimeUnit::Nanosecond => rounding.micros(time.into()),
    };
    if unit == TimeUnit::Microsecond {
        return Ok(Times { micros: times.clone(), nulls, misfits: None });
    }
    let micros: Vec<i64> = times.iter().map(|&time| convert(time).unwrap_or(0)).collect();
    let misfits = BooleanBuffer::collect_bool(times.len(), |row| {
        convert(times[row]).is_none() && nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
    });
    let misfits = (misfits.count_set_bits() > 0).then_some(misfits);
    Ok(Times { micros: micros.into(), nulls, misfits })
}

/// Refuses a type of which no value is a time.
pub(crate) fn check_times(given: &DataType) -> Result<()> {
    match given {
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Null => Ok(()),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(()),
        DataType::Dictionary(_, values) => check_times(values),
        other => Err(no_times(other)),
    }
}

fn no_times(given: &DataType) -> Error {
    let expected = "needs timestamps of any unit, with or without a time zone (none means UTC), dates, or text";
    Error::invalid(format!("has type {}; it {expected}", print_type(given)))
}

fn of_text(given: &ArrayRef, rounding: Rounding) -> Result<Times> {
    let text = cast(given, &DataType::LargeUtf8)?;
    let times = text.as_string::<i64>().iter().map(|text| text.map(|text| text_micros(text, rounding)));
    let times: Vec<Option<Option<Micros>>> = times.collect();
    let misfits = BooleanBuffer::collect_bool(times.len(), |row| times[row] == Some(None));
    let misfits = (misfits.count_set_bits() > 0).then_some(misfits);
    let micros: Vec<Micros> = times.iter().map(|time| time.flatten().unwrap_or(0)).collect();
    Ok(Times { micros: micros.into(), nulls: text.nulls().cloned(), misfits })
}

/// The microseconds that `text` spells; `None` if it is no time, or not one that fits.
pub(crate) fn text_micros(text: &str, rounding: Rounding) -> Option<Micros> {
    rounding.micros(nanos_of(text.trim())?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float64Array, TimestampNanosecondArray, TimestampSecondArray};

    use super::*;

    #[test]
    fn nanoseconds_are_rounded_as_asked_or_are_misfits() {
        let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_500, 2_000, -1]));
        let of = |rounding| to_micros(&times, rounding).expect("a timestamp");
        let Times { micros, misfits, .. } = of(Rounding::Refused);
        assert_eq!((micros[1], misfits.expect("two are not whole").set_indices().collect::<Vec<_>>()), (2, vec![0, 2]));
        for (rounding, expected) in [(Rounding::Down, [1, 2, -1]), (Rounding::Up, [2, 2, 0])] {
            let Times { micros, misfits, .. } = of(rounding);
            assert_eq!((&micros[..], misfits), (&expected[..], None));
        }
        let far: ArrayRef = Arc::new(TimestampSecondArray::from(vec![Some(i64::MAX), None, Some(-1)]));
        let Times { micros, nulls, misfits } = to_micros(&far, Rounding::Down).expect("a timestamp");
        assert_eq!((micros[2], nulls.map(|nulls| nulls.null_count())), (-1_000_000, Some(1)));
        assert_eq!(misfits.expect("one is too far").set_indices().collect::<Vec<_>>(), [0]);
        let number: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        assert!(
            to_micros(&number, Rounding::Down).expect_err("no time").message().contains("needs timestamps of any unit")
        );
    }
}
