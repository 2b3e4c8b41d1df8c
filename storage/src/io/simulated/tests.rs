//! The simulated disk keeps and loses what it says.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::publish;
use super::*;

/// Seeds enough to see every choice of a crash.
const SEEDS: u64 = 200;

fn disk() -> (Simulated, Arc<dyn Files>) {
    let simulated = Simulated::new();
    let files: Arc<dyn Files> = Arc::new(simulated.clone());
    files.create_directory("d").unwrap();
    (simulated, files)
}

#[test]
fn a_published_file_survives() {
    let (simulated, files) = disk();
    publish(&files, "d/1", |file| file.append(b"kept")).unwrap();
    for seed in 0..SEEDS {
        assert_eq!(simulated.crash(seed).content("d/1"), b"kept");
    }
}

#[test]
fn pending_bytes_survive_in_every_way() {
    let (simulated, files) = disk();
    let mut file = files.create("d/1").unwrap();
    file.append(&[1; 1000]).unwrap();
    file.sync().unwrap();
    files.sync_directory("d").unwrap();
    file.append(&[2; 2000]).unwrap();
    let outcomes: BTreeSet<Vec<u8>> = (0..SEEDS).map(|seed| simulated.crash(seed).content("d/1")).collect();
    assert!(outcomes.iter().all(|bytes| bytes.len() >= 1000 && bytes[..1000] == [1; 1000]));
    let pending = |wanted: fn(&[u8]) -> bool| outcomes.iter().any(|bytes| wanted(&bytes[1000..]));
    assert!(pending(|bytes| bytes.is_empty()), "none survives");
    assert!(pending(|bytes| !bytes.is_empty() && bytes.iter().all(|&byte| byte == 2)), "a prefix survives");
    assert!(pending(|bytes| bytes.iter().any(|&byte| byte != 2 && byte != 0)), "garbage appears");
    assert!(pending(|bytes| bytes.contains(&0) && bytes.last() == Some(&2)), "a hole is left");
}

#[test]
fn pending_names_survive_as_a_prefix() {
    let (simulated, files) = disk();
    publish(&files, "d/old", |_| Ok(())).unwrap();
    files.create("d/a").unwrap().sync().unwrap();
    files.rename("d/a", "d/b").unwrap();
    files.remove("d/old").unwrap();
    let outcomes: BTreeSet<Vec<String>> = (0..SEEDS).map(|seed| simulated.crash(seed).names()).collect();
    let expected: BTreeSet<Vec<String>> = [vec!["d/old"], vec!["d/a", "d/old"], vec!["d/b", "d/old"], vec!["d/b"]]
        .into_iter()
        .map(|names| names.into_iter().map(str::to_owned).collect())
        .collect();
    assert_eq!(outcomes, expected);
    files.sync_directory("d").unwrap();
    assert!((0..SEEDS).all(|seed| simulated.crash(seed).names() == ["d/b"]));
}

#[test]
fn a_lost_sync_loses_silently() {
    let (simulated, files) = disk();
    let mut file = files.create("d/1").unwrap();
    files.sync_directory("d").unwrap();
    file.append(b"lost").unwrap();
    simulated.fail_call(1, Fault::SyncLost);
    assert_eq!(file.sync().unwrap_err().kind(), Kind::Poisoned);
    drop(file);
    assert_eq!(files.read("d/1").unwrap(), b"lost", "the cache still has it");
    for seed in 0..SEEDS {
        assert_ne!(simulated.crash(seed).content("d/1"), b"lost");
    }
    simulated.evict();
    assert_eq!(files.read("d/1").unwrap(), [0; 4]);
}

#[test]
fn faults_come_when_planned() {
    let (simulated, files) = disk();
    let before = simulated.calls();
    simulated.fail_call(2, Fault::NoSpace);
    let mut file = files.create("d/1").unwrap();
    assert_eq!(file.append(&[9; 10]).unwrap_err().kind(), Kind::Exhausted);
    assert_eq!(simulated.calls() - before, 2);
    assert_eq!(files.read("d/1").unwrap(), [9; 5], "a full disk takes a part");
    simulated.fail_from(1, Fault::TooManyFiles);
    assert!((0..3).all(|_| files.length("d/1").is_err_and(|error| error.kind() == Kind::Exhausted)));
    simulated.heal();
    files.length("d/1").unwrap();
}

#[test]
#[should_panic(expected = "before it is synced")]
fn an_unsynced_file_is_not_renamed() {
    let (_, files) = disk();
    files.create("d/1").unwrap().append(b"x").unwrap();
    let _ = files.rename("d/1", "d/2");
}

#[test]
#[should_panic(expected = "open for appending")]
fn an_open_file_is_not_mapped() {
    let (_, files) = disk();
    let mut file = files.create("d/1").unwrap();
    file.append(b"x").unwrap();
    let _ = files.map("d/1", 1, Access::Ordered);
}

#[test]
#[should_panic(expected = "after its sync failed")]
fn a_failed_sync_is_not_retried() {
    let (simulated, files) = disk();
    let mut file = files.create("d/1").unwrap();
    simulated.fail_call(1, Fault::SyncLost);
    let _ = file.sync();
    let _ = file.sync();
}
