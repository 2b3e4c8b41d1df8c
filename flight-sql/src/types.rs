//! SQL's names of types, and what they mean: one mapping for declarations, casts and what is told.
//!
//! Times are microseconds here. Where engines disagree about a name it is refused (`INT8`) or its meaning is written down
//! (`FLOAT` has 32 bits).

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};
use datafusion::error::Result;
use datafusion::logical_expr::planner::TypePlanner;
use sqlparser::ast::{ArrayElemTypeDef, DataType as SqlType, ExactNumberInfo, StructField, TimezoneInfo};

use crate::error::{through, unsupported};
use firn_storage::model::types::time_type;

/// Reads the names of types in expressions.
#[derive(Debug)]
pub(crate) struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        // An interval of an expression may have months, which no feature has.
        if let SqlType::Interval { .. } = sql_type {
            return Ok(None);
        }
        let data_type = data_type(sql_type).map_err(through)?;
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}

/// The type that `sql_type` names.
pub(crate) fn data_type(sql_type: &SqlType) -> firn_storage::error::Result<DataType> {
    if let Some(number) = number(sql_type) {
        return Ok(number);
    }
    Ok(match sql_type {
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::Int8(_) | SqlType::Int8Unsigned(_) => {
            return Err(unsupported(
                "INT8 has 8 bits in some engines and 64 in others: write TINYINT for 8, BIGINT for 64",
            ));
        }
        SqlType::Decimal(digits) | SqlType::Numeric(digits) | SqlType::Dec(digits) => decimal(digits)?,
        SqlType::Text | SqlType::String(_) | SqlType::Varchar(_) | SqlType::CharacterVarying(_) => DataType::Utf8,
        SqlType::Char(_) | SqlType::Character(_) => DataType::Utf8,
        SqlType::Bytea | SqlType::Blob(_) | SqlType::Varbinary(_) | SqlType::Binary(None) => DataType::Binary,
        SqlType::Binary(Some(length)) => DataType::FixedSizeBinary(length_of(*length)?),
        SqlType::Date => DataType::Date32,
        SqlType::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => DataType::Time64(TimeUnit::Microsecond),
        SqlType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone)
        | SqlType::Datetime(_)
        | SqlType::TimestampNtz(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
        SqlType::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => time_type(),
        SqlType::Interval { .. } => DataType::Duration(TimeUnit::Microsecond),
        SqlType::Array(element) => list(element)?,
        SqlType::Struct(fields, _) => DataType::Struct(fields.iter().map(struct_field).collect::<Result<Fields, _>>()?),
        SqlType::Map(keys, values) => map(data_type(keys)?, data_type(values)?),
        other => {
            return Err(unsupported(format!(
                "`{other}` is no type here; there are BOOLEAN, TINYINT to BIGINT (also UNSIGNED), REAL, DOUBLE, \
                 DECIMAL(p, s), VARCHAR, BYTEA, BINARY(n), DATE, TIME, TIMESTAMP, TIMESTAMP WITH TIME ZONE, INTERVAL, \
                 t[], t[n], STRUCT<a t> and MAP(k, v)"
            )));
        }
    })
}

fn number(sql_type: &SqlType) -> Option<DataType> {
    Some(match sql_type {
        SqlType::TinyInt(_) => DataType::Int8,
        SqlType::SmallInt(_) | SqlType::Int2(_) => DataType::Int16,
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => DataType::Int32,
        SqlType::BigInt(_) => DataType::Int64,
        SqlType::TinyIntUnsigned(_) => DataType::UInt8,
        SqlType::SmallIntUnsigned(_) | SqlType::Int2Unsigned(_) => DataType::UInt16,
        SqlType::IntUnsigned(_) | SqlType::IntegerUnsigned(_) | SqlType::Int4Unsigned(_) => DataType::UInt32,
        SqlType::BigIntUnsigned(_) => DataType::UInt64,
        SqlType::Real | SqlType::Float(_) | SqlType::Float4 => DataType::Float32,
        SqlType::Double(_) | SqlType::DoublePrecision | SqlType::Float8 => DataType::Float64,
        _ => return None,
    })
}

fn length_of(length: u64) -> firn_storage::error::Result<i32> {
    i32::try_from(length).map_err(|_| unsupported(format!("a length of {length} is too much")))
}

fn decimal(digits: &ExactNumberInfo) -> firn_storage::error::Result<DataType> {
    let wrong = || unsupported("DECIMAL needs a precision up to 38 and a scale, such as DECIMAL(18, 4)");
    let (precision, scale) = match *digits {
        ExactNumberInfo::None => return Err(wrong()),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision @ 1..=38), Ok(scale)) => Ok(DataType::Decimal128(precision, scale)),
        _ => Err(wrong()),
    }
}

fn list(element: &ArrayElemTypeDef) -> firn_storage::error::Result<DataType> {
    let item = |element| Ok::<_, firn_storage::error::Error>(Arc::new(Field::new("item", data_type(element)?, true)));
    Ok(match element {
        ArrayElemTypeDef::None => return Err(unsupported("ARRAY needs the type of its elements, such as BIGINT[]")),
        ArrayElemTypeDef::SquareBracket(element, Some(length)) => {
            DataType::FixedSizeList(item(element)?, length_of(*length)?)
        }
        ArrayElemTypeDef::SquareBracket(element, None)
        | ArrayElemTypeDef::AngleBracket(element)
        | ArrayElemTypeDef::Parenthesis(element) => DataType::List(item(element)?),
    })
}

fn struct_field(field: &StructField) -> firn_storage::error::Result<FieldRef> {
    let StructField { field_name: Some(name), field_type, options: None, .. } = field else {
        return Err(unsupported(format!("`{field}` is no field of a struct: write a name and a type")));
    };
    Ok(Arc::new(Field::new(&name.value, data_type(field_type)?, true)))
}

fn map(keys: DataType, values: DataType) -> DataType {
    let fields = Fields::from(vec![Field::new("key", keys, false), Field::new("value", values, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(fields), false)), false)
}

/// The name of a type, as it is told.
pub(crate) fn name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt8 => "TINYINT UNSIGNED".to_owned(),
        DataType::UInt16 => "SMALLINT UNSIGNED".to_owned(),
        DataType::UInt32 => "INT UNSIGNED".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTEA".to_owned(),
        DataType::FixedSizeBinary(length) => format!("BINARY({length})"),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Time64(_) => "TIME".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".to_owned(),
        DataType::Duration(_) => "INTERVAL".to_owned(),
        DataType::FixedSizeList(item, length) => format!("{}[{length}]", name(item.data_type())),
        DataType::List(item) | DataType::LargeList(item) => format!("{}[]", name(item.data_type())),
        DataType::Dictionary(_, values) => name(values),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| format!("{} {}", field.name(), name(field.data_type())));
            format!("STRUCT<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                format!("MAP({}, {})", name(fields[0].data_type()), name(fields[1].data_type()))
            }
            _ => "MAP".to_owned(),
        },
        other => other.to_string(),
    }
}
