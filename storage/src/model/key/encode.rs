//! Columns to encoded keys, without an allocation per row.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef, BinaryArray};
use arrow_buffer::{Buffer, OffsetBuffer};
use arrow_schema::DataType;

use super::column::{ESCAPE, ESCAPED_ZERO, KeyColumn, KeyType, TERMINATOR};
use super::{Keys, too_many};
use crate::error::Result;

/// The encoded keys of the rows of `arrays`, which have the types that `columns` declare and hold no null.
pub fn encode(columns: &[KeyColumn], arrays: &[ArrayRef]) -> Result<Keys> {
    assert!(!columns.is_empty() && columns.len() == arrays.len(), "there is one array per key column");
    let types = columns.iter().map(KeyColumn::key_type).collect::<Result<Vec<_>>>()?;
    for (column, array) in columns.iter().zip(arrays) {
        assert_eq!(&column.data_type, array.data_type(), "key columns are cast at the door");
        assert_eq!(array.null_count(), 0, "the caller refuses null keys");
    }
    if let Some(width) = types.iter().map(|key_type| key_type.width()).sum::<Option<usize>>() {
        return Ok(encode_fixed(columns, arrays, &types, width));
    }
    let parts =
        columns.iter().zip(arrays).map(|(column, array)| Part::new(column, array)).collect::<Result<Vec<_>>>()?;
    let rows = arrays[0].len();
    let mut bytes = Vec::with_capacity(rows * 16);
    let mut ends: Vec<i32> = Vec::with_capacity(rows + 1);
    ends.push(0);
    for row in 0..rows {
        parts.iter().for_each(|part| part.append(row, &mut bytes));
        ends.push(i32::try_from(bytes.len()).map_err(|_| too_many())?);
    }
    Ok(Keys::Variable(BinaryArray::try_new(OffsetBuffer::new(ends.into()), bytes.into(), None)?))
}

/// One key column, ready to be read row by row.
enum Part<'a> {
    Words(Vec<u64>),
    Fixed { width: usize, bytes: Vec<u8> },
    Escaped { offsets: &'a [i32], bytes: &'a [u8] },
}

impl<'a> Part<'a> {
    fn new(column: &KeyColumn, array: &'a ArrayRef) -> Result<Self> {
        Ok(match column.key_type()? {
            KeyType::Int => Self::Words(words(column, array)),
            KeyType::Utf8 => {
                let array = array.as_string::<i32>();
                Self::Escaped { offsets: array.value_offsets(), bytes: array.value_data() }
            }
            KeyType::Binary => {
                let array = array.as_binary::<i32>();
                Self::Escaped { offsets: array.value_offsets(), bytes: array.value_data() }
            }
            key_type => {
                let width = key_type.width().unwrap_or(1);
                let mut bytes = vec![0; width * array.len()];
                write_fixed(column, array, key_type, &mut bytes, width, 0);
                Self::Fixed { width, bytes }
            }
        })
    }

    fn append(&self, row: usize, to: &mut Vec<u8>) {
        match self {
            Self::Words(words) => to.extend_from_slice(&words[row].to_be_bytes()),
            Self::Fixed { width, bytes } => to.extend_from_slice(&bytes[row * width..(row + 1) * width]),
            Self::Escaped { offsets, bytes } => {
                append_escaped(&bytes[offsets[row] as usize..offsets[row + 1] as usize], to)
            }
        }
    }
}

fn append_escaped(value: &[u8], to: &mut Vec<u8>) {
    if value.contains(&ESCAPE) {
        for &byte in value {
            to.push(byte);
            if byte == ESCAPE {
                to.push(ESCAPED_ZERO);
            }
        }
    } else {
        to.extend_from_slice(value);
    }
    to.extend_from_slice(&TERMINATOR);
}

fn encode_fixed(columns: &[KeyColumn], arrays: &[ArrayRef], types: &[KeyType], width: usize) -> Keys {
    if let ([column], [array], [KeyType::Int]) = (columns, arrays, types) {
        let mut words = words(column, array);
        words.iter_mut().for_each(|word| *word = word.to_be());
        return Keys::Fixed { width, bytes: Buffer::from_vec(words) };
    }
    let mut bytes = vec![0; width * arrays[0].len()];
    let mut offset = 0;
    for ((column, array), key_type) in columns.iter().zip(arrays).zip(types) {
        write_fixed(column, array, *key_type, &mut bytes, width, offset);
        offset += key_type.width().unwrap_or(0);
    }
    Keys::Fixed { width, bytes: bytes.into() }
}

/// Writes a column of fixed width at `offset` of every `stride` bytes.
fn write_fixed(
    column: &KeyColumn,
    array: &ArrayRef,
    key_type: KeyType,
    bytes: &mut [u8],
    stride: usize,
    offset: usize,
) {
    let rows = bytes.chunks_exact_mut(stride).map(|row| &mut row[offset..]);
    match key_type {
        KeyType::Int => {
            let words = words(column, array);
            rows.zip(words).for_each(|(row, word)| row[..8].copy_from_slice(&word.to_be_bytes()));
        }
        KeyType::Date => {
            let days = array.as_primitive::<Date32Type>().values();
            rows.zip(days).for_each(|(row, day)| row[..4].copy_from_slice(&(*day as u32 ^ (1 << 31)).to_be_bytes()));
        }
        KeyType::Bool => {
            let flags = array.as_boolean().values();
            rows.zip(flags).for_each(|(row, flag)| row[0] = u8::from(flag));
        }
        KeyType::FixedBinary(width) => {
            let values = array.as_fixed_size_binary();
            rows.zip(0..values.len()).for_each(|(row, at)| row[..width as usize].copy_from_slice(values.value(at)));
        }
        KeyType::Utf8 | KeyType::Binary => unreachable!("only columns of fixed width are written in place"),
    }
}

/// An integer column of any width, each value as a word whose unsigned order is the order of the column.
fn words(column: &KeyColumn, array: &ArrayRef) -> Vec<u64> {
    fn signed<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &ArrayRef, flip: u64) -> Vec<u64> {
        array.as_primitive::<T>().values().iter().map(|&value| value.into() as u64 ^ flip).collect()
    }
    let flip = column.flip();
    match array.data_type() {
        DataType::Int8 => signed::<Int8Type>(array, flip),
        DataType::Int16 => signed::<Int16Type>(array, flip),
        DataType::Int32 => signed::<Int32Type>(array, flip),
        DataType::Int64 => signed::<Int64Type>(array, flip),
        DataType::UInt8 => signed::<UInt8Type>(array, flip),
        DataType::UInt16 => signed::<UInt16Type>(array, flip),
        DataType::UInt32 => signed::<UInt32Type>(array, flip),
        _ => array.as_primitive::<UInt64Type>().values().iter().map(|&value| value ^ flip).collect(),
    }
}

/// Encoded row ids for `rows` rows, the empty byte string where `present` says that there is none.
pub(crate) fn encode_row_ids(
    columns: &[KeyColumn],
    arrays: &[ArrayRef],
    present: Option<&arrow_buffer::BooleanBuffer>,
) -> Result<BinaryArray> {
    let Some(present) = present else { return encode(columns, arrays)?.to_binary() };
    let mask = arrow_array::BooleanArray::new(present.clone(), None);
    let standing =
        arrays.iter().map(|array| arrow_select::filter::filter(array, &mask)).collect::<Result<Vec<_>, _>>()?;
    let keys = encode(columns, &standing)?;
    let mut next = 0;
    let ids = present.iter().map(|present| {
        if !present {
            return &[][..];
        }
        next += 1;
        keys.get(next - 1)
    });
    let ids: Vec<&[u8]> = ids.collect();
    Ok(BinaryArray::from_iter_values(ids))
}
