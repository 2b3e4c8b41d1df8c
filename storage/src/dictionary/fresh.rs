//! The part of a dictionary that is not in a file yet.

use super::part::Part;
use super::table::{LINE_BYTES, Line, fingerprint_lines_for, mix, place_fingerprint};
use crate::error::{Error, Kind, Result};
use crate::model::key::hash;

/// Consecutive keys, without offsets as long as all have one width.
#[derive(Debug, Default)]
struct Arena {
    count: u32,
    width: usize,
    /// `count + 1` offsets once two keys had different widths, else empty.
    offsets: Vec<u64>,
    bytes: Vec<u8>,
}

impl Arena {
    fn push(&mut self, key: &[u8]) {
        if self.count == 0 {
            self.width = key.len();
        } else if self.offsets.is_empty() && key.len() != self.width {
            self.offsets = (0..=u64::from(self.count)).map(|index| index * self.width as u64).collect();
        }
        self.bytes.extend_from_slice(key);
        if !self.offsets.is_empty() {
            self.offsets.push(self.bytes.len() as u64);
        }
        self.count += 1;
    }

    #[inline]
    fn get(&self, index: u32) -> &[u8] {
        let index = index as usize;
        if self.offsets.is_empty() {
            &self.bytes[index * self.width..(index + 1) * self.width]
        } else {
            &self.bytes[self.offsets[index] as usize..self.offsets[index + 1] as usize]
        }
    }
}

/// The keys that came since the last file, in memory. It grows while it is the newest part; frozen, it never changes.
#[derive(Debug)]
pub(super) struct Fresh {
    first_ordinal: u32,
    keys: Arena,
    table: Vec<Line>,
    probe_max: u64,
}

impl Fresh {
    /// An empty part whose first key will have `first_ordinal`.
    pub(super) fn new(first_ordinal: u32) -> Self {
        Self { first_ordinal, keys: Arena::default(), table: Vec::new(), probe_max: 0 }
    }

    /// The ordinal that the next key will have.
    pub(super) fn end(&self) -> u32 {
        self.first_ordinal + self.keys.count
    }

    /// Gives `key`, which the dictionary does not hold, the next ordinal.
    pub(super) fn insert(&mut self, key: &[u8], hash: u64) -> u32 {
        let relative = self.keys.count;
        self.keys.push(key);
        if fingerprint_lines_for(relative + 1) > self.table.len() as u64 {
            self.grow();
        } else {
            self.probe_max = self.probe_max.max(place_fingerprint(&mut self.table, mix(hash), relative));
        }
        self.first_ordinal + relative
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes.capacity() + self.keys.offsets.capacity() * 8 + self.table.capacity() * size_of::<Line>()
    }

    fn grow(&mut self) {
        let mut table = Line::table(fingerprint_lines_for(self.keys.count) * 2);
        self.probe_max = 0;
        for relative in 0..self.keys.count {
            let mixed = mix(hash(self.keys.get(relative)));
            self.probe_max = self.probe_max.max(place_fingerprint(&mut table, mixed, relative));
        }
        self.table = table;
    }
}

impl Part for Fresh {
    #[inline]
    fn first_ordinal(&self) -> u32 {
        self.first_ordinal
    }

    #[inline]
    fn count(&self) -> u32 {
        self.keys.count
    }

    #[inline]
    fn lines(&self) -> u64 {
        self.table.len() as u64
    }

    #[inline]
    fn key_lines(&self) -> bool {
        false
    }

    #[inline]
    fn probe_max(&self) -> u64 {
        self.probe_max
    }

    #[inline]
    fn line(&self, at: u64) -> Result<&[u8; LINE_BYTES]> {
        Ok(&self.table[at as usize].0)
    }

    #[inline]
    fn key(&self, relative: u32) -> Result<&[u8]> {
        Ok(self.keys.get(relative))
    }

    fn damaged(&self, at: u64) -> Error {
        Error::new(Kind::Corrupt, format!("line {at} of a dictionary in memory points nowhere; restart the server"))
    }
}
