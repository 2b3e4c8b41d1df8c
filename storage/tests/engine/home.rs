//! A database that is at home in a bucket: its disk may be lost, nobody else may write, and nothing is forgotten that was
//! acknowledged for the bucket.

use std::sync::Arc;
use std::time::Duration;

use firn_storage::config::Level;
use firn_storage::error::Kind;
use firn_storage::io::simulated::Simulated;
use firn_storage::objects::faulty::{Fault, Faulty};
use firn_storage::objects::{ObjectName, Objects};
use parking_lot::Mutex;

use crate::types::Type;
use crate::world::ask::Ask;
use crate::world::plain::{number as row, of_numbers};
use crate::world::{Feature, Setting, Shape, World};

/// A world with a bucket and a table of one integer.
fn world() -> World {
    of_numbers(Setting { home: true, wal_bytes_max: 4096, start: 1_000_000, ..Setting::default() })
}

/// Asks for the latest of some entities, of the database and of the oracle.
fn check(world: &mut World) {
    let ask = Ask { entities: vec![0, 1, 2, 3], ..Ask::latest(world, 0) };
    world.check(&ask).expect("the engine answers as the oracle does");
}

/// The same world after its disk was lost and another one stands in for it.
fn on_an_empty_disk(world: &mut World) {
    world.close().expect("a clean end");
    world.files = Simulated::new();
    world.open().expect("the bucket has everything");
}

#[test]
fn a_node_that_lost_its_disk_answers_as_before() {
    let mut world = world();
    for number in 0..40 {
        world.apply(&row(number as usize % 4, number, number)).unwrap();
        if number % 16 == 9 {
            world.flush(None).unwrap();
        }
    }
    for _ in 0..3 {
        on_an_empty_disk(&mut world);
        check(&mut world);
        world.apply(&row(1, 100, 7)).unwrap();
        world.compact(None).unwrap();
    }
    check(&mut world);
}

/// Found by reading: the log went on in a file that the bucket did not have, and the root said that it began there.
#[test]
fn a_database_that_was_flushed_and_stopped_is_restored() {
    let mut world = world();
    world.close().unwrap();
    world.open_with(|options| options.background = true).unwrap();
    world.apply(&row(0, 1, 1)).unwrap();
    world.flush(None).unwrap();
    on_an_empty_disk(&mut world);
    check(&mut world);
}

/// Found by reading: an old copy of the right disk was taken for newer than the bucket, and what it lacked was deleted there.
#[test]
fn an_old_copy_of_the_disk_is_refused() {
    let mut world = world();
    world.apply(&row(0, 1, 1)).unwrap();
    let copy = world.files.crash(1);
    world.apply(&row(0, 2, 2)).unwrap();
    world.close().unwrap();
    world.files = copy;
    let error = world.try_open().expect_err("the bucket has more");
    assert!(error.message().contains("ahead of this disk"), "{error:?}");
    on_an_empty_disk(&mut world);
    check(&mut world);
}

/// Found by reading: a copy with all commits but an older manifest named files again that the bucket had let go, and whoever had
/// condemned them could still delete them.
#[test]
fn a_copy_of_the_disk_whose_files_are_older_is_refused() {
    let mut world = world();
    for number in 0..2 {
        world.apply(&row(0, number, number)).unwrap();
        world.flush(None).unwrap();
    }
    let copy = world.files.crash(1);
    world.freeze(None).unwrap();
    world.close().unwrap();
    let mut old = world.on(copy);
    let error = old.try_open().expect_err("the bucket has other files");
    assert!(error.message().contains("ahead of this disk"), "{error:?}");
    on_an_empty_disk(&mut old);
    check(&mut old);
}

#[test]
fn a_start_that_is_refused_does_not_stop_the_one_that_serves() {
    let mut old = world();
    old.apply(&row(0, 1, 1)).unwrap();
    old.close().unwrap();
    let mut serving = old.on(Simulated::new());
    serving.objects = old.objects.clone();
    serving.open().unwrap();
    old.try_open().expect_err("the disk was overtaken");
    serving.apply(&row(0, 2, 2)).unwrap();
    check(&mut serving);
}

#[test]
fn a_writer_that_was_overtaken_stops_and_says_by_whom() {
    let mut before = world();
    before.apply(&row(0, 1, 1)).unwrap();
    let mut after = before.on(Simulated::new());
    after.objects = before.objects.clone();
    after.open().unwrap();
    let error = before.send(&row(0, 2, 2)).expect_err("another writer has the bucket");
    assert!(error.message().contains("taken over by a test"), "{error:?}");
    assert_eq!(before.send(&row(0, 3, 3)).expect_err("it stays so").kind(), Kind::Poisoned);
    check(&mut after);
    after.apply(&row(0, 4, 4)).unwrap();
    check(&mut after);
    drop(before.close());
}

#[test]
fn a_disk_that_was_overtaken_is_refused_unless_it_is_given_up() {
    let mut world = world();
    world.apply(&row(0, 1, 1)).unwrap();
    world.close().unwrap();
    let old = world.files.clone();
    world.files = Simulated::new();
    world.open().unwrap();
    world.apply(&row(0, 2, 2)).unwrap();
    world.close().unwrap();
    world.files = old;
    let error = world.try_open().expect_err("its commits could be confused with others");
    assert!(error.message().contains("--discard-local"), "{error:?}");
    world.open_with(|options| options.home.as_mut().unwrap().policy.discard_local = true).unwrap();
    check(&mut world);
}

#[test]
fn commits_that_were_lost_with_a_disk_are_refused_as_positions() {
    let mut world = world();
    world.apply(&row(0, 1, 1)).unwrap();
    let objects = world.objects.copy();
    let position = world.send(&row(0, 2, 2)).unwrap().position.to_string();
    drop(world.close());
    // The bucket as it was before the last commit: as if that had been acknowledged for the disk alone.
    world.objects = objects;
    world.files = Simulated::new();
    world.open().unwrap();
    check(&mut world);
    let error = world.database().parse_position(&position).expect_err("that commit is lost");
    assert!(error.message().contains("lost with the disk"), "{error:?}");
    let kept = world.acks.last().unwrap().position.clone();
    world.database().parse_position(&kept).expect("the one before is not");
}

#[test]
fn a_database_that_had_no_bucket_moves_into_one() {
    let setting = Setting { start: 1_000_000, ..Setting::default() };
    let mut world = of_numbers(setting);
    world.apply(&row(0, 1, 1)).unwrap();
    world.flush(None).unwrap();
    world.apply(&row(1, 2, 2)).unwrap();
    world.setting.home = true;
    world.reopen().unwrap();
    on_an_empty_disk(&mut world);
    check(&mut world);
    // And goes on without, on the disk that has it.
    world.setting.home = false;
    world.reopen().unwrap();
    check(&mut world);
}

#[test]
fn while_the_bucket_is_down_local_writes_go_on_within_the_backlog() {
    let mut world = world();
    let faulty = Faulty::new(Arc::new(world.objects.clone()));
    world.close().unwrap();
    world
        .open_with(|options| {
            let home = options.home.as_mut().unwrap();
            home.objects = Arc::new(faulty.clone());
            home.policy.acknowledge = Level::Local;
            home.policy.backlog_bytes_max = 2000;
            options.stall_wait_max = Duration::ZERO;
            options.background = true;
        })
        .unwrap();
    faulty.fail_calls(1, 1 << 40, Fault::SlowDown);
    let mut refused = None;
    for number in 0..1000 {
        match world.send(&row(0, number, number)) {
            Ok(committed) => assert!(committed.durable.is_some_and(|durable| durable < committed.position)),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let refused = refused.expect("the backlog is bounded");
    assert!(refused.kind() == Kind::Exhausted && refused.message().contains("bucket"), "{refused:?}");
    faulty.heal();
    let again = (0..500).find_map(|_| {
        std::thread::sleep(Duration::from_millis(5));
        world.send(&row(0, 2000, 7)).ok()
    });
    assert!(again.is_some(), "writes go on once the bucket answers");
    world.close().unwrap();
}

/// Every byte of every object, one at a time: an error or the right answer.
#[test]
fn a_flipped_byte_of_an_object_is_an_error_or_nothing() {
    let mut world = world();
    for number in 0..12 {
        world.apply(&row(number as usize % 4, number, number)).unwrap();
        if number == 6 {
            world.flush(None).unwrap();
        }
    }
    world.close().unwrap();
    let whole = world.objects.copy();
    let (mut errors, mut right) = (0, 0);
    for name in whole.names() {
        let length = whole.length(&name).unwrap().unwrap();
        for offset in (0..length).step_by(7) {
            let flipped = whole.copy();
            flipped.flip(&name, offset as usize);
            let mut other = world.on(Simulated::new());
            other.objects = flipped;
            match other.try_open() {
                Err(error) => {
                    assert!(
                        matches!(error.kind(), Kind::Corrupt | Kind::Precondition | Kind::Unsupported),
                        "{name}: {error:?}"
                    );
                    errors += 1;
                }
                Ok(()) => match other.check(&Ask { entities: vec![0, 1, 2, 3], ..Ask::latest(&other, 0) }) {
                    Ok(_) => right += 1,
                    Err(said) => assert!(said.contains("Corrupt"), "{name} at {offset}: {said}"),
                },
            }
        }
    }
    println!("{errors} flips were errors, {right} changed no answer");
    assert!(errors > 0);
}

#[test]
fn an_idle_database_asks_nothing_of_its_bucket() {
    let mut world = world();
    world.close().unwrap();
    let counted = world.open_on_faulty();
    world.send(&row(0, 1, 1)).unwrap();
    let before = counted.calls();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(counted.calls(), before);
    let name = ObjectName::new("epochs/0000000001").unwrap();
    assert!(world.objects.get(&name).unwrap().is_some(), "claims stay");
    world.close().unwrap();
}

/// Found by reading: a start that ended between the restore and its first root was refused afterwards, as a disk that was overtaken.
#[test]
fn a_start_that_ended_before_its_first_root_begins_again() {
    let mut world = world();
    world.fill(20, row);
    world.flush(None).unwrap();
    world.apply(&row(1, 50, 50)).unwrap();
    world.close().unwrap();
    for call in 1..1000 {
        let mut next = world.on(Simulated::new());
        let faulty = Faulty::new(Arc::new(next.objects.clone()));
        faulty.fail_calls(call, 1 << 40, Fault::SlowDown);
        let opened = next.open_with(|options| options.home.as_mut().unwrap().objects = Arc::new(faulty.clone()));
        faulty.heal();
        if opened.is_ok() {
            assert!(call > 10, "a start asks its bucket often");
            return;
        }
        // The same disk, as it was left.
        next.open().unwrap_or_else(|error| panic!("call {call}: {error}"));
        check(&mut next);
        next.apply(&row(2, 60, 60)).unwrap();
        check(&mut next);
    }
    panic!("a start does not ask its bucket for ever");
}

/// Found by schedules (seeds 4 and 79): what another opener had swept meanwhile was called damage, and one that missed the last root
/// began a new database on its disk.
#[test]
fn an_opener_that_is_overtaken_while_it_reads_says_so() {
    let mut world = world();
    world.fill(20, row);
    world.flush(None).unwrap();
    world.apply(&row(1, 50, 50)).unwrap();
    world.close().unwrap();
    let mut overtaken = 0;
    for call in 1..1000 {
        let mut slow = world.on(Simulated::new());
        let mut other = world.on(Simulated::new());
        other.objects = slow.objects.clone();
        let faulty = Faulty::new(Arc::new(slow.objects.clone()));
        let (calls, other) = (faulty.clone(), Mutex::new(Some(other)));
        faulty.watch(move |_, _| {
            if calls.calls() + 1 == call
                && let Some(mut other) = other.lock().take()
            {
                other.open().expect("the bucket is whole");
            }
        });
        match slow.open_with(|options| options.home.as_mut().unwrap().objects = Arc::new(faulty.clone())) {
            Ok(()) if faulty.calls() < call => {
                assert!(overtaken > 10, "an opener asks its bucket often");
                return;
            }
            Ok(()) => {}
            Err(error) => {
                assert!(
                    error.kind() == Kind::Poisoned && error.message().contains("taken over by a test"),
                    "{error:?}"
                );
                overtaken += 1;
                slow.open().expect("the same disk, as it was left");
                check(&mut slow);
            }
        }
    }
    panic!("a start does not ask its bucket for ever");
}

/// Found by reading: a receipt was given while the log that the bucket had not yet taken, or the bucket, still had the rows.
#[test]
fn what_was_erased_is_in_no_object_and_no_file_when_the_receipt_is_there() {
    let mut world = world();
    let secret = 0x5EC2_E7C0_FFEE_1234_i64;
    world.apply(&row(0, 1, secret)).unwrap();
    world.flush(None).unwrap();
    world.apply(&row(0, 2, secret)).unwrap();
    world.apply(&row(1, 3, 3)).unwrap();
    let holds = |bytes: &[u8]| bytes.windows(8).any(|bytes| bytes == secret.to_le_bytes());
    let objects = |world: &World| {
        world.objects.names().into_iter().map(|name| (world.objects.get(&name), name)).collect::<Vec<_>>()
    };
    assert!(objects(&world).iter().any(|(bytes, _)| holds(bytes.as_ref().unwrap().as_ref().unwrap())), "it was there");
    world.erase(0, true).unwrap();
    world.check_gone(secret);
    check(&mut world);
}

/// Found by reading: what an upload that led to no root had put stayed in the bucket, with what was erased later.
#[test]
fn what_was_erased_leaves_the_bucket_though_a_root_had_failed() {
    let secret = 0x5EC2_E7C0_FFEE_1234_i64;
    let mut world = world();
    let features = vec![Feature::plain(0, "n", Type::Int64)];
    world.create_table("u", false, Shape { features, ..Shape::default() }).unwrap();
    world.close().unwrap();
    let faulty = Faulty::new(Arc::new(world.objects.clone()));
    world.open_with(|options| options.home.as_mut().unwrap().objects = Arc::new(faulty.clone())).unwrap();
    world.apply(&row(0, 1, secret)).unwrap();
    world.flush(None).unwrap();
    let failing = faulty.clone();
    faulty.watch(move |name, doing| {
        if name.starts_with("manifest/") && doing == "create" {
            failing.fail_call(1, Fault::Before);
        }
    });
    world.freeze(Some(1)).expect_err("no root can be put");
    faulty.heal();
    let objects = world.objects.clone();
    let holders = || {
        let bytes = |name: &ObjectName| objects.get(name).unwrap().unwrap();
        let holds = |name: &ObjectName| bytes(name).windows(8).any(|bytes| bytes == secret.to_le_bytes());
        objects.names().into_iter().filter(holds).map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert!(holders().iter().any(|name| name.starts_with("data/")), "its segment went up: {:?}", holders());
    world.erase(0, true).unwrap();
    assert_eq!(holders(), Vec::<String>::new(), "they have the value");
}
