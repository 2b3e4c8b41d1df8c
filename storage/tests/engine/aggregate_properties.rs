//! What holds between answers of the oracle, over random rows: an oracle that is wrong in one place is wrong against
//! itself in another.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::oracle::aggregate::{Aggregate, By, Column, Test, Window, answer};
use crate::oracle::function::{Function, Pick, Quantiles, SumType};
use crate::oracle::{Answer, AsOf, Bounds, Kind, Row, Value};

const ROUNDS: u64 = 3000;
/// Event times of the rows, from 1.
const TIMES: i64 = 20;
/// A feature of numbers and one of keys.
const X: u32 = 0;
const K: u32 = 1;

fn aggregate(function: Function, of: &[Column]) -> Aggregate {
    Aggregate {
        name: "a".to_owned(),
        function,
        of: of.to_vec(),
        scale: 0,
        conditions: Vec::new(),
        by: None,
        windows: Vec::new(),
        delay: 0,
        default: None,
    }
}

fn count() -> Aggregate {
    aggregate(Function::Count, &[])
}

fn sum() -> Aggregate {
    aggregate(Function::Sum(SumType::Int64), &[Column::Feature(X)])
}

fn ask(rows: &[Row], aggregate: &Aggregate, window: Window, bounds: &Bounds) -> Answer {
    answer(rows, 0, aggregate, window, bounds, None).expect("sums of small numbers")
}

fn int(answer: &Answer) -> i128 {
    match answer.1 {
        Some(Value::Int(value)) => value,
        None => 0,
        ref other => panic!("{other:?} is no integer"),
    }
}

fn at(time: i64) -> Bounds {
    Bounds { as_of: AsOf::At(time), known_at: None, position: u64::MAX, clock: TIMES }
}

fn any_bounds(random: &mut StdRng) -> Bounds {
    let time = random.random_range(0..TIMES + 5);
    Bounds {
        as_of: match random.random_range(0..3) {
            0 => AsOf::Open,
            1 => AsOf::At(time),
            _ => AsOf::Before(time),
        },
        known_at: random.random_bool(0.3).then(|| random.random_range(0..TIMES)),
        position: u64::MAX,
        clock: time,
    }
}

fn any_window(random: &mut StdRng) -> Window {
    match random.random_range(0..4) {
        0 => Window::Lifetime,
        1 => Window::Session { gap: random.random_range(0..6) },
        _ => Window::Duration(random.random_range(1..TIMES)),
    }
}

/// A write of a number, often of a key too; sometimes null, sometimes absent.
fn write(random: &mut StdRng, number: impl Fn(&mut StdRng) -> Value) -> BTreeMap<u32, Option<Value>> {
    let mut cells = BTreeMap::new();
    if random.random_bool(0.8) {
        cells.insert(X, random.random_bool(0.9).then(|| number(random)));
    }
    if random.random_bool(0.7) {
        let key = ["p", "q", "s"][random.random_range(0..3)];
        cells.insert(K, random.random_bool(0.9).then(|| Value::Text(key.to_owned())));
    }
    cells
}

/// Rows of one entity with corrections and tombstones, in the order of their sequences.
fn any_rows(random: &mut StdRng) -> Vec<Row> {
    let mut sequence = 0;
    let row_ids = random.random_bool(0.5);
    let count = random.random_range(0..14);
    (0..count)
        .map(|place| {
            sequence += random.random_range(0..2);
            let kind = match random.random_range(0..12) {
                0 => Kind::Delete,
                1 => Kind::Retract,
                2 => Kind::RetractCells,
                _ => Kind::Write,
            };
            let some = kind == Kind::Write || kind == Kind::RetractCells || random.random_bool(0.5);
            Row {
                entity: 0,
                event_time: random.random_range(1..TIMES),
                row_id: (row_ids && kind != Kind::Delete && some).then(|| random.random_range(0..3)),
                sequence,
                place,
                ingest_time: sequence as i64 * 2,
                kind,
                cells: if kind == Kind::Write { write(random, small) } else { BTreeMap::new() },
                retracted: if kind == Kind::RetractCells { vec![random.random_range(0..2)] } else { Vec::new() },
            }
        })
        .collect()
}

fn small(random: &mut StdRng) -> Value {
    Value::Int(random.random_range(-9..10))
}

/// Any double, the special ones often.
fn any_double(random: &mut StdRng) -> Value {
    Value::Float(match random.random_range(0..8) {
        0 => random.random(),
        1 => f64::NAN.to_bits() | random.random_range(0..3),
        2 => (-0.0f64).to_bits(),
        3 => [f64::INFINITY, f64::NEG_INFINITY, 0.0, f64::MAX][random.random_range(0..4)].to_bits(),
        _ => (f64::from(random.random_range(-1000..1000)) / 7.0).to_bits(),
    })
}

/// Many functions of [`X`] as doubles.
fn functions() -> Vec<Aggregate> {
    let pick = Pick { n: Some(3), distinct: true, keep_nulls: true };
    let many = Quantiles::Many(vec!["0".to_owned(), "0.3".to_owned(), "1".to_owned()]);
    let functions = [
        Function::Count,
        Function::Sum(SumType::Float64),
        Function::Avg,
        Function::VarPop,
        Function::StddevSamp,
        Function::Min,
        Function::Max,
        Function::First(Pick::default()),
        Function::Last(pick),
        Function::CountDistinct,
        Function::Percentile { q: Quantiles::One("0.5".to_owned()), linear: true },
        Function::Percentile { q: many, linear: false },
        Function::TopK(2),
        Function::Histogram(vec![Value::Float(0), Value::Float(1f64.to_bits())]),
    ];
    functions.into_iter().map(|function| aggregate(function, &[Column::Feature(X)])).collect()
}

#[test]
fn aggregate_windows_nest() {
    let mut seen = 0;
    for seed in 0..ROUNDS {
        let mut random = StdRng::seed_from_u64(seed);
        let (rows, bounds) = (any_rows(&mut random), any_bounds(&mut random));
        let counts: Vec<i128> = (1..TIMES + 5)
            .map(Window::Duration)
            .chain([Window::Lifetime])
            .map(|window| int(&ask(&rows, &count(), window, &bounds)))
            .collect();
        assert!(counts.is_sorted(), "seed {seed}: {counts:?}");
        // A window has what the two windows have that it is made of, if nothing ends between them.
        if let (AsOf::At(time), true) = (bounds.as_of, rows.iter().all(|row| row.kind != Kind::Delete)) {
            let size = random.random_range(1..TIMES);
            let newer = int(&ask(&rows, &count(), Window::Duration(size), &bounds));
            let earlier = Bounds { as_of: AsOf::At(time - size), ..bounds };
            let older = int(&ask(&rows, &count(), Window::Duration(TIMES), &earlier));
            let whole = int(&ask(&rows, &count(), Window::Duration(TIMES + size), &bounds));
            assert_eq!(newer + older, whole, "seed {seed}");
            seen += usize::from(newer > 0 && older > 0);
        }
    }
    assert!(seen > 100, "{seen} windows had rows in both parts");
}

#[test]
fn an_aggregate_by_keys_adds_up_to_the_whole() {
    let mut values = 0;
    for seed in 0..ROUNDS {
        let mut random = StdRng::seed_from_u64(seed);
        let (rows, bounds, window) = (any_rows(&mut random), any_bounds(&mut random), any_window(&mut random));
        for of_all in [sum(), count()] {
            let whole = Aggregate { conditions: vec![(K, Test::Null(false))], ..of_all.clone() };
            let whole = ask(&rows, &whole, window, &bounds);
            let by = Aggregate { by: Some(By { feature: K, keys: None }), ..of_all.clone() };
            let map = ask(&rows, &by, window, &bounds);
            let Some(Value::List(entries)) = &map.1 else { panic!("seed {seed}: {map:?} is no map") };
            let mut total = 0;
            for entry in entries {
                let Some(Value::List(entry)) = entry else { panic!("seed {seed}: {entry:?} is no entry") };
                let key = entry[0].clone().expect("a key");
                let Some(Value::Int(part)) = entry[1] else { panic!("seed {seed}: {entry:?} has no sum") };
                let alone = Aggregate { conditions: vec![(K, Test::Is(key))], ..of_all.clone() };
                assert_eq!(int(&ask(&rows, &alone, window, &bounds)), part, "seed {seed}");
                total += part;
            }
            assert_eq!((total, map.0, map.2), (int(&whole), whole.0, whole.2), "seed {seed}");
            values += usize::from(map.0 == "value");
        }
    }
    assert!(values > 500, "{values} answers had a value");
}

#[test]
fn an_aggregate_at_a_knowledge_bound_is_that_of_the_rows_until_then() {
    let mut differ = 0;
    for seed in 0..ROUNDS {
        let mut random = StdRng::seed_from_u64(seed);
        let (rows, bounds, window) = (any_rows(&mut random), any_bounds(&mut random), any_window(&mut random));
        let sequence = random.random_range(0..10);
        let until: Vec<Row> = rows.iter().filter(|row| row.sequence <= sequence).cloned().collect();
        let time = sequence as i64 * 2 + 1;
        // An open T is measured from S where that is a time, so the clock of the other read says the same.
        let known = Bounds { known_at: Some(time), ..bounds };
        let cut = Bounds { known_at: None, clock: time, ..bounds };
        let position = Bounds { position: sequence, known_at: None, ..bounds };
        for aggregate in [sum(), count()] {
            let right = ask(&until, &aggregate, window, &cut);
            assert_eq!(ask(&rows, &aggregate, window, &known), right, "seed {seed}: S = {time}");
            let latest = ask(&until, &aggregate, window, &Bounds { known_at: None, ..bounds });
            assert_eq!(ask(&rows, &aggregate, window, &position), latest, "seed {seed}: S {sequence}");
            differ += usize::from(right != ask(&rows, &aggregate, window, &cut));
        }
    }
    assert!(differ > 500, "{differ} answers differ from the latest");
}

#[test]
fn an_aggregate_of_distinct_identities_knows_no_order_of_arrival() {
    for seed in 0..ROUNDS / 3 {
        let mut random = StdRng::seed_from_u64(seed);
        let (bounds, window) = (any_bounds(&mut random), any_window(&mut random));
        let bounds = Bounds { known_at: None, ..bounds };
        let mut rows: Vec<Row> = (0..random.random_range(1..9))
            .map(|id| Row {
                entity: 0,
                event_time: random.random_range(1..TIMES),
                row_id: Some(id),
                sequence: 1,
                place: id as u32,
                ingest_time: 2,
                kind: Kind::Write,
                cells: write(&mut random, any_double),
                retracted: Vec::new(),
            })
            .collect();
        let right: Vec<Answer> = functions().iter().map(|function| ask(&rows, function, window, &bounds)).collect();
        rows.shuffle(&mut random);
        for together in [true, false] {
            for (row, place) in rows.iter_mut().zip(0..) {
                (row.place, row.sequence) = if together { (place, 1) } else { (0, u64::from(place) + 1) };
            }
            for (function, right) in functions().iter().zip(&right) {
                assert_eq!(&ask(&rows, function, window, &bounds), right, "seed {seed}: {function:?}");
            }
        }
    }
}

#[test]
fn an_aggregate_moves_with_its_bounds() {
    for seed in 0..ROUNDS {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut rows, window) = (any_rows(&mut random), any_window(&mut random));
        let time = random.random_range(0..TIMES + 5);
        for aggregate in [sum(), count()] {
            let exclusive = Bounds { as_of: AsOf::Before(time), ..at(0) };
            let inclusive = ask(&rows, &aggregate, window, &at(time - 1));
            assert_eq!(ask(&rows, &aggregate, window, &exclusive), inclusive, "seed {seed}: exclusive {time}");
            let everything = Window::Session { gap: 1000 };
            assert_eq!(
                ask(&rows, &count(), everything, &at(time)),
                ask(&rows, &count(), Window::Lifetime, &at(time)),
                "seed {seed}: a session of all"
            );
        }
        // A delay is an earlier T where nothing ends after that.
        rows.retain(|row| row.kind != Kind::Delete);
        let delay = random.random_range(0..8);
        for aggregate in [sum(), count()] {
            let delayed = Aggregate { delay, ..aggregate.clone() };
            let right = ask(&rows, &aggregate, window, &at(time - delay));
            assert_eq!(ask(&rows, &delayed, window, &at(time)), right, "seed {seed}: delay {delay} at {time}");
        }
    }
}

#[test]
fn an_aggregate_is_forgotten_exactly_where_rows_may_be_gone() {
    let (mut forgotten, mut kept) = (0, 0);
    for seed in 0..ROUNDS {
        let mut random = StdRng::seed_from_u64(seed);
        let rows: Vec<Row> = any_rows(&mut random).into_iter().filter(|row| row.kind == Kind::Write).collect();
        let (bounds, window, kept_from) = (any_bounds(&mut random), any_window(&mut random), random.random_range(0..9));
        let whole = ask(&rows, &count(), window, &bounds);
        let answered = answer(&rows, 0, &count(), window, &bounds, Some(kept_from)).expect("a count");
        let left: Vec<Row> = rows.iter().filter(|row| row.event_time > kept_from).cloned().collect();
        let after = answer(&left, 0, &count(), window, &bounds, Some(kept_from)).expect("a count");
        assert_eq!(answered, after, "seed {seed}: what is gone changed an answer at {kept_from}");
        match answered.0 {
            "forgotten" => forgotten += 1,
            _ => {
                assert_eq!(answered, whole, "seed {seed}");
                kept += 1;
            }
        }
    }
    assert!(forgotten > 100 && kept > 100, "{forgotten} forgotten, {kept} kept");
}

#[test]
fn a_sum_of_a_million_equal_numbers_is_exact() {
    let cells = vec![vec![Some(Value::Float(1.1f64.to_bits()))]; 1_000_000];
    let sum = crate::oracle::function::of_rows(&Function::Sum(SumType::Float64), 0, &cells);
    assert_eq!(sum, Ok(Some(Value::Float(1_100_000f64.to_bits()))));
    let naive: f64 = std::iter::repeat_n(1.1, 1_000_000).sum();
    assert_ne!(naive, 1_100_000.0, "rounding each time would do as well");
}
