//! What a new pack takes from the one before: the winners of entities that were not written since. They need not be sought
//! in history again, which may lie in the bucket.

use arrow_array::{ArrayRef, BooleanArray};
use arrow_buffer::{MutableBuffer, NullBuffer};
use arrow_schema::DataType;
use arrow_select::zip::zip;

use crate::error::Result;
use crate::pack::gather::gather;
use crate::pack::{DELETED, NEVER, Slot, StretchColumn, VALUE, array_of};
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
            let here = self.values(slot, start, kept, &column.statuses)?;
            column.values = Some(zip(&BooleanArray::from(kept.to_vec()), &here, values)?);
        }
        Ok(())
    }

    /// The values of all ordinals from `start` on that are `kept`; anything for the others.
    fn values(&self, slot: usize, start: u32, kept: &[bool], statuses: &[u8]) -> Result<ArrayRef> {
        let pack = &self.latest.pack;
        let feature = &pack.layout().features()[self.indexes[slot]];
        let Slot::Fixed { width, .. } = feature.slot else {
            let Slot::Variable(variable) = feature.slot else { unreachable!("a slot is fixed or variable") };
            // Of one that is not kept nothing is asked for: the pack may not have it.
            let known = |place: usize| if kept[place] { start + place as u32 } else { 0 };
            return pack.gather_variable(variable, &(0..kept.len()).map(known).collect::<Vec<u32>>());
        };
        let mut cells = MutableBuffer::from_len_zeroed(width as usize * kept.len());
        let places = (0u32..).zip(kept).filter(|(_, kept)| **kept);
        let rows = places.map(|(place, _)| Ok((place, pack.row(start + place)?)));
        let cell = pack.layout().cell(self.indexes[slot]);
        gather(rows, &[cell], &mut [cells.as_slice_mut()], |_, _, _| {})?;
        let valid = statuses.iter().zip(kept).map(|(status, kept)| *kept && *status == VALUE);
        array_of(&feature.data_type, cells.into(), Some(NullBuffer::from_iter(valid)))
    }
}
