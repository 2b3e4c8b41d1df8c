//! Where each entity's rows are: ordinal → range of rows.
//!
//! Rows are in storage order, so an entity's rows are one range and the ranges follow one another: the starts alone say
//! where each ends, and where every entity has one row there are none. Which ordinals there are is kept in one of two
//! ways, whichever is smaller: as a sorted list (few of many entities), or as a bitmap over first ..= last with a count
//! per 512 bits (most entities). The same code serves memory and mapped files; in a file only what a question needs is
//! touched, and checked at first touch.

use std::ops::Range;

use arrow_buffer::ToByteSlice;

use crate::error::{Error, Result};
use crate::prefetch::prefetch;
use crate::segment::checks::{Checks, Elements};

/// Bits of the bitmap per count.
const RANK_BITS: u32 = 512;
/// Words of the bitmap per count.
pub(crate) const RANK_WORDS: usize = RANK_BITS as usize / 64;

/// Where each entity's rows are.
#[derive(Debug, Clone)]
pub struct Directory {
    ordinals: Ordinals,
    /// The first row of each entity, and the number of rows at the end; `None` if every entity has one row.
    starts: Option<Elements<u32>>,
    entities: u32,
    first: u32,
    last: u32,
}

/// Where the question before was answered.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hint {
    /// In a sorted list: the first entity that may be asked for next.
    entity: u32,
    /// In a bitmap: the ranks around it.
    block: NearRanks,
}

/// Which ordinals there are, in order.
#[derive(Debug, Clone)]
pub(crate) enum Ordinals {
    /// The ordinals themselves.
    Sorted(Elements<u32>),
    /// A bit for each of `first ..= last`, and the number of ones before each 512 bits.
    Bitmap { words: Elements<u64>, ranks: Elements<u32> },
}

impl Ordinals {
    /// Where they start in the file.
    fn offset(&self) -> u64 {
        match self {
            Self::Sorted(ordinals) => ordinals.offset,
            Self::Bitmap { words, .. } => words.offset,
        }
    }
}

impl Directory {
    /// The directory of rows in storage order, given the ordinal of each.
    pub fn from_sorted_ordinals(rows: &[u32]) -> Self {
        let mut ordinals: Vec<u32> = Vec::new();
        let mut starts: Vec<u32> = Vec::new();
        for (row, &ordinal) in rows.iter().enumerate() {
            if ordinals.last() != Some(&ordinal) {
                debug_assert!(ordinals.last().is_none_or(|&last| last < ordinal));
                ordinals.push(ordinal);
                starts.push(row as u32);
            }
        }
        starts.push(rows.len() as u32);
        let entities = ordinals.len() as u32;
        let first = ordinals.first().copied().unwrap_or(0);
        let last = ordinals.last().copied().unwrap_or(0);
        // 4 bytes per entity against 1 bit, and 4 bytes per 512, for all between the first and the last.
        let words = (u64::from(last - first) + 1).div_ceil(64);
        let bitmap_bytes = words * 8 + words.div_ceil(RANK_WORDS as u64) * 4;
        let ordinals = if bitmap_bytes < ordinals.len() as u64 * 4 {
            let mut bits = vec![0u64; words as usize];
            for ordinal in ordinals {
                bits[((ordinal - first) / 64) as usize] |= 1 << ((ordinal - first) % 64);
            }
            let ranks = ranks(&bits);
            Ordinals::Bitmap { words: Elements::in_memory(bits), ranks: Elements::in_memory(ranks) }
        } else {
            Ordinals::Sorted(Elements::in_memory(ordinals))
        };
        let starts = (entities as usize != rows.len()).then(|| Elements::in_memory(starts));
        Self { ordinals, starts, entities, first, last }
    }

    /// A directory of `entities` over sections of a file, `None` if their lengths do not fit one another. The content is checked
    /// when it is used.
    pub(crate) fn from_parts(
        ordinals: Ordinals,
        starts: Option<Elements<u32>>,
        entities: u32,
        (first, last): (u32, u32),
    ) -> Option<Self> {
        let fits = match &ordinals {
            Ordinals::Sorted(ordinals) => ordinals.values.len() == entities as usize,
            Ordinals::Bitmap { words, ranks } => {
                last >= first
                    && words.values.len() as u64 == (u64::from(last - first) + 1).div_ceil(64)
                    && ranks.values.len() == words.values.len().div_ceil(RANK_WORDS)
            }
        };
        let closed = starts.as_ref().is_none_or(|starts| starts.values.len() as u64 == u64::from(entities) + 1);
        (fits && closed).then_some(Self { ordinals, starts, entities, first, last })
    }

    /// Which ordinals there are and the starts, if there are any, for writing them.
    pub(crate) fn parts(&self) -> (&Ordinals, Option<&[u32]>) {
        (&self.ordinals, self.starts.as_ref().map(|starts| &starts.values[..]))
    }

    /// The number of entities.
    pub fn entities(&self) -> u32 {
        self.entities
    }

    /// The least ordinal; 0 if there is none.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// The greatest ordinal; 0 if there is none.
    pub fn last(&self) -> u32 {
        self.last
    }

    /// The rows of `ordinal`; empty if it has none. `checks` are those of the file that the directory lies in.
    #[inline]
    pub fn range(&self, ordinal: u32, checks: Option<&Checks>) -> Result<Range<u32>> {
        match self.entity_from(&mut Hint::default(), ordinal, checks)? {
            None => Ok(0..0),
            Some(entity) => self.rows_of(entity as usize, checks),
        }
    }

    /// Which of the entities `ordinal` is, sought from `hint` on: for questions in ascending order that share a
    /// `hint`. A question below the hint is answered too, only slower.
    #[inline]
    pub fn entity_from(&self, hint: &mut Hint, ordinal: u32, checks: Option<&Checks>) -> Result<Option<u32>> {
        if ordinal < self.first || ordinal > self.last || self.entities() == 0 {
            return Ok(None);
        }
        if u64::from(self.last - self.first) + 1 == u64::from(self.entities) {
            // There is none between that is not an entity.
            return Ok(Some(ordinal - self.first));
        }
        match &self.ordinals {
            Ordinals::Sorted(ordinals) => gallop(ordinals, &mut hint.entity, ordinal, checks),
            Ordinals::Bitmap { words, ranks } => hint.block.rank_of(words, ranks, ordinal - self.first, checks),
        }
    }

    /// Asks the processor for what [`Directory::rows_of`] will read.
    #[inline]
    pub fn prefetch(&self, entity: u32) {
        if let Some(start) = self.starts.as_ref().and_then(|starts| starts.values.get(entity as usize..)) {
            prefetch(start[..1].to_byte_slice());
        }
    }

    /// The rows of one of the entities.
    #[inline]
    pub fn rows_of(&self, entity: usize, checks: Option<&Checks>) -> Result<Range<u32>> {
        let outside = |offset| damaged(checks, offset, "the directory points outside of the rows");
        let Some(starts) = &self.starts else {
            let row = entity as u32;
            return if row < self.entities { Ok(row..row + 1) } else { Err(outside(self.ordinals.offset())) };
        };
        let rows = starts.values.get(entity..entity + 2);
        if let (Some(checks), Some(_)) = (checks, rows) {
            checks.bytes(starts.bytes(entity..entity + 2))?;
        }
        match rows {
            // The number of rows is the number of the file's rows: it is checked when the file is opened.
            Some(&[start, end]) if start <= end && end <= self.rows() => Ok(start..end),
            _ => Err(outside(starts.offset)),
        }
    }

    fn rows(&self) -> u32 {
        self.starts.as_ref().map_or(self.entities, |starts| starts.values[starts.values.len() - 1])
    }

    /// The first row of one of the entities, or the number of rows after the last.
    fn start(&self, entity: usize) -> u32 {
        self.starts.as_ref().map_or(entity as u32, |starts| starts.values[entity])
    }

    /// Checks every byte of a mapped directory and that it makes sense for `rows` rows.
    pub fn verify(&self, rows: u32, checks: &Checks) -> Result<()> {
        if let Some(starts) = &self.starts {
            checks.bytes(starts.all())?;
            if starts.values[0] != 0 || !starts.values.is_sorted_by(|a, b| a < b) {
                return Err(checks.damaged(starts.offset, "the directory's rows are out of order"));
            }
        }
        if self.rows() != rows {
            return Err(checks.damaged(self.ordinals.offset(), "the directory is of another number of rows"));
        }
        let sound = match &self.ordinals {
            Ordinals::Sorted(ordinals) => {
                checks.bytes(ordinals.all())?;
                let values = &ordinals.values;
                let ends = (values.first().copied().unwrap_or(0), values.last().copied().unwrap_or(0));
                ends == (self.first, self.last) && values.is_sorted_by(|a, b| a < b)
            }
            Ordinals::Bitmap { words, ranks: counts } => {
                checks.bytes(words.all())?;
                checks.bytes(counts.all())?;
                let ones: u32 = words.values.iter().map(|word| word.count_ones()).sum();
                let beyond = 63 - (self.last - self.first) % 64;
                let (Some(&head), Some(&tail)) = (words.values.first(), words.values.last()) else {
                    return Err(checks.damaged(words.offset, "the directory has no bitmap"));
                };
                let ends = head & 1 == 1 && tail.leading_zeros() == beyond;
                ends && ones == self.entities() && *counts.values == *ranks(&words.values)
            }
        };
        if sound {
            Ok(())
        } else {
            Err(checks.damaged(self.ordinals.offset(), "the directory's entities are out of order"))
        }
    }

    /// Every entity with its rows, in order. A mapped directory must be [verified](Directory::verify) before.
    pub fn iter(&self) -> Entities<'_> {
        Entities { directory: self, cursor: EntityCursor::default() }
    }
}

/// The entities of a directory in order; see [`Directory::iter`].
#[derive(Debug, Clone)]
pub struct Entities<'a> {
    directory: &'a Directory,
    cursor: EntityCursor,
}

impl Iterator for Entities<'_> {
    type Item = (u32, Range<u32>);

    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.next(self.directory)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.directory.entities() as usize - self.cursor.entity.min(self.directory.entities() as usize);
        (left, Some(left))
    }
}

/// Where one stands among the entities of a directory, for those who cannot borrow it meanwhile.
#[derive(Debug, Clone, Copy, Default)]
pub struct EntityCursor {
    entity: usize,
    word: usize,
    /// What is left of the bitmap's word.
    bits: Option<u64>,
}

impl EntityCursor {
    /// The next entity of `directory`, the same at each call, which must be [verified](Directory::verify) if it is
    /// mapped.
    pub fn next(&mut self, directory: &Directory) -> Option<(u32, Range<u32>)> {
        if self.entity >= directory.entities as usize {
            return None;
        }
        let ordinal = match &directory.ordinals {
            Ordinals::Sorted(ordinals) => ordinals.values[self.entity],
            Ordinals::Bitmap { words, .. } => {
                let mut bits = self.bits.unwrap_or_else(|| words.values[0]);
                while bits == 0 {
                    self.word += 1;
                    bits = *words.values.get(self.word)?;
                }
                self.bits = Some(bits & (bits - 1));
                directory.first + self.word as u32 * 64 + bits.trailing_zeros()
            }
        };
        let rows = directory.start(self.entity)..directory.start(self.entity + 1);
        self.entity += 1;
        Some((ordinal, rows))
    }
}

/// The number of ones before each [`RANK_BITS`] bits.
pub(crate) fn ranks(words: &[u64]) -> Vec<u32> {
    let mut before = 0;
    let mut ranks = Vec::with_capacity(words.len().div_ceil(RANK_WORDS));
    for words in words.chunks(RANK_WORDS) {
        ranks.push(before);
        before += words.iter().map(|word| word.count_ones()).sum::<u32>();
    }
    ranks
}

/// The ranks of one block of a bitmap, [`RANK_BITS`] bits: what questions that follow one another mostly share.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NearRanks {
    /// Which block, counted from 1; 0 if none was asked for.
    number: usize,
    /// The number of ones before each of its words.
    before: [u32; RANK_WORDS],
}

impl NearRanks {
    /// How many ones are before `bit`, if it is one. `words` and `ranks` are long enough for `bit`, and the same for
    /// all that is asked of these ranks.
    #[inline]
    pub(crate) fn rank_of(
        &mut self,
        words: &Elements<u64>,
        ranks: &Elements<u32>,
        bit: u32,
        checks: Option<&Checks>,
    ) -> Result<Option<u32>> {
        let (block, word) = ((bit / RANK_BITS) as usize, (bit / 64) as usize);
        let is_known = self.number == block + 1;
        if let (false, Some(checks)) = (is_known, checks) {
            checks.bytes(words.bytes(word..word + 1))?;
        }
        let bits = words.values[word];
        if bits >> (bit % 64) & 1 == 0 {
            return Ok(None);
        }
        if !is_known {
            *self = Self::new(words, ranks, block, checks)?;
        }
        let below = (bits & !(u64::MAX << (bit % 64))).count_ones();
        Ok(Some(self.before[word % RANK_WORDS].wrapping_add(below)))
    }

    fn new(words: &Elements<u64>, ranks: &Elements<u32>, block: usize, checks: Option<&Checks>) -> Result<Self> {
        let start = block * RANK_WORDS;
        let end = words.values.len().min(start + RANK_WORDS);
        if let Some(checks) = checks {
            checks.bytes(words.bytes(start..end))?;
            checks.bytes(ranks.bytes(block..block + 1))?;
        }
        let mut rank = ranks.values[block];
        let mut before = [0; RANK_WORDS];
        for (before, word) in before.iter_mut().zip(&words.values[start..end]) {
            *before = rank;
            rank = rank.wrapping_add(word.count_ones());
        }
        Ok(Self { number: block + 1, before })
    }
}

/// The index of `ordinal`, sought in growing steps from `hint` on.
fn gallop(ordinals: &Elements<u32>, hint: &mut u32, ordinal: u32, checks: Option<&Checks>) -> Result<Option<u32>> {
    let values = &ordinals.values;
    let at = |index: usize| -> Result<u32> {
        if let Some(checks) = checks {
            checks.bytes(ordinals.bytes(index..index + 1))?;
        }
        Ok(values[index])
    };
    let count = values.len();
    let mut low = (*hint as usize).min(count);
    let mut high = count;
    if low > 0 && at(low - 1)? >= ordinal {
        (low, high) = (0, low);
    } else if low > 0 {
        // Everything before `low` is less; find a bound that is not, in steps that double.
        let mut step = 1;
        while low + step <= count && at(low + step - 1)? < ordinal {
            low += step;
            step *= 2;
        }
        high = count.min(low + step);
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if at(middle)? < ordinal { low = middle + 1 } else { high = middle }
    }
    *hint = low as u32;
    if low < count && at(low)? == ordinal { Ok(Some(low as u32)) } else { Ok(None) }
}

/// Only a file can be damaged; in memory it is our own bug.
#[cold]
fn damaged(checks: Option<&Checks>, offset: u64, what: &str) -> Error {
    checks.expect("a directory in memory is sound").damaged(offset, what)
}
