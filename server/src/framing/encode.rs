//! Flight messages out: the schema once, then batches in messages that are measured, never guessed.
//!
//! Plain columns are framed in `plain.rs`, all others by the stock generator. Messages are cut by hand because the
//! stock encoder guesses sizes by the buffers behind a slice, sends no message for zero rows, cannot put metadata on
//! record batches, and rewrites `large_list` as `list`. Dictionaries are sent when they change. Views
//! are compacted first, because IPC would send all buffers behind them with every message.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_flight::FlightData;
use arrow_ipc::writer::{DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use bytes::Bytes;
use firn_storage::read::PlainAnswer;
use tonic::{Code, Status};

use super::plain::Plain;
use crate::refusal;

/// What a Flight message takes beside its header, body and metadata.
const ENVELOPE_BYTES: usize = 64;
/// Room left for the application metadata of a message.
const METADATA_BYTES: usize = 1024;

/// The encoder of one stream of answers.
pub struct Encoder {
    schema: SchemaRef,
    message_bytes_max: usize,
    plain: Plain,
    generator: IpcDataGenerator,
    options: IpcWriteOptions,
    tracker: DictionaryTracker,
    context: IpcWriteContext,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encoder of {} columns", self.schema.fields().len())
    }
}

/// One record batch message and what it covers.
#[derive(Debug)]
pub struct Encoded {
    /// Dictionaries that must go before it.
    pub dictionaries: Vec<FlightData>,
    /// The message, without application metadata.
    pub message: FlightData,
    /// How many rows of the batch it holds.
    pub rows: usize,
}

impl Encoder {
    /// An encoder of batches with `schema`, in messages below `message_bytes_max`.
    pub fn new(schema: SchemaRef, message_bytes_max: usize) -> Self {
        Self {
            plain: Plain::new(&schema),
            schema,
            message_bytes_max,
            generator: IpcDataGenerator::default(),
            options: IpcWriteOptions::default(),
            tracker: DictionaryTracker::new(false),
            context: IpcWriteContext::default(),
        }
    }

    /// The schema that batches must have.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The first message of the stream.
    pub fn schema_message(&mut self) -> FlightData {
        // The tracker learns the dictionaries' numbers here.
        self.tracker.clear();
        let schema = Arc::clone(&self.schema);
        flight(self.generator.schema_to_bytes_with_dictionary_tracker(&schema, &mut self.tracker, &self.options))
    }

    /// The one message of a plain answer; `None` if it takes more.
    pub fn whole(&mut self, answer: &PlainAnswer) -> Option<FlightData> {
        self.plain.whole(answer, self.message_bytes_max.saturating_sub(ENVELOPE_BYTES + METADATA_BYTES))
    }

    /// The message that begins at `row` of `batch`: as many rows as fit. A batch of no rows makes one message.
    pub fn next(&mut self, batch: &RecordBatch, row: usize) -> Result<Encoded, Status> {
        let left = batch.num_rows() - row;
        let room = self.message_bytes_max.saturating_sub(ENVELOPE_BYTES + METADATA_BYTES);
        if let Some(rows) = self.plain.rows_that_fit(batch, left, room) {
            return Ok(Encoded { dictionaries: Vec::new(), message: self.plain.message(batch, row, rows), rows });
        }
        let mut rows = rows_that_may_fit(batch, self.body_bytes_max()).min(left);
        let mut dictionaries = Vec::new();
        loop {
            let slice = compact(batch, row, rows)?;
            let (changed, data) = self
                .generator
                .encode(&slice, &mut self.tracker, &self.options, &mut self.context)
                .map_err(unencodable)?;
            dictionaries.extend(changed.into_iter().map(flight));
            let message = flight(data);
            let largest = dictionaries.iter().chain([&message]).map(measured).max().unwrap_or_default();
            if largest <= self.message_bytes_max {
                return Ok(Encoded { dictionaries, message, rows });
            }
            if rows <= 1 || dictionaries.iter().any(|dictionary| measured(dictionary) > self.message_bytes_max) {
                // What the tracker believes to be sent never leaves.
                let schema_sent_before = self.schema_message();
                drop(schema_sent_before);
                return Err(refusal::exhausted(format!(
                    "row {row} of the answer takes a message of {largest} bytes; messages may have {} (max_message_bytes)",
                    self.message_bytes_max
                )));
            }
            let share = rows as u128 * self.message_bytes_max as u128 * 9 / 10 / measured(&message) as u128;
            rows = (share as usize).clamp(1, rows - 1);
        }
    }

    fn body_bytes_max(&self) -> usize {
        // The header says 16 bytes per array and per buffer; arrays have two or three buffers, padded to 64 bytes.
        let header = 512 + 160 * self.schema.flattened_fields().len();
        self.message_bytes_max.saturating_sub(header + ENVELOPE_BYTES + METADATA_BYTES).max(1)
    }
}

fn flight(data: EncodedData) -> FlightData {
    FlightData {
        flight_descriptor: None,
        data_header: Bytes::from(data.ipc_message),
        app_metadata: Bytes::new(),
        data_body: Bytes::from(data.arrow_data),
    }
}

/// The size of a message once its metadata is on it.
fn measured(message: &FlightData) -> usize {
    message.data_header.len() + message.data_body.len() + ENVELOPE_BYTES + METADATA_BYTES
}

/// A first guess by the true sizes of the columns; [`Encoder::next`] measures what comes of it.
fn rows_that_may_fit(batch: &RecordBatch, bytes_max: usize) -> usize {
    let rows = batch.num_rows();
    let bytes: usize = batch.columns().iter().map(column_bytes).sum();
    if bytes <= bytes_max || rows == 0 {
        return rows;
    }
    let share = rows as u128 * bytes_max as u128 / bytes as u128;
    (share as usize).clamp(1, rows)
}

/// The bytes of the rows of a column, not of the buffers behind them.
fn column_bytes(column: &ArrayRef) -> usize {
    match column.data_type() {
        // The values go once, as a dictionary.
        DataType::Dictionary(_, _) => column.as_any_dictionary().keys().get_buffer_memory_size(),
        _ => column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_buffer_memory_size()),
    }
}

/// Rows `row .. row + rows`, the buffers of views cut down to what these rows use.
fn compact(batch: &RecordBatch, row: usize, rows: usize) -> Result<RecordBatch, Status> {
    let sliced = batch.slice(row, rows);
    let has_views = |column: &ArrayRef| matches!(column.data_type(), DataType::Utf8View | DataType::BinaryView);
    if !sliced.columns().iter().any(has_views) {
        return Ok(sliced);
    }
    let columns = sliced.columns().iter().map(|column| match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()) as ArrayRef,
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()) as ArrayRef,
        _ => Arc::clone(column),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(sliced.schema(), columns.collect(), &options).map_err(unencodable)
}

fn unencodable(error: ArrowError) -> Status {
    refusal::new(Code::Internal, &format!("the answer cannot be encoded: {error}"))
}
