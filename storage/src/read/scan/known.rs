//! What is known of a scan's answer without reading any of it.

use super::pinned::Scan;
use crate::rows::{Rows, StepBound};
use crate::time::Micros;

/// What is exactly so of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exactly {
    /// How many rows there are.
    pub rows: u64,
    /// The least and greatest event time, if there is a row.
    pub event_times: Option<(Micros, Micros)>,
}

/// Which rows of a run a history shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Those of these steps,
    pub(super) steps: StepBound,
    /// from the first of these event times to the second, both included.
    pub(super) event_times: (Micros, Micros),
    /// Whether these are all, so that none needs to be looked at.
    pub(super) is_all: bool,
}

impl Scan {
    /// Which of `rows` a history shows.
    pub(super) fn seen(&self, rows: &Rows) -> Seen {
        let bounds = self.bounds.of(0);
        let steps = rows.steps.bound(bounds.known_at, self.snapshot.sequence());
        let (from, to) = self.event_times.unwrap_or((Micros::MIN, Micros::MAX));
        let (from, to) = (from, to.min(bounds.as_of));
        let (least, greatest) = rows.event_time_range;
        let is_all = steps.sees_all(&rows.steps) && from <= least && greatest <= to;
        Seen { steps, event_times: (from, to), is_all }
    }

    /// How many rows there are at most, told without reading any: for planning, not for answering.
    pub fn rows_at_most(&self) -> u64 {
        let of_bucket = |bucket: usize| {
            let runs = || self.view.buckets[bucket].runs();
            if self.history {
                return runs().map(|run| u64::from(run.rows.len())).sum();
            }
            let known = u64::from(self.state.dictionaries[bucket].len());
            let chosen = self.chosen.as_ref().map_or(known, |chosen| chosen[bucket].len() as u64);
            runs().map(|run| u64::from(run.rows.directory.entities())).sum::<u64>().min(chosen)
        };
        (0..self.view.buckets.len()).map(of_bucket).sum()
    }

    /// About how many bytes the answer takes at most.
    pub fn bytes_at_most(&self) -> u64 {
        self.rows_at_most().saturating_mul(self.row_bytes)
    }

    /// What is exactly so; `None` unless it is a history every row of which is seen, and no entity was ever erased.
    pub fn exactly(&self) -> Option<Exactly> {
        if !self.history || self.chosen.is_some() {
            return None;
        }
        let mut exactly = Exactly { rows: 0, event_times: None };
        for bucket in 0..self.view.buckets.len() as u32 {
            if !self.state.erased(bucket).is_empty() {
                return None;
            }
            for rows in self.view.buckets[bucket as usize].runs().map(|run| &run.rows).filter(|rows| !rows.is_empty()) {
                if !self.seen(rows).is_all {
                    return None;
                }
                let (least, greatest) = rows.event_time_range;
                exactly.rows += u64::from(rows.len());
                let known = exactly.event_times.unwrap_or((least, greatest));
                exactly.event_times = Some((known.0.min(least), known.1.max(greatest)));
            }
        }
        Some(exactly)
    }
}
