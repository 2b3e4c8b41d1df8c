//! What was acknowledged survives power loss, lost syncs and failed calls; nothing is ever there by half.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::io::simulated::Fault;

const FAULTS: [Fault; 4] = [Fault::NoSpace, Fault::Io, Fault::TooManyFiles, Fault::SyncLost];

/// A user of the log: knows what it was promised.
#[derive(Debug, Clone, Default)]
struct Ledger {
    /// The file that replay begins with, as a durable manifest would say.
    first_number: u64,
    /// The first sequence that replay must give.
    from: Sequence,
    /// The last sequence that was acknowledged.
    acknowledged: Sequence,
    /// The last sequence that was handed to the log.
    appended: Sequence,
}

impl Ledger {
    /// Opens the log and checks it against what was promised.
    fn recover(&mut self, files: &Arc<dyn Files>, what: &str) -> Wal {
        let (wal, found) = recover(files, self.first_number).unwrap_or_else(|error| panic!("{what}: {error}"));
        let last = self.from + found.len() as u64 - 1;
        assert_eq!(found, records(self.from..=last), "{what}: what is there is whole and in order");
        assert!(last >= self.acknowledged, "{what}: {last} is the last, but {} was acknowledged", self.acknowledged);
        assert!(last <= self.appended, "{what}: {last} was never appended");
        (self.acknowledged, self.appended) = (last, last);
        wal
    }

    fn append(&mut self, wal: &mut Wal, count: u64) -> Result<()> {
        for _ in 0..count {
            self.appended += 1;
            wal.append(&Kept::at(self.appended).record())?;
        }
        Ok(())
    }

    fn commit(&mut self, wal: &mut Wal, count: u64) -> Result<()> {
        self.append(wal, count)?;
        wal.commit()?;
        self.acknowledged = self.appended;
        Ok(())
    }

    /// Goes on in a new file; with `forget`, the files before it are no longer needed.
    fn rotate(&mut self, wal: &mut Wal, forget: bool) -> Result<()> {
        let number = wal.number() + 1;
        let rotated = wal.rotate(number);
        if wal.number() == number {
            self.acknowledged = self.appended;
        }
        rotated?;
        if forget {
            (self.first_number, self.from) = (number, self.appended + 1);
            wal.remove_before(number)?;
        }
        Ok(())
    }
}

fn begin(files: &Arc<dyn Files>) -> (Wal, Ledger) {
    let wal = Wal::create(files, 1).unwrap();
    (wal, Ledger { first_number: 1, from: 1, ..Ledger::default() })
}

/// A bit of everything; ends at the first error.
fn work(wal: Wal, ledger: &mut Ledger) -> Result<()> {
    let mut wal = wal;
    ledger.commit(&mut wal, 3)?;
    ledger.rotate(&mut wal, false)?;
    ledger.commit(&mut wal, 1)?;
    ledger.append(&mut wal, 2)?;
    ledger.rotate(&mut wal, true)?;
    ledger.commit(&mut wal, 5)?;
    ledger.commit(&mut wal, 1)?;
    ledger.append(&mut wal, 1)?;
    wal.close()?;
    ledger.acknowledged = ledger.appended;
    Ok(())
}

#[test]
fn every_failed_call_is_survived() {
    let calls = {
        let (simulated, files) = disk();
        let (wal, mut ledger) = begin(&files);
        let before = simulated.calls();
        work(wal, &mut ledger).unwrap();
        simulated.calls() - before
    };
    for call in 1..=calls {
        for (number, fault) in (0..).zip(FAULTS) {
            for sticky in [false, true] {
                let (simulated, files) = disk();
                let (wal, mut ledger) = begin(&files);
                if sticky {
                    simulated.fail_from(call, fault);
                } else {
                    simulated.fail_call(call, fault);
                }
                let what = format!("call {call} fails with {fault:?}, sticky {sticky}");
                assert!(work(wal, &mut ledger).is_err(), "{what}: a failure is reported");
                simulated.heal();
                for seed in 0..4 {
                    let after: Arc<dyn Files> = Arc::new(simulated.crash(call * 100 + number * 10 + seed));
                    ledger.clone().recover(&after, &format!("{what}, then crash {seed}"));
                }
                // The process alone died: the cache may hold what the disk does not.
                let mut wal = ledger.recover(&files, &what);
                ledger.commit(&mut wal, 2).unwrap();
                simulated.evict();
                ledger.clone().recover(&(Arc::new(simulated.copy()) as Arc<dyn Files>), &what);
                ledger.recover(&(Arc::new(simulated.crash(call)) as Arc<dyn Files>), &what);
            }
        }
    }
}

#[test]
fn a_failed_recovery_can_be_repeated() {
    let (simulated, files) = disk();
    let (wal, mut ledger) = begin(&files);
    work(wal, &mut ledger).unwrap();
    let mut wal = ledger.recover(&files, "whole");
    ledger.rotate(&mut wal, false).unwrap();
    ledger.commit(&mut wal, 3).unwrap();
    ledger.append(&mut wal, 3).unwrap();
    drop(wal);
    let calls = {
        let disk = simulated.copy();
        recover(&(Arc::new(disk.clone()) as Arc<dyn Files>), ledger.first_number).unwrap();
        disk.calls()
    };
    for call in 1..=calls {
        for fault in FAULTS {
            let disk = simulated.copy();
            let files: Arc<dyn Files> = Arc::new(disk.clone());
            disk.fail_from(call, fault);
            assert!(recover(&files, ledger.first_number).is_err());
            disk.heal();
            let after: Arc<dyn Files> = Arc::new(disk.crash(call));
            let what = format!("call {call} of the recovery failed with {fault:?}");
            ledger.clone().recover(&after, &what);
            ledger.clone().recover(&files, &what);
        }
    }
}

#[test]
fn after_a_failure_nothing_is_written() {
    let (simulated, files) = disk();
    let (mut wal, mut ledger) = begin(&files);
    ledger.commit(&mut wal, 2).unwrap();
    simulated.fail_call(2, Fault::SyncLost);
    assert_eq!(ledger.commit(&mut wal, 1).unwrap_err().kind(), Kind::Poisoned);
    let calls = simulated.calls();
    assert_eq!(ledger.commit(&mut wal, 1).unwrap_err().kind(), Kind::Poisoned);
    assert_eq!(wal.commit().unwrap_err().kind(), Kind::Poisoned);
    assert_eq!(wal.rotate(9).unwrap_err().kind(), Kind::Poisoned);
    assert_eq!(wal.close().unwrap_err().kind(), Kind::Poisoned);
    assert_eq!(simulated.calls(), calls);
}

#[test]
fn a_full_disk_does_not_stop_the_log_at_a_rotation() {
    let (simulated, files) = disk();
    let (mut wal, mut ledger) = begin(&files);
    ledger.commit(&mut wal, 2).unwrap();
    for call in 1..=2 {
        simulated.fail_from(call, Fault::NoSpace);
        assert_eq!(wal.rotate(2).unwrap_err().kind(), Kind::Exhausted);
        simulated.heal();
    }
    crate::io::sweep(files.as_ref(), DIRECTORY).unwrap();
    ledger.commit(&mut wal, 1).unwrap();
    ledger.rotate(&mut wal, false).unwrap();
    ledger.commit(&mut wal, 1).unwrap();
    drop(wal);
    ledger.recover(&files, "after a full disk");
}

#[test]
fn random_lives_with_crashes() {
    for seed in 0..150 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut disk = Simulated::new();
        let mut files: Arc<dyn Files> = Arc::new(disk.clone());
        let (mut wal, mut ledger) = begin(&files);
        for life in 0..8 {
            if random.random_bool(0.5) {
                disk.fail_from(random.random_range(1..40), FAULTS[random.random_range(0..4)]);
            }
            for _ in 0..random.random_range(1..12) {
                let outcome = match random.random_range(0..10) {
                    0..5 => ledger.commit(&mut wal, random.random_range(1..6)),
                    5..8 => ledger.append(&mut wal, random.random_range(1..20)),
                    _ => ledger.rotate(&mut wal, random.random_bool(0.4)),
                };
                if outcome.is_err_and(|error| error.kind() == Kind::Poisoned) {
                    break;
                }
            }
            if random.random_bool(0.3) && wal.commit().is_ok() {
                ledger.acknowledged = ledger.appended;
                // A close that fails loses nothing that was committed.
                let _ = wal.close();
            } else {
                drop(wal);
            }
            disk.heal();
            if random.random_bool(0.7) {
                disk = disk.crash(random.random());
            }
            files = Arc::new(disk.clone());
            wal = ledger.recover(&files, &format!("seed {seed}, life {life}"));
            disk.evict();
        }
    }
}
