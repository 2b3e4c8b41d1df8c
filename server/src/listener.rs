//! Accepting connections: bounded in number, each counted until it closes.
//!
//! A connection that says nothing would keep its place for ever, for pings begin only after the greeting of HTTP/2. So
//! its first bytes must come within `keepalive-timeout`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::transport::server::Connected;

use crate::metrics::Metrics;
use crate::serving::{Doors, Place};
use crate::shutdown::Told;

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
    greeting: Option<Greeting>,
    _counted: Counted,
}

/// A connection that was accepted and not yet taken by the thread that serves it.
#[derive(Debug)]
pub struct Accepted {
    stream: std::net::TcpStream,
    greeting_wait: Duration,
    counted: Counted,
}

/// A place among all open connections, and one among those of a thread.
#[derive(Debug)]
struct Counted {
    metrics: Arc<Metrics>,
    _place: OwnedSemaphorePermit,
    _of_thread: Place,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

impl Accepted {
    /// The connection, in the runtime that serves it.
    pub fn into_connection(self) -> io::Result<Connection> {
        let deadline = Box::pin(tokio::time::sleep(self.greeting_wait));
        let greeting = Some(Greeting { bytes: GREETING_BYTES, deadline });
        Ok(Connection { stream: TcpStream::from_std(self.stream)?, greeting, _counted: self.counted })
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

/// Accepts the connections of `listener`, at most `connections_max` open at once, until the server stops. It never
/// fails: an error of accepting is logged, and accepting goes on after a pause.
pub async fn accept(
    listener: TcpListener,
    doors: Doors,
    connections_max: usize,
    greeting_wait: Duration,
    metrics: Arc<Metrics>,
    mut told: Told,
) {
    let places = Arc::new(Semaphore::new(connections_max));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, next(&listener).await)
        };
        let (place, stream) = tokio::select! {
            next = next => next,
            () = told.wait() => return,
        };
        let Ok(place) = place else { return };
        metrics.connections.inc();
        doors.enter(|of_thread| {
            let counted = Counted { metrics: Arc::clone(&metrics), _place: place, _of_thread: of_thread };
            Accepted { stream, greeting_wait, counted }
        });
    }
}

async fn next(listener: &TcpListener) -> std::net::TcpStream {
    loop {
        let accepted = listener.accept().await.and_then(|(stream, _)| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!("could not turn off Nagle's algorithm: {error}");
            }
            stream.into_std()
        });
        match accepted {
            Ok(stream) => return stream,
            Err(error) => {
                tracing::warn!("could not accept a connection: {error}");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}
