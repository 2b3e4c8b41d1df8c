//! Opening a database whose log holds any records: batches, schema versions and erases that nobody wrote.
//!
//! The first byte chooses the files beside the log (all is in the log, or most is in segments); the rest is the log.
//! A database that opens answers the same after it was closed and opened again; an error names the file of the log.

use arrow_array::RecordBatch;
use firn_storage::database::Database;
use firn_storage::erase::{Blocking, ErasePrefixes};
use firn_storage::error::Kind;
use firn_storage::io::Files;
use firn_storage::io::simulated::Simulated;
use firn_storage::model::key::Keys;
use firn_storage::wal::{Record, Wal};
use serde_json::json;

use crate::sample::{everything, options, sample};
use crate::{Verdict, names, seal};

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let Some((choice, log)) = bytes.split_first() else { return Verdict::Refused };
    let before = if choice % 2 == 0 { &sample().young } else { &sample().old };
    let disk = before.copy();
    let (name, number) = log_of(&disk);
    let mut log = log.to_vec();
    seal::log(&mut log, number, None);
    disk.plant(&name, &log);
    let database = match Database::open(options(&disk)) {
        Ok(database) => database,
        Err(error) => {
            names(&error, "wal/");
            return Verdict::Refused;
        }
    };
    let told = tell(&database);
    database.close().expect("a healthy disk");
    let again = Database::open(options(&disk)).expect("what was opened opens again");
    assert_eq!(tell(&again), told);
    Verdict::Accepted
}

/// All rows, or `None` where a logged key is none of its entity: the log's checksum vouched for it, so only reading it
/// finds that out.
fn tell(database: &Database) -> Option<Vec<RecordBatch>> {
    match everything(database) {
        Ok(rows) => Some(rows),
        Err(error) => {
            assert_eq!(error.kind(), Kind::Corrupt, "{error:?}");
            None
        }
    }
}

/// The one log file of a disk, and its number.
fn log_of(disk: &Simulated) -> (String, u64) {
    let names = disk.names();
    let mut logs = names.iter().filter(|name| name.ends_with(".wal"));
    let (Some(name), None) = (logs.next(), logs.next()) else { panic!("the sample has one log file: {names:?}") };
    let digits = name.trim_start_matches("wal/").trim_end_matches(".wal");
    (name.clone(), digits.parse().expect("a log file is named by its number"))
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [&sample().young, &sample().old].into_iter().zip(0..).flat_map(|(disk, choice)| seeds_of(disk, choice)).collect()
}

/// The log as it is, and with a schema version and an erase at its end.
fn seeds_of(disk: &Simulated, choice: u8) -> Vec<Vec<u8>> {
    let disk = disk.copy();
    let (name, number) = log_of(&disk);
    let whole = [vec![choice], disk.content(&name)].concat();
    let database = Database::open(options(&disk)).expect("the sample opens");
    let before = database.catalog();
    database.close().expect("a healthy disk");
    let files: std::sync::Arc<dyn Files> = std::sync::Arc::new(disk.clone());
    let mut last = 0;
    let mut log = Wal::recover(&files, number, &mut |_, record| {
        last = record.last.max(last);
        Ok(())
    })
    .expect("the log of the sample is whole");
    let last = last.max(1000);
    let version = json!({"schema_version": before.schema_version + 1, "sequence": last + 1, "next_id": 9,
        "entities": [], "tables": [{"id": 8, "name": "late", "entity": before.entities[0].id, "event_time": "at",
            "row_id": [], "features": [], "retired": [], "purged": [], "max_age": null, "max_future_skew": null,
            "keep_events": null, "keep_knowledge": null, "rounding_floor": false, "owner": "", "description": "",
            "tags": [], "sealed": true, "next_feature": 1, "shape": 1}],
        "dropped_entities": [], "dropped_tables": [before.tables[1].id]});
    // The key "JFK" as it is encoded, of one variable column.
    let prefixes = Keys::Variable(arrow_array::BinaryArray::from_iter_values([b"JFK\0\0"]));
    let erase = ErasePrefixes::new(before.entities[0].id, 1, &prefixes, Blocking::Blocks).encode();
    for (sequence, (kind, payload)) in (last + 1..).zip([(2, version.to_string().into_bytes()), (3, erase)]) {
        let record = Record { kind, first: sequence, last: sequence, ingest_time: 2_000_000_000, payload: &payload };
        log.append(&record).expect("it fits");
    }
    log.close().expect("a healthy disk");
    vec![whole, [vec![choice], disk.content(&name)].concat()]
}
