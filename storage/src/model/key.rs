//! Keys and row ids as bytes: one encoding whose byte order is the order of the values.
//!
//! Each column encodes itself so that it says where it ends: integers of any width as 8 big-endian bytes with the sign
//! flipped, dates likewise in 4, a bool in 1, fixed-size binary raw, strings and binary with 0x00 written as 0x00 0xFF
//! and ended by 0x00 0x00. A composite key is the concatenation, so leading key columns are a byte prefix, and equal
//! values of different integer widths are equal bytes. It is the one key format of memory, WAL and files and does not
//! change; [`hash`] decides placement and does not change either.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef, BinaryArray};
use arrow_buffer::{Buffer, OffsetBuffer};
use arrow_schema::DataType;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::catalog::Entity;
use super::types::{as_text, print_type};
use crate::error::{Error, Result};

mod decode;

pub use decode::decode;

/// The longest encoded key or row id, in bytes.
pub const KEY_BYTES_MAX: usize = 4096;

/// The seed of [`hash`]: it decides in which bucket an entity lives, so it never changes.
const HASH_SEED: u64 = 0x4669_726E_4442_0001;

const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xFF;
const TERMINATOR: [u8; 2] = [0x00, 0x00];

/// How a key column is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// An integer of any width, as 8 bytes.
    Int,
    /// A string, escaped and terminated.
    Utf8,
    /// Bytes, escaped and terminated.
    Binary,
    /// So many raw bytes.
    FixedBinary(i32),
    /// A date, as 4 bytes.
    Date,
    /// One byte.
    Bool,
}

impl KeyType {
    /// How columns of `data_type` are encoded; `None` if it cannot be a key.
    pub fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            data_type if data_type.is_integer() => Self::Int,
            DataType::Utf8 => Self::Utf8,
            DataType::Binary => Self::Binary,
            DataType::FixedSizeBinary(width) => Self::FixedBinary(*width),
            DataType::Date32 => Self::Date,
            DataType::Boolean => Self::Bool,
            _ => return None,
        })
    }

    /// The bytes of every encoded value, if they are equally many.
    pub fn width(self) -> Option<usize> {
        match self {
            Self::Int => Some(8),
            Self::Date => Some(4),
            Self::Bool => Some(1),
            Self::FixedBinary(width) => Some(width as usize),
            Self::Utf8 | Self::Binary => None,
        }
    }
}

/// A column of a key or a row id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyColumn {
    /// The name.
    pub name: String,
    /// The declared type: one for which [`KeyType::of`] answers.
    #[serde(rename = "type", with = "as_text")]
    pub data_type: DataType,
}

impl KeyColumn {
    /// How the column is encoded.
    pub fn key_type(&self) -> Result<KeyType> {
        KeyType::of(&self.data_type)
            .ok_or_else(|| Error::invalid(format!("{} cannot be the type of key column `{}`", print_type(&self.data_type), self.name)))
    }
}

/// The encoded keys of a batch.
#[derive(Debug, Clone)]
pub enum Keys {
    /// Keys of equal width, one after the other.
    Fixed {
        /// Bytes per key.
        width: usize,
        /// The keys.
        bytes: Buffer,
    },
    /// Keys of any width.
    Variable(BinaryArray),
}

impl Keys {
    /// The keys in `array`, which holds no null.
    pub fn from_binary(array: BinaryArray) -> Self {
        Self::Variable(array)
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        match self {
            Self::Fixed { width, bytes } => bytes.len() / width,
            Self::Variable(array) => array.len(),
        }
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key of `row`.
    #[inline]
    pub fn get(&self, row: usize) -> &[u8] {
        match self {
            Self::Fixed { width, bytes } => &bytes[row * width..(row + 1) * width],
            Self::Variable(array) => array.value(row),
        }
    }

    /// All keys in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// The keys of `rows`, in that order.
    #[must_use]
    pub fn take(&self, rows: &[u32]) -> Self {
        match self {
            Self::Fixed { width, .. } => {
                let mut taken = Vec::with_capacity(rows.len() * width);
                rows.iter().for_each(|&row| taken.extend_from_slice(self.get(row as usize)));
                Self::Fixed { width: *width, bytes: taken.into() }
            }
            Self::Variable(array) => {
                Self::Variable(BinaryArray::from_iter_values(rows.iter().map(|&row| array.value(row as usize))))
            }
        }
    }

    /// The keys as one array.
    pub fn to_binary(&self) -> Result<BinaryArray> {
        match self {
            Self::Fixed { width, bytes } => {
                let ends = (0..=self.len()).map(|row| i32::try_from(row * width)).collect::<Result<Vec<_>, _>>();
                let ends = ends.map_err(|_| too_many())?;
                Ok(BinaryArray::try_new(OffsetBuffer::new(ends.into()), bytes.clone(), None)?)
            }
            Self::Variable(array) => Ok(array.clone()),
        }
    }

    /// The hash of every key.
    pub fn hashes(&self) -> Vec<u64> {
        self.iter().map(hash).collect()
    }
}

fn too_many() -> Error {
    Error::exhausted("the keys of one batch have more than 2^31 bytes; send smaller batches")
}

/// The encoded keys of the rows of `arrays`, which have the types that `columns` declare and hold no null.
pub fn encode(columns: &[KeyColumn], arrays: &[ArrayRef]) -> Result<Keys> {
    assert!(!columns.is_empty() && columns.len() == arrays.len(), "there is one array per key column");
    let types = columns.iter().map(KeyColumn::key_type).collect::<Result<Vec<_>>>()?;
    for (column, array) in columns.iter().zip(arrays) {
        assert_eq!(&column.data_type, array.data_type(), "key columns are cast at the door");
        assert_eq!(array.null_count(), 0, "the caller refuses null keys");
    }
    if let Some(width) = types.iter().map(|key_type| key_type.width()).sum::<Option<usize>>() {
        return encode_fixed(columns, arrays, &types, width);
    }
    let parts = columns.iter().zip(arrays).map(|(column, array)| Part::new(column, array)).collect::<Result<Vec<_>>>()?;
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
            KeyType::Int => Self::Words(words(column, array)?),
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
                write_fixed(column, array, key_type, &mut bytes, width, 0)?;
                Self::Fixed { width, bytes }
            }
        })
    }

    fn append(&self, row: usize, to: &mut Vec<u8>) {
        match self {
            Self::Words(words) => to.extend_from_slice(&words[row].to_be_bytes()),
            Self::Fixed { width, bytes } => to.extend_from_slice(&bytes[row * width..(row + 1) * width]),
            Self::Escaped { offsets, bytes } => append_escaped(&bytes[offsets[row] as usize..offsets[row + 1] as usize], to),
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

fn encode_fixed(columns: &[KeyColumn], arrays: &[ArrayRef], types: &[KeyType], width: usize) -> Result<Keys> {
    if let ([column], [array], [KeyType::Int]) = (columns, arrays, types) {
        let mut words = words(column, array)?;
        words.iter_mut().for_each(|word| *word = word.to_be());
        return Ok(Keys::Fixed { width, bytes: Buffer::from_vec(words) });
    }
    let mut bytes = vec![0; width * arrays[0].len()];
    let mut offset = 0;
    for ((column, array), key_type) in columns.iter().zip(arrays).zip(types) {
        write_fixed(column, array, *key_type, &mut bytes, width, offset)?;
        offset += key_type.width().unwrap_or(0);
    }
    Ok(Keys::Fixed { width, bytes: bytes.into() })
}

/// Writes a column of fixed width at `offset` of every `stride` bytes.
fn write_fixed(column: &KeyColumn, array: &ArrayRef, key_type: KeyType, bytes: &mut [u8], stride: usize, offset: usize) -> Result<()> {
    let rows = bytes.chunks_exact_mut(stride).map(|row| &mut row[offset..]);
    match key_type {
        KeyType::Int => {
            let words = words(column, array)?;
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
    Ok(())
}

/// An integer column of any width, each value with its sign flipped so that unsigned order is signed order.
fn words(column: &KeyColumn, array: &ArrayRef) -> Result<Vec<u64>> {
    fn signed<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &ArrayRef) -> Vec<u64> {
        array.as_primitive::<T>().values().iter().map(|&value| value.into() as u64 ^ (1 << 63)).collect()
    }
    Ok(match array.data_type() {
        DataType::Int8 => signed::<Int8Type>(array),
        DataType::Int16 => signed::<Int16Type>(array),
        DataType::Int32 => signed::<Int32Type>(array),
        DataType::Int64 => signed::<Int64Type>(array),
        DataType::UInt8 => signed::<UInt8Type>(array),
        DataType::UInt16 => signed::<UInt16Type>(array),
        DataType::UInt32 => signed::<UInt32Type>(array),
        _ => {
            let values = array.as_primitive::<UInt64Type>().values();
            if let Some(row) = values.iter().position(|&value| value > i64::MAX as u64) {
                return Err(Error::invalid(format!(
                    "row {row}: {} is too large for key column `{}`; integer keys go up to {}",
                    values[row],
                    column.name,
                    i64::MAX
                )));
            }
            values.iter().map(|&value| value ^ (1 << 63)).collect()
        }
    })
}

/// The hash of an encoded key: bits for placement and for hash tables.
#[inline]
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, HASH_SEED)
}

/// The bucket in which the entity of `key` lives; `hash` is [`hash`] of the whole key.
#[inline]
pub fn bucket_of(entity: &Entity, key: &[u8], hash: u64) -> u32 {
    let placing = if entity.bucket_by == entity.key.len() { hash } else { self::hash(prefix(entity, key)) };
    (((placing >> 32) * u64::from(entity.buckets)) >> 32) as u32
}

/// The bytes of the leading key columns that place an entity.
fn prefix<'a>(entity: &Entity, key: &'a [u8]) -> &'a [u8] {
    &key[..prefix_length(&entity.key, key, entity.bucket_by)]
}

/// How many bytes of `key` are the first `count` of its `columns`.
pub fn prefix_length(columns: &[KeyColumn], key: &[u8], count: usize) -> usize {
    let mut end = 0;
    for column in columns.iter().take(count) {
        let rest = key.get(end..).unwrap_or(&[]);
        end += match KeyType::of(&column.data_type).and_then(KeyType::width) {
            Some(width) => width,
            None => decode::escaped_length(rest).unwrap_or(rest.len()),
        };
    }
    end.min(key.len())
}

/// Encoded row ids for `rows` rows, the empty byte string where `present` says that there is none.
pub(crate) fn encode_row_ids(columns: &[KeyColumn], arrays: &[ArrayRef], present: Option<&arrow_buffer::BooleanBuffer>) -> Result<BinaryArray> {
    let Some(present) = present else { return encode(columns, arrays)?.to_binary() };
    let mask = arrow_array::BooleanArray::new(present.clone(), None);
    let standing = arrays.iter().map(|array| arrow_select::filter::filter(array, &mask)).collect::<Result<Vec<_>, _>>()?;
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

impl From<(&str, DataType)> for KeyColumn {
    fn from((name, data_type): (&str, DataType)) -> Self {
        Self { name: name.to_owned(), data_type }
    }
}

/// An array of keys shared with a reader.
pub(crate) fn shared<A: Array + 'static>(array: A) -> ArrayRef {
    Arc::new(array)
}

#[cfg(test)]
mod tests;
