//! The values of a column in a mapped file.
//!
//! Nothing is touched until it is asked for. Values of fixed width lie as in Arrow or in a strip, with a bitmap of those
//! that are not null; all others in stretches (`stretch.rs`), each an array of its own.

use std::ops::Range;
use std::sync::OnceLock;

use arrow_array::{Array, ArrayRef, UInt32Array, make_array};
use arrow_buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType};
use arrow_select::concat::concat;
use arrow_select::take::take;

use crate::error::Result;
use crate::fixed_values::Fixed;
use crate::segment::checks::{BLOCK_BYTES, Checks, Elements};
use crate::segment::stretch;

/// The values of a column in a mapped file.
#[derive(Debug)]
pub(crate) struct Mapped {
    data_type: DataType,
    len: u32,
    checks: Checks,
    storage: Storage,
    /// All values as one array, once somebody asked for it.
    whole: OnceLock<ArrayRef>,
}

#[derive(Debug)]
enum Storage {
    Fixed(FixedStorage),
    Stretches(StretchStorage),
}

/// Values of fixed width in a file.
#[derive(Debug)]
pub(crate) struct FixedStorage {
    /// The values in place.
    pub(crate) fixed: Fixed,
    /// Where the values, or the strip that they are in, start in the file.
    pub(crate) values_offset: u64,
    /// Where the bitmap of the values that are not null starts in the file, if there is one.
    pub(crate) valid_offset: u64,
}

impl FixedStorage {
    /// Whether other values lie between these.
    fn is_strip(&self) -> bool {
        self.fixed.stride != self.fixed.width
    }
}

/// The binary logarithm of values per stretch of a strip; such a stretch is copied together for each who asks.
const STRIP_STRETCH_SHIFT: u32 = 9;

/// Stretches in a file.
#[derive(Debug)]
pub(crate) struct StretchStorage {
    /// All stretches, one after another.
    pub(crate) bytes: Elements<u8>,
    /// Where in `bytes` each stretch starts, and where the last one ends.
    pub(crate) offsets: Elements<u64>,
    /// Every stretch but the last has two to the power of this many values.
    pub(crate) shift: u32,
    /// The stretches that somebody asked for.
    pub(crate) arrays: Box<[OnceLock<ArrayRef>]>,
}

impl StretchStorage {
    /// The stretches of a column of `len` values; `None` if the sections do not fit that.
    pub(crate) fn new(bytes: Elements<u8>, offsets: Elements<u64>, shift: u32, len: u32) -> Option<Self> {
        let stretches = u64::from(len).div_ceil(1u64.checked_shl(shift).filter(|_| shift < 32)?);
        let fits = offsets.values.len() as u64 == stretches + 1;
        let arrays = (0..stretches).map(|_| OnceLock::new());
        fits.then(|| Self { bytes, offsets, shift, arrays: arrays.collect() })
    }
}

impl Mapped {
    /// Values of fixed width.
    pub(crate) fn fixed_width(data_type: DataType, len: u32, checks: Checks, values: FixedStorage) -> Self {
        Self { data_type, len, checks, storage: Storage::Fixed(values), whole: OnceLock::new() }
    }

    /// Values in stretches.
    pub(crate) fn stretched(data_type: DataType, len: u32, checks: Checks, values: StretchStorage) -> Self {
        Self { data_type, len, checks, storage: Storage::Stretches(values), whole: OnceLock::new() }
    }

    pub(crate) fn data_type(&self) -> &DataType {
        &self.data_type
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn bytes(&self) -> usize {
        match &self.storage {
            Storage::Fixed(of) => {
                self.len as usize * of.fixed.width + of.fixed.valid.as_ref().map_or(0, |_| self.len as usize / 8)
            }
            Storage::Stretches(of) => of.bytes.values.len(),
        }
    }

    pub(crate) fn fixed(&self) -> Option<&Fixed> {
        match &self.storage {
            Storage::Fixed(of) => Some(&of.fixed),
            Storage::Stretches(_) => None,
        }
    }

    #[inline]
    pub(crate) fn check(&self, position: u32) -> Result<()> {
        let Storage::Fixed(of) = &self.storage else {
            return Ok(());
        };
        let (stride, position) = (of.fixed.stride as u64, u64::from(position));
        let start = of.values_offset + position * stride;
        self.checks.bytes(start..start + stride)?;
        if of.fixed.valid.is_some() {
            let byte = of.valid_offset + position / 8;
            self.checks.bytes(byte..byte + 1)?;
        }
        Ok(())
    }

    /// [`Mapped::check`] of the value at `position`; answers positions, this one or more, that are now known to be
    /// whole.
    pub(crate) fn check_around(&self, position: u32) -> Result<Range<u32>> {
        if self.checks.is_whole() {
            return Ok(0..self.len);
        }
        self.check(position)?;
        let Storage::Fixed(of) = &self.storage else {
            return Ok(0..self.len);
        };
        let stride = of.fixed.stride as u64;
        let start = of.values_offset + u64::from(position) * stride;
        let mut known = whole_in_block(start, of.values_offset, stride);
        if of.fixed.valid.is_some() {
            let byte = of.valid_offset + u64::from(position) / 8;
            let bytes = whole_in_block(byte, of.valid_offset, 1);
            known = known.start.max(bytes.start * 8)..known.end.min(bytes.end * 8);
        }
        // A value that lies across two blocks is known by itself.
        let whole =
            if known.contains(&u64::from(position)) { known } else { u64::from(position)..u64::from(position) + 1 };
        Ok(whole.start as u32..whole.end.min(u64::from(self.len)) as u32)
    }

    pub(crate) fn verify(&self) -> Result<()> {
        match &self.storage {
            Storage::Fixed(of) => {
                self.checks.bytes(of.values_offset..of.values_offset + u64::from(self.len) * of.fixed.stride as u64)?;
                self.checks.bytes(self.valid_bytes(of))
            }
            // Validated anew and let go: to verify a file must not fill the memory with its arrays.
            Storage::Stretches(of) => (0..of.arrays.len()).try_for_each(|at| self.decode(of, at).map(drop)),
        }
    }

    #[inline]
    pub(crate) fn locate(&self, position: u32) -> (u32, u32) {
        match &self.storage {
            Storage::Fixed(of) if !of.is_strip() => (0, position),
            Storage::Fixed(_) => (position >> STRIP_STRETCH_SHIFT, position & ((1 << STRIP_STRETCH_SHIFT) - 1)),
            Storage::Stretches(of) => (position >> of.shift, position & ((1 << of.shift) - 1)),
        }
    }

    pub(crate) fn stretch(&self, stretch: u32) -> Result<ArrayRef> {
        match &self.storage {
            Storage::Fixed(of) if !of.is_strip() => self.whole().cloned(),
            Storage::Fixed(_) => {
                let start = stretch << STRIP_STRETCH_SHIFT;
                let end = self.len.min(start + (1 << STRIP_STRETCH_SHIFT));
                self.take(&(start..end).collect::<Vec<_>>())
            }
            Storage::Stretches(of) => self.kept_stretch(of, stretch).cloned(),
        }
    }

    fn kept_stretch<'a>(&self, of: &'a StretchStorage, stretch: u32) -> Result<&'a ArrayRef> {
        let array = &of.arrays[stretch as usize];
        match array.get() {
            Some(array) => Ok(array),
            None => {
                let made = self.decode(of, stretch as usize)?;
                Ok(array.get_or_init(|| made))
            }
        }
    }

    /// The values at `positions`, checked.
    pub(crate) fn take(&self, positions: &[u32]) -> Result<ArrayRef> {
        let Storage::Fixed(of) = &self.storage else {
            return Ok(take(self.whole()?, &UInt32Array::from(positions.to_vec()), None)?);
        };
        let mut bytes = MutableBuffer::with_capacity(positions.len() * of.fixed.width);
        let mut checked = 0..0;
        for position in positions {
            if !checked.contains(position) {
                checked = self.check_around(*position)?;
            }
            bytes.extend_from_slice(&of.fixed.bytes[*position as usize * of.fixed.stride..][..of.fixed.width]);
        }
        let valid = of.fixed.valid.as_ref();
        let valid = valid.map(|valid| positions.iter().map(|position| valid.value(*position as usize)).collect());
        fixed_array(&self.data_type, positions.len(), bytes.into(), valid)
            .map_err(|error| self.damaged(of.values_offset, &error))
    }

    pub(crate) fn strip(&self) -> Option<u64> {
        match &self.storage {
            Storage::Fixed(of) => of.is_strip().then_some(of.values_offset),
            Storage::Stretches(_) => None,
        }
    }

    pub(crate) fn whole(&self) -> Result<&ArrayRef> {
        if let Some(array) = self.whole.get() {
            return Ok(array);
        }
        let array = match &self.storage {
            Storage::Fixed(of) if of.is_strip() => self.take(&(0..self.len).collect::<Vec<_>>())?,
            Storage::Fixed(of) => {
                // Arrow counts the nulls, so their bitmap is read here; values only when they are asked for.
                self.checks.bytes(self.valid_bytes(of))?;
                fixed_array(&self.data_type, self.len as usize, of.fixed.bytes.clone(), of.fixed.valid.clone())
                    .map_err(|error| self.damaged(of.values_offset, &error))?
            }
            Storage::Stretches(of) if of.arrays.len() == 1 => return self.kept_stretch(of, 0),
            Storage::Stretches(of) => {
                let stretches: Vec<&ArrayRef> =
                    (0..of.arrays.len() as u32).map(|stretch| self.kept_stretch(of, stretch)).collect::<Result<_>>()?;
                let stretches: Vec<&dyn Array> = stretches.into_iter().map(AsRef::as_ref).collect();
                concat(&stretches)?
            }
        };
        Ok(self.whole.get_or_init(|| array))
    }

    fn valid_bytes(&self, of: &FixedStorage) -> Range<u64> {
        let length = of.fixed.valid.as_ref().map_or(0, |_| u64::from(self.len).div_ceil(8));
        of.valid_offset..of.valid_offset + length
    }

    /// Checks and validates one stretch.
    fn decode(&self, of: &StretchStorage, stretch: usize) -> Result<ArrayRef> {
        self.checks.bytes(of.offsets.bytes(stretch..stretch + 2))?;
        let (start, end) = (of.offsets.values[stretch], of.offsets.values[stretch + 1]);
        let total = of.bytes.values.len() as u64;
        if start > end || end > total || start % 64 != 0 {
            return Err(self.checks.damaged(of.offsets.offset, "a stretch lies outside of its section"));
        }
        self.checks.bytes(of.bytes.offset + start..of.bytes.offset + end)?;
        let bytes = of.bytes.values.inner().slice_with_length(start as usize, (end - start) as usize);
        let first = (stretch as u64) << of.shift;
        let len = (u64::from(self.len) - first).min(1 << of.shift);
        let array = stretch::decode(&bytes, &self.data_type, len as usize);
        array.map_err(|what| self.checks.damaged(of.bytes.offset + start, &what))
    }

    fn damaged(&self, offset: u64, error: &ArrowError) -> crate::error::Error {
        self.checks.damaged(offset, &error.to_string())
    }
}

/// The elements of `width` bytes, of a section that starts at `offset`, that lie whole in the block of the byte at `at`.
fn whole_in_block(at: u64, offset: u64, width: u64) -> Range<u64> {
    let block = at - at % BLOCK_BYTES;
    let first = block.saturating_sub(offset).div_ceil(width);
    let end = (block + BLOCK_BYTES - offset) / width;
    first..end
}

/// The array of values of fixed width.
fn fixed_array(
    data_type: &DataType,
    len: usize,
    bytes: Buffer,
    valid: Option<BooleanBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let nulls = valid.map(NullBuffer::new);
    let build = ArrayData::builder(data_type.clone()).len(len).nulls(nulls);
    let data = match data_type {
        DataType::FixedSizeList(item, size) => {
            let items = len * usize::try_from(*size).unwrap_or(0);
            let items = primitive_data(item.data_type(), items, bytes)?;
            build.add_child_data(items).build()?
        }
        _ => build.add_buffer(bytes).build()?,
    };
    Ok(make_array(data))
}

fn primitive_data(data_type: &DataType, len: usize, bytes: Buffer) -> Result<ArrayData, ArrowError> {
    ArrayData::builder(data_type.clone()).len(len).add_buffer(bytes).build()
}
