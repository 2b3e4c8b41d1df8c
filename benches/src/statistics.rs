//! What a measurement is: one reading, or an error; medians and percentiles of many.

use std::time::Duration;

/// Whatever goes wrong ends the bench that it happens in, with a sentence.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One number that a round measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    /// What was measured, of which work.
    pub metric: String,
    /// `vectors/s`, `ms`, `s`, …
    pub unit: &'static str,
    /// How much.
    pub value: f64,
}

impl Reading {
    /// `value` of `metric`.
    pub(crate) fn new(metric: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self { metric: metric.into(), unit, value }
    }
}

/// The middle of `values`; not a number if there are none.
pub(crate) fn median(values: Vec<f64>) -> f64 {
    percentile(values, 0.5)
}

/// The least of `values` that a share of `share` is at or below; not a number if there are none.
pub(crate) fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * share).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The median and the 99th percentile of `waits`, in milliseconds.
pub(crate) fn latencies(work: &str, waits: &[Duration]) -> [Reading; 2] {
    let millis: Vec<f64> = waits.iter().map(|wait| wait.as_secs_f64() * 1e3).collect();
    [
        Reading::new(format!("{work}, p50"), "ms", percentile(millis.clone(), 0.5)),
        Reading::new(format!("{work}, p99"), "ms", percentile(millis, 0.99)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_there() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(values.clone(), 0.99), 99.0);
        assert_eq!(percentile(values.clone(), 0.5), 50.0);
        assert_eq!(percentile(values, 1.0), 100.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert!(median(Vec::new()).is_nan());
    }
}
