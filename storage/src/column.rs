//! The cells of one feature in one chunk.

use arrow_array::ArrayRef;
use arrow_buffer::BooleanBuffer;

/// The cells of one feature.
#[derive(Debug, Clone)]
pub struct Column {
    feature: u32,
    values: ArrayRef,
    present: Option<BooleanBuffer>,
}

impl Column {
    /// A column in memory: one value per row, of which those not `present` are absent.
    pub fn in_memory(feature: u32, values: ArrayRef, present: Option<BooleanBuffer>) -> Self {
        Self { feature, values, present }
    }

    /// The feature.
    pub fn feature(&self) -> u32 {
        self.feature
    }

    /// Whether every write row has a cell.
    pub fn is_dense(&self) -> bool {
        self.present.is_none()
    }
}
