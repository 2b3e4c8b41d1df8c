//! The file of refused rows: CSV with the table's columns, and in front of each row what is wrong with it.
//!
//! It can be mended by hand and imported again as it is, for columns that a table does not have are passed over.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_cast::display::array_value_to_string;
use arrow_schema::{DataType, Field, Schema};
use firn_client::wire::BadRow;

use super::Result;
use super::shape::Shape;
use super::stage::Unread;

/// The file.
#[derive(Debug)]
pub(crate) struct BadRowsFile {
    path: PathBuf,
    file: File,
    names: Vec<String>,
    is_empty: bool,
}

impl BadRowsFile {
    /// Opens `path`, to go on after what an earlier attempt wrote.
    pub(crate) fn open(path: &Path, shape: &Shape, history: bool) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|error| format!("could not open {}: {error}", path.display()))?;
        let is_empty = file.metadata().map_or(true, |metadata| metadata.len() == 0);
        let mut names = vec!["bad_column".to_owned(), "bad_reason".to_owned()];
        names.extend(shape.columns().map(|(column, _)| column.name.clone()));
        names.extend(history.then(|| "ingest_time".to_owned()));
        Ok(Self { path: path.to_owned(), file, names, is_empty })
    }

    /// Adds rows that could not be read.
    pub(crate) fn unread(&mut self, rows: &[Unread]) -> Result<()> {
        rows.iter().try_for_each(|unread| self.write(&unread.row, 0, &unread.column, &unread.reason))
    }

    /// Adds rows of `batch` that the server refused: one line per row, whatever is wrong with it.
    pub(crate) fn refused(&mut self, batch: &RecordBatch, rows: &[&BadRow]) -> Result<()> {
        let mut by_row: BTreeMap<u64, Vec<&BadRow>> = BTreeMap::new();
        rows.iter().for_each(|bad| by_row.entry(bad.row).or_default().push(bad));
        for (row, bad) in by_row {
            let join = |text: fn(&BadRow) -> &str| bad.iter().map(|bad| text(bad)).collect::<Vec<_>>().join("; ");
            self.write(batch, row as usize, &join(|bad| &bad.column), &join(|bad| &bad.reason))?;
        }
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch, row: usize, column: &str, reason: &str) -> Result<()> {
        let value = |name: &String| -> Option<String> {
            let array = batch.column_by_name(name).filter(|array| row < array.len() && !array.is_null(row))?;
            array_value_to_string(array, row).ok()
        };
        let texts =
            [Some(column.to_owned()), Some(reason.to_owned())].into_iter().chain(self.names[2..].iter().map(value));
        let fields: Vec<Field> = self.names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        let arrays = texts.map(|text| Arc::new(StringArray::from(vec![text])) as ArrayRef).collect();
        let line = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("one text per name");
        let mut writer = arrow_csv::WriterBuilder::new().with_header(self.is_empty).build(&mut self.file);
        self.is_empty = false;
        writer.write(&line).map_err(|error| format!("could not write {}: {error}", self.path.display()))
    }
}
