//! Durations and times as text: `"90s"`, `"30d"`, ISO 8601, `{"us":n}`.
//!
//! All arithmetic is checked: text never wraps around into another time. Inside, times and durations are microseconds;
//! nanoseconds exist only between a text and the feature type that can hold them.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, SecondsFormat, Timelike};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::time::Micros;

/// Nanoseconds per unit, the largest unit first.
const UNITS: [(&str, i128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// The microseconds that `text` spells, such as `"100ms"`, `"90s"`, `"15m"`, `"2h"`, `"30d"`; never negative.
pub fn parse_duration(text: &str) -> Result<i64> {
    let wrong = || {
        Error::invalid(format!(
            "`{text}` is no duration; write a whole number and a unit (us, ms, s, m, h, d), such as \"90s\", \"2h\" or \"30d\""
        ))
    };
    let nanos = parse_span(text).filter(|nanos| *nanos >= 0 && nanos % 1_000 == 0).ok_or_else(wrong)?;
    i64::try_from(nanos / 1_000)
        .map_err(|_| Error::invalid(format!("`{text}` is too long for a duration; the longest is 106751991d")))
}

/// The shortest spelling of `micros`, in the largest unit that holds it exactly.
pub fn print_duration(micros: i64) -> String {
    print_span(i128::from(micros) * 1_000)
}

/// Signed nanoseconds from a number and a unit.
pub(super) fn parse_span(text: &str) -> Option<i128> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '-')?;
    let (number, unit) = text.split_at(digits);
    let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<i64>().ok().map(|number| i128::from(number) * nanos)
}

/// The spelling of signed nanoseconds.
pub(super) fn print_span(nanos: i128) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let fitting = UNITS.iter().find(|(_, unit)| nanos % unit == 0);
    let (name, unit) = fitting.copied().unwrap_or(("ns", 1));
    format!("{}{name}", nanos / unit)
}

/// The microseconds that `value` spells: an ISO 8601 string (without an offset: UTC) or `{"us":n}`.
pub fn parse_time(value: &Value) -> Result<Micros> {
    let nanos = parse_nanos(value)?;
    if nanos % 1_000 != 0 {
        return Err(Error::invalid(format!("the time {value} is not whole microseconds")));
    }
    i64::try_from(nanos / 1_000).map_err(|_| Error::invalid(format!("the time {value} is too far away")))
}

/// The microseconds that an ISO 8601 text (without an offset: UTC) spells. Nanoseconds are floored, or with `round_up` go
/// to the microsecond after.
pub fn parse_time_text(text: &str, round_up: bool) -> Result<Micros> {
    let nanos = nanos_of(text).ok_or_else(|| {
        Error::invalid(format!(
            "`{text}` is no time; write RFC 3339, such as 2026-01-31T12:00:00Z, or {{\"us\": microseconds since 1970}}"
        ))
    })?;
    let micros = nanos.div_euclid(1_000) + i128::from(round_up && nanos.rem_euclid(1_000) != 0);
    i64::try_from(micros).map_err(|_| Error::invalid(format!("the time {text} is too far away")))
}

/// The nanoseconds since 1970 that a text spells in ISO 8601: a date, which is its midnight, or a date and a time of day
/// behind a `T` or a space, with or without seconds, up to nine digits of them, and an offset (`Z`, `+02:00`, `+0200`,
/// `+02`; none means UTC). What it says is never cut.
pub(super) fn nanos_of(text: &str) -> Option<i128> {
    let (date, rest) = text.split_at_checked(DATE_BYTES)?;
    let days = days_of(date)?;
    let Some(rest) = rest.strip_prefix(['T', 't', ' ']) else {
        return rest.is_empty().then_some(days * DAY_NANOS);
    };
    let (time, offset) = rest.split_at(rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len()));
    Some(days * DAY_NANOS + time_of_day(time)? - offset_nanos(offset)?)
}

/// The bytes of a date as ISO 8601 writes it.
const DATE_BYTES: usize = 10;
pub(super) const DAY_NANOS: i128 = 86_400_000_000_000;

fn days_of(date: &str) -> Option<i128> {
    let digits = |(place, byte): (usize, u8)| if matches!(place, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
    let written = date.len() == DATE_BYTES && date.bytes().enumerate().all(digits);
    let date: NaiveDate = if written { date.parse().ok()? } else { return None };
    Some(date.signed_duration_since(NaiveDate::default()).num_days().into())
}

/// The nanoseconds since midnight that `text` spells: hours and minutes, perhaps seconds and up to nine digits of them.
pub(super) fn time_of_day(text: &str) -> Option<i128> {
    let (whole, digits) = text.split_once('.').map_or((text, None), |(whole, digits)| (whole, Some(digits)));
    let places = |(place, byte): (usize, u8)| if place % 3 == 2 { byte == b':' } else { byte.is_ascii_digit() };
    let written = whole.bytes().enumerate().all(places) && matches!((whole.len(), digits), (5, None) | (8, _));
    let number = |at: usize| whole.get(at..at + 2).and_then(|part| part.parse::<u32>().ok());
    let seconds = if whole.len() == 8 { number(6)? } else { 0 };
    let time = if written { NaiveTime::from_hms_opt(number(0)?, number(3)?, seconds)? } else { return None };
    let fraction = match digits.map(|digits| digits.trim_end_matches('0')) {
        None => 0,
        Some(exact) if exact.len() <= 9 && digits.is_some_and(is_number) => format!("{exact:0<9}").parse().ok()?,
        Some(_) => return None,
    };
    Some(i128::from(time.num_seconds_from_midnight()) * 1_000_000_000 + fraction)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// How far before UTC a time with that offset is.
fn offset_nanos(offset: &str) -> Option<i128> {
    let (sign, digits) = match offset {
        "" | "Z" | "z" => return Some(0),
        _ => (if offset.starts_with('-') { -1 } else { 1 }, &offset[1..]),
    };
    let (hours, minutes) = match (digits.len(), digits.split_once(':')) {
        (5, Some(parts)) => parts,
        (2, None) => (digits, "00"),
        (4, None) => digits.split_at_checked(2)?,
        _ => return None,
    };
    let number = |text: &str, most: i128| -> Option<i128> {
        let number = if text.len() == 2 && is_number(text) { text.parse().ok()? } else { return None };
        (number <= most).then_some(number)
    };
    Some(sign * (number(hours, 23)? * 60 + number(minutes, 59)?) * 60_000_000_000)
}

/// `micros` as RFC 3339 in UTC, or as `{"us":n}` beyond the years of four digits.
pub fn print_time(micros: Micros) -> Value {
    match calendar(micros) {
        Some(text) => Value::String(text),
        None => serde_json::json!({ "us": micros }),
    }
}

/// `micros` for a message.
pub(crate) fn time_text(micros: Micros) -> String {
    calendar(micros).unwrap_or_else(|| format!("{micros} µs from 1970"))
}

fn calendar(micros: Micros) -> Option<String> {
    let time = DateTime::from_timestamp_micros(micros).filter(|time| (0..=9999).contains(&time.year()))?;
    Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// The nanoseconds since 1970 that `value` spells, as [`parse_time`] takes it.
pub(super) fn parse_nanos(value: &Value) -> Result<i128> {
    let wrong = || {
        Error::invalid(format!(
            "{value} is no time; write RFC 3339, such as \"2026-01-31T12:00:00Z\", or {{\"us\": microseconds since 1970}}"
        ))
    };
    match value {
        Value::String(text) => nanos_of(text).ok_or_else(wrong),
        Value::Object(fields) if fields.len() == 1 => {
            let micros = fields.get("us").and_then(whole_number).ok_or_else(wrong)?;
            Ok(i128::from(micros) * 1_000)
        }
        _ => Err(wrong()),
    }
}

/// A whole number: a JSON integer, or a string of digits as numbers beyond 2^53 are written.
pub(super) fn whole_number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}
