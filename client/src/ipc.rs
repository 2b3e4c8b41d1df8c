//! Record batches as Flight messages, both ways.
//!
//! One batch is one message, for a batch is what a write applies or refuses and what a lookup answers. Buffers of an
//! answer are used where they lie in the message; only misaligned ones are copied.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_flight::{FlightData, FlightDescriptor};
use arrow_ipc::MessageHeader;
use arrow_ipc::reader::{RecordBatchDecoder, read_dictionary};
use arrow_ipc::writer::{DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;

use crate::error::{Error, Result};

/// The encoder of one stream.
pub(crate) struct Encoder {
    schema: SchemaRef,
    generator: IpcDataGenerator,
    options: IpcWriteOptions,
    tracker: DictionaryTracker,
    context: IpcWriteContext,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoder of {} columns", self.schema.fields().len())
    }
}

impl Encoder {
    /// An encoder of batches with `schema`.
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            generator: IpcDataGenerator::default(),
            options: IpcWriteOptions::default(),
            tracker: DictionaryTracker::new(false),
            context: IpcWriteContext::default(),
        }
    }

    /// The first message of a stream: the command and the schema.
    pub(crate) fn head(&mut self, command: Vec<u8>) -> FlightData {
        let schema =
            self.generator.schema_to_bytes_with_dictionary_tracker(&self.schema, &mut self.tracker, &self.options);
        let mut message = message(schema);
        message.flight_descriptor = Some(FlightDescriptor::new_cmd(command));
        message
    }

    /// The messages of one batch, the last of which carries the rows and `metadata`.
    pub(crate) fn batch(&mut self, batch: &RecordBatch, metadata: Vec<u8>) -> Result<Vec<FlightData>> {
        if batch.schema_ref().fields() != self.schema.fields() {
            return Err(Error::invalid("the batch has other columns than the stream was opened with"));
        }
        let (dictionaries, rows) = self
            .generator
            .encode(batch, &mut self.tracker, &self.options, &mut self.context)
            .map_err(|error| Error::invalid(format!("the batch cannot be encoded: {error}")))?;
        let mut messages: Vec<_> = dictionaries.into_iter().map(message).collect();
        let mut rows = message(rows);
        rows.app_metadata = Bytes::from(metadata);
        messages.push(rows);
        Ok(messages)
    }
}

fn message(data: EncodedData) -> FlightData {
    FlightData {
        flight_descriptor: None,
        data_header: Bytes::from(data.ipc_message),
        app_metadata: Bytes::new(),
        data_body: Bytes::from(data.arrow_data),
    }
}

/// Values of every type may start at multiples of this.
const ALIGNMENT: usize = 16;

/// Up to this size a misaligned body is copied at once: copying its buffers one by one takes longer only if they are
/// small.
const COPY_BYTES_MAX: usize = 64 << 10;

/// The body of a message for reading: a small one that is misaligned is copied, for the reader would copy each of its
/// buffers.
pub fn aligned(body: Bytes) -> Buffer {
    let whole = body.as_ptr().align_offset(ALIGNMENT) == 0 || body.len() > COPY_BYTES_MAX;
    if whole { Buffer::from(body) } else { Buffer::from_slice_ref(&body) }
}

/// The decoder of one stream of answers.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl Decoder {
    /// The schema, once its message has been read.
    pub(crate) fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    /// Reads one message: rows and their metadata, or nothing where the message only prepares for rows.
    pub(crate) fn message(&mut self, message: FlightData) -> Result<Option<(RecordBatch, Bytes)>> {
        if message.data_header.is_empty() {
            return Ok(None);
        }
        let header = arrow_ipc::root_as_message(&message.data_header).map_err(Error::unreadable)?;
        let body = aligned(message.data_body);
        match header.header_type() {
            MessageHeader::Schema => {
                let found = header.header_as_schema().ok_or_else(|| Error::unreadable("an empty schema"))?;
                self.schema = Some(Arc::new(arrow_ipc::convert::fb_to_schema(found)));
                Ok(None)
            }
            MessageHeader::DictionaryBatch => {
                let found = header.header_as_dictionary_batch().ok_or_else(|| Error::unreadable("no dictionary"))?;
                let schema = self.schema.as_ref().ok_or_else(|| Error::unreadable("a dictionary before a schema"))?;
                read_dictionary(&body, found, schema, &mut self.dictionaries, &header.version())
                    .map_err(|error: ArrowError| Error::unreadable(error))?;
                Ok(None)
            }
            MessageHeader::RecordBatch => {
                let found = header.header_as_record_batch().ok_or_else(|| Error::unreadable("no rows"))?;
                let schema = self.schema.clone().ok_or_else(|| Error::unreadable("rows before a schema"))?;
                let version = header.version();
                let batch = RecordBatchDecoder::try_new(&body, found, schema, &self.dictionaries, &version)
                    .and_then(|decoder| decoder.with_require_alignment(false).read_record_batch())
                    .map_err(Error::unreadable)?;
                Ok(Some((batch, message.app_metadata)))
            }
            _ => Err(Error::unreadable("an Arrow message of another kind")),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::types::Int8Type;
    use arrow_array::{Array, DictionaryArray, Int64Array};
    use arrow_schema::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let dictionary: DictionaryArray<Int8Type> = ["value", "null", "value"].into_iter().collect();
        let numbers = Int64Array::from(vec![Some(1), None, Some(3)]);
        let schema = Arc::new(Schema::new(vec![
            Field::new("x", DataType::Int64, true),
            Field::new("x__status", dictionary.data_type().clone(), true),
        ]));
        let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(numbers), Arc::new(dictionary)])
            .expect("the columns fit the schema");
        let mut encoder = Encoder::new(schema.clone());
        let mut decoder = Decoder::default();
        assert_eq!(decoder.message(encoder.head(b"{}".to_vec())), Ok(None));
        assert_eq!(decoder.schema(), Some(&schema));
        let mut read = Vec::new();
        for slice in [batch.clone(), batch.slice(1, 2), batch.slice(0, 0)] {
            for message in encoder.batch(&slice, b"m".to_vec()).expect("the batch fits the stream") {
                read.extend(decoder.message(message).expect("it was just encoded"));
            }
        }
        let rows: Vec<_> = read.iter().map(|(batch, _)| batch.num_rows()).collect();
        assert_eq!(rows, [3, 2, 0]);
        assert_eq!(read[0].0, batch);
        assert_eq!(read[0].1, Bytes::from_static(b"m"));
    }
}
