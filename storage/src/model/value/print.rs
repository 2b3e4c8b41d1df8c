//! Arrays to JSON.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DecimalType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta};
use serde_json::{Value, json};

use super::integer_json;
use crate::error::{Error, Result};
use crate::model::duration::print_span;
use crate::model::types::{as_declared, print_type, stored_type};

/// The value of `array` at `row`.
pub fn to_json(array: &ArrayRef, row: usize) -> Result<Value> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Boolean => json!(array.as_boolean().value(row)),
        DataType::Int8 => integer::<Int8Type>(array, row),
        DataType::Int16 => integer::<Int16Type>(array, row),
        DataType::Int32 => integer::<Int32Type>(array, row),
        DataType::Int64 => integer::<Int64Type>(array, row),
        DataType::UInt8 => integer::<UInt8Type>(array, row),
        DataType::UInt16 => integer::<UInt16Type>(array, row),
        DataType::UInt32 => integer::<UInt32Type>(array, row),
        DataType::UInt64 => integer::<UInt64Type>(array, row),
        DataType::Float16 => {
            let value = array.as_primitive::<Float16Type>().value(row);
            float(value.to_f64(), || format!("{value:e}"), |read| half::f16::from_f64(read) == value)
        }
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            float(f64::from(value), || format!("{value:e}"), |read| read as f32 == value)
        }
        DataType::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(row);
            float(value, || format!("{value:e}"), |read| read == value)
        }
        DataType::Decimal32(precision, scale) => decimal::<Decimal32Type>(array, row, *precision, *scale),
        DataType::Decimal64(precision, scale) => decimal::<Decimal64Type>(array, row, *precision, *scale),
        DataType::Decimal128(precision, scale) => decimal::<Decimal128Type>(array, row, *precision, *scale),
        DataType::Decimal256(precision, scale) => decimal::<Decimal256Type>(array, row, *precision, *scale),
        DataType::Date32 => date(i64::from(array.as_primitive::<Date32Type>().value(row)))?,
        DataType::Date64 => {
            let millis = array.as_primitive::<Date64Type>().value(row);
            if millis % 86_400_000 != 0 {
                return Err(Error::invalid(format!("the date64 of {millis} ms is not a whole day")));
            }
            date(millis / 86_400_000)?
        }
        DataType::Time32(unit) | DataType::Time64(unit) => time_of_day(nanos(array, row, *unit)?)?,
        DataType::Timestamp(unit, _) => timestamp(nanos(array, row, *unit)?)?,
        DataType::Duration(unit) => Value::String(print_span(nanos(array, row, *unit)?)),
        DataType::Utf8 => json!(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => json!(array.as_string::<i64>().value(row)),
        DataType::Binary => base64(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => base64(array.as_binary::<i64>().value(row)),
        DataType::FixedSizeBinary(_) => base64(array.as_fixed_size_binary().value(row)),
        DataType::List(_) => list(&array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(..) => list(&array.as_fixed_size_list().value(row))?,
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter();
            let pairs =
                fields.iter().zip(columns).map(|(field, column)| Ok((field.name().clone(), to_json(column, row)?)));
            Value::Object(pairs.collect::<Result<_>>()?)
        }
        DataType::Map(..) => map(&array.as_map().value(row))?,
        declared @ (DataType::Dictionary(..) | DataType::Utf8View | DataType::BinaryView) => {
            let plain = as_declared(array.slice(row, 1), &stored_type(declared))?;
            return to_json(&plain, 0);
        }
        other => return Err(Error::invalid(format!("{} has no JSON form", print_type(other)))),
    })
}

fn integer<T: ArrowPrimitiveType>(array: &ArrayRef, row: usize) -> Value
where
    i128: From<T::Native>,
{
    integer_json(i128::from(array.as_primitive::<T>().value(row)))
}

/// A float as the shortest number that comes back as the same bits: a string where reading JSON numbers, which is not
/// exact to the last bit everywhere, would give another.
fn float(value: f64, print: impl Fn() -> String, same: impl Fn(f64) -> bool) -> Value {
    if value.is_nan() {
        return json!("NaN");
    }
    if value.is_infinite() {
        return json!(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let short = print();
    let number = short.parse::<f64>().map(|number| json!(number)).unwrap_or_default();
    match serde_json::from_str::<f64>(&number.to_string()) {
        Ok(read) if same(read) => number,
        _ => Value::String(short),
    }
}

fn decimal<T: DecimalType>(array: &ArrayRef, row: usize, precision: u8, scale: i8) -> Value {
    Value::String(T::format_decimal(array.as_primitive::<T>().value(row), precision, scale))
}

fn date(days: i64) -> Result<Value> {
    let date = TimeDelta::try_days(days).and_then(|days| NaiveDate::default().checked_add_signed(days));
    let date = date.ok_or_else(|| Error::invalid(format!("the date {days} days from 1970 is outside the calendar")))?;
    Ok(Value::String(date.to_string()))
}

/// The nanoseconds in a column of times whose native type is `i32` or `i64`.
fn nanos(array: &ArrayRef, row: usize, unit: TimeUnit) -> Result<i128> {
    let plain = if matches!(array.data_type(), DataType::Time32(_)) { DataType::Int32 } else { DataType::Int64 };
    let data = array.slice(row, 1).to_data().into_builder().data_type(plain.clone()).build()?;
    let raw = arrow_array::make_array(data);
    let value = match plain {
        DataType::Int32 => i128::from(raw.as_primitive::<Int32Type>().value(0)),
        _ => i128::from(raw.as_primitive::<Int64Type>().value(0)),
    };
    Ok(match unit {
        TimeUnit::Second => value * 1_000_000_000,
        TimeUnit::Millisecond => value * 1_000_000,
        TimeUnit::Microsecond => value * 1_000,
        TimeUnit::Nanosecond => value,
    })
}

fn time_of_day(nanos: i128) -> Result<Value> {
    let seconds = u32::try_from(nanos.div_euclid(1_000_000_000)).ok();
    let rest = nanos.rem_euclid(1_000_000_000) as u32;
    let time = seconds.and_then(|seconds| NaiveTime::from_num_seconds_from_midnight_opt(seconds, rest));
    let time = time.ok_or_else(|| Error::invalid(format!("{nanos} ns is no time of day")))?;
    Ok(Value::String(time.to_string()))
}

fn timestamp(nanos: i128) -> Result<Value> {
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok();
    let rest = nanos.rem_euclid(1_000_000_000) as u32;
    if let Some(time) = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, rest)) {
        // RFC 3339 knows four digits of the year.
        if (0..=9999).contains(&chrono::Datelike::year(&time)) {
            return Ok(Value::String(time.to_rfc3339_opts(SecondsFormat::AutoSi, true)));
        }
    }
    let micros = i64::try_from(nanos / 1_000).ok().filter(|_| nanos % 1_000 == 0);
    let micros = micros.ok_or_else(|| Error::invalid(format!("the time {nanos} ns from 1970 has no JSON form")))?;
    Ok(json!({ "us": integer_json(i128::from(micros)) }))
}

fn base64(bytes: &[u8]) -> Value {
    Value::String(STANDARD.encode(bytes))
}

fn list(items: &ArrayRef) -> Result<Value> {
    (0..items.len()).map(|row| to_json(items, row)).collect::<Result<Vec<_>>>().map(Value::Array)
}

/// The entries of one map: an object where the keys are text and none repeats, else pairs.
fn map(entries: &arrow_array::StructArray) -> Result<Value> {
    let (keys, values) = (entries.column(0), entries.column(1));
    let rows = 0..entries.len();
    let pairs = rows.map(|row| Ok((to_json(keys, row)?, to_json(values, row)?))).collect::<Result<Vec<_>>>()?;
    if matches!(keys.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..))
    {
        let texts = pairs.iter().map(|(key, value)| Some((key.as_str()?.to_owned(), value.clone())));
        if let Some(object) =
            texts.collect::<Option<serde_json::Map<_, _>>>().filter(|object| object.len() == pairs.len())
        {
            return Ok(Value::Object(object));
        }
    }
    Ok(Value::Array(pairs.into_iter().map(|(key, value)| json!([key, value])).collect()))
}
