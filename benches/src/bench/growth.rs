//! What more data costs the engine: more entities, more versions, the same rows again, rows that come late.

use std::time::Instant;

use crate::bench::as_of::per_vector;
use crate::bench::open::entities;
use crate::data::{SPAN, Source, Versions, cut};
use crate::engine::{self, Engine};
use crate::harness::{Harness, Reading, Result, System};
use crate::report::{Bound, FIRN};

const FEATURES: usize = 10;
const BATCH: usize = 1000;
const FEW_ENTITIES: &str = "latest, 50 features of 1 M entities";
const MANY_ENTITIES: &str = "latest, 50 features of 10 M entities";
const FEW_VERSIONS: &str = "as of, 10 versions";
const MANY_VERSIONS: &str = "as of, 100 versions";
const LATE: &str = "as of, 100 versions and 1 % late rows";

/// Measures, and says the targets of growth.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    more_entities(harness)?;
    more_versions(harness)?;
    same_rows(harness)
}

fn more_entities(harness: &mut Harness) -> Result<()> {
    let users = harness.sized(1_000_000, 1000);
    let directory = harness.directory()?;
    let few = Engine::open(&harness.settings, directory.path())?;
    few.declare("t", 50)?;
    few.write("t", Versions { users, span: 1 }.rows(0..1, 50))?;
    few.settle()?;
    let entities = entities(harness)?;
    let many = Engine::open(&harness.settings, &entities)?;
    let batches = harness.sized(300, 2);
    let (of_few, of_many) =
        (Source::new(31).requests(batches, BATCH, users), Source::new(32).requests(batches, BATCH, users * 10));
    let system = System::new(FIRN, || {
        Ok(vec![
            per_vector(FEW_ENTITIES, &few, &engine::latest("t"), &of_few)?,
            per_vector(MANY_ENTITIES, &many, &engine::latest("t"), &of_many)?,
        ])
    });
    harness.alternate(vec![system])?;
    let rate = harness.value(FIRN, FEW_ENTITIES).map(|micros| 1e6 / micros);
    harness.target("latest, 50 features of 1 M entities: vectors/s on one core", rate, Bound::AtLeast(3e6));
    let ratio = harness.ratio((FIRN, MANY_ENTITIES), (FIRN, FEW_ENTITIES));
    harness.target("latest: 10 M entities against 1 M", ratio, Bound::AtMost(1.4));
    few.close()?;
    many.close()
}

fn more_versions(harness: &mut Harness) -> Result<()> {
    let users = harness.sized(100_000, 200);
    let requests = cut(&Source::new(33).spine(harness.sized(200, 2) * BATCH, users), BATCH);
    let loaded = |versions: usize, late: usize| -> Result<(Engine, tempfile::TempDir)> {
        let directory = harness.directory()?;
        let engine = Engine::open(&harness.settings, directory.path())?;
        engine.declare("t", FEATURES)?;
        engine.write("t", Versions { users, span: SPAN / versions as i64 }.rows(0..versions, FEATURES))?;
        engine.settle()?;
        if late > 0 {
            engine.write("t", Source::new(34).history(late, users, FEATURES))?;
            engine.settle()?;
        }
        Ok((engine, directory))
    };
    let loaded = [(FEW_VERSIONS, loaded(10, 0)?), (MANY_VERSIONS, loaded(100, 0)?), (LATE, loaded(100, users)?)];
    let reads = loaded.iter().map(|(metric, (engine, _))| {
        System::new(FIRN, || Ok(vec![per_vector(metric, engine, &engine::as_of("t"), &requests)?]))
    });
    harness.alternate(reads.collect())?;
    for (what, metric, against, bound) in [
        ("as of: 100 versions against 10", MANY_VERSIONS, FEW_VERSIONS, 1.5),
        ("as of: 1 % late rows against none", LATE, MANY_VERSIONS, 1.2),
    ] {
        let ratio = harness.ratio((FIRN, metric), (FIRN, against));
        harness.target(what, ratio, Bound::AtMost(bound));
    }
    loaded.into_iter().try_for_each(|(_, (engine, _files))| engine.close())
}

/// The same rows again and again: a backfill that is run twice, and one that is run ten times.
fn same_rows(harness: &mut Harness) -> Result<()> {
    let (users, versions) = (harness.sized(100_000, 200), 10);
    let requests = cut(&Source::new(35).spine(harness.sized(100, 2) * BATCH, users), BATCH);
    let rows: Vec<_> = Versions { users, span: SPAN / versions as i64 }.rows(0..versions, FEATURES).collect();
    let metric = |work: &str, times: usize| format!("1 M rows, backfill {times}: {work}");
    let loaded = |times: usize| -> Result<(Engine, tempfile::TempDir, Reading)> {
        let directory = harness.directory()?;
        let engine = Engine::open(&harness.settings, directory.path())?;
        engine.declare("t", FEATURES)?;
        let mut last = 0.0;
        for _ in 0..times {
            let started = Instant::now();
            engine.write("t", rows.iter().cloned())?;
            last = started.elapsed().as_secs_f64();
            engine.settle()?;
        }
        Ok((engine, directory, Reading::new(metric("write", times), "s", last)))
    };
    let loaded = [(2, loaded(2)?), (10, loaded(10)?)];
    for (_, (.., written)) in &loaded {
        harness.record(FIRN, written.clone());
    }
    let reads = loaded.iter().map(|(times, (engine, ..))| {
        let (metric, requests) = (metric("as of", *times), &requests);
        System::new(FIRN, move || Ok(vec![per_vector(&metric, engine, &engine::as_of("t"), requests)?]))
    });
    harness.alternate(reads.collect())?;
    for work in ["write", "as of"] {
        let ratio = harness.ratio((FIRN, &metric(work, 10)), (FIRN, &metric(work, 2)));
        harness.target(&format!("backfill of 1 M rows, {work}: tenth time against second"), ratio, Bound::AtMost(1.5));
    }
    loaded.into_iter().try_for_each(|(_, (engine, _files, _))| engine.close())
}
