//! Ice: what is frozen leaves the disk, and answers as before.

use std::sync::Arc;

use firn_storage::io::simulated::Simulated;
use firn_storage::objects::Objects;
use firn_storage::objects::faulty::{Fault, Faulty};

use crate::world::ask::{Ask, Limit};
use crate::world::plain::{UNIT, of_texts, text as row};
use crate::world::scan::Sweep;
use crate::world::{Setting, World};

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

#[test]
fn after_an_erase_its_ice_is_gone() {
    let mut world = world();
    world.fill(20, row);
    world.freeze(None).unwrap();
    let ice = |world: &World| {
        let names = world.objects.names().into_iter();
        names.filter(|name| name.as_str().ends_with(".parquet")).collect::<Vec<_>>()
    };
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
    let ice = |world: &World| {
        let names = world.objects.names().into_iter();
        names.filter(|name| name.as_str().ends_with(".parquet")).collect::<Vec<_>>()
    };
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
    let faulty = Faulty::new(Arc::new(world.objects.clone()));
    world.open_with(|options| options.home.as_mut().unwrap().objects = Arc::new(faulty.clone())).unwrap();
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
