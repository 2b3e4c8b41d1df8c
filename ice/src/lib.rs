//! Ice: cold history as Parquet files that any engine reads, and of which FirnDB reads the very rows that it needs.
//!
//! [`Writer`] writes a file of rows in their order, [`Meta`] describes it, and by that [`Reader`] says which bytes hold which
//! cells before one of them is fetched, and makes arrays of them. [`delta`] is the log that makes a table of such files.
//! There is no input or output here, no thread, and nothing of the engine: arrays and bytes come and go.

mod column;
pub mod delta;
mod encoding;
mod error;
mod lake;
mod meta;
mod pages;
mod reader;
mod writer;

pub use column::ColumnSpec;
pub use encoding::Encodings;
pub use error::{Error, Result};
pub use meta::{Footer, Meta};
pub use pages::merge_ranges;
pub use reader::Reader;
pub use writer::{Options, Writer, Written};

/// Rows of a page, the least that is read.
pub const PAGE_ROWS: usize = 2048;
/// Rows of a row group, at most.
pub const GROUP_ROWS_MAX: usize = 65_536;
