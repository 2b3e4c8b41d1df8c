//! The moment of a read: bounds a little ahead of the clock are waited for, and all tables of a statement are read at one.

use std::thread::ScopedJoinHandle;

use arrow_array::RecordBatch;
use firn_storage::error::{Error, Kind};
use firn_storage::read::{KnownAt, Moment, ScanRequest};
use firn_storage::time::Clock;

use super::{UNIT, refused, row, world};
use crate::types::Type;
use crate::world::ask::{Ask, Limit, Request};
use crate::world::{Feature, Shape, World};

/// Microseconds of 0.9 s.
const SOON: i64 = 900_000;

/// A sealed table with a row, and a question of two rows: the first at a knowledge bound that has passed, the second
/// `ahead` of the clock.
fn asked_ahead(ahead: i64) -> (World, Request) {
    let mut world = world();
    world.apply(&row(0, 1, 1)).unwrap();
    world.seal(0).unwrap();
    let now = world.answered();
    let known_at = Limit::PerRow { micros: vec![now, now + ahead], exclusive: false };
    let request = world.request(&Ask { entities: vec![0, 0], known_at, ..Ask::latest(&world, 0) }).unwrap();
    (world, request)
}

/// Asks on another thread while `pass` lets time pass.
fn ask_meanwhile(world: &World, request: &Request, pass: impl Fn()) -> Result<(RecordBatch, i64), Error> {
    std::thread::scope(|scope| {
        let asking: ScopedJoinHandle<'_, _> = scope.spawn(|| {
            let (answer, _) = world.ask(request)?;
            Ok((answer, world.clock.now()))
        });
        while !asking.is_finished() {
            pass();
            std::thread::yield_now();
        }
        asking.join().expect("a read does not panic")
    })
}

#[test]
fn a_knowledge_bound_of_a_row_that_lies_a_little_ahead_of_the_clock_is_waited_for() {
    let (world, request) = asked_ahead(SOON);
    let bound = world.answered() + SOON;
    let (answer, then) = ask_meanwhile(&world, &request, || world.clock.advance(UNIT)).unwrap();
    assert!(then >= bound, "{then} is before {bound}");
    assert_eq!(answer.num_rows(), 2);
    // What was answered is final: nothing that comes later was known by then.
    let committed = world.send(&row(0, 2, 2)).unwrap();
    assert!(committed.ingest_time > bound);
    assert_eq!(world.ask(&request).unwrap().0.slice(1, 1), answer.slice(1, 1));
}

#[test]
fn a_knowledge_bound_of_a_row_that_lies_far_ahead_is_refused_and_the_row_named() {
    let (world, request) = asked_ahead(2_000_000);
    refused(world.ask(&request), Kind::Invalid, &["row 1", "known_at", "has passed"]);
}

#[test]
fn a_read_that_waits_for_a_clock_that_is_set_back_ends_with_an_error_that_says_so() {
    let (world, request) = asked_ahead(SOON);
    world.clock.jump(-3_600_000_000);
    let asked = ask_meanwhile(&world, &request, || world.clock.advance(UNIT));
    refused(asked, Kind::Unavailable, &["set back", "ask again"]);
}

#[test]
fn a_read_that_waits_for_the_clock_hears_that_the_database_closes() {
    let (world, request) = asked_ahead(SOON);
    let database = world.database().clone();
    let asked = ask_meanwhile(&world, &request, || database.close().expect("a healthy disk"));
    refused(asked, Kind::Unavailable, &["closed"]);
}

/// How many rows a scan of a table sees at the snapshot.
fn rows_at(world: &World, snapshot: &firn_storage::read::Snapshot, table: &str) -> Result<usize, Error> {
    let request = ScanRequest { table: table.to_owned(), history: true, ..ScanRequest::default() };
    let catalog = world.database().catalog_at(snapshot.schema_version())?;
    let scan = world.database().scan_at(&catalog, &request, snapshot.clone())?;
    (0..scan.parts())
        .map(|part| scan.open(part)?.map(|batch| Ok(batch?.num_rows())).sum::<Result<usize, Error>>())
        .sum()
}

#[test]
fn all_tables_of_a_statement_are_read_at_one_moment() {
    let mut world = world();
    let features = vec![Feature::plain(0, "n", Type::Int64), Feature::plain(1, "s", Type::Text)];
    world.create_table("u", false, Shape { features, ..Shape::default() }).unwrap();
    let write = |world: &mut World, number: i64| {
        for table in 0..2 {
            let mut batch = row(0, number, number);
            batch.table = table;
            world.apply(&batch).unwrap();
        }
    };
    write(&mut world, 1);
    let catalog = world.database().catalog();
    let snapshot = world.database().snapshot_of(&catalog, &["t", "u"], &Moment::default()).unwrap();
    write(&mut world, 2);
    world.compact(None).unwrap();
    let of =
        |tables: &[&str]| tables.iter().map(|table| rows_at(&world, &snapshot, table)).collect::<Result<Vec<_>, _>>();
    assert_eq!(of(&["t", "u", "t"]).unwrap(), [1, 1, 1]);

    let of_one = world.database().snapshot_of(&catalog, &["u"], &Moment::default()).unwrap();
    assert_eq!(rows_at(&world, &of_one, "u").unwrap(), 2);
    refused(rows_at(&world, &of_one, "t"), Kind::Invalid, &["not pinned", "table t"]);
    let soon = KnownAt::Time(world.answered() + 2_000_000);
    let ahead = world.database().snapshot_of(&catalog, &["t", "u"], &Moment { known_at: soon, ..Moment::default() });
    refused(ahead.map(drop), Kind::Invalid, &["known_at", "has passed"]);
}
