//! The benches, one per file. Each loads its data, measures its systems in turn, and says what its targets are.

mod as_of;
mod freshness;
mod growth;
mod ingest;
mod join;
mod lookup;
mod open;
mod serving;
mod space;

use std::time::Instant;

use crate::harness::{Harness, Result};

/// A bench: its name, what it is about, and the work.
struct Bench {
    name: &'static str,
    about: &'static str,
    run: fn(&mut Harness) -> Result<()>,
}

const BENCHES: &[Bench] = &[
    Bench { name: "lookup", about: "latest vectors over the wire, against the echo and Redis", run: lookup::run },
    Bench {
        name: "serving", about: "one call at a time at a steady rate, and a user × 500 offers", run: serving::run
    },
    Bench {
        name: "freshness",
        about: "from a write to a lookup that sees it, on another connection",
        run: freshness::run,
    },
    Bench { name: "ingest", about: "durable writes over the wire, against the raw log and Redis", run: ingest::run },
    Bench { name: "join", about: "1 M × 10 M rows as of each row's time, against four peers", run: join::run },
    Bench { name: "as_of", about: "lookups of the past by the number of runs, in the engine", run: as_of::run },
    Bench { name: "growth", about: "more entities, versions, repeats and late rows, in the engine", run: growth::run },
    Bench { name: "open", about: "opening 10 M entities, and replaying a log", run: open::run },
    Bench { name: "space", about: "bytes on disk, and bytes written", run: space::run },
];

/// Runs the benches named in `only`, or all; answers the names of those that failed.
pub(crate) fn run(harness: &mut Harness, only: &[String]) -> Result<Vec<&'static str>> {
    if let Some(unknown) = only.iter().find(|name| !BENCHES.iter().any(|bench| bench.name == name.as_str())) {
        let known: Vec<String> = BENCHES.iter().map(|bench| format!("  {:<10} {}", bench.name, bench.about)).collect();
        return Err(format!("there is no bench `{unknown}`; there are:\n{}", known.join("\n")).into());
    }
    let mut failed = Vec::new();
    for bench in BENCHES.iter().filter(|bench| only.is_empty() || only.iter().any(|name| name == bench.name)) {
        println!("{}: {}", bench.name, bench.about);
        harness.begin(bench.name);
        let started = Instant::now();
        if let Err(error) = (bench.run)(harness) {
            eprintln!("{}: {error}", bench.name);
            failed.push(bench.name);
        }
        println!("{}: {:.0} s\n", bench.name, started.elapsed().as_secs_f64());
    }
    Ok(failed)
}
