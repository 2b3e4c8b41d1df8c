//! Measures FirnDB, its peers and the limits on the same work in the same run, and prints one table.

mod bench;
mod chart;
mod data;
mod echo;
mod engine;
mod firn;
mod harness;
mod load;
mod machine;
mod peers;
mod process;
mod redis;
mod report;
mod statistics;

use std::path::PathBuf;
use std::process::ExitCode;

/// A request makes many small allocations on many threads, which the allocator of libc serves slowly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use clap::{Parser, Subcommand};

use harness::{Harness, Result, Settings};

/// Measures FirnDB, its peers and the limits.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these benches, separated by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Divides the sizes, for a quick look.
    #[arg(long, default_value_t = 1)]
    shrink: usize,
    /// Rounds of each system; the median is reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measures no peers, and so installs none.
    #[arg(long)]
    without_peers: bool,
    /// Measures also what takes long.
    #[arg(long)]
    full: bool,
    /// Where data, logs, charts and the report go; beside the programs if not given.
    #[arg(long)]
    output: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Child>,
}

/// What this program is when it is a child of itself.
#[derive(Debug, Subcommand)]
enum Child {
    /// Answers exchanges with what is built already.
    #[command(hide = true)]
    Echo {
        #[arg(long)]
        port: u16,
        #[arg(long)]
        features: usize,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Child::Echo { port, features }) => echo_child(port, features),
        None => measure(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("firn-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn echo_child(port: u16, features: usize) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(echo::serve(port, features))
}

fn measure(arguments: Arguments) -> Result<()> {
    let output = match arguments.output {
        Some(output) => output,
        None => {
            let this = std::env::current_exe()?;
            let target = this.parent().and_then(|folder| folder.parent()).ok_or("the program lies in no folder")?;
            target.join("bench")
        }
    };
    let settings = Settings {
        shrink: arguments.shrink.max(1),
        rounds: arguments.rounds.max(1),
        peers: !arguments.without_peers,
        full: arguments.full,
        output,
    };
    let mut harness = Harness::new(settings)?;
    println!("{}\n", machine::description()?);
    if harness.settings.shrink > 1 {
        println!(
            "Sizes are divided by {}: figures show that the benches run, targets mean nothing.\n",
            harness.settings.shrink
        );
    }
    let failed = bench::run(&mut harness, &arguments.only)?;
    let report = harness.write_report()?;
    println!("\n{}", harness.report);
    println!("{} targets missed; the figures are in {}", harness.report.missed(), report.display());
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("these benches failed: {}", failed.join(", ")).into()),
    }
}
