//! Files being written: Parquet, CSV, Arrow IPC. A file gets its name once it is whole: one for a bucket is written on this
//! machine, without a name, and goes there then.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufWriter, Seek};
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_cast::{can_cast_types, cast};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use firn_storage::model::types::print_type;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::location::{Location, Object};
use super::text::is_readable;
use super::{Format, Result};

/// A file that is being written.
pub(crate) struct Sink {
    target: Target,
    writer: Writer,
}

/// Where a file goes.
enum Target {
    /// To a path, and has another until it is whole.
    Path { path: PathBuf, temporary: PathBuf },
    /// To a bucket, and has no name until then.
    Object(Arc<Object>),
}

enum Writer {
    Parquet(Box<ArrowWriter<BufWriter<File>>>),
    Csv(Box<arrow_csv::Writer<BufWriter<File>>>, SchemaRef),
    Arrow(Box<FileWriter<BufWriter<File>>>, SchemaRef),
}

impl Sink {
    /// Begins the file at `location` of rows with `schema`.
    pub(crate) fn create(location: Location, format: Format, schema: &SchemaRef) -> Result<Self> {
        let target = match location {
            Location::Path(path) => Target::Path { temporary: path.with_added_extension("tmp"), path },
            Location::Object(object) => Target::Object(object),
        };
        let failed = |error: &dyn Display| target.failed(error);
        let file = match &target {
            Target::Path { temporary, .. } => File::create(temporary),
            Target::Object(_) => tempfile::tempfile(),
        };
        let file = BufWriter::new(file.map_err(|error| failed(&error))?);
        let writer = match format {
            Format::Parquet => {
                let compression = Compression::ZSTD(ZstdLevel::default());
                let properties = WriterProperties::builder().set_compression(compression).build();
                let writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties));
                Writer::Parquet(Box::new(writer.map_err(|error| failed(&error))?))
            }
            Format::Csv => {
                let plain = csv_schema(schema)?;
                Writer::Csv(Box::new(arrow_csv::WriterBuilder::new().with_header(true).build(file)), plain)
            }
            Format::Arrow => {
                // An Arrow file has room for one dictionary per column, and each bucket answers with its own.
                let plain = Arc::new(Schema::new(schema.fields().iter().map(without_dictionary).collect::<Vec<_>>()));
                let writer = FileWriter::try_new(file, &plain).map_err(|error| failed(&error))?;
                Writer::Arrow(Box::new(writer), plain)
            }
        };
        Ok(Self { target, writer })
    }

    /// Adds rows.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let written = match &mut self.writer {
            Writer::Parquet(writer) => writer.write(batch).map_err(ArrowError::from),
            Writer::Csv(writer, schema) => as_schema(batch, schema).and_then(|batch| writer.write(&batch)),
            Writer::Arrow(writer, schema) => as_schema(batch, schema).and_then(|batch| writer.write(&batch)),
        };
        written.map_err(|error| self.target.failed(&error))
    }

    /// Ends the file and gives it its name.
    pub(crate) fn finish(self) -> Result<()> {
        let failed = |error: &dyn Display| self.target.failed(error);
        let file = match self.writer {
            Writer::Parquet(writer) => writer.into_inner().map_err(|error| failed(&error))?,
            Writer::Csv(writer, _) => writer.into_inner(),
            Writer::Arrow(mut writer, _) => {
                writer.finish().map_err(|error| failed(&error))?;
                writer.into_inner().map_err(|error| failed(&error))?
            }
        };
        let mut file = file.into_inner().map_err(|error| failed(&error))?;
        match &self.target {
            Target::Path { path, temporary } => {
                let named = file.sync_all().and_then(|()| std::fs::rename(temporary, path));
                named.map_err(|error| format!("could not write {}: {error}", path.display()))
            }
            Target::Object(object) => {
                let length = file.stream_position().and_then(|length| file.rewind().map(|()| length));
                object.put(file, length.map_err(|error| failed(&error))?)
            }
        }
    }
}

impl Target {
    /// The error of rows that could not be written on this machine.
    fn failed(&self, error: &dyn Display) -> String {
        match self {
            Self::Path { temporary, .. } => format!("could not write {}: {error}", temporary.display()),
            Self::Object(object) => {
                format!("could not write the file that is to go to {}: {error}", object.file().address())
            }
        }
    }
}

/// A column with the values of its dictionary, if it has one.
fn without_dictionary(field: &Arc<Field>) -> Field {
    match field.data_type() {
        DataType::Dictionary(_, values) => Field::new(field.name(), values.as_ref().clone(), field.is_nullable()),
        _ => field.as_ref().clone(),
    }
}

/// The columns as CSV has them: without dictionaries, a list of names as text.
fn csv_schema(schema: &Schema) -> Result<SchemaRef> {
    let field = |field: &Arc<Field>| {
        let data_type = match without_dictionary(field).data_type() {
            _ if field.name() == "features" => DataType::Utf8,
            // The offset of a zone has seconds before 1911, which no text of CSV has.
            DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("UTC".into())),
            other => other.clone(),
        };
        if !is_readable(&data_type) || !can_cast_types(&DataType::Utf8, &data_type) {
            let (name, declared) = (field.name(), print_type(field.data_type()));
            return Err(format!("column {name}: values of {declared} do not go into CSV; use Parquet or Arrow"));
        }
        Ok(Field::new(field.name(), data_type, true))
    };
    let fields = schema.fields().iter().map(field).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

fn as_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let column = |(array, field): (&ArrayRef, &Arc<Field>)| match (array.data_type(), field.data_type()) {
        (DataType::List(_), DataType::Utf8) => Ok(joined(array)),
        (from, to) if from == to => Ok(Arc::clone(array)),
        (_, to) => cast(array, to),
    };
    let columns = batch.columns().iter().zip(schema.fields()).map(column).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns)
}

/// Names with spaces between; names hold none.
fn joined(lists: &ArrayRef) -> ArrayRef {
    let lists = lists.as_list::<i32>();
    let text = |row: usize| {
        let names = lists.value(row);
        let names: Vec<&str> = names.as_string::<i32>().iter().flatten().collect();
        (!lists.is_null(row)).then(|| names.join(" "))
    };
    Arc::new((0..lists.len()).map(text).collect::<StringArray>())
}
