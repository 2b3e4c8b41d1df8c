//! The Delta log of a table of ice: commits that say which files it has, so that any reader of Delta reads it.
//!
//! A commit is newline-delimited JSON of protocol version 1/2, with paths relative to the table. Its content is a function of what
//! is asked for: no clock and no chance, so that a repeat writes the same bytes. Statistics are rows and event times alone, since
//! others would survive an erase. Source: the Delta transaction log protocol.

use std::collections::BTreeMap;

use arrow_schema::{DataType, Field};
use serde_json::{Value, json};

use crate::column::{ColumnSpec, FIRN_TYPE};
use crate::error::{Result, damaged, unwritable};

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
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The next version.
    pub version: u64,
    /// The paths of the files.
    pub files: BTreeMap<String, u64>,
    /// The schema, as text.
    schema: Option<String>,
}

/// The name of the commit `version`, from the table's folder.
pub fn commit_name(version: u64) -> String {
    format!("{LOG}/{version:020}.json")
}

/// The version whose commit is `name`.
pub fn version_of(name: &str) -> Option<u64> {
    name.rsplit('/').next()?.strip_suffix(".json")?.parse().ok()
}

impl State {
    /// Goes on by a commit that was read.
    ///
    /// # Errors
    /// `Damaged` if it is none.
    pub fn apply(&mut self, version: u64, commit: &[u8]) -> Result<()> {
        for line in commit.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let action: Value = serde_json::from_slice(line).map_err(damaged)?;
            let path = |action: &Value| action["path"].as_str().map(str::to_owned);
            if let Some(path) = path(&action["add"]) {
                self.files.insert(path, action["add"]["size"].as_u64().unwrap_or(0));
            }
            if let Some(path) = path(&action["remove"]) {
                self.files.remove(&path);
            }
            if let Some(schema) = action["metaData"]["schemaString"].as_str() {
                self.schema = Some(schema.to_owned());
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
        let kept = |path: &String| files.iter().any(|file| file.path == *path);
        let removed: Vec<(&String, &u64)> = self.files.iter().filter(|(path, _)| !kept(path)).collect();
        let is_new = self.schema.as_ref() != Some(&schema);
        if added.is_empty() && removed.is_empty() && !(is_new && self.version > 0) {
            return Ok(None);
        }
        let at = table.at.div_euclid(1000);
        let mut actions = vec![json!({"commitInfo": {
            "timestamp": at, "operation": "WRITE", "engineInfo": "FirnDB", "firn": table.facts,
        }})];
        if self.version == 0 {
            actions.push(json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}));
        }
        if is_new {
            actions.push(json!({"metaData": {
                "id": id_of(table.id), "name": table.name, "format": {"provider": "parquet", "options": {}},
                "schemaString": schema, "partitionColumns": [], "configuration": {}, "createdTime": at,
            }}));
        }
        actions.extend(removed.iter().map(|(path, bytes)| {
            json!({"remove": {"path": path, "deletionTimestamp": at, "dataChange": true, "size": bytes}})
        }));
        actions.extend(added.iter().map(|file| add(file, table, at)));
        let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
        Ok(Some((lines.join("\n") + "\n").into_bytes()))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let column = |name: &str, data_type| ColumnSpec {
            name: name.to_owned(),
            data_type,
            nullable: true,
            field_id: None,
            statistics: false,
        };
        let at = DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, Some("UTC".into()));
        Table {
            id: (7, 3),
            name: "t".to_owned(),
            event_time: "at".to_owned(),
            columns: vec![column("k", DataType::UInt64), column("at", at)],
            facts: json!({"sequence": 5}),
            at: 1_500_000,
        }
    }

    fn file(path: &str) -> File {
        File { path: path.to_owned(), bytes: 10, rows: 2, event_times: (1_001, 2_000) }
    }

    #[test]
    fn a_log_that_is_read_again_says_what_was_written() {
        let mut state = State::default();
        let mut lives = Vec::new();
        for files in [&["a", "b"][..], &["b", "c"], &["b", "c"], &[]] {
            let files: Vec<File> = files.iter().map(|path| file(path)).collect();
            let Some(commit) = state.commit(&table(), &files).unwrap() else {
                lives.push(None);
                continue;
            };
            let version = state.version;
            state.apply(version, &commit).unwrap();
            assert_eq!(state.commit(&table(), &files).unwrap(), None, "it is done");
            assert!(state.files.keys().eq(files.iter().map(|file| &file.path)));
            lives.push(Some(version));
        }
        assert_eq!(lives, [Some(0), Some(1), None, Some(2)]);
        assert_eq!(version_of(&commit_name(17)), Some(17));
        assert_eq!(version_of("_delta_log/_last_checkpoint"), None);
    }

    #[test]
    fn a_column_that_comes_later_is_a_commit_by_itself() {
        let mut state = State::default();
        let commit = state.commit(&table(), &[file("a")]).unwrap().unwrap();
        state.apply(0, &commit).unwrap();
        let mut wider = table();
        wider.columns.push(ColumnSpec {
            name: "n".to_owned(),
            data_type: DataType::Float64,
            ..wider.columns[0].clone()
        });
        let commit = String::from_utf8(state.commit(&wider, &[file("a")]).unwrap().unwrap()).unwrap();
        assert!(commit.contains("metaData") && !commit.contains("\"add\"") && !commit.contains("protocol"), "{commit}");
    }
}
