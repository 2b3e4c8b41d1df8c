//! Files being read: Parquet, CSV, Arrow IPC, a batch at a time.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_csv::reader::Format as CsvFormat;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Format, Result};

/// What an Arrow IPC file begins with; a stream does not.
const ARROW_MAGIC: &[u8; 6] = b"ARROW1";

/// A file to import.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) format: Format,
}

/// A file that is being read.
pub(crate) struct Batches {
    /// Its columns. Those of CSV are all text.
    pub(crate) schema: SchemaRef,
    /// How many rows there are, where the file says so.
    pub(crate) rows: Option<u64>,
    batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}

impl Source {
    /// Reads the file in batches of at most `batch_rows`; `only` one column of it, if that is all that is wanted.
    pub(crate) fn open(&self, batch_rows: usize, only: Option<&str>) -> Result<Batches> {
        let opened = match self.format {
            Format::Parquet => parquet(self.file()?, batch_rows, only),
            Format::Csv => csv(self.file()?, batch_rows, only),
            Format::Arrow => arrow(self.file()?, batch_rows, only),
        };
        opened.map_err(|error| self.failed(&error))
    }

    /// An error about this file.
    pub(crate) fn failed(&self, error: &dyn std::fmt::Display) -> String {
        format!("{}: {error}", self.path.display())
    }

    fn file(&self) -> Result<File> {
        File::open(&self.path).map_err(|error| format!("could not open {}: {error}", self.path.display()))
    }
}

/// The columns to read: one, or all.
fn projection(schema: &Schema, only: Option<&str>) -> Result<Option<Vec<usize>>, ArrowError> {
    only.map(|name| Ok(vec![schema.index_of(name)?])).transpose()
}

fn parquet(file: File, batch_rows: usize, only: Option<&str>) -> Result<Batches, ArrowError> {
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(batch_rows);
    if let Some(roots) = projection(builder.schema(), only)? {
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        builder = builder.with_projection(mask);
    }
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).ok();
    let reader = builder.build()?;
    Ok(Batches { schema: arrow_array::RecordBatchReader::schema(&reader), rows, batches: Box::new(reader) })
}

fn csv(mut file: File, batch_rows: usize, only: Option<&str>) -> Result<Batches, ArrowError> {
    let (header, _) = CsvFormat::default().with_header(true).infer_schema(BufReader::new(&file), Some(0))?;
    file.seek(SeekFrom::Start(0))?;
    // Types are the table's, not guesses from the first lines.
    let fields = header.fields().iter().map(|field| Field::new(field.name().trim(), DataType::Utf8, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut builder = arrow_csv::ReaderBuilder::new(Arc::clone(&schema)).with_header(true).with_batch_size(batch_rows);
    if let Some(columns) = projection(&schema, only)? {
        builder = builder.with_projection(columns);
    }
    let reader = builder.build(file)?;
    Ok(Batches { schema: reader.schema(), rows: None, batches: Box::new(reader) })
}

fn arrow(mut file: File, batch_rows: usize, only: Option<&str>) -> Result<Batches, ArrowError> {
    let mut magic = [0; ARROW_MAGIC.len()];
    let is_file = file.read_exact(&mut magic).is_ok() && magic == *ARROW_MAGIC;
    file.seek(SeekFrom::Start(0))?;
    let file = BufReader::new(file);
    // Projections are by place, so the schema is needed first: it is small.
    let (schema, batches): (SchemaRef, Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>) = if is_file {
        let reader = FileReader::try_new(file, None)?;
        (reader.schema(), Box::new(reader))
    } else {
        let reader = StreamReader::try_new(file, None)?;
        (reader.schema(), Box::new(reader))
    };
    let columns = projection(&schema, only)?;
    let schema = match &columns {
        None => schema,
        Some(columns) => Arc::new(schema.project(columns)?),
    };
    let pieces = batches.flat_map(move |batch| cut(batch, batch_rows, columns.as_deref()));
    Ok(Batches { schema, rows: None, batches: Box::new(pieces) })
}

/// A batch of a file as batches of at most `batch_rows`.
fn cut(
    batch: Result<RecordBatch, ArrowError>,
    batch_rows: usize,
    columns: Option<&[usize]>,
) -> Vec<Result<RecordBatch, ArrowError>> {
    let project = |batch: RecordBatch| columns.map_or(Ok(batch.clone()), |columns| batch.project(columns));
    match batch.and_then(project) {
        Err(error) => vec![Err(error)],
        Ok(batch) => {
            let starts = (0..batch.num_rows()).step_by(batch_rows);
            starts.map(|start| Ok(batch.slice(start, batch_rows.min(batch.num_rows() - start)))).collect()
        }
    }
}

/// A hash of the content of all `sources`, so that the same files are known again wherever they lie.
pub(crate) fn content_hash(sources: &[Source]) -> Result<u64> {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    let mut bytes = vec![0; 1 << 20];
    for source in sources {
        let mut file = source.file()?;
        let mut length = 0;
        loop {
            let read = file.read(&mut bytes).map_err(|error| source.failed(&error))?;
            if read == 0 {
                break;
            }
            hash.update(&bytes[..read]);
            length += read as u64;
        }
        hash.update(&length.to_le_bytes());
    }
    Ok(hash.digest())
}

/// The name of a file for a message.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
