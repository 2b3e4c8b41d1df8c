//! Retention: inside the horizon every answer stays what it was; before it, none is given.

use firn_storage::error::Kind;
use firn_storage::time::Clock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::{batch, refused, sent, world};
use crate::oracle::Value;
use crate::oracle::aggregate::{Aggregate, Column, Test, Window};
use crate::oracle::function::{Function, Pick, SumType};
use crate::world::ask::{Ask, Limit, given};
use crate::world::data::AHEAD;
use crate::world::scan::Sweep;
use crate::world::{Batch, Deed, Output, World};

/// What the tables keep, µs.
const KEEP: i64 = 20_000_000;
const ENTITIES: usize = 4;

fn some_batch(random: &mut StdRng, now: i64) -> Batch {
    let deed = match random.random_range(0..10) {
        0 => Deed::Delete,
        1 => Deed::Retract,
        2 => Deed::RetractCells(vec![random.random_range(0..2)]),
        _ => Deed::Write { columns: vec![0, 1], nulls_absent: true },
    };
    let writes = matches!(deed, Deed::Write { .. });
    let mut row = || {
        let number = random.random_range(0..1000);
        let mut cells = vec![Some(Value::Int(number)), Some(Value::Text(format!("kept {number}")))];
        cells.iter_mut().for_each(|cell| *cell = cell.take().filter(|_| random.random_bool(0.7)));
        let event = (now / 1000 - random.random_range(0..60_000)) / 500 * 500;
        sent(random.random_range(0..ENTITIES), event, if writes { cells } else { Vec::new() })
    };
    let rows = (0..3).map(|_| row()).collect();
    batch(deed, rows)
}

/// The number `number` of the aggregates that come and go, with windows of so many seconds.
fn aggregate(number: u32, windows: &[i64]) -> Vec<Output> {
    let (function, of, conditions) = match number {
        0 => (Function::Count, vec![], vec![]),
        1 => (Function::Sum(SumType::Int64), vec![Column::Feature(0)], vec![(0, Test::Greater(Value::Int(300)))]),
        2 => {
            let pick = Pick { n: Some(3), distinct: false, keep_nulls: true };
            (Function::Last(pick), vec![Column::Feature(1), Column::EventTime], vec![])
        }
        _ => (Function::Count, vec![Column::Feature(0)], vec![]),
    };
    let aggregate = Aggregate {
        name: format!("a{number}"),
        function,
        of,
        scale: 0,
        conditions,
        by: None,
        windows: windows.iter().map(|seconds| Window::Duration(seconds * 1_000_000)).collect(),
        delay: if number == 1 { 5_000_000 } else { 0 },
        default: None,
    };
    Output::all_of(aggregate, 1000 + number * 10)
}

/// Declares aggregates on the way: first narrow windows, later wider ones than rows were kept for.
fn evolve(world: &mut World, round: usize) {
    match round {
        0 => world.add_aggregate(0, aggregate(0, &[3, 20])),
        5 => world.add_aggregate(0, aggregate(1, &[10])),
        20 => world.add_aggregate(0, aggregate(2, &[40])),
        35 => world.alter(0, &json!({"retire_aggregates": ["a2"]}), |shape| {
            shape.outputs.retain(|output| output.aggregate.name != "a2");
        }),
        45 => world.add_aggregate(0, aggregate(3, &[60])),
        _ => Ok(()),
    }
    .unwrap();
}

/// Asks at random bounds inside the horizon, each open or a time of the last `KEEP` before `now`. Answers how many answers were
/// forgotten: none but those of windows that reach below what is kept for sure.
fn ask_inside(world: &mut World, random: &mut StdRng, events: bool, knowledge: bool) -> usize {
    let now = world.answered();
    let mut limit = |bound: bool, reach: i64| match random.random_range(0..3) {
        0 => Limit::Open,
        _ if !bound => Limit::At { micros: now - random.random_range(0..100_000_000), exclusive: false },
        1 => Limit::At { micros: now - random.random_range(0..=reach), exclusive: false },
        _ => {
            let micros = (0..ENTITIES).map(|_| now - random.random_range(0..=reach)).collect();
            Limit::PerRow { micros, exclusive: false }
        }
    };
    let (as_of, known_at) = (limit(events, KEEP - AHEAD), limit(knowledge, KEEP - AHEAD));
    if [&as_of, &known_at].into_iter().all(|limit| !matches!(limit, Limit::PerRow { .. })) {
        let sweep = Sweep { history: false, as_of: as_of.clone(), known_at: known_at.clone(), ..Sweep::history(0) };
        world.check_scan(&sweep).unwrap();
    }
    let answer = world.check(&Ask { as_of, known_at, ..Ask::latest(world, ENTITIES) }).unwrap();
    let answer = answer.expect("it is answered");
    let each = answer.columns().chunks(3).flat_map(|columns| (0..ENTITIES).map(|row| given(columns, row).0));
    each.filter(|status| status == "forgotten").count()
}

fn retain(seed: u64, events: bool, knowledge: bool) -> usize {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = world();
    let keep = "20s";
    if events {
        world.keep_events(0, KEEP).unwrap();
    }
    if knowledge {
        world.alter(0, &json!({"set": {"retention": {"keep_knowledge": keep}}}), |_| {}).unwrap();
    }
    let mut forgotten = 0;
    for round in 0..60 {
        evolve(&mut world, round);
        world.clock.advance(random.random_range(0..3_000_000));
        let write = some_batch(&mut random, world.clock.now());
        world.apply(&write).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        match random.random_range(0..10) {
            0 | 1 => world.flush(None).unwrap(),
            2 | 3 => world.compact(None).unwrap(),
            4 => world.reopen().unwrap(),
            5 => world.crash(seed).unwrap(),
            _ => {}
        }
        for _ in 0..4 {
            forgotten += ask_inside(&mut world, &mut random, events, knowledge);
        }
    }
    world.clock.advance(2 * KEEP);
    world.compact(None).unwrap();
    refuse_outside(&mut world, events, knowledge);
    world.reopen().unwrap();
    refuse_outside(&mut world, events, knowledge);
    for _ in 0..20 {
        forgotten += ask_inside(&mut world, &mut random, events, knowledge);
    }
    forgotten
}

fn refuse_outside(world: &mut World, events: bool, knowledge: bool) {
    let before = world.clock.now() - 2 * KEEP;
    let constant = Limit::At { micros: before, exclusive: false };
    let per_row = Limit::PerRow { micros: vec![before; ENTITIES], exclusive: false };
    for (bound, event_side) in [(events, true), (knowledge, false)] {
        if !bound {
            continue;
        }
        let ask = |limit: &Limit| {
            let latest = Ask::latest(world, ENTITIES);
            let (as_of, known_at) =
                if event_side { (limit.clone(), Limit::Open) } else { (Limit::Open, limit.clone()) };
            world.request(&Ask { as_of, known_at, ..latest }).unwrap()
        };
        refused(world.ask(&ask(&constant)).map(drop), Kind::OutOfRange, &["horizon"]);
        let (answer, _) = world.ask(&ask(&per_row)).unwrap();
        for row in 0..ENTITIES {
            assert_eq!(given(&answer.columns()[..3], row), ("forgotten".to_owned(), None, None));
        }
        let mut request = ask(&per_row);
        request.point.status = false;
        refused(world.ask(&request).map(drop), Kind::OutOfRange, &["row 0"]);
    }
}

#[test]
fn inside_the_horizon_every_answer_stays() {
    for seed in 0..40 {
        assert!(retain(seed, true, false) > 0, "seed {seed}: no window reached below what is kept");
        assert_eq!(retain(seed, false, true), 0, "seed {seed}: all events are kept");
        assert!(retain(seed, true, true) > 0, "seed {seed}: no window reached below what is kept");
    }
}

#[test]
fn rows_are_kept_as_far_before_the_horizon_as_windows_reach() {
    let mut world = world();
    world.keep_events(0, KEEP).unwrap();
    world.add_aggregate(0, aggregate(0, &[3, 20])).unwrap();
    world.add_aggregate(0, aggregate(1, &[10])).unwrap();
    let row = |event: i64| sent(0, event * 1000, vec![Some(Value::Int((event * 10).into())), None]);
    let write = Deed::Write { columns: vec![0], nulls_absent: false };
    world.apply(&batch(write, (1..=200).map(row).collect())).unwrap();
    world.clock.set(200_000_000);
    world.compact(None).unwrap();
    world.add_aggregate(0, aggregate(3, &[21])).unwrap();
    // The horizon is at 180 s, and rows after 160 s are kept.
    let mut statuses = |seconds: i64| {
        let as_of = Limit::At { micros: seconds * 1_000_000, exclusive: false };
        let answer = world.check(&Ask { as_of, ..Ask::latest(&world, 1) }).unwrap().unwrap();
        answer.columns()[6..].chunks_exact(3).map(|columns| given(columns, 0).0).collect::<Vec<_>>()
    };
    assert_eq!(statuses(180), ["value", "value", "value", "forgotten"]);
    assert_eq!(statuses(181), ["value", "value", "value", "value"]);
    // Where no status can say it, the request is refused.
    let as_of = Limit::At { micros: 180_000_000, exclusive: false };
    let mut request = world.request(&Ask { as_of, ..Ask::latest(&world, 1) }).unwrap();
    request.point.status = false;
    refused(world.ask(&request).map(drop), Kind::OutOfRange, &["row 0", "a3_21000ms", "retention"]);
}

#[test]
fn a_delete_stays_that_a_delayed_window_reaches_behind_a_newer_one() {
    let mut world = world();
    world.keep_events(0, KEEP).unwrap();
    world.alter(0, &json!({"set": {"retention": {"keep_knowledge": "20s"}}}), |_| {}).unwrap();
    world.add_aggregate(0, aggregate(1, &[10])).unwrap();
    let write = Deed::Write { columns: vec![0], nulls_absent: false };
    world.apply(&batch(write, vec![sent(0, 170_000, vec![Some(Value::Int(500))])])).unwrap();
    for event in [172_000, 173_000, 179_000] {
        world.apply(&batch(Deed::Delete, vec![sent(0, event, vec![])])).unwrap();
    }
    // This one is taken back.
    world.apply(&batch(Deed::Retract, vec![sent(0, 173_000, vec![])])).unwrap();
    world.clock.set(200_000_000);
    world.flush(None).unwrap();
    world.compact(None).unwrap();
    assert_eq!(segment_rows(&world), 4, "the write before all of them is gone");
    for seconds in 180..200 {
        let as_of = Limit::At { micros: seconds * 1_000_000, exclusive: false };
        let answer = world.check(&Ask { as_of, ..Ask::latest(&world, 1) }).unwrap().unwrap();
        let status = given(&answer.columns()[6..9], 0).0;
        assert_eq!(status, if seconds < 194 { "deleted" } else { "never" }, "at {seconds} s");
    }
}

#[test]
fn what_can_never_be_picked_again_leaves_the_disk() {
    let mut world = world();
    for what in ["keep_events", "keep_knowledge"] {
        world.alter(0, &json!({"set": {"retention": {what: "20s"}}}), |_| {}).unwrap();
    }
    let text = |text: &str| vec![None, Some(Value::Text(text.to_owned()))];
    let write =
        |event: i64, cells| batch(Deed::Write { columns: vec![0, 1], nulls_absent: true }, vec![sent(0, event, cells)]);
    let signup = vec![Some(Value::Int(1999)), None];
    world.apply(&write(1, signup)).unwrap();
    world.apply(&write(2, text("superseded long ago"))).unwrap();
    world.apply(&write(3, text("the last word"))).unwrap();
    world.clock.advance(10 * KEEP);
    world.flush(None).unwrap();
    world.compact(None).unwrap();
    world.check(&Ask::latest(&world, 1)).unwrap();
    let holds = |world: &World, what: &str| {
        world
            .files
            .names()
            .iter()
            .any(|name| world.files.content(name).windows(what.len()).any(|window| window == what.as_bytes()))
    };
    assert!(holds(&world, "the last word"));
    assert!(!holds(&world, "superseded long ago"), "nothing can pick this row any more");
    world.reopen().unwrap();
    world.check(&Ask::latest(&world, 1)).unwrap();
}

/// Does what compaction does by itself until it finds nothing to do: how many merges that were.
fn work_off(world: &World) -> u64 {
    let merges = || world.database().statistics().compactions.get();
    let before = merges();
    // A table is at rest once it was looked at and nothing came for three seconds.
    for _ in 0..2 {
        while world.database().compact_once().unwrap() {
            assert!(merges() - before < 10, "compaction finds no end");
        }
        world.clock.advance(4_000_000);
    }
    merges() - before
}

fn segment_rows(world: &World) -> u64 {
    let status = world.database().status();
    status["tables"][0]["rows"].as_u64().expect("a status has rows")
}

#[test]
fn what_lies_before_the_horizon_is_forgotten_by_itself_and_then_left_alone() {
    for what in [&["keep_events"][..], &["keep_events", "keep_knowledge"]] {
        let mut world = world();
        for what in what {
            world.alter(0, &json!({"set": {"retention": {*what: "20s"}}}), |_| {}).unwrap();
        }
        let row = |entity: usize, event: i64| sent(entity, event, vec![Some(Value::Int(event.into())), None]);
        let rows = (0..200).flat_map(|event| (0..10).map(move |entity| row(entity, event))).collect();
        world.apply(&batch(Deed::Write { columns: vec![0], nulls_absent: false }, rows)).unwrap();
        world.flush(None).unwrap();
        assert_eq!((work_off(&world), segment_rows(&world)), (0, 2000), "nothing lies before the horizon");
        world.clock.advance(KEEP * 10);
        assert!(work_off(&world) > 0, "{what:?}: nothing is forgotten");
        assert_eq!(segment_rows(&world), 10, "{what:?}: the newest row of each entity stays, and nothing else");
        world.check(&Ask::latest(&world, 10)).unwrap();
        for _ in 0..3 {
            world.clock.advance(KEEP * 10);
            assert_eq!(work_off(&world), 0, "{what:?}: rows that must stay are no reason to merge again");
            world.reopen().unwrap();
        }
        world.check(&Ask::latest(&world, 10)).unwrap();
    }
}

#[test]
fn rows_beside_tombstones_in_memory_wait_for_them_before_they_are_forgotten() {
    let mut world = world();
    world.alter(0, &json!({"set": {"retention": {"keep_events": "20s"}}}), |_| {}).unwrap();
    let rows = (0..100).map(|event| sent(0, event, vec![Some(Value::Int(event.into())), None])).collect();
    world.apply(&batch(Deed::Write { columns: vec![0], nulls_absent: false }, rows)).unwrap();
    world.flush(None).unwrap();
    world.apply(&batch(Deed::Retract, vec![sent(0, 99, vec![])])).unwrap();
    world.clock.advance(KEEP * 10);
    assert_eq!(work_off(&world), 0, "the retract is not in a segment");
    world.flush(None).unwrap();
    assert!(work_off(&world) > 0);
    assert_eq!(work_off(&world), 0, "the tombstone keeps all, and is no reason to merge again");
    world.check(&Ask::latest(&world, 1)).unwrap();
}
