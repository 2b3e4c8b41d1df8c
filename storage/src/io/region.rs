//! Memory in which values arrive while others are read.
//!
//! A [`Region`] is reserved whole and zeroed; a page of it takes memory when something arrives there. [`Arrivals`] are the
//! values of one column in a region: they come in pieces, each once, and a piece is read only after
//! [`Arrivals::has`] said that it is there. What the pieces are, and where values come from, is for others to know.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use memmap2::{MmapOptions, MmapRaw};
use parking_lot::Mutex;

use crate::error::{Error, Kind, Result};

/// A reserved piece of memory. Clones share it.
#[derive(Clone)]
pub(crate) struct Region {
    map: Arc<MmapRaw>,
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("length", &self.map.len()).finish()
    }
}

impl Region {
    /// Reserves `length` bytes, all zero.
    pub(crate) fn new(length: u64) -> Result<Self> {
        let refused = |what: &dyn fmt::Display| {
            Error::new(Kind::Exhausted, format!("could not reserve {length} bytes for cells of ice: {what}"))
        };
        // A map of no bytes is none.
        let length = usize::try_from(length.max(1)).map_err(|error| refused(&error))?;
        let map = MmapOptions::new().len(length).no_reserve_swap().map_anon().map_err(|error| refused(&error))?;
        Ok(Self { map: Arc::new(MmapRaw::from(map)) })
    }

    /// All of it, to be read where something is known to have arrived.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::from_owner(View(Arc::clone(&self.map)))
    }

    /// Copies `bytes` to `start`, where nothing has arrived.
    pub(super) fn put_piece(&self, start: usize, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.put(start, bytes.len(), bytes.len(), bytes);
        }
    }

    /// Copies `values` of `width` bytes to `start` and every `stride` bytes from there on.
    #[expect(unsafe_code, reason = "values arrive in memory that others hold a view of")]
    fn put(&self, start: usize, width: usize, stride: usize, values: &[u8]) {
        let count = values.len() / width;
        assert_eq!(count * width, values.len(), "whole values arrive");
        assert!(width <= stride, "values do not overlap");
        let end = count.checked_sub(1).map_or(start, |last| start + last * stride + width);
        assert!(end <= self.map.len(), "values arrive inside of the region");
        for (place, value) in values.chunks_exact(width).enumerate() {
            // SAFETY: the assertion above keeps the bytes inside of the map, which lives as long as `self`. `values` is
            // other memory: a view is read only where something has arrived, which is not sent here again. Nobody reads
            // these bytes now: `Arrivals` puts each piece once and says only afterwards that it is there; nobody writes
            // them now: one piece is put at a time, and columns of a strip share no byte.
            unsafe {
                let to = self.map.as_mut_ptr().add(start + place * stride);
                std::ptr::copy_nonoverlapping(value.as_ptr(), to, width);
            }
        }
    }
}

/// A view of a region.
struct View(Arc<MmapRaw>);

impl AsRef<[u8]> for View {
    #[expect(unsafe_code, reason = "a view of memory in which values arrive")]
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the map is readable, zeroed memory of this length and lives as long as the view. Its bytes change, but
        // each only before it is first read, as the module says.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.0.len()) }
    }
}

/// The values of one column in a region, which arrive in pieces.
#[derive(Debug)]
pub(crate) struct Arrivals {
    region: Region,
    /// Where the first value starts.
    start: usize,
    /// Bytes of a value.
    width: usize,
    /// Bytes from one value to the next.
    stride: usize,
    /// A bit per piece that is there.
    there: Box<[AtomicU64]>,
    /// Held while a piece is put.
    putting: Mutex<()>,
}

impl Arrivals {
    /// None of so many `pieces` is there yet. Values of `width` bytes lie `stride` bytes apart, from `start` on.
    pub(crate) fn new(region: Region, (start, width, stride): (usize, usize, usize), pieces: u32) -> Self {
        let there = (0..pieces.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { region, start, width, stride, there, putting: Mutex::default() }
    }

    /// Whether `piece` is there, and may be read.
    #[inline]
    pub(crate) fn has(&self, piece: u32) -> bool {
        // Pairs with the release in `put`: who sees the bit sees the values.
        let word = self.there.get((piece / 64) as usize);
        word.is_some_and(|word| word.load(Ordering::Acquire) >> (piece % 64) & 1 == 1)
    }

    /// Puts `piece`, whose `values` are those from position `first` on, unless it is there; how many bytes came.
    pub(crate) fn put(&self, piece: u32, first: u32, values: &[u8]) -> usize {
        let _guard = self.putting.lock();
        if self.has(piece) {
            return 0;
        }
        self.region.put(self.start + first as usize * self.stride, self.width, self.stride, values);
        self.there[(piece / 64) as usize].fetch_or(1 << (piece % 64), Ordering::Release);
        values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_arrive_at_their_places_once() {
        let region = Region::new(64).unwrap();
        let arrivals = Arrivals::new(region.clone(), (3, 2, 5), 2);
        assert!(!arrivals.has(0) && !arrivals.has(1) && !arrivals.has(64));
        assert_eq!(arrivals.put(1, 1, &[3, 4, 5, 6]), 4);
        assert!(!arrivals.has(0) && arrivals.has(1));
        assert_eq!(arrivals.put(0, 0, &[1, 2]), 2);
        assert_eq!(arrivals.put(0, 0, &[9, 9]), 0, "what is there stays");
        assert_eq!(region.bytes()[..16], [0, 0, 0, 1, 2, 0, 0, 0, 3, 4, 0, 0, 0, 5, 6, 0]);
    }

    #[test]
    #[should_panic(expected = "inside of the region")]
    fn nothing_arrives_outside() {
        Arrivals::new(Region::new(8).unwrap(), (6, 2, 2), 1).put(0, 0, &[1, 2, 3, 4]);
    }
}
