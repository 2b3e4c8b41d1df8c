//! Writes, deletes and retracts: batches out, acknowledgements in, both at once.
//!
//! A task reads the acknowledgements as they come, so a sender never waits for one and nothing hangs where none is
//! asked for. A batch is atomic; a stream of them is not.

use arrow_array::RecordBatch;
use arrow_flight::{FlightData, PutResult};
use arrow_schema::SchemaRef;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::Streaming;

use crate::connection::Stub;
use crate::error::{Error, Kind, Result};
use crate::ipc::Encoder;
use crate::wire::{Acknowledgement, BadRow, Command, Level, ProducerStep, Put};

/// Messages that wait for the connection before a sender waits too.
const QUEUED_MESSAGES: usize = 16;

/// What has been acknowledged of a stream: it is durable and readable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Batches.
    pub batches: u64,
    /// Rows that were applied.
    pub rows: u64,
    /// A read at this position sees all of it.
    pub read_position: Option<String>,
    /// With a bucket: what it has survived.
    pub acknowledged: Option<Level>,
    /// With a bucket: how far that was when the last of it was acknowledged.
    pub durable_position: Option<String>,
    /// Batches that had been applied before.
    pub duplicates: u64,
    /// The first bad rows of each acknowledgement.
    pub bad_rows: Vec<BadRow>,
    /// How many bad rows there were.
    pub bad_row_count: u64,
}

impl Written {
    fn add(&mut self, acknowledgement: Acknowledgement) {
        self.batches += acknowledgement.batches;
        self.rows += acknowledgement.rows;
        self.read_position = Some(acknowledgement.read_position);
        self.acknowledged = acknowledgement.acknowledged.or(self.acknowledged);
        self.durable_position = acknowledgement.durable_position.or(self.durable_position.take());
        self.duplicates += acknowledgement.duplicates;
        self.bad_rows.extend(acknowledgement.bad_rows);
        self.bad_row_count += acknowledgement.bad_row_count;
    }
}

/// A stream of batches into one table. Dropping it ends the stream, without a word of what was not yet acknowledged.
#[derive(Debug)]
pub struct Writer {
    encoder: Encoder,
    messages: mpsc::Sender<FlightData>,
    written: watch::Receiver<Written>,
    reader: AbortOnDropHandle<Result<()>>,
}

impl Writer {
    /// Opens a stream of batches with `schema`.
    pub(crate) fn open(mut stub: Stub, put: Put, schema: SchemaRef) -> Self {
        let mut encoder = Encoder::new(schema);
        let (messages, queue) = mpsc::channel(QUEUED_MESSAGES);
        let head = encoder.head(Command::Put(put).encode());
        messages.try_send(head).expect("the queue is empty");
        let (progress, written) = watch::channel(Written::default());
        let reader = AbortOnDropHandle::new(tokio::spawn(async move {
            let results = stub.do_put(ReceiverStream::new(queue)).await?.into_inner();
            read(results, &progress).await
        }));
        Self { encoder, messages, written, reader }
    }

    /// Sends one batch, which is applied whole or refused whole. If the stream has ended, [`Writer::finish`] says why.
    pub async fn send(&mut self, batch: &RecordBatch) -> Result<()> {
        self.send_with(batch, Vec::new()).await
    }

    /// Sends one batch that is applied exactly once, however often it is sent.
    pub async fn send_step(&mut self, batch: &RecordBatch, step: ProducerStep) -> Result<()> {
        self.send_with(batch, step.encode()).await
    }

    async fn send_with(&mut self, batch: &RecordBatch, metadata: Vec<u8>) -> Result<()> {
        for message in self.encoder.batch(batch, metadata)? {
            let ended = |_| Error::new(Kind::Cancelled, "the stream has ended; finish it to learn why");
            self.messages.send(message).await.map_err(ended)?;
        }
        Ok(())
    }

    /// What has been acknowledged so far; it can be waited on.
    pub fn written(&self) -> watch::Receiver<Written> {
        self.written.clone()
    }

    /// Ends the stream and waits for the last acknowledgement. What was acknowledged before an error is in the pair.
    pub async fn finish(self) -> (Written, Result<()>) {
        drop(self.messages);
        let end = match self.reader.await {
            Ok(end) => end,
            Err(error) => Err(Error::unreadable(error)),
        };
        (self.written.borrow().clone(), end)
    }
}

async fn read(mut results: Streaming<PutResult>, progress: &watch::Sender<Written>) -> Result<()> {
    while let Some(result) = results.message().await? {
        let acknowledgement = Acknowledgement::decode(&result.app_metadata).map_err(Error::unreadable)?;
        progress.send_modify(|written| written.add(acknowledgement));
    }
    Ok(())
}
