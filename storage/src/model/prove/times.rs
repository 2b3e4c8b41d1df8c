//! The checks of event times and ingest times.

use arrow_array::Array;
use arrow_buffer::ScalarBuffer;
use arrow_schema::{DataType, TimeUnit};

use super::bad_rows::BadRows;
use super::columns::Given;
use crate::error::Result;
use crate::model::catalog::Table;
use crate::model::duration::{print_duration, time_text};
use crate::model::micros::{Rounding, Times, text_micros, to_micros};
use crate::time::Micros;

/// The earliest event time and ingest time: the year 1.
pub const EVENT_TIME_MIN: Micros = -62_135_596_800_000_000;
/// The latest event time and ingest time: the end of the year 9999.
pub const EVENT_TIME_MAX: Micros = 253_402_300_799_999_999;

/// The event times in microseconds, marking rows that have none.
pub(super) fn event_times(given: &Given<'_>, table: &Table, bad: &mut BadRows) -> Result<ScalarBuffer<i64>> {
    let rounding = if table.rounding_floor { Rounding::Down } else { Rounding::Refused };
    let converted = to_micros(given.array, rounding).map_err(|error| given.refuse(error));
    let nanos = "is not whole microseconds; round it, or declare the table with \"event_time_rounding\": \"floor\"";
    checked(given, converted?, "an event time is never null", nanos, bad)
}

/// The ingest times in microseconds, marking rows that have none, that go back in time or lie in the future.
pub(super) fn ingest_times(given: &Given<'_>, now: Micros, bad: &mut BadRows) -> Result<ScalarBuffer<i64>> {
    let converted = to_micros(given.array, Rounding::Refused);
    let converted = converted.map_err(|error| given.refuse(error))?;
    let times = checked(given, converted, "an ingest time is never null", "is not whole microseconds; round it", bad)?;
    let ordered = times.windows(2).all(|pair| pair[0] <= pair[1]);
    if bad.is_empty() && ordered && times.last().is_none_or(|&last| last <= now) {
        return Ok(times);
    }
    let mut last = EVENT_TIME_MIN;
    let (mut future, mut back) = (Vec::new(), Vec::new());
    for (row, &time) in times.iter().enumerate() {
        if bad.is_bad(row, given.name) {
            continue;
        }
        if time > now {
            future.push(row);
        } else if time < last {
            back.push(row);
        } else {
            last = time;
        }
    }
    bad.add(given.name, future.into_iter(), |row| {
        format!("{} lies in the future; an ingest time says when the row was learned", time_text(times[row]))
    });
    bad.add(given.name, back.into_iter(), |row| {
        format!("{} is earlier than an ingest time before it; sort the rows by ingest time", time_text(times[row]))
    });
    Ok(times)
}

/// Marks nulls, times that could not be converted and times outside the calendar.
fn checked(
    given: &Given<'_>,
    converted: Times,
    null: &str,
    inexact: &str,
    bad: &mut BadRows,
) -> Result<ScalarBuffer<i64>> {
    let Times { micros: times, nulls, misfits } = converted;
    let valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    if let Some(nulls) = nulls.as_ref().filter(|nulls| nulls.null_count() > 0) {
        bad.add(given.name, (!nulls.inner()).set_indices(), |_| null.to_owned());
    }
    if let Some(misfits) = &misfits {
        let nanoseconds = matches!(given.array.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _));
        let is_text = !given.array.data_type().is_temporal();
        bad.add(given.name, misfits.set_indices(), |row| {
            let text = arrow_cast::display::array_value_to_string(given.array, row).unwrap_or_default();
            match is_text {
                true if text_micros(&text, Rounding::Down).is_none() => {
                    let text: String = text.chars().take(60).collect();
                    format!("`{text}` is no time; write ISO 8601, such as 2026-01-31T12:00:00Z")
                }
                _ if nanoseconds || is_text => format!("{text} {inexact}"),
                _ => "is outside the years 1 to 9999".to_owned(),
            }
        });
    }
    let inside = |time: i64| (EVENT_TIME_MIN..=EVENT_TIME_MAX).contains(&time);
    if !times.iter().fold(true, |all, &time| all & inside(time)) {
        let outside = (0..times.len()).filter(|&row| valid(row) && !inside(times[row]));
        bad.add(given.name, outside, |row| format!("{} µs from 1970 is outside the years 1 to 9999", times[row]));
    }
    Ok(times)
}

/// Marks the rows whose event time is further after their ingest time than the table allows; `ingest_times` are those of a
/// column. Where it is null nothing is known to be compared with.
pub(super) fn check_future_skew(
    given: &Given<'_>,
    event_times: &ScalarBuffer<i64>,
    ingest_times: Option<(&Given<'_>, &[i64])>,
    now: Micros,
    skew_max: Option<i64>,
    bad: &mut BadRows,
) {
    let Some(skew_max) = skew_max else { return };
    let known = |row: usize| ingest_times.map_or(now, |(_, times)| times[row]);
    let latest = event_times.iter().copied().max().unwrap_or(i64::MIN);
    if ingest_times.is_none() && latest <= now.saturating_add(skew_max) {
        return;
    }
    let is_bad =
        |row: usize| bad.is_bad(row, given.name) || ingest_times.is_some_and(|(known, _)| known.array.is_null(row));
    let late = |row: &usize| event_times[*row] > known(*row).saturating_add(skew_max) && !is_bad(*row);
    let rows: Vec<usize> = (0..event_times.len()).filter(late).collect();
    bad.add(given.name, rows.into_iter(), |row| {
        format!(
            "the event time {} is more than {} after the ingest time {}; a table of planned facts sets max_future_skew to \"none\"",
            time_text(event_times[row]),
            print_duration(skew_max),
            time_text(known(row))
        )
    });
}
