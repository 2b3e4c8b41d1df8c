//! Timestamps of any unit and zone as microseconds UTC: the one place where units of stored times and bounds meet.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};

use super::cast::relabel;
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

/// The times in `given`; an error if it has another type. Microseconds are not copied.
pub(crate) fn to_micros(given: &ArrayRef, rounding: Rounding) -> Result<Times> {
    let DataType::Timestamp(unit, _) = given.data_type() else {
        let expected = "needs a timestamp type; any unit, with or without a time zone (none means UTC)";
        return Err(Error::invalid(format!("has type {}; it {expected}", print_type(given.data_type()))));
    };
    let raw = relabel(given, &DataType::Int64)?;
    let raw = raw.as_primitive::<Int64Type>();
    let (times, nulls) = (raw.values(), raw.nulls().cloned());
    let up = |time: i64| i64::from(rounding == Rounding::Up && time.rem_euclid(1_000) != 0);
    let convert = |time: i64| match unit {
        TimeUnit::Second => time.checked_mul(1_000_000),
        TimeUnit::Millisecond => time.checked_mul(1_000),
        TimeUnit::Microsecond => Some(time),
        TimeUnit::Nanosecond if rounding != Rounding::Refused || time % 1_000 == 0 => {
            Some(time.div_euclid(1_000) + up(time))
        }
        TimeUnit::Nanosecond => None,
    };
    if *unit == TimeUnit::Microsecond {
        return Ok(Times { micros: times.clone(), nulls, misfits: None });
    }
    let micros: Vec<i64> = times.iter().map(|&time| convert(time).unwrap_or(0)).collect();
    let misfits = BooleanBuffer::collect_bool(times.len(), |row| {
        convert(times[row]).is_none() && nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
    });
    let misfits = (misfits.count_set_bits() > 0).then_some(misfits);
    Ok(Times { micros: micros.into(), nulls, misfits })
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
        assert!(to_micros(&number, Rounding::Down).expect_err("no time").message().contains("needs a timestamp type"));
    }
}
