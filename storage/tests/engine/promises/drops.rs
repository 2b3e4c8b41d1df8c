//! Dropped tables: their files go at once, and nothing that was under way brings them back or holds their bytes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arrow_array::ArrayRef;
use firn_storage::database::{Database, EraseRequest};
use firn_storage::error::{Error, Kind};
use firn_storage::io::Files;
use firn_storage::model::declare::Change;
use serde_json::json;

use super::{batch, sent, world};
use crate::oracle::Value;
use crate::types::Type;
use crate::world::hooked::{Doing, hooked};
use crate::world::{Batch, Deed, ENTITY, Feature, Shape, World};

/// What only the rows of the dropped table hold.
const SECRET: &str = "a text of the dropped table";
/// Entities of both buckets.
const ENTITIES: usize = 8;

/// A world with two tables, `t` with the secret and `u` without. Both have rows of all entities.
fn filled() -> World {
    let mut world = world();
    let features = vec![Feature::plain(0, "n", Type::Int64), Feature::plain(1, "s", Type::Text)];
    world.create_table("u", false, Shape { features, ..Shape::default() }).unwrap();
    for table in [0, 1] {
        world.apply(&rows(table)).unwrap();
    }
    world
}

fn rows(table: usize) -> Batch {
    let text = if table == 0 { SECRET } else { "of the other" };
    let row = |entity| sent(entity, 1, vec![Some(Value::Int(1)), Some(Value::Text(text.to_owned()))]);
    Batch { table, ..batch(Deed::Write { columns: vec![0, 1], nulls_absent: false }, (0..ENTITIES).map(row).collect()) }
}

fn holders(world: &World) -> Vec<String> {
    let holds =
        |name: &String| world.files.content(name).windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
    world.files.names().into_iter().filter(holds).collect()
}

fn published(world: &World) -> Vec<String> {
    let folders = ["segments/", "packs/", "dictionaries/"];
    world.files.names().into_iter().filter(|name| folders.iter().any(|folder| name.starts_with(folder))).collect()
}

fn drop_t(database: &Database) -> Result<(), Error> {
    database.change(&database.catalog(), &Change::parse("drop_table", &json!({"table": "t"}))?).map(drop)
}

fn erase_all(world: &World, database: &Database) -> Result<serde_json::Value, Error> {
    let entities: Vec<usize> = (0..ENTITIES).collect();
    let columns = world.keys.columns(&entities);
    let keys: Vec<(String, ArrayRef)> =
        columns.into_iter().map(|(field, array)| (field.name().clone(), array)).collect();
    database.erase(&database.catalog(), &EraseRequest { entity: ENTITY.to_owned(), keys, block: false })
}

#[test]
fn the_files_of_a_dropped_table_go_at_once() {
    let mut world = filled();
    world.compact(None).unwrap();
    assert!(!holders(&world).is_empty(), "the search proves nothing");
    let before = published(&world).len();
    drop_t(world.database()).unwrap();
    assert_eq!(holders(&world), Vec::<String>::new());
    assert!(published(&world).len() < before);
    world.change("drop_table", &json!({"table": "u"})).unwrap();
    world.change("drop_entity", &json!({"entity": ENTITY})).unwrap();
    assert_eq!(published(&world), Vec::<String>::new());
    world.reopen().unwrap();
    assert_eq!(published(&world), Vec::<String>::new());
}

#[test]
fn a_drop_that_only_the_log_knows_takes_its_files_along_at_the_next_opening() {
    let mut world = filled();
    world.compact(None).unwrap();
    world.close().unwrap();
    // The edit of the drop cannot be written: no manifest is created.
    let full = hooked(world.door(), |doing, name| match doing {
        Doing::Create if name.starts_with("manifest/") => Err(Error::new(Kind::Exhausted, "the disk is full")),
        _ => Ok(()),
    });
    let database = open(&world, full);
    drop_t(&database).unwrap();
    assert!(!holders(&world).is_empty(), "they cannot go before a manifest says so");
    database.close().unwrap();
    world.open().unwrap();
    assert_eq!(holders(&world), Vec::<String>::new());
}

fn open(world: &World, files: Arc<dyn Files>) -> Database {
    let mut options = world.options();
    options.files = Some(files);
    Database::open(options).unwrap()
}

/// A database of `world` in which table `t` is dropped as soon as `armed` and a segment is begun.
fn dropping(world: &World, armed: &Arc<AtomicBool>) -> Database {
    let holder: Arc<OnceLock<Database>> = Arc::default();
    let (inside, armed) = (Arc::clone(&holder), Arc::clone(armed));
    let door = hooked(world.door(), move |doing, name| {
        let begun = doing == Doing::Create && name.starts_with("segments/");
        if begun && armed.swap(false, Ordering::SeqCst) {
            drop_t(inside.get().expect("it is open"))?;
        }
        Ok(())
    });
    let database = open(world, door);
    holder.set(database.clone()).expect("it is opened once");
    database
}

#[test]
fn a_flush_that_began_before_a_drop_does_not_list_the_table_again() {
    let mut world = filled();
    world.close().unwrap();
    let armed = Arc::new(AtomicBool::new(true));
    let database = dropping(&world, &armed);
    database.flush(&database.catalog(), None).unwrap();
    assert!(!armed.load(Ordering::SeqCst), "the table was dropped meanwhile");
    assert_eq!(holders(&world), Vec::<String>::new());
    database.close().unwrap();
    let before = published(&world);
    world.open().unwrap();
    assert_eq!(published(&world), before, "nothing was left for the next opening to remove");
}

#[test]
fn a_table_that_is_dropped_while_entities_are_purged_is_no_bug() {
    let mut world = filled();
    world.compact(None).unwrap();
    world.close().unwrap();
    let armed = Arc::new(AtomicBool::new(false));
    let database = dropping(&world, &armed);
    // Both tables are clean, so the first segment that is begun is one that the purge rewrites: drop on the way.
    armed.store(true, Ordering::SeqCst);
    let receipt = erase_half(&world, &database).unwrap();
    assert!(receipt["purged_at"].is_i64(), "{receipt}");
    assert!(!armed.load(Ordering::SeqCst), "the table was dropped meanwhile");
    assert_eq!(holders(&world), Vec::<String>::new());
    database.close().unwrap();
    world.open().unwrap();
    assert_eq!(holders(&world), Vec::<String>::new());
}

/// Erases one entity of each bucket, so that segments are written again without it.
fn erase_half(world: &World, database: &Database) -> Result<serde_json::Value, Error> {
    let columns = world.keys.columns(&[0, 4]);
    let keys: Vec<(String, ArrayRef)> =
        columns.into_iter().map(|(field, array)| (field.name().clone(), array)).collect();
    database.erase(&database.catalog(), &EraseRequest { entity: ENTITY.to_owned(), keys, block: false })
}

#[test]
fn a_receipt_says_purged_only_when_no_file_holds_the_bytes() {
    let mut world = filled();
    world.compact(None).unwrap();
    world.close().unwrap();
    let stuck = Arc::new(AtomicBool::new(true));
    let door = hooked(world.door(), {
        let stuck = Arc::clone(&stuck);
        move |doing, name| match doing {
            Doing::Remove if name.starts_with("segments/") && stuck.load(Ordering::SeqCst) => {
                Err(Error::new(Kind::Io, format!("{name} cannot be removed")))
            }
            _ => Ok(()),
        }
    });
    let database = open(&world, door);
    drop_t(&database).unwrap();
    assert!(database.holdings().orphan_bytes > 0);
    let error = erase_all(&world, &database).expect_err("the bytes are still there");
    assert!(error.message().contains("segments/"), "{error}");
    assert!(!holders(&world).is_empty());
    stuck.store(false, Ordering::SeqCst);
    let receipt = erase_all(&world, &database).unwrap();
    assert!(receipt["purged_at"].is_i64(), "{receipt}");
    assert_eq!(holders(&world), Vec::<String>::new());
    assert_eq!(database.holdings().orphan_bytes, 0);
    database.close().unwrap();
}
