//! What a new pack takes from the one before: the winners of entities that were not written since. They need not be sought
//! in history again, which may lie in the bucket.

use arrow_array::BooleanArray;
use arrow_schema::DataType;
use arrow_select::zip::zip;

use crate::error::Result;
use crate::pack::gather;
use crate::pack::{DELETED, NEVER, StretchColumn};
use crate::view::LatestPack;

/// The pack before, as far as it holds what the new one does.
pub(super) struct Kept<'a> {
    latest: &'a LatestPack,
    /// Where each feature is in it.
    indexes: Vec<usize>,
}

impl<'a> Kept<'a> {
    /// Of a pack of the same `shape`, whose features are those of the new one.
    pub(super) fn of(latest: &'a LatestPack, shape: u64, features: &[(u32, DataType)]) -> Option<Self> {
        let features = features.iter().map(|(id, data_type)| (*id, data_type));
        let indexes = latest.pack.layout().indexes_alike(features).filter(|_| latest.shape == shape)?;
        Some(Self { latest, indexes })
    }

    /// Whether the winners of `ordinal` are here.
    pub(super) fn has(&self, ordinal: u32) -> bool {
        ordinal < self.latest.pack.ordinals() && !self.latest.dirty.contains(ordinal)
    }

    /// Puts the winners of the feature at `slot` of those ordinals from `start` on that are `kept` into `column`, which has
    /// those of all others.
    pub(super) fn put(&self, slot: usize, start: u32, kept: &[bool], column: &mut StretchColumn) -> Result<()> {
        let pack = &self.latest.pack;
        let index = self.indexes[slot];
        let group = pack.layout().features()[index].group;
        for (place, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
            let row = pack.row(start + place as u32)?;
            let status = pack.layout().status(row, index);
            column.statuses[place] = status;
            let won = !matches!(status, NEVER | DELETED);
            column.event_times[place] = if won { pack.layout().event_time(row, group) } else { 0 };
        }
        if let Some(values) = &column.values {
            // Of an ordinal that no pack has there are no values.
            let known = |place: usize| if kept[place] { start + place as u32 } else { u32::MAX };
            let ordinals: Vec<u32> = (0..kept.len()).map(known).collect();
            let here = gather::values(pack, index, &ordinals)?;
            column.values = Some(zip(&BooleanArray::from(kept.to_vec()), &here, values)?);
        }
        Ok(())
    }
}
