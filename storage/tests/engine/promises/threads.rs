//! A thread of the engine that panics: nobody waits for ever, nothing acknowledged is lost, and everybody can see it.

use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use firn_storage::commit::Done;
use firn_storage::database::Database;
use firn_storage::error::Kind;
use firn_storage::model::batch::WriteBatch;
use firn_storage::model::declare::Change;
use serde_json::json;

use super::{refused, row, world};
use crate::world::scan::{Sweep, time_at};
use crate::world::{Batch, World};

/// What `work` gives, which must end: what is shown here are waits that do not.
fn ends<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = channel();
    std::thread::spawn(move || send.send(work()));
    receive.recv_timeout(Duration::from_secs(120)).unwrap_or_else(|_| panic!("{what} does not end"))
}

/// A world with something in its files, whose engine works by itself and flushes each row at once, with `watch` on its
/// calls from the beginning.
fn busy(watch: impl Fn(&str, &str) + Send + Sync + 'static) -> World {
    let mut world = world();
    world.apply(&row(0, 0, 0)).unwrap();
    world.compact(None).unwrap();
    world.close().unwrap();
    world.files.watch(watch);
    world
        .open_with(|options| {
            options.background = true;
            options.flush_bytes_max = 1;
        })
        .unwrap();
    world
}

/// Panics at the first call of `thread`, and not again while that unwinds.
fn panic_in(thread: &'static str) -> impl Fn(&str, &str) + Send + Sync + 'static {
    move |name, doing| {
        let own = std::thread::current().name() == Some(thread);
        assert!(!own || std::thread::panicking(), "a test's panic in {thread}, which would {doing} {name}");
    }
}

fn proven(world: &World, batch: &Batch) -> WriteBatch {
    world
        .database()
        .prove(&world.database().catalog(), &world.write_request(batch), &world.record_batch(batch))
        .unwrap()
        .batch
}

/// Everything that a dead thread could keep waiting ends, with an error that says so.
fn assert_poisoned(database: &Database) {
    // What the thread held is answered while it unwinds, before its guard acts.
    let begun = Instant::now();
    while !database.is_poisoned() {
        assert!(begun.elapsed() < Duration::from_secs(120), "a thread died unseen");
        std::thread::yield_now();
    }
    let waiting = database.clone();
    refused(ends("flush", move || waiting.flush(&waiting.catalog(), None)), Kind::Poisoned, &["firn-"]);
    let waiting = database.clone();
    let seal = Change::parse("seal_table", &json!({"table": "t"})).unwrap();
    refused(ends("a change", move || waiting.change(&waiting.catalog(), &seal)), Kind::Poisoned, &["firn-"]);
    let later = database.position().to_string() + "ffff";
    let later = database.parse_position(&later).unwrap();
    let waiting = database.clone();
    refused(
        ends("a read that waits", move || waiting.wait_for(&later, Duration::from_secs(3600))),
        Kind::Poisoned,
        &["firn-"],
    );
}

/// Closes and opens again, where everything acknowledged must be.
fn assert_nothing_lost(mut world: World, acknowledged: &BTreeSet<i64>) {
    let (world_again, closed) = ends("close", move || {
        let closed = world.close();
        (world, closed)
    });
    world = world_again;
    refused(closed, Kind::Poisoned, &["firn-"]);
    world.files.heal();
    world.open().unwrap();
    let (batches, _) = world.sweep(&Sweep::history(0)).unwrap();
    let rows =
        batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| time_at(batch, "at", row).unwrap()));
    let there: BTreeSet<i64> = rows.map(|time| time / super::UNIT).collect();
    assert!(acknowledged.is_subset(&there), "{acknowledged:?} were acknowledged, {there:?} are there");
    world.apply(&row(1, 1_000_000, 1)).unwrap();
}

/// Writes until the database is poisoned; the event times that were acknowledged.
fn write_until_poisoned(world: &World) -> BTreeSet<i64> {
    let begun = Instant::now();
    let mut acknowledged = BTreeSet::new();
    for number in 1.. {
        assert!(begun.elapsed() < Duration::from_secs(120), "nothing poisons the database");
        world.clock.advance(1000);
        let (database, batch) = (world.database().clone(), proven(world, &row(number as usize % 5, number, number)));
        match ends("a write", move || database.write(batch)) {
            Ok(_) => _ = acknowledged.insert(number),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Poisoned, "{error:?}");
                break;
            }
        }
    }
    acknowledged
}

#[test]
fn a_panic_of_any_background_thread_poisons_and_nobody_waits_for_it() {
    for thread in ["firn-commit", "firn-flush", "firn-compact", "firn-scrub"] {
        let world = busy(panic_in(thread));
        let acknowledged = write_until_poisoned(&world);
        assert_poisoned(world.database());
        assert_nothing_lost(world, &acknowledged);
    }
}

#[test]
fn a_panic_of_the_log_answers_all_that_waits_for_it() {
    let world = busy(|name, doing| {
        let own = std::thread::current().name() == Some("firn-commit");
        assert!(!own || std::thread::panicking() || doing != "sync" || !name.starts_with("wal/"), "a test's panic");
    });
    let writes: Vec<WriteBatch> = (1..=64).map(|number| proven(&world, &row(0, number, number))).collect();
    let (send, receive) = channel();
    for write in writes {
        let send = send.clone();
        world.database().submit(write, Done::new(move |answer| send.send(answer).unwrap()));
    }
    drop(send);
    let answers = ends("the answers", move || receive.into_iter().collect::<Vec<_>>());
    assert_eq!(answers.len(), 64);
    answers.into_iter().for_each(|answer| refused(answer, Kind::Poisoned, &[]));
    assert_poisoned(world.database());
    assert_nothing_lost(world, &BTreeSet::new());
}

#[test]
fn an_answer_that_panics_on_the_logs_thread_is_seen() {
    let world = busy(|_, _| {});
    let write = proven(&world, &row(0, 1, 1));
    world.database().submit(write, Done::new(|_| panic!("a test's panic in an answer")));
    let mut acknowledged = write_until_poisoned(&world);
    acknowledged.insert(1);
    assert_poisoned(world.database());
    assert_nothing_lost(world, &acknowledged);
}

#[test]
fn a_panic_of_work_that_was_asked_for_poisons_and_is_its_answer() {
    let world = busy(panic_in("firn-aside"));
    world.database().write(proven(&world, &row(1, 1, 1))).unwrap();
    let waiting = world.database().clone();
    let compacted = ends("what was asked for", move || waiting.compact(&waiting.catalog(), None));
    refused(compacted, Kind::Poisoned, &["firn-aside"]);
    assert_poisoned(world.database());
    assert_nothing_lost(world, &BTreeSet::from([1]));
}

#[test]
fn a_database_whose_thread_panicked_is_dropped_without_a_panic() {
    let world = busy(panic_in("firn-flush"));
    write_until_poisoned(&world);
    ends("dropping it", move || drop(world));
}
