//! Ordinal to rows.

use std::ops::Range;

use crate::error::Result;
use crate::segment::checks::Checks;

/// Where each entity's rows are.
#[derive(Debug, Clone)]
pub struct Directory;

impl Directory {
    /// The rows of `ordinal`.
    pub fn range(&self, _ordinal: u32, _checks: Option<&Checks>) -> Result<Range<u32>> {
        Ok(0..0)
    }
}
