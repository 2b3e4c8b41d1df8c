//! The entity of a history: how its key columns look, and what the key of the n-th entity is.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Int32Type, Int64Type};
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::Field;
use serde_json::{Value as Json, json};

/// The shape of an entity's key. Entities are numbered; the number is the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyShape {
    /// One utf8 column, one bucket.
    Text,
    /// One int32 column, some buckets.
    Number,
    /// A binary and a date column.
    BinaryDate,
    /// int64 and utf8 and bool, placed by the first.
    Composite,
}

/// All shapes.
pub const KEY_SHAPES: [KeyShape; 4] = [KeyShape::Text, KeyShape::Number, KeyShape::BinaryDate, KeyShape::Composite];

impl KeyShape {
    /// The declaration.
    pub fn declaration(self, entity: &str) -> Json {
        match self {
            KeyShape::Text => json!({"entity": entity, "key": [{"name": "k", "type": "utf8"}], "buckets": 1}),
            KeyShape::Number => json!({"entity": entity, "key": [{"name": "k", "type": "int32"}], "buckets": 3}),
            KeyShape::BinaryDate => json!({"entity": entity, "buckets": 2,
                "key": [{"name": "k", "type": "binary"}, {"name": "k2", "type": "date32"}]}),
            KeyShape::Composite => json!({"entity": entity, "bucket_by": ["k"], "buckets": 2,
                "key": [{"name": "k", "type": "int64"}, {"name": "k2", "type": "utf8"}, {"name": "k3", "type": "bool"}]}),
        }
    }

    /// The key columns of `entities`, with their fields.
    pub fn columns(self, entities: &[usize]) -> Vec<(Field, ArrayRef)> {
        let column = |name: &str, array: ArrayRef| (Field::new(name, array.data_type().clone(), false), array);
        let each = entities.iter();
        match self {
            KeyShape::Text => {
                vec![column("k", Arc::new(StringArray::from_iter_values(each.map(|entity| text(*entity)))))]
            }
            KeyShape::Number => {
                let values = each.map(|entity| *entity as i32 * 7 - 7);
                vec![column("k", Arc::new(Int32Array::from_iter_values(values)))]
            }
            KeyShape::BinaryDate => {
                let bytes = each.clone().map(|entity| vec![0u8; entity / 2]);
                let dates = each.map(|entity| (*entity % 2) as i32 - 1);
                vec![
                    column("k", Arc::new(BinaryArray::from_iter_values(bytes))),
                    column("k2", Arc::new(Date32Array::from_iter_values(dates))),
                ]
            }
            KeyShape::Composite => {
                let first = each.clone().map(|entity| (*entity / 4) as i64);
                let second = each.clone().map(|entity| text((entity / 2) % 2));
                let third: BooleanArray = each.map(|entity| Some(entity % 2 == 1)).collect();
                vec![
                    column("k", Arc::new(Int64Array::from_iter_values(first))),
                    column("k2", Arc::new(StringArray::from_iter_values(second))),
                    column("k3", Arc::new(third)),
                ]
            }
        }
    }

    /// The entity of each row of `batch`, which holds the key columns.
    pub fn entities(self, batch: &RecordBatch) -> Vec<usize> {
        let named = |name: &str| batch.column_by_name(name).unwrap_or_else(|| panic!("no key column {name}"));
        (0..batch.num_rows())
            .map(|row| match self {
                KeyShape::Text => number(named("k").as_string::<i32>().value(row)),
                KeyShape::Number => (named("k").as_primitive::<Int32Type>().value(row) / 7 + 1) as usize,
                KeyShape::BinaryDate => {
                    let second = named("k2").as_primitive::<Date32Type>().value(row) + 1;
                    named("k").as_binary::<i32>().value(row).len() * 2 + second as usize
                }
                KeyShape::Composite => {
                    let first = named("k").as_primitive::<Int64Type>().value(row) as usize;
                    let second = number(named("k2").as_string::<i32>().value(row));
                    first * 4 + second * 2 + usize::from(named("k3").as_boolean().value(row))
                }
            })
            .collect()
    }
}

/// Keys with zero bytes and a common prefix, one of them empty: what an escape is tested by.
fn text(entity: usize) -> String {
    if entity == 0 { String::new() } else { format!("e\0{entity}") }
}

fn number(text: &str) -> usize {
    if text.is_empty() { 0 } else { text[2..].parse().expect("a key that this test wrote") }
}
