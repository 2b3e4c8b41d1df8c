//! The place of each row in the batch that it came in: the later of two rows of one batch is the newer.

use arrow_buffer::ScalarBuffer;

/// The place of each row in its batch: two bytes are enough in a segment whose batches were not large.
#[derive(Debug, Clone)]
pub enum Places {
    /// Below 65,536.
    Narrow(ScalarBuffer<u16>),
    /// Any.
    Wide(ScalarBuffer<u32>),
}

impl Places {
    /// The place of `row`.
    #[inline]
    pub fn of(&self, row: u32) -> u32 {
        match self {
            Self::Narrow(places) => u32::from(places[row as usize]),
            Self::Wide(places) => places[row as usize],
        }
    }
}

impl From<Vec<u32>> for Places {
    fn from(places: Vec<u32>) -> Self {
        Self::Wide(places.into())
    }
}
