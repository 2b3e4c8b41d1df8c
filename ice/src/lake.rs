//! Types that lakes know, for those that they do not.
//!
//! A Delta table has no unsigned numbers, no half floats, times of day, durations or lists of fixed length, and one
//! precision and kind of timestamps. Each such type is written as one that holds all of its values: the next signed number, a float,
//! a long, a list. What is read is turned back.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, FieldRef, TimeUnit};

use crate::error::{Result, damaged, unwritable};

/// The type in a file of what is `data_type` in FirnDB.
pub(crate) fn lake_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Time32(_) => DataType::Int32,
        DataType::Time64(_) | DataType::Duration(_) | DataType::Date64 => DataType::Int64,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => data_type.clone(),
        DataType::Timestamp(..) => DataType::Int64,
        DataType::Decimal256(..) => DataType::Utf8,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::List(item) => DataType::List(lake_field(item)),
        DataType::LargeList(item) => DataType::LargeList(lake_field(item)),
        DataType::FixedSizeList(item, _) => DataType::List(lake_field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(lake_field).collect()),
        other => other.clone(),
    }
}

fn lake_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), lake_type(field.data_type()), field.is_nullable()))
}

/// No value may become null because it does not fit.
const EXACT: CastOptions<'_> = CastOptions { safe: false, format_options: arrow_cast::display::FormatOptions::new() };

/// `values` as they are written.
pub(crate) fn to_lake(values: &ArrayRef, lake: &DataType) -> Result<ArrayRef> {
    if values.data_type() == lake {
        return Ok(Arc::clone(values));
    }
    cast_with_options(values, lake, &EXACT).map_err(unwritable)
}

/// `values` that were read, as they were before they were written.
pub(crate) fn from_lake(values: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if values.data_type() == data_type {
        return Ok(Arc::clone(values));
    }
    cast_with_options(values, data_type, &EXACT).map_err(damaged)
}
