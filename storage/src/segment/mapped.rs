//! The values of a column in a mapped file.
//!
//! Nothing is touched until it is asked for. Values of fixed width lie as in Arrow or in a strip, with a bitmap of those
//! that are not null; all others in stretches (`stretch.rs`), each an array of its own. Values may be away (`away.rs`): what
//! is touched comes first, and is then read as if it had always been there.

use std::borrow::Cow;
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
use crate::segment::away::{Away, Lack, Place, bring};
use crate::segment::checks::{BLOCK_BYTES, Checks, Elements};
use crate::segment::stretch;

/// The values of a column in a mapped file.
#[derive(Debug)]
pub(crate) struct Mapped {
    data_type: DataType,
    len: u32,
    checks: Checks,
    storage: Storage,
    /// Where the values come from, if they are not in the file.
    away: Option<Away>,
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

    /// The positions of one stretch of a column of `len` values.
    fn positions_of(&self, stretch: u32, len: u32) -> Range<u32> {
        let (start, end) = (u64::from(stretch) << self.shift, (u64::from(stretch) + 1) << self.shift);
        start as u32..end.min(u64::from(len)) as u32
    }
}

impl Mapped {
    /// Values of fixed width.
    pub(crate) fn fixed_width(data_type: DataType, len: u32, checks: Checks, values: FixedStorage) -> Self {
        Self { data_type, len, checks, storage: Storage::Fixed(values), away: None, whole: OnceLock::new() }
    }

    /// Values in stretches.
    pub(crate) fn stretched(data_type: DataType, len: u32, checks: Checks, values: StretchStorage) -> Self {
        Self { data_type, len, checks, storage: Storage::Stretches(values), away: None, whole: OnceLock::new() }
    }

    /// The same, with values that come from `away`.
    pub(crate) fn away(self, away: Option<Away>) -> Self {
        Self { away, ..self }
    }

    /// Whether the values are not in the file.
    pub(crate) fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// What is lacking of the values at `positions`.
    pub(crate) fn lack(&self, positions: impl Iterator<Item = u32>) -> Result<Option<Lack<'_>>> {
        let Some(away) = &self.away else { return Ok(None) };
        let mut pieces: Vec<(u32, Range<u32>)> = Vec::new();
        let mut known = 0..0;
        for position in positions {
            if known.contains(&position) {
                continue;
            }
            let (piece, there) = self.piece_at(away, position)?;
            known = piece.1.clone();
            if !there {
                pieces.push(piece);
            }
        }
        pieces.sort_unstable_by_key(|(piece, _)| *piece);
        pieces.dedup_by_key(|(piece, _)| *piece);
        Ok((!pieces.is_empty()).then_some(Lack { column: self, away, pieces }))
    }

    /// What is lacking of all values.
    pub(crate) fn lack_all(&self) -> Result<Option<Lack<'_>>> {
        let Some(away) = &self.away else { return Ok(None) };
        let mut pieces = Vec::new();
        let mut next = 0;
        while next < self.len {
            let (piece, there) = self.piece_at(away, next)?;
            assert!(piece.1.contains(&next), "a piece holds what was sought in it");
            next = piece.1.end;
            if !there {
                pieces.push(piece);
            }
        }
        Ok((!pieces.is_empty()).then_some(Lack { column: self, away, pieces }))
    }

    /// The piece of `away` that holds the value at `position`, its positions, and whether it has come.
    fn piece_at(&self, away: &Away, position: u32) -> Result<((u32, Range<u32>), bool)> {
        match &self.storage {
            Storage::Fixed(_) => {
                let piece = away.piece_of(position)?;
                Ok(((piece, away.positions_of(piece)?), away.has(piece)))
            }
            Storage::Stretches(of) => {
                let piece = position >> of.shift;
                Ok(((piece, of.positions_of(piece, self.len)), of.arrays[piece as usize].get().is_some()))
            }
        }
    }

    /// Brings the values at `positions`, as far as they are away.
    fn bring(&self, positions: impl Iterator<Item = u32>) -> Result<()> {
        self.lack(positions)?.map_or(Ok(()), |lack| bring(vec![lack]))
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
            Storage::Stretches(of) if self.is_away() => of.offsets.values.last().map_or(0, |end| *end as usize),
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
        match &self.away {
            None => {
                let (stride, position) = (of.fixed.stride as u64, u64::from(position));
                let start = of.values_offset + position * stride;
                self.checks.bytes(start..start + stride)?;
            }
            Some(away) if away.has(away.piece_of(position)?) => {}
            Some(_) => self.bring(std::iter::once(position))?,
        }
        if of.fixed.valid.is_some() {
            let byte = of.valid_offset + u64::from(position) / 8;
            self.checks.bytes(byte..byte + 1)?;
        }
        Ok(())
    }

    /// [`Mapped::check`] of the value at `position`; answers positions, this one or more, that are now known to be
    /// whole.
    pub(crate) fn check_around(&self, position: u32) -> Result<Range<u32>> {
        if self.checks.is_whole() && self.away.is_none() {
            return Ok(0..self.len);
        }
        self.check(position)?;
        let Storage::Fixed(of) = &self.storage else {
            return Ok(0..self.len);
        };
        if let Some(away) = &self.away {
            // The bitmap of what is not null is small, and checked for the whole piece.
            let known = away.positions_of(away.piece_of(position)?)?;
            if of.fixed.valid.is_some() {
                let bytes = |position: u32| of.valid_offset + u64::from(position) / 8;
                self.checks.bytes(bytes(known.start)..bytes(known.end - 1) + 1)?;
            }
            return Ok(known);
        }
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
                if self.is_away() {
                    self.bring(0..self.len)?;
                } else {
                    let length = u64::from(self.len) * of.fixed.stride as u64;
                    self.checks.bytes(of.values_offset..of.values_offset + length)?;
                }
                self.checks.bytes(self.valid_bytes(of))
            }
            Storage::Stretches(_) if self.is_away() => self.bring(0..self.len),
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
        if self.is_away() {
            self.bring(of.positions_of(stretch, self.len))?;
            return Ok(array.get().expect("what was brought is there"));
        }
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
            // What has come of one column of a strip has not come of the others.
            Storage::Fixed(of) => (of.is_strip() && !self.is_away()).then_some(of.values_offset),
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

impl Place for Mapped {
    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn arrive(&self, piece: u32, positions: &Range<u32>, values: &ArrayRef) -> Result<()> {
        let away = self.away.as_ref().expect("values come to a column that is away");
        if *values.data_type() != self.data_type {
            return Err(away.of_another_type(values));
        }
        match (&self.storage, &away.arrivals) {
            (Storage::Stretches(of), _) => {
                // A slice would keep all that came with it in memory.
                let own = take(values, &UInt32Array::from_iter_values(0..values.len() as u32), None)?;
                let bytes = own.get_array_memory_size();
                if of.arrays[piece as usize].set(own).is_ok() {
                    away.came(bytes);
                }
            }
            (Storage::Fixed(_), Some(arrivals)) => {
                let fixed = Fixed::of(values.as_ref()).ok_or_else(|| away.of_another_type(values))?;
                away.came(arrivals.put(piece, positions.start, &without_nulls(&fixed)));
            }
            (Storage::Fixed(_), None) => unreachable!("values of fixed width arrive in a region"),
        }
        Ok(())
    }
}

/// The bytes of `fixed`, zeros where there is no value: a tombstone has a null in ice, and in its segment a zero.
fn without_nulls(fixed: &Fixed) -> Cow<'_, [u8]> {
    let Some(valid) = &fixed.valid else { return Cow::Borrowed(&fixed.bytes) };
    let mut bytes = fixed.bytes.to_vec();
    for (value, _) in bytes.chunks_exact_mut(fixed.width).zip(valid.iter()).filter(|(_, valid)| !valid) {
        value.fill(0);
    }
    Cow::Owned(bytes)
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
