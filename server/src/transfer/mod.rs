//! Moving tables between files and a server: what `firn import` and `firn export` are made of.
//!
//! A file's batches are read (`source.rs`), their columns become those of the table (`stage.rs`), history is sorted and
//! taken apart into writes, deletes and retracts (`history.rs`), and the pieces are sent as one producer (`send.rs`), so
//! that an import that was interrupted can be run again. The other way round a scan is written to a file
//! (`sink.rs`). Nothing here judges a value but CSV, which has no types; the server does.

pub(crate) mod bad_rows;
pub(crate) mod history;
pub(crate) mod send;
pub(crate) mod shape;
pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod stage;

use std::path::Path;

use arrow_array::RecordBatch;
use firn_client::wire::Put;

/// The result of a step, with what to tell the user.
pub(crate) type Result<T, E = String> = std::result::Result<T, E>;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header.
    Csv,
    /// Arrow IPC, as file or stream.
    Arrow,
}

impl Format {
    /// The format that was `asked` for, else the one of the ending of `path`.
    pub(crate) fn of(path: &Path, asked: Option<&str>) -> Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("").to_lowercase();
        match asked.unwrap_or(&ending) {
            "parquet" | "pq" => Ok(Self::Parquet),
            "csv" => Ok(Self::Csv),
            "arrow" | "arrows" | "ipc" | "feather" => Ok(Self::Arrow),
            _ => Err(format!("{}: the ending tells no format; give --format parquet, csv or arrow", path.display())),
        }
    }
}

/// Rows that are sent as one batch.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// What its rows do.
    pub(crate) put: Put,
    /// The rows: the table's columns only.
    pub(crate) batch: RecordBatch,
}
