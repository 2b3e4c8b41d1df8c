//! Answers of nothing but values of fixed width: slabs of bytes, from which arrays are made only if they are wanted.
//!
//! A lookup of few rows and many features costs more in arrays than in reading, and a server that sends the answer on
//! needs none: a slab is laid out as the body of an Arrow IPC message is.

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_buffer::Buffer;
use arrow_schema::SchemaRef;

use super::fixed;
use super::plan::AskedFeature;
use crate::error::Result;

/// Columns start at multiples of this in a slab: as Arrow IPC lays out buffers.
pub const ALIGNMENT: usize = 64;

/// What a lookup or a join came to.
#[derive(Debug)]
pub enum Answer {
    /// Values of fixed width alone.
    Plain(PlainAnswer),
    /// Any columns.
    Columns(RecordBatch),
}

/// Values of fixed width, no null among them.
#[derive(Debug)]
pub struct PlainAnswer {
    pub(crate) schema: SchemaRef,
    pub(crate) rows: usize,
    pub(crate) slabs: Vec<Buffer>,
}

/// The answers of one feature: cells and, if they were asked for, statuses and event times.
pub(crate) type FeatureAnswer = [Option<ArrayRef>; 3];

/// What one table answers.
#[derive(Debug)]
pub(crate) enum TableAnswer {
    /// The cells of all features.
    Plain(Buffer),
    /// One per feature.
    Columns(Vec<FeatureAnswer>),
}

impl Answer {
    /// The answer as columns.
    pub fn into_batch(self) -> Result<RecordBatch> {
        match self {
            Self::Columns(batch) => Ok(batch),
            Self::Plain(plain) => plain.into_batch(),
        }
    }
}

impl PlainAnswer {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The values of all columns, one column after another in the order of the schema, each padded with zeros to a
    /// multiple of [`ALIGNMENT`]. A slab holds whole columns: those of one table.
    pub fn slabs(&self) -> &[Buffer] {
        &self.slabs
    }

    fn into_batch(self) -> Result<RecordBatch> {
        let mut slabs = self.slabs.iter();
        let mut slab = slabs.next().expect("a plan has a table");
        let mut start = 0;
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            while start == slab.len() && self.rows > 0 {
                (slab, start) = (slabs.next().expect("the slabs hold all columns"), 0);
            }
            let bytes = self.rows * field.data_type().primitive_width().expect("plain values have a width");
            let cells = slab.slice_with_length(start, bytes);
            columns.push(fixed::array(field.data_type(), self.rows, cells, None)?);
            start += bytes.next_multiple_of(ALIGNMENT);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(self.schema, columns, &options)?)
    }
}

impl TableAnswer {
    /// The answer for `rows` rows of `features` as columns.
    pub(crate) fn into_columns(self, features: &[AskedFeature], rows: usize) -> Result<Vec<FeatureAnswer>> {
        let slab = match self {
            Self::Columns(columns) => return Ok(columns),
            Self::Plain(slab) => slab,
        };
        let mut start = 0;
        let column = |feature: &AskedFeature| {
            let bytes = rows * feature.plain_width.expect("only plain features are answered as a slab");
            let cells = slab.slice_with_length(start, bytes);
            start += bytes.next_multiple_of(ALIGNMENT);
            Ok([Some(fixed::array(&feature.stored, rows, cells, None)?), None, None])
        };
        features.iter().map(column).collect()
    }
}
