//! Single values as JSON: defaults in declarations, entities in tickets, values in reports.
//!
//! Every feature type has one JSON form: integers as numbers (beyond 2^53 as strings), decimals as strings, floats as
//! numbers or `"NaN"`, `"Infinity"`, `"-Infinity"`, binary as base64, dates as ISO 8601, times as RFC 3339 or
//! `{"us":n}`, durations as `"90s"`, lists as arrays, structs and maps as objects (a map whose keys are not text, or
//! repeat, as an array of pairs). [`from_json`] also takes any number as a string. What a type cannot hold exactly is an
//! error, except that a decimal number is rounded to the nearest float, as everywhere.

use serde_json::{Value, json};

use arrow_array::ArrayRef;
use arrow_schema::DataType;

use super::types::print_type;
use crate::error::{Error, Result};

mod parse;
mod print;

pub(crate) use super::duration::time_text;
pub use super::duration::{parse_duration, parse_time, parse_time_text, print_duration, print_time};
pub use parse::{from_json, time_number};
pub use print::to_json;

/// The one-row array of `data_type` that holds `value`.
pub fn one_from_json(value: &Value, data_type: &DataType) -> Result<ArrayRef> {
    from_json(&[value], data_type)
}

/// The greatest integer up to which JSON readers that know only doubles are exact.
const EXACT_MAX: u64 = 1 << 53;

/// The error that `value` is not a `data_type`, and how one is written.
fn misfit(value: &Value, data_type: &DataType) -> Error {
    let how = match data_type {
        DataType::Boolean => "true or false",
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            "a number in its range, \"NaN\", \"Infinity\" or \"-Infinity\""
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "a string",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "a base64 string",
        DataType::FixedSizeBinary(_) => "a base64 string of exactly its bytes",
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            "a string such as \"12.50\" within its precision and scale"
        }
        DataType::Date32 | DataType::Date64 => "a string such as \"2026-01-31\"",
        DataType::Time32(_) | DataType::Time64(_) => "a string such as \"12:30:00\" that is whole in its unit",
        DataType::Timestamp(..) => "an RFC 3339 string or {\"us\":n} that is whole in its unit",
        DataType::Duration(_) => "a string such as \"90s\" that is whole in its unit",
        DataType::List(_) | DataType::LargeList(_) => "an array",
        DataType::FixedSizeList(..) => "an array of exactly its length",
        DataType::Struct(_) => "an object",
        DataType::Map(..) => "an object or an array of pairs",
        _ => "a whole number in its range (as a string beyond 2^53)",
    };
    let text = value.to_string();
    let text = match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    };
    Error::invalid(format!("{text} is no {}; write {how}", print_type(data_type)))
}

/// An integer as JSON, as a string where doubles are not exact.
pub(super) fn integer_json(value: i128) -> Value {
    match i64::try_from(value) {
        Ok(small) if small.unsigned_abs() <= EXACT_MAX => json!(small),
        _ => Value::String(value.to_string()),
    }
}

#[cfg(test)]
mod tests;
