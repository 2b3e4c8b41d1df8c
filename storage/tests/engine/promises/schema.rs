//! What changes of the schema promise: a dropped table is gone, a purged feature is gone to the byte, and a request
//! that pins a schema version keeps its names, types, defaults and max ages.

use firn_storage::error::Kind;
use serde_json::json;

use super::{batch, refused, row, sent, world};
use crate::oracle::Value;
use crate::types::Type;
use crate::world::ask::Ask;
use crate::world::scan::Sweep;
use crate::world::{Age, Deed, Feature, World};

fn holds(world: &World, what: &[u8]) -> bool {
    let names = world.files.names();
    names.iter().any(|name| world.files.content(name).windows(what.len()).any(|window| window == what))
}

#[test]
fn a_dropped_table_is_not_found_and_one_of_its_name_is_new() {
    for flushed in [false, true] {
        let mut world = world();
        world.apply(&row(0, 1, 1)).unwrap();
        if flushed {
            world.compact(None).unwrap();
        }
        let before = world.request(&Ask { version: Some(0), ..Ask::latest(&world, 1) }).unwrap();
        let now = world.request(&Ask::latest(&world, 1)).unwrap();
        world.ask(&before).unwrap();
        let shape = world.tables[0].shape.clone();
        world.change("drop_table", &json!({"table": "t"})).unwrap();
        refused(world.ask(&now), Kind::NotFound, &["t"]);
        refused(world.ask(&before), Kind::NotFound, &["t"]);
        refused(world.send(&row(0, 2, 2)), Kind::NotFound, &["t"]);
        world.reopen().unwrap();
        refused(world.ask(&before), Kind::NotFound, &["t"]);
        world.tables.clear();
        world.versions.clear();
        world.create_table("t", false, shape).unwrap();
        refused(world.ask(&before), Kind::NotFound, &["t"]);
        world.check(&Ask::latest(&world, 2)).unwrap();
        world.apply(&row(0, 3, 3)).unwrap();
        world.compact(None).unwrap();
        world.crash(1).unwrap();
        world.check(&Ask::latest(&world, 2)).unwrap();
        world.check_scan(&Sweep::history(0)).unwrap();
    }
}

#[test]
fn a_purged_feature_is_gone_from_every_file() {
    let mut world = world();
    let secret = "a text that nobody may read again";
    let cells = vec![Some(Value::Int(1)), Some(Value::Text(secret.to_owned()))];
    let write = batch(Deed::Write { columns: vec![0, 1], nulls_absent: false }, vec![sent(0, 1, cells)]);
    world.apply(&write).unwrap();
    world.compact(None).unwrap();
    world.apply(&write).unwrap();
    assert!(holds(&world, secret.as_bytes()), "the search proves nothing");
    world
        .alter(0, &json!({"retire": ["s"], "purge": true}), |shape| {
            let purged = shape.features.remove(1);
            shape.retired.push(purged);
        })
        .unwrap();
    world.check(&Ask::latest(&world, 1)).unwrap();
    world.compact(None).unwrap();
    assert!(!holds(&world, secret.as_bytes()), "a file still holds the purged feature");
    for row in &mut world.tables[0].rows {
        row.cells.remove(&1);
    }
    world.reopen().unwrap();
    world.check(&Ask::latest(&world, 1)).unwrap();
    // A new feature of the same name knows nothing of the old one.
    world.add_feature(0, Feature::plain(2, "s", Type::Text)).unwrap();
    world.check(&Ask::latest(&world, 1)).unwrap();
}

#[test]
fn a_pinned_schema_version_keeps_names_types_defaults_and_max_ages() {
    let mut world = world();
    let narrow =
        Feature { default: Some(Value::Int(7)), max_age: Age::Micros(5000), ..Feature::plain(2, "w", Type::Int16) };
    world.add_feature(0, narrow).unwrap();
    let cells = vec![Some(Value::Int(5))];
    let write = batch(Deed::Write { columns: vec![2], nulls_absent: false }, vec![sent(0, 1, cells)]);
    world.apply(&write).unwrap();
    let rename = json!({"rename": {"w": "wide"}});
    world.alter(0, &rename, |shape| shape.features[2].name = "wide".to_owned()).unwrap();
    let widen = json!({"widen": [{"name": "wide", "type": "int32"}]});
    world.alter(0, &widen, |shape| shape.features[2].kind = Type::Int32).unwrap();
    world.alter(0, &json!({"set": {"max_age": "3ms"}}), |shape| shape.max_age = Some(3000)).unwrap();
    let retire = json!({"retire": ["wide"]});
    world
        .alter(0, &retire, |shape| {
            let retired = shape.features.remove(2);
            shape.retired.push(retired);
        })
        .unwrap();
    for layout in 0..4 {
        match layout {
            1 => world.flush(None).unwrap(),
            2 => world.compact(None).unwrap(),
            3 => world.reopen().unwrap(),
            _ => {}
        }
        for version in 0..world.versions.len() {
            for clock in [Some(6000), Some(6001), None] {
                world.check(&Ask { version: Some(version), clock, ..Ask::latest(&world, 2) }).unwrap();
            }
            let scan = Sweep { history: version % 2 == 0, version: Some(version), ..Sweep::history(0) };
            world.check_scan(&scan).unwrap();
        }
    }
    let mut unknown = world.request(&Ask::latest(&world, 1)).unwrap();
    unknown.point.schema_version = Some(1_000_000);
    assert!(world.ask(&unknown).is_err(), "a schema version that never was");
}

#[test]
fn many_schema_versions_leave_the_manifest_small_and_are_all_there_again() {
    let mut world = world();
    let manifest = |world: &World| {
        let names = world.files.names();
        let name = names.iter().rev().find(|name| name.starts_with("manifest/")).expect("there is one").clone();
        world.files.content(&name).len()
    };
    let version_files = |world: &World| world.files.names().iter().filter(|name| name.starts_with("versions/")).count();
    world.apply(&row(0, 1, 1)).unwrap();
    world.flush(None).unwrap();
    let before = manifest(&world);
    for number in 0..600 {
        world.alter(0, &json!({"set": {"description": format!("the description {number}")}}), |_| {}).unwrap();
        if number % 7 == 0 {
            world.flush(None).unwrap();
            assert!(manifest(&world) < before + 20_000, "the manifest grows with the history of the schema");
        }
    }
    assert!((1..=9).contains(&version_files(&world)), "{} files", version_files(&world));
    let described = |world: &World, version: u64| {
        let catalog = world.database().catalog_at(version).unwrap();
        catalog.table("t").unwrap().description.clone()
    };
    for _ in 0..2 {
        let newest = world.database().catalog().schema_version;
        for back in [0, 1, 30, 599] {
            assert_eq!(described(&world, newest - back), format!("the description {}", 599 - back));
        }
        world.crash(1).unwrap();
    }
    world.check(&Ask::latest(&world, 1)).unwrap();
}
