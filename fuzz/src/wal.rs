//! The log: any bytes as its files.
//!
//! Up to three files in one input (`parts.rs`). Whatever they hold: `verify` and recovery agree on whether the log is
//! whole; what was recovered is recovered again, and is the same after it was appended to a new log; an error names
//! a file; and repair makes a log that opens with a prefix of the records.

use std::sync::Arc;

use firn_storage::error::{Error, Kind, Result};
use firn_storage::io::Files;
use firn_storage::io::simulated::Simulated;
use firn_storage::wal::{Record, Wal, repair, verify};

use crate::{Verdict, names, parts, seal};

const FILES_MAX: usize = 3;

/// A record that was recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    kind: u8,
    first: u64,
    last: u64,
    ingest_time: i64,
    payload: Vec<u8>,
}

impl Held {
    fn of(record: &Record<'_>) -> Self {
        let Record { kind, first, last, ingest_time, payload } = *record;
        Self { kind, first, last, ingest_time, payload: payload.to_vec() }
    }

    fn record(&self) -> Record<'_> {
        let Self { kind, first, last, ingest_time, ref payload } = *self;
        Record { kind, first, last, ingest_time, payload }
    }
}

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let files: Vec<Vec<u8>> = parts::split(bytes, FILES_MAX).into_iter().map(<[u8]>::to_vec).collect();
    check(&files);
    let mut sealed = files;
    let mut before = None;
    for (file, number) in sealed.iter_mut().zip(1..) {
        before = Some(seal::log(file, number, before));
    }
    check(&sealed)
}

fn disk(contents: &[Vec<u8>]) -> Arc<dyn Files> {
    let disk = Simulated::new();
    disk.create_directory("wal").expect("an empty disk");
    for (content, number) in contents.iter().zip(1_u64..) {
        disk.plant(&format!("wal/{number:020}.wal"), content);
    }
    Arc::new(disk)
}

fn recover(files: &Arc<dyn Files>) -> Result<Vec<Held>> {
    let mut records = Vec::new();
    let recovered = Wal::recover(files, 1, &mut |_, record| {
        records.push(Held::of(&record));
        Ok(())
    });
    recovered?.close().map(|()| records)
}

fn check(contents: &[Vec<u8>]) -> Verdict {
    let files = disk(contents);
    let findings = verify(files.as_ref(), 1);
    match recover(&files) {
        Ok(records) => {
            let findings = findings.expect("a log that opens can be verified");
            let damage = findings.iter().find(|finding| finding.damage);
            assert!(damage.is_none(), "the log opened, but verify says {damage:?}");
            assert_eq!(recover(&files).expect("what was recovered opens again"), records);
            again(&records);
            Verdict::Accepted
        }
        Err(error) => {
            refused(&error, &files, contents);
            Verdict::Refused
        }
    }
}

/// Appends `records` to a new log and reads them back.
fn again(records: &[Held]) {
    let files = disk(&[]);
    let mut log = Wal::create(&files, 1).expect("an empty disk takes a log");
    for record in records {
        log.append(&record.record()).expect("what was recovered can be appended");
    }
    log.close().expect("a healthy disk");
    assert_eq!(recover(&files).expect("a log that was closed opens"), records);
}

fn refused(error: &Error, files: &Arc<dyn Files>, contents: &[Vec<u8>]) {
    names(error, "wal/");
    if error.kind() == Kind::Precondition {
        // A later format, which nobody may repair.
        return;
    }
    assert_eq!(error.kind(), Kind::Corrupt, "{error:?}");
    let fresh = disk(contents);
    match verify(fresh.as_ref(), 1) {
        Ok(findings) => assert!(findings.iter().any(|finding| finding.damage), "no damage was found, but {error:?}"),
        Err(other) => return assert_eq!(other.kind(), Kind::Precondition, "{other:?}"),
    }
    let done = repair(files, 1).expect("a healthy disk can be repaired");
    let kept = recover(files).unwrap_or_else(|error| panic!("repaired, but {error:?}"));
    let last = kept.iter().map(|record| record.last).max().unwrap_or(0);
    assert_eq!(last, done.kept_last, "repair said what it kept");
    again(&kept);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let files = disk(&[]);
    let mut log = Wal::create(&files, 1).expect("an empty disk takes a log");
    let mut sequence = 1;
    for number in 1..=3_u64 {
        if number > 1 {
            log.rotate(number).expect("a healthy disk");
        }
        for length in [0, 1, 8, 40, 300] {
            let last = if length == 1 { sequence - 1 } else { sequence + length / 40 };
            let payload = vec![length as u8; length as usize];
            let record =
                Record { kind: 1 + (length % 3) as u8, first: sequence, last, ingest_time: -5, payload: &payload };
            log.append(&record).expect("a healthy disk");
            sequence = last.max(sequence) + 1;
            if length != 8 {
                log.commit().expect("a healthy disk");
            }
        }
    }
    log.close().expect("a healthy disk");
    let contents = |numbers: std::ops::RangeInclusive<u64>| {
        let read = |number: u64| files.read(&format!("wal/{number:020}.wal")).expect("it is there");
        numbers.map(read).collect::<Vec<_>>()
    };
    vec![parts::join(&contents(1..=3)), parts::join(&contents(1..=1))]
}
