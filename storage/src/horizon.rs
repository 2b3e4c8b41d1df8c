//! The horizon of a table, and how much of a segment lies before it.
//!
//! How much is estimated from a sample, so that nobody reads a large segment to learn that it may be left alone. The
//! sample decides when to look closer, never what an answer is.

use serde::{Deserialize, Serialize};

use crate::rows::Rows;
use crate::time::{Micros, Sequence};

/// How far back a table may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Horizon {
    /// The least event bound.
    pub events: Micros,
    /// The least knowledge bound.
    pub knowledge: Micros,
    /// The least position.
    pub sequence: Sequence,
    /// Rows of this event time and before may be gone: no event bound would pick them, but a window might count them. Never after
    /// `events`.
    pub rows: Micros,
}

/// A horizon as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    events: Micros,
    knowledge: Micros,
    sequence: Sequence,
    /// As `events` if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<Micros>,
}

impl From<Stored> for Horizon {
    fn from(Stored { events, knowledge, sequence, rows }: Stored) -> Self {
        Self { events, knowledge, sequence, rows: rows.unwrap_or(events) }
    }
}

impl From<Horizon> for Stored {
    fn from(Horizon { events, knowledge, sequence, rows }: Horizon) -> Self {
        Self { events, knowledge, sequence, rows: (rows != events).then_some(rows) }
    }
}

impl Default for Horizon {
    fn default() -> Self {
        Self { events: i64::MIN, knowledge: i64::MIN, sequence: 0, rows: i64::MIN }
    }
}

/// Rows that lie before a horizon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// By their event times.
    pub events: u64,
    /// By the commits that they came in.
    pub knowledge: u64,
}

impl Before {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Counts all `rows`.
    pub fn of(rows: &Rows, horizon: &Horizon) -> Self {
        let events = rows.event_times.iter().filter(|&&time| time <= horizon.rows).count() as u64;
        let steps = rows.steps.sequences.partition_point(|&sequence| sequence <= horizon.sequence) as u32;
        let knowledge = rows.row_steps.iter().filter(|&&step| step < steps).count() as u64;
        Self { events, knowledge }
    }
}

/// Rows of a segment that are looked at.
const SAMPLE: u32 = 1024;

/// The times of some rows of a segment.
#[derive(Debug)]
pub struct Ages {
    rows: u64,
    /// Ascending.
    event_times: Vec<Micros>,
    /// Ascending.
    sequences: Vec<Sequence>,
}

impl Ages {
    /// Looks at some of `rows`, whose bytes nobody need have checked.
    pub fn of(rows: &Rows) -> Self {
        let length = rows.len();
        // Scattered, for the rows of an entity lie in the order of their times.
        let scattered = |at: u32| ((u64::from(at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) * u64::from(length)) >> 32;
        let chosen = |at: u32| if length <= SAMPLE { at as usize } else { scattered(at) as usize };
        let chosen: Vec<usize> = (0..length.min(SAMPLE)).map(chosen).collect();
        let mut event_times: Vec<Micros> = chosen.iter().map(|&row| rows.event_times[row]).collect();
        let step = |row: &usize| rows.steps.sequences.get(rows.row_steps[*row] as usize).copied();
        let mut sequences: Vec<Sequence> = chosen.iter().filter_map(step).collect();
        event_times.sort_unstable();
        sequences.sort_unstable();
        Self { rows: u64::from(length), event_times, sequences }
    }

    /// About how many of the rows lie before `horizon`.
    pub fn before(&self, horizon: &Horizon) -> Before {
        let share = |below: usize, of: usize| self.rows * below as u64 / of.max(1) as u64;
        let events = self.event_times.partition_point(|&time| time <= horizon.rows);
        let knowledge = self.sequences.partition_point(|&sequence| sequence <= horizon.sequence);
        Before { events: share(events, self.event_times.len()), knowledge: share(knowledge, self.sequences.len()) }
    }
}
