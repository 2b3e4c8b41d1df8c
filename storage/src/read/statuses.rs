//! Why a feature has the answer that it has.

use std::sync::Arc;

use arrow_array::{ArrayRef, DictionaryArray, Int8Array, StringArray};

/// The status of a feature in an answer. The numbers index [`STATUSES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// A value won.
    Value = 0,
    /// An explicit null won.
    Null = 1,
    /// The winner is older than max age.
    Expired = 2,
    /// The entity was deleted before anything newer was written.
    Deleted = 3,
    /// Nothing was ever written within the bounds.
    Never = 4,
    /// The bound lies before the horizon.
    Forgotten = 5,
}

/// The names of the statuses on the wire, by number.
pub const STATUSES: [&str; 6] = ["value", "null", "expired", "deleted", "never", "forgotten"];

/// Statuses, given by their numbers, as they are answered: by name.
pub(crate) fn status_array(statuses: impl Iterator<Item = u8>) -> ArrayRef {
    let names = Arc::new(StringArray::from(STATUSES.to_vec()));
    let keys = Int8Array::from_iter_values(statuses.map(|status| status as i8));
    Arc::new(DictionaryArray::new(keys, names))
}

/// The status that each row has in every column that keeps none of its own.
#[derive(Debug)]
pub(crate) enum BaseStatuses {
    /// So many rows, all values.
    Values(usize),
    /// One per row.
    Each(Vec<u8>),
}

impl BaseStatuses {
    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Values(rows) => *rows,
            Self::Each(statuses) => statuses.len(),
        }
    }

    /// One per row; `None` if all are values.
    pub(crate) fn each(&self) -> Option<&[u8]> {
        match self {
            Self::Values(_) => None,
            Self::Each(statuses) => Some(statuses),
        }
    }

    /// One per row.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        match self {
            Self::Values(rows) => vec![Status::Value as u8; *rows],
            Self::Each(statuses) => statuses.clone(),
        }
    }
}
