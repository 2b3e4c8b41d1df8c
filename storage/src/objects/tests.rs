//! The names of objects, the store in memory, and the faults that stand around it.

use std::sync::Arc;

use super::faulty::{Fault, Faulty};
use super::memory::Memory;
use super::*;

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

/// A store in memory and the same one with faults.
fn faulty() -> (Memory, Faulty) {
    let memory = Memory::new();
    (memory.clone(), Faulty::new(Arc::new(memory)))
}

#[test]
fn the_store_in_memory_keeps_the_contract() {
    let objects: Arc<dyn Objects> = Arc::new(Memory::new());
    conformance::check(&objects, "a/folder", conformance::PAGE_OBJECTS + 5).unwrap();
    conformance::race(&objects, "a/folder", 16, 40).unwrap();
}

#[test]
fn a_faulty_store_without_faults_keeps_the_contract() {
    let objects: Arc<dyn Objects> = Arc::new(faulty().1);
    conformance::check(&objects, "a/folder", 100).unwrap();
    conformance::race(&objects, "a/folder", 16, 40).unwrap();
}

#[test]
fn names_hold_what_every_store_can() {
    for good in ["a", "epochs/0000000001", "ice/3/_delta_log/00.json", "A-b_c=d.e", &"x/".repeat(100).repeat(2)[..399]]
    {
        assert_eq!(name(good).as_str(), good);
    }
    let long = "x".repeat(201);
    for bad in
        ["", "/a", "a/", "a//b", ".a", "a/.b", "..", "a b", "a\\b", "ä", "a%20b", "a:b", &long, &"x/y".repeat(200)]
    {
        let error = ObjectName::new(bad).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.message().contains("can name no object: "), "{error}");
    }
    assert_eq!((name("a/b/c").folder(), name("a").folder()), ("a/b", ""));
}

#[test]
fn a_write_fails_before_or_after_it_landed() {
    for (fault, landed) in
        [(Fault::Before, false), (Fault::After, true), (Fault::TooMany, false), (Fault::SlowDown, false)]
    {
        let (memory, faulty) = faulty();
        faulty.fail_call(1, fault);
        let error = faulty.put_new(&name("a/b"), "x".into()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.message().contains("a/b"), "{error}");
        assert_eq!(memory.get(&name("a/b")).unwrap().is_some(), landed, "{fault:?}");
        assert_eq!(faulty.put_new(&name("a/b"), "y".into()).unwrap() == Creation::Found, landed);
        faulty.fail_call(1, fault);
        assert_eq!(faulty.delete(&name("a/b")).unwrap_err().kind(), Kind::Unavailable);
        assert_eq!(memory.get(&name("a/b")).unwrap().is_none(), landed, "{fault:?}");
    }
}

#[test]
fn a_write_lands_long_after_it_was_given_up() {
    let (memory, faulty) = faulty();
    faulty.fail_call(1, Fault::Later { calls: 3 });
    assert_eq!(faulty.put(&name("a"), "old".into()).unwrap_err().kind(), Kind::Unavailable);
    faulty.put(&name("a"), "new".into()).unwrap();
    assert_eq!(faulty.get(&name("a")).unwrap(), Some("new".into()));
    assert_eq!(faulty.get(&name("a")).unwrap(), Some("old".into()), "the third call after sees it");
    faulty.fail_call(1, Fault::Later { calls: 100 });
    faulty.delete(&name("a")).unwrap_err();
    faulty.heal();
    assert_eq!(memory.names(), [name("a")]);
    faulty.land();
    assert_eq!(memory.names(), []);
}

#[test]
fn a_create_is_told_of_a_conflict_without_a_cause() {
    for fault in [Fault::Conflict, Fault::Mismatch] {
        let (memory, faulty) = faulty();
        faulty.fail_call(1, fault);
        assert_eq!(faulty.put_new(&name("a"), "x".into()).unwrap(), Creation::Found);
        assert_eq!(memory.names(), [], "nothing is there: look, and try again");
        faulty.fail_call(1, fault);
        assert_eq!(faulty.put(&name("a"), "x".into()).unwrap_err().kind(), Kind::Unavailable);
        faulty.fail_call(1, fault);
        assert_eq!(faulty.get(&name("a")).unwrap_err().kind(), Kind::Unavailable);
    }
}

#[test]
fn a_storm_ends() {
    let (_, faulty) = faulty();
    faulty.fail_calls(2, 3, Fault::SlowDown);
    let works: Vec<bool> = (0..6).map(|_| faulty.list("").is_ok()).collect();
    assert_eq!(works, [true, false, false, false, true, true]);
    assert_eq!(faulty.calls(), 6);
}

#[test]
fn wrong_bodies_are_errors_where_a_door_can_tell() {
    let (_, faulty) = faulty();
    let object = name("a");
    faulty.put(&object, "0123456789".into()).unwrap();
    let whole = |fault| {
        faulty.fail_call(1, fault);
        faulty.get(&object).unwrap().unwrap()
    };
    assert_eq!(whole(Fault::Truncated), "012345678");
    assert_eq!(whole(Fault::Longer), "0123456789\0");
    assert_eq!(whole(Fault::WrongRange), "0123456789");
    let flipped = whole(Fault::FlippedBit);
    assert_eq!(flipped.iter().zip(b"0123456789").map(|(a, b)| (a ^ b).count_ones()).sum::<u32>(), 1);
    let range = |fault, range| {
        faulty.fail_call(1, fault);
        faulty.get_range(&object, range)
    };
    assert_eq!(range(Fault::Truncated, 2..5).unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(range(Fault::Longer, 2..5).unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(range(Fault::WrongRange, 2..5).unwrap(), Some("123".into()));
    assert_eq!(range(Fault::WrongRange, 0..5).unwrap(), Some("12345".into()));
    assert_ne!(range(Fault::FlippedBit, 2..5).unwrap(), Some("234".into()));
    faulty.fail_call(1, Fault::Truncated);
    assert_eq!(faulty.list("").unwrap_err().kind(), Kind::Unavailable, "half a list is no list");
}

#[test]
fn a_seed_decides_the_same_each_time() {
    let history = |seed| -> Vec<bool> {
        let faulty = Faulty::seeded(Arc::new(Memory::new()), seed, 300);
        (0..200_u32).map(|at| faulty.put(&name(&format!("{}", at % 7)), "x".into()).is_ok()).collect()
    };
    assert_eq!(history(1), history(1));
    assert_ne!(history(1), history(2));
    let failed = history(3).iter().filter(|worked| !**worked).count();
    assert!((10..100).contains(&failed), "{failed} of 200 failed");
}

#[test]
fn every_call_is_watched() {
    let (_, faulty) = faulty();
    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    faulty.watch(move |name, doing| log.lock().push(format!("{doing} {name}")));
    faulty.put_new(&name("a"), "x".into()).unwrap();
    faulty.get_range(&name("a"), 0..1).unwrap();
    faulty.length(&name("a")).unwrap();
    faulty.list("b").unwrap();
    faulty.heal();
    faulty.delete(&name("a")).unwrap();
    assert_eq!(*seen.lock(), ["create a", "read a", "look at a", "list b"]);
}
