//! Types by name: how a declaration spells them, which of them FirnDB stores, and which may be widened to which.
//!
//! A type is spelled as pyarrow prints it, with the plain names where pyarrow has two (`float64`, `utf8`):
//! `timestamp[us, UTC]`, `fixed_size_list<float32>[256]`, `struct<a: int64>`. [`parse_type`] takes every spelling that
//! pyarrow prints or accepts, [`print_type`] gives one, and `parse_type(print_type(t)) == t` for every type that
//! `parse_type` returns. Everything inside a nested type is nullable.
//!
//! The *declared* type is what a reader gets. The *stored* type ([`stored_type`]) differs from it only for dictionaries,
//! which are stored as their values, and for view layouts, which are stored plainly; [`as_declared`] turns one into
//! the other at the last moment of a read.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};

use crate::error::{Error, Result};

mod parser;

pub use parser::parse_type;

/// How deeply types may be nested.
pub const TYPE_DEPTH_MAX: usize = 8;
/// The longest spelling of a type, in bytes.
pub const TYPE_BYTES_MAX: usize = 4096;
/// The most values in a `fixed_size_list` and the most bytes in a `fixed_size_binary`.
pub const FIXED_SIZE_MAX: i32 = 65_536;

/// The name that every list item has.
const ITEM: &str = "item";
/// The names that pyarrow gives the inside of a map.
const ENTRIES: &str = "entries";
const KEY: &str = "key";
const VALUE: &str = "value";

/// The spelling of `data_type`.
pub fn print_type(data_type: &DataType) -> String {
    let mut text = String::new();
    print_into(&mut text, data_type);
    text
}

/// The spelling of types that take no parameter.
const PLAIN: [(DataType, &str); 23] = [
    (DataType::Boolean, "bool"),
    (DataType::Int8, "int8"),
    (DataType::Int16, "int16"),
    (DataType::Int32, "int32"),
    (DataType::Int64, "int64"),
    (DataType::UInt8, "uint8"),
    (DataType::UInt16, "uint16"),
    (DataType::UInt32, "uint32"),
    (DataType::UInt64, "uint64"),
    (DataType::Float16, "float16"),
    (DataType::Float32, "float32"),
    (DataType::Float64, "float64"),
    (DataType::Utf8, "utf8"),
    (DataType::LargeUtf8, "large_utf8"),
    (DataType::Utf8View, "utf8_view"),
    (DataType::Binary, "binary"),
    (DataType::LargeBinary, "large_binary"),
    (DataType::BinaryView, "binary_view"),
    (DataType::Date32, "date32[day]"),
    (DataType::Date64, "date64[ms]"),
    (DataType::Time32(TimeUnit::Second), "time32[s]"),
    (DataType::Time32(TimeUnit::Millisecond), "time32[ms]"),
    (DataType::Null, "null"),
];

fn unit(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

fn print_into(text: &mut String, data_type: &DataType) {
    if let Some((_, name)) = PLAIN.iter().find(|(plain, _)| plain == data_type) {
        text.push_str(name);
        return;
    }
    let wrapped = |text: &mut String, name: &str, inner: &DataType| {
        text.push_str(name);
        text.push('<');
        print_into(text, inner);
        text.push('>');
    };
    let push = |text: &mut String, part: std::fmt::Arguments<'_>| {
        text.write_fmt(part).expect("writing to a String does not fail");
    };
    match data_type {
        DataType::Time64(time) => push(text, format_args!("time64[{}]", unit(*time))),
        DataType::Timestamp(time, None) => push(text, format_args!("timestamp[{}]", unit(*time))),
        DataType::Timestamp(time, Some(zone)) => push(text, format_args!("timestamp[{}, {zone}]", unit(*time))),
        DataType::Duration(time) => push(text, format_args!("duration[{}]", unit(*time))),
        DataType::FixedSizeBinary(width) => push(text, format_args!("fixed_size_binary[{width}]")),
        DataType::Decimal32(precision, scale) => push(text, format_args!("decimal32({precision}, {scale})")),
        DataType::Decimal64(precision, scale) => push(text, format_args!("decimal64({precision}, {scale})")),
        DataType::Decimal128(precision, scale) => push(text, format_args!("decimal128({precision}, {scale})")),
        DataType::Decimal256(precision, scale) => push(text, format_args!("decimal256({precision}, {scale})")),
        DataType::List(item) => wrapped(text, "list", item.data_type()),
        DataType::LargeList(item) => wrapped(text, "large_list", item.data_type()),
        DataType::FixedSizeList(item, length) => {
            wrapped(text, "fixed_size_list", item.data_type());
            push(text, format_args!("[{length}]"));
        }
        DataType::Struct(fields) => {
            text.push_str("struct<");
            for (place, field) in fields.iter().enumerate() {
                push(text, format_args!("{}{}: ", if place == 0 { "" } else { ", " }, field.name()));
                print_into(text, field.data_type());
            }
            text.push('>');
        }
        DataType::Map(entries, sorted) => {
            text.push_str("map<");
            if let Some((key, value)) = map_fields(entries) {
                print_into(text, key.data_type());
                text.push_str(", ");
                print_into(text, value.data_type());
            }
            text.push_str(if *sorted { ", keys_sorted>" } else { ">" });
        }
        DataType::Dictionary(indices, values) => {
            text.push_str("dictionary<values=");
            print_into(text, values);
            text.push_str(", indices=");
            print_into(text, indices);
            text.push('>');
        }
        // Types that no declaration can hold are printed as Arrow does, for messages about a client's columns.
        other => push(text, format_args!("{other}")),
    }
}

/// The key and value fields inside a map's entries.
pub(crate) fn map_fields(entries: &Field) -> Option<(&FieldRef, &FieldRef)> {
    match entries.data_type() {
        DataType::Struct(fields) => match fields.as_ref() {
            [key, value] => Some((key, value)),
            _ => None,
        },
        _ => None,
    }
}

/// The field of list items of `data_type`.
fn item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new(ITEM, data_type, true))
}

/// The field of a map's entries.
fn entries(key: DataType, value: DataType) -> FieldRef {
    let fields = vec![Field::new(KEY, key, false), Field::new(VALUE, value, true)];
    Arc::new(Field::new(ENTRIES, DataType::Struct(fields.into()), false))
}

/// The type in which cells declared as `declared` are stored: dictionaries as their values, views as plain layouts.
pub fn stored_type(declared: &DataType) -> DataType {
    match declared {
        DataType::Dictionary(_, values) => stored_type(values),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(field) => DataType::List(item(stored_type(field.data_type()))),
        DataType::LargeList(field) => DataType::LargeList(item(stored_type(field.data_type()))),
        DataType::FixedSizeList(field, length) => {
            DataType::FixedSizeList(item(stored_type(field.data_type())), *length)
        }
        DataType::Struct(fields) => {
            let stored = |field: &FieldRef| Field::new(field.name(), stored_type(field.data_type()), true);
            DataType::Struct(fields.iter().map(stored).collect::<Fields>())
        }
        DataType::Map(field, sorted) => match map_fields(field) {
            Some((key, value)) => {
                DataType::Map(entries(stored_type(key.data_type()), stored_type(value.data_type())), *sorted)
            }
            None => declared.clone(),
        },
        other => other.clone(),
    }
}

/// The type of times: microseconds since 1970-01-01 UTC.
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// `array`, of the type in which cells are stored, as the declared type.
pub fn as_declared(array: ArrayRef, declared: &DataType) -> Result<ArrayRef> {
    if array.data_type() == declared {
        return Ok(array);
    }
    arrow_cast::cast(&array, declared).map_err(Error::from)
}

/// Whether every value of `from` is also a value of `to`, so that a feature may be widened. `to` differs from `from`.
pub fn can_widen(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Date32, Date64, Decimal32, Decimal64, Decimal128, Decimal256, Dictionary, FixedSizeList,
        Float16, Float32, Float64, LargeBinary, LargeList, LargeUtf8, List, Struct, Utf8, Utf8View,
    };
    if let (Some((from_signed, from_bits)), Some((to_signed, to_bits))) = (integer(from), integer(to)) {
        return to_bits > from_bits && (to_signed || !from_signed);
    }
    if let Some((from_signed, from_bits)) = integer(from) {
        // A float holds every integer that fits its significand.
        let exact_bits = match to {
            Float16 => 11,
            Float32 => 24,
            Float64 => 53,
            _ => return false,
        };
        return from_bits - u32::from(from_signed) <= exact_bits;
    }
    match (from, to) {
        (Float16, Float32 | Float64) | (Float32, Float64) | (Date32, Date64) => true,
        (Utf8 | Utf8View, LargeUtf8) | (Binary | BinaryView, LargeBinary) => true,
        (
            Decimal32(from_precision, from_scale)
            | Decimal64(from_precision, from_scale)
            | Decimal128(from_precision, from_scale)
            | Decimal256(from_precision, from_scale),
            Decimal32(to_precision, to_scale)
            | Decimal64(to_precision, to_scale)
            | Decimal128(to_precision, to_scale)
            | Decimal256(to_precision, to_scale),
        ) => to_precision > from_precision && to_scale == from_scale && decimal_bits(to) >= decimal_bits(from),
        (List(from), List(to) | LargeList(to)) | (LargeList(from), LargeList(to)) => same_or_wider(from, to),
        (FixedSizeList(from, from_length), FixedSizeList(to, to_length)) => {
            from_length == to_length && same_or_wider(from, to)
        }
        (Struct(from), Struct(to)) => {
            from.len() == to.len()
                && from.iter().zip(to).all(|(from, to)| from.name() == to.name() && same_or_wider(from, to))
        }
        (Dictionary(from_indices, from), Dictionary(to_indices, to)) => {
            from_indices == to_indices && can_widen(from, to)
        }
        _ => false,
    }
}

fn same_or_wider(from: &Field, to: &Field) -> bool {
    from.data_type() == to.data_type() || can_widen(from.data_type(), to.data_type())
}

/// Whether an integer type is signed, and its bits.
pub(crate) fn integer(data_type: &DataType) -> Option<(bool, u32)> {
    Some(match data_type {
        DataType::Int8 => (true, 8),
        DataType::Int16 => (true, 16),
        DataType::Int32 => (true, 32),
        DataType::Int64 => (true, 64),
        DataType::UInt8 => (false, 8),
        DataType::UInt16 => (false, 16),
        DataType::UInt32 => (false, 32),
        DataType::UInt64 => (false, 64),
        _ => return None,
    })
}

fn decimal_bits(data_type: &DataType) -> u32 {
    match data_type {
        DataType::Decimal32(..) => 32,
        DataType::Decimal64(..) => 64,
        DataType::Decimal128(..) => 128,
        _ => 256,
    }
}

/// The printed form of a type, for catalogs kept as JSON.
pub(crate) mod as_text {
    use arrow_schema::DataType;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(data_type: &DataType, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::print_type(data_type))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DataType, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_type(&text).map_err(serde::de::Error::custom)
    }

    /// The same of a type that may be left out.
    pub(crate) mod optional {
        use arrow_schema::DataType;
        use serde::{Deserialize, Deserializer, Serializer};

        pub(crate) fn serialize<S: Serializer>(data_type: &Option<DataType>, serializer: S) -> Result<S::Ok, S::Error> {
            match data_type {
                Some(data_type) => super::serialize(data_type, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DataType>, D::Error> {
            let text = Option::<String>::deserialize(deserializer)?;
            text.map(|text| super::super::parse_type(&text).map_err(serde::de::Error::custom)).transpose()
        }
    }
}

#[cfg(test)]
mod tests;
