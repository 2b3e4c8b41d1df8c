//! The hot window of a table: which of its frozen segments leave the disk while there is room, and that no read notices.

use firn_storage::error::Kind;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::histories::generator::{History, Size, UNIT, generate};
use crate::histories::runner::{begin, run_step};
use crate::promises::digest;
use crate::world::ask::{Ask, Limit};
use crate::world::plain::{of_texts, text as row};
use crate::world::scan::Sweep;
use crate::world::{Batch, Setting, Shape, World};

const SECOND: i64 = 1_000_000;

/// A world with a bucket, in which what is frozen stays on the disk but for its window; its clock stands at 1,000 s.
fn world() -> World {
    of_texts(Setting { home: true, hot: true, start: 1000 * SECOND, ..Setting::default() })
}

/// Bytes of frozen segments that are on the disk.
fn hot_bytes(world: &World) -> u64 {
    world.database().status()["ice"]["hot_bytes"].as_u64().expect("a bucket")
}

/// How many frozen segments are on the disk: each has a rows part there, wherever its cells are.
fn hot(world: &World) -> u64 {
    let files = world.files.names().into_iter().filter(|name| name.starts_with("segments/")).count() as u64;
    files - world.database().status()["ice"]["segments"].as_u64().expect("a bucket")
}

fn set_window(world: &mut World, table: usize, window: &str) {
    world.alter(table, &json!({"set": {"hot_window": window}}), |_| {}).unwrap();
}

/// Does all that the database does by itself.
fn settle(world: &World) {
    while world.database().compact_once().unwrap() {}
}

/// Four rows of `table` at a second of event time, frozen.
fn freeze_at(world: &mut World, table: usize, second: i64) {
    for entity in 0..4 {
        let batch = row(entity, second * SECOND / UNIT, second);
        world.apply(&Batch { table, ..batch }).unwrap();
    }
    world.freeze(None).unwrap();
}

#[test]
fn what_is_older_than_the_window_of_its_table_leaves_and_the_rest_stays() {
    let mut world = world();
    freeze_at(&mut world, 0, 0);
    let each = hot(&world);
    freeze_at(&mut world, 0, 950);
    assert_eq!((each > 0, hot(&world)), (true, 2 * each), "without a window all stays");
    set_window(&mut world, 0, "100s");
    settle(&world);
    assert_eq!(hot(&world), each);
    world.reopen().unwrap();
    settle(&world);
    assert_eq!(hot(&world), each, "also after a restart");
    // Time alone moves nothing: what counts is when the last commit was.
    world.clock.advance(200 * SECOND);
    settle(&world);
    assert_eq!(hot(&world), each);
    freeze_at(&mut world, 0, 1190);
    assert_eq!(hot(&world), each, "one came, one went");
    set_window(&mut world, 0, "none");
    freeze_at(&mut world, 0, 5);
    assert_eq!(hot(&world), 2 * each, "what left comes not back, and what is new stays");
    set_window(&mut world, 0, "0s");
    settle(&world);
    assert_eq!(hot(&world), 0);
    let latest = Ask { entities: vec![0, 1, 2, 3, 4], ..Ask::latest(&world, 0) };
    for second in [0, 5, 6, 950, 1190] {
        let as_of = Limit::At { micros: second * SECOND, exclusive: false };
        world.check(&Ask { as_of, ..latest.clone() }).expect("as of the past");
    }
    world.check_scan(&Sweep::history(0)).expect("all rows");
}

#[test]
fn for_room_leaves_first_what_no_window_keeps() {
    let mut world = world();
    let features = world.tables[0].shape.features.clone();
    world.create_table("u", false, Shape { features, ..Shape::default() }).unwrap();
    set_window(&mut world, 1, "900s");
    // The older ones are those of the table with the window.
    freeze_at(&mut world, 1, 500);
    let within = hot_bytes(&world);
    freeze_at(&mut world, 0, 990);
    let all = hot_bytes(&world);
    world.close().unwrap();
    let reopen = |world: &mut World, most: u64| {
        world
            .open_with(|options| {
                let ice = &mut options.home.as_mut().unwrap().policy.ice;
                (ice.hot_bytes_max, ice.thawed_bytes_max) = (most, 0);
            })
            .unwrap();
        settle(world);
    };
    reopen(&mut world, within);
    assert!(within < all);
    assert_eq!(hot_bytes(&world), within);
    let requests = |world: &World| world.database().statistics().ice_requests.get();
    world.check_scan(&Sweep::history(1)).expect("all rows");
    assert_eq!(requests(&world), 0, "they are on the disk");
    world.check_scan(&Sweep::history(0)).expect("all rows");
    assert!(requests(&world) > 0, "they are in the bucket");
    // A window promises no room.
    world.close().unwrap();
    reopen(&mut world, 0);
    assert_eq!(hot_bytes(&world), 0);
    world.check_scan(&Sweep::history(1)).expect("all rows");
}

/// What a world with windows answers, and one without a bucket: the digests are equal.
fn check_answers(random: &mut StdRng, worlds: &mut [World; 2], history: &History) {
    for _ in 0..6 {
        let micros = random.random_range(-5..40) * UNIT;
        let as_of = [Limit::Open, Limit::At { micros, exclusive: random.random() }][random.random_range(0..2)].clone();
        let acks = worlds[0].acks.len();
        let position = (acks > 0 && random.random_bool(0.5)).then(|| random.random_range(0..acks));
        let [hot, cold] = worlds.each_mut().map(|world| {
            // A clock of its own begins later after a crash if there is a bucket.
            let ask = Ask {
                as_of: as_of.clone(),
                position,
                clock: Some(20 * UNIT),
                ..Ask::latest(world, history.entities + 1)
            };
            world.request(&ask).map(|request| digest(world, &request).map_err(|error| error.kind()))
        });
        assert_eq!(hot, cold, "{as_of:?} {position:?}");
    }
}

/// Runs a random history in a world whose tables get other windows on the way, and in one that has no bucket; whether anything was
/// read from the bucket, and whether anything stayed at the end.
fn check_history(seed: u64) -> (bool, bool) {
    let mut history = generate(seed, Size { steps: 60, rows: 60 });
    let mut random = StdRng::seed_from_u64(seed ^ 0x407);
    let cold = begin(&history).expect("a world");
    history.setting = Setting { home: true, hot: true, ..history.setting };
    let mut worlds = [begin(&history).expect("a world"), cold];
    let mut windows = vec!["none"; history.tables.len()];
    let mut read = 0;
    for (at, step) in history.steps.iter().enumerate() {
        for world in &mut worlds {
            let told = |error: String| panic!("seed {seed}, step {at} {step:?}: {error}");
            run_step(world, &history, step).unwrap_or_else(told);
        }
        if random.random_bool(0.2) {
            let table = random.random_range(0..windows.len());
            let window = ["none", "0s", "1ms", "10ms", "40ms"][random.random_range(0..5)];
            if window != std::mem::replace(&mut windows[table], window) {
                worlds.iter_mut().for_each(|world| set_window(world, table, window));
            }
            worlds.iter().for_each(settle);
            check_answers(&mut random, &mut worlds, &history);
            read += worlds[0].database().statistics().ice_requests.get();
        }
    }
    for table in 0..history.tables.len() {
        worlds[0].check_scan(&Sweep::history(table)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    (read > 0, hot_bytes(&worlds[0]) > 0)
}

#[test]
fn random_histories_answer_the_same_whatever_the_windows_are() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (first, count) = (number("FIRN_SEED", 1), number("FIRN_WINDOWED", 60));
    let done: Vec<(bool, bool)> = (first..first + count).map(check_history).collect();
    assert!(done.iter().any(|(read, _)| *read), "nothing ever left");
    assert!(done.iter().any(|(read, stayed)| *read && *stayed), "nothing ever stayed beside what left");
}

#[test]
fn a_window_is_a_duration_and_needs_no_bucket() {
    let mut world = of_texts(Setting { start: SECOND, ..Setting::default() });
    set_window(&mut world, 0, "90d");
    let change = json!({"table": "t", "set": {"hot_window": 90}});
    let database = world.database();
    let change = firn_storage::model::declare::Change::parse("alter_table", &change);
    let error = change.and_then(|change| database.change(&database.catalog(), &change)).expect_err("no duration");
    assert!(error.kind() == Kind::Invalid && error.message().contains("hot_window"), "{error:?}");
    let described = firn_storage::model::describe::describe_table(&database.catalog(), "t").unwrap();
    assert_eq!(described["hot_window"], "90d");
}
