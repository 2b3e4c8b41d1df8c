//! Who wrote a database before: its epochs, where each ended, and which numbers of files each gave.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::position::{Log, Position};
use crate::time::Sequence;

/// An epoch that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Its number.
    pub epoch: u64,
    /// The first number of a file that it gave.
    pub first_number: u64,
    /// The last commit of the epochs before it: what they committed later is lost.
    pub begins_after: Sequence,
}

/// The epochs of a database, the last of which is the one that writes. One that has no bucket is in epoch 0.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lineage {
    epochs: Vec<Epoch>,
}

impl Lineage {
    /// The same, and then `next`.
    pub fn then(&self, next: Epoch) -> Self {
        let last = self.epochs.last();
        assert!(last.is_none_or(|last| last.epoch < next.epoch), "epochs increase");
        assert!(last.is_none_or(|last| last.first_number <= next.first_number), "numbers of files increase");
        Self { epochs: self.epochs.iter().copied().chain([next]).collect() }
    }

    /// The epoch that writes.
    pub fn current(&self) -> u64 {
        self.epochs.last().map_or(0, |last| last.epoch)
    }

    /// The first epoch after `epoch`, if there is one.
    pub fn after(&self, epoch: u64) -> Option<Epoch> {
        self.epochs.iter().copied().find(|later| later.epoch > epoch)
    }

    /// The epoch that gave the number of a file.
    pub fn epoch_of(&self, number: u64) -> u64 {
        let after = self.epochs.partition_point(|epoch| epoch.first_number <= number);
        self.epochs[..after].last().map_or(0, |epoch| epoch.epoch)
    }

    /// `text` as a position of `database`: one of this epoch, or of an earlier one up to where that ended.
    pub fn position(&self, database: u64, text: &str) -> Result<Position> {
        let log = Log { database, epoch: self.current() };
        let position = Position::parse(database, text)?;
        let given = position.log().epoch;
        let known = given == 0 || self.epochs.iter().any(|epoch| epoch.epoch == given);
        let after = self.epochs.iter().find(|epoch| epoch.epoch > given);
        let lost = after.is_some_and(|after| position.sequence() > after.begins_after);
        if given == log.epoch || (known && given < log.epoch && !lost) {
            return Ok(Position::new(log, position.sequence()));
        }
        Err(Error::invalid(format!(
            "position {text:?} is of epoch {given} of this database, which is now in epoch {}: that commit was lost with the disk \
             of epoch {given}; read again without a position",
            log.epoch
        )))
    }

    /// [`Lineage::position`] on a follower, which may not have come to the epoch of its writer yet.
    pub(crate) fn position_on_follower(&self, database: u64, text: &str) -> Result<Position> {
        let epoch = Position::parse(database, text)?.log().epoch;
        if epoch > self.current() {
            return Err(Error::new(
                Kind::Unavailable,
                format!(
                    "position {text:?} is of epoch {epoch}, and this node, which follows the writer, has come to epoch {}; ask again",
                    self.current()
                ),
            ));
        }
        self.position(database, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage() -> Lineage {
        let epoch = |epoch, first_number, begins_after| Epoch { epoch, first_number, begins_after };
        Lineage::default().then(epoch(1, 5, 10)).then(epoch(4, 9, 30))
    }

    #[test]
    fn files_are_of_the_epoch_that_gave_their_number() {
        let of = |number| lineage().epoch_of(number);
        assert_eq!([of(0), of(4), of(5), of(8), of(9), of(100)], [0, 0, 1, 1, 4, 4]);
        assert_eq!((lineage().current(), Lineage::default().current()), (4, 0));
    }

    #[test]
    fn a_position_counts_up_to_where_its_epoch_ended() {
        let parse =
            |epoch, sequence| lineage().position(7, &Position::new(Log { database: 7, epoch }, sequence).to_string());
        for (epoch, sequence) in [(0, 10), (1, 30), (4, 30), (4, 99)] {
            assert_eq!(parse(epoch, sequence).unwrap(), Position::new(Log { database: 7, epoch: 4 }, sequence));
        }
        for (epoch, sequence) in [(0, 11), (1, 31), (2, 5), (5, 5)] {
            let error = parse(epoch, sequence).unwrap_err();
            assert!(
                error.message().contains(&format!("is of epoch {epoch} of this database, which is now in epoch 4"))
            );
        }
    }
}
