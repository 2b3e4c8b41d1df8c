//! What a run found: figures, and targets that they meet or miss, as a table for people and as JSON for programs.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::statistics::Result;

/// The system that everything else is compared with.
pub(crate) const FIRN: &str = "FirnDB";

/// One median.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// Which bench.
    pub bench: String,
    /// Which system.
    pub system: String,
    /// What was measured, of which work.
    pub metric: String,
    /// `vectors/s`, `ms`, `s`, …
    pub unit: String,
    /// How much.
    pub value: f64,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bench, system, metric, unit, value } = self;
        write!(f, "{bench:<10} {system:<28} {metric:<52} {:>12} {unit}", readable(*value))
    }
}

/// What a target demands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {}", readable(*bound)),
            Self::AtMost(bound) => write!(f, "≤ {}", readable(*bound)),
        }
    }
}

/// A target and what it came to.
#[derive(Debug, Clone, PartialEq)]
struct Target {
    bench: String,
    what: String,
    /// None where a system that it needs was not measured.
    measured: Option<f64>,
    bound: Bound,
}

impl Target {
    fn outcome(&self) -> &'static str {
        match (self.measured, self.bound) {
            (None, _) => "not measured",
            (Some(value), Bound::AtLeast(bound)) if value >= bound => "met",
            (Some(value), Bound::AtMost(bound)) if value <= bound => "met",
            (Some(_), _) => "MISSED",
        }
    }
}

/// Everything that a run found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The medians, in the order of measuring.
    pub figures: Vec<Figure>,
    targets: Vec<Target>,
}

impl Report {
    /// A median, if it was measured.
    pub(crate) fn value(&self, bench: &str, system: &str, metric: &str) -> Option<f64> {
        let is_it = |figure: &&Figure| figure.bench == bench && figure.system == system && figure.metric == metric;
        self.figures.iter().find(is_it).map(|figure| figure.value)
    }

    /// Adds a target.
    pub(crate) fn target(&mut self, bench: &str, what: &str, measured: Option<f64>, bound: Bound) {
        self.targets.push(Target { bench: bench.to_owned(), what: what.to_owned(), measured, bound });
    }

    /// How many targets were missed.
    pub(crate) fn missed(&self) -> usize {
        self.targets.iter().filter(|target| target.outcome() == "MISSED").count()
    }

    /// Writes the figures to `path`, as a JSON list.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        Ok(std::fs::write(path, serde_json::to_vec_pretty(&self.figures)?)?)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ratio = format!("{FIRN} ÷ it");
        writeln!(f, "{:<10} {:<28} {:<52} {:>12} {:<10} {ratio:>12}", "bench", "system", "metric", "median", "unit")?;
        for figure in &self.figures {
            let ours = self.value(&figure.bench, FIRN, &figure.metric).filter(|_| figure.system != FIRN);
            let ratio = ours.map_or_else(String::new, |ours| readable(ours / figure.value));
            let Figure { bench, system, metric, unit, value } = figure;
            writeln!(f, "{bench:<10} {system:<28} {metric:<52} {:>12} {unit:<10} {ratio:>12}", readable(*value))?;
        }
        writeln!(f, "\n{:<10} {:<80} {:>12} {:>12}  outcome", "bench", "target", "measured", "bound")?;
        for target in &self.targets {
            let measured = target.measured.map_or_else(|| "-".to_owned(), readable);
            let (bench, what, bound) = (&target.bench, &target.what, target.bound.to_string());
            writeln!(f, "{bench:<10} {what:<80} {measured:>12} {bound:>12}  {}", target.outcome())?;
        }
        Ok(())
    }
}

/// A number with three or four digits that matter.
pub(crate) fn readable(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.2} M", value / 1e6),
        size if size >= 1e4 => format!("{:.1} k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_met_missed_or_not_measured() {
        let mut report = Report::default();
        report.target("b", "enough", Some(2.0), Bound::AtLeast(2.0));
        report.target("b", "too much", Some(2.1), Bound::AtMost(2.0));
        report.target("b", "no peer", None, Bound::AtLeast(2.0));
        report.target("b", "not a number", Some(f64::NAN), Bound::AtMost(2.0));
        let outcomes: Vec<_> = report.targets.iter().map(Target::outcome).collect();
        assert_eq!(outcomes, ["met", "MISSED", "not measured", "MISSED"]);
        assert_eq!(report.missed(), 2);
    }

    #[test]
    fn numbers_keep_the_digits_that_matter() {
        assert_eq!(
            [2_345_678.0, 23_456.0, 234.0, 2.345, 0.023_45].map(readable),
            ["2.35 M", "23.5 k", "234", "2.35", "0.0234"]
        );
    }
}
