//! What the log promises beside durability: producers exactly once, honest clocks, positions, snapshots, sealing.

use std::time::Duration;

use firn_storage::error::Kind;
use firn_storage::time::Clock;
use serde_json::json;

use super::{UNIT, asked, batch, refused, row, sent, world};
use crate::oracle::Value;
use crate::types::Type;
use crate::world::ask::{Ask, Limit};
use crate::world::keys::KeyShape;
use crate::world::{Batch, Deed, Feature, Setting, Shape, World};

fn produced(number: u64, previous: Option<u64>) -> Batch {
    Batch { producer: Some(("p".to_owned(), number, previous)), ..row(0, number as i64, number as i64) }
}

#[test]
fn producers_are_applied_exactly_once_across_restarts() {
    let mut world = world();
    let mut previous = None;
    for number in (10..40).step_by(3) {
        let write = produced(number, previous);
        world.apply(&write).unwrap();
        match number % 5 {
            0 => world.reopen().unwrap(),
            1 => world.crash(number).unwrap(),
            2 => world.flush(None).unwrap(),
            3 => world.compact(None).unwrap(),
            _ => {}
        }
        // Sent again, because the acknowledgement was lost: a duplicate, and not a row more.
        world.apply(&write).unwrap();
        refused(world.send(&produced(number + 1, Some(number - 1))), Kind::Precondition, &[&number.to_string()]);
        refused(world.send(&produced(number + 1, None)), Kind::Precondition, &[&number.to_string()]);
        // Who resumes asks where to go on.
        let (database, catalog) = (world.database(), world.database().catalog());
        assert_eq!(database.producer(&catalog, "t", "p").unwrap(), Some(number));
        assert_eq!(
            database.producers(&catalog, "t").unwrap().into_iter().collect::<Vec<_>>(),
            [("p".to_owned(), number)]
        );
        assert_eq!(database.producer(&catalog, "t", "q").unwrap(), None);
        refused(database.producers(&catalog, "nothing"), Kind::NotFound, &["nothing"]);
        previous = Some(number);
    }
    let other = Batch { producer: Some(("q".to_owned(), 1, Some(7))), ..row(0, 1, 1) };
    refused(world.send(&other), Kind::Precondition, &[]);
    // A duplicate is looked for first, whatever it says came before it.
    assert!(world.send(&produced(37, Some(37))).unwrap().duplicate);
    refused(world.send(&produced(36, Some(37))), Kind::Invalid, &["producer_seq"]);
    world.check(&Ask::latest(&world, 2)).unwrap();
    world.check_scan(&crate::world::scan::Sweep::history(0)).unwrap();
}

/// The rows of a producer's batch are all bad, so it is acknowledged without any.
fn all_bad(number: u64, previous: Option<u64>) -> Batch {
    Batch { rows: Vec::new(), bad_rows: 2, ..produced(number, previous) }
}

#[test]
fn an_acknowledged_number_without_rows_outlives_the_log_file_that_held_it() {
    for crash in [false, true] {
        let mut world = world();
        let features = vec![Feature::plain(0, "b_n", Type::Int64), Feature::plain(1, "b_s", Type::Text)];
        let other = world.create_table("b", false, Shape { features, ..Shape::default() }).unwrap();
        world.apply(&produced(1, None)).unwrap();
        world.flush(Some(0)).unwrap();
        world.apply(&all_bad(2, Some(1))).unwrap();
        world.apply(&Batch { table: other, ..row(0, 1, 1) }).unwrap();
        world.flush(Some(other)).unwrap();
        if crash {
            world.crash(2).unwrap()
        } else {
            world.reopen().unwrap()
        }
        world.apply(&produced(3, Some(2))).unwrap();
        // Once the table itself is flushed, the manifest knows the number and the log may go.
        world.apply(&all_bad(4, Some(3))).unwrap();
        world.flush(None).unwrap();
        let logs = world.files.names().iter().filter(|name| name.starts_with("wal/")).count();
        assert_eq!(logs, 1, "nothing is needed but the file that is being written");
        world.reopen().unwrap();
        world.apply(&produced(5, Some(4))).unwrap();
    }
}

#[test]
fn a_clock_that_jumps_stops_writes_until_the_database_is_opened_again() {
    for jump in [3_600_000_000, -3_600_000_000] {
        let mut world = world();
        world.apply(&row(0, 1, 1)).unwrap();
        world.clock.advance(1_000_000);
        world.apply(&row(0, 2, 2)).unwrap();
        world.clock.jump(jump);
        refused(world.send(&row(0, 3, 3)), Kind::Unavailable, &["clock", "clock-skew-max"]);
        let read = world.request(&Ask::latest(&world, 1)).unwrap();
        world.ask(&read).expect("reads go on");
        world.reopen().unwrap();
        world.apply(&row(0, 3, 3)).unwrap();
        world.check(&Ask::latest(&world, 1)).unwrap();
    }
}

#[test]
fn an_answered_bound_is_honoured_after_a_restart_with_an_earlier_clock() {
    for crash in [false, true] {
        let mut world = world();
        world.apply(&row(0, 1, 1)).unwrap();
        world.clock.advance(5_000_000);
        let known_at = world.clock.now();
        let at_now = Limit::At { micros: known_at, exclusive: false };
        let ask = Ask { known_at: at_now, ..Ask::latest(&world, 1) };
        world.check(&ask).unwrap();
        world.clock.set(known_at - 4_000_000);
        if crash {
            world.crash(3).unwrap()
        } else {
            world.reopen().unwrap()
        }
        let committed = world.send(&row(0, 2, 2)).unwrap();
        assert!(committed.ingest_time > known_at, "{} is not after {known_at}", committed.ingest_time);
        world.check(&ask).unwrap();
    }
}

#[test]
fn positions_that_are_not_of_this_log_or_not_yet_are_refused() {
    let mut world = world();
    let other = super::world();
    world.apply(&row(0, 1, 1)).unwrap();
    let mine = world.acks[0].position.clone();
    let at = |position: &str| {
        let mut request = world.request(&Ask::latest(&world, 1)).unwrap();
        request.point.position = Some(position.to_owned());
        world.ask(&request)
    };
    at(&mine).unwrap();
    for unknown in ["", "x", "1", "9999999999999999999999", &mine[1..], &format!("{mine}0000000000000000"), "é"] {
        refused(at(unknown), Kind::Invalid, &["position"]);
    }
    let (start, _) = mine.split_at(mine.len() - 1);
    refused(at(&format!("{start}f")), Kind::OutOfRange, &["position"]);
    refused(at(&other.database().position().to_string()), Kind::Invalid, &["position"]);

    let later = world.database().parse_position(&format!("{start}f")).unwrap();
    refused(world.database().wait_for(&later, Duration::from_millis(20)), Kind::Unavailable, &[]);
    let now = world.database().parse_position(&mine).unwrap();
    world.database().wait_for(&now, Duration::ZERO).unwrap();
    world.reopen().unwrap();
    world.check(&Ask { position: Some(0), ..Ask::latest(&world, 1) }).unwrap();
}

#[test]
fn a_snapshot_does_not_move() {
    let mut world = world();
    for number in 0..20 {
        world.apply(&row(number % 3, number as i64, number as i64)).unwrap();
    }
    let request = world.request(&Ask { clock: Some(0), ..Ask::latest(&world, 4) }).unwrap();
    let database = world.database().clone();
    let plan = database.plan(&asked(&database, &request.point), &request.point, &request.rows.schema()).unwrap();
    let snapshot = database.snapshot(&plan, &request.rows).unwrap();
    let before = database.read(&plan, &snapshot, &request.rows).unwrap();
    for number in 20..60 {
        world.apply(&row(number % 3, number as i64, number as i64)).unwrap();
        match number % 4 {
            0 => world.flush(None).unwrap(),
            1 => world.compact(None).unwrap(),
            _ => {}
        }
        assert_eq!(database.read(&plan, &snapshot, &request.rows).unwrap(), before);
    }
    drop(snapshot);
    world.check(&Ask::latest(&world, 4)).unwrap();
}

fn loading(times: &[i64]) -> Batch {
    let rows = times.iter().map(|_| sent(0, 1, vec![None, None])).collect();
    Batch {
        ingest_times: Some(times.to_vec()),
        ..batch(Deed::Write { columns: vec![0, 1], nulls_absent: false }, rows)
    }
}

#[test]
fn history_loads_go_only_forward_into_unsealed_tables() {
    let mut world = world();
    let now = world.clock.now();
    world.apply(&loading(&[-50, -50, 10])).unwrap();
    refused(world.send(&loading(&[9])), Kind::Invalid, &["ingest"]);
    refused(world.send(&loading(&[20, 19])), Kind::Invalid, &["ingest"]);
    refused(world.send(&loading(&[now + 10_000_000])), Kind::Invalid, &["future"]);
    world.apply(&loading(&[10, 10, 11])).unwrap();
    world.reopen().unwrap();
    refused(world.send(&loading(&[10])), Kind::Invalid, &["ingest"]);
    let known = Limit::At { micros: 10, exclusive: false };
    world.check(&Ask { known_at: known.clone(), ..Ask::latest(&world, 1) }).unwrap();
    // The first write without ingest times of its own seals, an explicit seal seals once.
    world.apply(&row(0, 2, 2)).unwrap();
    refused(world.send(&loading(&[now])), Kind::Precondition, &["seal"]);
    world.seal(0).unwrap();
    world.seal(0).unwrap();
    for micros in [-51, -50, 9, 10, 11, now] {
        let known_at = Limit::At { micros, exclusive: false };
        world.check(&Ask { known_at, ..Ask::latest(&world, 1) }).unwrap();
    }
    world.crash(1).unwrap();
    refused(world.send(&loading(&[now])), Kind::Precondition, &["seal"]);
    world.check(&Ask { known_at: known, ..Ask::latest(&world, 1) }).unwrap();
}

#[test]
fn rows_too_far_in_the_future_are_refused_whole() {
    let mut world = world();
    let features = vec![Feature::plain(0, "strict_n", Type::Int64), Feature::plain(1, "strict_s", Type::Text)];
    let strict = world.create_table("strict", false, Shape { features, ..Shape::default() }).unwrap();
    world.alter(strict, &json!({"set": {"max_future_skew": "5m"}}), |_| {}).unwrap();
    let minutes = |count: i64| world.clock.now() / super::UNIT + count * 60_000;
    let (near, far) = (minutes(4), minutes(6));
    let strictly = |write: Batch| Batch { table: strict, ..write };
    refused(world.send(&strictly(row(0, far, 1))), Kind::Invalid, &["max_future_skew"]);
    let delete = |event| strictly(batch(Deed::Delete, vec![sent(0, event, vec![])]));
    refused(world.send(&delete(far)), Kind::Invalid, &["max_future_skew"]);
    world.apply(&strictly(row(0, near, 1))).unwrap();
    world.apply(&delete(near)).unwrap();
    // A retract may name what was written before the skew was set.
    world.apply(&strictly(batch(Deed::Retract, vec![sent(0, far, vec![])]))).unwrap();
    world.check(&Ask::latest(&world, 2)).unwrap();
}

#[test]
fn empty_batches_change_nothing_and_do_not_seal() {
    let world = world();
    let before = world.database().position();
    let empty = batch(Deed::Write { columns: vec![0, 1], nulls_absent: false }, vec![]);
    let request = world.write_request(&empty);
    let proven = world.database().prove(&world.database().catalog(), &request, &world.record_batch(&empty)).unwrap();
    assert_eq!(world.database().write(proven.batch).unwrap().rows, 0);
    assert!(!world.database().catalog().table("t").unwrap().sealed);
    let _ = before;
}

#[test]
fn a_world_on_the_heap_answers_as_one_on_maps() {
    for map in [false, true] {
        let setting = Setting { map, start: 1_000_000, ..Setting::default() };
        let mut world = World::new(setting, crate::world::keys::KeyShape::Text).unwrap();
        let shape = Shape { features: vec![Feature::plain(0, "n", Type::Int64)], ..Shape::default() };
        world.create_table("t", false, shape).unwrap();
        let write = batch(Deed::Write { columns: vec![0], nulls_absent: true }, vec![sent(0, 1, vec![None])]);
        world.apply(&write).unwrap();
        world.flush(None).unwrap();
        world.reopen().unwrap();
        world.check(&Ask::latest(&world, 1)).unwrap();
    }
}

/// Seed 9551 of the histories: a merge cuts where a segment is full, also between two rows of one batch and event time,
/// whose sequences are the same.
#[test]
fn rows_of_one_batch_that_a_merge_parted_keep_their_order() {
    for segment_rows_max in 1..=5 {
        let mut world = World::new(Setting { segment_rows_max, ..Setting::default() }, KeyShape::Composite).unwrap();
        let features = vec![Feature::plain(0, "n", Type::Int64), Feature::plain(1, "s", Type::Text)];
        world.create_table("t", false, Shape { features, ..Shape::default() }).unwrap();
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        let texts = Deed::Write { columns: vec![1], nulls_absent: false };
        world.apply(&batch(texts, vec![sent(0, 4, vec![text("a")]), sent(0, 11, vec![text("b")])])).unwrap();
        let numbers = Deed::Write { columns: vec![0], nulls_absent: false };
        let number = |number: i64| Some(Value::Int(number.into()));
        world.apply(&batch(numbers, vec![sent(0, 0, vec![number(5)]), sent(0, 0, vec![None])])).unwrap();
        let both = Deed::Write { columns: vec![0, 1], nulls_absent: false };
        let rows = (0..4).map(|at| sent(1, 7, vec![number(at), text("c")])).collect();
        world.apply(&batch(both, rows)).unwrap();
        world.compact(None).unwrap();
        world.check(&Ask::latest(&world, 2)).unwrap();
        world
            .check(&Ask { as_of: Limit::At { micros: 12 * UNIT, exclusive: false }, ..Ask::latest(&world, 2) })
            .unwrap();
    }
}
