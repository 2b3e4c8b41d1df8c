//! Batches on their way to a client: cut into messages one by one, as the client takes them.
//!
//! One batch is being cut at a time. What its messages say of it says the last one; the others say that there is more.

use std::collections::VecDeque;

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use firn_client::wire::Answer;
use firn_storage::read::PlainAnswer;
use tonic::Status;

use crate::framing::Encoder;

/// The messages of one stream of answers.
pub(super) struct Outgoing {
    encoder: Encoder,
    /// Those that are made.
    messages: VecDeque<FlightData>,
    cutting: Option<Cutting>,
}

/// The batch that is being cut.
struct Cutting {
    batch: RecordBatch,
    next_row: usize,
    /// What its last message says, if messages say anything.
    metadata: Option<Answer>,
}

impl Outgoing {
    /// Of batches with `schema`, which goes first, in messages below `message_bytes`.
    pub(super) fn new(schema: SchemaRef, message_bytes: usize) -> Self {
        let mut encoder = Encoder::new(schema, message_bytes);
        let messages = [encoder.schema_message()].into();
        Self { encoder, messages, cutting: None }
    }

    /// The schema that batches must have.
    pub(super) fn schema(&self) -> &SchemaRef {
        self.encoder.schema()
    }

    /// Whether all has left.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.cutting.is_none()
    }

    /// Puts `batch`, which may have no rows, on its way. The one before must have left.
    pub(super) fn put(&mut self, batch: RecordBatch, metadata: Answer) {
        assert!(self.cutting.is_none(), "one batch is cut at a time");
        self.cutting = Some(Cutting { batch, next_row: 0, metadata: Some(metadata) });
    }

    /// [`Outgoing::put`] in messages that say nothing of it, as Flight SQL sends them.
    pub(super) fn put_plainly(&mut self, batch: RecordBatch) {
        assert!(self.cutting.is_none(), "one batch is cut at a time");
        self.cutting = Some(Cutting { batch, next_row: 0, metadata: None });
    }

    /// Puts a plain answer on its way as it lies in memory, if one message holds it.
    pub(super) fn put_whole(&mut self, answer: &PlainAnswer, metadata: &Answer) -> bool {
        assert!(self.cutting.is_none(), "one batch is cut at a time");
        let Some(message) = self.encoder.whole(answer) else { return false };
        self.messages.push_back(with_metadata(message, metadata));
        true
    }

    /// The next message, if there is one. After an error nothing is left of the batch that was being cut.
    pub(super) fn next(&mut self) -> Result<Option<FlightData>, Status> {
        if let Some(message) = self.messages.pop_front() {
            return Ok(Some(message));
        }
        let Some(Cutting { batch, mut next_row, metadata }) = self.cutting.take() else { return Ok(None) };
        let encoded = self.encoder.next(&batch, next_row)?;
        next_row += encoded.rows;
        self.messages.extend(encoded.dictionaries);
        let last = next_row == batch.num_rows();
        self.messages.push_back(match &metadata {
            None => encoded.message,
            Some(metadata) if last => with_metadata(encoded.message, metadata),
            Some(metadata) => {
                let more = Answer { last: false, digest: None, ..metadata.clone() };
                with_metadata(encoded.message, &more)
            }
        });
        if !last {
            self.cutting = Some(Cutting { batch, next_row, metadata });
        }
        Ok(self.messages.pop_front())
    }
}

fn with_metadata(mut message: FlightData, metadata: &Answer) -> FlightData {
    message.app_metadata = Bytes::from(metadata.encode());
    message
}
