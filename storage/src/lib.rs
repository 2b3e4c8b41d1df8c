//! FirnDB's storage engine: versioned feature columns, read now, at any past moment, and as they were known then.

mod blocks;
pub mod checksum;
pub mod column;
pub mod compaction;
pub mod dictionary;
pub mod error;
pub mod io;
pub mod model;
pub mod pack;
pub mod rows;
pub mod run;
pub mod segment;
pub mod time;
pub mod wal;
