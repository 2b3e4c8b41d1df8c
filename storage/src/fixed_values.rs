//! Values of a fixed width in place: one after another, or in a strip beside those of other features of their row.
//!
//! In memory and in a mapped file they look alike. Nothing is checked here: whoever hands out the bytes of a file has.

use std::ops::Range;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_buffer::{BooleanBuffer, Buffer};
use arrow_data::ArrayData;
use arrow_schema::DataType;

/// Values of a fixed width, in place, as they are read.
#[derive(Debug, Clone, Copy)]
pub struct FixedValues<'a> {
    /// Bytes per value.
    pub width: usize,
    /// Bytes from one value to the next.
    pub stride: usize,
    /// The value at position `p` is `bytes[p * stride..][..width]`; of a null the bytes mean nothing.
    pub bytes: &'a [u8],
    /// Which values are null, unless none is.
    pub nulls: Option<Nulls<'a>>,
}

impl<'a> FixedValues<'a> {
    /// The value at `position`.
    #[inline]
    pub fn value(&self, position: usize) -> &'a [u8] {
        &self.bytes[position * self.stride..][..self.width]
    }

    /// The value at `position`, and what follows up to the next.
    #[inline]
    pub(crate) fn row(&self, position: usize) -> &'a [u8] {
        let bytes = &self.bytes[position * self.stride..];
        &bytes[..bytes.len().min(self.stride)]
    }

    /// Whether `other` has the very same at `positions`, bit by bit, and nulls where this one has.
    pub(crate) fn is_same(&self, other: &Self, positions: Range<u32>) -> bool {
        let positions = positions.start as usize..positions.end as usize;
        if self.width != other.width {
            return false;
        }
        if self.nulls.is_none() && other.nulls.is_none() {
            return match self.width {
                4 => self.is_same_sized::<4>(other, positions),
                8 => self.is_same_sized::<8>(other, positions),
                _ => positions.into_iter().all(|position| self.value(position) == other.value(position)),
            };
        }
        let is_null = |of: &Self, position| of.nulls.is_some_and(|nulls: Nulls<'_>| nulls.is_null(position));
        positions.into_iter().all(|position| match (is_null(self, position), is_null(other, position)) {
            (false, false) => self.value(position) == other.value(position),
            (one, other) => one == other,
        })
    }

    /// [`FixedValues::is_same`] of values none of which is null, without a way out at each.
    fn is_same_sized<const WIDTH: usize>(&self, other: &Self, positions: Range<usize>) -> bool {
        positions
            .into_iter()
            .fold(true, |same, position| same & (self.sized::<WIDTH>(position) == other.sized::<WIDTH>(position)))
    }

    /// The value at `position`, of a width that the compiler knows.
    #[inline]
    pub fn sized<const WIDTH: usize>(&self, position: usize) -> [u8; WIDTH] {
        *self.bytes[position * self.stride..].first_chunk().expect("every value lies within the bytes")
    }
}

/// Which values of a column are null.
#[derive(Debug, Clone, Copy)]
pub struct Nulls<'a>(&'a BooleanBuffer);

impl Nulls<'_> {
    /// Whether the value at `position` is null.
    #[inline]
    pub fn is_null(&self, position: usize) -> bool {
        !self.0.value(position)
    }
}

/// Values of a fixed width, as they are held.
#[derive(Debug, Clone)]
pub(crate) struct Fixed {
    pub(crate) width: usize,
    /// Bytes from one value to the next.
    pub(crate) stride: usize,
    pub(crate) bytes: Buffer,
    /// A one for each value that is not null; `None` if none is.
    pub(crate) valid: Option<BooleanBuffer>,
}

impl Fixed {
    /// The values of `array` in place, if they have a fixed width and no null lies inside of one.
    pub(crate) fn of(array: &dyn Array) -> Option<Self> {
        let width = fixed_width(array.data_type())?;
        let bytes = match array.data_type() {
            DataType::FixedSizeList(item, size) => {
                let list = array.as_fixed_size_list();
                let items = list.values();
                if let Some(nulls) = items.nulls().filter(|nulls| nulls.null_count() > 0) {
                    let hidden = |item: usize| list.is_null(item / *size as usize);
                    if (0..items.len()).any(|item| nulls.is_null(item) && !hidden(item)) {
                        return None;
                    }
                }
                values_of(&items.to_data(), item.data_type().primitive_width()?)
            }
            _ => values_of(&array.to_data(), width),
        };
        let valid = array.nulls().filter(|nulls| nulls.null_count() > 0).map(|nulls| nulls.inner().clone());
        Some(Self { width, stride: width, bytes, valid })
    }

    /// The values, to be read.
    pub(crate) fn values(&self) -> FixedValues<'_> {
        let nulls = self.valid.as_ref().map(Nulls);
        FixedValues { width: self.width, stride: self.stride, bytes: &self.bytes, nulls }
    }
}

/// The bytes of one value of `data_type` if every value has as many: what `Column::fixed` can hand out.
pub fn fixed_width(data_type: &DataType) -> Option<usize> {
    let width = match data_type {
        DataType::FixedSizeBinary(width) => usize::try_from(*width).ok()?,
        DataType::FixedSizeList(item, size) => {
            item.data_type().primitive_width()?.checked_mul(usize::try_from(*size).ok()?)?
        }
        _ => data_type.primitive_width()?,
    };
    Some(width).filter(|&width| width > 0)
}

fn values_of(data: &ArrayData, width: usize) -> Buffer {
    data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width)
}
