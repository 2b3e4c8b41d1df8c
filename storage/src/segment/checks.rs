//! First-touch checksums of a mapped file.
//!
//! A file is covered by one CRC-32C per block of 64 KiB. The first reader that touches a block since the file was
//! opened checks it; everybody after it pays for one load. Two bitmaps remember what is whole: one bit per block, and
//! one bit per 1,024 rows whose per-row sections are whole *and* make sense (steps that exist, kinds that are
//! known, row ids that lie within their bytes), so that code behind [`Checks::rows`] may index without looking.
//!
//! The bits say nothing about later damage: [`Checks::all`] reads every block again, which is what a scrub wants.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrow_buffer::{Buffer, ScalarBuffer};

use crate::checksum::checksum;
use crate::error::{Error, Result};
use crate::io::Comes;
use crate::places::Places;
use crate::row_kind::RowKind;

/// Bytes per checksum.
pub const BLOCK_BYTES: u64 = 64 * 1024;

/// Bytes of a footer beside its checksums, at most: the sections and the types of 65,535 features, and the steps.
const DESCRIBED_BYTES_MAX: u64 = 256 << 20;

/// The greatest length of a footer after `covered` bytes: so a damaged length is noticed before memory is taken for it.
pub(crate) fn footer_bytes_max(covered: u64) -> u64 {
    DESCRIBED_BYTES_MAX + covered.div_ceil(BLOCK_BYTES) * size_of::<u32>() as u64
}
/// Rows per bit of the row bitmap.
const CHECKED_ROWS: u32 = 1024;

/// Which parts of a file have been checked since it was opened. Clones share what they know.
#[derive(Debug, Clone)]
pub struct Checks {
    blocks: Arc<BlockChecks>,
    rows: Arc<RowChecks>,
}

impl Checks {
    /// The checks of a file with `rows`.
    pub(crate) fn new(blocks: Arc<BlockChecks>, rows: RowSections) -> Self {
        let checked = bits(u64::from(rows.rows.div_ceil(CHECKED_ROWS)));
        Self { blocks, rows: Arc::new(RowChecks { sections: rows, whole: checked }) }
    }

    /// Checks the per-row sections (event times, steps, places, kinds, row ids) of `rows`.
    #[inline]
    pub fn rows(&self, rows: Range<u32>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        for zone in rows.start / CHECKED_ROWS..=(rows.end - 1) / CHECKED_ROWS {
            if !is_set(&self.rows.whole, u64::from(zone)) {
                self.rows.check(zone, &self.blocks)?;
            }
        }
        Ok(())
    }

    /// Checks the blocks that hold the bytes `range` of the file.
    #[inline]
    pub fn bytes(&self, range: Range<u64>) -> Result<()> {
        self.blocks.bytes(range)
    }

    /// Whether all bytes of the file are known to be whole.
    #[inline]
    pub fn is_whole(&self) -> bool {
        self.blocks.is_whole()
    }

    /// Reads every block of the file again and checks it, whatever was checked before.
    pub fn all(&self) -> Result<()> {
        (0..self.blocks.count())
            .try_for_each(|block| self.blocks.wait(block..=block).and_then(|()| self.blocks.check(block)))
    }

    /// The error for bytes at `offset` of this file that do not make sense.
    pub fn damaged(&self, offset: u64, what: &str) -> Error {
        self.blocks.damaged(offset, what)
    }

    /// The name of the file.
    pub fn file(&self) -> &str {
        &self.blocks.file
    }
}

/// The checksummed blocks of a file.
#[derive(Debug)]
pub(crate) struct BlockChecks {
    file: String,
    /// The covered bytes: everything before the footer.
    bytes: Buffer,
    checksums: Vec<u32>,
    whole: Box<[AtomicU64]>,
    /// How many blocks have not been checked: once 0, a touch costs one load.
    unchecked: AtomicUsize,
    /// Brings blocks that are not here yet.
    coming: Option<Arc<dyn Comes>>,
}

impl BlockChecks {
    /// The blocks of `bytes`, which start the file; `None` if there are not as many `checksums` as blocks.
    pub(crate) fn new(
        file: String,
        bytes: Buffer,
        checksums: Vec<u32>,
        coming: Option<Arc<dyn Comes>>,
    ) -> Option<Self> {
        let count = (bytes.len() as u64).div_ceil(BLOCK_BYTES);
        let unchecked = AtomicUsize::new(checksums.len());
        let is_whole = checksums.len() as u64 == count;
        is_whole.then(|| Self { file, bytes, checksums, whole: bits(count), unchecked, coming })
    }

    #[inline]
    fn is_whole(&self) -> bool {
        self.unchecked.load(Ordering::Acquire) == 0
    }

    /// Checks the blocks that hold the bytes `range`.
    #[inline]
    pub(crate) fn bytes(&self, range: Range<u64>) -> Result<()> {
        if range.is_empty() || self.is_whole() {
            return Ok(());
        }
        let last = (range.end - 1) / BLOCK_BYTES;
        for block in range.start / BLOCK_BYTES..=last {
            if !is_set(&self.whole, block) {
                self.wait(block..=last)?;
                self.check(block)?;
            }
        }
        Ok(())
    }

    /// Returns once the bytes of `blocks` are here.
    #[cold]
    fn wait(&self, blocks: RangeInclusive<u64>) -> Result<()> {
        let Some(coming) = &self.coming else { return Ok(()) };
        let end = (blocks.end() + 1) * BLOCK_BYTES;
        coming.wait(blocks.start() * BLOCK_BYTES..end.min(self.bytes.len() as u64))
    }

    /// The error for bytes at `offset` that do not make sense.
    pub(crate) fn damaged(&self, offset: u64, what: &str) -> Error {
        Error::corrupt(&self.file, offset, what)
    }

    fn count(&self) -> u64 {
        self.checksums.len() as u64
    }

    #[cold]
    fn check(&self, block: u64) -> Result<()> {
        assert!(block < self.count(), "sections are checked to lie within the covered bytes when a file is opened");
        let start = (block * BLOCK_BYTES) as usize;
        let end = (start + BLOCK_BYTES as usize).min(self.bytes.len());
        if checksum(&self.bytes[start..end]) != self.checksums[block as usize] {
            return Err(self.damaged(start as u64, "the checksum of its block does not match"));
        }
        if set(&self.whole, block) {
            self.unchecked.fetch_sub(1, Ordering::Release);
        }
        Ok(())
    }
}

/// Elements of a section and where the section starts in the file.
#[derive(Debug, Clone)]
pub(crate) struct Elements<T: arrow_buffer::ArrowNativeType> {
    /// The elements.
    pub(crate) values: ScalarBuffer<T>,
    /// The offset of the first element in the file; 0 in memory.
    pub(crate) offset: u64,
}

impl<T: arrow_buffer::ArrowNativeType> Elements<T> {
    /// Elements in memory.
    pub(crate) fn in_memory(values: impl Into<ScalarBuffer<T>>) -> Self {
        Self { values: values.into(), offset: 0 }
    }

    /// Where the elements `range` are in the file.
    #[inline]
    pub(crate) fn bytes(&self, range: Range<usize>) -> Range<u64> {
        let width = size_of::<T>() as u64;
        self.offset + range.start as u64 * width..self.offset + range.end as u64 * width
    }

    /// Where all elements are in the file.
    pub(crate) fn all(&self) -> Range<u64> {
        self.bytes(0..self.values.len())
    }
}

/// The places of rows.
#[derive(Debug)]
pub(crate) enum PlaceSection {
    /// Of two bytes.
    Narrow(Elements<u16>),
    /// Of four bytes.
    Wide(Elements<u32>),
}

impl PlaceSection {
    /// The places themselves.
    pub(crate) fn values(&self) -> Places {
        match self {
            Self::Narrow(places) => Places::Narrow(places.values.clone()),
            Self::Wide(places) => Places::Wide(places.values.clone()),
        }
    }

    /// Where those of `rows` are in the file.
    fn bytes(&self, rows: Range<usize>) -> Range<u64> {
        match self {
            Self::Narrow(places) => places.bytes(rows),
            Self::Wide(places) => places.bytes(rows),
        }
    }
}

/// The per-row sections of a file.
#[derive(Debug)]
pub(crate) struct RowSections {
    /// How many rows there are.
    pub(crate) rows: u32,
    /// How many steps there are.
    pub(crate) steps: u32,
    /// Event times.
    pub(crate) event_times: Elements<i64>,
    /// Steps.
    pub(crate) row_steps: Elements<u32>,
    /// Places.
    pub(crate) places: PlaceSection,
    /// Kinds, if not all rows are writes.
    pub(crate) kinds: Option<Elements<u8>>,
    /// Offsets (one more than rows) and bytes of row ids, if there are any.
    pub(crate) row_ids: Option<(Elements<i32>, Elements<u8>)>,
}

#[derive(Debug)]
struct RowChecks {
    sections: RowSections,
    whole: Box<[AtomicU64]>,
}

impl RowChecks {
    #[cold]
    fn check(&self, zone: u32, blocks: &BlockChecks) -> Result<()> {
        let of = &self.sections;
        let start = (zone * CHECKED_ROWS) as usize;
        let end = (start + CHECKED_ROWS as usize).min(of.rows as usize);
        blocks.bytes(of.event_times.bytes(start..end))?;
        blocks.bytes(of.places.bytes(start..end))?;
        blocks.bytes(of.row_steps.bytes(start..end))?;
        if of.row_steps.values[start..end].iter().any(|&step| step >= of.steps) {
            return Err(blocks.damaged(of.row_steps.bytes(start..end).start, "a row names a commit that is not listed"));
        }
        if let Some(kinds) = &of.kinds {
            blocks.bytes(kinds.bytes(start..end))?;
            if kinds.values[start..end].iter().any(|&kind| RowKind::from_number(kind).is_none()) {
                return Err(blocks.damaged(kinds.bytes(start..end).start, "a row has an unknown kind"));
            }
        }
        if let Some((offsets, bytes)) = &of.row_ids {
            blocks.bytes(offsets.bytes(start..end + 1))?;
            let ends = &offsets.values[start..=end];
            let (first, last) = (ends[0], ends[ends.len() - 1]);
            if first < 0 || last as i64 > bytes.values.len() as i64 || !ends.is_sorted() {
                return Err(blocks.damaged(offsets.bytes(start..end).start, "a row id lies outside of its bytes"));
            }
            blocks.bytes(bytes.bytes(first as usize..last as usize))?;
        }
        set(&self.whole, u64::from(zone));
        Ok(())
    }
}

fn bits(count: u64) -> Box<[AtomicU64]> {
    (0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect()
}

/// Pairs with the release in [`set`]: bytes of a file that is on its way may have come just before.
#[inline]
fn is_set(words: &[AtomicU64], bit: u64) -> bool {
    words.get((bit / 64) as usize).is_some_and(|word| word.load(Ordering::Acquire) >> (bit % 64) & 1 == 1)
}

/// Sets a bit; whether it was not set before.
fn set(words: &[AtomicU64], bit: u64) -> bool {
    let before = words[(bit / 64) as usize].fetch_or(1 << (bit % 64), Ordering::Release);
    before >> (bit % 64) & 1 == 0
}
