//! Erase: at once invisible at all bounds, then gone from every file, byte by byte.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, BooleanArray, Int64Array};
use firn_storage::database::EraseRequest;
use firn_storage::error::Kind;
use firn_storage::time::Clock;
use serde_json::json;

use super::{asked, batch, refused, sent, texts, world};
use crate::oracle::Value;
use crate::types::Type;
use crate::world::ask::{Ask, Limit};
use crate::world::keys::KeyShape;
use crate::world::plain::{number, of_numbers};
use crate::world::scan::Sweep;
use crate::world::{Batch, Deed, ENTITY, Feature, Setting, Shape, World};

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
    world.database().erase(&world.database().catalog(), &request).expect("a healthy disk")
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
fn a_receipt_says_how_many_files_went_from_the_disk_and_stays() {
    let mut world = filled();
    let with_rows = |world: &World| -> BTreeSet<String> {
        let folders = ["wal/", "segments/", "packs/", "dictionaries/"];
        let names = world.files.names().into_iter();
        names.filter(|name| folders.iter().any(|folder| name.starts_with(folder))).collect()
    };
    let before = with_rows(&world);
    let holds_it = |name: &&String| traces().iter().any(|(_, bytes)| holds(&world.files.content(name.as_str()), bytes));
    let held: BTreeSet<String> = before.iter().filter(holds_it).cloned().collect();
    assert!(held.len() > 2, "they lie in every kind of file: {held:?}");
    let receipt = erase(&mut world, key(), false);
    forget(&mut world, |entity| entity == GONE);
    assert_no_trace(&world);
    let after = with_rows(&world);
    let gone: BTreeSet<String> = before.difference(&after).cloned().collect();
    assert!(gone.is_superset(&held), "{held:?} of {gone:?}");
    let disk = &receipt["tiers"]["disk"];
    assert_eq!(receipt["tiers"], json!({"disk": disk}), "there is no bucket");
    assert_eq!(disk["removed"], gone.len(), "{gone:?}");
    let times = [&receipt["erased_at"], &disk["gone_at"], &receipt["purged_at"]].map(serde_json::Value::as_i64);
    assert!(times.is_sorted() && times[0].is_some(), "{receipt}");
    // Of an entity that is not there nothing is removed but the log, which says its key, and packs that may have held it.
    let again = erase(&mut world, key(), false);
    let gone: Vec<String> = after.difference(&with_rows(&world)).cloned().collect();
    assert!(!gone.is_empty() && gone.iter().all(|name| !name.starts_with("segments/")), "{gone:?}");
    assert_eq!(
        (again["entities"].as_u64(), &again["tiers"]["disk"]["removed"]),
        (Some(0), &json!(gone.len())),
        "{again}"
    );
    let told = world.receipts();
    assert_eq!(told["count"], 2);
    for field in ["entities", "erased_at", "purged_at", "tiers"] {
        assert_eq!((&told["receipts"][0][field], &told["receipts"][1][field]), (&receipt[field], &again[field]));
    }
    world.reopen().unwrap();
    assert_eq!(world.receipts(), told);
    world.crash(1).unwrap();
    assert_eq!(world.receipts(), told);
    let last = world.database().receipts(&world.database().catalog(), ENTITY, 1).unwrap();
    assert_eq!(last["receipts"], json!([told["receipts"][1]]));
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
fn an_erase_that_was_not_purged_outlives_the_log_file_that_held_it() {
    for seed in 0..5 {
        let mut world = filled();
        world.change("create_entity", &json!({"entity": "other", "key": [{"name": "o", "type": "int64"}]})).unwrap();
        let features = json!([{"name": "o_n", "type": "int64"}]);
        let other = json!({"table": "other_t", "entity": "other", "event_time": "at", "features": features});
        world.change("create_table", &other).unwrap();
        // No row keeps the log.
        world.flush(None).unwrap();
        world.erase(GONE, false).unwrap();
        ask_everything(&mut world);
        // A flush of a table of another entity removes what the manifest says of the log.
        world.database().flush(&world.database().catalog(), Some("other_t")).unwrap();
        world.crash(seed).unwrap();
        ask_everything(&mut world);
        world.compact(None).unwrap();
        ask_everything(&mut world);
        world.reopen().unwrap();
        ask_everything(&mut world);
    }
}

/// The receipts of all entities, in the files that hold what was erased.
fn receipts(world: &World) -> usize {
    let names = world.files.names().into_iter().filter(|name| name.starts_with("erasures/"));
    let receipt = b"\"ingest_time\":";
    let found = |name: String| world.files.content(&name).windows(receipt.len()).filter(|at| at == receipt).count();
    names.map(found).sum()
}

#[test]
fn an_erase_during_a_flush_is_replayed_once_and_takes_no_later_entity_with_it() {
    let mut world = World::new(Setting { start: 1_000_000, ..Setting::default() }, KeyShape::Text).unwrap();
    let features = vec![Feature::plain(0, "n", Type::Int64), Feature::plain(1, "s", Type::Text)];
    world.create_table("t", false, Shape { features, ..Shape::default() }).unwrap();
    world.apply(&marked(0, 1, 1, "stays")).unwrap();
    // While the dictionary is written, a new entity comes and is erased: the log alone knows of both.
    let late = (world.write_request(&marked(1, 2, 2, "late")), world.record_batch(&marked(1, 2, 2, "late")));
    let keys = world.keys.columns(&[1]).into_iter().map(|(field, values)| (field.name().clone(), values)).collect();
    let request = EraseRequest { entity: ENTITY.to_owned(), keys, block: false };
    let (database, files) = (world.database().clone(), world.files.clone());
    let after = Arc::new(Mutex::new(None));
    let (copied, begun) = (Arc::clone(&after), AtomicBool::new(false));
    world.files.watch(move |name, doing| {
        if doing != "create" {
            return;
        }
        if name.starts_with("dictionaries/") && !begun.swap(true, Ordering::SeqCst) {
            let written = database.write(database.prove(&database.catalog(), &late.0, &late.1).unwrap().batch).unwrap();
            let (eraser, request) = (database.clone(), request.clone());
            std::thread::spawn(move || eraser.erase(&eraser.catalog(), &request));
            let erased = format!("{:x}", written.position.sequence() + 1);
            let position = written.position.to_string().rsplit_once('-').unwrap().0.to_owned() + "-" + &erased;
            let position = database.parse_position(&position).unwrap();
            database.wait_for(&position, Duration::from_secs(60)).unwrap();
        } else if name.starts_with("wal/") && begun.load(Ordering::SeqCst) {
            // The purge is about to flush what the erase left in the log.
            copied.lock().unwrap().get_or_insert_with(|| files.copy());
        }
    });
    world.flush(None).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while after.lock().unwrap().is_none() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let copy = after.lock().unwrap().take().expect("the purge flushes");
    let mut after = world.on(copy);
    after.open().unwrap();
    ask_everything(&mut after);
    after.apply(&marked(2, 3, 3, "a later entity")).unwrap();
    ask_everything(&mut after);
    after.compact(None).unwrap();
    ask_everything(&mut after);
    assert_eq!(receipts(&after), 1);
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
fn what_is_unblocked_takes_rows_again_and_stays_so() {
    for seed in 0..6 {
        let mut world = filled();
        let blocked = |world: &World, keys: &[(String, ArrayRef)]| {
            let database = world.database();
            database.blocked(&database.catalog(), ENTITY, keys).expect("an entity")
        };
        let prefix = vec![key().remove(0)];
        erase(&mut world, prefix.clone(), true);
        forget(&mut world, |entity| entity / 4 == 1);
        assert_eq!(blocked(&world, &[])["count"], 1);
        assert_eq!(blocked(&world, &prefix)["blocked"], json!([true]));
        if seed % 2 == 0 {
            world.flush(None).unwrap();
        }
        // Only what was blocked is unblocked: the prefix, not a key under it.
        let under = key();
        for (keys, unblocked) in [(&under, 0), (&prefix, 1), (&prefix, 0)] {
            let answer = world.database().unblock(&world.database().catalog(), ENTITY, keys).expect("a healthy disk");
            assert_eq!(answer["unblocked"], unblocked);
            let again = marked(5, 700, 1, "again");
            if keys.len() == 3 {
                refused(world.send(&again), Kind::Precondition, &["erased"]);
            } else {
                world.apply(&again).unwrap();
            }
        }
        world.apply(&marked(4, 701, 1, "once more")).unwrap();
        ask_everything(&mut world);
        match seed % 3 {
            0 => world.crash(seed).unwrap(),
            1 => world.flush(None).and_then(|()| world.reopen()).unwrap(),
            _ => world.compact(None).and_then(|()| world.crash(seed)).unwrap(),
        }
        world.apply(&marked(6, 702, 1, "after a restart")).unwrap();
        assert_eq!(blocked(&world, &[]), json!({"entity": ENTITY, "count": 0, "by_key_columns": {}}));
        ask_everything(&mut world);
        erase(&mut world, prefix.clone(), true);
        assert!(world.send(&marked(5, 703, 1, "again")).is_err(), "it can be blocked again");
    }
}

#[test]
fn an_answer_at_an_older_position_says_that_something_was_erased_since() {
    let mut world = filled();
    let ack = world.acks.len() - 1;
    let erased_since = |world: &World, entity: usize, position: Option<usize>| {
        let ask = Ask { entities: vec![entity], position, ..Ask::latest(world, 0) };
        let request = world.request(&ask).unwrap();
        let plan = world
            .database()
            .plan(&asked(world.database(), &request.point), &request.point, &request.rows.schema())
            .unwrap();
        let snapshot = world.database().snapshot(&plan, &request.rows).unwrap();
        world.database().erased_since(&plan, &snapshot, &request.rows).unwrap()
    };
    assert!(erased_since(&world, GONE, Some(ack)).is_none());
    erase(&mut world, key(), false);
    assert!(erased_since(&world, GONE, Some(ack)).is_some());
    assert!(erased_since(&world, GONE - 1, Some(ack)).is_none(), "the erase touched another entity");
    assert!(erased_since(&world, GONE, None).is_none(), "the read saw the erase");
}

/// Found by an erase whose client had stopped waiting: two removed the same files of the log, and one of them missed those that
/// the other had removed.
#[test]
fn erases_at_once_miss_no_file_of_each_other() {
    let mut world = of_numbers(Setting { home: true, wal_bytes_max: 4096, start: 1_000_000, ..Setting::default() });
    for round in 0..20 {
        world.apply(&number(GONE, round, round)).unwrap();
        let database = world.database();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let request = EraseRequest { entity: ENTITY.to_owned(), keys: key(), block: false };
                    database.erase(&database.catalog(), &request).expect("a healthy disk and bucket");
                });
            }
        });
        world.know_erased(GONE);
    }
}
