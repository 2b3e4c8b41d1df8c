//! The real directory.
