//! P8: what the limits of the engine do when they are met: an error that names the limit, and afterwards everything
//! that was acknowledged is there and work goes on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use firn_storage::commit::Done;
use firn_storage::config::Options;
use firn_storage::database::Database;
use firn_storage::error::{Error, Kind};
use firn_storage::model::batch::{Verb, WriteRequest};
use firn_storage::model::declare::Change;
use firn_storage::read::ScanRequest;
use serde_json::json;

use super::{asked, batch, refused, row, sent, world};
use crate::oracle::Value;
use crate::world::ask::Ask;
use crate::world::scan::Sweep;
use crate::world::{Batch, Deed, World, times};

const SEGMENTS: &str = "segments";

/// The world's database again, with other settings.
fn opened(world: &mut World, set: impl FnOnce(&mut Options)) -> Database {
    world.close().expect("a healthy disk");
    let mut options = world.options();
    set(&mut options);
    Database::open(options).expect("a healthy disk")
}

/// Writes `number` for entity 0 to `database` alone.
fn send(world: &World, database: &Database, number: i64) -> Result<(), Error> {
    let batch = row(0, number, number);
    let proven = database.prove(&database.catalog(), &world.write_request(&batch), &world.record_batch(&batch))?;
    database.write(proven.batch).map(drop)
}

/// Sends until the write is taken: background work makes room in its own time.
fn send_until_taken(world: &World, database: &Database, number: i64) {
    for _ in 0..10_000 {
        match send(world, database, number) {
            Ok(()) => return,
            Err(error) => assert_eq!(error.kind(), Kind::Exhausted, "{error:?}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("there was never room again");
}

fn scan_of(table: &str) -> ScanRequest {
    ScanRequest { table: table.to_owned(), history: true, parts: 1, ..ScanRequest::default() }
}

/// How many rows the history of `table` has.
fn rows_in(database: &Database, table: &str) -> usize {
    let scan = database.scan(&database.catalog(), &scan_of(table)).expect("the table is there");
    scan.open(0).expect("it has a part").map(|batch| batch.expect("it can be read").num_rows()).sum()
}

#[test]
fn a_snapshot_older_than_its_greatest_age_gives_no_more_answers() {
    let mut world = world();
    for number in 0..4 {
        world.apply(&row(number % 2, number as i64, number as i64)).unwrap();
    }
    let ask = world.request(&Ask { clock: Some(0), ..Ask::latest(&world, 3) }).unwrap();
    let database = opened(&mut world, |options| options.snapshot_age_max = Duration::from_secs(10));
    let plan = database.plan(&asked(&database, &ask.point), &ask.point, &ask.rows.schema()).unwrap();
    let snapshot = database.snapshot(&plan, &ask.rows).unwrap();
    let before = database.read(&plan, &snapshot, &ask.rows).unwrap();
    let mut slow = database.scan(&database.catalog(), &scan_of("t")).unwrap().open(0).unwrap();
    slow.next().expect("a scan has at least one batch").unwrap();

    world.clock.advance(10_000_000);
    assert_eq!(database.read(&plan, &snapshot, &ask.rows).unwrap(), before, "the greatest age itself is allowed");
    world.clock.advance(1);
    let words = ["snapshot-age-max", "position"];
    refused(database.read(&plan, &snapshot, &ask.rows), Kind::Unavailable, &words);
    refused(slow.next().expect("a scan that is too old says so"), Kind::Unavailable, &words);

    // What the error says to do gives the same answer.
    let mut again = ask.point.clone();
    again.position = Some(snapshot.position().to_string());
    let plan = database.plan(&asked(&database, &again), &again, &ask.rows.schema()).unwrap();
    let snapshot = database.snapshot(&plan, &ask.rows).unwrap();
    assert_eq!(database.read(&plan, &snapshot, &ask.rows).unwrap(), before);
}

/// Memory for one small batch; no segment can be written, so no flush makes room.
fn crowded(world: &mut World, stall_wait_max: Duration) -> Database {
    world.files.fill(SEGMENTS);
    opened(world, |options| {
        options.background = true;
        options.flush_bytes_max = 1;
        options.memory_bytes_max = 1;
        options.stall_wait_max = stall_wait_max;
    })
}

#[test]
fn writes_beyond_the_memory_budget_are_refused_and_taken_once_a_flush_made_room() {
    let mut world = world();
    let database = crowded(&mut world, Duration::ZERO);
    send(&world, &database, 1).expect("the first batch finds room");
    for number in 2..5 {
        refused(send(&world, &database, number), Kind::Exhausted, &["memory-bytes-max", "1 bytes"]);
    }
    assert!(database.statistics().stalls.get() >= 3, "stalls are counted");
    assert_eq!(rows_in(&database, "t"), 1, "reads go on, and what was refused is not there");
    world.files.heal();
    send_until_taken(&world, &database, 5);
    assert_eq!(rows_in(&database, "t"), 2);
    database.close().unwrap();
    world.open().unwrap();
    let (rows, _) = world.sweep(&Sweep::history(0)).unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 2, "what was refused is not in the log either");
}

#[test]
fn a_write_waits_for_memory_before_it_is_refused() {
    let mut world = world();
    // The clock of this world stands still, so the wait does not end by itself.
    let database = crowded(&mut world, Duration::from_secs(1));
    send(&world, &database, 1).expect("the first batch finds room");
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| send(&world, &database, 2));
        while database.statistics().stalls.get() == 0 {
            std::thread::yield_now();
        }
        world.files.heal();
        waiting.join().expect("a write does not panic")
    });
    waiting.expect("it found room while it waited");
    assert_eq!(rows_in(&database, "t"), 2);
}

#[test]
fn a_bucket_of_too_many_segment_groups_refuses_writes_until_compaction_caught_up() {
    let mut world = world();
    for number in 0..8 {
        world.apply(&row(0, number, number)).unwrap();
        world.flush(None).unwrap();
    }
    world.files.fill(SEGMENTS);
    let database = opened(&mut world, |options| {
        options.background = true;
        options.segment_groups_max = 8;
        options.stall_wait_max = Duration::ZERO;
    });
    refused(send(&world, &database, 8), Kind::Exhausted, &["segment-groups-max", "(8)", "compaction"]);
    assert_eq!(rows_in(&database, "t"), 8, "reads go on");
    world.files.heal();
    // A table in which compaction failed rests for a while.
    world.clock.advance(20_000_000);
    send_until_taken(&world, &database, 9);
    assert_eq!(rows_in(&database, "t"), 9);
}

/// A database of an entity of many buckets in `directory`, with at most `maps_max` maps.
fn mapped(directory: &Path, map: bool, maps_max: u64) -> Result<Database, Error> {
    let options = Options { maps_max, map, background: false, ..Options::new(directory) };
    Database::open(options)
}

#[test]
fn files_beyond_the_greatest_number_of_maps_are_refused_and_nothing_is_lost() {
    for map in [true, false] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let database = mapped(directory.path(), map, 16).unwrap();
        let change = |action: &str, body: &serde_json::Value| {
            database
                .change(&database.catalog(), &Change::parse(action, body).expect("a declaration"))
                .expect("a healthy disk");
        };
        change("create_entity", &json!({"entity": "e", "key": [{"name": "k", "type": "int64"}], "buckets": 32}));
        change(
            "create_table",
            &json!({"table": "t", "entity": "e", "event_time": "at",
            "features": [{"name": "n", "type": "int64"}]}),
        );
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..500));
        let columns = [("k", Arc::clone(&numbers)), ("at", times(0..500)), ("n", numbers)];
        let request = WriteRequest {
            table: "t".to_owned(),
            verb: Verb::Write,
            nulls_absent: false,
            ingest_time: None,
            report_bad_rows: false,
        };
        let proven =
            database.prove(&database.catalog(), &request, &RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        database.write(proven.batch).unwrap();
        // A dictionary and a segment for each of the 32 buckets are more than 16 files.
        refused(database.flush(&database.catalog(), None), Kind::Exhausted, &["maps-max is 16", "raise it"]);
        assert_eq!(rows_in(&database, "t"), 500, "reads go on");
        database.close().unwrap();
        drop(database);

        let roomy = mapped(directory.path(), map, 1000).unwrap();
        assert_eq!(rows_in(&roomy, "t"), 500, "nothing is lost");
        roomy.flush(&roomy.catalog(), None).unwrap();
        assert_eq!(rows_in(&roomy, "t"), 500);
        roomy.close().unwrap();
        drop(roomy);
        refused(mapped(directory.path(), map, 16), Kind::Exhausted, &["maps-max is 16", "raise it"]);
        assert_eq!(rows_in(&mapped(directory.path(), map, 1000).unwrap(), "t"), 500);
    }
}

#[test]
fn a_batch_that_can_never_fit_into_the_queue_is_refused_at_once_and_others_wait_their_turn() {
    let mut world = world();
    let queue = 64 << 10;
    let database = opened(&mut world, |options| options.queue_bytes_max = queue);
    let wide = {
        let text = Some(Value::Text("x".repeat(80 << 10)));
        let cells = vec![Some(Value::Int(1)), text];
        batch(Deed::Write { columns: vec![0, 1], nulls_absent: false }, vec![sent(0, 1, cells)])
    };
    let proven = |batch: &Batch| {
        database
            .prove(&database.catalog(), &world.write_request(batch), &world.record_batch(batch))
            .expect("a good batch")
            .batch
    };
    refused(database.write(proven(&wide)), Kind::Exhausted, &["queue-bytes-max", "smaller batches"]);
    // While somebody has all the room, a write waits; it is neither refused nor forgotten.
    let room = database.reserve(queue, Duration::ZERO).unwrap();
    let (send, done) = std::sync::mpsc::channel();
    database.submit(proven(&row(0, 1, 1)), Done::new(move |answer| send.send(answer).unwrap()));
    refused(done.recv().unwrap(), Kind::Exhausted, &["queue-bytes-max"]);
    let waiting = {
        let (database, write) = (database.clone(), proven(&row(0, 2, 2)));
        std::thread::spawn(move || database.write(write))
    };
    drop(room);
    waiting.join().unwrap().expect("there is room now");
    assert_eq!(rows_in(&database, "t"), 1);
    assert_eq!(database.statistics().queue_bytes.get(), 0, "all room was given back");
}
