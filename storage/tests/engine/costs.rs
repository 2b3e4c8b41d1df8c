//! What a database asks of its bucket, counted: the rules of the section on costs in `docs/storage-tiers.md`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use firn_storage::config::{FollowOptions, IcePolicy};
use firn_storage::io::simulated::Simulated;
use firn_storage::time::Clock;
use firn_storage::traffic::{Request, Tally};

use crate::oracle::Value;
use crate::world::ask::{Ask, Limit};
use crate::world::plain::{UNIT, batch, number as row, of_numbers, of_texts, sent};
use crate::world::scan::Sweep;
use crate::world::{Deed, Setting, World};

type Counts = BTreeMap<(String, Request), Tally>;

/// What the database of `world` asked of its bucket since it was opened.
fn traffic(world: &World) -> Counts {
    world.database().statistics().bucket.all()
}

/// The requests of each kind and folder that came after `before`, without those that there were none of.
fn since(world: &World, before: &Counts) -> BTreeMap<(String, &'static str), u64> {
    let earlier = |key: &(String, Request)| before.get(key).map_or(0, |tally| tally.requests);
    let counts = traffic(world).into_iter().map(|(key, tally)| {
        let count = tally.requests - earlier(&key);
        ((key.0, key.1.name()), count)
    });
    counts.filter(|(_, count)| *count > 0).collect()
}

fn counts<const N: usize>(expected: [(&str, &'static str, u64); N]) -> BTreeMap<(String, &'static str), u64> {
    expected.into_iter().map(|(folder, request, count)| ((folder.to_owned(), request), count)).collect()
}

fn world() -> World {
    of_numbers(Setting { home: true, start: 1_000_000, ..Setting::default() })
}

#[test]
fn an_object_of_the_log_costs_a_write_and_a_look() {
    let mut world = world();
    let before = traffic(&world);
    world.fill(7, row);
    assert_eq!(since(&world, &before), counts([("wal", "put", 7), ("epochs", "get", 7)]));
    let sent = traffic(&world)[&("wal".to_owned(), Request::Put)].sent_bytes;
    let there: u64 = world.objects.names().iter().filter(|name| name.as_str().starts_with("wal/")).count() as u64;
    assert!(there >= 7 && sent > 7 * 8, "{there} objects, {sent} bytes");
}

#[test]
fn reads_cost_nothing_but_of_what_is_known_now_an_object_a_minute() {
    let mut world = world();
    world.fill(12, row);
    world.compact(None).unwrap();
    // A flush ends a file of the log, and its end goes up when it may.
    settle(&world);
    let before = traffic(&world);
    let latest = Ask { entities: vec![0, 1, 2, 3, 4], ..Ask::latest(&world, 0) };
    let known = |world: &World| {
        let known_at = Limit::At { micros: world.clock.now(), exclusive: false };
        Ask { known_at, ..latest.clone() }
    };
    for event in 0..12 {
        let as_of = Limit::At { micros: event * UNIT, exclusive: false };
        world.check(&Ask { as_of, ..latest.clone() }).unwrap();
    }
    world.check_scan(&Sweep::history(0)).unwrap();
    assert_eq!(since(&world, &before), counts([]));
    let mut asked = 0;
    for seconds in [0, 1, 30, 20, 30, 30] {
        world.clock.advance(seconds * 1_000_000);
        let ask = known(&world);
        world.check(&ask).unwrap();
        asked += seconds;
    }
    let puts = since(&world, &before)[&("wal".to_owned(), "put")];
    assert!((1..=1 + asked as u64 / 60 + 1).contains(&puts), "{puts} in {asked} s");
    assert_eq!(since(&world, &before), counts([("wal", "put", puts), ("epochs", "get", puts)]));
}

#[test]
fn a_root_costs_its_new_files_and_lists_and_itself() {
    let mut world = world();
    world.fill(12, row);
    world.freeze(None).unwrap();
    world.fill(12, row);
    world.compact(None).unwrap();
    let (before, names) = (traffic(&world), world.objects.names());
    let database = world.database();
    database.create_checkpoint(&database.catalog(), "a").unwrap();
    let new = |folder: &str| {
        let there = world.objects.names().into_iter().filter(|name| name.as_str().starts_with(folder));
        there.filter(|name| !names.contains(name)).count() as u64
    };
    let found = since(&world, &before);
    let of = |folder: &str, request| found.get(&(folder.to_owned(), request)).copied().unwrap_or(0);
    assert!(new("data/") > 0, "the segments, packs and dictionaries that are new");
    assert_eq!(of("data", "put"), new("data/"));
    // One list, since one table changed; the Delta log lost a file, and so has one version more.
    assert_eq!(
        (of("lists", "put"), of("manifest", "put"), of("checkpoints", "put"), of("ice", "put")),
        (1, 1, 1, new("ice/"))
    );
    // A look after each object of the log and one after the root. The checkpoint reads what there is of the log.
    assert_eq!(of("epochs", "get"), of("wal", "put") + 1);
    // And it is listed for that.
    assert_eq!(found.iter().filter(|((_, request), _)| *request == "list").map(|(_, count)| count).sum::<u64>(), 1);
    // The next root of the same costs itself.
    let before = traffic(&world);
    world.database().drop_checkpoint("a").unwrap();
    let found = since(&world, &before);
    let puts: u64 = found.iter().filter(|((_, request), _)| *request == "put").map(|(_, count)| count).sum();
    assert_eq!((puts, found[&("manifest".to_owned(), "put")]), (1, 1), "{found:?}");
    assert_eq!(found[&("epochs".to_owned(), "get")], 1);
    assert!(found.keys().all(|(_, request)| *request != "list"), "nothing is listed: {found:?}");
}

/// Waits until `world` asks nothing of its bucket any more.
fn settle(world: &World) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut before, mut still) = (traffic(world), 0);
    while still < 10 {
        assert!(Instant::now() < deadline, "it asks on and on: {:?}", since(world, &before));
        std::thread::sleep(Duration::from_millis(50));
        let now = traffic(world);
        still = if now == before { still + 1 } else { 0 };
        before = now;
    }
}

#[test]
fn a_database_that_is_idle_asks_nothing() {
    let mut world = of_numbers(Setting { home: true, busy: true, start: 1_000_000, ..Setting::default() });
    world.close().unwrap();
    world
        .open_with(|options| {
            let policy = &mut options.home.as_mut().unwrap().policy;
            (policy.publish_interval, policy.ice.freeze_bytes_min) = (Duration::from_millis(1), 1);
        })
        .unwrap();
    world.fill(40, row);
    world.flush(None).unwrap();
    // Whatever it does by itself ends, and then there is nothing.
    settle(&world);
    let before = traffic(&world);
    let latest = Ask { entities: vec![0, 1, 2, 3], ..Ask::latest(&world, 0) };
    world.check(&latest).unwrap();
    // Publishing looks five times a second whether it is time.
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(since(&world, &before), counts([]));
}

#[test]
fn a_follower_without_news_asks_four_things_at_each_look_and_writes_nothing() {
    let mut writer = world();
    writer.fill(12, row);
    let mut follower = writer.on(Simulated::new());
    let (objects, interval) = (Arc::new(writer.objects.clone()), Duration::from_millis(1));
    let follow = FollowOptions { objects, interval, ice: IcePolicy::default(), checkpoint: None };
    follower
        .open_with(|options| (options.home, options.follow, options.background) = (None, Some(follow), true))
        .unwrap();
    let looks =
        |follower: &World| traffic(follower).get(&("wal".to_owned(), Request::Get)).map_or(0, |tally| tally.requests);
    let (begun, deadline) = (looks(&follower) + 20, Instant::now() + Duration::from_secs(60));
    while looks(&follower) < begun && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    // From here on it is level with the writer.
    let before = traffic(&follower);
    while looks(&follower) < begun + 100 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let found = since(&follower, &before);
    let of = |folder: &str| found[&(folder.to_owned(), "get")];
    let near = |count: u64, expected: u64| count.abs_diff(expected) <= 2;
    assert!(of("wal") >= 80 && near(of("epochs"), of("wal")) && near(of("manifest"), 2 * of("wal")), "{found:?}");
    assert!(found.keys().all(|(_, request)| *request == "get"), "{found:?}");
    follower.close().unwrap();
}

#[test]
fn cells_of_ice_cost_a_request_for_an_entity_at_most_and_nothing_the_second_time() {
    let mut world = world();
    let entities = 60;
    for round in 0..20 {
        (0..entities).for_each(|entity| world.apply(&row(entity, round, round)).unwrap());
    }
    world.compact(None).unwrap();
    world.freeze(None).unwrap();
    // What was frozen may have been opened anew.
    world.reopen().unwrap();
    let before = traffic(&world);
    let as_of = Limit::At { micros: 7 * UNIT, exclusive: false };
    let ask = Ask { as_of, entities: (0..entities).step_by(2).collect(), ..Ask::latest(&world, 0) };
    world.check(&ask).unwrap();
    let found = since(&world, &before);
    let requests = found[&("ice".to_owned(), "get")];
    assert!((1..=entities as u64 / 2).contains(&requests), "{found:?}");
    assert_eq!(found, counts([("ice", "get", requests)]));
    world.check(&ask).unwrap();
    assert_eq!(since(&world, &before), found, "what came stays in memory");
}

#[test]
fn a_freeze_reads_back_all_at_once_whatever_rows_have_a_cell() {
    let mut world = of_texts(Setting { home: true, start: 1_000_000, ..Setting::default() });
    let row = |number: i64| {
        let rare = (number % 4 == 0).then(|| Value::Int(number.into()));
        sent(0, number, vec![rare, Some(Value::Text(format!("text {number}")))])
    };
    world
        .apply(&batch(Deed::Write { columns: vec![0, 1], nulls_absent: true }, (0..20_000).map(row).collect()))
        .unwrap();
    world.compact(None).unwrap();
    let before = traffic(&world);
    world.freeze(None).unwrap();
    let found = since(&world, &before);
    assert_eq!(found[&("ice".to_owned(), "get")], 1, "{found:?}");
}
