//! The log gives back what was committed.

use super::record::RECORD_HEADER_BYTES;
use super::*;
use crate::io::simulated::Simulated;
use crate::time::{Micros, Sequence};

mod crash;
mod damage;

/// A record that outlives its log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    kind: u8,
    first: Sequence,
    last: Sequence,
    ingest_time: Micros,
    payload: Vec<u8>,
}

impl Kept {
    /// The record at `sequence`; everything about it follows from the sequence.
    fn at(sequence: Sequence) -> Self {
        let length = [0, 1, 7, 8, 9, 30, 64, 100][(sequence % 8) as usize];
        Self::with_length(sequence, length)
    }

    fn with_length(sequence: Sequence, length: usize) -> Self {
        let payload = (0..length).map(|place| (sequence as usize * 31 + place) as u8).collect();
        let ingest_time = sequence.cast_signed() * 1000 - 5000;
        Self { kind: 1 + (sequence % 3) as u8, first: sequence, last: sequence, ingest_time, payload }
    }

    fn record(&self) -> Record<'_> {
        let Self { kind, first, last, ingest_time, ref payload } = *self;
        Record { kind, first, last, ingest_time, payload }
    }
}

impl From<Record<'_>> for Kept {
    fn from(record: Record<'_>) -> Self {
        let Record { kind, first, last, ingest_time, payload } = record;
        Self { kind, first, last, ingest_time, payload: payload.to_vec() }
    }
}

fn disk() -> (Simulated, Arc<dyn Files>) {
    let simulated = Simulated::new();
    let files: Arc<dyn Files> = Arc::new(simulated.clone());
    (simulated, files)
}

/// Opens the log; the records that it holds.
fn recover(files: &Arc<dyn Files>, first_number: u64) -> Result<(Wal, Vec<Kept>)> {
    let mut records = Vec::new();
    let wal = Wal::recover(files, first_number, &mut |_, record| {
        records.push(record.into());
        Ok(())
    })?;
    Ok((wal, records))
}

/// Commits the records at `sequences` as one group.
fn commit(wal: &mut Wal, sequences: std::ops::RangeInclusive<Sequence>) {
    for sequence in sequences {
        wal.append(&Kept::at(sequence).record()).unwrap();
    }
    wal.commit().unwrap();
}

fn records(sequences: std::ops::RangeInclusive<Sequence>) -> Vec<Kept> {
    sequences.map(Kept::at).collect()
}

#[test]
fn what_is_committed_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let real: Arc<dyn Files> = Arc::new(crate::io::disk::Disk::open(folder.path(), true, 10).unwrap());
    for files in [real, disk().1] {
        let mut wal = Wal::create(&files, 3).unwrap();
        commit(&mut wal, 1..=4);
        commit(&mut wal, 5..=5);
        wal.rotate(7).unwrap();
        commit(&mut wal, 6..=9);
        wal.rotate(8).unwrap();
        wal.rotate(20).unwrap();
        commit(&mut wal, 10..=20);
        assert_eq!(wal.number(), 20);
        wal.close().unwrap();
        for reopened in 0..3 {
            let (mut wal, found) = recover(&files, 3).unwrap();
            assert_eq!(found, records(1..=20 + reopened));
            assert_eq!((wal.number(), wal.bytes()), (20, files.length(&file_name(20)).unwrap()));
            commit(&mut wal, 21 + reopened..=21 + reopened);
        }
        let (mut wal, _) = recover(&files, 7).unwrap();
        assert_eq!(file_numbers(files.as_ref()).unwrap(), [7, 8, 20], "files that are not needed are removed");
        wal.rotate(21).unwrap();
        wal.remove_before(20).unwrap();
        assert_eq!(file_numbers(files.as_ref()).unwrap(), [20, 21]);
        drop(wal);
        assert_eq!(recover(&files, 20).unwrap().1, records(10..=23));
        assert_eq!(recover(&files, 21).unwrap().1, []);
        assert_eq!(verify(files.as_ref(), 21).unwrap(), []);
    }
}

#[test]
fn an_empty_log_comes_back_empty() {
    let (_, files) = disk();
    Wal::create(&files, 1).unwrap().close().unwrap();
    assert_eq!(recover(&files, 1).unwrap().1, []);
    assert_eq!(recover(&files, 1).unwrap().1, []);
}

#[test]
fn great_and_many_records() {
    let (_, files) = disk();
    let mut wal = Wal::create(&files, 1).unwrap();
    let lengths = [300 << 10, 5, 3 << 20, (256 << 10) + 3, 0, (1 << 20) - 72, 1 << 18];
    let mut expected: Vec<Kept> = (1..).zip(lengths).map(|(at, length)| Kept::with_length(at, length)).collect();
    expected.extend((8..30_000).map(Kept::at));
    for record in &expected {
        wal.append(&record.record()).unwrap();
    }
    wal.commit().unwrap();
    drop(wal);
    assert!(recover(&files, 1).unwrap().1 == expected);
}

#[test]
fn records_may_span_sequences_or_have_none() {
    let (_, files) = disk();
    let mut wal = Wal::create(&files, 1).unwrap();
    let spans = [(1, 0), (1, 10), (11, 10), (11, 11), (15, 20)];
    let expected = spans.map(|(first, last)| Kept { first, last, ..Kept::at(7) });
    for record in &expected {
        wal.append(&record.record()).unwrap();
    }
    wal.close().unwrap();
    assert_eq!(recover(&files, 1).unwrap().1, expected);
}

#[test]
fn a_record_beyond_the_limit_is_refused_and_the_log_goes_on() {
    let (_, files) = disk();
    let mut wal = Wal::create(&files, 1).unwrap();
    let payload = vec![0; RECORD_BYTES_MAX + 1];
    let record = Record { kind: 1, first: 1, last: 1, ingest_time: 0, payload: &payload };
    assert_eq!(wal.append(&record).unwrap_err().kind(), Kind::Exhausted);
    commit(&mut wal, 1..=3);
    drop(wal);
    assert_eq!(recover(&files, 1).unwrap().1, records(1..=3));
}

#[test]
fn a_log_is_created_once() {
    let (simulated, files) = disk();
    drop(Wal::create(&files, 1).unwrap());
    let mut wal = Wal::create(&files, 2).expect("an interrupted creation leaves a log without records");
    assert_eq!(simulated.names(), [file_name(2)]);
    commit(&mut wal, 1..=1);
    drop(wal);
    assert_eq!(Wal::create(&files, 3).unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(recover(&files, 2).unwrap().1, records(1..=1));
}

#[test]
fn an_error_of_replay_stops_it_and_changes_nothing() {
    let (simulated, files) = disk();
    let mut wal = Wal::create(&files, 1).unwrap();
    commit(&mut wal, 1..=3);
    drop(wal);
    let before = (simulated.names(), simulated.content(&file_name(1)));
    let error = Wal::recover(&files, 1, &mut |_, record| match record.first {
        2 => Err(Error::invalid("not this one")),
        _ => Ok(()),
    });
    let error = error.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    // Found by fuzzing: it did not say where.
    assert!(error.message().starts_with(&format!("file {}, offset ", file_name(1))), "{error}");
    assert_eq!((simulated.names(), simulated.content(&file_name(1))), before);
}

#[test]
fn other_names_are_left_alone() {
    let (simulated, files) = disk();
    drop(Wal::create(&files, 1).unwrap());
    let strange = ["wal/1.wal", "wal/00000000000000000002.wal.old", "wal/+0000000000000000003.wal"];
    for name in strange {
        simulated.plant(name, b"x");
    }
    drop(recover(&files, 1).unwrap());
    assert!(strange.iter().all(|name| simulated.names().contains(&(*name).to_owned())));
}

/// The format is written down here in figures, so that it does not change unnoticed.
#[test]
fn the_bytes_of_a_log() {
    let (simulated, files) = disk();
    let mut wal = Wal::create(&files, 9).unwrap();
    wal.append(&Record { kind: 5, first: 1, last: 2, ingest_time: -1, payload: b"firn" }).unwrap();
    wal.close().unwrap();
    let bytes = simulated.content(&file_name(9));
    assert_eq!(bytes.len(), 64 + 72 + 8 + 72);
    assert_eq!(&bytes[..8], b"FIRN-WAL");
    assert_eq!(bytes[16..24], 9_u64.to_le_bytes());
    let record = &bytes[64..];
    assert_eq!(&record[..4], b"FREC");
    assert_eq!(record[8..16], 9_u64.to_le_bytes());
    assert_eq!(record[16..24], 64_u64.to_le_bytes());
    assert_eq!(record[24..32], 64_u64.to_le_bytes());
    assert_eq!(record[32..48], [1_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat());
    assert_eq!(record[48..56], [0xff; 8]);
    assert_eq!(record[64..RECORD_HEADER_BYTES], [4, 0, 0, 0, 5, 0, 0, 0]);
    assert_eq!(&record[RECORD_HEADER_BYTES..80], b"firn\0\0\0\0");
}
