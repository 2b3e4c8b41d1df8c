//! Encoded keys.

use arrow_array::{Array, BinaryArray};
use arrow_buffer::Buffer;

/// Encoded keys of a batch.
#[derive(Debug, Clone)]
pub enum Keys {
    /// Keys of one width.
    Fixed {
        /// Bytes per key.
        width: usize,
        /// The keys, one after another.
        bytes: Buffer,
    },
    /// Keys of any length.
    Variable(BinaryArray),
}

impl Keys {
    /// The number of keys.
    pub fn len(&self) -> usize {
        match self {
            Self::Fixed { width, bytes } => bytes.len() / width,
            Self::Variable(keys) => keys.len(),
        }
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key of `row`.
    pub fn get(&self, row: usize) -> &[u8] {
        match self {
            Self::Fixed { width, bytes } => &bytes[row * width..(row + 1) * width],
            Self::Variable(keys) => keys.value(row),
        }
    }
}

/// The hash of an encoded key.
pub fn hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(key, 0x6669_726e)
}
