//! Where answers go, and as what: drawn, or streamed batch by batch as CSV, JSON or Parquet.
//!
//! A reader that closes the pipe wants no more: writing goes on into nothing, and `is_closed` says so.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_cast::display::array_value_to_string;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use firn_storage::model::value::to_json;
use serde_json::{Map, Value};

use super::drawing::Drawing;
use crate::transfer::Format;
use crate::transfer::location::Location;
use crate::transfer::sink::Sink;

/// As what answers are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerFormat {
    Table,
    Csv,
    /// One object a line.
    Json,
    Parquet,
}

impl AnswerFormat {
    /// Their names.
    pub(super) const NAMES: [&str; 4] = ["table", "csv", "json", "parquet"];

    /// The one called `name`.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        match name {
            "table" => Ok(Self::Table),
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            "parquet" => Ok(Self::Parquet),
            _ => Err(format!("`{name}` is no format; write table, csv, json or parquet")),
        }
    }
}

/// Where answers go.
pub(super) struct Output {
    pub(super) format: AnswerFormat,
    file: Option<PathBuf>,
    /// Whether something was written since the file was named.
    used: bool,
    writer: Option<Box<dyn Write>>,
    closed: bool,
    answer: Answer,
}

/// The answer that is being written.
enum Answer {
    None,
    Table(Drawing),
    Csv(SchemaRef),
    Json,
    Parquet(Sink),
}

impl Output {
    /// Answers as `format`, into `file` or onto standard output.
    pub(super) fn new(format: AnswerFormat, file: Option<PathBuf>) -> Self {
        Self { format, file, used: false, writer: None, closed: false, answer: Answer::None }
    }

    /// Lets what follows go into `file`, or onto standard output.
    pub(super) fn redirect(&mut self, file: Option<PathBuf>) {
        *self = Self { closed: self.closed, ..Self::new(self.format, file) };
    }

    /// The file that answers go into, if they do.
    pub(super) fn file(&self) -> Option<String> {
        self.file.as_ref().map(|file| file.display().to_string())
    }

    /// Whether nobody reads any longer.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Begins an answer of these columns, drawn not wider than `width`.
    pub(super) fn begin(&mut self, schema: &SchemaRef, width: Option<u16>) -> Result<(), String> {
        self.answer = match self.format {
            AnswerFormat::Table => Answer::Table(Drawing::new(schema, width)),
            AnswerFormat::Json => Answer::Json,
            AnswerFormat::Csv => {
                let schema = csv_schema(schema);
                // The header, also of an answer without rows.
                self.write_csv(&RecordBatch::new_empty(Arc::clone(&schema)), true)?;
                Answer::Csv(schema)
            }
            AnswerFormat::Parquet => {
                let file = self.file.clone();
                let file = file.ok_or("Parquet goes into a file: name it with --output FILE or \\o FILE")?;
                self.check_unused()?;
                Answer::Parquet(Sink::create(Location::Path(file), Format::Parquet, schema)?)
            }
        };
        Ok(())
    }

    /// Adds rows to the answer.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), String> {
        match &mut self.answer {
            Answer::None => Ok(()),
            Answer::Table(drawing) => drawing.add(batch).map_err(|error| error.to_string()),
            Answer::Parquet(sink) => sink.write(batch),
            Answer::Csv(schema) => {
                let batch = csv_batch(batch, schema).map_err(|error| error.to_string())?;
                self.write_csv(&batch, false)
            }
            Answer::Json => {
                let lines = json_lines(batch).map_err(|error| error.to_string())?;
                self.put(lines.as_bytes())
            }
        }
    }

    /// Ends the answer.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        match std::mem::replace(&mut self.answer, Answer::None) {
            Answer::Table(drawing) => self.put(format!("{}\n", drawing.finish()).as_bytes())?,
            Answer::Parquet(sink) => {
                sink.finish()?;
                self.used = true;
            }
            Answer::None | Answer::Csv(_) | Answer::Json => {}
        }
        match &mut self.writer {
            Some(writer) => writer.flush().or_else(|error| forgiven(error, &mut self.closed)).map_err(unwritten),
            None => Ok(()),
        }
    }

    /// What is told beside answers: where tables go, or else beside them.
    pub(super) fn tell(&mut self, text: &str) -> Result<(), String> {
        if self.format != AnswerFormat::Table {
            let _ = writeln!(io::stderr(), "{text}");
            return Ok(());
        }
        self.put(format!("{text}\n").as_bytes())?;
        self.finish()
    }

    fn write_csv(&mut self, batch: &RecordBatch, header: bool) -> Result<(), String> {
        let mut bytes = Vec::new();
        let written = arrow_csv::WriterBuilder::new().with_header(header).build(&mut bytes).write(batch);
        written.map_err(|error| error.to_string())?;
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.writer.is_none() {
            self.writer = Some(match &self.file {
                None => Box::new(io::stdout()),
                Some(file) => {
                    self.check_unused()?;
                    let opened = File::create(file);
                    let opened = opened.map_err(|error| format!("could not write {}: {error}", file.display()))?;
                    self.used = true;
                    Box::new(opened)
                }
            });
        }
        match &mut self.writer {
            Some(writer) if !self.closed => {
                writer.write_all(bytes).or_else(|error| forgiven(error, &mut self.closed)).map_err(unwritten)
            }
            _ => Ok(()),
        }
    }

    /// Refuses a file that holds an answer already, which would be lost.
    fn check_unused(&self) -> Result<(), String> {
        match (self.used, self.file()) {
            (true, Some(file)) => Err(format!("{file} holds an earlier answer: name another file with \\o")),
            _ => Ok(()),
        }
    }
}

/// A pipe that was closed is no error.
fn forgiven(error: io::Error, closed: &mut bool) -> io::Result<()> {
    match error.kind() {
        ErrorKind::BrokenPipe => {
            *closed = true;
            Ok(())
        }
        _ => Err(error),
    }
}

fn unwritten(error: io::Error) -> String {
    format!("could not write the answer: {error}")
}

/// The columns as CSV has them: what is nested as JSON.
fn csv_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type().is_nested() {
        true => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
        false => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn csv_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let column = |array: &ArrayRef| -> Result<ArrayRef, ArrowError> {
        if !array.data_type().is_nested() {
            return Ok(Arc::clone(array));
        }
        let text = |row| match array.is_null(row) {
            true => Ok(None),
            false => json(array, row).map(|value| Some(value.to_string())),
        };
        Ok(Arc::new((0..array.len()).map(text).collect::<Result<StringArray, _>>()?))
    };
    let columns = batch.columns().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns)
}

/// The rows of `batch`, each an object on its line.
fn json_lines(batch: &RecordBatch) -> Result<String, ArrowError> {
    let schema = batch.schema_ref();
    let mut lines = String::new();
    for row in 0..batch.num_rows() {
        let pairs = schema.fields().iter().zip(batch.columns());
        let object = pairs.map(|(field, column)| Ok((field.name().clone(), json(column, row)?)));
        lines.push_str(&Value::Object(object.collect::<Result<Map<_, _>, ArrowError>>()?).to_string());
        lines.push('\n');
    }
    Ok(lines)
}

/// A value as it has one form in JSON everywhere; as text where no feature has its type.
fn json(column: &ArrayRef, row: usize) -> Result<Value, ArrowError> {
    if column.data_type() == &DataType::Null {
        return Ok(Value::Null);
    }
    to_json(column, row).or_else(|_| array_value_to_string(column, row).map(Value::String))
}

#[cfg(test)]
mod tests {
    use arrow_array::types::Int64Type;
    use arrow_array::{Float64Array, Int64Array, IntervalYearMonthArray, ListArray, NullArray};

    use super::*;

    fn batch() -> RecordBatch {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None]);
        let columns: [(&str, ArrayRef); 5] = [
            ("user", Arc::new(Int64Array::from(vec![Some(9_007_199_254_740_993), None]))),
            ("score", Arc::new(Float64Array::from(vec![f64::NAN, 0.5]))),
            ("clicks", Arc::new(lists)),
            ("nothing", Arc::new(NullArray::new(2))),
            ("every", Arc::new(IntervalYearMonthArray::from(vec![3, 4]))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    fn written(format: AnswerFormat, batches: &[RecordBatch]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("answer");
        let mut output = Output::new(format, Some(file.clone()));
        output.begin(batch().schema_ref(), None).unwrap();
        batches.iter().for_each(|batch| output.write(batch).unwrap());
        output.finish().unwrap();
        std::fs::read_to_string(file).unwrap()
    }

    #[test]
    fn csv_and_json_lose_nothing() {
        let csv = "user,score,clicks,nothing,every\n9007199254740993,NaN,\"[1,null]\",,0 years 3 mons\n,0.5,,,0 years 4 mons\n";
        assert_eq!(written(AnswerFormat::Csv, &[batch()]), csv);
        assert_eq!(written(AnswerFormat::Csv, &[]), "user,score,clicks,nothing,every\n");
        let first =
            r#"{"user":"9007199254740993","score":"NaN","clicks":[1,null],"nothing":null,"every":"0 years 3 mons"}"#;
        let second = r#"{"user":null,"score":0.5,"clicks":null,"nothing":null,"every":"0 years 4 mons"}"#;
        let lines = format!("{first}\n{second}\n");
        assert_eq!(written(AnswerFormat::Json, &[batch(), batch()]), format!("{lines}{lines}"));
    }

    #[test]
    fn an_answer_is_never_lost_to_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let rows = RecordBatch::try_from_iter([("number", numbers)]).unwrap();
        let mut output = Output::new(AnswerFormat::Parquet, None);
        assert!(output.begin(rows.schema_ref(), None).unwrap_err().contains("\\o FILE"));
        output.redirect(Some(directory.path().join("first.parquet")));
        output.begin(rows.schema_ref(), None).unwrap();
        output.write(&rows).unwrap();
        output.finish().unwrap();
        assert!(output.begin(rows.schema_ref(), None).unwrap_err().contains("name another file"));
        output.format = AnswerFormat::Csv;
        assert!(output.begin(rows.schema_ref(), None).unwrap_err().contains("name another file"));
        output.redirect(Some(directory.path().join("second.csv")));
        for _ in 0..2 {
            output.begin(rows.schema_ref(), None).unwrap();
            output.write(&rows).unwrap();
            output.finish().unwrap();
        }
        assert_eq!(std::fs::read_to_string(directory.path().join("second.csv")).unwrap(), "number\n1\nnumber\n1\n");
    }
}
