//! The Delta log of a table's ice, read as others read it: a long one is short to read, whatever its bucket does meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use firn_ice::delta::{COMMITS, State, checkpoint_of, pointed, version_of};
use firn_storage::io::simulated::Simulated;
use firn_storage::objects::faulty::{Fault, Faulty};
use firn_storage::objects::{ObjectName, Objects};
use parking_lot::Mutex;

use crate::world::plain::{number as row, of_numbers};
use crate::world::{Setting, World};

const HOUR: Duration = Duration::from_secs(3600);

/// A world with a bucket, in which objects that nothing needs stay for `garbage_age`, after so many commits of its Delta log.
fn world(garbage_age: Duration, commits: u64) -> World {
    let mut world = of_numbers(Setting { home: true, start: 1_000_000_000, ..Setting::default() });
    world.close().unwrap();
    open(&mut world, garbage_age);
    (0..commits).for_each(|number| commit(&mut world, number as i64));
    world
}

/// Opens the database; answers the door to its bucket.
fn open(world: &mut World, garbage_age: Duration) -> Faulty {
    let faulty = Faulty::new(Arc::new(world.objects.clone()));
    let bucket = Arc::new(faulty.clone());
    world
        .open_with(|options| {
            let home = options.home.as_mut().unwrap();
            home.objects = bucket;
            home.policy.garbage_age = garbage_age;
        })
        .unwrap();
    faulty
}

/// Another process on an empty disk, after the first is gone.
fn next(world: &World) -> World {
    let mut next = world.on(Simulated::new());
    open(&mut next, HOUR);
    next
}

/// Writes a row and freezes it, which is one commit of the log.
fn commit(world: &mut World, number: i64) {
    world.apply(&row(number as usize % 4, number, number)).unwrap();
    world.freeze(None).unwrap();
}

/// The objects of the log, with the versions of commits and of checkpoints.
fn log(world: &World) -> (Vec<(u64, ObjectName)>, Vec<(u64, ObjectName)>) {
    let names = world.objects.names().into_iter().filter(|name| name.as_str().contains("_delta_log"));
    let names: Vec<ObjectName> = names.collect();
    let of = |version: fn(&str) -> Option<u64>| {
        names.iter().filter_map(|name| Some((version(name.as_str())?, name.clone()))).collect()
    };
    (of(version_of), of(checkpoint_of))
}

fn get(world: &World, name: &ObjectName) -> bytes::Bytes {
    world.objects.get(name).unwrap().expect("it is there")
}

/// The version of the checkpoint to which the log points.
fn pointer(world: &World) -> Option<u64> {
    let name = world.objects.names().into_iter().find(|name| name.as_str().ends_with("/_last_checkpoint"))?;
    pointed(&get(world, &name))
}

/// What the log says at `version`, read from the checkpoint `from`, or from the first commit.
fn read(world: &World, from: Option<u64>, version: u64) -> State {
    let (commits, checkpoints) = log(world);
    let mut state = State::default();
    if let Some(from) = from {
        let (_, name) = checkpoints.iter().find(|(of, _)| *of == from).expect("the checkpoint is there");
        state = State::of_checkpoint(from, &get(world, name)).expect("it is whole");
    }
    for (of, name) in commits.iter().filter(|(of, _)| *of > from.unwrap_or(0) || (from.is_none() && *of == 0)) {
        if *of <= version {
            assert_eq!(*of, state.version, "no commit is missing");
            state.apply(*of, &get(world, name)).unwrap();
        }
    }
    assert_eq!(state.version, version + 1);
    state
}

/// The last version of the log.
fn last(world: &World) -> u64 {
    log(world).0.last().expect("there are commits").0
}

/// Asserts that who follows the pointer finds the files that there are, and no more commits to read than there should be.
fn check(world: &World) {
    let from = pointer(world);
    let state = read(world, from, last(world));
    let ice = world
        .objects
        .names()
        .into_iter()
        .filter(|name| name.as_str().ends_with(".parquet") && !name.as_str().contains("_delta_log"));
    let ice: BTreeSet<String> = ice.map(|name| name.as_str().rsplit('/').next().unwrap().to_owned()).collect();
    assert!(state.files.keys().eq(&ice), "{:?} are not {ice:?}", state.files.keys());
    assert!(last(world) < from.unwrap_or(0) + COMMITS, "the log has a checkpoint where one is due");
}

#[test]
fn a_long_log_is_short_and_says_what_there_is() {
    let mut world = world(Duration::ZERO, 0);
    for number in 0..230 {
        commit(&mut world, number);
        if number % 60 == 59 {
            world.compact(None).unwrap();
        }
        if number % 10 == 0 {
            check(&world);
        }
    }
    let newest = pointer(&world).expect("the log points to a checkpoint");
    assert!(newest >= 2 * COMMITS, "{newest}");
    let (commits, checkpoints) = log(&world);
    assert!(commits.iter().map(|(version, _)| *version).eq(newest..=last(&world)), "older commits are gone");
    assert_eq!(checkpoints.len(), 1, "older checkpoints are gone");
    // Who comes next reads the log from there.
    world.close().unwrap();
    world.files = Simulated::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let faulty = Faulty::new(Arc::new(world.objects.clone()));
    let log_of = Arc::clone(&seen);
    faulty.watch(move |name, doing| {
        if name.contains("_delta_log") {
            log_of.lock().push(format!("{doing} {}", name.rsplit('/').next().unwrap()));
        }
    });
    let bucket = Arc::new(faulty.clone());
    world.open_with(|options| options.home.as_mut().unwrap().objects = bucket).unwrap();
    let mut expected = vec!["list _delta_log".to_owned(), format!("read {newest:020}.checkpoint.parquet")];
    expected.extend((newest + 1..=last(&world)).map(|version| format!("read {version:020}.json")));
    expected.push("read _last_checkpoint".to_owned());
    assert_eq!(*seen.lock(), expected);
    faulty.heal();
    let before = last(&world);
    commit(&mut world, 500);
    assert_eq!(last(&world), before + 1);
    check(&world);
}

#[test]
fn whoever_reads_an_older_version_has_the_age_of_garbage_for_it() {
    let mut world = world(HOUR, COMMITS + 1);
    assert_eq!(pointer(&world), Some(COMMITS));
    commit(&mut world, 500);
    // A checkpoint is what its commits are.
    for version in [COMMITS, COMMITS + 1] {
        assert_eq!(read(&world, Some(COMMITS), version), read(&world, None, version));
    }
    // A little more than half of it.
    let half = i64::try_from(HOUR.as_micros()).unwrap() / 2 + 1_000_000;
    world.clock.advance(half);
    commit(&mut world, 501);
    read(&world, None, COMMITS / 2);
    world.clock.advance(half);
    commit(&mut world, 502);
    assert_eq!(log(&world).0[0].0, COMMITS, "what the checkpoint stands for is gone");
    (COMMITS..=last(&world)).for_each(|version| drop(read(&world, Some(COMMITS), version)));
    check(&world);
}

#[test]
fn a_fault_at_any_call_around_a_checkpoint_is_mended_by_whoever_is_next() {
    let before = world(HOUR, COMMITS);
    let faults =
        [Fault::Before, Fault::After, Fault::Later { calls: 4 }, Fault::Conflict, Fault::Truncated, Fault::FlippedBit];
    let mut hit = 0;
    for fault in faults {
        for at in 1.. {
            let mut world = before.on(Simulated::new());
            let faulty = open(&mut world, HOUR);
            assert_eq!((last(&world), pointer(&world)), (COMMITS - 1, None));
            let (calls, failing) = (Arc::new(AtomicU64::new(0)), faulty.clone());
            let counted = Arc::clone(&calls);
            faulty.watch(move |name, _| {
                if name.contains("_delta_log") && counted.fetch_add(1, Ordering::Relaxed) + 1 == at {
                    failing.fail_call(1, fault);
                }
            });
            commit(&mut world, 500);
            faulty.heal();
            if calls.load(Ordering::Relaxed) < at {
                check(&world);
                break;
            }
            hit += 1;
            faulty.land();
            // The process and its disk are lost, or it goes on by itself.
            let mut other = next(&world);
            check(&other);
            assert_eq!(read(&other, pointer(&other), last(&other)), read(&other, None, last(&other)));
            for world in [&mut other, &mut world] {
                commit(world, 501);
                check(world);
                assert!(pointer(world).is_some(), "{fault:?} at {at}");
            }
        }
    }
    assert!(hit >= faults.len() as u64 * 4, "the commit, the checkpoint, the pointer and the list failed: {hit}");
}

#[test]
fn a_log_of_which_something_is_lost_goes_on() {
    let mut before = world(Duration::ZERO, COMMITS + 1);
    (0..3).for_each(|number| commit(&mut before, 500 + number));
    let (commits, checkpoints) = log(&before);
    let (_, checkpoint) = &checkpoints[0];
    let lose: [&dyn Fn(&World); 4] = [
        &|world: &World| world.objects.flip(checkpoint, 100),
        &|world: &World| world.objects.truncate(checkpoint, 1000),
        &|world: &World| world.objects.delete(checkpoint).unwrap(),
        &|world: &World| world.objects.delete(&commits[2].1).unwrap(),
    ];
    for lose in lose {
        let world = before.on(Simulated::new());
        lose(&world);
        let mut world = next(&world);
        check(&world);
        commit(&mut world, 600);
        check(&world);
    }
}
