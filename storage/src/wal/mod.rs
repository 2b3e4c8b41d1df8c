//! The write-ahead log.

use std::sync::Arc;

use crate::error::Result;
use crate::io::Files;
use crate::time::{Micros, Sequence};

/// One commit in the log.
#[derive(Debug)]
pub struct Record<'a> {
    /// What it is.
    pub kind: u8,
    /// Its first sequence.
    pub first: Sequence,
    /// Its last sequence.
    pub last: Sequence,
    /// Its ingest time.
    pub ingest_time: Micros,
    /// What it says.
    pub payload: &'a [u8],
}

/// The log.
#[derive(Debug)]
pub struct Wal;

impl Wal {
    /// Recovers.
    pub fn recover(
        _files: &Arc<dyn Files>,
        _first: u64,
        _next: &mut dyn FnMut() -> u64,
        _apply: &mut dyn FnMut(Record<'_>) -> Result<()>,
    ) -> Result<Self> {
        Ok(Self)
    }
    /// Appends.
    pub fn append(&mut self, _record: &Record<'_>) -> Result<()> {
        Ok(())
    }
    /// Commits.
    pub fn commit(&mut self) -> Result<()> {
        Ok(())
    }
    /// Rotates.
    pub fn rotate(&mut self, _number: u64) -> Result<()> {
        Ok(())
    }
    /// Number.
    pub fn number(&self) -> u64 {
        0
    }
    /// Bytes.
    pub fn bytes(&self) -> u64 {
        0
    }
    /// Closes.
    pub fn close(self) -> Result<()> {
        Ok(())
    }
}

/// Removes.
pub fn remove_before(_files: &Arc<dyn Files>, _number: u64) -> Result<()> {
    Ok(())
}
