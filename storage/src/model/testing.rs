//! Random types and values for the property tests of the model.

use arrow_schema::{DataType, Field, TimeUnit};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::types::parse_type;

/// Types without a part, and their spelling.
pub(crate) const PLAIN_TYPES: [&str; 40] = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "utf8",
    "large_utf8",
    "utf8_view",
    "binary",
    "large_binary",
    "binary_view",
    "fixed_size_binary[3]",
    "date32[day]",
    "date64[ms]",
    "time32[s]",
    "time32[ms]",
    "time64[us]",
    "time64[ns]",
    "timestamp[s]",
    "timestamp[ms, UTC]",
    "timestamp[us, UTC]",
    "timestamp[us, Europe/Berlin]",
    "timestamp[ns]",
    "duration[s]",
    "duration[ms]",
    "duration[us]",
    "duration[ns]",
    "decimal32(9, 3)",
    "decimal64(18, 0)",
    "decimal128(10, 2)",
    "decimal256(50, 7)",
    "dictionary<values=utf8, indices=int32>",
    "dictionary<values=int64, indices=uint32>",
];

/// Any type that a feature may have, a few levels deep.
pub(crate) fn any_type() -> impl Strategy<Value = DataType> {
    let plain = proptest::sample::select(PLAIN_TYPES.to_vec()).prop_map(|text| parse_type(text).expect("a type"));
    plain.prop_recursive(3, 12, 3, |inner| {
        let item = |data_type: DataType| std::sync::Arc::new(Field::new("item", data_type, true));
        prop_oneof![
            inner.clone().prop_map(move |data_type| DataType::List(item(data_type))),
            inner.clone().prop_map(move |data_type| DataType::LargeList(item(data_type))),
            (inner.clone(), 1..4_i32)
                .prop_map(move |(data_type, length)| DataType::FixedSizeList(item(data_type), length)),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(|types| {
                let field = |(place, data_type)| Field::new(format!("f{place}"), data_type, true);
                DataType::Struct(types.into_iter().enumerate().map(field).collect())
            }),
            inner.prop_map(|value| {
                let fields = vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)];
                DataType::Map(std::sync::Arc::new(Field::new("entries", DataType::Struct(fields.into()), false)), false)
            }),
        ]
    })
}

/// The JSON of any value of `data_type`, sometimes null.
pub(crate) fn any_json(data_type: &DataType) -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(Value::Null), 8 => any_value(data_type)].boxed()
}

fn integers(low: i128, high: i128) -> BoxedStrategy<Value> {
    prop_oneof![Just(low), Just(high), Just(0), low..=high].prop_map(super::value::integer_json).boxed()
}

fn micros(step: i64) -> BoxedStrategy<Value> {
    (-(1_i64 << 50) / step..(1_i64 << 50) / step).prop_map(move |time| json!({ "us": time * step })).boxed()
}

fn unit_step(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1_000_000,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond | TimeUnit::Nanosecond => 1,
    }
}

fn base64(length: impl Into<proptest::collection::SizeRange>) -> BoxedStrategy<Value> {
    use base64::Engine;
    let encode = |bytes: Vec<u8>| json!(base64::engine::general_purpose::STANDARD.encode(bytes));
    proptest::collection::vec(any::<u8>(), length).prop_map(encode).boxed()
}

fn decimals(precision: u8, scale: i8) -> BoxedStrategy<Value> {
    let digits = proptest::collection::vec(0..10_u8, usize::from(precision));
    (digits, any::<bool>())
        .prop_map(move |(digits, negative)| {
            let text: String = digits.iter().map(u8::to_string).collect();
            let (whole, fraction) = text.split_at(text.len() - scale as usize);
            let whole = if whole.is_empty() { "0" } else { whole };
            json!(format!("{}{whole}.{fraction}", if negative { "-" } else { "" }))
        })
        .boxed()
}

fn any_value(data_type: &DataType) -> BoxedStrategy<Value> {
    let specials = proptest::sample::select(vec![json!("NaN"), json!("Infinity"), json!("-Infinity"), json!(-0.0)]);
    match data_type {
        DataType::Boolean => any::<bool>().prop_map(|flag| json!(flag)).boxed(),
        DataType::Int8 => integers(-128, 127),
        DataType::Int16 => integers(i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => integers(i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => integers(i64::MIN.into(), i64::MAX.into()),
        DataType::UInt8 => integers(0, 255),
        DataType::UInt16 => integers(0, u16::MAX.into()),
        DataType::UInt32 => integers(0, u32::MAX.into()),
        DataType::UInt64 => integers(0, u64::MAX.into()),
        DataType::Float16 => {
            prop_oneof![1 => specials, 4 => (-60000.0..60000.0_f64).prop_map(|value| json!(value))].boxed()
        }
        DataType::Float32 => {
            let normal = proptest::num::f32::NORMAL.prop_map(|value| json!(f64::from(value)));
            prop_oneof![1 => specials, 4 => normal].boxed()
        }
        DataType::Float64 => {
            let normal = proptest::num::f64::NORMAL.prop_map(|value| json!(value));
            prop_oneof![1 => specials, 4 => normal].boxed()
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "\\PC{0,20}".prop_map(|text| json!(text)).boxed(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => base64(0..20),
        DataType::FixedSizeBinary(width) => base64(*width as usize),
        DataType::Date32 | DataType::Date64 => (-700_000..700_000_i64)
            .prop_map(|days| json!((chrono::NaiveDate::default() + chrono::TimeDelta::days(days)).to_string()))
            .boxed(),
        DataType::Time32(_) | DataType::Time64(_) => (0..24_u8, 0..60_u8, 0..60_u8)
            .prop_map(|(hour, minute, second)| json!(format!("{hour:02}:{minute:02}:{second:02}")))
            .boxed(),
        DataType::Timestamp(unit, _) | DataType::Duration(unit) => micros(unit_step(*unit)),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => decimals(*precision, *scale),
        DataType::List(item) | DataType::LargeList(item) => {
            proptest::collection::vec(any_json(item.data_type()), 0..4).prop_map(Value::Array).boxed()
        }
        DataType::FixedSizeList(item, length) => {
            proptest::collection::vec(any_json(item.data_type()), *length as usize).prop_map(Value::Array).boxed()
        }
        DataType::Struct(fields) => {
            let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
            let values: Vec<_> = fields.iter().map(|field| any_json(field.data_type())).collect();
            values.prop_map(move |values| Value::Object(names.iter().cloned().zip(values).collect())).boxed()
        }
        DataType::Map(entries, _) => {
            let (_, value) = super::types::map_fields(entries).expect("a map has two fields");
            proptest::collection::vec(("[a-c]{1,2}", any_json(value.data_type())), 0..4)
                .prop_map(|pairs| pairs.into_iter().map(|(key, value)| json!([key, value])).collect())
                .boxed()
        }
        DataType::Dictionary(_, values) => any_value(values),
        other => unreachable!("no declaration holds {other}"),
    }
}
