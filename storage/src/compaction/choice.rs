//! Which segments of a bucket to merge next: a pure decision over the manifest.
//!
//! While writes go on, size-tiered: groups of segments (what one merge wrote) fall into tiers by their bytes, each tier [`FAN_IN`] times
//! the one before. A tier with [`FAN_IN`] groups is merged together with everything smaller. A row is so rewritten
//! once per tier, and a bucket keeps at most `FAN_IN − 1` groups per tier. Once writes rest, what is small is merged into
//! what is large, where it is not too small for that: reads then look into one segment, or into few.

use std::collections::BTreeMap;

use crate::horizon::Before;
use crate::manifest::SegmentEntry;

/// Groups of one tier that are merged together.
pub const FAN_IN: usize = 4;
/// The bytes of the lowest tier.
const TIER_BYTES: u64 = 1 << 20;

/// A group takes smaller ones in, while writes rest, if together they are at least one in so many of its bytes: a row is
/// written again only when what lies around it grew by as much.
const REST_SHARE: u64 = 4;

/// Segments are merged to forget once one in so many of their rows has come to lie before the horizon since the last
/// such merge. Rows that had to stay then are not counted again, so each row is a reason once.
const FORGET_SHARE: u64 = 4;

/// A segment that a merge that forgets takes in: it reaches before the horizon, or has tombstones.
#[derive(Debug)]
pub struct Aged<'a> {
    /// As the manifest lists it.
    pub entry: &'a SegmentEntry,
    /// About how many of its rows lie before the horizon.
    pub before: Before,
}

/// The numbers of `segments`, which are all that a merge that forgets takes in, if there should be one.
pub fn choose_to_forget(segments: &[Aged<'_>]) -> Option<Vec<u64>> {
    let rows: u64 = segments.iter().map(|aged| u64::from(aged.entry.meta.rows)).sum();
    let passed = |side: fn(&Before) -> u64| -> u64 {
        segments.iter().map(|aged| side(&aged.before).saturating_sub(side(&aged.entry.stayed))).sum()
    };
    let passed = passed(|before| before.events).max(passed(|before| before.knowledge));
    let due = passed > 0 && passed >= rows / FORGET_SHARE;
    due.then(|| segments.iter().map(|aged| aged.entry.meta.number).collect())
}

/// The numbers of the segments to merge, if any should be.
pub fn choose(segments: &[SegmentEntry]) -> Option<Vec<u64>> {
    let groups = groups(segments);
    let mut tiers: BTreeMap<u32, usize> = BTreeMap::new();
    for &bytes in groups.values() {
        *tiers.entry(tier_of(bytes)).or_default() += 1;
    }
    // The greatest full tier takes all smaller ones with it: they would follow soon.
    let full = tiers.iter().rev().find(|(_, count)| **count >= FAN_IN).map(|(tier, _)| *tier)?;
    Some(numbers(segments, |group| groups.get(&group).is_some_and(|&bytes| tier_of(bytes) <= full)))
}

/// The numbers of the segments to merge while the table is not written, if any should be.
pub fn choose_at_rest(segments: &[SegmentEntry]) -> Option<Vec<u64>> {
    let mut groups: Vec<(u64, u64)> = groups(segments).into_iter().collect();
    groups.sort_unstable_by_key(|(_, bytes)| *bytes);
    let mut smaller = 0;
    let mut chosen = 0;
    for (count, &(_, bytes)) in groups.iter().enumerate() {
        if smaller > 0 && smaller >= bytes / REST_SHARE {
            chosen = count + 1;
        }
        smaller += bytes;
    }
    let merged: Vec<u64> = groups[..chosen].iter().map(|(group, _)| *group).collect();
    (chosen > 1).then(|| numbers(segments, |group| merged.contains(&group)))
}

/// The bytes of each group.
fn groups(segments: &[SegmentEntry]) -> BTreeMap<u64, u64> {
    let mut groups = BTreeMap::new();
    // What is frozen is not merged with others any more.
    for entry in segments.iter().filter(|entry| entry.ice.is_none()) {
        *groups.entry(entry.group).or_default() += entry.meta.length;
    }
    groups
}

/// The numbers of the segments of the groups that are `merged`.
fn numbers(segments: &[SegmentEntry], merged: impl Fn(u64) -> bool) -> Vec<u64> {
    segments.iter().filter(|entry| merged(entry.group)).map(|entry| entry.meta.number).collect()
}

fn tier_of(bytes: u64) -> u32 {
    let mut tier = 0;
    let mut bound = TIER_BYTES;
    while bytes > bound {
        bound = bound.saturating_mul(FAN_IN as u64);
        tier += 1;
    }
    tier
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::SegmentMeta;

    /// One segment per group, of so many MiB each, numbered from 0.
    fn entries(mebibytes: &[u64]) -> Vec<SegmentEntry> {
        let meta = |number: u64, length| SegmentMeta {
            number,
            length,
            footer_crc: 0,
            rows: 1,
            tombstones: 0,
            entities: 1,
            ordinal_min: 0,
            ordinal_max: 0,
            event_time_min: 0,
            event_time_max: 0,
            ingest_time_min: 0,
            ingest_time_max: 0,
            sequence_min: 0,
            sequence_max: 0,
            lead_max: 0,
        };
        let entry = |(number, size): (u64, &u64)| SegmentEntry {
            bucket: 0,
            group: number,
            stayed: Before::default(),
            meta: meta(number, size << 20),
            ice: None,
        };
        (0..).zip(mebibytes).map(entry).collect()
    }

    /// Segments of `rows`, of which so many lie before the horizon and so many had to stay.
    fn forgets(segments: &[(u32, u64, u64)]) -> bool {
        let mut entries = entries(&vec![1; segments.len()]);
        for (entry, (rows, _, stayed)) in entries.iter_mut().zip(segments) {
            entry.meta.rows = *rows;
            entry.stayed = Before { events: *stayed, knowledge: 0 };
        }
        let before = segments.iter().map(|(_, before, _)| Before { events: *before, knowledge: 0 });
        let aged: Vec<Aged<'_>> = entries.iter().zip(before).map(|(entry, before)| Aged { entry, before }).collect();
        choose_to_forget(&aged).is_some()
    }

    #[test]
    fn segments_forget_once_a_quarter_of_their_rows_came_before_the_horizon() {
        for (segments, due) in [
            (&[][..], false),
            (&[(100, 0, 0)], false),
            (&[(100, 24, 0)], false),
            (&[(100, 25, 0)], true),
            // What had to stay is no reason again.
            (&[(100, 100, 100)], false),
            (&[(100, 90, 70)], false),
            (&[(100, 95, 70)], true),
            // Together, for what one holds may be superseded in the other.
            (&[(1000, 900, 900), (100, 100, 0)], false),
            (&[(1000, 900, 900), (400, 350, 0)], true),
            // An estimate below what had to stay is none.
            (&[(1000, 800, 900), (10, 0, 0)], false),
        ] {
            assert_eq!(forgets(segments), due, "{segments:?}");
        }
    }

    #[test]
    fn a_full_tier_takes_the_smaller_ones() {
        assert_eq!(choose(&entries(&[16, 16, 16])), None);
        assert_eq!(choose(&entries(&[16, 16, 900, 16, 1, 16])), Some(vec![0, 1, 3, 4, 5]));
    }

    #[test]
    fn at_rest_small_ones_go_into_a_large_one_unless_too_small() {
        for (sizes, merged) in [
            (&[16][..], None),
            (&[16, 16], Some(vec![0, 1])),
            (&[100, 10, 1], None),
            (&[100, 20, 6], Some(vec![0, 1, 2])),
            (&[1000, 20, 6], Some(vec![1, 2])),
            (&[], None),
        ] {
            assert_eq!(choose_at_rest(&entries(sizes)), merged, "{sizes:?}");
        }
    }
}
