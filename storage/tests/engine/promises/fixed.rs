//! P2: an answer at fixed T, S, P, clock and schema version has the same digest for ever.
//!
//! Random questions are asked in the middle of random histories and their digests kept; then the rest of the history
//! happens (late rows, tombstones, schema changes) with every change of layout in between, and all are asked again.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::digest;
use crate::histories::generator::{Choice, History, Question, Size, Step, generate};
use crate::histories::runner::{ask, begin, run_step};
use crate::world::World;
use crate::world::ask::{Limit, Request};

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
        if matches!(step, Step::Ask(_) | Step::Scan(..)) {
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
