//! One DoExchange stream: requests out, answers in, in order and pipelined.
//!
//! The two halves are separate values, for whoever sends many requests must read answers at the same time: a server
//! whose answers nobody reads stops reading requests.

use std::fmt;

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::connection::Stub;
use crate::error::{Error, Kind, Result};
use crate::ipc::{Decoder, Encoder};
use crate::wire::{Answer, Command};

/// Messages that wait for the connection before a sender waits too.
const QUEUED_MESSAGES: usize = 16;

/// The sending half. Dropping it says that no more requests follow.
#[derive(Debug)]
pub struct Requests {
    encoder: Encoder,
    messages: mpsc::Sender<FlightData>,
}

impl Requests {
    /// Sends one request. If the stream has ended, the answers say why.
    pub async fn send(&mut self, batch: &RecordBatch) -> Result<()> {
        for message in self.encoder.batch(batch, Vec::new())? {
            let ended = |_| Error::new(Kind::Cancelled, "the stream has ended; its answers say why");
            self.messages.send(message).await.map_err(ended)?;
        }
        Ok(())
    }
}

/// One message of an answer.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its rows.
    pub batch: RecordBatch,
    /// What it says about itself.
    pub answer: Answer,
}

/// One whole answer.
#[derive(Debug, Clone)]
pub struct Answered {
    /// Its rows, in order; without rows if it is an error.
    pub batches: Vec<RecordBatch>,
    /// What its last message said.
    pub answer: Answer,
}

impl Answered {
    /// The rows as one batch, or the request's error.
    pub fn batch(&self) -> Result<RecordBatch> {
        if let Some(error) = &self.answer.error {
            return Err(error.clone().into());
        }
        match self.batches.as_slice() {
            [] => Err(Error::unreadable("an answer without a message")),
            [one] => Ok(one.clone()),
            many => concat_batches(many[0].schema_ref(), many).map_err(Error::unreadable),
        }
    }
}

/// The receiving half.
pub struct Answers {
    messages: Streaming<FlightData>,
    decoder: Decoder,
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("schema", &self.decoder.schema()).finish_non_exhaustive()
    }
}

impl Answers {
    pub(crate) fn new(messages: Streaming<FlightData>) -> Self {
        Self { messages, decoder: Decoder::default() }
    }

    /// The columns of the answers, once the first message has come.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.decoder.schema()
    }

    /// The next message, or none at the end of the stream.
    pub async fn message(&mut self) -> Result<Option<Message>> {
        while let Some(message) = self.messages.message().await? {
            if let Some((batch, metadata)) = self.decoder.message(message)? {
                let answer = Answer::decode(&metadata).map_err(Error::unreadable)?;
                return Ok(Some(Message { batch, answer }));
            }
        }
        Ok(None)
    }

    /// The next answer, whole, or none at the end of the stream. An error in band is inside the answer.
    pub async fn answer(&mut self) -> Result<Option<Answered>> {
        let mut batches = Vec::new();
        while let Some(Message { batch, answer }) = self.message().await? {
            batches.push(batch);
            if answer.last {
                return Ok(Some(Answered { batches, answer }));
            }
        }
        match batches.is_empty() {
            true => Ok(None),
            false => Err(Error::unreadable("the stream ended within an answer")),
        }
    }
}

/// Opens a stream for requests with `schema`.
pub(crate) async fn open(mut stub: Stub, command: &Command, schema: SchemaRef) -> Result<(Requests, Answers)> {
    let mut encoder = Encoder::new(schema);
    let (messages, queue) = mpsc::channel(QUEUED_MESSAGES);
    let head = encoder.head(command.encode());
    messages.try_send(head).expect("the queue is empty");
    let answers = stub.do_exchange(ReceiverStream::new(queue)).await?.into_inner();
    Ok((Requests { encoder, messages }, Answers::new(answers)))
}

/// Sends one request over a stream of its own: all at once, for a server says that a stream is open before it reads.
pub(crate) async fn ask(mut stub: Stub, command: &Command, request: &RecordBatch) -> Result<Answered> {
    let mut encoder = Encoder::new(request.schema());
    let mut messages = vec![encoder.head(command.encode())];
    messages.extend(encoder.batch(request, Vec::new())?);
    let mut answers = Answers::new(stub.do_exchange(tokio_stream::iter(messages)).await?.into_inner());
    let answered = answers.answer().await?;
    // To the end: a stream that is dropped before it is reset, and servers take many resets for an attack.
    while answers.message().await?.is_some() {}
    answered.ok_or_else(|| Error::unreadable("the stream ended without an answer"))
}
