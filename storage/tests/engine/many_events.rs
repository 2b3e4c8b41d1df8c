//! Aggregates of an entity of more events than the engine looks at together: they are cut into blocks, and nothing may depend on where.

use crate::oracle::Value;
use crate::oracle::aggregate::{Aggregate, Column, Test, Window};
use crate::oracle::function::{Function, Pick, SumType};
use crate::types::Type;
use crate::world::ask::{Ask, Limit};
use crate::world::keys::KeyShape;
use crate::world::plain::{UNIT, batch};
use crate::world::{Deed, Feature, Output, Sent, Setting, Shape, World};

/// Three blocks of events and a part of one.
const EVENTS: i64 = 100_000;
const X: u32 = 0;
const K: u32 = 1;

fn aggregate(name: &str, function: Function, of: &[u32], conditions: Vec<(u32, Test)>) -> Aggregate {
    Aggregate {
        name: name.to_owned(),
        function,
        of: of.iter().map(|feature| Column::Feature(*feature)).collect(),
        scale: 0,
        conditions,
        by: None,
        windows: vec![Window::Lifetime],
        delay: 0,
        default: None,
    }
}

fn outputs() -> Vec<Output> {
    let distinct = Pick { n: Some(7), distinct: true, keep_nulls: false };
    let some = vec![(K, Test::IsNot(Value::Int(3)))];
    let aggregates = [
        Aggregate {
            windows: vec![Window::Lifetime, Window::Duration(40_000 * UNIT), Window::Duration(UNIT)],
            ..aggregate("events", Function::Count, &[], Vec::new())
        },
        aggregate("total", Function::Sum(SumType::Float64), &[X], Vec::new()),
        Aggregate {
            windows: vec![Window::Duration(33_000 * UNIT)],
            ..aggregate("mean", Function::Avg, &[X], some.clone())
        },
        aggregate("least", Function::Min, &[X], Vec::new()),
        aggregate("greatest", Function::Max, &[X], some),
        aggregate("newest", Function::Last(Pick { n: Some(5), ..Pick::default() }), &[X], Vec::new()),
        aggregate("oldest", Function::First(Pick { n: Some(5), ..Pick::default() }), &[X], Vec::new()),
        aggregate("kinds", Function::First(distinct), &[K], Vec::new()),
        Aggregate {
            delay: 30_000 * UNIT,
            windows: vec![Window::Duration(50_000 * UNIT)],
            ..aggregate("last_kinds", Function::Last(distinct), &[K], vec![(X, Test::Greater(Value::Float(0)))])
        },
    ];
    (1000..).step_by(10).zip(aggregates).flat_map(|(first, aggregate)| Output::all_of(aggregate, first)).collect()
}

/// The events `from..to` of entity 0, in an order that is not that of their times, and some of entity 1; each a unit after
/// the other.
fn write(world: &mut World, from: i64, to: i64, salt: i64) {
    let sent = |number: i64| {
        let scattered = (number * 7919 + salt) % 1_000_003;
        let x = (scattered as f64 - 500_000.0) / 7.0;
        let kind = Value::Int(i128::from(scattered % 40));
        Sent {
            entity: usize::from(number % 5000 == 0),
            event_time: number * UNIT,
            row_id: None,
            cells: vec![Some(Value::Float(x.to_bits())), (scattered % 11 > 0).then_some(kind)],
        }
    };
    let rows = (from..to).rev().map(sent).collect();
    world.apply(&batch(Deed::Write { columns: vec![X, K], nulls_absent: false }, rows)).expect("a write");
}

#[test]
fn an_entity_of_many_events_is_answered_exactly() {
    let mut world = World::new(Setting::default(), KeyShape::Text).expect("a new world");
    let features = vec![Feature::plain(X, "x", Type::Float64), Feature::plain(K, "sort", Type::Int64)];
    world.create_table("t", false, Shape { features, outputs: outputs(), ..Shape::default() }).expect("a table");
    for from in (0..EVENTS).step_by(20_000) {
        write(&mut world, from, from + 20_000, 0);
        if from % 40_000 == 0 {
            world.flush(None).expect("a flush");
        }
    }
    // Corrections, in the middle of it.
    write(&mut world, 44_000, 46_000, 5);
    let clock = Some(EVENTS * UNIT);
    world.check(&Ask { clock, ..Ask::latest(&world, 2) }).expect("all of it");
    let micros = [99_999, 60_001, 32_768, 70_000].map(|time| time * UNIT).to_vec();
    let as_of = Limit::PerRow { micros, exclusive: true };
    let entities = vec![0, 1, 0, 1];
    world.check(&Ask { entities, as_of, clock, ..Ask::latest(&world, 0) }).expect("at bounds of each row");
}
