//! Writes that say what they are acknowledged for, reads that see only what no loss of the disk takes away, and bounds of what was
//! known that hold on any node.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use firn_storage::commit::{Committed, Done, Terms};
use firn_storage::config::Level;
use firn_storage::error::{Error, Kind};
use firn_storage::io::simulated::Simulated;
use firn_storage::objects::faulty::{Fault, Faulty};
use firn_storage::position::Position;
use firn_storage::read::ScanRequest;
use firn_storage::time::Clock;
use serde_json::json;

use crate::oracle::Value;
use crate::world::ask::{Ask, Limit, Request, given};
use crate::world::plain::{number as row, of_numbers};
use crate::world::{Batch, Setting, World};

/// So long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// So long it waits for what must not.
const GLANCE: Duration = Duration::from_millis(30);

/// A world with a bucket of which writes are acknowledged for the disk alone, and that bucket. Nothing goes up that nobody
/// waits for.
fn local() -> (World, Faulty) {
    let mut world = of_numbers(Setting { home: true, wal_bytes_max: 4096, start: 1_000_000, ..Setting::default() });
    let faulty = reopen(&mut world);
    (world, faulty)
}

/// Opens `world` again, on a bucket that may fail.
fn reopen(world: &mut World) -> Faulty {
    let faulty = Faulty::new(Arc::new(world.objects.clone()));
    drop(world.close());
    world
        .open_with(|options| {
            let home = options.home.as_mut().unwrap();
            home.objects = Arc::new(faulty.clone());
            home.policy.acknowledge = Level::Local;
            home.policy.upload_interval = Duration::from_secs(3600);
            options.background = true;
        })
        .unwrap();
    faulty
}

fn break_down(bucket: &Faulty) {
    bucket.fail_calls(1, 1 << 40, Fault::SlowDown);
}

/// Sends `batch` on `terms`; its answer comes later.
fn submit(world: &World, terms: &Terms, batch: &Batch) -> Receiver<Result<Committed, Error>> {
    let (send, receive) = sync_channel(1);
    let database = world.database();
    let (request, rows) = (world.write_request(batch), world.record_batch(batch));
    let proven = database.prove(&database.catalog(), &request, &rows).unwrap().batch;
    let room = Arc::new(database.reserve(20_000, PATIENCE).unwrap());
    database.submit_within(terms, room, proven, Done::new(move |answer| drop(send.send(answer))));
    receive
}

/// What a read of the entity 0 sees, and how far it and the bucket are.
fn seen(world: &World, request: &Request) -> Result<(Option<Value>, Position, Position), Error> {
    let database = world.database();
    let (catalog, schema) = (database.catalog_in_bucket(request.point.schema_version)?, request.rows.schema());
    let plan = database.plan(&catalog, &request.point, &schema)?;
    let snapshot = database.snapshot(&plan, &request.rows)?;
    let answer = database.read(&plan, &snapshot, &request.rows)?;
    let (_, value, _) = given(answer.columns(), 0);
    Ok((value, snapshot.position(), snapshot.durable_position().expect("there is a bucket")))
}

/// Asks for what is durable of the entity 0.
fn durable(world: &World) -> Request {
    let mut request = world.request(&Ask { entities: vec![0, 0], ..Ask::latest(world, 0) }).expect("a table");
    request.point.durable = true;
    request
}

fn number(value: i128) -> Option<Value> {
    Some(Value::Int(value))
}

#[test]
fn a_write_says_what_it_is_acknowledged_for_and_waits_for_nobody_else() {
    let (mut world, bucket) = local();
    let (object, local) = (Some(Level::Object), Some(Level::Local));
    let terms = |level| world.database().terms(level).unwrap();
    let (for_object, for_disk, unsaid) = (terms(object), terms(local), terms(None));
    let in_bucket = submit(&world, &for_object, &row(0, 1, 1)).recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(in_bucket.level, Level::Object);
    assert!(in_bucket.durable.unwrap() >= in_bucket.position);
    break_down(&bucket);
    let waiting = submit(&world, &for_object, &row(0, 2, 2));
    for terms in [&for_disk, &unsaid] {
        let on_disk = submit(&world, terms, &row(0, 3, 3)).recv_timeout(PATIENCE).unwrap().unwrap();
        assert_eq!(on_disk.level, Level::Local);
        assert!(on_disk.durable.unwrap() < on_disk.position);
    }
    waiting.recv_timeout(GLANCE).expect_err("the bucket is down");
    bucket.heal();
    let committed = waiting.recv_timeout(PATIENCE).unwrap().unwrap();
    assert!(committed.durable.unwrap() >= committed.position);
    // What came before it in the log went up with it, and nothing is lost with the disk.
    let kept = world.objects.copy();
    drop(world.close());
    (world.objects, world.files) = (kept, Simulated::new());
    world.open().unwrap();
    let position = committed.position.to_string();
    let position = world.database().parse_position(&position).expect("an epoch that was not lost");
    assert!(world.database().position().sequence() >= position.sequence());
}

/// A batch that is sent again is acknowledged for what it asks for now, not for what it asked for first.
#[test]
fn a_duplicate_waits_for_the_bucket_if_it_says_so() {
    let (mut world, bucket) = local();
    break_down(&bucket);
    let producer = Some(("p".to_owned(), 1, None));
    let batch = Batch { producer, ..row(0, 1, 1) };
    let send = |level| {
        let database = world.database();
        let (request, rows) = (world.write_request(&batch), world.record_batch(&batch));
        let mut proven = database.prove(&database.catalog(), &request, &rows).unwrap().batch;
        let producer = firn_storage::model::batch::Producer { name: "p".to_owned(), seq: 1, previous: None };
        proven.producer = Some(producer);
        let (send, receive) = sync_channel(1);
        let room = Arc::new(database.reserve(20_000, PATIENCE).unwrap());
        let terms = database.terms(Some(level)).unwrap();
        database.submit_within(&terms, room, proven, Done::new(move |answer| drop(send.send(answer))));
        receive
    };
    assert!(!send(Level::Local).recv_timeout(PATIENCE).unwrap().unwrap().duplicate);
    let again = send(Level::Object);
    again.recv_timeout(GLANCE).expect_err("its original is not in the bucket");
    bucket.heal();
    let again = again.recv_timeout(PATIENCE).unwrap().unwrap();
    assert!(again.duplicate && again.level == Level::Object && again.durable.unwrap() >= again.position);
    world.close().unwrap();
}

/// Found by reading: what waited for the bucket kept its room in the log's queue, so that others found none.
#[test]
fn writes_that_wait_for_the_bucket_take_no_room_in_the_log() {
    let mut world = of_numbers(Setting { home: true, start: 1_000_000, ..Setting::default() });
    world.close().unwrap();
    let bucket = Faulty::new(Arc::new(world.objects.clone()));
    world
        .open_with(|options| {
            let home = options.home.as_mut().unwrap();
            home.objects = Arc::new(bucket.clone());
            home.policy.acknowledge = Level::Local;
            options.queue_bytes_max = 64 << 10;
            options.background = true;
        })
        .unwrap();
    break_down(&bucket);
    let (object, local) = (world.database().terms(Some(Level::Object)), world.database().terms(Some(Level::Local)));
    let waiting: Vec<_> = (0..20).map(|event| submit(&world, object.as_ref().unwrap(), &row(0, event, 1))).collect();
    submit(&world, local.as_ref().unwrap(), &row(0, 30, 2)).recv_timeout(PATIENCE).unwrap().unwrap();
    bucket.heal();
    for waiting in waiting {
        waiting.recv_timeout(PATIENCE).unwrap().unwrap();
    }
    world.close().unwrap();
}

#[test]
fn without_a_bucket_nothing_is_acknowledged_for_it_nor_durable() {
    let world = of_numbers(Setting { start: 1_000_000, ..Setting::default() });
    let database = world.database();
    let says =
        |error: Error| assert!(error.kind() == Kind::Precondition && error.message().contains("--bucket"), "{error:?}");
    says(database.terms(Some(Level::Object)).expect_err("there is none"));
    says(database.catalog_in_bucket(None).expect_err("there is none"));
    says(database.wait_for_durable(&database.position(), Duration::ZERO).expect_err("there is none"));
    let scan = ScanRequest { table: "t".to_owned(), durable: true, parts: 1, ..ScanRequest::default() };
    says(database.scan(&database.catalog(), &scan).expect_err("there is none"));
    assert_eq!(database.durable_position(), None);
    database.terms(Some(Level::Local)).expect("this needs none");
}

#[test]
fn a_durable_read_answers_nothing_that_a_lost_disk_takes_back() {
    let (mut world, bucket) = local();
    let object = world.database().terms(Some(Level::Object)).unwrap();
    submit(&world, &object, &row(0, 1, 1)).recv_timeout(PATIENCE).unwrap().unwrap();
    break_down(&bucket);
    let lost = world.send(&row(0, 2, 2)).unwrap();
    let latest = world.request(&Ask { entities: vec![0, 0], ..Ask::latest(&world, 0) }).unwrap();
    let asked = durable(&world);
    let (now, position, in_bucket) = seen(&world, &latest).unwrap();
    assert_eq!((now, position), (number(2), lost.position));
    let (kept, position, still_in_bucket) = seen(&world, &asked).unwrap();
    assert_eq!((kept, position), (number(1), in_bucket));
    assert_eq!(in_bucket, still_in_bucket);
    // The same through a scan, with its history.
    for history in [false, true] {
        let scan = ScanRequest { table: "t".to_owned(), durable: true, history, parts: 1, ..ScanRequest::default() };
        let database = world.database();
        let scan = database.scan(&database.catalog_in_bucket(None).unwrap(), &scan).unwrap();
        assert_eq!(scan.snapshot().position(), in_bucket);
        let rows: usize =
            (0..scan.parts()).flat_map(|part| scan.open(part).unwrap()).map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(rows, 1);
    }
    // The disk is lost.
    let kept = world.objects.copy();
    drop(world.close());
    (world.objects, world.files) = (kept, Simulated::new());
    world.open().unwrap();
    let mut again = durable(&world);
    again.point.position = Some(position.to_string());
    assert_eq!(seen(&world, &again).unwrap().0, number(1));
    world.database().parse_position(&lost.position.to_string()).expect_err("what the other read saw is lost");
}

#[test]
fn a_durable_read_ahead_of_the_bucket_is_refused_or_waits() {
    let (mut world, bucket) = local();
    break_down(&bucket);
    let ahead = world.send(&row(0, 1, 1)).unwrap().position;
    let mut asked = durable(&world);
    asked.point.position = Some(ahead.to_string());
    let error = seen(&world, &asked).expect_err("the bucket lacks it");
    assert!(error.kind() == Kind::OutOfRange && error.message().contains("not yet in the bucket"), "{error:?}");
    let error = world.database().wait_for_durable(&ahead, GLANCE).expect_err("the bucket is down");
    assert_eq!(error.kind(), Kind::Unavailable);
    world.database().wait_for(&ahead, Duration::ZERO).expect("it is published");
    bucket.heal();
    world
        .database()
        .wait_for_durable(&ahead, PATIENCE)
        .expect("waiting sends it up, although nobody else waits for it");
    let (value, position, in_bucket) = seen(&world, &asked).unwrap();
    assert_eq!((value, position), (number(1), ahead));
    assert!(in_bucket >= ahead);
    let never = world.database().position();
    let never = Position::new(never.log(), never.sequence() + 1);
    world.database().wait_for_durable(&never, GLANCE).expect_err("no such commit");
    world.close().unwrap();
}

/// A version of the schema can be lost too: one that seals a table is made by a write that does not wait for the bucket.
#[test]
fn a_durable_read_goes_by_a_schema_that_is_in_the_bucket() {
    let (mut world, bucket) = local();
    let before = world.database().catalog_in_bucket(None).unwrap().schema_version;
    assert_eq!(before, world.database().catalog().schema_version, "changes wait for the bucket");
    break_down(&bucket);
    let sealing = world.send(&row(0, 1, 1)).unwrap().position;
    let now = world.database().catalog().schema_version;
    assert_eq!(now, before + 1, "the write sealed the table");
    let database = world.database();
    assert_eq!(database.catalog_in_bucket(None).unwrap().schema_version, before);
    database.catalog_in_bucket(Some(before)).unwrap();
    let error = database.catalog_in_bucket(Some(now)).expect_err("it may be lost");
    assert!(error.kind() == Kind::OutOfRange && error.message().contains("not yet in the bucket"), "{error:?}");
    assert_eq!(database.catalog_in_bucket(Some(now + 1)).expect_err("there is none").kind(), Kind::Invalid);
    assert_eq!(seen(&world, &durable(&world)).unwrap().0, None);
    bucket.heal();
    database.wait_for_durable(&sealing, PATIENCE).unwrap();
    assert_eq!(database.catalog_in_bucket(None).unwrap().schema_version, now);
    world.close().unwrap();
}

#[test]
fn what_waits_for_the_bucket_is_told_when_the_database_closes_or_is_overtaken() {
    let (mut world, bucket) = local();
    break_down(&bucket);
    let ahead = world.send(&row(0, 1, 1)).unwrap().position;
    let database = world.database().clone();
    let waiting = std::thread::spawn(move || database.wait_for_durable(&ahead, Duration::from_secs(3600)));
    std::thread::sleep(GLANCE);
    drop(world.close());
    assert!(waiting.join().unwrap().is_err());

    let (mut before, bucket) = local();
    break_down(&bucket);
    let ahead = before.send(&row(0, 1, 1)).unwrap().position;
    let mut after = before.on(Simulated::new());
    after.objects = before.objects.clone();
    after.open().unwrap();
    bucket.heal();
    let error = before.database().wait_for_durable(&ahead, Duration::from_secs(3600)).expect_err("it never comes");
    assert!(error.message().contains("taken over"), "{error:?}");
    drop(before.close());
}

/// Retention may have forgotten, on the disk, what the bucket has not heard of.
#[test]
fn a_durable_read_before_the_horizon_is_refused() {
    let (mut world, bucket) = local();
    let retention = json!({"table": "t", "set": {"retention": {"keep_knowledge": "1s"}}});
    world.alter(0, &retention, |_| ()).unwrap();
    let object = world.database().terms(Some(Level::Object)).unwrap();
    submit(&world, &object, &row(0, 1, 1)).recv_timeout(PATIENCE).unwrap().unwrap();
    break_down(&bucket);
    for number in 2..20 {
        world.clock.advance(1_000_000);
        world.send(&row(0, 1, number)).unwrap();
        world.flush(None).unwrap();
    }
    world.compact(None).unwrap();
    let error = seen(&world, &durable(&world)).expect_err("what it sees may be forgotten");
    assert!(error.kind() == Kind::OutOfRange && error.message().contains("horizon"), "{error:?}");
    bucket.heal();
    world.database().wait_for_durable(&world.database().position(), PATIENCE).unwrap();
    assert_eq!(seen(&world, &durable(&world)).unwrap().0, number(19));
    world.close().unwrap();
}

/// What of the entity 0 was known at `time`.
fn known_at(world: &World, time: i64) -> Ask {
    let known_at = Limit::At { micros: time, exclusive: false };
    Ask { entities: vec![0, 0], known_at, ..Ask::latest(world, 0) }
}

fn log_objects(world: &World) -> usize {
    world.objects.names().iter().filter(|name| name.as_str().starts_with("wal/")).count()
}

/// Found by reading the protocol: what was answered at a knowledge bound was said by the disk alone, and a node that restored with
/// a clock behind gave ingest times below it.
#[test]
fn a_node_with_a_clock_behind_adds_nothing_to_what_was_known() {
    let mut world = of_numbers(Setting { home: true, start: 100_000_000, ..Setting::default() });
    world.apply(&row(0, 1, 1)).unwrap();
    world.clock.advance(30_000_000);
    let now = world.clock.now();
    world.check(&known_at(&world, now)).unwrap();
    let kept = world.objects.copy();
    drop(world.close());
    (world.objects, world.files) = (kept, Simulated::new());
    world.clock.set(110_000_000);
    world.open().unwrap();
    // The world checks that its ingest time is after the bound.
    world.apply(&row(0, 2, 2)).unwrap();
    world.check(&known_at(&world, now)).unwrap();
    world.check(&Ask { entities: vec![0, 0], ..Ask::latest(&world, 0) }).unwrap();
    world.close().unwrap();
}

#[test]
fn bounds_that_are_asked_cost_one_object_in_a_minute() {
    let (mut world, bucket) = local();
    world.apply(&row(0, 1, 1)).unwrap();
    world.database().wait_for_durable(&world.database().position(), PATIENCE).unwrap();
    let before = log_objects(&world);
    for _ in 0..50 {
        world.clock.advance(1_000_000);
        world.check(&known_at(&world, world.clock.now())).unwrap();
    }
    assert_eq!(log_objects(&world), before + 1);
    let calls = bucket.calls();
    world.check(&known_at(&world, 1_000_000)).unwrap();
    world.check(&Ask { entities: vec![0, 0], ..Ask::latest(&world, 0) }).unwrap();
    assert_eq!(bucket.calls(), calls, "what is past, and the latest, ask nothing of the bucket");
    world.clock.advance(60_000_000);
    world.check(&known_at(&world, world.clock.now())).unwrap();
    assert_eq!(log_objects(&world), before + 2);
    world.reopen().unwrap();
    world.check(&known_at(&world, world.clock.now())).unwrap();
}

#[test]
fn while_the_bucket_is_down_only_bounds_that_it_knows_are_answered() {
    let (mut world, bucket) = local();
    world.apply(&row(0, 1, 1)).unwrap();
    let past = world.clock.now();
    world.check(&known_at(&world, past)).unwrap();
    break_down(&bucket);
    world.clock.advance(100_000_000);
    let now = world.clock.now();
    world.check(&known_at(&world, past)).unwrap();
    // A bound of each row, all of them past: the bucket is waited for a little, for rows that may come.
    let known_at_rows = Limit::PerRow { micros: vec![past; 2], exclusive: false };
    world.check(&Ask { known_at: known_at_rows, ..known_at(&world, 0) }).unwrap();
    let request = world.request(&known_at(&world, now)).unwrap();
    let (answered, answer) = sync_channel(1);
    std::thread::scope(|scope| {
        let world = &world;
        scope.spawn(move || answered.send(world.ask(&request).map(drop)));
        answer.recv_timeout(GLANCE).expect_err("the bucket does not know of the bound");
        bucket.heal();
        answer.recv_timeout(PATIENCE).unwrap().unwrap();
    });
    world.close().unwrap();
}

/// A writer that was overtaken must not say what will be known: another one gives the ingest times.
#[test]
fn a_writer_that_was_overtaken_answers_no_later_bound() {
    let (mut before, _) = local();
    before.apply(&row(0, 1, 1)).unwrap();
    before.check(&known_at(&before, before.clock.now())).unwrap();
    let mut after = before.on(Simulated::new());
    after.objects = before.objects.clone();
    after.open().unwrap();
    before.clock.advance(100_000_000);
    let request = before.request(&known_at(&before, before.clock.now())).unwrap();
    let error = before.ask(&request).expect_err("another writer has the bucket");
    assert!(error.message().contains("taken over"), "{error:?}");
    drop(before.close());
}
