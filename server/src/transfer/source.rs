//! Files being read: Parquet, CSV, Arrow IPC, a batch at a time, each row with its place in the file.

use std::io::{BufReader, Read};
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::arrow::ArrowReader;
use super::content::Content;
use super::csv::CsvReader;
use super::given::Given;
use super::location::Location;
use super::{Format, Result};
use crate::guard::{CONTRADICTS, caught};

/// A file to import.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Where it is.
    pub(crate) location: Location,
    /// What it is.
    pub(crate) format: Format,
    /// The columns of a CSV file that has no header.
    pub(crate) names: Option<Vec<String>>,
}

/// A file that is being read.
pub(crate) struct Batches {
    /// Its columns. Those of CSV are all text.
    pub(crate) schema: SchemaRef,
    /// How many rows there are, where the file says so.
    pub(crate) rows: Option<u64>,
    batches: Box<dyn Iterator<Item = Result<Given>> + Send>,
}

impl Iterator for Batches {
    type Item = Result<Given>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}

impl Source {
    /// Reads the file in batches of at most `batch_rows`; `only` one column of it, if that is all that is wanted.
    pub(crate) fn open(&self, batch_rows: usize, only: Option<&str>) -> Result<Batches> {
        let opened = caught(|| match self.format {
            Format::Parquet => parquet(self.content()?, batch_rows, only),
            Format::Csv => csv(self, batch_rows, only),
            Format::Arrow => arrow(self.content()?, batch_rows, only),
        });
        let mut opened = opened.unwrap_or_else(|| Err(CONTRADICTS.to_owned())).map_err(|error| self.failed(&error))?;
        check_names(&opened.schema).map_err(|error| self.failed(&error))?;
        let mut batches = Some(opened.batches);
        opened.batches = Box::new(std::iter::from_fn(move || {
            // After a panic nothing more is read.
            let mut reading = batches.take()?;
            match caught(|| reading.next()) {
                None => Some(Err(CONTRADICTS.to_owned())),
                Some(next) => {
                    batches = next.is_some().then_some(reading);
                    next
                }
            }
        }));
        Ok(opened)
    }

    /// An error about this file.
    pub(crate) fn failed(&self, error: &dyn std::fmt::Display) -> String {
        format!("{}: {error}", self.location)
    }

    fn content(&self) -> Result<Content> {
        Content::open(&self.location)
    }

    /// The bytes of the file, unpacked by its ending.
    fn bytes(&self) -> Result<Box<dyn Read + Send>> {
        let file = BufReader::with_capacity(1 << 20, self.content()?);
        Ok(match self.location.path().extension().and_then(|ending| ending.to_str()) {
            Some("gz") => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Some("zst") => Box::new(zstd::stream::read::Decoder::with_buffer(file).map_err(|error| error.to_string())?),
            _ => Box::new(file),
        })
    }
}

/// Refuses two columns of one name: which is meant cannot be told.
fn check_names(schema: &Schema) -> Result<()> {
    let mut names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names.sort_unstable();
    match names.array_windows().find(|[name, next]| name == next) {
        Some([name, _]) => Err(format!("two columns are called {name:?}; rename one")),
        None => Ok(()),
    }
}

/// The columns to read: one, or all.
fn projection(schema: &Schema, only: Option<&str>) -> Result<Option<Vec<usize>>> {
    only.map(|name| Ok(vec![schema.index_of(name).map_err(|error| error.to_string())?])).transpose()
}

/// Batches as given, with rows numbered from 1.
fn numbered(batches: impl Iterator<Item = Result<RecordBatch>> + Send) -> impl Iterator<Item = Result<Given>> + Send {
    let mut next = 1;
    batches.map(move |batch| {
        let batch = batch?;
        let origins = (next..next + batch.num_rows() as u64).collect();
        next += batch.num_rows() as u64;
        Ok(Given { batch, origins, broken: Vec::new() })
    })
}

fn parquet(file: Content, batch_rows: usize, only: Option<&str>) -> Result<Batches> {
    let told = |error: parquet::errors::ParquetError| error.to_string();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file.clone()).map_err(told)?;
    let mut builder = builder.with_batch_size(batch_rows);
    file.read_at_places(if only.is_some() { 1 } else { builder.parquet_schema().num_columns() });
    if let Some(roots) = projection(builder.schema(), only)? {
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        builder = builder.with_projection(mask);
    }
    let counted = builder.metadata().file_metadata().num_rows();
    let in_groups: i64 = builder.metadata().row_groups().iter().map(|group| group.num_rows()).sum();
    if counted != in_groups {
        return Err(format!("its footer counts {counted} rows, and its row groups {in_groups}: the file is damaged"));
    }
    let reader = builder.build().map_err(told)?;
    let schema = arrow_array::RecordBatchReader::schema(&reader);
    let rows = u64::try_from(counted).ok();
    Ok(Batches { schema, rows, batches: Box::new(numbered(Counted { reader, left: counted })) })
}

/// The batches of a Parquet file, which must have as many rows as it says.
struct Counted {
    reader: ParquetRecordBatchReader,
    left: i64,
}

impl Iterator for Counted {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.reader.next() {
            Some(batch) => {
                let batch = batch.map_err(|error| error.to_string());
                self.left -= batch.as_ref().map_or(0, |batch| batch.num_rows() as i64);
                Some(batch)
            }
            None if self.left != 0 => {
                let left = std::mem::take(&mut self.left);
                Some(Err(format!("its footer counts {left} rows that are not there: the file is damaged")))
            }
            None => None,
        }
    }
}

fn csv(source: &Source, batch_rows: usize, only: Option<&str>) -> Result<Batches> {
    let reader = CsvReader::open(source.bytes()?, source.names.as_deref(), batch_rows)?;
    let Some(columns) = projection(reader.schema(), only)? else {
        return Ok(Batches { schema: SchemaRef::clone(reader.schema()), rows: None, batches: Box::new(reader) });
    };
    let schema = reader.schema().project(&columns).map_err(|error| error.to_string())?.into();
    let batches = reader.map(move |given| {
        let given = given?;
        let batch = given.batch.project(&columns).map_err(|error| error.to_string())?;
        Ok(Given { batch, ..given })
    });
    Ok(Batches { schema, rows: None, batches: Box::new(batches) })
}

fn arrow(file: Content, batch_rows: usize, only: Option<&str>) -> Result<Batches> {
    let reader = ArrowReader::open(file)?;
    let columns = projection(reader.schema(), only)?;
    let schema = match &columns {
        None => SchemaRef::clone(reader.schema()),
        Some(columns) => reader.schema().project(columns).map_err(|error| error.to_string())?.into(),
    };
    let pieces = reader.flat_map(move |batch| cut(batch, batch_rows, columns.as_deref()));
    Ok(Batches { schema, rows: None, batches: Box::new(numbered(pieces)) })
}

/// A batch of a file as batches of at most `batch_rows`.
fn cut(batch: Result<RecordBatch>, batch_rows: usize, columns: Option<&[usize]>) -> Vec<Result<RecordBatch>> {
    let project = |batch: RecordBatch| {
        columns.map_or(Ok(batch.clone()), |columns| batch.project(columns).map_err(|error| error.to_string()))
    };
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
        let mut file = source.content().map_err(|error| source.failed(&error))?;
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
