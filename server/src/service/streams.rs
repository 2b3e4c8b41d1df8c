//! Streams of messages, both ways. What a client is sent is made message by message, when the transport asks for it.

use std::pin::Pin;

use arrow_flight::FlightData;
use futures::Stream;
use futures::stream::{BoxStream, Peekable};
use tonic::Status;

use crate::metrics::Metrics;

/// What a client sends on a stream; its first message can be looked at before it is taken.
pub(super) type Messages = Peekable<BoxStream<'static, Result<FlightData, Status>>>;

/// A stream of answers.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Where the messages of an answer come from.
pub(super) trait Source: Send + Sized {
    /// A message.
    type Message: Send;

    /// The next message; none at the end. After an error there is none.
    fn next(&mut self) -> impl Future<Output = Result<Option<Self::Message>, Status>> + Send;

    /// Where a failure is counted, and as a failure of which call.
    fn counted(&self) -> (&Metrics, &'static str);
}

/// The messages of `source` as a stream that ends with the first error, which is counted.
pub(super) fn stream<S: Source>(source: S) -> impl Stream<Item = Result<S::Message, Status>> + Send {
    futures::stream::try_unfold(source, |mut source| async move {
        match source.next().await {
            Ok(message) => Ok(message.map(|message| (message, source))),
            Err(status) => {
                let (metrics, call) = source.counted();
                metrics.failed(call, status.code());
                Err(status)
            }
        }
    })
}
