//! The feature types of the random histories: how each is spelled, sampled, sent as Arrow and read back.
//!
//! Values go to Arrow and come back by code of their own, so that an error in the engine's casts cannot hide itself.

use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, Int64Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, StringArray, StructArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow_schema::{DataType, Field, Fields, TimeUnit};
use rand::Rng;
use serde_json::{Value as Json, json};

use crate::oracle::Value;

/// A type that a feature of a history may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint64,
    Float32,
    Float64,
    Text,
    SmallDecimal,
    Decimal,
    Timestamp,
    List,
    Embedding,
    Struct,
}

/// All types that a history declares; the others are of tests written by hand.
pub const TYPES: [Type; 13] = [
    Type::Bool,
    Type::Int16,
    Type::Int32,
    Type::Int64,
    Type::Float32,
    Type::Float64,
    Type::Text,
    Type::SmallDecimal,
    Type::Decimal,
    Type::Timestamp,
    Type::List,
    Type::Embedding,
    Type::Struct,
];

/// The floats of one embedding.
const EMBEDDING: i32 = 3;

fn int(value: impl Into<i128>) -> Value {
    Value::Int(value.into())
}

fn float(value: impl Into<f64>) -> Value {
    Value::Float(value.into().to_bits())
}

fn as_int(value: &Option<Value>) -> Option<i128> {
    match value {
        None => None,
        Some(Value::Int(value)) => Some(*value),
        Some(other) => panic!("{other:?} is not an integer"),
    }
}

fn as_float(value: &Option<Value>) -> Option<f64> {
    match value {
        None => None,
        Some(Value::Float(bits)) => Some(f64::from_bits(*bits)),
        Some(other) => panic!("{other:?} is not a float"),
    }
}

fn as_text(value: &Option<Value>) -> Option<&str> {
    match value {
        None => None,
        Some(Value::Text(text)) => Some(text),
        Some(other) => panic!("{other:?} is not text"),
    }
}

fn as_list(value: &Option<Value>) -> Option<&[Option<Value>]> {
    match value {
        None => None,
        Some(Value::List(items)) => Some(items),
        Some(other) => panic!("{other:?} is not a list"),
    }
}

impl Type {
    /// The type as a declaration spells it.
    pub fn spelled(self) -> &'static str {
        match self {
            Type::Bool => "bool",
            Type::Int8 => "int8",
            Type::Int16 => "int16",
            Type::Int32 => "int32",
            Type::Int64 => "int64",
            Type::Uint64 => "uint64",
            Type::Float32 => "float32",
            Type::Float64 => "float64",
            Type::Text => "utf8",
            Type::SmallDecimal => "decimal128(6, 2)",
            Type::Decimal => "decimal128(20, 2)",
            Type::Timestamp => "timestamp[us, UTC]",
            Type::List => "list<int64>",
            Type::Embedding => "fixed_size_list<float32>[3]",
            Type::Struct => "struct<a: int64, b: utf8>",
        }
    }

    /// The Arrow type that is sent and must come back.
    pub fn data_type(self) -> DataType {
        match self {
            Type::Bool => DataType::Boolean,
            Type::Int8 => DataType::Int8,
            Type::Int16 => DataType::Int16,
            Type::Int32 => DataType::Int32,
            Type::Int64 => DataType::Int64,
            Type::Uint64 => DataType::UInt64,
            Type::Float32 => DataType::Float32,
            Type::Float64 => DataType::Float64,
            Type::Text => DataType::Utf8,
            Type::SmallDecimal => DataType::Decimal128(6, 2),
            Type::Decimal => DataType::Decimal128(20, 2),
            Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Type::List => DataType::List(Arc::new(Field::new("item", DataType::Int64, true))),
            Type::Embedding => {
                DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Float32, true)), EMBEDDING)
            }
            Type::Struct => DataType::Struct(struct_fields()),
        }
    }

    /// The type that `alter_table` may widen this one to.
    pub fn wider(self) -> Option<Type> {
        match self {
            Type::Int16 => Some(Type::Int32),
            Type::Int32 => Some(Type::Int64),
            Type::Float32 => Some(Type::Float64),
            Type::SmallDecimal => Some(Type::Decimal),
            _ => None,
        }
    }

    /// Whether a declaration may give a default of this type as a JSON scalar.
    pub fn has_default(self) -> bool {
        !matches!(self, Type::List | Type::Embedding | Type::Struct)
    }

    /// A value; from a small set, so that wrong answers that look alike are rare but ties are not.
    pub fn sample(self, random: &mut impl Rng) -> Value {
        let small = random.random_range(-60i128..60);
        match self {
            Type::Bool => int(i64::from(random.random_bool(0.5))),
            Type::Uint64 => int(small.abs()),
            Type::Int8
            | Type::Int16
            | Type::Int32
            | Type::Int64
            | Type::SmallDecimal
            | Type::Decimal
            | Type::Timestamp => int(small),
            Type::Float32 | Type::Float64 => match random.random_range(0..12) {
                0 => float(f64::NAN),
                1 => float(-0.0),
                2 => float(f64::NEG_INFINITY),
                _ => float(small as f64 / 4.0),
            },
            Type::Text => Value::Text(match random.random_range(0..8) {
                0 => String::new(),
                1 => format!("ein langer Wert, länger als ein View-Präfix: {small}"),
                _ => format!("v{small}"),
            }),
            Type::List => {
                let items = random.random_range(0..4);
                Value::List((0..items).map(|i| (random.random_range(0..4) > 0).then(|| int(small + i))).collect())
            }
            Type::Embedding => Value::List((0..EMBEDDING).map(|i| Some(float(small as f64 + f64::from(i)))).collect()),
            Type::Struct => {
                let a = random.random_bool(0.8).then(|| int(small));
                let b = random.random_bool(0.8).then(|| Value::Text(format!("b{small}")));
                Value::List(vec![a, b])
            }
        }
    }

    /// The JSON of `value` as a declaration gives a default.
    pub fn json(self, value: &Value) -> Json {
        match (self, value) {
            (Type::Bool, Value::Int(value)) => json!(*value != 0),
            (Type::SmallDecimal | Type::Decimal, Value::Int(value)) => {
                json!(format!("{}{}.{:02}", if *value < 0 { "-" } else { "" }, value.abs() / 100, value.abs() % 100))
            }
            (Type::Timestamp, Value::Int(value)) => json!({ "us": *value as i64 }),
            (Type::Uint64, Value::Int(value)) => json!(*value as u64),
            (_, Value::Int(value)) => json!(*value as i64),
            (_, Value::Float(bits)) => {
                let value = f64::from_bits(*bits);
                match value {
                    _ if value.is_nan() => json!("NaN"),
                    f64::INFINITY => json!("Infinity"),
                    f64::NEG_INFINITY => json!("-Infinity"),
                    _ => json!(value),
                }
            }
            (_, Value::Text(text)) => json!(text),
            (_, Value::List(_)) => panic!("no default of type {self:?}"),
        }
    }

    /// An Arrow array of `values`.
    pub fn array(self, values: &[Option<Value>]) -> ArrayRef {
        let ints = || values.iter().map(as_int);
        let floats = || values.iter().map(as_float);
        match self {
            Type::Bool => Arc::new(ints().map(|value| value.map(|value| value != 0)).collect::<BooleanArray>()),
            Type::Int8 => Arc::new(ints().map(|value| value.map(|value| value as i8)).collect::<Int8Array>()),
            Type::Int16 => Arc::new(ints().map(|value| value.map(|value| value as i16)).collect::<Int16Array>()),
            Type::Int32 => Arc::new(ints().map(|value| value.map(|value| value as i32)).collect::<Int32Array>()),
            Type::Int64 => Arc::new(ints().map(|value| value.map(|value| value as i64)).collect::<Int64Array>()),
            Type::Uint64 => Arc::new(ints().map(|value| value.map(|value| value as u64)).collect::<UInt64Array>()),
            Type::Float32 => Arc::new(floats().map(|value| value.map(|value| value as f32)).collect::<Float32Array>()),
            Type::Float64 => Arc::new(floats().collect::<Float64Array>()),
            Type::Text => Arc::new(values.iter().map(as_text).collect::<StringArray>()),
            Type::SmallDecimal | Type::Decimal => {
                Arc::new(ints().collect::<Decimal128Array>().with_data_type(self.data_type()))
            }
            Type::Timestamp => {
                let times = ints().map(|value| value.map(|value| value as i64));
                Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            Type::List => {
                let mut list = ListBuilder::new(Int64Builder::new());
                for value in values {
                    for item in as_list(value).unwrap_or_default() {
                        list.values().append_option(as_int(item).map(|item| item as i64));
                    }
                    list.append(value.is_some());
                }
                Arc::new(list.finish())
            }
            Type::Embedding => {
                let mut list = FixedSizeListBuilder::new(Float32Builder::new(), EMBEDDING);
                for value in values {
                    for at in 0..EMBEDDING as usize {
                        let item = as_list(value).and_then(|items| as_float(&items[at]));
                        list.values().append_option(item.map(|item| item as f32));
                    }
                    list.append(value.is_some());
                }
                Arc::new(list.finish())
            }
            Type::Struct => {
                let child = |at: usize| values.iter().map(move |value| as_list(value).and_then(|all| all[at].clone()));
                let a: Vec<Option<Value>> = child(0).collect();
                let b: Vec<Option<Value>> = child(1).collect();
                let valid = values.iter().map(Option::is_some).collect::<Vec<bool>>();
                let children = vec![Type::Int64.array(&a), Type::Text.array(&b)];
                Arc::new(StructArray::new(struct_fields(), children, Some(valid.into())))
            }
        }
    }
}

fn struct_fields() -> Fields {
    vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)].into()
}

/// The cell of `array` at `row`.
pub fn value_at(array: &dyn Array, row: usize) -> Option<Value> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => int(i64::from(array.as_boolean().value(row))),
        DataType::Int8 => int(array.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => int(array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => int(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => int(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt64 => int(array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Decimal128(_, _) => int(array.as_primitive::<Decimal128Type>().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            int(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::List(_) => items(&array.as_list::<i32>().value(row)),
        DataType::FixedSizeList(_, _) => items(&array.as_fixed_size_list().value(row)),
        DataType::Map(_, _) => {
            let entries = array.as_map().value(row);
            Value::List((0..entries.len()).map(|row| value_at(&entries, row)).collect())
        }
        DataType::Struct(_) => {
            Value::List(array.as_struct().columns().iter().map(|child| value_at(child, row)).collect())
        }
        other => panic!("no history has a feature of type {other}"),
    })
}

fn items(array: &ArrayRef) -> Value {
    Value::List((0..array.len()).map(|row| value_at(array, row)).collect())
}
