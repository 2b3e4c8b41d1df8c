//! Read positions: exactly which commits a read saw, as an opaque string.

use std::fmt;

use crate::error::{Error, Result};
use crate::time::Sequence;

/// A point in the log of one database: every commit up to it, and none after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    database: u64,
    sequence: Sequence,
}

impl Position {
    /// The position after the commit `sequence` of the log of `database`.
    pub fn new(database: u64, sequence: Sequence) -> Self {
        Self { database, sequence }
    }

    /// The last commit that is seen; 0 before the first.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Reads what [`Display`](fmt::Display) wrote for the same database.
    pub fn parse(database: u64, text: &str) -> Result<Self> {
        let unknown = || {
            Error::invalid(format!(
                "position {text:?} is not one of this database; send back a read_position exactly as it was answered"
            ))
        };
        let (log, sequence) = text.split_once('-').ok_or_else(unknown)?;
        let log = u64::from_str_radix(log, 16).map_err(|_| unknown())?;
        let sequence = u64::from_str_radix(sequence, 16).map_err(|_| unknown())?;
        let position = Self { database, sequence };
        if log != database || position.to_string() != text {
            return Err(unknown());
        }
        Ok(position)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}", self.database, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn a_position_reads_back_and_another_databases_does_not() {
        let position = Position::new(7, 300);
        assert_eq!(Position::parse(7, &position.to_string()).unwrap(), position);
        assert!(Position::parse(8, &position.to_string()).is_err());
        for wrong in ["", "-", "7-12c", "0000000000000007-012c", "0000000000000007-12C", "now"] {
            assert!(Position::parse(7, wrong).is_err(), "{wrong:?}");
        }
    }
}
