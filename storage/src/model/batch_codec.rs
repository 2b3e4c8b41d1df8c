//! The bytes of a [`WriteBatch`] in the WAL: one Arrow IPC stream of one batch, described by its schema's metadata.
//!
//! Columns are named by role (`key`, `row_id`, `event_time`, `ingest_time`, `place`) or by feature id (`7`), and the
//! rows that have a cell by `7?`. The record around it carries the checksum; nevertheless [`WriteBatch::decode`]
//! believes nothing: whatever the bytes are, it answers a batch that keeps every promise of its type, or an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt32Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow_buffer::{Buffer, ScalarBuffer};
use arrow_ipc::MetadataVersion;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use super::batch::{Producer, WriteBatch};
use super::key::Keys;
use crate::column::Column;
use crate::error::{Error, Kind, Result};
use crate::rows::RowKind;

/// The key of the schema metadata under which [`Head`] stands.
const HEAD: &str = "firn";
const KEY: &str = "key";
const ROW_ID: &str = "row_id";
const EVENT_TIME: &str = "event_time";
const INGEST_TIME: &str = "ingest_time";
const PLACE: &str = "place";
/// What follows a feature id in the name of its presence column.
const PRESENT: char = '?';

/// What is said once per batch.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    table: u32,
    shape: u64,
    kind: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retracted: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    producer: Option<(String, u64, Option<u64>)>,
}

impl WriteBatch {
    /// The batch as bytes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut fields: Vec<Field> = Vec::with_capacity(self.columns.len() + 5);
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len() + 5);
        let mut add = |name: String, array: ArrayRef| {
            fields.push(Field::new(name, array.data_type().clone(), true));
            arrays.push(array);
        };
        match &self.keys {
            Keys::Fixed { width, bytes } => {
                let width = i32::try_from(*width).map_err(|_| Error::invalid("a key is too wide"))?;
                add(KEY.to_owned(), Arc::new(FixedSizeBinaryArray::try_new(width, bytes.clone(), None)?));
            }
            Keys::Variable(keys) => add(KEY.to_owned(), Arc::new(keys.clone())),
        }
        if let Some(row_ids) = &self.row_ids {
            add(ROW_ID.to_owned(), Arc::new(row_ids.clone()));
        }
        add(EVENT_TIME.to_owned(), Arc::new(Int64Array::new(self.event_times.clone(), None)));
        if let Some(ingest_times) = &self.ingest_times {
            add(INGEST_TIME.to_owned(), Arc::new(Int64Array::new(ingest_times.clone(), None)));
        }
        // Places are the row numbers unless bad rows were left out.
        if self.places.iter().enumerate().any(|(row, &place)| row as u32 != place) {
            add(PLACE.to_owned(), Arc::new(UInt32Array::new(self.places.clone(), None)));
        }
        for column in &self.columns {
            add(column.feature().to_string(), column.values()?.clone());
            if !column.is_dense() {
                let present = (0..self.rows() as u32).map(|row| column.position(row).map(|position| position.is_some()));
                let present = present.collect::<Result<Vec<bool>>>()?;
                add(format!("{}{PRESENT}", column.feature()), Arc::new(BooleanArray::from(present)));
            }
        }
        let producer = self.producer.as_ref().map(|producer| (producer.name.clone(), producer.seq, producer.previous));
        let head = Head { table: self.table, shape: self.shape, kind: self.kind as u8, retracted: self.retracted.clone(), producer };
        let head = serde_json::to_string(&head).map_err(|error| Error::invalid(error.to_string()))?;
        let schema = Arc::new(Schema::new_with_metadata(fields, [(HEAD.to_owned(), head)].into()));
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows()));
        let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?;
        let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?;
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options)?;
        writer.write(&batch)?;
        Ok(writer.into_inner()?)
    }

    /// The batch that [`WriteBatch::encode`] made `bytes` from.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let buffer = Buffer::from(bytes);
        // Arrow checks what it reads, but not everything without panicking; bytes that make it panic are damaged too.
        catch_unwind(AssertUnwindSafe(|| read_batch(buffer)))
            .unwrap_or_else(|_| Err(damaged("cannot be read")))
            .and_then(|batch| Self::from_record_batch(&batch))
    }

    fn from_record_batch(batch: &RecordBatch) -> Result<Self> {
        let schema = batch.schema_ref();
        let head = schema.metadata().get(HEAD).ok_or_else(|| damaged("has no head"))?;
        let head: Head = serde_json::from_str(head).map_err(|error| damaged(&format!("has a wrong head: {error}")))?;
        let kind = RowKind::from_number(head.kind).ok_or_else(|| damaged("has rows of an unknown kind"))?;
        let times = |name: &str| batch.column_by_name(name).map(|array| whole::<Int64Type>(array, name)).transpose();
        let places = match batch.column_by_name(PLACE) {
            Some(array) => whole::<UInt32Type>(array, PLACE)?,
            None => (0..batch.num_rows() as u32).collect(),
        };
        let row_ids = match batch.column_by_name(ROW_ID) {
            None => None,
            Some(array) => Some(no_null(array.as_binary_opt::<i32>().cloned(), ROW_ID)?),
        };
        let producer = head.producer.map(|(name, seq, previous)| Producer { name, seq, previous });
        Ok(Self {
            table: head.table,
            shape: head.shape,
            kind,
            keys: read_keys(batch)?,
            row_ids,
            event_times: times(EVENT_TIME)?.ok_or_else(|| damaged("has no event times"))?,
            ingest_times: times(INGEST_TIME)?,
            places,
            columns: read_columns(batch)?,
            retracted: head.retracted,
            producer,
        })
    }
}

fn damaged(what: &str) -> Error {
    Error::new(Kind::Corrupt, format!("a logged batch {what}"))
}

/// The one batch in a stream.
fn read_batch(mut buffer: Buffer) -> Result<RecordBatch> {
    let wrong = |error: arrow_schema::ArrowError| damaged(&format!("is no Arrow stream: {error}"));
    let mut decoder = StreamDecoder::new();
    let batch = decoder.decode(&mut buffer).map_err(wrong)?.ok_or_else(|| damaged("ends early"))?;
    if decoder.decode(&mut buffer).map_err(wrong)?.is_some() {
        return Err(damaged("holds more than one batch"));
    }
    decoder.finish().map_err(wrong)?;
    Ok(batch)
}

fn read_keys(batch: &RecordBatch) -> Result<Keys> {
    let array = batch.column_by_name(KEY).ok_or_else(|| damaged("has no keys"))?;
    match array.data_type() {
        DataType::FixedSizeBinary(width) if *width > 0 => {
            let keys = no_null(array.as_fixed_size_binary_opt().cloned(), KEY)?;
            let width = *width as usize;
            let bytes = keys.value_data().get(..keys.len() * width).ok_or_else(|| damaged("has too few key bytes"))?;
            let bytes = if keys.value_data().len() == bytes.len() { keys.values().clone() } else { Buffer::from(bytes) };
            Ok(Keys::Fixed { width, bytes })
        }
        _ => Ok(Keys::Variable(no_null(array.as_binary_opt::<i32>().cloned(), KEY)?)),
    }
}

fn read_columns(batch: &RecordBatch) -> Result<Vec<Column>> {
    let schema = batch.schema_ref();
    let mut columns: Vec<Column> = Vec::new();
    for (field, array) in schema.fields().iter().zip(batch.columns()) {
        let name = field.name().as_str();
        if [KEY, ROW_ID, EVENT_TIME, INGEST_TIME, PLACE].contains(&name) || name.ends_with(PRESENT) {
            continue;
        }
        let feature: u32 = name.parse().map_err(|_| damaged("has a column that is no feature"))?;
        let present = match batch.column_by_name(&format!("{name}{PRESENT}")) {
            None => None,
            Some(flags) => Some(no_null(flags.as_boolean_opt().cloned(), name)?.values().clone()),
        };
        if columns.last().is_some_and(|last| last.feature() >= feature) {
            return Err(damaged("has columns out of order"));
        }
        columns.push(Column::in_memory(feature, array.clone(), present));
    }
    Ok(columns)
}

fn no_null<A: Array>(array: Option<A>, name: &str) -> Result<A> {
    array.filter(|array| array.null_count() == 0).ok_or_else(|| damaged(&format!("has a wrong column `{name}`")))
}

fn whole<T: arrow_array::types::ArrowPrimitiveType>(array: &ArrayRef, name: &str) -> Result<ScalarBuffer<T::Native>> {
    Ok(no_null(array.as_primitive_opt::<T>().cloned(), name)?.values().clone())
}

#[cfg(test)]
mod tests;
