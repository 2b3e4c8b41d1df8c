//! Ice: what is frozen leaves the disk, and answers as before.

use std::sync::Arc;

use firn_storage::io::simulated::Simulated;
use firn_storage::objects::faulty::{Fault, Faulty};
use firn_storage::objects::{ObjectName, Objects};

use crate::oracle::Value;
use crate::world::ask::{Ask, Limit};
use crate::world::plain::{UNIT, batch, of_texts, sent, text as row};
use crate::world::scan::Sweep;
use crate::world::{Deed, Setting, World};

/// A world with a bucket and a table of an integer and a text.
fn world() -> World {
    of_texts(Setting { home: true, start: 1_000_000_000, ..Setting::default() })
}

/// Asks for the latest, for the past and for all rows, of the database and of the oracle.
fn check(world: &mut World) {
    let latest = Ask { entities: vec![0, 1, 2, 3, 4], ..Ask::latest(world, 0) };
    world.check(&latest).expect("the latest");
    for event in 0..40 {
        let as_of = Limit::At { micros: event * UNIT, exclusive: false };
        world.check(&Ask { as_of, ..latest.clone() }).expect("as of the past");
    }
    world.check_scan(&Sweep::history(0)).expect("all rows");
}

#[test]
fn what_is_frozen_leaves_the_disk_and_answers_as_before() {
    let mut world = world();
    world.fill(40, row);
    world.flush(None).unwrap();
    world.compact(None).unwrap();
    let before = world.files.names();
    world.freeze(None).unwrap();
    let gone =
        before.iter().filter(|name| name.starts_with("segments/")).all(|name| !world.files.names().contains(name));
    assert!(gone, "the segments left the disk");
    check(&mut world);
    // Another disk takes the rows parts only.
    world.close().unwrap();
    world.files = Simulated::new();
    world.open().unwrap();
    check(&mut world);
    world.apply(&row(1, 50, 50)).unwrap();
    world.freeze(None).unwrap();
    world.compact(None).unwrap();
    check(&mut world);
}

/// The files of ice in the bucket.
fn ice(world: &World) -> Vec<ObjectName> {
    world.objects.names().into_iter().filter(|name| name.as_str().ends_with(".parquet")).collect()
}

#[test]
fn after_an_erase_its_ice_is_gone() {
    let mut world = world();
    world.fill(20, row);
    world.freeze(None).unwrap();
    let before = ice(&world);
    assert!(!before.is_empty());
    world.erase(2, true).unwrap();
    assert!(ice(&world).iter().all(|name| !before.contains(name)), "what held the entity was deleted");
    check(&mut world);
    world.freeze(None).unwrap();
    check(&mut world);
}

/// Found by reading: a segment that was frozen and merged before any root named its ice left that in the bucket.
#[test]
fn after_an_erase_ice_is_gone_that_no_root_named() {
    let mut world = world();
    world.close().unwrap();
    world.open_with(|options| options.home.as_mut().unwrap().policy.ice.freeze_bytes_min = 0).unwrap();
    world.fill(20, row);
    world.compact(None).unwrap();
    while world.database().compact_once().unwrap() {}
    let before = ice(&world);
    assert!(!before.is_empty());
    world.erase(2, true).unwrap();
    assert!(ice(&world).iter().all(|name| !before.contains(name)), "what held the entity was deleted");
    check(&mut world);
}

#[test]
fn a_flipped_byte_of_ice_is_an_error_or_the_right_answer() {
    let mut world = world();
    world.fill(12, row);
    world.freeze(None).unwrap();
    world.close().unwrap();
    let names = world.objects.names();
    let name = names.iter().find(|name| name.as_str().ends_with(".parquet")).expect("the file of ice");
    let length = world.objects.length(name).unwrap().unwrap();
    let mut errors = 0;
    for offset in 0..length as usize {
        let mut other = world.on(Simulated::new());
        other.objects.flip(name, offset);
        other.open().expect("ice is not read before it is asked for");
        for event in [3, 7, 11] {
            let as_of = Limit::At { micros: event * UNIT, exclusive: false };
            let ask = Ask { entities: vec![0, 1, 2, 3], as_of, ..Ask::latest(&other, 0) };
            match other.check(&ask) {
                Ok(_) => {}
                Err(error) if error.contains("Corrupt") => errors += 1,
                Err(error) => panic!("offset {offset}: {error}"),
            }
        }
    }
    assert!(errors > 100, "most bytes are of pages that are read: {errors} errors");
}

#[test]
fn while_the_bucket_is_down_only_reads_of_ice_fail() {
    let mut world = world();
    world.fill(12, row);
    world.compact(None).unwrap();
    world.freeze(None).unwrap();
    world.close().unwrap();
    let faulty = world.open_on_faulty();
    faulty.fail_calls(1, 1 << 40, Fault::SlowDown);
    let latest = Ask { entities: vec![0, 1, 2, 3], ..Ask::latest(&world, 0) };
    world.check(&latest).expect("latest needs no bucket");
    let past = Ask { as_of: Limit::At { micros: 5 * UNIT, exclusive: false }, ..latest.clone() };
    let error = world.check(&past).expect_err("the past lies in the bucket");
    assert!(error.contains("Unavailable"), "{error}");
    faulty.heal();
    world.check(&past).expect("the bucket is back");
    let calls = faulty.calls();
    world.check(&past).expect("a second time");
    assert_eq!(faulty.calls(), calls, "what came once is there");
}

/// The files of segments on the disk, and their bytes.
fn segments(world: &World) -> (usize, u64) {
    let names = world.files.names().into_iter().filter(|name| name.starts_with("segments/"));
    names.fold((0, 0), |(count, bytes), name| (count + 1, bytes + world.files.content(&name).len() as u64))
}

/// The latest of an entity that was written since in part: the rest of it is in the pack, whatever was deleted or taken back.
#[test]
fn the_latest_needs_no_ice_however_much_was_written_since() {
    let mut world = world();
    world.fill(40, row);
    world.freeze(None).unwrap();
    world.close().unwrap();
    let bucket = world.open_on_faulty();
    let asked = |world: &mut World| {
        bucket.fail_calls(1, 1 << 40, Fault::SlowDown);
        let latest = Ask { entities: vec![0, 1, 2, 3, 4], ..Ask::latest(world, 0) };
        world.check(&latest).expect("the latest");
        bucket.heal();
    };
    let number = |entity: usize, event: i64| {
        let cells = vec![Some(Value::Int(event.into()))];
        batch(Deed::Write { columns: vec![0], nulls_absent: false }, vec![sent(entity, event, cells)])
    };
    asked(&mut world);
    // One late, one new, one of which the pack knows nothing.
    for (entity, event) in [(0, 3), (1, 100), (4, 7)] {
        world.apply(&number(entity, event)).unwrap();
        asked(&mut world);
    }
    world.apply(&batch(Deed::Delete, vec![sent(2, 20, Vec::new())])).unwrap();
    asked(&mut world);
    world.apply(&batch(Deed::Retract, vec![sent(3, 39, Vec::new())])).unwrap();
    world.check(&Ask { entities: vec![3], ..Ask::latest(&world, 0) }).expect("what it hid is in ice");
    // What leaves is in the pack before.
    world.flush(None).unwrap();
    world.freeze(None).unwrap();
    asked(&mut world);
    world.apply(&number(3, 200)).unwrap();
    asked(&mut world);
}

/// What is often read comes back to the disk, and answers there when the bucket is out of reach.
#[test]
fn what_is_often_read_thaws_and_leaves_again() {
    let mut world = world();
    for round in 0..4 {
        (0..20).for_each(|number| world.apply(&row(number as usize % 4, 20 * round + number, number)).unwrap());
        world.freeze(None).unwrap();
    }
    world.close().unwrap();
    let faulty = Faulty::new(Arc::new(world.objects.clone()));
    let bucket = faulty.clone();
    let open = |world: &mut World, thawed_bytes_max: u64| {
        let bucket = Arc::new(bucket.clone());
        world
            .open_with(|options| {
                let home = options.home.as_mut().unwrap();
                home.objects = bucket;
                home.policy.ice.thawed_bytes_max = thawed_bytes_max;
            })
            .unwrap();
    };
    open(&mut world, u64::MAX);
    let away = segments(&world);
    check(&mut world);
    while world.database().compact_once().unwrap() {}
    assert_eq!(world.database().statistics().thawed.get(), 4, "all was read");
    let thawed = segments(&world);
    assert!(thawed.0 == away.0 + 4 && thawed.1 > away.1, "{away:?} {thawed:?}");
    faulty.fail_calls(1, 1 << 40, Fault::SlowDown);
    check(&mut world);
    faulty.heal();
    // A restart keeps it, a lost disk does not.
    world.close().unwrap();
    open(&mut world, u64::MAX);
    assert_eq!(segments(&world), thawed);
    check(&mut world);
    world.close().unwrap();
    // There is room for one.
    open(&mut world, (thawed.1 - away.1) / 4);
    while world.database().compact_once().unwrap() {}
    assert_eq!(segments(&world).0, away.0 + 1, "the first to come are gone");
    check(&mut world);
    world.erase(1, true).unwrap();
    check(&mut world);
    world.close().unwrap();
    world.files = Simulated::new();
    open(&mut world, 0);
    check(&mut world);
    while world.database().compact_once().unwrap() {}
    assert_eq!(world.database().statistics().thawed.get(), 0, "nothing may come back");
    check(&mut world);
}
