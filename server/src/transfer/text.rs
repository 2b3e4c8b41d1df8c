//! Text of CSV as values of the declared types: exactly, or not at all. An empty field is null.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, Int64Array, StringArray};
use arrow_buffer::BooleanBuffer;
use arrow_cast::{CastOptions, cast, cast_with_options};
use arrow_schema::{DataType, TimeUnit};
use firn_storage::model::cast::{Floats, door_cast};
use firn_storage::model::types::print_type;
use firn_storage::model::value::from_json;
use serde_json::Value;

use super::Result;

/// Values that were read, and the rows that did not read.
pub(super) struct ReadText {
    pub(super) values: ArrayRef,
    /// In these rows `values` mean nothing.
    pub(super) misfits: BooleanBuffer,
}

impl ReadText {
    /// What is null although its text is not did not read.
    fn of(texts: &StringArray, values: ArrayRef) -> Self {
        let misfits = BooleanBuffer::collect_bool(texts.len(), |row| values.is_null(row) && !texts.is_null(row));
        Self { values, misfits }
    }
}

/// Whether values of `data_type` can be told from text.
pub(super) fn is_readable(data_type: &DataType) -> bool {
    let binary = matches!(
        data_type,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
    );
    !binary && !data_type.is_nested() && *data_type != DataType::Null
}

/// Why `text` did not read as `data_type`.
pub(super) fn misread(text: &str, data_type: &DataType) -> String {
    let shown: String = text.chars().take(60).collect();
    format!("{shown:?} is no {}", print_type(data_type))
}

/// Reads `texts` as values of `data_type`, which is readable; whole numbers are times in `time_unit`, if there is one.
pub(super) fn read(texts: &StringArray, data_type: &DataType, time_unit: Option<TimeUnit>) -> Result<ReadText> {
    let told = |error: arrow_schema::ArrowError| error.to_string();
    match (data_type, time_unit) {
        (DataType::Timestamp(..), Some(unit)) => {
            let numbers: Int64Array = texts.iter().map(|text| text.and_then(|text| text.trim().parse().ok())).collect();
            let mut read = ReadText::of(texts, cast(&numbers, &DataType::Timestamp(unit, None)).map_err(told)?);
            let exact = door_cast(&read.values, data_type, Floats::Exact).map_err(|error| error.to_string())?;
            read.values = exact.values;
            read.misfits = exact.misfits.map_or(read.misfits.clone(), |misfits| &read.misfits | &misfits);
            Ok(read)
        }
        _ if data_type.is_temporal() && !matches!(data_type, DataType::Duration(_)) => {
            let given: ArrayRef = Arc::new(texts.clone());
            let exact = door_cast(&given, data_type, Floats::Exact).map_err(|error| error.to_string())?;
            let misfits = exact.misfits.unwrap_or_else(|| BooleanBuffer::new_unset(texts.len()));
            Ok(ReadText { values: exact.values, misfits })
        }
        _ if data_type.is_integer() => Ok(ReadText::of(texts, integers(texts, data_type).map_err(told)?)),
        _ if data_type.is_floating() => {
            let values = cast_with_options(texts, data_type, &lenient()).map_err(told)?;
            let infinite = infinite(texts, &values).map_err(told)?;
            let read = ReadText::of(texts, values);
            Ok(ReadText { misfits: &read.misfits | &infinite, ..read })
        }
        _ if data_type.is_decimal() || matches!(data_type, DataType::Duration(_)) => by_json(texts, data_type),
        _ => Ok(ReadText::of(texts, cast_with_options(texts, data_type, &lenient()).map_err(told)?)),
    }
}

fn lenient() -> CastOptions<'static> {
    CastOptions { safe: true, ..CastOptions::default() }
}

/// Whole numbers, also those that a tool wrote as `3.0`.
fn integers(texts: &StringArray, data_type: &DataType) -> Result<ArrayRef, arrow_schema::ArrowError> {
    let values = cast_with_options(texts, data_type, &lenient())?;
    if values.null_count() == texts.null_count() {
        return Ok(values);
    }
    let whole = |text: &'_ str| -> Option<String> {
        let (whole, fraction) = text.split_once('.')?;
        fraction.bytes().all(|digit| digit == b'0').then(|| whole.to_owned())
    };
    let texts: StringArray =
        texts.iter().map(|text| text.map(|text| whole(text).unwrap_or_else(|| text.to_owned()))).collect();
    cast_with_options(&texts, data_type, &lenient())
}

/// The rows whose value is infinite although the text does not say so.
fn infinite(texts: &StringArray, values: &ArrayRef) -> Result<BooleanBuffer, arrow_schema::ArrowError> {
    let wide = cast(values, &DataType::Float64)?;
    let wide = wide.as_primitive::<Float64Type>();
    Ok(BooleanBuffer::collect_bool(texts.len(), |row| {
        let says_so = || texts.value(row).to_ascii_lowercase().contains("inf");
        wide.is_valid(row) && wide.value(row).is_infinite() && !says_so()
    }))
}

/// Values whose text is that of JSON.
fn by_json(texts: &StringArray, data_type: &DataType) -> Result<ReadText> {
    let values: Vec<Value> =
        texts.iter().map(|text| text.map_or(Value::Null, |text| Value::from(text.trim()))).collect();
    let all: Vec<&Value> = values.iter().collect();
    if let Ok(values) = from_json(&all, data_type) {
        return Ok(ReadText { values, misfits: BooleanBuffer::new_unset(texts.len()) });
    }
    let misfits = BooleanBuffer::collect_bool(all.len(), |row| from_json(&all[row..=row], data_type).is_err());
    let null = Value::Null;
    let readable: Vec<&Value> =
        all.iter().zip(&misfits).map(|(value, misfit)| if misfit { &null } else { *value }).collect();
    let values = from_json(&readable, data_type).map_err(|error| error.to_string())?;
    Ok(ReadText { values, misfits })
}

#[cfg(test)]
mod tests {
    use firn_storage::model::types::parse_type;
    use firn_storage::model::value::to_json;
    use serde_json::json;

    use super::*;

    fn values(texts: &[&str], data_type: &str) -> Vec<Value> {
        let texts: StringArray = texts.iter().map(|text| Some(*text).filter(|text| !text.is_empty())).collect();
        let read = read(&texts, &parse_type(data_type).unwrap(), None).unwrap();
        let value = |row| if read.misfits.value(row) { json!("misfit") } else { to_json(&read.values, row).unwrap() };
        (0..texts.len()).map(value).collect()
    }

    #[test]
    fn a_text_is_its_value_exactly_or_none() {
        let misfit = || json!("misfit");
        assert_eq!(
            values(&["12", "", "3.0", "3.5", "-0.000", "1e3", "x"], "int8"),
            [json!(12), json!(null), json!(3), misfit(), json!(0), misfit(), misfit()]
        );
        assert_eq!(
            values(&["9223372036854775807", "9223372036854775808"], "int64"),
            [json!("9223372036854775807"), misfit()]
        );
        assert_eq!(
            values(&["0.1", "1e39", "inf", "-Infinity", "nan"], "float32"),
            [json!(0.1), misfit(), json!("Infinity"), json!("-Infinity"), json!("NaN")]
        );
        assert_eq!(values(&["1e308", "1e400"], "float64"), [json!(1e308), misfit()]);
        assert_eq!(
            values(&["1.5", "1.50", "-0.01", "1.505", "12", "123456789"], "decimal128(10, 2)"),
            [json!("1.50"), json!("1.50"), json!("-0.01"), misfit(), json!("12.00"), misfit()]
        );
        assert_eq!(
            values(&["2024-01-01", "2024-01-01T00:00:00", "2024-01-01T23:00:00", "2024-02-30"], "date32"),
            [json!("2024-01-01"), json!("2024-01-01"), misfit(), misfit()]
        );
        assert_eq!(
            values(&["2024-01-01T00:00:00.123456789Z", "2024-01-01 00:00:00.5"], "timestamp[us, UTC]"),
            [misfit(), json!("2024-01-01T00:00:00.500Z")]
        );
        assert_eq!(values(&["12:34:56.1234567", "12:34"], "time64[us]"), [misfit(), json!("12:34:00")]);
        assert_eq!(values(&["true", "no", "maybe"], "bool"), [json!(true), json!(false), misfit()]);
        assert_eq!(values(&["90s", "100ms"], "duration[s]"), [json!("90s"), misfit()]);
    }

    #[test]
    fn whole_numbers_are_times_in_the_unit_that_is_said() {
        let texts = StringArray::from(vec![Some("1700000000"), None, Some("1.5"), Some("9223372036854775807")]);
        let type_ = parse_type("timestamp[us, UTC]").unwrap();
        let read = read(&texts, &type_, Some(TimeUnit::Second)).unwrap();
        assert_eq!(read.misfits.iter().collect::<Vec<_>>(), [false, false, true, true]);
        assert_eq!(to_json(&read.values, 0).unwrap(), json!("2023-11-14T22:13:20Z"));
    }
}
