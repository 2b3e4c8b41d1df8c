//! Checkpoints of a log: what it says at a version, as one Parquet file, so that no reader needs the commits up to it.
//!
//! It is a function of those commits, so that whoever writes it writes the same, and it says no more than they do. A checksum of the
//! whole file is in its footer, and nothing is decoded before that holds: an export must not be able to harm who reads it. What was
//! removed is left out: the protocol has that for those who delete files, which here is FirnDB alone. Source: the Delta transaction
//! log protocol, the schema of checkpoints of version 1.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, StructArray, new_null_array,
};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::concat::concat;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde_json::{Value, json};

use super::{Added, LOG, Metadata, PROTOCOL, State, version_before};
use crate::error::{Result, damaged, unwritable};
use crate::writer::CREATED_BY;

/// A checkpoint is due after so many commits.
pub const COMMITS: u64 = 100;
/// What points readers to the newest checkpoint, in the folder of the log. It alone is ever replaced.
pub const POINTER: &str = "_last_checkpoint";
/// How the name of a checkpoint ends.
const ENDING: &str = ".checkpoint.parquet";
/// Under this key the checksum is in the footer.
const CHECKSUM: &str = "firn.checksum";
/// What is before the digits of the checksum, which are zeros while it is computed.
const MARK: &str = "crc64nvme:";
const DIGITS: usize = 16;

/// A checkpoint, and what points readers to it.
#[derive(Debug)]
pub struct Checkpoint {
    /// The file.
    pub bytes: Vec<u8>,
    /// What [`POINTER`] is to hold.
    pub pointer: Vec<u8>,
}

/// The name of the checkpoint of `version`, from the table's folder.
pub fn checkpoint_name(version: u64) -> String {
    format!("{LOG}/{version:020}{ENDING}")
}

/// The version whose checkpoint is `name`.
pub fn checkpoint_of(name: &str) -> Option<u64> {
    version_before(name, ENDING)
}

/// The version to whose checkpoint `pointer` points.
pub fn pointed(pointer: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Value>(pointer).ok()?["version"].as_u64()
}

impl State {
    /// The checkpoint of the last version.
    ///
    /// # Errors
    /// `Unwritable` for a log without any commit.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let nothing = || unwritable("a log without commits has no checkpoint");
        let version = self.version.checked_sub(1).ok_or_else(nothing)?;
        let metadata = self.metadata.as_ref().ok_or_else(nothing)?;
        let actions = [("protocol", protocol()?), ("metaData", table(metadata)?), ("add", files(self)?)];
        let rows: usize = actions.iter().map(|(_, action)| action.len()).sum();
        let mut before = 0;
        let mut columns: Vec<(&str, ArrayRef, bool)> = Vec::with_capacity(actions.len());
        for (name, action) in &actions {
            // Each row is one action, and null in the columns of all others.
            let null = |rows| new_null_array(action.data_type(), rows);
            let after = rows - before - action.len();
            let column = concat(&[&null(before), action as &dyn Array, &null(after)]).map_err(unwritable)?;
            columns.push((name, column, true));
            before += action.len();
        }
        let bytes = write(&RecordBatch::try_from_iter_with_nullable(columns).map_err(unwritable)?)?;
        let pointer = json!({
            "version": version, "size": rows, "sizeInBytes": bytes.len(), "numOfAddFiles": self.files.len(),
        });
        Ok(Checkpoint { bytes, pointer: pointer.to_string().into_bytes() })
    }

    /// What a log says up to `version`, by the `checkpoint` of that version.
    ///
    /// # Errors
    /// `Damaged` if it is none of FirnDB, or not whole.
    pub fn of_checkpoint(version: u64, checkpoint: &Bytes) -> Result<Self> {
        let at = digits_at(checkpoint).ok_or_else(|| damaged("it has no checksum of FirnDB"))?;
        let mut plain = checkpoint.to_vec();
        let said = plain.splice(at..at + DIGITS, [b'0'; DIGITS]).collect::<Vec<_>>();
        if said != checksum(&plain).as_bytes() {
            return Err(damaged("its checksum is another"));
        }
        let reader = ParquetRecordBatchReaderBuilder::try_new(checkpoint.clone()).and_then(|builder| builder.build());
        let mut state = Self { version: version + 1, ..Self::default() };
        for batch in reader.map_err(damaged)? {
            state.take(&batch.map_err(damaged)?)?;
        }
        Ok(state)
    }

    /// Goes on by actions of a checkpoint.
    fn take(&mut self, actions: &RecordBatch) -> Result<()> {
        let of = |name| actions.column_by_name(name).and_then(|column| column.as_struct_opt());
        let (Some(table), Some(files)) = (of("metaData"), of("add")) else {
            return Err(damaged("it lacks the columns of its actions"));
        };
        let (id, name, schema) = (texts(table, "id")?, texts(table, "name")?, texts(table, "schemaString")?);
        let created = numbers(table, "createdTime")?;
        let (path, statistics) = (texts(files, "path")?, texts(files, "stats")?);
        let (bytes, modified) = (numbers(files, "size")?, numbers(files, "modificationTime")?);
        for row in 0..actions.num_rows() {
            if table.is_valid(row) {
                let [id, name, schema] = [id, name, schema].map(|of| of.value(row).to_owned());
                self.metadata = Some(Metadata { id, name, schema, created: created.value(row) });
            }
            if files.is_valid(row) {
                let statistics = statistics.is_valid(row).then(|| statistics.value(row).to_owned());
                let added = Added { bytes: bytes.value(row) as u64, modified: modified.value(row), statistics };
                self.files.insert(path.value(row).to_owned(), added);
            }
        }
        Ok(())
    }
}

/// The action that says what readers and writers must know.
fn protocol() -> Result<StructArray> {
    action(vec![
        ("minReaderVersion", Arc::new(Int32Array::from(vec![PROTOCOL.0 as i32]))),
        ("minWriterVersion", Arc::new(Int32Array::from(vec![PROTOCOL.1 as i32]))),
    ])
}

/// The action that says what the table is.
fn table(metadata: &Metadata) -> Result<StructArray> {
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let format = action(vec![("provider", text("parquet")), ("options", no_entries(1)?)])?;
    let mut no_columns = ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    no_columns.append(true);
    action(vec![
        ("id", text(&metadata.id)),
        ("name", text(&metadata.name)),
        ("format", Arc::new(format)),
        ("schemaString", text(&metadata.schema)),
        ("partitionColumns", Arc::new(no_columns.finish())),
        ("configuration", no_entries(1)?),
        ("createdTime", Arc::new(Int64Array::from(vec![metadata.created]))),
    ])
}

/// An action for each file.
fn files(state: &State) -> Result<StructArray> {
    let files = || state.files.values();
    let path: StringArray = state.files.keys().map(Some).collect();
    let statistics: StringArray = files().map(|file| file.statistics.as_deref()).collect();
    action(vec![
        ("path", Arc::new(path)),
        ("partitionValues", no_entries(state.files.len())?),
        ("size", Arc::new(files().map(|file| file.bytes as i64).collect::<Int64Array>())),
        ("modificationTime", Arc::new(files().map(|file| file.modified).collect::<Int64Array>())),
        // A reader of changes has seen them.
        ("dataChange", Arc::new(BooleanArray::from(vec![false; state.files.len()]))),
        ("stats", Arc::new(statistics)),
    ])
}

/// Actions of these fields.
fn action(fields: Vec<(&str, ArrayRef)>) -> Result<StructArray> {
    let fields = fields.into_iter().map(|(name, values)| (name, values, true));
    RecordBatch::try_from_iter_with_nullable(fields).map(StructArray::from).map_err(unwritable)
}

/// So many maps of texts to texts in which nothing is.
fn no_entries(count: usize) -> Result<ArrayRef> {
    let [entry, key, value] = ["key_value", "key", "value"].map(str::to_owned);
    let names = MapFieldNames { entry, key, value };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    (0..count).try_for_each(|_| maps.append(true)).map_err(unwritable)?;
    Ok(Arc::new(maps.finish()))
}

/// The file of `actions`.
fn write(actions: &RecordBatch) -> Result<Vec<u8>> {
    let unsummed = KeyValue::new(CHECKSUM.to_owned(), format!("{MARK}{}", "0".repeat(DIGITS)));
    let properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some(vec![unsummed]))
        .build();
    // Arrow's own schema would say nothing that Parquet's does not.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let schema: Arc<Schema> = actions.schema();
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options).map_err(unwritable)?;
    writer.write(actions).map_err(unwritable)?;
    let mut bytes = writer.into_inner().map_err(unwritable)?;
    let at = digits_at(&bytes).ok_or_else(|| unwritable("the footer lacks its checksum"))?;
    let sum = checksum(&bytes);
    bytes.splice(at..at + DIGITS, sum.bytes());
    Ok(bytes)
}

/// Where the digits of the checksum of `file` begin.
fn digits_at(file: &[u8]) -> Option<usize> {
    let at = file.windows(MARK.len()).rposition(|bytes| bytes == MARK.as_bytes())? + MARK.len();
    (at + DIGITS <= file.len()).then_some(at)
}

/// The checksum of a file in which its digits are zeros.
fn checksum(file: &[u8]) -> String {
    format!("{:016x}", crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, file))
}

/// The texts that `actions` have in the field `name`.
fn texts<'a>(actions: &'a StructArray, name: &str) -> Result<&'a StringArray> {
    let field = actions.column_by_name(name).and_then(|values| values.as_string_opt());
    field.ok_or_else(|| damaged(format!("it lacks the text {name}")))
}

/// The numbers that `actions` have in the field `name`.
fn numbers<'a>(actions: &'a StructArray, name: &str) -> Result<&'a Int64Array> {
    let field = actions.column_by_name(name).and_then(|values| values.as_primitive_opt::<Int64Type>());
    field.ok_or_else(|| damaged(format!("it lacks the number {name}")))
}
