//! What a client is sent, one message after the other: each is made when the transport asks for it.

use futures::Stream;
use tonic::Status;

use crate::metrics::Metrics;

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
