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
    /// The database that this one was copied from after it; none of this one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<u64>,
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

    /// The lineage of a copy of `database`, whose lineage this is. It goes on in `next`, which may have the number of the last.
    pub fn copied(&self, database: u64, next: Epoch) -> Self {
        let of = |epoch: &Epoch| Epoch { database: epoch.database.or(Some(database)), ..*epoch };
        // It may have been written before there was a bucket.
        let first = Epoch { epoch: 0, first_number: 0, begins_after: 0, database: Some(database) };
        let first = self.epochs.is_empty().then_some(first);
        Self { epochs: first.into_iter().chain(self.epochs.iter().map(of)).chain([next]).collect() }
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

    /// `text` as a position of `database`: one of this epoch, or of an earlier one up to where that ended. Those of a database that it
    /// was copied from count up to the copy.
    pub fn position(&self, database: u64, text: &str) -> Result<Position> {
        let log = Log { database, epoch: self.current() };
        let position = Position::parse(text, |given| given == database || self.comes_from(given))?;
        let given = position.log();
        let of = |epoch: &Epoch| epoch.database.unwrap_or(database);
        // Before the first epoch there was no bucket.
        let first = given.epoch == 0 && self.epochs.first().is_none_or(|epoch| of(epoch) == given.database);
        let place = self.epochs.iter().rposition(|epoch| (of(epoch), epoch.epoch) == (given.database, given.epoch));
        let after = place.map(|place| place + 1).or(first.then_some(0));
        let ended = after.map(|after| self.epochs[after..].iter().map(|epoch| epoch.begins_after).min());
        match ended {
            Some(None) => Ok(Position::new(log, position.sequence())),
            Some(Some(end)) if position.sequence() <= end => Ok(Position::new(log, position.sequence())),
            _ if given.database != database => Err(Error::invalid(format!(
                "position {text:?} is of the database that this one was copied from, and of a commit that the copy does not have; read again without a position"
            ))),
            _ => Err(Error::invalid(format!(
                "position {text:?} is of epoch {} of this database, which is now in epoch {}: that commit was lost with the disk \
                 of epoch {}; read again without a position",
                given.epoch, log.epoch, given.epoch
            ))),
        }
    }

    /// Whether this one was copied from `database`.
    fn comes_from(&self, database: u64) -> bool {
        self.epochs.iter().any(|epoch| epoch.database == Some(database))
    }

    /// [`Lineage::position`] on a follower, which may not have come to the epoch of its writer yet.
    pub(crate) fn position_on_follower(&self, database: u64, text: &str) -> Result<Position> {
        let given = Position::parse(text, |given| given == database || self.comes_from(given))?.log();
        let epoch = given.epoch;
        if given.database == database && epoch > self.current() {
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
        let epoch = |epoch, first_number, begins_after| Epoch { epoch, first_number, begins_after, database: None };
        Lineage::default().then(epoch(1, 5, 10)).then(epoch(4, 9, 30))
    }

    #[test]
    fn files_are_of_the_epoch_that_gave_their_number() {
        let of = |number| lineage().epoch_of(number);
        assert_eq!([of(0), of(4), of(5), of(8), of(9), of(100)], [0, 0, 1, 1, 4, 4]);
        assert_eq!((lineage().current(), Lineage::default().current()), (4, 0));
    }

    #[test]
    fn a_copy_knows_the_positions_of_what_it_was_copied_from_up_to_the_copy() {
        let next = Epoch { epoch: 4, first_number: 20, begins_after: 50, database: None };
        let copy = lineage().copied(7, next);
        let again = copy.copied(8, Epoch { epoch: 4, first_number: 40, begins_after: 51, database: None });
        let parse = |lineage: &Lineage, own, database, epoch, sequence| {
            lineage.position(own, &Position::new(Log { database, epoch }, sequence).to_string())
        };
        for (database, epoch, sequence) in [(7, 0, 10), (7, 1, 30), (7, 4, 50), (8, 4, 70)] {
            let position = parse(&copy, 8, database, epoch, sequence).unwrap();
            assert_eq!(position, Position::new(Log { database: 8, epoch: 4 }, sequence));
        }
        for (database, epoch, sequence) in [(7, 1, 31), (7, 4, 51), (7, 5, 20), (9, 4, 20), (8, 0, 5), (8, 5, 5)] {
            parse(&copy, 8, database, epoch, sequence).unwrap_err();
        }
        parse(&again, 9, 8, 4, 51).unwrap();
        parse(&again, 9, 8, 4, 52).unwrap_err();
        parse(&again, 9, 7, 4, 51).unwrap_err();
        assert_eq!([copy.epoch_of(19), copy.epoch_of(20), again.epoch_of(40)], [4, 4, 4]);
        let alone = Lineage::default().copied(7, Epoch { epoch: 1, first_number: 5, begins_after: 9, database: None });
        parse(&alone, 8, 7, 0, 9).unwrap();
        parse(&alone, 8, 7, 0, 10).unwrap_err();
        assert_eq!([alone.epoch_of(4), alone.epoch_of(5)], [0, 1]);
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
