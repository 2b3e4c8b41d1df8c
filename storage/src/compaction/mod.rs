//! Compaction: fewer, larger segments with the same answers.
pub mod merge;
