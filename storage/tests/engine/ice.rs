//! Ice: what is frozen leaves the disk, and answers as before.

use firn_storage::io::simulated::Simulated;

use crate::oracle::Value;
use crate::types::Type;
use crate::world::ask::{Ask, Limit};
use crate::world::keys::KeyShape;
use crate::world::scan::Sweep;
use crate::world::{Batch, Deed, Feature, Sent, Setting, Shape, World};

const UNIT: i64 = 1000;

/// A world with a bucket and a table of an integer and a text.
fn world() -> World {
    let setting = Setting { home: true, start: 1_000_000_000, ..Setting::default() };
    let mut world = World::new(setting, KeyShape::Composite).expect("a new world");
    let features = vec![Feature::plain(0, "n", Type::Int64), Feature::plain(1, "s", Type::Text)];
    world.create_table("t", false, Shape { features, ..Shape::default() }).expect("a table");
    world
}

fn row(entity: usize, event: i64, number: i64) -> Batch {
    let cells = vec![Some(Value::Int(number.into())), Some(Value::Text(format!("n{number}")))];
    let rows = vec![Sent { entity, event_time: event * UNIT, row_id: None, cells }];
    let deed = Deed::Write { columns: vec![0, 1], nulls_absent: false };
    Batch { table: 0, deed, rows, ingest_times: None, producer: None, bad_rows: 0 }
}

/// Asks for the latest, for the past and for all rows, of the database and of the oracle.
fn check(world: &mut World) {
    let latest = Ask { entities: vec![0, 1, 2, 3, 4], ..Ask::latest(world, 0) };
    world.check(&latest).expect("the latest");
    for event in 0..40 {
        let as_of = Limit::At { micros: event * UNIT, exclusive: false };
        world.check(&Ask { as_of, ..latest.clone() }).expect("as of the past");
    }
    world.check_scan(&Sweep::history(0)).expect("all rows");
}

#[test]
fn what_is_frozen_leaves_the_disk_and_answers_as_before() {
    let mut world = world();
    for number in 0..40 {
        world.apply(&row(number as usize % 4, number, number)).unwrap();
    }
    world.flush(None).unwrap();
    world.compact(None).unwrap();
    let before = world.files.names();
    world.freeze(None).unwrap();
    let gone =
        before.iter().filter(|name| name.starts_with("segments/")).all(|name| !world.files.names().contains(name));
    assert!(gone, "the segments left the disk");
    check(&mut world);
    // Another disk takes the rows parts only.
    world.close().unwrap();
    world.files = Simulated::new();
    world.open().unwrap();
    check(&mut world);
    world.apply(&row(1, 50, 50)).unwrap();
    world.freeze(None).unwrap();
    world.compact(None).unwrap();
    check(&mut world);
}
