//! Erase: at once invisible at all bounds, then gone from every file, byte by byte.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int64Array};
use firn_storage::database::EraseRequest;
use firn_storage::error::Kind;
use firn_storage::time::Clock;

use super::{batch, refused, sent, texts, world};
use crate::oracle::Value;
use crate::world::ask::{Ask, Limit};
use crate::world::scan::Sweep;
use crate::world::{Batch, Deed, ENTITY, World};

/// The entity that is erased; of the composite key (1, "e\0", true).
const GONE: usize = 7;
/// What only its rows hold: the least and the greatest value, event time and text.
const LEAST: i64 = -0x1122_3344_5566_7788;
const GREATEST: i64 = 0x1122_3344_5566_7788;
const TEXTS: [&str; 2] = ["AAAA the least text AAAA", "zzzz the greatest text zzzz"];

fn marked(entity: usize, event: i64, number: i64, text: &str) -> Batch {
    let cells = vec![Some(Value::Int(number.into())), Some(Value::Text(text.to_owned()))];
    batch(Deed::Write { columns: vec![0, 1], nulls_absent: false }, vec![sent(entity, event, cells)])
}

/// Rows of the entity in every place that keeps rows: packs, segments, memtables and the log.
fn filled() -> World {
    let mut world = world();
    for entity in 0..10 {
        world.apply(&marked(entity, 10 + entity as i64, 5, &format!("middle {entity}"))).unwrap();
    }
    world.apply(&marked(GONE, LEAST / 1_000_000, LEAST, TEXTS[0])).unwrap();
    world.flush(None).unwrap();
    world.apply(&marked(GONE, GREATEST / 1_000_000, GREATEST, TEXTS[1])).unwrap();
    world.compact(None).unwrap();
    world.apply(&marked(GONE, 500, GREATEST, TEXTS[1])).unwrap();
    world.flush(None).unwrap();
    world.apply(&marked(GONE, 501, LEAST, TEXTS[0])).unwrap();
    world.apply(&batch(Deed::RetractCells(vec![0]), vec![sent(GONE, 500, vec![])])).unwrap();
    world
}

fn key() -> Vec<(String, ArrayRef)> {
    vec![
        ("k".to_owned(), Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("k2".to_owned(), texts(&["e\u{0}1"])),
        ("k3".to_owned(), Arc::new(BooleanArray::from(vec![true]))),
    ]
}

fn erase(world: &mut World, keys: Vec<(String, ArrayRef)>, block: bool) -> serde_json::Value {
    let request = EraseRequest { entity: ENTITY.to_owned(), keys, block };
    world.database().erase(&request).expect("a healthy disk")
}

/// The oracle forgets an entity.
fn forget(world: &mut World, gone: impl Fn(usize) -> bool) {
    world.tables[0].rows.retain(|row| !gone(row.entity));
}

fn ask_everything(world: &mut World) {
    let latest = Ask::latest(world, 12);
    world.check(&latest).unwrap();
    let known_at = Limit::At { micros: world.clock.now(), exclusive: false };
    world.check(&Ask { known_at, ..latest.clone() }).unwrap();
    for ack in 0..world.acks.len() {
        world.check(&Ask { position: Some(ack), ..latest.clone() }).unwrap();
        let as_of = Limit::At { micros: 500_000, exclusive: false };
        world.check(&Ask { position: Some(ack), as_of, ..latest.clone() }).unwrap();
    }
    world.check_scan(&Sweep::history(0)).unwrap();
    world.check_scan(&Sweep { history: false, ..Sweep::history(0) }).unwrap();
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// Every byte pattern that only the erased rows had, in both orders of bytes.
fn traces() -> Vec<(String, Vec<u8>)> {
    let mut traces: Vec<(String, Vec<u8>)> = Vec::new();
    let times = [LEAST / 1_000_000 * 1000, GREATEST / 1_000_000 * 1000];
    for number in [LEAST, GREATEST].into_iter().chain(times) {
        traces.push((format!("{number} little-endian"), number.to_le_bytes().to_vec()));
        traces.push((format!("{number} big-endian"), number.to_be_bytes().to_vec()));
        traces.push((format!("{number} as a key"), (number ^ i64::MIN).to_be_bytes().to_vec()));
        traces.push((format!("{number} as text"), number.to_string().into_bytes()));
    }
    traces.extend(TEXTS.iter().map(|text| ((*text).to_owned(), text.as_bytes().to_vec())));
    traces.extend(TEXTS.iter().map(|text| (format!("prefix of {text}"), text.as_bytes()[..8].to_vec())));
    traces
}

fn assert_no_trace(world: &World) {
    for name in world.files.names() {
        let content = world.files.content(&name);
        for (what, bytes) in traces() {
            assert!(!holds(&content, &bytes), "{name} still holds {what}");
        }
    }
}

#[test]
fn an_erased_entity_is_invisible_at_once_and_then_gone_from_every_file() {
    let mut world = filled();
    let before: Vec<String> = world.files.names();
    for (what, bytes) in traces().iter().filter(|(what, _)| what.ends_with("little-endian")) {
        let found = before.iter().any(|name| holds(&world.files.content(name), bytes));
        assert!(found, "{what} is nowhere even before the erase: the search proves nothing");
    }
    let receipt = erase(&mut world, key(), false);
    assert!(receipt.is_object(), "{receipt}");
    forget(&mut world, |entity| entity == GONE);
    ask_everything(&mut world);
    world.flush(None).unwrap();
    world.compact(None).unwrap();
    ask_everything(&mut world);
    assert_no_trace(&world);
    world.reopen().unwrap();
    ask_everything(&mut world);
    // What comes later is a new entity, without the past of the old one.
    world.apply(&marked(GONE, 600, 1, "again")).unwrap();
    ask_everything(&mut world);
    world.compact(None).unwrap();
    world.reopen().unwrap();
    ask_everything(&mut world);
}

#[test]
fn an_erase_survives_power_loss_before_anything_was_purged() {
    for seed in 0..20 {
        let mut world = filled();
        erase(&mut world, key(), false);
        forget(&mut world, |entity| entity == GONE);
        world.crash(seed).unwrap();
        ask_everything(&mut world);
        world.flush(None).unwrap();
        world.compact(None).unwrap();
        ask_everything(&mut world);
        assert_no_trace(&world);
    }
}

#[test]
fn a_prefix_erases_all_entities_under_it_and_a_block_keeps_them_away() {
    let mut world = filled();
    let prefix = vec![key().remove(0)];
    erase(&mut world, prefix, true);
    // Entities 4 to 7 have 1 in their first key column.
    forget(&mut world, |entity| entity / 4 == 1);
    ask_everything(&mut world);
    for reopened in [false, true] {
        if reopened {
            world.compact(None).unwrap();
            world.reopen().unwrap();
        }
        let blocked = world.send(&marked(5, 700, 1, "again"));
        refused(blocked, Kind::Precondition, &["erased"]);
        world.apply(&marked(3, 700, 1, "a neighbour")).unwrap();
        ask_everything(&mut world);
    }
    assert_no_trace(&world);
}

#[test]
fn an_answer_at_an_older_position_says_that_something_was_erased_since() {
    let mut world = filled();
    let ack = world.acks.len() - 1;
    let erased_since = |world: &World, entity: usize, position: Option<usize>| {
        let ask = Ask { entities: vec![entity], position, ..Ask::latest(world, 0) };
        let request = world.request(&ask).unwrap();
        let plan = world.database().plan(&request.point, &request.rows.schema()).unwrap();
        let snapshot = world.database().snapshot(&plan, &request.rows).unwrap();
        world.database().erased_since(&plan, &snapshot, &request.rows).unwrap()
    };
    assert!(erased_since(&world, GONE, Some(ack)).is_none());
    erase(&mut world, key(), false);
    assert!(erased_since(&world, GONE, Some(ack)).is_some());
    assert!(erased_since(&world, GONE - 1, Some(ack)).is_none(), "the erase touched another entity");
    assert!(erased_since(&world, GONE, None).is_none(), "the read saw the erase");
}
