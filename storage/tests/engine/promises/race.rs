//! Sealing under race: readers ask at knowledge bounds around now while writers write, flushes and compactions run.
//! In the end every recorded answer must be what the oracle says of the whole log at that bound: a commit that came
//! later with an ingest time at or below an answered bound would show.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use firn_storage::database::Database;
use firn_storage::error::Kind;
use firn_storage::read::ScanRequest;
use firn_storage::time::{Clock, SystemClock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{asked, batch, sent, world};
use crate::oracle::{self, AsOf, Bounds, Row, Value};
use crate::world::ask::{Ask, Limit, given};
use crate::world::data::rows_of;
use crate::world::scan::{Sweep, time_at};
use crate::world::{Batch, Deed, World};

const WRITERS: u64 = 3;
const READERS: u64 = 3;
const ENTITIES: usize = 4;
const SECONDS: u64 = 8;
/// Beyond this the oracle would take longer than the race.
const COMMITS_MAX: u64 = 2500;
const ANSWERS_MAX: usize = 6000;

/// An answer for all entities at one knowledge bound.
struct Answered {
    known_at: i64,
    as_of: Option<i64>,
    cells: Vec<(String, Option<Value>, Option<i64>)>,
}

fn some_batch(random: &mut StdRng, number: u64) -> Batch {
    let entity = random.random_range(0..ENTITIES);
    let event = random.random_range(0..40);
    match random.random_range(0..10) {
        0 => batch(Deed::Delete, vec![sent(entity, event, vec![])]),
        1 => batch(Deed::Retract, vec![sent(entity, event, vec![])]),
        _ => {
            let cells =
                |entity| vec![Some(Value::Int(i128::from(number))), Some(Value::Text(format!("{number}/{entity}")))];
            let rows = (0..ENTITIES).map(|entity| sent(entity, event, cells(entity))).collect();
            batch(Deed::Write { columns: vec![0, 1], nulls_absent: false }, rows)
        }
    }
}

fn write(world: &World, database: &Database, random: &mut StdRng, number: u64) -> (Batch, i64) {
    let batch = some_batch(random, number);
    let proven = database
        .prove(&database.catalog(), &world.write_request(&batch), &world.record_batch(&batch))
        .expect("a good batch");
    let committed = database.write(proven.batch).expect("a healthy disk");
    (batch, committed.ingest_time)
}

/// Asks for all entities at `known_at`, with some event bound.
fn ask(world: &World, database: &Database, known_at: i64, as_of: Option<i64>) -> Answered {
    let as_of_limit = as_of.map_or(Limit::Open, |micros| Limit::At { micros, exclusive: false });
    let known = Limit::At { micros: known_at, exclusive: false };
    let ask = Ask { as_of: as_of_limit, known_at: known, ..Ask::latest(world, ENTITIES) };
    let request = world.request(&ask).expect("the table has features");
    let plan = database
        .plan(&asked(database, &request.point), &request.point, &request.rows.schema())
        .expect("a good request");
    let snapshot = database.snapshot(&plan, &request.rows).expect("a bound near now");
    let answer = database.read(&plan, &snapshot, &request.rows).expect("a healthy disk");
    let columns = answer.columns();
    let cells = (0..ENTITIES).flat_map(|row| [given(&columns[..3], row), given(&columns[3..], row)]).collect();
    Answered { known_at, as_of, cells }
}

/// Races, each over a database of its own.
const ROUNDS: usize = 5;

#[test]
fn no_answer_at_a_knowledge_bound_ever_changes() {
    (0..ROUNDS).for_each(|_| race());
}

fn race() {
    let mut world = world();
    world.apply(&super::row(0, 0, 0)).expect("a write that seals");
    let first = world.tables[0].rows.clone();
    world.close().expect("a healthy disk");
    let clock = Arc::new(SystemClock::default());
    let mut options = world.options();
    options.clock = Some(Arc::clone(&clock) as Arc<dyn Clock>);
    options.background = true;
    options.flush_bytes_max = 16 << 10;
    options.reader_threads = 2;
    options.segment_rows_max = 1 << 20;
    let database = Database::open(options).expect("a healthy disk");

    let (written, answers) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let (number, over) = (AtomicU64::new(1), AtomicBool::new(false));
    let end = Instant::now() + Duration::from_secs(SECONDS);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (world, database, number, written, over) = (&world, &database, &number, &written, &over);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(writer);
                while Instant::now() < end && number.load(Ordering::Relaxed) < COMMITS_MAX {
                    let number = number.fetch_add(1, Ordering::Relaxed);
                    let commit = write(world, database, &mut random, number);
                    written.lock().unwrap().push(commit);
                    if number % 64 == 0 {
                        database.flush(&database.catalog(), None).expect("a healthy disk");
                    }
                }
                over.store(true, Ordering::Relaxed);
            });
        }
        let (world, written, over) = (&world, &written, &over);
        scope.spawn(move || {
            let mut losses = 0;
            while !over.load(Ordering::Relaxed) {
                losses += 1;
                lose_power(world, losses, written);
                std::thread::sleep(Duration::from_millis(10));
            }
            println!("{losses} power losses under way");
        });
        for reader in 0..READERS {
            let (database, clock, answers) = (&database, &clock, &answers);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(100 + reader);
                while !over.load(Ordering::Relaxed) {
                    let known_at = clock.now() + random.random_range(-3000..300);
                    let as_of = random.random_bool(0.5).then(|| random.random_range(0..40) * super::UNIT);
                    let answer = ask(world, database, known_at, as_of);
                    let mut answers = answers.lock().unwrap();
                    let at = random.random_range(0..=answers.len());
                    // Beyond the most that the oracle can check, a new answer takes the place of an older one.
                    if answers.len() < ANSWERS_MAX {
                        answers.push(answer)
                    } else if at < ANSWERS_MAX {
                        answers[at] = answer
                    }
                }
            });
        }
    });
    let rows = log(first, written.into_inner().unwrap());
    let answers = answers.into_inner().unwrap();
    println!("{} rows, {} answers", rows.len(), answers.len());
    assert!(answers.len() > 500, "{} answers are too few to show anything", answers.len());
    assert_eq!(all_rows(&database), rows.len(), "rows were lost, or are there twice");
    let of_entity = |entity: usize| rows.iter().filter(|row| row.entity == entity).cloned().collect();
    let by_entity: Vec<Vec<Row>> = (0..ENTITIES).map(of_entity).collect();
    std::thread::scope(|scope| {
        for half in answers.chunks(answers.len().div_ceil(2)) {
            scope.spawn(|| half.iter().for_each(|answer| check(&world, &database, answer, &by_entity)));
        }
    });
    database.close().expect("a healthy disk");
    refuse_far_ahead(&world, &clock);
}

/// How many rows there are at all.
fn all_rows(database: &Database) -> usize {
    let request = ScanRequest { table: "t".to_owned(), history: true, parts: 1, ..ScanRequest::default() };
    let scan = database.scan(&database.catalog(), &request).expect("a table");
    let parts = (0..scan.parts()).flat_map(|part| scan.open(part).expect("a part"));
    parts.map(|batch| batch.expect("a healthy disk").num_rows()).sum()
}

/// Opens what power loss at this moment would leave: all that was acknowledged before must be there, whole.
fn lose_power(world: &World, seed: u64, written: &Mutex<Vec<(Batch, i64)>>) {
    let acknowledged: Vec<(usize, i64)> =
        written.lock().unwrap().iter().map(|(batch, ingest_time)| (batch.rows.len(), *ingest_time)).collect();
    let mut after = world.on(world.files.crash(seed));
    after.open().unwrap_or_else(|error| panic!("power loss {seed}: {error}"));
    let (batches, _) = after.sweep(&Sweep::history(0)).expect("a healthy disk");
    let mut there: HashMap<i64, usize> = HashMap::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            *there.entry(time_at(batch, "ingest_time", row).expect("a history")).or_default() += 1;
        }
    }
    for (rows, ingest_time) in acknowledged {
        let found = there.get(&ingest_time).copied().unwrap_or(0);
        assert_eq!(found, rows, "power loss {seed}: rows of the commit at {ingest_time}");
    }
}

/// The rows of all commits: ingest times are strictly increasing, so they order the log.
fn log(mut rows: Vec<Row>, mut written: Vec<(Batch, i64)>) -> Vec<Row> {
    written.sort_by_key(|(_, ingest_time)| *ingest_time);
    assert!(written.windows(2).all(|pair| pair[0].1 < pair[1].1), "two commits have one ingest time");
    for (at, (batch, ingest_time)) in written.iter().enumerate() {
        rows.extend(rows_of(batch, at as u64 + 2, |_| (0, *ingest_time)));
    }
    rows
}

fn check(world: &World, database: &Database, answer: &Answered, by_entity: &[Vec<Row>]) {
    let as_of = answer.as_of.map_or(AsOf::Open, AsOf::At);
    let bounds = Bounds { as_of, known_at: Some(answer.known_at), position: u64::MAX, clock: 0 };
    for (entity, rows) in by_entity.iter().enumerate() {
        for feature in 0..2 {
            let right = oracle::answer(rows, entity, feature, None, &None, &bounds);
            let given = &answer.cells[entity * 2 + feature as usize];
            let given = (given.0.as_str(), given.1.clone(), given.2);
            if given != right {
                let again = ask(world, database, answer.known_at, answer.as_of);
                let known = rows.iter().filter(|row| row.ingest_time <= answer.known_at);
                let last = known.map(|row| row.ingest_time).max();
                panic!(
                    "entity {entity} feature {feature} at {bounds:?}: {given:?}, must be {right:?}; asked again \
                     {:?}; the last row known by then was ingested at {last:?}",
                    again.cells[entity * 2 + feature as usize]
                );
            }
        }
    }
}

/// A bound further ahead of the clock than a read may wait for.
fn refuse_far_ahead(world: &World, clock: &SystemClock) {
    let mut options = world.options();
    options.clock = Some(Arc::new(SystemClock::default()));
    let database = Database::open(options).expect("a healthy disk");
    let known_at = Limit::At { micros: clock.now() + 60_000_000, exclusive: false };
    let request = world.request(&Ask { known_at, ..Ask::latest(world, 1) }).expect("the table has features");
    let plan = database.plan(&asked(&database, &request.point), &request.point, &request.rows.schema());
    let read = plan.and_then(|plan| {
        database.snapshot(&plan, &request.rows).and_then(|at| database.read(&plan, &at, &request.rows))
    });
    assert_eq!(read.expect_err("a minute ahead").kind(), Kind::Invalid);
}
