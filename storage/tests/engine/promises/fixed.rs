//! P2: an answer at fixed T, S, P, clock and schema version has the same digest for ever.
//!
//! Random questions are asked in the middle of random histories and their digests kept; then the rest of the history
//! happens (late rows, tombstones, schema changes) with every change of layout in between, and all are asked again.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{UNIT, batch, digest, sent, world};
use crate::histories::generator::{Choice, History, Question, Size, Step, generate};
use crate::histories::runner::{ask, begin, run_step};
use crate::oracle::Value;
use crate::world::ask::{Ask, Limit, Request};
use crate::world::{Deed, World};

const SIZE: Size = Size { steps: 60, rows: 100 };

/// A question whose answer is fixed once it is given.
fn fixed_question(random: &mut StdRng) -> Question {
    let by_position = random.random_bool(0.5);
    let choice = |random: &mut StdRng| {
        if random.random_bool(0.5) { Choice::Constant(random.random()) } else { Choice::PerRow(random.random()) }
    };
    Question {
        as_of: if random.random_bool(0.4) { Choice::Open } else { choice(random) },
        exclusive: random.random_bool(0.3),
        known_at: if by_position { Choice::Open } else { choice(random) },
        position: by_position.then(|| random.random()),
        version: Some(random.random()),
        clock: Some(random.random_range(-30_000..60_000)),
        some_features: Some(u64::MAX),
        seed: random.random(),
    }
}

fn record(world: &World, history: &History, random: &mut StdRng, fixed: &mut Vec<(Request, String)>) {
    for _ in 0..8 {
        let question = ask(world, history, &fixed_question(random));
        let anything = question.known_at != Limit::Open || question.position.is_some();
        let Some(request) = world.request(&question).filter(|_| anything) else { continue };
        // An unsealed table refuses a timestamp S; that is not an answer.
        if let Ok(digest) = digest(world, &request) {
            fixed.push((request, digest));
        }
    }
}

fn check(seed: u64) -> usize {
    let history = generate(seed, SIZE);
    let mut random = StdRng::seed_from_u64(seed ^ 0xf1f1);
    let mut world = begin(&history).expect("a new world");
    let mut fixed: Vec<(Request, String)> = Vec::new();
    for (at, step) in history.steps.iter().enumerate() {
        // An erase is what changes fixed answers.
        if matches!(step, Step::Ask(_) | Step::Scan(..) | Step::Erase { .. }) {
            continue;
        }
        let failed = |error: String| panic!("seed {seed} step {at}: {error}");
        run_step(&mut world, &history, step).unwrap_or_else(failed);
        match random.random_range(0..12) {
            0 => world.flush(None).unwrap_or_else(failed),
            1 => world.compact(None).unwrap_or_else(failed),
            2 => world.reopen().unwrap_or_else(failed),
            3 => world.crash(random.random()).unwrap_or_else(failed),
            _ => {}
        }
        for (request, before) in &fixed {
            match digest(&world, request) {
                Ok(now) if now == *before => {}
                other => panic!("seed {seed} after step {at} {step:?}: {other:?} to {:?}", request.point),
            }
        }
        if random.random_bool(0.15) {
            record(&world, &history, &mut random, &mut fixed);
        }
    }
    fixed.len()
}

#[test]
fn fixed_answers_stay_fixed() {
    let answers: usize = (1..=300).map(check).sum();
    println!("{answers} fixed answers");
    assert!(answers > 1000, "{answers} answers are too few to show anything");
}

/// Rows in segments, in a pack, written since the pack, and in memory, with tombstones among them.
fn filled(entities: usize, random: &mut StdRng) -> World {
    let mut world = world();
    for round in 0..12 {
        let deed = match round % 4 {
            3 => Deed::Delete,
            _ => Deed::Write { columns: vec![0, 1], nulls_absent: true },
        };
        let writes = matches!(deed, Deed::Write { .. });
        let count = if writes { entities } else { entities / 10 };
        let mut row = || {
            let number = random.random_range(0..1000);
            let text = random.random_bool(0.7).then(|| Value::Text(format!("text {number}")));
            let cells = if writes { vec![Some(Value::Int(number)), text] } else { Vec::new() };
            sent(random.random_range(0..entities), random.random_range(0..50), cells)
        };
        let rows = (0..count).map(|_| row()).collect();
        world.clock.advance(10 * UNIT);
        world.apply(&batch(deed, rows)).expect("a write");
        match round {
            2 | 5 => world.flush(None).expect("a flush"),
            7 => world.compact(None).expect("a compaction"),
            _ => {}
        }
    }
    world
}

#[test]
fn a_long_request_is_answered_as_its_pieces_are() {
    const ROWS: usize = 20_000;
    const PIECE: usize = 50;
    let mut random = StdRng::seed_from_u64(5);
    let world = filled(400, &mut random);
    let now = world.answered();
    let entities: Vec<usize> = (0..ROWS).map(|_| random.random_range(0..410)).collect();
    let as_of: Vec<i64> = (0..ROWS).map(|_| random.random_range(-1..55) * UNIT).collect();
    let known_at: Vec<i64> = (0..ROWS).map(|_| now - random.random_range(0..150) * UNIT).collect();
    let per_row = |micros: &[i64]| Limit::PerRow { micros: micros.to_vec(), exclusive: false };
    for shape in 0..4 {
        let ask = |rows: std::ops::Range<usize>| Ask {
            entities: entities[rows.clone()].to_vec(),
            as_of: if shape & 1 == 0 { Limit::Open } else { per_row(&as_of[rows.clone()]) },
            known_at: if shape & 2 == 0 { Limit::Open } else { per_row(&known_at[rows]) },
            clock: Some(now),
            ..Ask::latest(&world, 0)
        };
        let whole = world.ask(&world.request(&ask(0..ROWS)).expect("features")).expect("an answer").0;
        for start in (0..ROWS).step_by(PIECE) {
            let piece = world.ask(&world.request(&ask(start..start + PIECE)).expect("features")).expect("an answer").0;
            assert_eq!(whole.slice(start, PIECE), piece, "rows from {start} of bounds {shape}");
        }
    }
}
