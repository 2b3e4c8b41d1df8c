//! Which types there are, as Flight SQL asks for it.

use arrow_array::RecordBatch;
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{CommandGetXdbcTypeInfo, Nullable, Searchable, XdbcDataType};
use firn_storage::error::Result;

use crate::error::defect;

fn failed(error: impl std::fmt::Display) -> firn_storage::error::Error {
    defect(&format!("the types cannot be answered: {error}"))
}

/// Answers `asked` about types.
pub(super) fn types(asked: &CommandGetXdbcTypeInfo) -> Result<RecordBatch> {
    (*asked).into_builder(&all_types()?).build().map_err(failed)
}

/// A type: its SQL name, its number in XDBC, how many digits, characters or bytes it has, and what quotes a literal.
struct Told {
    name: &'static str,
    number: XdbcDataType,
    size: Option<i32>,
    quote: Option<&'static str>,
}

const fn told(name: &'static str, number: XdbcDataType, size: Option<i32>, quote: Option<&'static str>) -> Told {
    Told { name, number, size, quote }
}

/// Every type that a feature can have and XDBC knows.
const TYPES: &[Told] = &[
    told("BOOLEAN", XdbcDataType::XdbcBit, Some(1), None),
    told("TINYINT", XdbcDataType::XdbcTinyint, Some(3), None),
    told("SMALLINT", XdbcDataType::XdbcSmallint, Some(5), None),
    told("INT", XdbcDataType::XdbcInteger, Some(10), None),
    told("BIGINT", XdbcDataType::XdbcBigint, Some(19), None),
    told("REAL", XdbcDataType::XdbcReal, Some(24), None),
    told("DOUBLE", XdbcDataType::XdbcDouble, Some(53), None),
    told("DECIMAL", XdbcDataType::XdbcDecimal, Some(38), None),
    told("VARCHAR", XdbcDataType::XdbcVarchar, None, Some("'")),
    told("VARBINARY", XdbcDataType::XdbcVarbinary, None, Some("'")),
    told("DATE", XdbcDataType::XdbcDate, Some(10), Some("'")),
    told("TIME", XdbcDataType::XdbcTime, Some(15), Some("'")),
    told("TIMESTAMP WITH TIME ZONE", XdbcDataType::XdbcTimestamp, Some(32), Some("'")),
];

fn all_types() -> Result<XdbcTypeInfoData> {
    let mut builder = XdbcTypeInfoDataBuilder::new();
    for told in TYPES {
        let number = is_number(told.number);
        builder.append(XdbcTypeInfo {
            type_name: told.name.to_owned(),
            data_type: told.number,
            column_size: told.size,
            literal_prefix: told.quote.map(str::to_owned),
            literal_suffix: told.quote.map(str::to_owned),
            create_params: (told.name == "DECIMAL").then(|| vec!["precision".to_owned(), "scale".to_owned()]),
            nullable: Nullable::NullabilityNullable,
            case_sensitive: told.name == "VARCHAR",
            searchable: Searchable::Full,
            unsigned_attribute: number.then_some(false),
            fixed_prec_scale: false,
            auto_increment: number.then_some(false),
            local_type_name: Some(told.name.to_owned()),
            minimum_scale: None,
            maximum_scale: None,
            sql_data_type: told.number,
            datetime_subcode: None,
            num_prec_radix: number.then_some(10),
            interval_precision: None,
        });
    }
    builder.build().map_err(failed)
}

/// Whether a type is one of numbers.
fn is_number(data_type: XdbcDataType) -> bool {
    use XdbcDataType::{XdbcBigint, XdbcDecimal, XdbcDouble, XdbcInteger, XdbcReal, XdbcSmallint, XdbcTinyint};
    matches!(data_type, XdbcTinyint | XdbcSmallint | XdbcInteger | XdbcBigint | XdbcReal | XdbcDouble | XdbcDecimal)
}
