//! Segments: immutable files of rows in storage order.

pub mod checks;
pub mod directory;
