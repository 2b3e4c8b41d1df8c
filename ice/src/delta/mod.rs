//! The Delta log of a table of ice: commits that say which files it has, so that any reader of Delta reads it.
//!
//! A commit is newline-delimited JSON of protocol version 1/2, with paths relative to the table. Its content is a function of what
//! is asked for: no clock and no chance, so that a repeat writes the same bytes. Statistics are rows and event times alone, since
//! others would survive an erase. A [`Checkpoint`] stands for all commits up to it. Source: the Delta transaction log protocol.

mod checkpoint;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use arrow_schema::{DataType, Field};
use serde_json::{Value, json};

use crate::column::{ColumnSpec, FIRN_TYPE};
use crate::error::{Result, damaged, unwritable};

pub use checkpoint::{COMMITS, Checkpoint, POINTER, checkpoint_name, checkpoint_of, pointed};

/// The folder of the log, in the table's.
pub const LOG: &str = "_delta_log";

/// A file of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct File {
    /// From the table's folder.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// The least and greatest event time, µs.
    pub event_times: (i64, i64),
}

/// What a table is to its readers.
#[derive(Debug, Clone)]
pub struct Table {
    /// Tells it from every other, by numbers.
    pub id: (u64, u64),
    /// Its name.
    pub name: String,
    /// The column of event times.
    pub event_time: String,
    /// The columns.
    pub columns: Vec<ColumnSpec>,
    /// What the log says beside: as of which commit it holds everything that left the local disk, and the like.
    pub facts: Value,
    /// When, for readers: µs.
    pub at: i64,
}

/// What a log says: which files there are, and as what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The next version.
    pub version: u64,
    /// The files, by their paths.
    pub files: BTreeMap<String, Added>,
    /// What the table is, once a commit said it.
    metadata: Option<Metadata>,
}

/// A file as a commit added it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Its length.
    pub bytes: u64,
    /// When it was added, for readers: ms.
    pub modified: i64,
    /// Its statistics, as text.
    pub statistics: Option<String>,
}

/// What a table is, as a commit says it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Metadata {
    id: String,
    name: String,
    /// The schema, as text.
    schema: String,
    /// When it was said, for readers: ms.
    created: i64,
}

/// What a reader and a writer of the table must know, at least. Nobody but FirnDB writes the log, so it is never another.
const PROTOCOL: (i64, i64) = (1, 2);

/// The name of the commit `version`, from the table's folder.
pub fn commit_name(version: u64) -> String {
    format!("{LOG}/{version:020}.json")
}

/// The version whose commit is `name`.
pub fn version_of(name: &str) -> Option<u64> {
    version_before(name, ".json")
}

/// The version that stands in `name` before `ending`.
fn version_before(name: &str, ending: &str) -> Option<u64> {
    let digits = name.rsplit('/').next()?.strip_suffix(ending)?;
    let version: u64 = digits.parse().ok()?;
    // Readers take versions for signed numbers.
    (digits.len() == 20 && i64::try_from(version).is_ok_and(|version| version < i64::MAX)).then_some(version)
}

impl State {
    /// Of a log of which is known only that its next commit is `version`: that will say everything anew.
    pub fn lost(version: u64) -> Self {
        Self { version, ..Self::default() }
    }

    /// Goes on by a commit that was read.
    ///
    /// # Errors
    /// `Damaged` if it is none, or not one of FirnDB.
    pub fn apply(&mut self, version: u64, commit: &[u8]) -> Result<()> {
        for line in commit.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let action: Value = serde_json::from_slice(line).map_err(damaged)?;
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let add = &action["add"];
            if let Some(path) = text(&add["path"]) {
                let (bytes, modified) = (add["size"].as_u64(), add["modificationTime"].as_i64());
                let (bytes, modified) = (bytes.unwrap_or_default(), modified.unwrap_or_default());
                self.files.insert(path, Added { bytes, modified, statistics: text(&add["stats"]) });
            }
            if let Some(path) = text(&action["remove"]["path"]) {
                self.files.remove(&path);
            }
            if let Some(protocol) = action.get("protocol") {
                check_protocol(protocol["minReaderVersion"].as_i64(), protocol["minWriterVersion"].as_i64())?;
            }
            let metadata = &action["metaData"];
            if let Some(schema) = text(&metadata["schemaString"]) {
                let (id, name) =
                    (text(&metadata["id"]).unwrap_or_default(), text(&metadata["name"]).unwrap_or_default());
                let created = metadata["createdTime"].as_i64().unwrap_or_default();
                self.metadata = Some(Metadata { id, name, schema, created });
            }
        }
        self.version = version + 1;
        Ok(())
    }

    /// The commit after which `table` has just `files`; none if it has.
    ///
    /// # Errors
    /// `Unwritable` for a column of a type that no Delta table has.
    pub fn commit(&self, table: &Table, files: &[File]) -> Result<Option<Vec<u8>>> {
        let schema = schema_of(&table.columns)?;
        let added: Vec<&File> = files.iter().filter(|file| !self.files.contains_key(&file.path)).collect();
        let kept: BTreeSet<&String> = files.iter().map(|file| &file.path).collect();
        let removed: Vec<(&String, &Added)> = self.files.iter().filter(|(path, _)| !kept.contains(path)).collect();
        let is_new = self.metadata.as_ref().is_none_or(|known| known.schema != schema);
        if added.is_empty() && removed.is_empty() && !(is_new && self.version > 0) {
            return Ok(None);
        }
        let at = table.at.div_euclid(1000);
        let mut actions = vec![json!({"commitInfo": {
            "timestamp": at, "operation": "WRITE", "engineInfo": "FirnDB", "firn": table.facts,
        }})];
        if self.version == 0 {
            let (reader, writer) = PROTOCOL;
            actions.push(json!({"protocol": {"minReaderVersion": reader, "minWriterVersion": writer}}));
        }
        if is_new {
            actions.push(json!({"metaData": {
                "id": id_of(table.id), "name": table.name, "format": {"provider": "parquet", "options": {}},
                "schemaString": schema, "partitionColumns": [], "configuration": {}, "createdTime": at,
            }}));
        }
        actions.extend(removed.iter().map(|(path, file)| {
            json!({"remove": {"path": path, "deletionTimestamp": at, "dataChange": true, "size": file.bytes}})
        }));
        actions.extend(added.iter().map(|file| add(file, table, at)));
        let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
        Ok(Some((lines.join("\n") + "\n").into_bytes()))
    }
}

/// Refuses a log that others have changed so that FirnDB's commits may not mean what they say.
fn check_protocol(reader: Option<i64>, writer: Option<i64>) -> Result<()> {
    if (reader, writer) == (Some(PROTOCOL.0), Some(PROTOCOL.1)) {
        return Ok(());
    }
    Err(damaged("its protocol is not the one that FirnDB wrote: another program has changed the table"))
}

fn add(file: &File, table: &Table, at: i64) -> Value {
    let (least, greatest) = file.event_times;
    let bound = |micros: i64, up: i64| {
        // Readers take these for milliseconds, so they are rounded outwards.
        let millis = micros.div_euclid(1000) + if micros.rem_euclid(1000) > 0 { up } else { 0 };
        arrow_cast::display::array_value_to_string(
            &arrow_array::TimestampMillisecondArray::from(vec![millis]).with_timezone("UTC"),
            0,
        )
        .ok()
    };
    let statistics = json!({
        "numRecords": file.rows,
        "minValues": {table.event_time.clone(): bound(least, 0)},
        "maxValues": {table.event_time.clone(): bound(greatest, 1)},
        "nullCount": {table.event_time.clone(): 0},
    });
    json!({"add": {
        "path": file.path, "partitionValues": {}, "size": file.bytes, "modificationTime": at, "dataChange": true,
        "stats": statistics.to_string(),
    }})
}

/// A number as Delta names tables: 128 bits in groups of hexadecimal digits.
fn id_of((database, table): (u64, u64)) -> String {
    let text = format!("{database:016x}{table:016x}");
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

/// The schema of `columns` as Delta writes it.
fn schema_of(columns: &[ColumnSpec]) -> Result<String> {
    let fields = columns.iter().map(|column| field_of(&column.field())).collect::<Result<Vec<_>>>()?;
    Ok(json!({"type": "struct", "fields": fields}).to_string())
}

fn field_of(field: &Field) -> Result<Value> {
    let kept = field.metadata().iter().filter(|(key, _)| *key == FIRN_TYPE);
    let metadata: serde_json::Map<String, Value> = kept.map(|(key, value)| (key.clone(), json!(value))).collect();
    Ok(json!({"name": field.name(), "type": type_of(field.data_type())?, "nullable": true, "metadata": metadata}))
}

fn type_of(data_type: &DataType) -> Result<Value> {
    let plain = |name: &str| Ok(json!(name));
    match data_type {
        DataType::Boolean => plain("boolean"),
        DataType::Int8 => plain("byte"),
        DataType::Int16 => plain("short"),
        DataType::Int32 => plain("integer"),
        DataType::Int64 => plain("long"),
        DataType::Float32 => plain("float"),
        DataType::Float64 => plain("double"),
        DataType::Utf8 | DataType::LargeUtf8 => plain("string"),
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => plain("binary"),
        DataType::Date32 => plain("date"),
        DataType::Timestamp(..) => plain("timestamp"),
        DataType::Decimal128(precision, scale) => Ok(json!(format!("decimal({precision},{scale})"))),
        DataType::List(item) | DataType::LargeList(item) => {
            Ok(json!({"type": "array", "elementType": type_of(item.data_type())?, "containsNull": true}))
        }
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| field_of(field)).collect::<Result<Vec<_>>>()?;
            Ok(json!({"type": "struct", "fields": fields}))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => Ok(json!({
                "type": "map", "keyType": type_of(fields[0].data_type())?, "valueType": type_of(fields[1].data_type())?,
                "valueContainsNull": true,
            })),
            other => Err(unwritable(format!("a map of {other} is none"))),
        },
        other => Err(unwritable(format!("no Delta table has columns of type {other}"))),
    }
}
