//! The memory of an answer's cells: one block of zeros that is filled, frozen, and shared by the answer's columns.
//!
//! A large one is a map of its own, on huge pages where the kernel grants them, so that it is not taken from the
//! kernel page by page.

use arrow_buffer::{Buffer, MutableBuffer};
use bytes::Bytes;
use memmap2::{Advice, MmapMut};

/// From this size on a block is a map of its own.
const MAP_BYTES_MIN: usize = 8 << 20;

/// A block that is being filled.
#[derive(Debug)]
pub(crate) enum Block {
    /// On the heap.
    Heap(MutableBuffer),
    /// A map of its own.
    Map(MmapMut),
}

impl Block {
    /// A block of `bytes` zeros.
    pub(crate) fn zeroed(bytes: usize) -> Self {
        if bytes >= MAP_BYTES_MIN
            && let Ok(map) = MmapMut::map_anon(bytes)
        {
            // Without huge pages the map is as good as the heap.
            let _ = map.advise(Advice::HugePage);
            return Self::Map(map);
        }
        Self::Heap(MutableBuffer::from_len_zeroed(bytes))
    }

    /// All of it.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Self::Heap(buffer) => buffer.as_slice_mut(),
            Self::Map(map) => map,
        }
    }

    /// The block as it stays.
    pub(crate) fn freeze(self) -> Buffer {
        match self {
            Self::Heap(buffer) => buffer.into(),
            Self::Map(map) => Buffer::from(Bytes::from_owner(map)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_zeros_until_it_is_filled() {
        for bytes in [0, 100, MAP_BYTES_MIN, MAP_BYTES_MIN + 1] {
            let mut block = Block::zeroed(bytes);
            assert!(block.as_mut_slice().iter().all(|byte| *byte == 0));
            if let Some(last) = block.as_mut_slice().last_mut() {
                *last = 7;
            }
            let frozen = block.freeze();
            assert_eq!((frozen.len(), frozen.last().copied()), (bytes, (bytes > 0).then_some(7)));
            assert_eq!(frozen.as_ptr().align_offset(64), 0, "columns are laid out from here");
        }
    }
}
