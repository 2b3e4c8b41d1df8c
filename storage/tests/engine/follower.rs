//! A follower: whatever the writer does and however the bucket fails, it answers as the writer does at the same position, it never
//! shows a commit that the writer lost, and it writes nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use firn_storage::config::{FollowOptions, IcePolicy, Level};
use firn_storage::database::{Database, EraseRequest};
use firn_storage::error::{Error, Kind, Result};
use firn_storage::io::simulated::{Fault as FileFault, Simulated};
use firn_storage::model::declare::Change;
use firn_storage::objects::faulty::{Fault, Faulty};
use firn_storage::objects::memory::Memory;
use firn_storage::objects::{Creation, Listed, ObjectName, Objects};
use firn_storage::read::{KnownAt, Moment};
use parking_lot::Mutex;
use serde_json::json;

use crate::histories::generator::{Size, Step, generate};
use crate::histories::runner::{ask, begin, run_step, sweep};
use crate::types::Type;
use crate::world::ask::{Ask, Limit};
use crate::world::plain::{number as row, of_numbers};
use crate::world::scan::Sweep;
use crate::world::{ENTITY, Feature, Setting, Shape, World};

/// What a follower sees of a bucket: it may be out of reach, and another bucket may take its place. Nothing is ever written to it.
#[derive(Debug, Clone)]
struct Seen(Arc<Mutex<Option<Memory>>>);

impl Seen {
    fn of(objects: &Memory) -> Self {
        Self(Arc::new(Mutex::new(Some(objects.clone()))))
    }

    fn set(&self, objects: Option<&Memory>) {
        *self.0.lock() = objects.cloned();
    }

    fn there(&self) -> Result<Memory> {
        self.0.lock().clone().ok_or_else(|| Error::new(Kind::Unavailable, "the bucket is out of reach"))
    }
}

impl Objects for Seen {
    fn put_new(&self, name: &ObjectName, _: bytes::Bytes) -> Result<Creation> {
        panic!("a follower creates {name}")
    }

    fn put(&self, name: &ObjectName, _: bytes::Bytes) -> Result<()> {
        panic!("a follower writes {name}")
    }

    fn get(&self, name: &ObjectName) -> Result<Option<bytes::Bytes>> {
        self.there()?.get(name)
    }

    fn get_range(&self, name: &ObjectName, range: std::ops::Range<u64>) -> Result<Option<bytes::Bytes>> {
        self.there()?.get_range(name, range)
    }

    fn length(&self, name: &ObjectName) -> Result<Option<u64>> {
        self.there()?.length(name)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        self.there()?.list(folder)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        panic!("a follower deletes {name}")
    }
}

/// A world that writes, with a bucket and a table of one integer.
fn writer() -> World {
    of_numbers(Setting { home: true, wal_bytes_max: 4096, start: 1_000_000, ..Setting::default() })
}

/// A follower of `writer` on an empty disk, not open yet.
fn beside(writer: &World) -> World {
    let mut follower = writer.on(Simulated::new());
    follower.clock = Arc::clone(&writer.clock);
    follower
}

/// Opens `follower` on the bucket `objects`. It flushes and merges at the least occasion.
fn open(follower: &mut World, objects: impl Objects + 'static) -> Result<()> {
    open_with(follower, objects, IcePolicy::default())
}

/// The same, where it reads ice as `ice` says.
fn open_with(follower: &mut World, objects: impl Objects + 'static, ice: IcePolicy) -> Result<()> {
    let objects = Arc::new(objects);
    follower.open_with(|options| {
        options.home = None;
        let interval = Duration::from_millis(1);
        options.follow = Some(FollowOptions { objects, interval, ice, checkpoint: None });
        options.background = true;
        options.flush_bytes_max = 512;
    })
}

fn follow(follower: &mut World, seen: &Seen) {
    open(follower, seen.clone()).expect("a bucket with a database is followed");
}

/// A follower that follows `writer`.
fn following(writer: &World) -> (World, Seen) {
    let seen = Seen::of(&writer.objects);
    let mut follower = beside(writer);
    follow(&mut follower, &seen);
    (follower, seen)
}

/// Waits until `follower` has all that `writer` has, and lets it know what the oracle knows.
fn catch_up(follower: &mut World, writer: &World) {
    let position = writer.database().position().to_string();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let reached = follower.database().parse_position(&position);
        match reached.and_then(|position| follower.database().wait_for(&position, Duration::from_millis(20))) {
            Ok(()) => break follower.know(writer),
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error:?}; status {}", follower.database().status()["follower"]),
        }
    }
    let reached = follower.database().position().sequence();
    assert_eq!(reached, writer.database().position().sequence(), "no commit of its own");
}

/// Both answer as the oracle does, at latest and at every position.
fn agree(follower: &mut World, writer: &World) {
    catch_up(follower, writer);
    let latest = Ask { entities: vec![0, 1, 2, 3], ..Ask::latest(writer, 0) };
    follower.check(&latest).expect("the follower answers as the oracle does");
    for position in 0..writer.acks.len() {
        let then = Ask { position: Some(position), ..latest.clone() };
        follower.check(&then).expect("and at each position");
    }
    for table in 0..writer.tables.len() {
        follower.check_scan(&Sweep::history(table)).expect("and in scans");
    }
}

fn reopened(follower: &World) -> u64 {
    follower.database().lag().expect("it follows").reopened
}

/// Follows the history of `seed`; now and then the bucket is out of reach, and the follower starts again.
fn check_history(seed: u64, steps: usize) {
    let mut history = generate(seed, Size { steps, rows: 60 });
    history.setting.home = true;
    let mut writer = begin(&history).expect("a world");
    let (mut follower, seen) = following(&writer);
    for (at, step) in history.steps.iter().enumerate() {
        let told = |error: String| panic!("seed {seed}, step {at} {step:?}: {error}");
        // A crash copies the bucket; nobody may see what the old one gets after that.
        if matches!(step, Step::Crash(_)) {
            seen.set(None);
        }
        run_step(&mut writer, &history, step).unwrap_or_else(told);
        let roll = (seed + at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
        if roll == 0 {
            seen.set(None);
            continue;
        }
        seen.set(Some(&writer.objects));
        if roll == 1 {
            follower.files = if at % 2 == 0 { follower.files.crash(seed) } else { follower.files.clone() };
            drop(follower.close());
            follow(&mut follower, &seen);
        }
        let asked = match step {
            Step::Ask(question) => Some(ask(&writer, &history, question)),
            _ => None,
        };
        if roll < 8 || asked.is_some() || matches!(step, Step::Scan(..)) {
            catch_up(&mut follower, &writer);
            let latest = Ask::latest(&writer, history.entities + 1);
            follower.check(&latest).map(drop).unwrap_or_else(told);
        }
        let last = follower.database().status()["follower"]["ingest_time"].as_i64().expect("a time");
        if let Some(asked) = asked.filter(|asked| asked.known_at.greatest().is_none_or(|known_at| known_at <= last)) {
            follower.check(&asked).map(drop).unwrap_or_else(told);
        }
        if let Step::Scan(question, asked) = step {
            let sweep = sweep(&writer, question, asked);
            if sweep.known_at.greatest().is_none_or(|known_at| known_at <= last) {
                follower.check_scan(&sweep).unwrap_or_else(told);
            }
        }
    }
    seen.set(Some(&writer.objects));
    catch_up(&mut follower, &writer);
    for table in 0..writer.tables.len() {
        follower.check_scan(&Sweep::history(table)).unwrap_or_else(|error| panic!("seed {seed}, at the end: {error}"));
    }
    follower.close().expect("a clean end");
}

#[test]
fn a_follower_of_random_histories_answers_as_the_oracle_does() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (first, count) = (number("FIRN_SEED", 1), number("FIRN_FOLLOWED", 60));
    (first..first + count).for_each(|seed| check_history(seed, 60));
}

#[test]
fn a_follower_goes_along_with_rows_files_schema_and_erases() {
    let mut writer = writer();
    let (mut follower, _) = following(&writer);
    let mut given_up = 0;
    for number in 0..40 {
        writer.apply(&row(number as usize % 4, number, number)).unwrap();
        match number {
            9 => writer.flush(None).unwrap(),
            15 => writer.add_feature(0, Feature::plain(1, "m", Type::Int64)).unwrap(),
            20 => writer.compact(None).unwrap(),
            25 => {
                assert_eq!(reopened(&follower), 0, "the log always goes on where the follower is");
                writer.erase(2, true).unwrap();
            }
            30 => {
                let features = vec![Feature::plain(0, "w", Type::Int64)];
                writer.create_table("u", false, Shape { features, ..Shape::default() }).map(drop).unwrap();
            }
            _ => {}
        }
        agree(&mut follower, &writer);
        if number == 25 {
            // An erase deletes the log with what it erased at once, and the follower may not have read that yet.
            given_up = reopened(&follower);
            assert!(given_up <= 1, "{given_up}");
        }
    }
    writer.change("drop_table", &json!({"table": "u"})).unwrap();
    let dropped = writer.tables.pop().expect("it was created");
    catch_up(&mut follower, &writer);
    let error = follower.database().catalog().table(&dropped.name).expect_err("it is dropped here too");
    assert_eq!(error.kind(), Kind::NotFound);
    let lag = follower.database().lag().unwrap();
    assert!(!lag.failing && lag.reopened == given_up && lag.lag < Duration::from_secs(10), "{lag:?}");
}

#[test]
fn a_follower_goes_on_where_it_was_after_a_restart() {
    let mut writer = writer();
    (0..20).for_each(|number| writer.apply(&row(number as usize % 4, number, number)).unwrap());
    writer.compact(None).unwrap();
    let (mut follower, seen) = following(&writer);
    agree(&mut follower, &writer);
    follower.close().unwrap();
    writer.apply(&row(1, 50, 50)).unwrap();
    let counted = Faulty::new(Arc::new(seen.clone()));
    let fetched = Arc::new(Mutex::new(0));
    let count = Arc::clone(&fetched);
    counted.watch(move |name, _| *count.lock() += u32::from(name.starts_with("data/")));
    open(&mut follower, counted).unwrap();
    agree(&mut follower, &writer);
    assert_eq!(*fetched.lock(), 0, "it has its files");
    // A disk that lost what was not synced is as good.
    follower.files = follower.files.crash(3);
    drop(follower.close());
    writer.apply(&row(2, 51, 51)).unwrap();
    follow(&mut follower, &seen);
    agree(&mut follower, &writer);
}

#[test]
fn a_follower_goes_on_when_the_writer_starts_again() {
    let mut writer = writer();
    let (mut follower, _) = following(&writer);
    for number in 0..6 {
        writer.apply(&row(0, number, number)).unwrap();
        if number % 2 == 0 {
            catch_up(&mut follower, &writer);
        }
        let before = follower.database().position();
        writer.reopen().unwrap();
        agree(&mut follower, &writer);
        let again = follower.database().parse_position(&before.to_string()).expect("a position of before is one still");
        assert_eq!(again.sequence(), before.sequence());
    }
    assert_eq!(reopened(&follower), 0, "the log always goes on where the follower is");
}

#[test]
fn a_follower_that_fell_behind_is_opened_anew_and_reads_go_on() {
    let mut writer = writer();
    writer.apply(&row(0, 1, 1)).unwrap();
    let (mut follower, seen) = following(&writer);
    agree(&mut follower, &writer);
    seen.set(None);
    let old = follower.database().clone();
    let before = Ask { entities: vec![0, 1, 2, 3], ..Ask::latest(&writer, 0) };
    let request = follower.request(&before).unwrap();
    let plan = old.plan(&old.catalog(), &request.point, &request.rows.schema()).unwrap();
    let snapshot = old.snapshot(&plan, &request.rows).unwrap();
    let answer = old.read(&plan, &snapshot, &request.rows).unwrap();
    for number in 0..30 {
        writer.apply(&row(number as usize % 4, 10 + number, number)).unwrap();
    }
    // The log before the root of the next epoch goes.
    writer.compact(None).unwrap();
    writer.reopen().unwrap();
    follower.check(&before).expect("what it has it serves while the bucket is out of reach");
    seen.set(Some(&writer.objects));
    agree(&mut follower, &writer);
    assert_eq!(reopened(&follower), 1);
    assert_eq!(old.read(&plan, &snapshot, &request.rows).unwrap(), answer, "a read that had begun goes on");
    let mixed = old.snapshot(&plan, &request.rows).and_then(|snapshot| old.read(&plan, &snapshot, &request.rows));
    assert_eq!(mixed.expect_err("its plan is of another opening").kind(), Kind::Unavailable);
    writer.apply(&row(3, 100, 100)).unwrap();
    agree(&mut follower, &writer);
}

/// Found by reading: after two roots that could not be put the writer left the one before them, and who followed that took the
/// log for whole although what it needed of it was deleted.
#[test]
fn a_follower_goes_on_after_roots_that_could_not_be_put() {
    let mut writer = writer();
    writer.close().unwrap();
    let faulty = writer.open_on_faulty();
    writer.apply(&row(0, 1, 1)).unwrap();
    let (mut follower, seen) = following(&writer);
    agree(&mut follower, &writer);
    seen.set(None);
    let failing = faulty.clone();
    faulty.watch(move |name, doing| {
        if name.starts_with("manifest/") && doing == "create" {
            failing.fail_call(1, Fault::Before);
        }
    });
    for number in 2..5 {
        writer.apply(&row(0, number, number)).unwrap();
        writer.freeze(None).expect_err("no root can be put");
    }
    faulty.heal();
    writer.freeze(None).unwrap();
    seen.set(Some(&writer.objects));
    agree(&mut follower, &writer);
}

/// Found by a schedule (seed 219): the follower had read a part of a file of the log that the next root did not need any more, and
/// took the next object for damaged for ever.
#[test]
fn a_follower_goes_on_when_a_root_comes_between_two_of_its_looks() {
    let mut writer = writer();
    let features = vec![Feature::plain(0, "w", Type::Int64)];
    writer.create_table("u", false, Shape { features, ..Shape::default() }).unwrap();
    writer.apply(&row(0, 1, 1)).unwrap();
    let faulty = Faulty::new(Arc::new(Seen::of(&writer.objects)));
    let mut follower = beside(&writer);
    open(&mut follower, faulty.clone()).unwrap();
    agree(&mut follower, &writer);
    let (waiting, done) = (Mutex::new(Some(writer)), Arc::new(Mutex::new(None)));
    let wrote = Arc::clone(&done);
    faulty.watch(move |name, doing| {
        if name.starts_with("manifest/")
            && doing == "look at"
            && let Some(mut writer) = waiting.lock().take()
        {
            writer.flush(None).unwrap();
            writer.apply(&row(0, 2, 2)).unwrap();
            // A root, while the row is in the log alone.
            writer.freeze(Some(1)).unwrap();
            *wrote.lock() = Some(writer);
        }
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    while done.lock().is_none() {
        assert!(Instant::now() < deadline, "it looks every millisecond");
        std::thread::sleep(Duration::from_millis(1));
    }
    let writer = done.lock().take().expect("it wrote");
    agree(&mut follower, &writer);
    assert_eq!(reopened(&follower), 0, "the log goes on where the follower is");
}

/// Roots replace each other while the follower goes along.
#[test]
fn a_follower_goes_along_while_roots_are_published() {
    let mut writer = writer();
    writer.close().unwrap();
    writer
        .open_with(|options| {
            options.background = true;
            options.flush_bytes_max = 256;
            options.home.as_mut().unwrap().policy.publish_bytes = 1;
        })
        .unwrap();
    let (mut follower, _) = following(&writer);
    let begun = Instant::now();
    let mut number = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        writer.apply(&row(number as usize % 4, number, number)).unwrap();
        number += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    agree(&mut follower, &writer);
    let status = follower.database().status();
    assert!(status["follower"]["root"].as_u64().is_some_and(|root| root > 3), "{status}");
}

#[test]
fn a_follower_never_shows_what_was_lost_with_the_writers_disk() {
    let mut writer = writer();
    writer.apply(&row(0, 1, 1)).unwrap();
    writer.close().unwrap();
    let faulty = Faulty::new(Arc::new(writer.objects.clone()));
    writer
        .open_with(|options| {
            let home = options.home.as_mut().unwrap();
            home.objects = Arc::new(faulty.clone());
            home.policy.acknowledge = Level::Local;
        })
        .unwrap();
    let (mut follower, _) = following(&writer);
    agree(&mut follower, &writer);
    faulty.fail_calls(1, 1 << 40, Fault::SlowDown);
    let lost = writer.send(&row(0, 2, 2)).unwrap().position.to_string();
    let parsed = follower.database().parse_position(&lost).unwrap();
    follower.database().wait_for(&parsed, Duration::from_millis(50)).expect_err("it is on the writer's disk alone");
    drop(writer.close());
    writer.files = Simulated::new();
    writer.open().unwrap();
    agree(&mut follower, &writer);
    writer.apply(&row(0, 2, 3)).unwrap();
    agree(&mut follower, &writer);
    assert_eq!(reopened(&follower), 0, "it had nothing to give up");
    let error = follower.database().parse_position(&lost).expect_err("that commit is lost");
    assert!(error.message().contains("lost with the disk"), "{error:?}");
}

/// A writer that was overtaken still lands an object of its log: nobody else knows it.
#[test]
fn a_follower_never_shows_what_an_overtaken_writer_wrote() {
    let mut before = writer();
    before.apply(&row(0, 1, 1)).unwrap();
    let (mut follower, seen) = following(&before);
    agree(&mut follower, &before);
    seen.set(None);
    let mut after = before.on(Simulated::new());
    after.objects = before.objects.clone();
    after.open().unwrap();
    let log = |objects: &Memory| {
        objects.names().into_iter().filter(|name| name.as_str().starts_with("wal/0000000001/")).count()
    };
    let swept = log(&before.objects);
    before.send(&row(0, 2, 666)).expect_err("another writer has the bucket");
    assert_eq!(log(&before.objects), swept + 1, "its object landed");
    seen.set(Some(&before.objects));
    agree(&mut follower, &after);
    after.apply(&row(0, 3, 3)).unwrap();
    agree(&mut follower, &after);
    assert_eq!(reopened(&follower), 0);
    drop(before.close());
}

#[test]
fn a_bucket_that_fails_now_and_then_delays_a_follower_and_no_more() {
    let mut writer = writer();
    let seen = Seen::of(&writer.objects);
    let faulty = Faulty::new(Arc::new(seen.clone()));
    let mut follower = beside(&writer);
    open(&mut follower, faulty.clone()).unwrap();
    let faults = [Fault::Before, Fault::SlowDown, Fault::Truncated, Fault::Longer, Fault::FlippedBit, Fault::TooMany];
    for number in 0..60 {
        for (call, fault) in faults.iter().enumerate() {
            faulty.fail_call(1 + (call as u64 * 7 + number) % 23, *fault);
        }
        writer.apply(&row(number as usize % 4, number as i64, number as i64)).unwrap();
        if number % 10 == 3 {
            writer.flush(None).unwrap();
            writer.reopen().unwrap();
        }
        if number % 3 == 0 {
            agree(&mut follower, &writer);
        }
    }
    agree(&mut follower, &writer);
    assert!(!follower.database().is_poisoned());
}

#[test]
fn a_follower_says_when_the_bucket_is_out_of_reach() {
    let writer = writer();
    let (mut follower, seen) = following(&writer);
    agree(&mut follower, &writer);
    seen.set(None);
    writer.clock.advance(5_000_000);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !follower.database().lag().unwrap().failing {
        assert!(Instant::now() < deadline, "it looks every millisecond");
        std::thread::sleep(Duration::from_millis(1));
    }
    let status = follower.database().status()["follower"].clone();
    assert!(status["lag_us"].as_u64().is_some_and(|lag| lag >= 5_000_000), "{status}");
    assert!(status["error"].as_str().is_some_and(|error| error.contains("out of reach")), "{status}");
    assert_eq!((&status["epoch"], &status["writer"]), (&json!(1), &json!("a test")));
}

#[test]
fn a_knowledge_bound_is_answered_up_to_the_last_commit() {
    let mut writer = writer();
    writer.apply(&row(0, 1, 1)).unwrap();
    let (mut follower, _) = following(&writer);
    agree(&mut follower, &writer);
    let last = follower.database().status()["follower"]["ingest_time"].as_i64().unwrap();
    let latest = Ask { entities: vec![0, 1, 2, 3], ..Ask::latest(&writer, 0) };
    let at = |micros| Ask { known_at: Limit::At { micros, exclusive: false }, ..latest.clone() };
    follower.check(&at(last)).unwrap();
    let request = follower.request(&at(last + 1)).unwrap();
    let error = follower.ask(&request).expect_err("the writer may have given that time already");
    assert!(error.kind() == Kind::OutOfRange && error.message().contains("ask the writer"), "{error:?}");
    let rows = |known_at| Limit::PerRow { micros: vec![last, last, last, known_at], exclusive: false };
    follower.check(&Ask { known_at: rows(last), ..latest.clone() }).unwrap();
    let request = follower.request(&Ask { known_at: rows(last + 1), ..latest.clone() }).unwrap();
    follower.ask(&request).expect_err("nor for one row");
    let moment = Moment { known_at: KnownAt::Time(last + 1), ..Moment::default() };
    follower.database().snapshot_of(&follower.database().catalog(), &["t"], &moment).expect_err("nor in a statement");
    writer.clock.advance(10);
    writer.apply(&row(0, 2, 2)).unwrap();
    agree(&mut follower, &writer);
    follower.check(&at(last + 1)).unwrap();
}

/// Every door that writes names who does.
#[test]
fn a_follower_writes_nothing() {
    let mut writer = writer();
    writer.apply(&row(0, 1, 1)).unwrap();
    let (mut follower, _) = following(&writer);
    agree(&mut follower, &writer);
    let database: &Database = follower.database();
    let catalog = database.catalog();
    let keys: Vec<_> =
        follower.keys.columns(&[0]).into_iter().map(|(field, keys)| (field.name().clone(), keys)).collect();
    let erase = EraseRequest { entity: ENTITY.to_owned(), keys: keys.clone(), block: false };
    let change = Change::parse("drop_table", &json!({"table": "t"})).unwrap();
    let refused = [
        follower.send(&row(0, 2, 2)).map(drop),
        database.change(&catalog, &change).map(drop),
        database.erase(&catalog, &erase).map(drop),
        database.unblock(&catalog, ENTITY, &keys).map(drop),
        database.flush(&catalog, None),
        database.compact(&catalog, None),
        database.reserve(10, Duration::ZERO).map(drop),
        database.terms(Some(Level::Object)).map(drop),
    ];
    for refused in refused {
        let error = refused.expect_err("a follower does not write");
        assert_eq!(error.kind(), Kind::Precondition);
        assert!(error.message().contains("a test writes"), "{error:?}");
    }
    agree(&mut follower, &writer);
}

#[test]
fn all_that_a_follower_has_is_durable() {
    let mut writer = writer();
    writer.fill(10, row);
    let (mut follower, _) = following(&writer);
    catch_up(&mut follower, &writer);
    let database = follower.database();
    assert_eq!(database.durable_position(), Some(database.position()));
    database.wait_for_durable(&database.position(), Duration::ZERO).unwrap();
    let mut request = follower.request(&Ask { entities: vec![0, 1], ..Ask::latest(&follower, 0) }).unwrap();
    let latest = follower.ask(&request).unwrap();
    request.point.durable = true;
    assert_eq!(follower.ask(&request).unwrap(), latest);
}

#[test]
fn a_directory_is_a_followers_or_a_writers() {
    let mut writer = writer();
    writer.apply(&row(0, 1, 1)).unwrap();
    let (mut follower, seen) = following(&writer);
    agree(&mut follower, &writer);
    follower.close().unwrap();
    let error = follower.open_with(|options| options.home = None).expect_err("commits of its own would be confused");
    assert!(error.kind() == Kind::Precondition && error.message().contains("follower's copy"), "{error:?}");
    follower.objects = writer.objects.clone();
    let error = follower.try_open().expect_err("a copy is not the writer's disk");
    assert!(error.message().contains("overtaken") || error.message().contains("--discard-local"), "{error:?}");
    writer.close().unwrap();
    let mut as_follower = writer.on(writer.files.clone());
    let error = open(&mut as_follower, seen.clone()).expect_err("it may have what nobody else has");
    assert!(error.message().contains("not a follower's"), "{error:?}");
    // Given up, it is a writer's, and no follower's any more.
    follower.open_with(|options| options.home.as_mut().unwrap().policy.discard_local = true).unwrap();
    follower.know(&writer);
    follower.apply(&row(0, 2, 2)).unwrap();
    follower.close().unwrap();
    open(&mut follower, seen.clone()).expect_err("it writes now");
    let mut early = beside(&writer);
    let empty = Seen::of(&Memory::new());
    let error = open(&mut early, empty.clone()).expect_err("there is nothing to follow");
    assert!(error.message().contains("no database yet"), "{error:?}");
}

/// What the writer erased leaves the follower's files too.
#[test]
fn erased_bytes_leave_the_files_of_a_follower() {
    const TRACE: i64 = 0x5eed_cafe_1234_5678;
    let mut writer = writer();
    let (mut follower, _) = following(&writer);
    for number in 0..20 {
        writer.apply(&row(number as usize % 4, number, if number % 4 == 2 { TRACE } else { number })).unwrap();
    }
    agree(&mut follower, &writer);
    let holds = |follower: &World| {
        let holds = |name: &String| follower.files.content(name).windows(8).any(|bytes| bytes == TRACE.to_le_bytes());
        follower.files.names().into_iter().filter(holds).collect::<Vec<_>>()
    };
    assert!(!holds(&follower).is_empty(), "its log has them");
    writer.erase(2, true).unwrap();
    agree(&mut follower, &writer);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds(&follower).is_empty() {
        assert!(Instant::now() < deadline, "{:?} still hold them", holds(&follower));
        std::thread::sleep(Duration::from_millis(5));
    }
    agree(&mut follower, &writer);
}

/// Whatever file call fails while a follower is opened, and wherever the power goes, the next opening has everything.
#[test]
fn a_follower_that_could_not_be_opened_is_opened_the_next_time() {
    let mut writer = writer();
    (0..12).for_each(|number| writer.apply(&row(number as usize % 4, number, number)).unwrap());
    writer.compact(None).unwrap();
    writer.reopen().unwrap();
    writer.apply(&row(1, 50, 50)).unwrap();
    let seen = Seen::of(&writer.objects);
    for call in 1.. {
        let mut follower = beside(&writer);
        follower.files.fail_from(call, FileFault::Io);
        let opened = open(&mut follower, seen.clone());
        if opened.is_ok() {
            assert!(call > 20, "only {call} calls");
            return;
        }
        drop(follower.close());
        follower.files = if call % 2 == 0 { follower.files.crash(call) } else { follower.files.clone() };
        follower.files.heal();
        follow(&mut follower, &seen);
        agree(&mut follower, &writer);
        follower.close().unwrap();
    }
}

/// Found by reading: what thawed on a follower could not leave its disk again, however much it was.
#[test]
fn a_follower_brings_no_ice_back_to_its_disk() {
    let mut writer = writer();
    writer.fill(40, row);
    writer.freeze(None).unwrap();
    let mut follower = beside(&writer);
    let ice = IcePolicy { cache_bytes_max: 0, ..IcePolicy::default() };
    open_with(&mut follower, Seen::of(&writer.objects), ice).unwrap();
    agree(&mut follower, &writer);
    while follower.database().compact_once().unwrap() {}
    assert!(follower.database().statistics().ice_requests.get() > 0, "it read ice");
    assert_eq!(follower.database().statistics().thawed.get(), 0);
    agree(&mut follower, &writer);
}
