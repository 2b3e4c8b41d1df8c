//! Moving tables between files and a server: what `firn import` and `firn export` are made of.
//!
//! A file lies on this machine or in a bucket (`location.rs`, `content.rs`). Its batches are read (`source.rs`, `csv.rs`, `arrow.rs`), their columns become those of the table (`stage.rs`,
//! `text.rs`), history is sorted and taken apart into writes, deletes and retracts (`history.rs`). All of it is proven
//! before anything is sent, by the server's own rule, and what it would refuse is written down (`check.rs`,
//! `bad_rows.rs`). Then the good rows are sent as one producer (`send.rs`), so that an import that was interrupted can be
//! run again. The other way round a scan is written to a file (`sink.rs`).

mod arrow;
pub(crate) mod bad_rows;
pub(crate) mod check;
mod content;
mod csv;
mod given;
pub(crate) mod history;
pub(crate) mod location;
pub(crate) mod send;
pub(crate) mod shape;
pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod stage;
mod text;

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
    /// Comma-separated values.
    Csv,
    /// Arrow IPC, as file or stream.
    Arrow,
}

impl Format {
    /// The format that was `asked` for, else the one of the ending of `path`.
    pub(crate) fn of(path: &Path, asked: Option<&str>) -> Result<Self> {
        let ending = |path: &Path| path.extension().and_then(|ending| ending.to_str()).unwrap_or("").to_lowercase();
        let ending = match ending(path).as_str() {
            "gz" | "zst" => ending(path.with_extension("").as_path()),
            plain => plain.to_owned(),
        };
        match asked.unwrap_or(&ending) {
            "parquet" | "pq" => Ok(Self::Parquet),
            "csv" => Ok(Self::Csv),
            "arrow" | "arrows" | "ipc" | "feather" => Ok(Self::Arrow),
            _ => Err(format!("{}: the ending tells no format; give --format parquet, csv or arrow", path.display())),
        }
    }
}

impl Format {
    /// How the `row`-th row of a file is called, for a message.
    pub(crate) fn place(self, row: u64) -> String {
        match self {
            Self::Csv => format!("line {row}"),
            Self::Parquet | Self::Arrow => format!("row {row}"),
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
    /// Where in the files each row is from.
    pub(crate) origins: Vec<Origin>,
}

/// A place in the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    /// Which file.
    pub(crate) file: usize,
    /// The line of CSV, or the row, from 1.
    pub(crate) row: u64,
}
