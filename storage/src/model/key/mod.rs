//! Keys and row ids as bytes: one encoding whose byte order is the order of the values.
//!
//! Each column encodes itself so that it says where it ends: integers of any width as 8 big-endian bytes with the sign
//! flipped, but those of a `uint64` as they are, dates likewise in 4, a bool in 1, fixed-size binary raw, strings and binary with 0x00 written as 0x00 0xFF
//! and ended by 0x00 0x00. A composite key is the concatenation, so leading key columns are a byte prefix, and equal
//! values of different integer widths are equal bytes. It is the one key format of memory, WAL and files and does not
//! change; [`hash`] decides placement and does not change either. What the bytes of a key mean is said by the column
//! that it belongs to, so those of different entities are never compared.

use arrow_array::{Array, BinaryArray};
use arrow_buffer::{Buffer, OffsetBuffer};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::catalog::Entity;
use crate::error::{Error, Result};

mod column;
mod decode;
mod encode;

pub use column::{KeyColumn, KeyType};
pub use decode::{Decoder, decode};
pub use encode::encode;
pub(crate) use encode::encode_row_ids;

/// The longest encoded key or row id, in bytes.
pub const KEY_BYTES_MAX: usize = 4096;

/// The seed of [`hash`]: it decides in which bucket an entity lives, so it never changes.
const HASH_SEED: u64 = 0x4669_726E_4442_0001;

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

/// An array of keys shared with a reader.
#[cfg(test)]
mod tests;
