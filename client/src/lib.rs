//! The Rust client of FirnDB.
