//! JSON to arrays.

use std::sync::Arc;

use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32SecondType, Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, LargeBinaryArray, LargeListArray, LargeStringArray,
    ListArray, MapArray, PrimitiveArray, StringArray, StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer, i256};
use arrow_schema::{DataType, FieldRef, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::NaiveDate;
use serde_json::Value;

use super::misfit;
use crate::error::{Error, Result};
use crate::model::duration::{DAY_NANOS, nanos_of, parse_nanos, parse_span, time_of_day};
use crate::model::types::{as_declared, map_fields, stored_type};

/// The array of `data_type` that holds `values`, a null for each JSON null.
pub fn from_json(values: &[&Value], data_type: &DataType) -> Result<ArrayRef> {
    match data_type {
        DataType::Boolean => {
            let array: BooleanArray = cells(values, data_type, Value::as_bool)?.into();
            Ok(Arc::new(array))
        }
        data_type if data_type.is_integer() || data_type.is_floating() => numbers(values, data_type),
        DataType::Decimal32(precision, scale) => {
            primitive::<Decimal32Type>(values, data_type, |value| unscaled(value, *precision, *scale)?.parse().ok())
        }
        DataType::Decimal64(precision, scale) => {
            primitive::<Decimal64Type>(values, data_type, |value| unscaled(value, *precision, *scale)?.parse().ok())
        }
        DataType::Decimal128(precision, scale) => {
            primitive::<Decimal128Type>(values, data_type, |value| unscaled(value, *precision, *scale)?.parse().ok())
        }
        DataType::Decimal256(precision, scale) => primitive::<Decimal256Type>(values, data_type, |value| {
            i256::from_string(&unscaled(value, *precision, *scale)?)
        }),
        DataType::Date32 => {
            primitive::<Date32Type>(values, data_type, |value| time_number(value.as_str()?, data_type)?.try_into().ok())
        }
        DataType::Date64 => primitive::<Date64Type>(values, data_type, |value| time_number(value.as_str()?, data_type)),
        DataType::Time32(_) => primitive::<Time32SecondType>(values, data_type, |value| {
            time_number(value.as_str()?, data_type)?.try_into().ok()
        }),
        DataType::Time64(_) => {
            primitive::<Time64MicrosecondType>(values, data_type, |value| time_number(value.as_str()?, data_type))
        }
        DataType::Timestamp(unit, _) => {
            primitive::<TimestampMicrosecondType>(values, data_type, |value| in_unit(parse_nanos(value).ok()?, *unit))
        }
        DataType::Duration(unit) => {
            primitive::<DurationMicrosecondType>(values, data_type, |value| in_unit(span(value)?, *unit))
        }
        DataType::Utf8 => Ok(Arc::new(StringArray::from(cells(values, data_type, Value::as_str)?))),
        DataType::LargeUtf8 => Ok(Arc::new(LargeStringArray::from(cells(values, data_type, Value::as_str)?))),
        DataType::Binary => {
            let bytes = cells(values, data_type, base64)?;
            Ok(Arc::new(BinaryArray::from_iter(bytes)))
        }
        DataType::LargeBinary => {
            let bytes = cells(values, data_type, base64)?;
            Ok(Arc::new(LargeBinaryArray::from_iter(bytes)))
        }
        DataType::FixedSizeBinary(width) => fixed_binary(values, data_type, *width),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            list(values, data_type, item)
        }
        DataType::Struct(fields) => structure(values, data_type, fields),
        DataType::Map(entries, _) => map(values, data_type, entries),
        DataType::Dictionary(..) | DataType::Utf8View | DataType::BinaryView => {
            as_declared(from_json(values, &stored_type(data_type))?, data_type)
        }
        _ => Err(misfit(values.first().copied().unwrap_or(&Value::Null), data_type)),
    }
}

/// Integers and floats.
fn numbers(values: &[&Value], data_type: &DataType) -> Result<ArrayRef> {
    match data_type {
        DataType::Int8 => primitive::<Int8Type>(values, data_type, |value| integer(value)?.try_into().ok()),
        DataType::Int16 => primitive::<Int16Type>(values, data_type, |value| integer(value)?.try_into().ok()),
        DataType::Int32 => primitive::<Int32Type>(values, data_type, |value| integer(value)?.try_into().ok()),
        DataType::Int64 => primitive::<Int64Type>(values, data_type, |value| integer(value)?.try_into().ok()),
        DataType::UInt8 => primitive::<UInt8Type>(values, data_type, |value| integer(value)?.try_into().ok()),
        DataType::UInt16 => primitive::<UInt16Type>(values, data_type, |value| integer(value)?.try_into().ok()),
        DataType::UInt32 => primitive::<UInt32Type>(values, data_type, |value| integer(value)?.try_into().ok()),
        DataType::UInt64 => primitive::<UInt64Type>(values, data_type, |value| integer(value)?.try_into().ok()),
        DataType::Float16 => primitive::<Float16Type>(values, data_type, |value| {
            narrowed(value, half::f16::from_f64, half::f16::is_finite)
        }),
        DataType::Float32 => {
            primitive::<Float32Type>(values, data_type, |value| narrowed(value, |number| number as f32, f32::is_finite))
        }
        DataType::Float64 => {
            primitive::<Float64Type>(values, data_type, |value| float(value).map(|(number, _)| number))
        }
        _ => Err(misfit(&Value::Null, data_type)),
    }
}

/// Each value through `cell`, JSON null as null; what `cell` does not take is an error.
fn cells<'a, T>(
    values: &[&'a Value],
    data_type: &DataType,
    cell: impl Fn(&'a Value) -> Option<T>,
) -> Result<Vec<Option<T>>> {
    let one = |value: &&'a Value| match value {
        Value::Null => Ok(None),
        value => cell(value).map(Some).ok_or_else(|| misfit(value, data_type)),
    };
    values.iter().map(one).collect()
}

/// An array of `data_type`, whose native type is that of `T`.
fn primitive<T: ArrowPrimitiveType>(
    values: &[&Value],
    data_type: &DataType,
    cell: impl Fn(&Value) -> Option<T::Native>,
) -> Result<ArrayRef> {
    let array: PrimitiveArray<T> = cells(values, data_type, cell)?.into_iter().collect();
    let data = arrow_array::Array::into_data(array).into_builder().data_type(data_type.clone()).build()?;
    Ok(arrow_array::make_array(data))
}

fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A float, and whether it is meant not to be finite.
fn float(value: &Value) -> Option<(f64, bool)> {
    match value {
        Value::Number(number) => number.as_f64().filter(|number| number.is_finite()).map(|number| (number, false)),
        Value::String(text) => match text.as_str() {
            "NaN" => Some((f64::NAN, true)),
            "Infinity" => Some((f64::INFINITY, true)),
            "-Infinity" => Some((f64::NEG_INFINITY, true)),
            text => text.parse().ok().filter(|number: &f64| number.is_finite()).map(|number| (number, false)),
        },
        _ => None,
    }
}

/// A float made narrower; one that is finite must stay so.
fn narrowed<T: Copy>(value: &Value, narrow: fn(f64) -> T, is_finite: fn(T) -> bool) -> Option<T> {
    let (number, special) = float(value)?;
    let narrow = narrow(number);
    (special || is_finite(narrow)).then_some(narrow)
}

/// The digits of a decimal times ten to the `scale`, with its sign.
fn unscaled(value: &Value, precision: u8, scale: i8) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        _ => return None,
    };
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.as_str()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = usize::try_from(scale).ok()?;
    let exact = fraction.trim_end_matches('0');
    let only_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !only_digits(whole) || !only_digits(fraction) || exact.len() > scale || text.len() > 200 {
        return None;
    }
    let joined = format!("{whole}{exact:0<scale$}");
    let significant = joined.trim_start_matches('0');
    if significant.len() > usize::from(precision) {
        return None;
    }
    Some(if significant.is_empty() { "0".to_owned() } else { format!("{sign}{significant}") })
}

/// The number of `data_type`, a type of dates, times of day or timestamps, that `text` spells exactly in ISO 8601.
pub fn time_number(text: &str, data_type: &DataType) -> Option<i64> {
    match data_type {
        DataType::Date32 => days(text),
        DataType::Date64 => days(text)?.checked_mul(86_400_000),
        DataType::Time32(unit) | DataType::Time64(unit) => in_unit(time_of_day(text)?, *unit),
        DataType::Timestamp(unit, _) => in_unit(nanos_of(text)?, *unit),
        _ => None,
    }
}

fn span(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => parse_span(text),
        Value::Object(_) => parse_nanos(value).ok(),
        _ => None,
    }
}

/// The days since 1970 of a date, of any year, or of the midnight that `text` spells.
fn days(text: &str) -> Option<i64> {
    match text.parse::<NaiveDate>() {
        Ok(date) => Some(date.signed_duration_since(NaiveDate::default()).num_days()),
        Err(_) => in_units(nanos_of(text)?, DAY_NANOS),
    }
}

/// Nanoseconds in `unit`, if they are whole in it.
fn in_unit(nanos: i128, unit: TimeUnit) -> Option<i64> {
    let size = match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    in_units(nanos, size)
}

/// Nanoseconds in units of `size`, if they are whole.
fn in_units(nanos: i128, size: i128) -> Option<i64> {
    if nanos % size == 0 { i64::try_from(nanos / size).ok() } else { None }
}

fn base64(value: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(value.as_str()?).ok()
}

fn fixed_binary(values: &[&Value], data_type: &DataType, width: i32) -> Result<ArrayRef> {
    let fitting = |value: &Value| base64(value).filter(|bytes| bytes.len() == width as usize);
    let mut builder = FixedSizeBinaryBuilder::with_capacity(values.len(), width);
    for cell in cells(values, data_type, fitting)? {
        match cell {
            Some(bytes) => builder.append_value(bytes)?,
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn list(values: &[&Value], data_type: &DataType, item: &FieldRef) -> Result<ArrayRef> {
    let lists = cells(values, data_type, Value::as_array)?;
    let nulls: NullBuffer = lists.iter().map(Option::is_some).collect();
    if let DataType::FixedSizeList(_, length) = data_type {
        let mut items = Vec::new();
        for (list, value) in lists.iter().zip(values) {
            match list {
                Some(list) if list.len() == *length as usize => items.extend(list.iter()),
                Some(_) => return Err(misfit(value, data_type)),
                None => items.extend(std::iter::repeat_n(&Value::Null, *length as usize)),
            }
        }
        let items = from_json(&items, item.data_type())?;
        return Ok(Arc::new(FixedSizeListArray::try_new(item.clone(), *length, items, Some(nulls))?));
    }
    let lengths = lists.iter().map(|list| list.map_or(0, Vec::len));
    let items: Vec<&Value> = lists.iter().flatten().flat_map(|list| list.iter()).collect();
    let items = from_json(&items, item.data_type())?;
    Ok(match data_type {
        DataType::LargeList(_) => {
            Arc::new(LargeListArray::try_new(item.clone(), OffsetBuffer::from_lengths(lengths), items, Some(nulls))?)
        }
        _ => Arc::new(ListArray::try_new(item.clone(), OffsetBuffer::from_lengths(lengths), items, Some(nulls))?),
    })
}

fn structure(values: &[&Value], data_type: &DataType, fields: &arrow_schema::Fields) -> Result<ArrayRef> {
    let objects = cells(values, data_type, Value::as_object)?;
    for object in objects.iter().flatten() {
        if let Some(unknown) = object.keys().find(|name| fields.find(name).is_none()) {
            let known: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            return Err(Error::invalid(format!(
                "a struct has no field `{unknown}`; its fields are {}",
                known.join(", ")
            )));
        }
    }
    let nulls: NullBuffer = objects.iter().map(Option::is_some).collect();
    let column = |field: &FieldRef| {
        let cells = objects.iter().map(|object| object.and_then(|object| object.get(field.name())));
        let inner: Vec<&Value> = cells.map(|cell| cell.unwrap_or(&Value::Null)).collect();
        from_json(&inner, field.data_type())
    };
    let columns = fields.iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, Some(nulls), values.len())?))
}

fn map(values: &[&Value], data_type: &DataType, entries: &FieldRef) -> Result<ArrayRef> {
    let (DataType::Struct(fields), Some((key_field, value_field))) = (entries.data_type(), map_fields(entries)) else {
        return Err(misfit(&Value::Null, data_type));
    };
    let DataType::Map(_, sorted) = data_type else { return Err(misfit(&Value::Null, data_type)) };
    let mut keys: Vec<Value> = Vec::new();
    let mut inner: Vec<&Value> = Vec::new();
    let mut lengths = Vec::with_capacity(values.len());
    for value in values {
        let before = keys.len();
        match value {
            Value::Null => {}
            Value::Object(object) => {
                for (key, value) in object {
                    keys.push(Value::String(key.clone()));
                    inner.push(value);
                }
            }
            Value::Array(pairs) => {
                for pair in pairs {
                    let Some([key, value]) = pair.as_array().map(Vec::as_slice) else {
                        return Err(misfit(pair, data_type));
                    };
                    keys.push(key.clone());
                    inner.push(value);
                }
            }
            other => return Err(misfit(other, data_type)),
        }
        lengths.push(keys.len() - before);
    }
    if keys.contains(&Value::Null) {
        return Err(Error::invalid("the key of a map is never null"));
    }
    let keys: Vec<&Value> = keys.iter().collect();
    let columns = vec![from_json(&keys, key_field.data_type())?, from_json(&inner, value_field.data_type())?];
    let entries_array = StructArray::try_new(fields.clone(), columns, None)?;
    let nulls: NullBuffer = values.iter().map(|value| !value.is_null()).collect();
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, entries_array, Some(nulls), *sorted)?))
}
