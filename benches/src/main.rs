//! Measures the engine in-process and prints one line per figure: medians, and the work that they are of.

mod data;
mod engine;

use clap::Parser;

/// Measures FirnDB's engine.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only the bench of this name: ingest, latest, join, reopen.
    #[arg(long)]
    only: Option<String>,
    /// Divides the sizes, for a quick look.
    #[arg(long, default_value_t = 1)]
    shrink: usize,
    /// Runs of each measurement; the median is printed.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let wanted = |name: &str| arguments.only.as_deref().is_none_or(|only| only == name);
    if wanted("latest") {
        engine::latest(arguments.shrink, arguments.runs)?;
    }
    if wanted("ingest") || wanted("join") || wanted("reopen") {
        engine::history(arguments.shrink, arguments.runs)?;
    }
    Ok(())
}
