//! Damage is an error, a torn end is not, and repair keeps what is whole.

use proptest::prelude::*;

use super::super::record::{FILE_HEADER_BYTES, FileHeader, RecordHeader};
use super::*;
use crate::checksum::checksum;

/// A log of two files, 1 and 2: records 1 to 5 in the first, 6 to 10 in the second, of which 9 and 10 are the last
/// group.
fn two_files(closed: bool) -> (Simulated, Arc<dyn Files>) {
    let (simulated, files) = disk();
    let mut wal = Wal::create(&files, 1).unwrap();
    commit(&mut wal, 1..=2);
    commit(&mut wal, 3..=5);
    wal.rotate(2).unwrap();
    commit(&mut wal, 6..=8);
    commit(&mut wal, 9..=10);
    if closed {
        wal.close().unwrap();
    }
    (simulated, files)
}

fn opened(simulated: &Simulated) -> Result<Vec<Kept>> {
    let files: Arc<dyn Files> = Arc::new(simulated.copy());
    recover(&files, 1).map(|(_, records)| records)
}

/// Checks that verify and repair agree with what opening says, and that the repaired log opens with a prefix.
fn check_repair(damaged: &Simulated, outcome: &Result<Vec<Kept>>, what: &str) {
    let findings = verify(damaged, 1).unwrap();
    let refused = findings.iter().any(|finding| finding.damage);
    assert_eq!(refused, outcome.is_err(), "{what}: {outcome:?} and {findings:?}");
    let simulated = damaged.copy();
    let files: Arc<dyn Files> = Arc::new(simulated.clone());
    let done = repair(&files, 1).unwrap();
    let (wal, kept) = recover(&files, 1).unwrap_or_else(|error| panic!("{what}: {error} after {done:?}"));
    drop(wal);
    assert!(kept.len() <= 10 && kept == records(1..=10)[..kept.len()], "{what}: a prefix is kept");
    assert_eq!(done.kept_last, kept.len() as u64, "{what}");
    match outcome {
        Ok(records) => {
            assert_eq!((records, &done.copies), (&kept, &Vec::new()), "{what}: nothing was to be repaired")
        }
        Err(_) => {
            let intact = kept.len() as u64 + done.records_lost;
            assert!((9..=10).contains(&intact) || what.contains("cut"), "{what}: one record is damaged: {done:?}");
            assert!(!done.copies.is_empty(), "{what}: the damaged bytes are kept");
            let mut remained = findings.iter().map(|finding| &finding.file);
            let file = remained.next().unwrap().as_str();
            let number = &file[4..24];
            assert!(done.copies.iter().any(|copy| copy.contains(number)), "{what}: {file} is among {:?}", done.copies);
        }
    }
}

#[test]
fn every_flipped_byte_is_found() {
    for closed in [true, false] {
        let (simulated, _) = two_files(closed);
        let all = records(1..=10);
        for name in [file_name(1), file_name(2)] {
            for offset in 0..simulated.content(&name).len() {
                let damaged = simulated.copy();
                damaged.flip(&name, offset);
                let outcome = opened(&damaged);
                let what = format!("closed {closed}, byte {offset} of {name}");
                match &outcome {
                    Err(error) => {
                        assert_eq!(error.kind(), Kind::Corrupt, "{what}: {error}");
                        assert!(error.message().contains(&name), "{what}: {error}");
                    }
                    Ok(found) if closed => assert_eq!(*found, all, "{what}"),
                    // The last group may have been torn by a crash: nothing tells.
                    Ok(found) => assert!((8..10).contains(&found.len()) && all.starts_with(found), "{what}"),
                }
                check_repair(&damaged, &outcome, &what);
            }
        }
    }
}

#[test]
fn every_cut_is_a_prefix_or_found() {
    for closed in [true, false] {
        let (simulated, _) = two_files(closed);
        let all = records(1..=10);
        for name in [file_name(1), file_name(2)] {
            for length in 0..simulated.content(&name).len() {
                let damaged = simulated.copy();
                damaged.truncate(&name, length);
                let outcome = opened(&damaged);
                let what = format!("closed {closed}, {name} cut to {length}");
                let torn = name == file_name(2) && length >= FILE_HEADER_BYTES;
                assert_eq!(outcome.is_ok(), torn, "{what}: {outcome:?}");
                if let Ok(found) = &outcome {
                    assert!(found.len() >= 5 && all.starts_with(found), "{what}");
                    let whole = length == simulated.content(&name).len() - RECORD_HEADER_BYTES;
                    assert!(!(closed && whole) || found.len() == 10, "{what}");
                }
                check_repair(&damaged, &outcome, &what);
            }
        }
    }
}

#[test]
fn a_log_goes_on_after_every_torn_end() {
    let (simulated, _) = two_files(false);
    let name = file_name(2);
    for length in FILE_HEADER_BYTES..simulated.content(&name).len() {
        let torn = simulated.copy();
        torn.truncate(&name, length);
        let files: Arc<dyn Files> = Arc::new(torn.clone());
        let (mut wal, found) = recover(&files, 1).unwrap();
        let next = found.len() as u64 + 1;
        commit(&mut wal, next..=next + 2);
        drop(wal);
        let after: Arc<dyn Files> = Arc::new(torn.crash(length as u64));
        assert_eq!(recover(&after, 1).unwrap().1, records(1..=next + 2), "cut to {length}");
    }
}

#[test]
fn a_hole_in_the_last_group_is_torn_and_one_before_it_is_damage() {
    let (simulated, files) = disk();
    let mut wal = Wal::create(&files, 1).unwrap();
    commit(&mut wal, 1..=1);
    let second = wal.bytes() as usize;
    commit(&mut wal, 2..=4);
    drop(wal);
    let torn = simulated.copy();
    torn.flip(&file_name(1), second + 75);
    assert_eq!(opened(&torn).unwrap(), records(1..=1), "pages of one group reach the disk in any order");
    let files: Arc<dyn Files> = Arc::new(simulated.clone());
    let (mut wal, _) = recover(&files, 1).unwrap();
    commit(&mut wal, 5..=5);
    drop(wal);
    simulated.flip(&file_name(1), second + 75);
    let error = opened(&simulated).unwrap_err();
    assert!(error.kind() == Kind::Corrupt && error.message().contains(&format!("offset {second}")), "{error}");
    let findings = verify(&simulated, 1).unwrap();
    assert!(matches!(&findings[..], [found] if found.damage && found.offset == second as u64), "{findings:?}");
}

#[test]
fn missing_and_foreign_files_are_found() {
    let (simulated, files) = two_files(true);
    let (mut wal, _) = recover(&files, 1).unwrap();
    wal.rotate(3).unwrap();
    commit(&mut wal, 11..=11);
    wal.close().unwrap();
    let without = |number| {
        let disk = simulated.copy();
        disk.remove(&file_name(number)).unwrap();
        disk
    };
    for number in [1, 2] {
        let error = opened(&without(number)).unwrap_err();
        assert!(error.kind() == Kind::Corrupt && error.message().contains("missing"), "{error}");
        assert!(error.message().contains(&file_name(number)), "{error}");
    }
    let repaired = without(2);
    let files: Arc<dyn Files> = Arc::new(repaired.clone());
    let done = repair(&files, 1).unwrap();
    assert_eq!((done.kept_last, done.records_lost, done.sequences_lost), (5, 1, Some((11, 11))));
    assert_eq!(done.copies, ["damaged/00000000000000000003.1.wal"]);
    assert_eq!(recover(&files, 1).unwrap().1, records(1..=5));

    let (other, files) = disk();
    let mut wal = Wal::create(&files, 1).unwrap();
    commit(&mut wal, 1..=4);
    wal.rotate(2).unwrap();
    commit(&mut wal, 6..=6);
    drop(wal);
    let mixed = simulated.copy();
    mixed.plant(&file_name(2), &other.content(&file_name(2)));
    let error = opened(&mixed).unwrap_err();
    assert!(error.message().contains("not as it was when it was closed"), "{error}");
}

#[test]
fn a_record_in_the_wrong_place_is_found() {
    let (simulated, files) = disk();
    let mut wal = Wal::create(&files, 1).unwrap();
    let starts: Vec<usize> = (1..=3)
        .map(|sequence| {
            let start = wal.bytes() as usize;
            wal.append(&Kept::with_length(sequence, 40).record()).unwrap();
            wal.commit().unwrap();
            start
        })
        .collect();
    wal.close().unwrap();
    let mut bytes = simulated.content(&file_name(1));
    bytes.copy_within(starts[2]..starts[2] + 112, starts[1]);
    simulated.plant(&file_name(1), &bytes);
    assert_eq!(opened(&simulated).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn bytes_after_the_end_are_found() {
    let (simulated, _) = two_files(true);
    let mut bytes = simulated.content(&file_name(2));
    bytes.extend([0; 16]);
    simulated.plant(&file_name(2), &bytes);
    let outcome = opened(&simulated);
    assert!(outcome.is_err());
    check_repair(&simulated, &outcome, "cut after the end");
}

#[test]
fn a_later_format_is_not_repaired() {
    let (simulated, files) = two_files(true);
    let mut bytes = simulated.content(&file_name(2));
    bytes[8] = 7;
    let check = checksum(&bytes[..60]);
    bytes[60..64].copy_from_slice(&check.to_le_bytes());
    simulated.plant(&file_name(2), &bytes);
    assert_eq!(opened(&simulated).unwrap_err().kind(), Kind::Precondition);
    assert_eq!(repair(&files, 1).unwrap_err().kind(), Kind::Precondition);
    assert_eq!(simulated.content(&file_name(2)), bytes);
}

#[test]
fn an_unreadable_file_is_reported_and_not_repaired() {
    let (simulated, files) = two_files(true);
    let before = simulated.copy();
    verify(&before, 1).unwrap();
    let calls = before.calls();
    for call in 2..=calls {
        let disk = simulated.copy();
        disk.fail_call(call, crate::io::simulated::Fault::Io);
        assert!(verify(&disk, 1).unwrap().iter().any(|finding| finding.damage), "call {call}");
    }
    simulated.fail_call(4, crate::io::simulated::Fault::Io);
    assert_eq!(repair(&files, 1).unwrap_err().kind(), Kind::Io);
    assert_eq!(opened(&simulated).unwrap(), records(1..=10));
}

#[test]
fn repair_can_be_interrupted_anywhere() {
    let (simulated, _) = two_files(true);
    simulated.flip(&file_name(1), 200);
    let calls = {
        let disk = simulated.copy();
        let files: Arc<dyn Files> = Arc::new(disk.clone());
        repair(&files, 1).unwrap();
        disk.calls()
    };
    let kept = {
        let files: Arc<dyn Files> = Arc::new(simulated.copy());
        repair(&files, 1).unwrap().kept_last
    };
    for call in 1..=calls {
        let disk = simulated.copy();
        let files: Arc<dyn Files> = Arc::new(disk.clone());
        disk.fail_from(call, crate::io::simulated::Fault::NoSpace);
        assert!(repair(&files, 1).is_err());
        let files: Arc<dyn Files> = Arc::new(disk.crash(call));
        assert_eq!(repair(&files, 1).unwrap().kept_last, kept, "call {call}");
        assert_eq!(recover(&files, 1).unwrap().1, records(1..=kept));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_header_decodes_or_is_refused(file in any::<[u8; 64]>(), record in any::<[u8; 72]>()) {
        prop_assert!(FileHeader::decode(&file, 1).is_err());
        prop_assert!(RecordHeader::decode(&record, 1, 64).is_none());
    }

    /// Bytes with right checksums but any content, as a broken writer might leave them, are never trusted.
    #[test]
    fn any_sealed_header_is_read_safely(mut record in any::<[u8; 72]>(), length in 0_u32..2000, kind in 0_u8..3) {
        record[..4].copy_from_slice(b"FREC");
        record[8..24].copy_from_slice(&[1_u64.to_le_bytes(), 64_u64.to_le_bytes()].concat());
        record[64..72].fill(0);
        record[64..68].copy_from_slice(&length.to_le_bytes());
        record[68] = kind;
        let check = checksum(&record[8..]);
        record[4..8].copy_from_slice(&check.to_le_bytes());
        let (simulated, files) = disk();
        drop(Wal::create(&files, 1).unwrap());
        let mut bytes = simulated.content(&file_name(1));
        bytes.extend(record);
        bytes.extend(vec![3; 500]);
        simulated.plant(&file_name(1), &bytes);
        let _ = verify(&simulated, 1).unwrap();
        let _ = opened(&simulated);
    }

    #[test]
    fn any_end_of_the_file_is_dropped_or_refused(tail in prop::collection::vec(any::<u8>(), 0..600)) {
        let (simulated, _) = two_files(false);
        let mut bytes = simulated.content(&file_name(2));
        bytes.extend(&tail);
        simulated.plant(&file_name(2), &bytes);
        prop_assert_eq!(opened(&simulated).unwrap(), records(1..=10));
    }
}
