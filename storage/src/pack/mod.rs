//! The latest pack: the winners of each entity of one bucket of one table as one row, at one position.
//!
//! A pack is derived and can be built again at any time; once built it never changes. What was written since its
//! position lies over it, in the memtable. Rows are indexed by ordinal: fixed-width cells lie together in the row,
//! all others in one array per feature and stretch of ordinals beside it. Every row carries each feature's status and
//! one event time per *time group*, so that max age can be applied; it knows nothing of bounds: a read that asks for
//! anything but the latest at or after the position does not look here.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow_array::{Array, ArrayRef, new_null_array};
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_schema::DataType;

use crate::blocks::{Blocks, number_at};
use crate::error::Result;
use crate::io::Files;
use crate::segment::format::caught;
use crate::time::{Micros, Sequence};

pub mod gather;

mod cells;
mod format;
mod layout;
mod meta;
mod survey;
#[cfg(test)]
mod tests;
mod writer;

pub use self::cells::array_of;
pub(crate) use self::format::block_list;
use self::format::{Description, Presence};
pub use self::layout::{Cell, Layout, PackFeature, Slot};
pub use self::meta::{PackMeta, file_name};
pub use self::writer::{build, memory_bytes};

/// The winner is a value.
pub const VALUE: u8 = 0;
/// The winner is an explicit null.
pub const NULL: u8 = 1;
/// A delete came before any cell.
pub const DELETED: u8 = 2;
/// Nothing was found.
pub const NEVER: u8 = 3;

/// The winners of one feature for consecutive ordinals.
#[derive(Debug, Clone)]
pub struct StretchColumn {
    /// [`VALUE`], [`NULL`], [`DELETED`] or [`NEVER`] per ordinal.
    pub statuses: Vec<u8>,
    /// The winner's event time per ordinal; means nothing where the status is deleted or never.
    pub event_times: Vec<Micros>,
    /// The values per ordinal, null where the status is not value. `None` if only statuses and times were asked for.
    pub values: Option<ArrayRef>,
}

/// Where the winners come from when a pack is built.
pub trait Winners {
    /// The winners of the ordinals `start .. start + length`, one column per feature in the order in which the pack
    /// was asked for. Asked twice for every stretch, in order, first without `values`; the answers must be the same.
    fn stretch(&mut self, start: u32, length: usize, values: bool) -> Result<Vec<StretchColumn>>;
}

/// A pack, opened.
#[derive(Debug)]
pub struct Pack {
    meta: PackMeta,
    blocks: Blocks,
    layout: Layout,
    stretch_shift: u32,
    stretches_offset: usize,
    /// Per stretch: where its rows start, and how many rows come before them.
    stretches: Vec<(usize, u32)>,
    presence: Option<Presence>,
    /// What an ordinal without a row looks like.
    absent: Vec<u8>,
    /// Per variable feature, once touched, per stretch, once touched.
    variables: Vec<OnceLock<Box<[OnceLock<ArrayRef>]>>>,
}

/// Where a row is: its stretch and its place there.
#[derive(Debug, Clone, Copy)]
struct Location {
    stretch: usize,
    place: usize,
}

impl Pack {
    /// Opens the file that `meta` describes: maps it and checks its shape, not its rows.
    pub fn open(files: &Arc<dyn Files>, meta: &PackMeta) -> Result<Self> {
        let blocks = format::open(files, meta)?;
        let (description, layout) = format::describe(&blocks, meta)?;
        let stretches = format::stretches(&blocks, &description, &layout)?;
        let presence = Presence::open(&blocks, &description)?;
        let mut absent = vec![0; layout.stride()];
        (0..layout.features().len()).for_each(|index| layout.set_status(&mut absent, index, NEVER));
        let variables = (0..layout.variables()).map(|_| OnceLock::new()).collect();
        let Description { stretch_ordinals, stretches: stretches_offset, .. } = description;
        let (stretch_shift, stretches_offset) = (stretch_ordinals.trailing_zeros(), stretches_offset as usize);
        let meta = meta.clone();
        Ok(Self { meta, blocks, layout, stretch_shift, stretches_offset, stretches, presence, absent, variables })
    }

    /// What the manifest remembers of this pack.
    pub fn meta(&self) -> &PackMeta {
        &self.meta
    }

    /// How many ordinals have a row.
    pub fn rows(&self) -> u32 {
        self.meta.rows
    }

    /// How many ordinals the pack covers.
    pub fn ordinals(&self) -> u32 {
        self.meta.ordinals
    }

    /// The commit up to which the winners count everything.
    pub fn position(&self) -> Sequence {
        self.meta.position
    }

    /// Where everything lies in a row.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The row of `ordinal`, its bytes checked; one whose statuses are all never if it has none.
    #[inline]
    pub fn row(&self, ordinal: u32) -> Result<&[u8]> {
        match self.locate(ordinal)? {
            Some(Location { stretch, place }) => {
                let stride = self.layout.stride();
                self.blocks.range(self.stretches[stretch].0 + place * stride, stride)
            }
            None => Ok(&self.absent),
        }
    }

    /// The rows of `ordinals` as they lie one after another, their bytes checked: as many of the first of them as lie so;
    /// none of a pack in which some ordinal has no row.
    pub fn rows_together(&self, ordinals: Range<u32>) -> Result<&[u8]> {
        assert!(ordinals.end <= self.meta.ordinals, "the caller asks for ordinals of this pack");
        if self.presence.is_some() {
            return Ok(&[]);
        }
        let (stretch, stride) = ((ordinals.start >> self.stretch_shift) as usize, self.layout.stride());
        let place = (ordinals.start & ((1 << self.stretch_shift) - 1)) as usize;
        let rows = ordinals.len().min((1 << self.stretch_shift) - place);
        self.blocks.range(self.stretches[stretch].0 + place * stride, rows * stride)
    }

    /// The array that holds the value of the `index`-th variable feature for `ordinal`, and the place there; `None`
    /// if the ordinal has no row. The array is read, checked and kept at its first use.
    pub fn variable(&self, index: u32, ordinal: u32) -> Result<Option<(&ArrayRef, usize)>> {
        match self.locate(ordinal)? {
            Some(Location { stretch, place }) => Ok(Some((self.array(index, stretch)?, place))),
            None => Ok(None),
        }
    }

    /// The values of the `index`-th variable feature for `ordinals`; null for those that have no row or no value.
    pub fn gather_variable(&self, index: u32, ordinals: &[u32]) -> Result<ArrayRef> {
        let nothing = new_null_array(self.variable_type(index), 1);
        let mut arrays: Vec<&dyn Array> = vec![nothing.as_ref()];
        let mut array_of_stretch = vec![0; self.stretches.len()];
        let mut places = Vec::with_capacity(ordinals.len());
        for &ordinal in ordinals {
            let Some(Location { stretch, place }) = self.locate(ordinal)? else {
                places.push((0, 0));
                continue;
            };
            if array_of_stretch[stretch] == 0 {
                array_of_stretch[stretch] = arrays.len();
                arrays.push(self.array(index, stretch)?.as_ref());
            }
            places.push((array_of_stretch[stretch], place));
        }
        Ok(arrow_select::interleave::interleave(&arrays, &places)?)
    }

    /// Checks every byte of the file and decodes every array.
    pub fn check_all(&self) -> Result<()> {
        self.blocks.check_all()?;
        for stretch in 0..self.stretches.len() {
            for index in 0..self.variables.len() {
                self.read_variable(index, stretch)?;
            }
        }
        Ok(())
    }

    /// Bytes on the heap, without arrays that point into the map.
    pub fn bytes(&self) -> usize {
        self.stretches.capacity() * size_of::<(usize, u32)>() + self.absent.len()
    }

    /// Bytes in the memory-mapped file.
    pub fn mapped_bytes(&self) -> usize {
        self.blocks.length()
    }

    #[inline]
    fn locate(&self, ordinal: u32) -> Result<Option<Location>> {
        if ordinal >= self.meta.ordinals {
            return Ok(None);
        }
        let stretch = (ordinal >> self.stretch_shift) as usize;
        let place = match &self.presence {
            None => (ordinal & ((1 << self.stretch_shift) - 1)) as usize,
            Some(presence) => match presence.rank(&self.blocks, ordinal)? {
                None => return Ok(None),
                Some(row) => match row.checked_sub(self.stretches[stretch].1) {
                    Some(place) => place as usize,
                    None => return Err(self.blocks.damaged(self.stretches_offset, "rows are counted wrongly")),
                },
            },
        };
        Ok(Some(Location { stretch, place }))
    }

    /// The array of a variable feature in `stretch`, read at its first use.
    fn array(&self, index: u32, stretch: usize) -> Result<&ArrayRef> {
        let arrays =
            self.variables[index as usize].get_or_init(|| (0..self.stretches.len()).map(|_| OnceLock::new()).collect());
        if let Some(array) = arrays[stretch].get() {
            return Ok(array);
        }
        let array = self.read_variable(index as usize, stretch)?;
        Ok(arrays[stretch].get_or_init(|| array))
    }

    fn variable_type(&self, index: u32) -> &DataType {
        let found = self.layout.features().iter().find(|laid| laid.slot == Slot::Variable(index));
        &found.expect("the caller asks for a variable feature of this layout").data_type
    }

    fn rows_of_stretch(&self, stretch: usize) -> usize {
        if self.presence.is_none() {
            let start = stretch << self.stretch_shift;
            return (self.meta.ordinals as usize - start).min(1 << self.stretch_shift);
        }
        let next = self.stretches.get(stretch + 1).map_or(self.meta.rows, |next| next.1);
        (next - self.stretches[stretch].1) as usize
    }

    fn read_variable(&self, index: usize, stretch: usize) -> Result<ArrayRef> {
        let rows = self.rows_of_stretch(stretch);
        let data_type = self.variable_type(index as u32);
        let entry = self.stretches_offset + stretch * format::stretch_bytes(self.variables.len()) + 16 + index * 16;
        let pair = self.blocks.range(entry, 16)?;
        let (offset, length) = (number_at(pair, 0) as usize, number_at(pair, 8) as usize);
        if length == 0 {
            return Ok(new_null_array(data_type, rows));
        }
        let mut bytes = Buffer::from(self.blocks.shared(offset, length)?);
        let damaged = |what: &str| self.blocks.damaged(offset, format!("the array of a feature {what}"));
        let batch =
            caught(|| StreamDecoder::new().decode(&mut bytes)).ok_or_else(|| damaged("a stretch is no array"))?;
        let batch = batch.map_err(|error| damaged(&error.to_string()))?;
        let column = batch.filter(|batch| batch.num_columns() == 1).map(|batch| Arc::clone(batch.column(0)));
        match column {
            Some(array) if array.len() == rows && array.data_type() == data_type => Ok(array),
            _ => Err(damaged("has another length or type than its pack")),
        }
    }
}
