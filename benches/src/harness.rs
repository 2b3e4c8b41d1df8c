//! What all benches share: the settings of a run, the place for its files, and measuring systems in turn.
//!
//! Systems that are compared work in turn, round by round, so that whatever else the machine does meets all of them.
//! Every figure is the median of its rounds. The first round of each is thrown away: it warms caches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::chart;
use crate::report::{Bound, Figure, Report};
use crate::statistics::median;
pub(crate) use crate::statistics::{Reading, Result};

/// The folder of data directories.
const DATA: &str = "data";

/// The settings of a run.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Divides every size.
    pub shrink: usize,
    /// Rounds that count, of each system.
    pub rounds: usize,
    /// Whether peers are measured too.
    pub peers: bool,
    /// Whether the sizes that take long are measured too.
    pub full: bool,
    /// Where data, logs, charts and the report go.
    pub output: PathBuf,
}

impl Settings {
    /// Tables are flushed when their oldest row in memory is this old, so that a bench need not wait ten minutes for
    /// what a database does by itself.
    pub(crate) fn flush_age(&self) -> Duration {
        if self.is_tiny() { Duration::from_millis(100) } else { Duration::from_secs(2) }
    }

    /// Background work counts as done when nothing has changed for this long: longer than packs wait for writes to end.
    pub(crate) fn quiet(&self) -> Duration {
        if self.is_tiny() { Duration::from_millis(500) } else { Duration::from_millis(4500) }
    }

    /// Whether figures mean nothing, because only the harness itself is tried.
    pub(crate) fn is_tiny(&self) -> bool {
        self.shrink >= 100
    }
}

/// A system under test: one round of it does the bench's work once and says what it measured.
pub(crate) struct System<'a> {
    name: String,
    round: Box<dyn FnMut() -> Result<Vec<Reading>> + 'a>,
}

impl<'a> System<'a> {
    /// A system called `name`.
    pub(crate) fn new(name: impl Into<String>, round: impl FnMut() -> Result<Vec<Reading>> + 'a) -> Self {
        Self { name: name.into(), round: Box::new(round) }
    }
}

/// A run of the harness.
#[derive(Debug)]
pub(crate) struct Harness {
    /// How to measure.
    pub settings: Settings,
    /// What was measured.
    pub report: Report,
    /// Where client code runs.
    pub runtime: Runtime,
    bench: &'static str,
    kept: BTreeMap<&'static str, tempfile::TempDir>,
}

impl Harness {
    /// A run that has not measured anything.
    pub(crate) fn new(settings: Settings) -> Result<Self> {
        std::fs::create_dir_all(&settings.output)?;
        let left_over = settings.output.join(DATA);
        if left_over.exists() {
            // A run that was cut off could not remove its own.
            std::fs::remove_dir_all(left_over)?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        Ok(Self { settings, report: Report::default(), runtime, bench: "", kept: BTreeMap::new() })
    }

    /// Begins the bench `name`, to which the following figures belong.
    pub(crate) fn begin(&mut self, name: &'static str) {
        self.bench = name;
    }

    /// `size` divided as the run says, but at least `least`.
    pub(crate) fn sized(&self, size: usize, least: usize) -> usize {
        (size / self.settings.shrink).max(least)
    }

    /// A directory that goes away with what is returned.
    pub(crate) fn directory(&self) -> Result<tempfile::TempDir> {
        let parent = self.settings.output.join(DATA);
        std::fs::create_dir_all(&parent)?;
        Ok(tempfile::tempdir_in(parent)?)
    }

    /// Writes the report and its charts; where the report is.
    pub(crate) fn write_report(&self) -> Result<PathBuf> {
        let path = self.settings.output.join("report.json");
        self.report.write(&path)?;
        chart::write_all(&self.report, &self.settings.output)?;
        Ok(path)
    }

    /// Where the process `name` writes what it says.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.settings.output.join(format!("{name}.log"))
    }

    /// Measures `systems` in turn and reports the medians.
    pub(crate) fn alternate(&mut self, systems: Vec<System<'_>>) -> Result<()> {
        let rounds = self.settings.rounds;
        self.alternate_rounds(rounds, systems)
    }

    /// The same with another number of rounds, for work that takes long.
    pub(crate) fn alternate_rounds(&mut self, rounds: usize, mut systems: Vec<System<'_>>) -> Result<()> {
        let mut readings: Vec<Vec<Vec<Reading>>> = systems.iter().map(|_| Vec::new()).collect();
        for round in 0..=rounds {
            for (system, readings) in systems.iter_mut().zip(&mut readings) {
                let reading = (system.round)().map_err(|error| format!("{}: {error}", system.name))?;
                if round > 0 {
                    readings.push(reading);
                }
            }
        }
        for (system, rounds) in systems.iter().zip(&readings) {
            for reading in middle(rounds) {
                self.record(&system.name, reading);
            }
        }
        Ok(())
    }

    /// Reports a figure that needs no rounds.
    pub(crate) fn record(&mut self, system: &str, reading: Reading) {
        let Reading { metric, unit, value } = reading;
        let figure =
            Figure { bench: self.bench.to_owned(), system: system.to_owned(), metric, unit: unit.to_owned(), value };
        println!("{figure}");
        self.report.figures.push(figure);
    }

    /// What was measured of `system` in this bench.
    pub(crate) fn value(&self, system: &str, metric: &str) -> Option<f64> {
        self.report.value(self.bench, system, metric)
    }

    /// The ratio of two figures of this bench, if both were measured.
    pub(crate) fn ratio(&self, of: (&str, &str), to: (&str, &str)) -> Option<f64> {
        Some(self.value(of.0, of.1)? / self.value(to.0, to.1)?)
    }

    /// Says what this bench should have come to.
    pub(crate) fn target(&mut self, what: &str, measured: Option<f64>, bound: Bound) {
        let bench = self.bench;
        self.report.target(bench, what, measured, bound);
    }

    /// The data directory `name` that an earlier bench of this run left, if one did.
    pub(crate) fn kept(&self, name: &str) -> Option<PathBuf> {
        self.kept.get(name).map(|directory| directory.path().to_owned())
    }

    /// Keeps a data directory until the end of the run; where it is.
    pub(crate) fn keep(&mut self, name: &'static str, directory: tempfile::TempDir) -> PathBuf {
        let path = directory.path().to_owned();
        self.kept.insert(name, directory);
        path
    }
}

/// The medians over rounds, metric by metric in the order of the first round.
fn middle(rounds: &[Vec<Reading>]) -> Vec<Reading> {
    let Some(first) = rounds.first() else { return Vec::new() };
    let of =
        |metric: &str| rounds.iter().flatten().filter(|reading| reading.metric == metric).map(|r| r.value).collect();
    first.iter().map(|reading| Reading { value: median(of(&reading.metric)), ..reading.clone() }).collect()
}

/// The program `name` that was built beside this one.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let found = this.parent().unwrap_or(Path::new(".")).join(name);
    if !found.exists() {
        let place = found.display();
        return Err(format!("{place} is missing; build it with `cargo build --release --workspace`").into());
    }
    Ok(found)
}

/// Copies all files of `from` into `to`.
pub(crate) fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
