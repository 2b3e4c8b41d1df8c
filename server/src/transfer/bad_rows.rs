//! The file of refused rows: CSV with the table's columns, and in front of each row where it is from and what is wrong.
//!
//! It can be mended by hand and imported again as it is, for columns that a table does not have are passed over. It is
//! whole before the first row is sent. Whoever runs an import again gets it again: the rows of the files that are
//! imported are written anew, those of other files stay.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::{Array, RecordBatch};
use arrow_cast::display::array_value_to_string;
use firn_storage::model::prove::BadRow;

use super::shape::Shape;
use super::source::Source;
use super::stage::Unread;
use super::{Origin, Piece, Result};

/// What stands before the table's columns.
const BEFORE: [&str; 5] = ["bad_file", "bad_row", "bad_by", "bad_column", "bad_reason"];

/// The file.
#[derive(Debug)]
pub(crate) struct BadRowsFile {
    path: PathBuf,
    writer: csv::Writer<File>,
    sources: Vec<String>,
    names: Vec<String>,
}

impl BadRowsFile {
    /// Found by proving rows before they are sent.
    pub(crate) const BY_CHECK: &str = "check";
    /// Refused by the server.
    pub(crate) const BY_SERVER: &str = "server";

    /// Opens `path` for the rows of `sources`. Of what it has stays what is of other files and, if this import is one that
    /// `goes_on`, what the server refused of it.
    pub(crate) fn open(path: &Path, sources: &[Source], shape: &Shape, history: bool, goes_on: bool) -> Result<Self> {
        let mut names: Vec<String> = shape.columns().map(|(column, _)| column.name.clone()).collect();
        names.extend(history.then(|| "ingest_time".to_owned()));
        let sources: Vec<String> = sources.iter().map(|source| source.location.to_string()).collect();
        let kept = if path.exists() { kept(path, &sources, &names, goes_on)? } else { Vec::new() };
        // Whole or not at all: what is kept must not be lost in between.
        let (beside, failed) = (path.with_added_extension("tmp"), |error: &dyn std::fmt::Display| failed(path, error));
        let mut writer = csv::Writer::from_path(&beside).map_err(|error| failed(&error))?;
        writer.write_record(header(&names)).map_err(|error| failed(&error))?;
        kept.iter().try_for_each(|record| writer.write_record(record)).map_err(|error| failed(&error))?;
        writer.flush().map_err(|error| failed(&error))?;
        std::fs::rename(&beside, path).map_err(|error| failed(&error))?;
        Ok(Self { path: path.to_owned(), writer, sources, names })
    }

    /// Adds rows that could not be read.
    pub(crate) fn unread(&mut self, rows: &[Unread]) -> Result<()> {
        let mut each = rows.iter();
        each.try_for_each(|unread| {
            self.write(unread.origin, Self::BY_CHECK, (&unread.column, &unread.reason), &unread.row, 0)
        })
    }

    /// Adds the row `row` of `piece`, which is refused: one line, whatever is wrong with it.
    pub(crate) fn refused(&mut self, piece: &Piece, row: u32, bad: &[&BadRow], by: &str) -> Result<()> {
        let join = |text: fn(&BadRow) -> &str| bad.iter().map(|bad| text(bad)).collect::<Vec<_>>().join("; ");
        let (column, reason) = (join(|bad| &bad.column), join(|bad| &bad.reason));
        self.write(piece.origins[row as usize], by, (&column, &reason), &piece.batch, row as usize)
    }

    /// Makes what was added durable.
    pub(crate) fn sync(&mut self) -> Result<()> {
        let flushed = self.writer.flush().and_then(|()| self.writer.get_ref().sync_all());
        flushed.map_err(|error| failed(&self.path, &error))
    }

    fn write(
        &mut self,
        origin: Origin,
        by: &str,
        (column, reason): (&str, &str),
        batch: &RecordBatch,
        row: usize,
    ) -> Result<()> {
        let value = |name: &String| -> String {
            let array = batch.column_by_name(name).filter(|array| row < array.len() && !array.is_null(row));
            array.and_then(|array| array_value_to_string(array, row).ok()).unwrap_or_default()
        };
        let before = [self.sources[origin.file].clone(), origin.row.to_string()].into_iter();
        let before = before.chain([by, column, reason].map(str::to_owned));
        let record: Vec<String> = before.chain(self.names.iter().map(value)).collect();
        self.writer.write_record(&record).map_err(|error| failed(&self.path, &error))
    }
}

fn header(names: &[String]) -> impl Iterator<Item = &str> {
    BEFORE.into_iter().chain(names.iter().map(String::as_str))
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("could not write {}: {error}", path.display())
}

/// The records of the file at `path` that stay.
fn kept(path: &Path, sources: &[String], names: &[String], goes_on: bool) -> Result<Vec<csv::StringRecord>> {
    let mut reader = csv::Reader::from_path(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let found = reader.headers().map_err(|error| format!("{}: {error}", path.display()))?.clone();
    if !found.is_empty() && !found.iter().eq(header(names)) {
        return Err(format!(
            "{} is there already, and not a file of rows refused by this table; name another file",
            path.display()
        ));
    }
    let stays = |record: &csv::StringRecord| {
        let of_these = sources.iter().any(|source| *source == record[0]);
        !of_these || (goes_on && record[2] == *BadRowsFile::BY_SERVER)
    };
    let records = reader.records().collect::<Result<Vec<_>, _>>();
    let records = records.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(records.into_iter().filter(stays).collect())
}
