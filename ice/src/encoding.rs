//! Encodings by trial: no rule of thumb tells which one is the smallest, so the first rows of each file are written with each
//! that a column may have, and the smallest wins.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Encoding;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use crate::column::field_id;
use crate::error::{Result, unwritable};

/// How the values of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// Each different value once, and numbers for it.
    Dictionary,
    /// As this encoding says.
    Plainly(Encoding),
}

impl Choice {
    /// `builder` with this choice for the column at `path`.
    fn put(self, builder: WriterPropertiesBuilder, path: ColumnPath) -> WriterPropertiesBuilder {
        match self {
            Self::Dictionary => builder.set_column_dictionary_enabled(path, true),
            Self::Plainly(encoding) => {
                builder.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, encoding)
            }
        }
    }
}

/// What a column of `data_type` may have, the fastest to read first; nothing to try for what is nested. Only floats are split: Polars and
/// DuckDB refuse split decimals, and DuckDB 1.4 split integers too.
fn candidates(data_type: &DataType, compatible: bool) -> Vec<Choice> {
    let plain = Choice::Plainly(Encoding::PLAIN);
    let delta = |encoding| [Choice::Dictionary, plain, Choice::Plainly(encoding)];
    match data_type {
        DataType::Float32 | DataType::Float64 => {
            let split = (!compatible).then_some(Choice::Plainly(Encoding::BYTE_STREAM_SPLIT));
            split.into_iter().chain([Choice::Dictionary, plain]).collect()
        }
        DataType::FixedSizeBinary(_) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            vec![Choice::Dictionary, plain]
        }
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Date32
        | DataType::Int64
        | DataType::Timestamp(..) => delta(Encoding::DELTA_BINARY_PACKED).to_vec(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => {
            let arrays = Choice::Plainly(Encoding::DELTA_BYTE_ARRAY);
            delta(Encoding::DELTA_LENGTH_BYTE_ARRAY).into_iter().chain([arrays]).collect()
        }
        _ => Vec::new(),
    }
}

/// How the columns of a file are written, as a trial of its first rows found, and good for other files of like rows.
#[derive(Debug, Clone)]
pub struct Encodings {
    schema: SchemaRef,
    compatible: bool,
    /// Rows that were tried.
    rows: usize,
    /// Bytes of their cells: what a probe of few rows fetches.
    cell_bytes: usize,
    /// Of each column.
    choices: Vec<Choice>,
}

impl Encodings {
    /// What is smallest for `batches`, the first rows of a file of `schema`.
    pub(crate) fn by_trial(
        schema: &SchemaRef,
        batches: &[RecordBatch],
        properties: &dyn Fn() -> WriterPropertiesBuilder,
        compatible: bool,
    ) -> Result<Self> {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        let mut encodings = Self { schema: Arc::clone(schema), compatible, rows, cell_bytes: 0, choices: Vec::new() };
        for (place, field) in schema.fields().iter().enumerate() {
            let values: Vec<ArrayRef> = batches.iter().map(|batch| Arc::clone(batch.column(place))).collect();
            let (choice, bytes) = smallest(field, &values, properties, compatible)?;
            encodings.cell_bytes += if field_id(field).is_some() { bytes } else { 0 };
            encodings.choices.push(choice);
        }
        Ok(encodings)
    }

    /// How many rows they were tried with.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether they are for files of `schema`.
    pub(crate) fn are_for(&self, schema: &SchemaRef, compatible: bool) -> bool {
        self.schema == *schema && self.compatible == compatible
    }

    /// Bytes of the cells of a row, about; none if there were no rows.
    pub(crate) fn row_bytes(&self) -> Option<usize> {
        self.cell_bytes.checked_div(self.rows)
    }

    /// `builder` with them.
    pub(crate) fn put(&self, builder: WriterPropertiesBuilder) -> WriterPropertiesBuilder {
        let columns = self.schema.fields().iter().zip(&self.choices);
        columns.fold(builder, |builder, (field, choice)| choice.put(builder, ColumnPath::from(field.name().as_str())))
    }
}

/// What the column `field` of the rows `values` is smallest with, and its bytes then.
fn smallest(
    field: &Field,
    values: &[ArrayRef],
    properties: &dyn Fn() -> WriterPropertiesBuilder,
    compatible: bool,
) -> Result<(Choice, usize)> {
    let size = |choice: Choice| -> Result<usize> {
        let path = ColumnPath::from(field.name().as_str());
        let properties = choice.put(properties(), path).build();
        written(field, values, properties)
    };
    let mut best = None;
    for choice in candidates(field.data_type(), compatible) {
        let bytes = size(choice)?;
        if best.is_none_or(|(_, least)| bytes < least) {
            best = Some((choice, bytes));
        }
    }
    best.map_or_else(|| Ok((Choice::Dictionary, size(Choice::Dictionary)?)), Ok)
}

/// The bytes of a file of that column alone.
fn written(field: &Field, values: &[ArrayRef], properties: WriterProperties) -> Result<usize> {
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(&schema), Some(properties)).map_err(unwritable)?;
    for values in values {
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(values)]).map_err(unwritable)?;
        writer.write(&batch).map_err(unwritable)?;
    }
    writer.close().map_err(unwritable)?;
    Ok(bytes.len())
}
