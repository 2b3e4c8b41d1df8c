//! What may go wrong with a file of ice.

use std::fmt;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Bytes are not what was written.
    Damaged(String),
    /// The rows cannot be written so.
    Unwritable(String),
}

/// The result of what is done with ice.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => write!(f, "the ice does not read: {what}"),
            Self::Unwritable(what) => write!(f, "the rows cannot become ice: {what}"),
        }
    }
}

impl std::error::Error for Error {}

/// The error for bytes that do not read.
pub(crate) fn damaged(what: impl fmt::Display) -> Error {
    Error::Damaged(what.to_string())
}

/// The error for rows that cannot be written.
pub(crate) fn unwritable(what: impl fmt::Display) -> Error {
    Error::Unwritable(what.to_string())
}
