//! What the first pass over the winners finds: which ordinals have any, and which features share their event times.
//!
//! Features that are always written together have winners with equal event times; one time per *time group* and row
//! is then enough. The partition is only ever refined: all features start in one group, and a feature leaves it for a
//! group of its own (or of others that leave with the same times) at the first stretch in which it differs. A feature
//! without a winner (never, deleted) has no event time there and agrees with everything.

use super::{DELETED, NEVER, StretchColumn};

/// The findings of the first pass.
#[derive(Debug)]
pub(super) struct Survey {
    /// The time group of each feature, numbered from 0 in the order of their first feature.
    groups: Vec<u16>,
    group_count: u16,
    /// One bit per ordinal: whether any feature has a status other than never.
    presence: Vec<u64>,
    ordinals: u32,
}

/// The times that the members of a group have in the present stretch, as far as any has one.
struct TimeGroup {
    number: u16,
    parent: u16,
    times: Vec<i64>,
    known: Vec<bool>,
}

impl Survey {
    /// A survey of `features` features over no ordinals yet.
    pub(super) fn new(features: usize) -> Self {
        assert!(features <= usize::from(u16::MAX), "a table has fewer than 65,536 features");
        Self { groups: vec![0; features], group_count: 1, presence: Vec::new(), ordinals: 0 }
    }

    /// Adds the next ordinals.
    pub(super) fn add(&mut self, columns: &[StretchColumn], length: usize) {
        self.refine(columns, length);
        let mut present = vec![false; length];
        for column in columns {
            for (present, &status) in present.iter_mut().zip(&column.statuses) {
                *present |= status != NEVER;
            }
        }
        for present in present {
            let at = self.ordinals as usize;
            if at.is_multiple_of(64) {
                self.presence.push(0);
            }
            self.presence[at / 64] |= u64::from(present) << (at % 64);
            self.ordinals += 1;
        }
    }

    /// The time group of each feature, and how many there are.
    pub(super) fn groups(&self) -> (&[u16], u16) {
        (&self.groups, self.group_count)
    }

    /// One bit per ordinal: whether it has a row.
    pub(super) fn presence(&self) -> &[u64] {
        &self.presence
    }

    /// Whether `ordinal` has a row.
    pub(super) fn is_present(&self, ordinal: u32) -> bool {
        self.presence[ordinal as usize / 64] >> (ordinal % 64) & 1 == 1
    }

    /// How many ordinals were surveyed.
    pub(super) fn ordinals(&self) -> u32 {
        self.ordinals
    }

    /// How many ordinals have a row.
    pub(super) fn rows(&self) -> u32 {
        self.presence.iter().map(|word| word.count_ones()).sum()
    }

    fn refine(&mut self, columns: &[StretchColumn], length: usize) {
        let mut groups: Vec<TimeGroup> = Vec::new();
        for (feature, column) in columns.iter().enumerate() {
            let parent = self.groups[feature];
            // Only groups that split off in this very stretch: any other one may have differed before.
            let fits = groups.iter_mut().filter(|group| group.parent == parent).find(|group| group.agrees(column));
            let group = match fits {
                Some(group) => group,
                None => {
                    let first = groups.iter().all(|group| group.parent != parent);
                    let number = if first { parent } else { self.group_count };
                    self.group_count += u16::from(!first);
                    groups.push(TimeGroup { number, parent, times: vec![0; length], known: vec![false; length] });
                    groups.last_mut().expect("just pushed")
                }
            };
            group.join(column);
            self.groups[feature] = group.number;
        }
    }
}

impl TimeGroup {
    fn agrees(&self, column: &StretchColumn) -> bool {
        let times = self.times.iter().zip(&self.known).zip(column.event_times.iter().zip(&column.statuses));
        times.fold(true, |agrees, ((mine, known), (its, status))| {
            agrees & (mine == its || !*known || *status >= DELETED)
        })
    }

    fn join(&mut self, column: &StretchColumn) {
        for (index, (&time, &status)) in column.event_times.iter().zip(&column.statuses).enumerate() {
            if status < DELETED {
                self.times[index] = time;
                self.known[index] = true;
            }
        }
    }
}
