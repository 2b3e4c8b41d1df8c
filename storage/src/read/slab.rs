//! The memory of an answer's cells: one slab of zeros that is filled, frozen, and shared by the answer's columns.
//!
//! A large one is a map of its own, on huge pages where the kernel grants them. Once nobody holds it any more it is
//! kept for the next answer, within a bound: to clear memory that is there costs less than to get it from the kernel,
//! page by page.

use std::sync::Arc;

use arrow_buffer::{Buffer, MutableBuffer};
use bytes::Bytes;
use memmap2::{Advice, MmapMut};
use parking_lot::Mutex;

/// From this size on a slab is a map of its own.
const MAP_BYTES_MIN: usize = 1 << 20;
/// Maps are as large as a multiple of this, a huge page.
const MAP_BYTES_STEP: usize = 2 << 20;
/// A spare map is not given to an answer of less than one part in so many of it.
const WASTE: usize = 4;

/// Maps that no answer holds, kept for the next ones.
#[derive(Debug)]
pub struct SpareSlabs {
    /// The one that was held last is the last.
    maps: Mutex<Vec<MmapMut>>,
    bytes_max: usize,
}

/// A slab that is being filled.
#[derive(Debug)]
pub(crate) enum Slab {
    /// On the heap.
    Heap(MutableBuffer),
    /// The first so many bytes of a map.
    Map(Lent, usize),
}

/// A map that goes back to the spare ones when it is dropped.
#[derive(Debug)]
pub(crate) struct Lent {
    map: Option<MmapMut>,
    spare: Arc<SpareSlabs>,
}

impl SpareSlabs {
    /// None yet, and never more than `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self { maps: Mutex::new(Vec::new()), bytes_max }
    }

    /// A slab of `bytes` zeros.
    pub(crate) fn zeroed(self: &Arc<Self>, bytes: usize) -> Slab {
        if bytes < MAP_BYTES_MIN {
            return Slab::Heap(MutableBuffer::from_len_zeroed(bytes));
        }
        let spare = Arc::clone(self);
        if let Some(mut map) = self.take(bytes) {
            map[..bytes].fill(0);
            return Slab::Map(Lent { map: Some(map), spare }, bytes);
        }
        match MmapMut::map_anon(bytes.next_multiple_of(MAP_BYTES_STEP)) {
            Ok(map) => {
                // Without huge pages the map is as good as the heap.
                let _ = map.advise(Advice::HugePage);
                Slab::Map(Lent { map: Some(map), spare }, bytes)
            }
            Err(_) => Slab::Heap(MutableBuffer::from_len_zeroed(bytes)),
        }
    }

    /// The last map that is large enough and not much too large.
    fn take(&self, bytes: usize) -> Option<MmapMut> {
        let mut maps = self.maps.lock();
        let found = maps.iter().rposition(|map| map.len() >= bytes && map.len() / WASTE <= bytes)?;
        Some(maps.remove(found))
    }

    /// Keeps `map`, if it is within the bound, in the place of those that were kept longest.
    fn give_back(&self, map: MmapMut) {
        let mut beyond = Vec::new();
        let mut maps = self.maps.lock();
        maps.push(map);
        let mut bytes: usize = maps.iter().map(|map| map.len()).sum();
        while bytes > self.bytes_max {
            let oldest = maps.remove(0);
            bytes -= oldest.len();
            beyond.push(oldest);
        }
        drop(maps);
        // Unmapped here, where nobody waits for the lock.
        drop(beyond);
    }
}

impl Slab {
    /// A slab of nothing.
    pub(crate) fn empty() -> Self {
        Self::Heap(MutableBuffer::new(0))
    }

    /// All of it.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Self::Heap(buffer) => buffer.as_slice_mut(),
            Self::Map(lent, bytes) => &mut lent.map.as_mut().expect("it is taken only by drop")[..*bytes],
        }
    }

    /// The slab as it stays.
    pub(crate) fn freeze(self) -> Buffer {
        match self {
            Self::Heap(buffer) => buffer.into(),
            Self::Map(lent, bytes) => Buffer::from(Bytes::from_owner(lent)).slice_with_length(0, bytes),
        }
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.map.as_ref().expect("it is taken only by drop")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(map) = self.map.take() {
            self.spare.give_back(map);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(spare: &Arc<SpareSlabs>, bytes: usize) -> Buffer {
        let mut slab = spare.zeroed(bytes);
        assert!(slab.as_mut_slice().iter().all(|byte| *byte == 0));
        slab.as_mut_slice().fill(7);
        slab.freeze()
    }

    #[test]
    fn a_slab_is_zeros_until_it_is_filled_also_when_it_is_used_again() {
        let spare = Arc::new(SpareSlabs::new(64 << 20));
        for bytes in [0, 100, MAP_BYTES_MIN, MAP_BYTES_MIN + 1, MAP_BYTES_MIN] {
            let frozen = filled(&spare, bytes);
            assert_eq!((frozen.len(), frozen.last().copied()), (bytes, (bytes > 0).then_some(7)));
            assert_eq!(frozen.as_ptr().align_offset(64), 0, "columns are laid out from here");
        }
        assert_eq!(spare.maps.lock().len(), 1, "one map served all");
    }

    #[test]
    fn spare_maps_are_bounded_and_the_oldest_go_first() {
        let spare = Arc::new(SpareSlabs::new(3 * MAP_BYTES_STEP));
        let held: Vec<Buffer> = (1..=3).map(|steps| filled(&spare, steps * MAP_BYTES_STEP)).collect();
        assert!(spare.maps.lock().is_empty(), "held slabs are not spare");
        let part = held[1].slice(5);
        drop(held);
        assert_eq!(spare.maps.lock().iter().map(|map| map.len()).collect::<Vec<_>>(), [3 * MAP_BYTES_STEP]);
        assert_eq!(part[0], 7, "a part holds the slab");
        drop(part);
        assert_eq!(spare.maps.lock().iter().map(|map| map.len()).collect::<Vec<_>>(), [2 * MAP_BYTES_STEP]);
        let small = filled(&spare, MAP_BYTES_MIN);
        assert!(spare.maps.lock().is_empty());
        drop(small);
        assert_eq!(spare.maps.lock().len(), 1);
        drop(filled(&spare, 4 * MAP_BYTES_STEP));
        assert_eq!(spare.maps.lock().len(), 0, "more than the bound is not kept");
    }
}
