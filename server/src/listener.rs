//! Accepting connections: bounded in number, each counted until it closes.
//!
//! A connection that says nothing would keep its place for ever, for pings begin only after the greeting of HTTP/2. So
//! its first bytes must come within `keepalive-timeout`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::transport::server::Connected;

use crate::metrics::Metrics;

/// How long accepting rests after an error such as too many open files.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// The greeting of HTTP/2, which a client sends before anything else.
const GREETING_BYTES: usize = 24;

/// What a new connection still has to say, and until when.
#[derive(Debug)]
struct Greeting {
    bytes: usize,
    deadline: Pin<Box<Sleep>>,
}

/// A connection that holds its place among the open ones.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    metrics: Arc<Metrics>,
    greeting: Option<Greeting>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        let Some(greeting) = &mut self.greeting else { return read };
        greeting.bytes = greeting.bytes.saturating_sub(into.filled().len() - before);
        if greeting.bytes == 0 {
            self.greeting = None;
        } else if greeting.deadline.as_mut().poll(context).is_ready() {
            let silent = "the connection said nothing within keepalive-timeout";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, silent)));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The connections of `listener`, at most `connections_max` open at once. It never ends and never fails: an error of
/// accepting is logged, and accepting goes on after a pause.
pub fn connections(
    listener: TcpListener,
    connections_max: usize,
    greeting_wait: Duration,
    metrics: Arc<Metrics>,
) -> impl Stream<Item = io::Result<Connection>> {
    let places = Arc::new(Semaphore::new(connections_max));
    futures::stream::unfold((listener, places, metrics), move |(listener, places, metrics)| async move {
        let place = Arc::clone(&places).acquire_owned().await.ok()?;
        let stream = loop {
            match listener.accept().await {
                Ok((stream, _)) => break stream,
                Err(error) => {
                    tracing::warn!("could not accept a connection: {error}");
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("could not turn off Nagle's algorithm: {error}");
        }
        metrics.connections.inc();
        let deadline = Box::pin(tokio::time::sleep(greeting_wait));
        let greeting = Some(Greeting { bytes: GREETING_BYTES, deadline });
        let connection = Connection { stream, metrics: Arc::clone(&metrics), greeting, _place: place };
        Some((Ok(connection), (listener, places, metrics)))
    })
}
