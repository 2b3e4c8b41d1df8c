//! Runs a history on a world, and makes a failing one smaller.

use std::panic::{AssertUnwindSafe, catch_unwind};

use firn_storage::verify::verify;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::generator::{Asked, Choice, History, Question, Step};
use crate::oracle::aggregate::Aggregate;
use crate::world::ask::{Ask, Limit};
use crate::world::scan::Sweep;
use crate::world::{Batch, Deed, Feature, Outcome, Output, World, duration, panic_text};

/// Runs `history`; an error says which step failed and how.
pub fn run(history: &History) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run_steps(history)))
        .unwrap_or_else(|panic| Err(format!("panic: {}", panic_text(panic))))
}

/// The world that `history` begins in.
pub fn begin(history: &History) -> Outcome<World> {
    let mut world = World::new(history.setting, history.keys)?;
    for (table, (row_ids, shape)) in history.tables.iter().enumerate() {
        world.create_table(&format!("t{table}"), *row_ids, shape.clone())?;
    }
    Ok(world)
}

fn run_steps(history: &History) -> Outcome {
    let mut world = begin(history)?;
    for (at, step) in history.steps.iter().enumerate() {
        run_step(&mut world, history, step).map_err(|error| format!("step {at}: {error}"))?;
    }
    // One entity more than was written: unknown ones must answer "never".
    let latest = Ask::latest(&world, history.entities + 1);
    world.check(&latest).map_err(|error| format!("at the end: {error}"))?;
    for table in 0..world.tables.len() {
        world.check_scan(&Sweep::history(table)).map_err(|error| format!("at the end: {error}"))?;
    }
    // Whatever happened, what lies on disk keeps every promise.
    world.close().map_err(|error| format!("close: {error:?}"))?;
    let report = verify(&world.door()).map_err(|error| format!("verify: {error:?}"))?;
    if report.damages.is_empty() { Ok(()) } else { Err(format!("verify found damage: {:?}", report.damages)) }
}

pub fn run_step(world: &mut World, history: &History, step: &Step) -> Outcome {
    match step {
        Step::Apply(batch) => match live(world, batch) {
            Some(batch) => world.apply(&batch),
            None => Ok(()),
        },
        Step::Erase { entity, purged } => world.erase(*entity, *purged),
        Step::Seal(table) => world.seal(*table),
        Step::AddFeature(table, feature) => world.add_feature(*table, feature.clone()),
        Step::AddAggregate(table, outputs) => add_aggregate(world, *table, outputs),
        Step::Widen(table, id) => widen(world, *table, *id),
        Step::Rename(table, id) => rename(world, *table, *id),
        Step::Retire(table, id) => retire(world, *table, *id),
        Step::SetMaxAge(table, age) => {
            if world.tables[*table].shape.max_age == *age {
                return Ok(());
            }
            let spelled = age.map_or(json!("none"), duration);
            world.alter(*table, &json!({"set": {"max_age": spelled}}), |shape| shape.max_age = *age)
        }
        // With a bucket every other flush freezes: what was written before is read from there.
        Step::Flush(table) if world.setting.home && world.acks.len() % 2 == 1 => world.freeze(*table),
        Step::Flush(table) => world.flush(*table),
        Step::Compact(table) => world.compact(*table),
        Step::Reopen => world.reopen(),
        Step::Crash(seed) => world.crash(*seed),
        Step::Advance(micros) => {
            world.clock.advance(*micros);
            Ok(())
        }
        Step::Ask(question) => {
            let ask = ask(world, history, question);
            world.check(&ask).map(drop)
        }
        Step::Scan(question, asked) => {
            let sweep = sweep(world, question, asked);
            world.check_scan(&sweep)
        }
    }
}

/// `batch` without the columns of features that are not live (yet, or any more).
fn live(world: &World, batch: &Batch) -> Option<Batch> {
    let shape = &world.tables[batch.table].shape;
    let is_live = |id: &u32| shape.feature(*id).is_some();
    let mut batch = batch.clone();
    match &mut batch.deed {
        Deed::Write { columns, .. } => {
            let keep: Vec<bool> = columns.iter().map(is_live).collect();
            columns.retain(is_live);
            for row in &mut batch.rows {
                let mut kept = keep.iter();
                row.cells.retain(|_| *kept.next().expect("one cell per column"));
            }
        }
        Deed::RetractCells(features) => {
            features.retain(is_live);
            if features.is_empty() {
                return None;
            }
        }
        Deed::Delete | Deed::Retract => {}
    }
    Some(batch)
}

fn widen(world: &mut World, table: usize, id: u32) -> Outcome {
    let Some(feature) = world.tables[table].shape.feature(id) else { return Ok(()) };
    let Some(wider) = feature.kind.wider() else { return Ok(()) };
    let what = json!({"widen": [{"name": feature.name, "type": wider.spelled()}]});
    world.alter(table, &what, |shape| {
        shape.features.iter_mut().filter(|feature| feature.id == id).for_each(|feature| feature.kind = wider);
    })
}

/// Adds the aggregate if all that it reads is live.
fn add_aggregate(world: &mut World, table: usize, outputs: &[Output]) -> Outcome {
    let shape = &world.tables[table].shape;
    match outputs[0].aggregate.features().all(|feature| shape.feature(feature).is_some()) {
        true => world.add_aggregate(table, outputs.to_vec()),
        false => Ok(()),
    }
}

fn rename(world: &mut World, table: usize, id: u32) -> Outcome {
    if let Some(place) = world.tables[table].shape.outputs.iter().position(|output| output.id == id) {
        let old = world.tables[table].shape.outputs[place].name.clone();
        let name = format!("{old}r");
        return world.alter(table, &json!({"rename": {old: name}}), |shape| shape.outputs[place].name = name);
    }
    let Some(feature) = world.tables[table].shape.feature(id) else { return Ok(()) };
    let name = format!("{}r", feature.name);
    let what = json!({"rename": {feature.name.clone(): name}});
    world.alter(table, &what, |shape| {
        shape.features.iter_mut().filter(|feature| feature.id == id).for_each(|feature| feature.name.clone_from(&name));
    })
}

fn retire(world: &mut World, table: usize, id: u32) -> Outcome {
    let shape = &world.tables[table].shape;
    if let Some(name) = shape.outputs.iter().find(|output| output.id == id).map(|output| output.aggregate.name.clone())
    {
        return world.alter(table, &json!({"retire_aggregates": [name]}), |shape| {
            shape.outputs.retain(|output| output.aggregate.name != name);
        });
    }
    let Some(feature) = shape.feature(id).filter(|_| shape.features.len() > 1) else { return Ok(()) };
    let reads = move |aggregate: &Aggregate| aggregate.features().any(|read| read == id);
    let readers: Vec<&str> =
        shape.aggregates().filter(|aggregate| reads(aggregate)).map(|aggregate| aggregate.name.as_str()).collect();
    let what = json!({"retire": [feature.name], "retire_aggregates": readers});
    world.alter(table, &what, |shape| {
        shape.outputs.retain(|output| !reads(&output.aggregate));
        let (retired, live) = shape.features.drain(..).partition(|feature| feature.id == id);
        shape.features = live;
        shape.retired.extend::<Vec<Feature>>(retired);
    })
}

/// Moments at which something may change: those of `known` and the microseconds around them.
fn near(known: impl Iterator<Item = i64>, roll: u64) -> Option<i64> {
    let known: Vec<i64> = known.collect();
    let at = *known.get((roll % known.len().max(1) as u64) as usize)?;
    Some(at.saturating_add([0, 0, 0, 1, -1, 3000][(roll >> 32) as usize % 6]))
}

fn limit(
    choice: Choice,
    exclusive: bool,
    rows: usize,
    fallback: i64,
    moments: &dyn Fn(u64) -> Option<i64>,
    most: i64,
) -> Limit {
    let moment = |roll: u64| moments(roll).unwrap_or(fallback).min(most);
    match choice {
        Choice::Open => Limit::Open,
        Choice::Constant(roll) => Limit::At { micros: moment(roll), exclusive },
        Choice::PerRow(roll) => {
            let mut random = StdRng::seed_from_u64(roll);
            Limit::PerRow { micros: (0..rows).map(|_| moment(random.random())).collect(), exclusive }
        }
    }
}

fn limits(world: &World, question: &Question, rows: usize) -> (Limit, Limit) {
    let all = || world.tables.iter().flat_map(|table| &table.rows);
    let events = |roll: u64| {
        if roll.is_multiple_of(13) {
            return Some([i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1, 0][(roll >> 8) as usize % 5]);
        }
        near(all().map(|row| row.event_time), roll)
    };
    let ingests = |roll: u64| near(all().map(|row| row.ingest_time), roll);
    let now = world.answered();
    let as_of = limit(question.as_of, question.exclusive, rows, now, &events, i64::MAX);
    (as_of, limit(question.known_at, false, rows, now, &ingests, now))
}

pub fn ask(world: &World, history: &History, question: &Question) -> Ask {
    let mut random = StdRng::seed_from_u64(question.seed);
    // Some requests are long enough for the engine to sort them into storage order.
    let rows = if random.random_bool(0.05) { 150 } else { random.random_range(1..10) };
    let (as_of, known_at) = limits(world, question, rows);
    let written: Vec<usize> = world.tables.iter().flat_map(|table| &table.rows).map(|row| row.entity).collect();
    let mut entity = || match written.len() {
        0 => 0,
        _ if random.random_bool(0.15) => random.random_range(0..=history.entities),
        count => written[random.random_range(0..count)],
    };
    let some = |table: usize| {
        let roll = question.some_features?;
        let ever = world.tables[table].features_ever;
        let outputs = world.tables[table].shape.outputs.iter().map(|output| output.id);
        Some((0..ever).chain(outputs).filter(|id| roll >> (id % 60) & 1 == 1).collect())
    };
    Ask {
        features: (0..world.tables.len()).map(|table| (table, some(table))).collect(),
        entities: (0..rows).map(|_| entity()).collect(),
        as_of,
        known_at,
        position: position(world, question),
        clock: question.clock,
        version: question.version.map(|roll| (roll % world.versions.len() as u64) as usize),
    }
}

fn position(world: &World, question: &Question) -> Option<usize> {
    question.position.filter(|_| !world.acks.is_empty()).map(|roll| (roll % world.acks.len() as u64) as usize)
}

pub fn sweep(world: &World, question: &Question, asked: &Asked) -> Sweep {
    let (as_of, known_at) = limits(world, question, 0);
    Sweep {
        table: asked.table,
        history: asked.history,
        as_of,
        known_at,
        from: asked.from,
        to: asked.to,
        position: position(world, question),
        clock: question.clock,
        version: question.version.map(|roll| (roll % world.versions.len() as u64) as usize),
        parts: asked.parts,
    }
}

/// The smallest history that this finds to fail like `history`, and its failure.
pub fn shrink(history: &History, failure: String) -> (History, String) {
    let (mut smallest, mut failure) = (history.clone(), failure);
    let mut attempt = |candidate: &History, smallest: &mut History| {
        let Err(error) = run(candidate) else { return false };
        failure = error;
        *smallest = candidate.clone();
        true
    };
    let mut chunk = smallest.steps.len().div_ceil(2);
    loop {
        let mut dropped = false;
        let mut at = 0;
        while at < smallest.steps.len() {
            let mut candidate = smallest.clone();
            candidate.steps.drain(at..(at + chunk).min(smallest.steps.len()));
            if attempt(&candidate, &mut smallest) {
                dropped = true;
            } else {
                at += chunk;
            }
        }
        if chunk > 1 {
            chunk = chunk.div_ceil(2);
        } else if !dropped {
            break;
        }
    }
    for step in (0..smallest.steps.len()).rev() {
        let rows = if let Step::Apply(batch) = &smallest.steps[step] { batch.rows.len() } else { 0 };
        for row in (0..rows).rev() {
            let mut candidate = smallest.clone();
            if let Step::Apply(batch) = &mut candidate.steps[step] {
                batch.rows.remove(row);
                batch.ingest_times.as_mut().map(|times| times.remove(row));
            }
            attempt(&candidate, &mut smallest);
        }
    }
    (smallest, failure)
}
