//! The cells of one feature in one chunk, in memory or in a segment.
//!
//! A column holds *values* (explicit nulls among them) and says which rows have one. Three forms of the second:
//! every row has a cell (*dense*); one slot per row and a bitmap of those that are cells (in memory); or values of the
//! present rows alone, found by counting the ones before a row's bit (*packed*, in segments). Readers see one thing:
//! [`Column::position`] gives the index of a row's value, or nothing.
//!
//! Columns of segments are lazy: opening one touches none of its bytes. Values of fixed width are read in place
//! through [`Column::fixed`] after [`Column::check`]: they lie one after another, or, in a *strip*, beside those of other
//! features of their row. All others come in *stretches*, Arrow arrays of a power of two values each, which are checked
//! and validated whole when first asked for, so that reading one string of a large column costs one stretch.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;
use arrow_select::take::take;

use crate::error::Result;
pub(crate) use crate::fixed_values::Fixed;
pub use crate::fixed_values::{FixedValues, Nulls, fixed_width};
use crate::prefetch::prefetch;
use crate::segment::away::Lack;
use crate::segment::directory::NearRanks;
use crate::segment::mapped::Mapped;
pub(crate) use crate::segment::packed::Packed;

/// The cells of one feature.
#[derive(Debug, Clone)]
pub struct Column {
    feature: u32,
    presence: Presence,
    values: Values,
}

/// Which rows have a cell, and where.
#[derive(Debug, Clone)]
pub(crate) enum Presence {
    /// Every write row has one; values are by row.
    Dense,
    /// Values are by row; those of rows without a bit are not cells.
    Unpacked(BooleanBuffer),
    /// There are values for rows with a bit only.
    Packed(Packed),
}

#[derive(Debug, Clone)]
enum Values {
    Memory { array: ArrayRef, fixed: Option<Fixed> },
    Mapped(Arc<Mapped>),
}

impl Column {
    /// A column in memory: one value per row, of which those not `present` are absent.
    pub fn in_memory(feature: u32, values: ArrayRef, present: Option<BooleanBuffer>) -> Self {
        assert!(present.as_ref().is_none_or(|present| present.len() == values.len()));
        let presence = present.map_or(Presence::Dense, Presence::Unpacked);
        let fixed = Fixed::of(values.as_ref());
        Self { feature, presence, values: Values::Memory { array: values, fixed } }
    }

    /// A column of a segment.
    pub(crate) fn mapped(feature: u32, presence: Presence, values: Mapped) -> Self {
        Self { feature, presence, values: Values::Mapped(Arc::new(values)) }
    }

    /// Whether the values are not in the file of the segment, but come when they are asked for.
    pub fn is_away(&self) -> bool {
        matches!(&self.values, Values::Mapped(values) if values.is_away())
    }

    /// What is lacking of the cells of the write rows `rows`; [`bring`](crate::segment::away::bring) fetches it.
    pub(crate) fn lack(&self, rows: impl Iterator<Item = u32>) -> Result<Option<Lack<'_>>> {
        let Values::Mapped(values) = &self.values else { return Ok(None) };
        if !values.is_away() {
            return Ok(None);
        }
        let mut hint = PositionHint::default();
        let positions = rows.filter_map(|row| self.position_from(&mut hint, row).transpose());
        self.lack_at(positions.collect::<Result<Vec<u32>>>()?.into_iter())
    }

    /// What is lacking of the values at `positions`.
    pub(crate) fn lack_at(&self, positions: impl Iterator<Item = u32>) -> Result<Option<Lack<'_>>> {
        match &self.values {
            Values::Memory { .. } => Ok(None),
            Values::Mapped(values) => values.lack(positions),
        }
    }

    /// What is lacking of the cells of all rows.
    pub(crate) fn lack_all(&self) -> Result<Option<Lack<'_>>> {
        match &self.values {
            Values::Memory { .. } => Ok(None),
            Values::Mapped(values) => values.lack_all(),
        }
    }

    /// The feature.
    pub fn feature(&self) -> u32 {
        self.feature
    }

    /// The type of the values: the feature's type when they were written.
    pub fn data_type(&self) -> &DataType {
        match &self.values {
            Values::Memory { array, .. } => array.data_type(),
            Values::Mapped(values) => values.data_type(),
        }
    }

    /// Whether every write row has a cell, so that [`Column::position`] is the row.
    pub fn is_dense(&self) -> bool {
        matches!(self.presence, Presence::Dense)
    }

    /// The number of values, cells or not.
    pub fn len(&self) -> u32 {
        match &self.values {
            Values::Memory { array, .. } => array.len() as u32,
            Values::Mapped(values) => values.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The index into the values of the cell of the write row `row`; `None` if it is absent.
    #[inline]
    pub fn position(&self, row: u32) -> Result<Option<u32>> {
        self.position_from(&mut PositionHint::default(), row)
    }

    /// [`Column::position`] for rows near each other, which share a `hint` to this column.
    #[inline]
    pub fn position_from(&self, hint: &mut PositionHint, row: u32) -> Result<Option<u32>> {
        match &self.presence {
            Presence::Dense => Ok(Some(row)),
            Presence::Unpacked(present) => Ok(present.value(row as usize).then_some(row)),
            Presence::Packed(Packed { words, ranks, checks }) => {
                let found = hint.0.rank_of(words, ranks, row, Some(checks))?;
                match found {
                    Some(position) if position >= self.len() => {
                        Err(checks.damaged(ranks.offset, "a cell lies outside of its column"))
                    }
                    found => Ok(found),
                }
            }
        }
    }

    /// The first of the write rows `from .. end` that has a cell.
    pub fn next_position(&self, from: u32, end: u32) -> Result<Option<u32>> {
        if from >= end {
            return Ok(None);
        }
        match &self.presence {
            Presence::Dense => Ok(Some(from)),
            Presence::Unpacked(present) => Ok((from..end).find(|&row| present.value(row as usize))),
            Presence::Packed(Packed { words, checks, .. }) => {
                let (first, last) = (from as usize / 64, (end - 1) as usize / 64);
                checks.bytes(words.bytes(first..last + 1))?;
                let mut wanted = u64::MAX << (from % 64);
                for (index, word) in words.values[first..=last].iter().enumerate() {
                    let bits = word & wanted;
                    if bits != 0 {
                        let row = (first + index) as u32 * 64 + bits.trailing_zeros();
                        return Ok((row < end).then_some(row));
                    }
                    wanted = u64::MAX;
                }
                Ok(None)
            }
        }
    }

    /// Checks the bytes of the value at `position`, at first touch: before it is read through [`Column::fixed`], or
    /// through the stretch of a column of fixed width.
    #[inline]
    pub fn check(&self, position: u32) -> Result<()> {
        match &self.values {
            Values::Memory { .. } => Ok(()),
            Values::Mapped(values) => values.check(position),
        }
    }

    /// [`Column::check`] of many positions; those in ascending order cost next to nothing.
    pub fn check_all_of(&self, positions: impl Iterator<Item = u32>) -> Result<()> {
        match &self.values {
            Values::Memory { .. } => Ok(()),
            Values::Mapped(values) => {
                let mut checked = 0..0;
                for position in positions {
                    if !checked.contains(&position) {
                        checked = values.check_around(position)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// [`Column::check`] of positions that follow each other.
    pub fn check_range(&self, positions: Range<u32>) -> Result<()> {
        let Values::Mapped(values) = &self.values else { return Ok(()) };
        let mut next = positions.start;
        while next < positions.end {
            let checked = values.check_around(next)?;
            assert!(checked.contains(&next), "what is checked holds what was asked for");
            next = checked.end;
        }
        Ok(())
    }

    /// Whether `other`, a column with as many values, has the very same at `positions`, bit by bit, and nulls where this one has.
    pub(crate) fn is_same(&self, other: &Self, positions: Range<u32>) -> Result<bool> {
        self.check_range(positions.clone())?;
        other.check_range(positions.clone())?;
        if let (Some(here), Some(there)) = (self.fixed(), other.fixed()) {
            return Ok(here.is_same(&there, positions));
        }
        let positions: Vec<u32> = positions.collect();
        Ok(self.take(&positions)?.to_data() == other.take(&positions)?.to_data())
    }

    /// Asks the processor for the values at `positions`, if they have a fixed width, and for what lies beside them in a
    /// strip.
    pub fn prefetch(&self, positions: impl Iterator<Item = u32>) {
        if let Some(fixed) = self.fixed() {
            positions.for_each(|position| prefetch(fixed.row(position as usize)));
        }
    }

    /// Checks all bytes of the column, and that stretches are what they should be.
    pub fn verify(&self) -> Result<()> {
        if let Presence::Packed(Packed { words, ranks, checks }) = &self.presence {
            checks.bytes(words.all())?;
            checks.bytes(ranks.all())?;
        }
        match &self.values {
            Values::Memory { .. } => Ok(()),
            Values::Mapped(values) => values.verify(),
        }
    }

    /// The values in place, if they have a fixed width: every Arrow primitive, fixed-size binary, and fixed-size lists
    /// of primitives no element of which is null. Whether a list column has null elements is a matter of its content,
    /// so columns of one feature may differ.
    #[inline]
    pub fn fixed(&self) -> Option<FixedValues<'_>> {
        match &self.values {
            Values::Memory { fixed, .. } => fixed.as_ref().map(Fixed::values),
            Values::Mapped(values) => values.fixed().map(Fixed::values),
        }
    }

    /// The stretch that holds the value at `position`, and its index therein.
    #[inline]
    pub fn locate(&self, position: u32) -> (u32, u32) {
        match &self.values {
            Values::Memory { .. } => (0, position),
            Values::Mapped(values) => values.locate(position),
        }
    }

    /// An array of consecutive values (see [`Column::locate`]): all of them in memory; else a validated stretch of them.
    /// Of values of fixed width [`Column::check`] is still due for each.
    pub fn stretch(&self, stretch: u32) -> Result<ArrayRef> {
        match &self.values {
            Values::Memory { array, .. } => Ok(Arc::clone(array)),
            Values::Mapped(values) => values.stretch(stretch),
        }
    }

    /// The values at `positions`, checked, as an array of their own.
    pub fn take(&self, positions: &[u32]) -> Result<ArrayRef> {
        match &self.values {
            Values::Memory { array, .. } => Ok(take(array, &UInt32Array::from(positions.to_vec()), None)?),
            Values::Mapped(values) => values.take(positions),
        }
    }

    /// Names the strip that the values lie in, if they do: what [`Column::check`] has checked of one column of a strip
    /// is checked for all of them.
    pub fn strip(&self) -> Option<u64> {
        match &self.values {
            Values::Memory { .. } => None,
            Values::Mapped(values) => values.strip(),
        }
    }

    /// All values as one array. If they lie in several stretches of a file, this makes and keeps a copy in memory: reads
    /// of a few values go through [`Column::stretch`].
    pub fn values(&self) -> Result<&ArrayRef> {
        match &self.values {
            Values::Memory { array, .. } => Ok(array),
            Values::Mapped(values) => values.whole(),
        }
    }

    /// How many bytes the values have, in memory or in the file.
    pub fn bytes(&self) -> usize {
        match &self.values {
            Values::Memory { array, .. } => {
                array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_buffer_memory_size())
            }
            Values::Mapped(values) => values.bytes(),
        }
    }
}

/// Around which row of a column a position was sought last.
#[derive(Debug, Clone, Copy, Default)]
pub struct PositionHint(NearRanks);
