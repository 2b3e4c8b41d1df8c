//! Encoded keys back to columns. The bytes come from disk: nothing about them is believed.

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, FixedSizeBinaryArray, Int64Array, StringArray, UInt64Array,
};
use arrow_schema::DataType;

use super::column::{ESCAPE, ESCAPED_ZERO, KeyColumn, KeyType, shared};
use crate::error::{Error, Kind, Result};

/// The columns, of the declared types, whose rows encode to `keys`.
pub fn decode<'a>(columns: &[KeyColumn], keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
    let mut decoder = Decoder::new(columns)?;
    for key in keys {
        decoder.push(key)?;
    }
    decoder.finish()
}

/// Keys on their way to columns, taken one by one.
pub struct Decoder<'a> {
    columns: &'a [KeyColumn],
    parts: Vec<Part>,
}

impl std::fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decoder of {} columns", self.columns.len())
    }
}

impl<'a> Decoder<'a> {
    /// Of keys that have the declared `columns`.
    pub fn new(columns: &'a [KeyColumn]) -> Result<Self> {
        let part = |column: &KeyColumn| Ok(Part::new(column.key_type()?, column.flip()));
        Ok(Self { columns, parts: columns.iter().map(part).collect::<Result<_>>()? })
    }

    /// Takes the next key.
    #[inline]
    pub fn push(&mut self, key: &[u8]) -> Result<()> {
        let mut rest = key;
        for part in &mut self.parts {
            rest = part.take_from(rest)?;
        }
        if rest.is_empty() { Ok(()) } else { Err(damaged("has bytes after its last column")) }
    }

    /// The columns, a row for each key.
    pub fn finish(self) -> Result<Vec<ArrayRef>> {
        self.columns.iter().zip(self.parts).map(|(column, part)| part.finish(&column.data_type)).collect()
    }
}

fn damaged(what: &str) -> Error {
    Error::new(Kind::Corrupt, format!("an encoded key {what}; run `firn verify` to find the damaged file"))
}

/// The encoded length of the escaped value at the start of `bytes`, its terminator included.
pub(super) fn escaped_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == ESCAPE)?;
        match *bytes.get(at + 1)? {
            ESCAPED_ZERO => at += 2,
            ESCAPE => return Some(at + 2),
            _ => return None,
        }
    }
}

/// One column while keys are read into it.
enum Part {
    Ints { flip: u64, words: Vec<u64> },
    Days(Vec<i32>),
    Flags(Vec<bool>),
    Fixed { width: usize, bytes: Vec<u8> },
    Escaped { bytes: Vec<u8>, lengths: Vec<usize> },
}

impl Part {
    fn new(key_type: KeyType, flip: u64) -> Self {
        match key_type {
            KeyType::Int => Self::Ints { flip, words: Vec::new() },
            KeyType::Date => Self::Days(Vec::new()),
            KeyType::Bool => Self::Flags(Vec::new()),
            KeyType::FixedBinary(width) => Self::Fixed { width: width as usize, bytes: Vec::new() },
            KeyType::Utf8 | KeyType::Binary => Self::Escaped { bytes: Vec::new(), lengths: Vec::new() },
        }
    }

    #[inline]
    fn take_from<'a>(&mut self, key: &'a [u8]) -> Result<&'a [u8]> {
        let short = || damaged("ends inside a column");
        match self {
            Self::Ints { flip, words } => {
                let (word, rest) = key.split_first_chunk::<8>().ok_or_else(short)?;
                words.push(u64::from_be_bytes(*word) ^ *flip);
                Ok(rest)
            }
            Self::Days(values) => {
                let (word, rest) = key.split_first_chunk::<4>().ok_or_else(short)?;
                values.push((u32::from_be_bytes(*word) ^ (1 << 31)) as i32);
                Ok(rest)
            }
            Self::Flags(values) => {
                let (flag, rest) = key.split_first().ok_or_else(short)?;
                values.push(*flag != 0);
                Ok(rest)
            }
            Self::Fixed { width, bytes } => {
                let (value, rest) = key.split_at_checked(*width).ok_or_else(short)?;
                bytes.extend_from_slice(value);
                Ok(rest)
            }
            Self::Escaped { bytes, lengths } => {
                let (value, rest) = key.split_at(escaped_length(key).ok_or_else(short)?);
                let before = bytes.len();
                let mut unescaped = &value[..value.len() - 2];
                while let Some(zero) = unescaped.iter().position(|&byte| byte == ESCAPE) {
                    bytes.extend_from_slice(&unescaped[..=zero]);
                    unescaped = unescaped.get(zero + 2..).unwrap_or(&[]);
                }
                bytes.extend_from_slice(unescaped);
                lengths.push(bytes.len() - before);
                Ok(rest)
            }
        }
    }

    fn finish(self, data_type: &DataType) -> Result<ArrayRef> {
        Ok(match self {
            Self::Ints { words, .. } if *data_type == DataType::UInt64 => shared(UInt64Array::from(words)),
            Self::Ints { words, .. } => {
                let wide = shared(Int64Array::from_iter_values(words.into_iter().map(|word| word as i64)));
                let options = arrow_cast::CastOptions { safe: false, ..Default::default() };
                arrow_cast::cast_with_options(&wide, data_type, &options)
                    .map_err(|_| damaged("holds a number too large for its column"))?
            }
            Self::Days(values) => shared(Date32Array::from(values)),
            Self::Flags(values) => shared(BooleanArray::from(values)),
            Self::Fixed { width, bytes } => shared(FixedSizeBinaryArray::try_new(width as i32, bytes.into(), None)?),
            Self::Escaped { bytes, lengths } => {
                let too_long = || Error::exhausted("more than 2^31 bytes of keys in one batch; ask for fewer rows");
                i32::try_from(bytes.len()).map_err(|_| too_long())?;
                let offsets = arrow_buffer::OffsetBuffer::from_lengths(lengths);
                if *data_type == DataType::Utf8 {
                    let strings = StringArray::try_new(offsets, bytes.into(), None);
                    shared(strings.map_err(|_| damaged("holds text that is not UTF-8"))?)
                } else {
                    shared(BinaryArray::try_new(offsets, bytes.into(), None)?)
                }
            }
        })
    }
}
