//! A connection: whose it is, counted until it closes, and closed if it says nothing.
//!
//! A connection that says nothing would keep its place for ever, for pings begin only after the greeting of HTTP/2. So
//! its first bytes must come within `keepalive-timeout`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tonic::transport::server::Connected;

use crate::access::Peer;
use crate::metrics::Metrics;

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
    peer: Peer,
    greeting: Option<Greeting>,
    _counted: Counted,
}

/// A connection that was accepted and not yet taken by the thread that serves it.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: std::net::TcpStream,
    /// Who made it.
    pub peer: Peer,
    /// How long its greeting may take.
    pub greeting_wait: Duration,
    /// Its places.
    pub counted: Counted,
}

/// A place among all open connections, and one among those of a thread.
#[derive(Debug)]
pub struct Counted {
    metrics: Arc<Metrics>,
    _place: OwnedSemaphorePermit,
    _of_thread: Place,
}

impl Counted {
    /// Counts a connection as open until it closes.
    pub fn new(metrics: Arc<Metrics>, place: OwnedSemaphorePermit, of_thread: Place) -> Self {
        metrics.connections.inc();
        Self { metrics, _place: place, _of_thread: of_thread }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

/// A place among the connections of one thread.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Place {
    /// One more among `open`.
    pub fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Accepted {
    /// The connection, in the runtime that serves it.
    pub fn into_connection(self) -> io::Result<Connection> {
        let deadline = Box::pin(tokio::time::sleep(self.greeting_wait));
        let greeting = Some(Greeting { bytes: GREETING_BYTES, deadline });
        let stream = TcpStream::from_std(self.stream)?;
        Ok(Connection { stream, peer: self.peer, greeting, _counted: self.counted })
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
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
