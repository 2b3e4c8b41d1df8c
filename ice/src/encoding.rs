//! Encodings by trial: no rule of thumb tells which one is the smallest, so the first rows of each file are written with each
//! that a column may have, and the smallest wins. Where compression then saves next to nothing it is left out: it costs whoever
//! writes and each who reads.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use crate::column::field_id;
use crate::error::{Result, unwritable};

/// Compression of a column is worth it if it saves one byte of so many.
const SAVED_SHARE: usize = 100;

/// How a column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Choice {
    encoding: ValueEncoding,
    /// Whether its pages are compressed.
    compressed: bool,
}

/// How the values of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueEncoding {
    /// Each different value once, and numbers for it.
    Dictionary,
    /// As this encoding says.
    Plainly(Encoding),
}

impl Choice {
    /// `builder` with this choice for the column at `path`.
    fn put(self, builder: WriterPropertiesBuilder, path: ColumnPath) -> WriterPropertiesBuilder {
        let builder = self.encoding.put(builder, path.clone());
        if self.compressed { builder } else { builder.set_column_compression(path, Compression::UNCOMPRESSED) }
    }
}

impl ValueEncoding {
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
fn candidates(data_type: &DataType, compatible: bool) -> Vec<ValueEncoding> {
    let plain = ValueEncoding::Plainly(Encoding::PLAIN);
    let delta = |encoding| [ValueEncoding::Dictionary, plain, ValueEncoding::Plainly(encoding)];
    match data_type {
        DataType::Float32 | DataType::Float64 => {
            let split = (!compatible).then_some(ValueEncoding::Plainly(Encoding::BYTE_STREAM_SPLIT));
            split.into_iter().chain([ValueEncoding::Dictionary, plain]).collect()
        }
        DataType::FixedSizeBinary(_) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            vec![ValueEncoding::Dictionary, plain]
        }
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Date32
        | DataType::Int64
        | DataType::Timestamp(..) => delta(Encoding::DELTA_BINARY_PACKED).to_vec(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => {
            let arrays = ValueEncoding::Plainly(Encoding::DELTA_BYTE_ARRAY);
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
    let size = |encoding: ValueEncoding| -> Result<Size> {
        let path = ColumnPath::from(field.name().as_str());
        written(field, values, encoding.put(properties(), path).build())
    };
    let mut best = None;
    for encoding in candidates(field.data_type(), compatible) {
        let size = size(encoding)?;
        if best.is_none_or(|(_, least): (_, Size)| size.bytes() < least.bytes()) {
            best = Some((encoding, size));
        }
    }
    let (encoding, size) = match best {
        Some(best) => best,
        None => (ValueEncoding::Dictionary, size(ValueEncoding::Dictionary)?),
    };
    Ok((Choice { encoding, compressed: size.is_worth_it() }, size.bytes()))
}

/// Bytes of the pages of a column.
#[derive(Debug, Clone, Copy)]
struct Size {
    compressed: usize,
    /// The same without compression.
    plain: usize,
}

impl Size {
    /// Whether compression saves enough.
    fn is_worth_it(self) -> bool {
        self.plain.saturating_sub(self.compressed) > self.plain / SAVED_SHARE
    }

    /// Bytes with compression if it is worth it.
    fn bytes(self) -> usize {
        if self.is_worth_it() { self.compressed } else { self.plain }
    }
}

/// The size of that column alone in a file.
fn written(field: &Field, values: &[ArrayRef], properties: WriterProperties) -> Result<Size> {
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let mut writer =
        ArrowWriter::try_new(std::io::sink(), Arc::clone(&schema), Some(properties)).map_err(unwritable)?;
    for values in values {
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(values)]).map_err(unwritable)?;
        writer.write(&batch).map_err(unwritable)?;
    }
    let footer = writer.close().map_err(unwritable)?;
    let columns = footer.row_groups().iter().flat_map(|group| group.columns());
    let add = |size: Size, column: &ColumnChunkMetaData| Size {
        compressed: size.compressed + column.compressed_size() as usize,
        plain: size.plain + column.uncompressed_size() as usize,
    };
    Ok(columns.fold(Size { compressed: 0, plain: 0 }, add))
}
