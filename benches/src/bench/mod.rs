//! The benches, one per file. Each loads its data, measures its systems in turn, and says what its targets are.

mod as_of;
mod erase;
mod freshness;
mod growth;
mod ice;
mod ingest;
mod join;
mod large_join;
mod lookup;
mod memory;
mod open;
mod python;
mod scan;
mod serving;
mod space;
mod sql;
mod tables;

use std::time::Instant;

use crate::harness::{Harness, Result};
use crate::machine;

/// A bench: its name, what it is about, and the work.
struct Bench {
    name: &'static str,
    about: &'static str,
    run: fn(&mut Harness) -> Result<()>,
    long: bool,
}

/// A bench that always runs.
const fn short(name: &'static str, about: &'static str, run: fn(&mut Harness) -> Result<()>) -> Bench {
    Bench { name, about, run, long: false }
}

/// A bench that runs only if it is named or everything is asked for.
const fn long(name: &'static str, about: &'static str, run: fn(&mut Harness) -> Result<()>) -> Bench {
    Bench { name, about, run, long: true }
}

const BENCHES: &[Bench] = &[
    short("lookup", "latest vectors over the wire, against the echo and Redis", lookup::run),
    short("serving", "one call at a time at a steady rate, and a user × 500 offers", serving::run),
    short("python", "the Python client against the Rust client, and Feast on Redis", python::run),
    short("freshness", "from a write to a lookup that sees it, on another connection", freshness::run),
    short("ingest", "durable writes over the wire, against the raw log and Redis", ingest::run),
    short("join", "1 M × 10 M rows as of each row's time, against four peers", join::run),
    short("as_of", "lookups of the past by the number of runs, in the engine", as_of::run),
    short("growth", "more entities, versions, repeats and late rows, in the engine", growth::run),
    short("scan", "a whole table at latest, in the engine and over the wire", scan::run),
    short("sql", "SQL beside the engine, DataFusion in memory and DuckDB", sql::run),
    short("open", "opening 10 M entities, and replaying a log", open::run),
    short("erase", "lookups and writes beside an erase of 100,000 keys of 10 M entities", erase::run),
    short("tables", "what a commit costs beside 1,000 tables, in the engine", tables::run),
    short("ice", "a database in a bucket: freezing, the past from ice, a lost disk, in the engine", ice::run),
    short("space", "bytes on disk, and bytes written", space::run),
    long("memory", "latest where data is four times the memory", memory::run),
    long("large_join", "10 M × 100 M rows over the wire, and Feast", large_join::run),
];

/// Runs the benches named in `only`, or all; answers the names of those that failed.
pub(crate) fn run(harness: &mut Harness, only: &[String]) -> Result<Vec<&'static str>> {
    if let Some(unknown) = only.iter().find(|name| !BENCHES.iter().any(|bench| bench.name == name.as_str())) {
        let known: Vec<String> = BENCHES.iter().map(|bench| format!("  {:<10} {}", bench.name, bench.about)).collect();
        return Err(format!("there is no bench `{unknown}`; there are:\n{}", known.join("\n")).into());
    }
    let mut failed = Vec::new();
    let full = harness.settings.full;
    let wanted = |bench: &&Bench| match only.is_empty() {
        true => full || !bench.long,
        false => only.iter().any(|name| name == bench.name),
    };
    for bench in BENCHES.iter().filter(wanted) {
        println!("{}: {}", bench.name, bench.about);
        if let Some(warning) = machine::warning()? {
            println!("{}: {warning}", bench.name);
        }
        harness.begin(bench.name);
        let started = Instant::now();
        if let Err(error) = (bench.run)(harness) {
            eprintln!("{}: {error}", bench.name);
            failed.push(bench.name);
        }
        println!("{}: {:.0} s\n", bench.name, started.elapsed().as_secs_f64());
        // So that a run that is cut off leaves what it found.
        harness.write_report()?;
    }
    Ok(failed)
}
