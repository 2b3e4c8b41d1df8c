//! Flight messages in: schema, dictionaries, batches, from a client that may be hostile.
//!
//! Lengths are proven before decoding ([`super::check`]), arrays are validated while decoding, and what still panics
//! inside the IPC reader is caught and answered as a bad request. Buffers are used where they lie in the message;
//! only misaligned ones are copied.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_flight::FlightData;
use arrow_ipc::reader::{RecordBatchDecoder, read_dictionary};
use arrow_ipc::{Message, MessageHeader};
use arrow_schema::{ArrowError, SchemaRef};
use tonic::Status;

use super::plain::Plain;
use super::{check, expansion};
use crate::config::Limits;
use crate::guard::{CONTRADICTS, caught};
use crate::refusal::{exhausted, invalid};

/// What a message held.
#[derive(Debug)]
pub enum Decoded {
    /// Only Flight metadata.
    Nothing,
    /// The schema of the stream.
    Schema(SchemaRef),
    /// A dictionary, kept for later batches.
    Dictionary,
    /// Rows.
    Batch(RecordBatch),
}

/// The state of one stream's decoding.
#[derive(Debug)]
pub struct Decoder {
    pub(super) limits: Arc<Limits>,
    schema: Option<SchemaRef>,
    /// For putting small messages together, once the schema is known.
    pub(super) plain: Option<Plain>,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: Arc<Limits>) -> Self {
        Self { limits, schema: None, plain: None, dictionaries: HashMap::new() }
    }

    /// Decodes one message.
    pub fn decode(&mut self, message: FlightData) -> Result<Decoded, Status> {
        if message.data_header.is_empty() {
            return match message.data_body.is_empty() {
                true => Ok(Decoded::Nothing),
                false => Err(invalid("a message has a body without an Arrow IPC header")),
            };
        }
        let header = message.data_header;
        let body = firn_client::aligned(message.data_body);
        guarded(|| {
            let header = arrow_ipc::root_as_message(&header)
                .map_err(|error| invalid(format!("the Arrow IPC header cannot be read: {error}")))?;
            check::version(header.version())?;
            match header.header_type() {
                MessageHeader::Schema => self.schema(header),
                MessageHeader::DictionaryBatch => self.dictionary(header, &body),
                MessageHeader::RecordBatch => self.batch(header, &body),
                _ => Err(invalid("expected an Arrow IPC schema, dictionary batch or record batch")),
            }
        })
    }

    fn schema(&mut self, header: Message<'_>) -> Result<Decoded, Status> {
        if self.schema.is_some() {
            return Err(invalid("the stream has a second schema; open another stream for other columns"));
        }
        let found = header.header_as_schema().ok_or_else(|| invalid("the schema message is empty"))?;
        check::schema(found, &self.limits)?;
        let schema = arrow_ipc::convert::fb_to_schema(found);
        let mut names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(invalid(format!("the column `{}` appears twice; rename one or leave it out", pair[0])));
        }
        let schema = Arc::new(schema);
        self.plain = Some(Plain::new(&schema));
        self.schema = Some(Arc::clone(&schema));
        Ok(Decoded::Schema(schema))
    }

    fn known_schema(&self) -> Result<&SchemaRef, Status> {
        self.schema.as_ref().ok_or_else(|| invalid("rows came before a schema"))
    }

    fn dictionary(&mut self, header: Message<'_>, body: &Buffer) -> Result<Decoded, Status> {
        let schema = Arc::clone(self.known_schema()?);
        let dictionary = header.header_as_dictionary_batch().ok_or_else(|| invalid("a dictionary is empty"))?;
        let values = dictionary.data().ok_or_else(|| invalid("a dictionary has no values"))?;
        let held: usize = self.dictionaries.values().map(|values| values.get_buffer_memory_size()).sum();
        // Extending a dictionary copies it, so what is held counts even if it is replaced.
        let budget = self.limits.decoded_bytes_max.saturating_sub(held as u64);
        check::batch(values, body, budget, &self.limits)?;
        read_dictionary(body, dictionary, &schema, &mut self.dictionaries, &header.version()).map_err(misread)?;
        Ok(Decoded::Dictionary)
    }

    fn batch(&mut self, header: Message<'_>, body: &Buffer) -> Result<Decoded, Status> {
        let schema = Arc::clone(self.known_schema()?);
        let found = header.header_as_record_batch().ok_or_else(|| invalid("a record batch is empty"))?;
        check::batch(found, body, self.limits.decoded_bytes_max, &self.limits)?;
        let version = header.version();
        let batch = RecordBatchDecoder::try_new(body, found, schema, &self.dictionaries, &version)
            .and_then(|decoder| decoder.with_require_alignment(false).read_record_batch())
            .map_err(misread)?;
        expansion::check(&batch, &self.limits)?;
        Ok(Decoded::Batch(batch))
    }
}

fn misread(error: ArrowError) -> Status {
    invalid(format!("the Arrow data cannot be read: {error}"))
}

/// Runs `decode`, turning a panic of the IPC reader into a bad request.
fn guarded<T>(decode: impl FnOnce() -> Result<T, Status>) -> Result<T, Status> {
    // A message changes the state once it is read whole, if at all.
    caught(decode).unwrap_or_else(|| Err(invalid(CONTRADICTS)))
}

/// The error of a message above the limit; the transport words it by itself and with another code.
pub fn too_large(status: Status, limits: &Limits) -> Status {
    match status.code() {
        tonic::Code::OutOfRange if status.message().contains("message length too large") => exhausted(format!(
            "a message is larger than {} bytes (message-bytes-max); send smaller batches",
            limits.message_bytes_max
        )),
        _ => status,
    }
}
