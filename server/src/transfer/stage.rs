//! A file's columns as those of a table: mapped by name, text of CSV read as the declared types.
//!
//! A CSV field that does not read makes its row a bad one, which is left out here and reported like the rows that cannot
//! be stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use arrow_select::filter::filter_record_batch;
use arrow_select::take::take;
use firn_storage::model::types::print_type;
use firn_storage::model::value::one_from_json;
use serde_json::Value;

use super::given::Given;
use super::shape::{Column, Shape, time};
use super::text::{is_readable, misread, read};
use super::{Format, Origin, Result};

/// The columns of a history export beside those of the table.
pub(crate) const HISTORY_COLUMNS: [&str; 5] = ["ingest_time", "sequence", "kind", "row", "features"];

/// The column of a staged batch that says where in the files each row is from. No table has one of that name.
pub(crate) const ORIGIN: &str = "firn_origin";

/// Which column of a file is which of the table, and what the rows are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mapping {
    /// By the name in the table: the name in the file.
    pub(crate) renamed: BTreeMap<String, String>,
    /// By the name in the table: the text of the value that all rows have.
    pub(crate) set: BTreeMap<String, String>,
    /// What whole numbers are as times.
    pub(crate) time_unit: Option<TimeUnit>,
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
    /// Where it is.
    pub(crate) origin: Origin,
    /// Its columns as text, by name in the table.
    pub(crate) row: RecordBatch,
    /// The column at fault; empty if it is the line.
    pub(crate) column: String,
    /// Why.
    pub(crate) reason: String,
}

/// Turns batches of one file into batches of the table.
#[derive(Debug)]
pub(crate) struct Stager {
    /// Place in the file, and what it is in the table.
    columns: Vec<(usize, Column)>,
    /// One row each.
    constants: Vec<(String, ArrayRef)>,
    /// Which of the files it is.
    file: usize,
    csv: bool,
    time_unit: Option<TimeUnit>,
    /// Columns of the file that are not used.
    pub(crate) unused: Vec<String>,
}

impl Stager {
    /// Finds the columns of `shape` in the `file`-th file, which has `schema`.
    pub(crate) fn new(shape: &Shape, mapping: &Mapping, schema: &Schema, format: Format, file: usize) -> Result<Self> {
        let wanted = wanted(shape, mapping, schema);
        for (flag, target) in named_by_flags(mapping) {
            if !wanted.iter().any(|(column, _)| column.name == target) {
                let known: Vec<&str> = wanted.iter().map(|(column, _)| column.name.as_str()).collect();
                let (table, known) = (&shape.table, known.join(", "));
                return Err(format!("{flag}: table {table} has no column {target}; it has {known}"));
            }
        }
        let mut stager = Self {
            columns: Vec::new(),
            constants: Vec::new(),
            file,
            csv: format == Format::Csv,
            time_unit: mapping.time_unit,
            unused: Vec::new(),
        };
        for (column, needed) in wanted {
            let source = mapping.source(&column.name);
            match (schema.index_of(source).ok(), mapping.set.get(&column.name)) {
                (Some(_), Some(text)) => {
                    return Err(format!(
                        "the file has a column {source}, and all rows cannot have the one value {text:?} there (--set, --at); \
                         leave that out, or map another column"
                    ));
                }
                (Some(place), None) => {
                    stager.check_type(&column, schema.field(place))?;
                    stager.columns.push((place, plain(column)));
                }
                (None, Some(text)) => {
                    let value = one_from_json(&Value::from(text.as_str()), &plain(column.clone()).data_type);
                    let value = value.map_err(|error| error.at(format!("--set {}", column.name)).to_string())?;
                    stager.constants.push((column.name, value));
                }
                (None, None) if needed || mapping.renamed.contains_key(&column.name) => {
                    return Err(missing(&column.name, source, schema));
                }
                (None, None) => {}
            }
        }
        let is_used = |place: &usize| stager.columns.iter().any(|(used, _)| used == place);
        let unused = (0..schema.fields().len()).filter(|place| !is_used(place));
        stager.unused = unused.map(|place| schema.field(place).name().clone()).collect();
        Ok(stager)
    }

    /// Refuses a column of the file that cannot be read as `column`.
    fn check_type(&self, column: &Column, given: &Field) -> Result<()> {
        let declared = plain(column.clone()).data_type;
        let (source, shown) = (given.name(), print_type(&column.data_type));
        if self.csv && !is_readable(&declared) {
            return Err(format!("column {source}: values of {shown} cannot be read from CSV; use Parquet or Arrow"));
        }
        let is_time = matches!(declared, DataType::Timestamp(..));
        if is_time && given.data_type().is_integer() && self.time_unit.is_none() {
            let given = print_type(given.data_type());
            return Err(format!("column {source} has type {given}, and is a time; say its unit with --time-unit"));
        }
        Ok(())
    }

    /// The batch of the table, with the column [`ORIGIN`], and the rows that do not read.
    pub(crate) fn stage(&self, given: &Given) -> Result<(RecordBatch, Vec<Unread>)> {
        let told = |error: arrow_schema::ArrowError| error.to_string();
        let rows = given.batch.num_rows();
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        let mut bad: BTreeMap<usize, (String, String)> = BTreeMap::new();
        for (place, column) in &self.columns {
            let array = self.values(given.batch.column(*place), column, &mut bad)?;
            fields.push(Field::new(&column.name, array.data_type().clone(), true));
            arrays.push(array);
        }
        for (name, value) in &self.constants {
            fields.push(Field::new(name, value.data_type().clone(), true));
            arrays.push(take(value, &UInt32Array::from(vec![0; rows]), None).map_err(told)?);
        }
        fields.push(Field::new(ORIGIN, DataType::UInt64, false));
        let origins = given.origins.iter().map(|&row| pack(Origin { file: self.file, row }));
        arrays.push(Arc::new(UInt64Array::from_iter_values(origins)));
        let mut staged = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(told)?;
        if !bad.is_empty() {
            let good: BooleanArray = (0..rows).map(|row| Some(!bad.contains_key(&row))).collect();
            staged = filter_record_batch(&staged, &good).map_err(told)?;
        }
        let unread = bad.into_iter().map(|(row, (column, reason))| Unread {
            origin: Origin { file: self.file, row: given.origins[row] },
            row: self.texts(|place| {
                let texts = given.batch.column(place).as_string::<i32>();
                texts.iter().nth(row).flatten()
            }),
            column,
            reason,
        });
        let broken = given.broken.iter().map(|broken| Unread {
            origin: Origin { file: self.file, row: broken.origin },
            row: self.texts(|place| broken.fields.get(place).map(String::as_str)),
            column: String::new(),
            reason: broken.reason.clone(),
        });
        let mut unread: Vec<Unread> = unread.chain(broken).collect();
        unread.sort_by_key(|unread| unread.origin);
        Ok((staged, unread))
    }

    /// A column of the file as the table takes it; rows that do not read go to `bad`.
    fn values(
        &self,
        given: &ArrayRef,
        column: &Column,
        bad: &mut BTreeMap<usize, (String, String)>,
    ) -> Result<ArrayRef> {
        let is_time = matches!(column.data_type, DataType::Timestamp(..));
        if self.csv {
            let texts = given.as_string();
            let read = read(texts, &column.data_type, self.time_unit)?;
            for row in read.misfits.set_indices() {
                let reason = misread(texts.value(row), &column.data_type);
                bad.entry(row).or_insert_with(|| (column.name.clone(), reason));
            }
            return Ok(read.values);
        }
        match self.time_unit {
            Some(unit) if is_time && given.data_type().is_integer() => {
                let numbers = cast(given, &DataType::Int64).map_err(|error| error.to_string())?;
                let numbers: &Int64Array = numbers.as_primitive();
                cast(numbers, &DataType::Timestamp(unit, None)).map_err(|error| error.to_string())
            }
            _ => Ok(Arc::clone(given)),
        }
    }

    /// A row as it stands in the file, of which `text` tells the field at a place, under the table's names.
    fn texts<'a>(&self, text: impl Fn(usize) -> Option<&'a str>) -> RecordBatch {
        let field = |(_, column): &(usize, Column)| Field::new(&column.name, DataType::Utf8, true);
        let fields: Vec<Field> = self.columns.iter().map(field).collect();
        let array = |(place, _): &(usize, Column)| Arc::new(StringArray::from(vec![text(*place)])) as ArrayRef;
        let arrays = self.columns.iter().map(array).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("a text for each column")
    }
}

/// The columns that a file of `schema` may have, and whether it must.
fn wanted(shape: &Shape, mapping: &Mapping, schema: &Schema) -> Vec<(Column, bool)> {
    let mut wanted: Vec<(Column, bool)> = shape.columns().map(|(column, needed)| (column.clone(), needed)).collect();
    if mapping.history {
        wanted.push((Column { name: "ingest_time".to_owned(), data_type: time() }, true));
    }
    if mapping.history && is_history_export(schema) {
        let typed = [
            ("sequence", DataType::UInt64),
            ("kind", DataType::Utf8),
            ("row", DataType::UInt32),
            ("features", DataType::Utf8),
        ];
        wanted.extend(typed.map(|(name, data_type)| (Column { name: name.to_owned(), data_type }, true)));
    }
    wanted
}

/// The columns that flags name, each behind its flag.
fn named_by_flags(mapping: &Mapping) -> impl Iterator<Item = (String, &str)> {
    let renamed = mapping.renamed.iter().map(|(target, source)| (format!("--map {target}={source}"), target.as_str()));
    let set = mapping.set.iter().map(|(target, text)| (format!("--set {target}={text}"), target.as_str()));
    renamed.chain(set)
}

/// `column` with the values of its dictionary, if it has one.
fn plain(column: Column) -> Column {
    match column.data_type {
        DataType::Dictionary(_, values) => Column { data_type: *values, ..column },
        _ => column,
    }
}

/// A place in the files as one number.
fn pack(origin: Origin) -> u64 {
    ((origin.file as u64) << ROW_BITS) | origin.row
}

/// The bits of a row in a packed origin: more rows than any file has.
const ROW_BITS: u32 = 44;

/// The rows of a staged batch, and where each is from.
pub(crate) fn unpack(staged: &RecordBatch) -> (RecordBatch, Vec<Origin>) {
    let mut batch = staged.clone();
    let place = staged.schema_ref().index_of(ORIGIN).expect("a staged batch says where its rows are from");
    let packed = batch.remove_column(place);
    let origin = |packed: u64| Origin { file: (packed >> ROW_BITS) as usize, row: packed & ((1 << ROW_BITS) - 1) };
    (batch, packed.as_primitive::<arrow_array::types::UInt64Type>().values().iter().copied().map(origin).collect())
}

/// Whether a file is what `firn export --history` writes.
pub(crate) fn is_history_export(schema: &Schema) -> bool {
    HISTORY_COLUMNS.iter().all(|name| schema.index_of(name).is_ok())
}

fn missing(name: &str, source: &str, schema: &Schema) -> String {
    let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    format!("the file has no column {source}; say which it is with --map {name}=COLUMN. It has {}", known.join(", "))
}
