//! A file's columns as those of a table: mapped by name, text of CSV read as the declared types.
//!
//! A CSV field that does not read makes its row a bad one, which is left out here and reported like the rows that the
//! server refuses.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_cast::{CastOptions, can_cast_types, cast_with_options};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::filter::filter_record_batch;

use super::shape::{Column, Shape, time};
use super::{Format, Result};

/// The columns of a history export beside those of the table.
pub(crate) const HISTORY_COLUMNS: [&str; 5] = ["ingest_time", "sequence", "kind", "row", "features"];

/// Which column of a file is which of the table, and what the rows are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mapping {
    /// By the name in the table: the name in the file.
    pub(crate) renamed: BTreeMap<String, String>,
    /// The event time of all rows, if the file has none.
    pub(crate) at: Option<i64>,
    /// Whether rows bring their own ingest times.
    pub(crate) history: bool,
}

impl Mapping {
    /// The name in the file of the table's column `name`.
    pub(crate) fn source<'a>(&'a self, name: &'a str) -> &'a str {
        self.renamed.get(name).map_or(name, String::as_str)
    }
}

/// A row that could not be read.
#[derive(Debug, Clone)]
pub(crate) struct Unread {
    /// Its columns as text, by name in the table.
    pub(crate) row: RecordBatch,
    /// The column at fault.
    pub(crate) column: String,
    /// Why.
    pub(crate) reason: String,
}

/// Turns batches of one file into batches of the table.
#[derive(Debug)]
pub(crate) struct Stager {
    /// Place in the file, name in the table, type to read text as.
    columns: Vec<(usize, String, DataType)>,
    at: Option<(String, i64)>,
    csv: bool,
    /// Columns of the file that are not used.
    pub(crate) unused: Vec<String>,
}

impl Stager {
    /// Finds the columns of `shape` in a file of `schema`.
    pub(crate) fn new(shape: &Shape, mapping: &Mapping, schema: &Schema, format: Format) -> Result<Self> {
        let is_rebuild = mapping.history && is_history_export(schema);
        let mut wanted: Vec<(Column, bool)> =
            shape.columns().map(|(column, needed)| (column.clone(), needed)).collect();
        if mapping.history {
            wanted.push((Column { name: "ingest_time".to_owned(), data_type: time() }, true));
        }
        if is_rebuild {
            let typed = [
                ("sequence", DataType::UInt64),
                ("kind", DataType::Utf8),
                ("row", DataType::UInt32),
                ("features", DataType::Utf8),
            ];
            wanted.extend(typed.map(|(name, data_type)| (Column { name: name.to_owned(), data_type }, true)));
        }
        let mut stager = Self { columns: Vec::new(), at: None, csv: format == Format::Csv, unused: Vec::new() };
        for (target, source) in &mapping.renamed {
            if !wanted.iter().any(|(column, _)| column.name == *target) {
                let known: Vec<&str> = wanted.iter().map(|(column, _)| column.name.as_str()).collect();
                return Err(format!(
                    "--map {target}={source}: table {} has no column {target}; it has {}",
                    shape.table,
                    known.join(", ")
                ));
            }
        }
        for (column, needed) in wanted {
            let source = mapping.source(&column.name);
            let found = schema.index_of(source).ok();
            match (found, mapping.at) {
                (Some(place), _) => {
                    let data_type = stager.type_of(&column.data_type, source)?;
                    stager.columns.push((place, column.name.clone(), data_type));
                }
                (None, Some(at)) if column.name == shape.event_time.name => stager.at = Some((column.name.clone(), at)),
                (None, _) if needed || mapping.renamed.contains_key(&column.name) => {
                    return Err(missing(&column.name, source, schema));
                }
                (None, _) => {}
            }
        }
        let is_used = |place: &usize| stager.columns.iter().any(|(used, _, _)| used == place);
        let unused = (0..schema.fields().len()).filter(|place| !is_used(place));
        stager.unused = unused.map(|place| schema.field(place).name().clone()).collect();
        Ok(stager)
    }

    /// The type that text of CSV is read as.
    fn type_of(&self, declared: &DataType, source: &str) -> Result<DataType> {
        let plain = match declared {
            DataType::Dictionary(_, values) => values.as_ref(),
            other => other,
        };
        let binary = matches!(plain, DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_));
        if self.csv && (binary || !can_cast_types(&DataType::Utf8, plain)) {
            return Err(format!("column {source}: values of {declared} cannot be read from CSV; use Parquet or Arrow"));
        }
        Ok(plain.clone())
    }

    /// The batch of the table, and the rows that do not read.
    pub(crate) fn stage(&self, batch: &RecordBatch) -> Result<(RecordBatch, Vec<Unread>)> {
        let mut fields = Vec::with_capacity(self.columns.len() + 1);
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len() + 1);
        let mut bad: BTreeMap<usize, (String, String)> = BTreeMap::new();
        for (place, name, data_type) in &self.columns {
            let given = batch.column(*place);
            let array = match self.csv {
                false => Arc::clone(given),
                true => read(given.as_string(), data_type, |row, reason| {
                    bad.entry(row).or_insert_with(|| (name.clone(), reason));
                })?,
            };
            fields.push(Field::new(name, array.data_type().clone(), true));
            arrays.push(array);
        }
        if let Some((name, at)) = &self.at {
            fields.push(Field::new(name, time(), true));
            arrays.push(Arc::new(TimestampMicrosecondArray::from_value(*at, batch.num_rows()).with_timezone("UTC")));
        }
        let schema = Arc::new(Schema::new(fields));
        let staged = RecordBatch::try_new(schema, arrays).map_err(|error| error.to_string())?;
        if bad.is_empty() {
            return Ok((staged, Vec::new()));
        }
        let good: BooleanArray = (0..batch.num_rows()).map(|row| Some(!bad.contains_key(&row))).collect();
        let good = filter_record_batch(&staged, &good).map_err(|error| error.to_string())?;
        let unread = bad.into_iter().map(|(row, (column, reason))| Unread {
            row: self.texts(&batch.slice(row, 1)),
            column,
            reason,
        });
        Ok((good, unread.collect()))
    }

    /// The used columns of a batch of CSV as they stand in the file, under the table's names.
    fn texts(&self, batch: &RecordBatch) -> RecordBatch {
        let fields: Vec<Field> =
            self.columns.iter().map(|(_, name, _)| Field::new(name, DataType::Utf8, true)).collect();
        let arrays = self.columns.iter().map(|(place, _, _)| Arc::clone(batch.column(*place))).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of CSV are text of one length")
    }
}

/// Whether a file is what `firn export --history` writes.
pub(crate) fn is_history_export(schema: &Schema) -> bool {
    HISTORY_COLUMNS.iter().all(|name| schema.index_of(name).is_ok())
}

fn missing(name: &str, source: &str, schema: &Schema) -> String {
    let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    format!("the file has no column {source}; say which it is with --map {name}=COLUMN. It has {}", known.join(", "))
}

/// Reads text as values of `data_type`; an empty field is null. Calls `wrong` with the rows that do not read.
fn read(texts: &StringArray, data_type: &DataType, mut wrong: impl FnMut(usize, String)) -> Result<ArrayRef> {
    let values = cast_with_options(texts, data_type, &CastOptions { safe: true, ..CastOptions::default() });
    let values = values.map_err(|error| error.to_string())?;
    if values.null_count() != texts.null_count() {
        for row in (0..texts.len()).filter(|&row| values.is_null(row) && !texts.is_null(row)) {
            wrong(row, format!("{:?} is no {data_type}", texts.value(row)));
        }
    }
    Ok(values)
}
