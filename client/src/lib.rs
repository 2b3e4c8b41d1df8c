//! The Rust client of FirnDB.

pub mod wire;
