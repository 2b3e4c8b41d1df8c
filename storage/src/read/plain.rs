//! Answers of nothing but values of fixed width: blocks of bytes, from which arrays are made only if they are wanted.
//!
//! A lookup of few rows and many features costs more in arrays than in reading, and a server that sends the answer on
//! needs none: a block is laid out as the body of an Arrow IPC message is.

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_buffer::Buffer;
use arrow_schema::SchemaRef;

use super::fixed;
use super::plan::FeaturePart;
use crate::error::Result;

/// Columns start at multiples of this in a block: as Arrow IPC lays out buffers.
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
    pub(crate) blocks: Vec<Buffer>,
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
    /// multiple of [`ALIGNMENT`]. A block holds whole columns: those of one table.
    pub fn blocks(&self) -> &[Buffer] {
        &self.blocks
    }

    fn into_batch(self) -> Result<RecordBatch> {
        let mut blocks = self.blocks.iter();
        let mut block = blocks.next().expect("a plan has a table");
        let mut start = 0;
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            while start == block.len() && self.rows > 0 {
                (block, start) = (blocks.next().expect("the blocks hold all columns"), 0);
            }
            let bytes = self.rows * field.data_type().primitive_width().expect("plain values have a width");
            let cells = block.slice_with_length(start, bytes);
            columns.push(fixed::array(field.data_type(), self.rows, cells, None)?);
            start += bytes.next_multiple_of(ALIGNMENT);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(self.schema, columns, &options)?)
    }
}

impl TableAnswer {
    /// The answer for `rows` rows of `features` as columns.
    pub(crate) fn into_columns(self, features: &[FeaturePart], rows: usize) -> Result<Vec<FeatureAnswer>> {
        let block = match self {
            Self::Columns(columns) => return Ok(columns),
            Self::Plain(block) => block,
        };
        let mut start = 0;
        let column = |feature: &FeaturePart| {
            let bytes = rows * feature.plain_width.expect("only plain features are answered as a block");
            let cells = block.slice_with_length(start, bytes);
            start += bytes.next_multiple_of(ALIGNMENT);
            Ok([Some(fixed::array(&feature.stored, rows, cells, None)?), None, None])
        };
        features.iter().map(column).collect()
    }
}
