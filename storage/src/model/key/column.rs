//! The columns of keys and row ids: their types, and how each is encoded.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::types::{as_text, print_type};

pub(super) const ESCAPE: u8 = 0x00;
pub(super) const ESCAPED_ZERO: u8 = 0xFF;
pub(super) const TERMINATOR: [u8; 2] = [0x00, 0x00];

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
    /// Whether a `uint64` is encoded as it is. One that was declared before numbers of 2^63 and above were taken has
    /// its highest bit flipped, as other integers have their sign, and keeps that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsigned: bool,
}

impl KeyColumn {
    /// A new column.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        let unsigned = data_type == DataType::UInt64;
        Self { name: name.into(), data_type, unsigned }
    }

    /// What turns the number of an integer column into the word that is written big-endian, and back.
    pub(super) fn flip(&self) -> u64 {
        if self.unsigned { 0 } else { 1 << 63 }
    }

    /// How the column is encoded.
    pub fn key_type(&self) -> Result<KeyType> {
        KeyType::of(&self.data_type).ok_or_else(|| {
            Error::invalid(format!("{} cannot be the type of key column `{}`", print_type(&self.data_type), self.name))
        })
    }
}

impl From<(&str, DataType)> for KeyColumn {
    fn from((name, data_type): (&str, DataType)) -> Self {
        Self::new(name, data_type)
    }
}

/// An array to be shared.
pub(crate) fn shared<A: Array + 'static>(array: A) -> ArrayRef {
    Arc::new(array)
}
