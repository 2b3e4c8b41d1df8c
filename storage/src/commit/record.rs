//! The kinds of records that the log's writer puts into the WAL; replay reads the same.

/// A batch of rows.
pub const BATCH: u8 = 1;
/// A schema version.
pub const VERSION: u8 = 2;
/// An erase.
pub const ERASE: u8 = 3;
