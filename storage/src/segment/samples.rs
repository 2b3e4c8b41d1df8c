//! Random arrays of every type, for tests.

use std::sync::Arc;

use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, FixedSizeListArray, ListArray, MapArray, NullArray, PrimitiveArray,
    StringArray, StructArray, make_array,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow_cast::cast;
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use rand::Rng;
use rand::rngs::StdRng;

/// The types of features.
pub(crate) fn types() -> Vec<DataType> {
    use DataType::*;
    let item = |of: DataType, nullable: bool| Arc::new(Field::new("item", of, nullable));
    let fields: Fields = vec![Field::new("a", Int64, true), Field::new("b", Utf8, true)].into();
    let strict: Fields = vec![Field::new("a", Int16, false), Field::new("c", Boolean, false)].into();
    let entries: Fields = vec![Field::new("key", Utf8, false), Field::new("value", Int32, true)].into();
    vec![
        Boolean,
        Int8,
        UInt16,
        Int32,
        Int64,
        UInt64,
        Float16,
        Float32,
        Float64,
        Decimal32(9, 2),
        Decimal64(18, 4),
        Decimal128(38, 10),
        Decimal256(76, 10),
        Utf8,
        LargeUtf8,
        Utf8View,
        Binary,
        LargeBinary,
        FixedSizeBinary(3),
        Date32,
        Date64,
        Time32(TimeUnit::Second),
        Time64(TimeUnit::Microsecond),
        Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Timestamp(TimeUnit::Nanosecond, None),
        Duration(TimeUnit::Millisecond),
        Interval(IntervalUnit::MonthDayNano),
        FixedSizeList(item(Float32, true), 4),
        FixedSizeList(item(Float16, false), 3),
        FixedSizeList(item(Boolean, true), 2),
        FixedSizeList(item(Utf8, true), 2),
        List(item(Utf8, true)),
        List(item(List(item(Int64, true)), true)),
        LargeList(item(Float32, true)),
        Struct(fields),
        Struct(strict),
        Map(Arc::new(Field::new("entries", Struct(entries), false)), false),
        Dictionary(Box::new(Int8), Box::new(Utf8)),
        Dictionary(Box::new(Int32), Box::new(Utf8)),
        List(item(Dictionary(Box::new(Int32), Box::new(Utf8)), true)),
        Null,
    ]
}

/// A random array of `len` values, some null.
pub(crate) fn array(data_type: &DataType, len: usize, random: &mut StdRng) -> ArrayRef {
    let nulls = random.random_bool(0.5).then(|| (0..len).map(|_| random.random_bool(0.8)).collect::<NullBuffer>());
    values(data_type, len, nulls, random)
}

fn values(data_type: &DataType, len: usize, nulls: Option<NullBuffer>, random: &mut StdRng) -> ArrayRef {
    match data_type {
        DataType::Null => Arc::new(NullArray::new(len)),
        DataType::Boolean => {
            let bits: Vec<bool> = (0..len).map(|_| random.random()).collect();
            Arc::new(BooleanArray::new(bits.into(), nulls))
        }
        DataType::Utf8 => strings(len, nulls, random),
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary | DataType::LargeBinary => {
            cast(&strings(len, nulls, random), data_type).expect("strings can be any of these")
        }
        DataType::FixedSizeList(item, size) => {
            let inner_nulls = item.is_nullable() && random.random_bool(0.5);
            let items = len * *size as usize;
            let inner = inner_nulls.then(|| (0..items).map(|_| random.random_bool(0.7)).collect::<NullBuffer>());
            let items = values(item.data_type(), items, inner, random);
            Arc::new(FixedSizeListArray::new(Arc::clone(item), *size, items, nulls))
        }
        DataType::List(item) => {
            let offsets = OffsetBuffer::from_lengths((0..len).map(|_| random.random_range(0..4)));
            let items = array(item.data_type(), offsets[len] as usize, random);
            Arc::new(ListArray::new(Arc::clone(item), offsets, items, nulls))
        }
        DataType::LargeList(item) => {
            let list = values(&DataType::List(Arc::clone(item)), len, nulls, random);
            cast(&list, data_type).expect("a list can be a large one")
        }
        DataType::Struct(fields) => {
            let child = |field: &Arc<Field>, random: &mut StdRng| match field.is_nullable() {
                true => array(field.data_type(), len, random),
                false => values(field.data_type(), len, None, random),
            };
            let children = fields.iter().map(|field| child(field, random)).collect();
            Arc::new(StructArray::new(fields.clone(), children, nulls))
        }
        DataType::Map(entries, _) => {
            let offsets = OffsetBuffer::from_lengths((0..len).map(|_| random.random_range(0..3)));
            let of = values(entries.data_type(), offsets[len] as usize, None, random);
            let of = arrow_array::cast::AsArray::as_struct(of.as_ref()).clone();
            Arc::new(MapArray::new(Arc::clone(entries), offsets, of, nulls, false))
        }
        DataType::Dictionary(key, _) => {
            let words: ArrayRef = Arc::new(StringArray::from_iter_values((0..90).map(|word| format!("word {word}"))));
            let keys: Vec<i8> = (0..len).map(|_| random.random_range(0..90)).collect();
            match key.as_ref() {
                DataType::Int8 => {
                    let keys = PrimitiveArray::<Int8Type>::new(keys.into(), nulls);
                    Arc::new(DictionaryArray::new(keys, words))
                }
                _ => {
                    let keys: Vec<i32> = keys.into_iter().map(i32::from).collect();
                    Arc::new(DictionaryArray::new(PrimitiveArray::<Int32Type>::new(keys.into(), nulls), words))
                }
            }
        }
        fixed => {
            let width = match fixed {
                DataType::FixedSizeBinary(width) => *width as usize,
                _ => fixed.primitive_width().expect("all other types are primitive"),
            };
            let bytes: Vec<u8> = (0..len * width).map(|_| random.random()).collect();
            let data =
                ArrayData::builder(fixed.clone()).len(len).nulls(nulls).add_buffer(Buffer::from_slice_ref(&bytes));
            make_array(data.build().expect("any bytes are values"))
        }
    }
}

fn strings(len: usize, nulls: Option<NullBuffer>, random: &mut StdRng) -> ArrayRef {
    let mut string = |_| "é".repeat(random.random_range(0..5)) + &random.random_range(0..100).to_string()[1..];
    let strings = StringArray::from_iter_values((0..len).map(&mut string));
    let (offsets, bytes, _) = strings.into_parts();
    Arc::new(StringArray::new(offsets, bytes, nulls))
}
