//! Following: records that another writer committed are logged here as they are, applied and published, as commits of our own are.
//!
//! The local log makes a restart cheap: what it has need not be fetched again.

use super::Committer;
use super::deed::{Again, Deed};
use crate::error::{Error, Kind, Result};
use crate::wal::OwnedRecord;

impl Committer {
    /// Takes the `records` that this log lacks, which follow what it has. After an error those before the one that it is about may
    /// have been taken.
    pub(super) fn follow(&mut self, records: &[OwnedRecord]) -> Result<()> {
        assert!(self.engine.is_follower(), "a database of its own takes no commits of others");
        let known = self.ledger.sequence();
        let mut taken = Vec::new();
        let mut refused = Ok(());
        for record in records.iter().filter(|record| record.last > known) {
            let deed = Deed::decode(&record.as_record());
            let logged = deed.and_then(|deed| self.ledger.follow(&record.as_record(), &deed).map(|()| deed));
            match logged {
                Ok(deed) => taken.push((record, deed)),
                Err(error) => {
                    refused = Err(of_record(record, &error));
                    break;
                }
            }
        }
        self.ledger.sync();
        let producers: Vec<_> = taken.iter().filter_map(|(_, deed)| producer_of(deed)).collect();
        let (batches, rows) = counts(&taken);
        self.applied(|engine| {
            let mut again = Again::new(engine);
            for (record, deed) in taken {
                again.act(&record.as_record(), deed).map_err(|error| of_record(record, &error))?;
            }
            again.finish()
        })?;
        let engine = &self.engine;
        engine.statistics.rows.add(rows);
        engine.statistics.batches.add(batches);
        engine.clock.resume(self.ledger.sequence(), self.ledger.ingest_time());
        engine.published.publish(self.ledger.sequence());
        for (table, name, number) in producers {
            engine.table(table).iter().for_each(|table| table.show_producer(&name, number));
        }
        engine.work.ring();
        self.ledger.turn_if_full();
        refused
    }
}

/// How many batches and rows `taken` has.
fn counts(taken: &[(&OwnedRecord, Deed)]) -> (u64, u64) {
    let rows = |(_, deed): &(&OwnedRecord, Deed)| match deed {
        Deed::Batch(batch) => Some(batch.rows() as u64),
        Deed::Version(_) | Deed::Erase(_) => None,
    };
    let rows = taken.iter().filter_map(rows);
    rows.fold((0, 0), |(batches, sum), rows| (batches + 1, sum + rows))
}

/// The table, name and number of the producer of a batch, if it has one.
fn producer_of(deed: &Deed) -> Option<(u32, String, u64)> {
    let Deed::Batch(batch) = deed else { return None };
    let producer = batch.producer.as_ref()?;
    Some((batch.table, producer.name.clone(), producer.seq))
}

/// The error of a record of the writer's that cannot be taken.
fn of_record(record: &OwnedRecord, error: &Error) -> Error {
    let kind = if error.kind() == Kind::Invalid { Kind::Corrupt } else { error.kind() };
    Error::new(kind, format!("commit {} of the writer cannot be applied: {error}", record.first))
}
