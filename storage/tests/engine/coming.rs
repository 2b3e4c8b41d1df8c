//! A node on an empty disk serves before its files are there: what a read needs comes when it is asked for, and the rest later.

use firn_storage::error::Kind;
use firn_storage::io::simulated::Simulated;
use firn_storage::objects::faulty::Fault;

use crate::oracle::Value;
use crate::world::ask::Ask;
use crate::world::plain::{batch, of_texts, sent};
use crate::world::{Batch, Deed, Setting, World};

/// More than one piece of a file comes with.
const TEXT_BYTES: usize = 3 << 20;

/// A row with a long text.
fn row(entity: usize, event: i64, number: i64) -> Batch {
    let text = format!("{number}-").repeat(TEXT_BYTES / 2);
    let cells = vec![Some(Value::Int(number.into())), Some(Value::Text(text))];
    batch(Deed::Write { columns: vec![0, 1], nulls_absent: false }, vec![sent(entity, event, cells)])
}

/// A world of which the disk was lost: segments of four entities, a row each, are in the bucket.
fn lost() -> World {
    let mut world = of_texts(Setting { home: true, start: 1_000_000, ..Setting::default() });
    for number in 0..2 {
        for entity in 0..4 {
            world.apply(&row(entity, number, number)).unwrap();
            world.flush(None).unwrap();
        }
    }
    // The root of the next start names them.
    world.reopen().unwrap();
    world.close().unwrap();
    world.files = Simulated::new();
    world
}

fn check(world: &mut World, entities: &[usize]) {
    let ask = Ask { entities: entities.to_vec(), ..Ask::latest(world, 0) };
    world.check(&ask).expect("the engine answers as the oracle does");
}

/// How many files are not whole yet.
fn in_part(world: &World) -> usize {
    world.files.names().iter().filter(|name| name.ends_with(".tmp")).count()
}

/// Brings all that is left.
fn finish(world: &World) {
    while world.database().compact_once().unwrap() {}
    assert_eq!(in_part(world), 0);
    assert!(!world.files.names().iter().any(|name| name == "coming"), "nothing is left to come");
}

#[test]
fn a_read_brings_what_it_needs_and_no_more() {
    let mut world = lost();
    let faulty = world.open_on_faulty();
    let opened = faulty.calls();
    check(&mut world, &[0]);
    let one = faulty.calls() - opened;
    assert!(in_part(&world) > 0, "most of the files are in the bucket only");
    check(&mut world, &[0]);
    assert_eq!(faulty.calls() - opened, one, "what came is kept");
    check(&mut world, &[0, 1, 2, 3]);
    assert!(faulty.calls() - opened > one, "others are brought when they are asked for");
    finish(&world);
    let all = faulty.calls();
    check(&mut world, &[0, 1, 2, 3]);
    assert_eq!(faulty.calls(), all, "everything is here");
    world.close().unwrap();
    world.open_with(|options| options.home = None).expect("the disk is whole");
    check(&mut world, &[0, 1, 2, 3]);
}

#[test]
fn while_the_bucket_is_down_only_reads_of_what_is_not_here_fail() {
    let mut world = lost();
    let faulty = world.open_on_faulty();
    check(&mut world, &[0]);
    faulty.fail_calls(1, u64::MAX / 2, Fault::Before);
    check(&mut world, &[0]);
    let ask = Ask { entities: vec![0, 1, 2, 3], ..Ask::latest(&world, 0) };
    let request = world.request(&ask).expect("such entities can be asked for");
    let error = world.ask(&request).expect_err("it has to come from the bucket");
    assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
    world.database().compact_once().expect_err("nothing comes");
    faulty.heal();
    check(&mut world, &[0, 1, 2, 3]);
    finish(&world);
}

#[test]
fn a_node_that_ended_while_files_came_goes_on() {
    for seed in 0..12 {
        let mut world = lost();
        world.open().unwrap();
        for _ in 0..seed % 4 {
            world.database().compact_once().unwrap();
        }
        world.apply(&row(1, 5, 5)).unwrap();
        let after = world.files.crash(seed);
        world.close().unwrap();
        world.files = after;
        if seed % 4 == 0 {
            let alone = world.open_with(|options| options.home = None);
            let error = alone.expect_err("the disk is not whole");
            assert!(error.message().contains("still in its bucket"), "{error:?}");
        }
        world.open().unwrap();
        check(&mut world, &[0, 1, 2, 3]);
        finish(&world);
        world.reopen().unwrap();
        check(&mut world, &[0, 1, 2, 3]);
    }
}

#[test]
fn what_comes_is_merged_and_erased_as_what_is_here() {
    let mut world = lost();
    world.open().unwrap();
    world.erase(2, true).unwrap();
    assert_eq!(in_part(&world), 0, "an erase waits for all files, since it deletes some from the bucket");
    check(&mut world, &[0, 1, 2, 3]);
    let mut world = lost();
    world.open().unwrap();
    world.compact(None).unwrap();
    check(&mut world, &[0, 1, 2, 3]);
    finish(&world);
}
