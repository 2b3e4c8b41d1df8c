//! Read positions: exactly which commits a read saw, as an opaque string.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::time::Sequence;

/// Who gave a sequence: a database, in one epoch of its writers. Sequences of different logs are never compared, for
/// what a lost epoch gave may be given again to other commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Log {
    /// The random number of the database.
    pub database: u64,
    /// Grows with every writer that takes the database over; 0 as long as it has only one home.
    pub epoch: u64,
}

/// The number of a new database: one that no other has, from the hasher keys of the standard library.
pub(crate) fn random_database() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// The log of now: a follower goes on in the next epoch when its writer does.
#[derive(Debug)]
pub struct CurrentLog {
    database: u64,
    epoch: AtomicU64,
}

impl CurrentLog {
    /// `log`, for now.
    pub fn new(log: Log) -> Self {
        Self { database: log.database, epoch: AtomicU64::new(log.epoch) }
    }

    /// Goes on in `epoch`. Nothing of that epoch may have been published yet.
    pub fn turn(&self, epoch: u64) {
        let before = self.epoch.fetch_max(epoch, Ordering::SeqCst);
        assert!(before <= epoch, "epochs increase");
    }

    /// The random number of the database.
    pub fn database(&self) -> u64 {
        self.database
    }

    /// The position after the commit `sequence`, which was published. It is known before the epoch is looked at, so that it never
    /// gets an epoch that ended before it.
    pub fn position(&self, sequence: Sequence) -> Position {
        let epoch = self.epoch.load(Ordering::SeqCst);
        Position::new(Log { database: self.database, epoch }, sequence)
    }
}

/// A point in the log of one database: every commit up to it, and none after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    log: Log,
    sequence: Sequence,
}

impl Position {
    /// The position after the commit `sequence` of `log`.
    pub fn new(log: Log, sequence: Sequence) -> Self {
        Self { log, sequence }
    }

    /// The last commit that is seen; 0 before the first.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Who gave the sequence.
    pub fn log(&self) -> Log {
        self.log
    }

    /// Reads what [`Display`](fmt::Display) wrote for a database that is `known`, in whatever epoch.
    pub fn parse(text: &str, known: impl Fn(u64) -> bool) -> Result<Self> {
        Self::read(text).filter(|position| known(position.log.database)).ok_or_else(|| {
            Error::invalid(format!(
                "position {text:?} is not one of this database; send back a read_position exactly as it was answered"
            ))
        })
    }

    fn read(text: &str) -> Option<Self> {
        let mut numbers = text.split('-').map(|number| u64::from_str_radix(number, 16).ok());
        let log = Log { database: numbers.next()??, epoch: numbers.next()?? };
        let position = Self { log, sequence: numbers.next()?? };
        // There is one spelling of each.
        (position.to_string() == text).then_some(position)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}-{:x}", self.log.database, self.log.epoch, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::{Log, Position};

    #[test]
    fn a_position_reads_back_and_another_databases_does_not() {
        let log = Log { database: 7, epoch: 0 };
        let position = Position::new(log, 300);
        assert_eq!(Position::parse(&position.to_string(), |database| database == 7).unwrap(), position);
        assert!(Position::parse(&position.to_string(), |database| database == 8).is_err());
        for wrong in [
            "",
            "-",
            "--",
            "7-0-12c",
            "0000000000000007-12c",
            "0000000000000007-0-012c",
            "0000000000000007-0-12C",
            "0000000000000007-0-12c-0",
            "0000000000000007-+0-12c",
            "now",
        ] {
            assert!(
                Position::parse(wrong, |_| true).unwrap_err().message().contains("not one of this database"),
                "{wrong:?}"
            );
        }
    }
}
