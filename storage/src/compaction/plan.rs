//! Which segments of a bucket to merge next: a pure decision over the manifest.
//!
//! Size-tiered: groups of segments (what one merge wrote) fall into tiers by their bytes, each tier [`FAN_IN`] times
//! the one before. A tier with [`FAN_IN`] groups is merged together with everything smaller. A row is so rewritten
//! once per tier, and a bucket keeps at most `FAN_IN − 1` groups per tier.

use std::collections::BTreeMap;

use crate::manifest::SegmentEntry;

/// Groups of one tier that are merged together.
pub const FAN_IN: usize = 4;
/// The bytes of the lowest tier.
const TIER_BYTES: u64 = 1 << 20;

/// The numbers of the segments to merge, if any should be.
pub fn choose(segments: &[SegmentEntry]) -> Option<Vec<u64>> {
    let mut groups: BTreeMap<u64, u64> = BTreeMap::new();
    for entry in segments {
        *groups.entry(entry.group).or_default() += entry.meta.length;
    }
    let mut tiers: BTreeMap<u32, usize> = BTreeMap::new();
    for &bytes in groups.values() {
        *tiers.entry(tier_of(bytes)).or_default() += 1;
    }
    // The greatest full tier takes all smaller ones with it: they would follow soon.
    let full = tiers.iter().rev().find(|(_, count)| **count >= FAN_IN).map(|(tier, _)| *tier)?;
    let merged = |group: &u64| groups.get(group).is_some_and(|&bytes| tier_of(bytes) <= full);
    Some(segments.iter().filter(|entry| merged(&entry.group)).map(|entry| entry.meta.number).collect())
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
