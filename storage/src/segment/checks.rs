//! First-touch checksums of a mapped file.

use std::ops::Range;

use crate::error::Result;

/// Which blocks of a file have been checked since it was opened.
#[derive(Debug, Clone)]
pub struct Checks;

impl Checks {
    /// Checks the per-row sections of `rows`.
    pub fn rows(&self, _rows: Range<u32>) -> Result<()> {
        Ok(())
    }
}
