//! The threads that serve: a connection stays on one of them for as long as it is open.
//!
//! So a request is read, answered and written by one core, without another thread to be woken and without what the
//! first core has just made going through the caches of a second one. A new connection goes to the thread with the
//! fewest. Large requests are worked on elsewhere (`service/resources/mod.rs`), so that neighbours do not wait for them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use futures::Stream;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::connection::{Accepted, Connection, Place};

/// The connections of one thread.
pub type Incoming = Pin<Box<dyn Stream<Item = io::Result<Connection>> + Send>>;

/// One thread that serves.
#[derive(Debug)]
pub struct ServingThread {
    connections: mpsc::UnboundedSender<Accepted>,
    open: Arc<AtomicUsize>,
    serving: AbortHandle,
    /// None once it has.
    ended: Option<oneshot::Receiver<()>>,
}

/// Where new connections go.
#[derive(Debug)]
pub struct Doors(Vec<(mpsc::UnboundedSender<Accepted>, Arc<AtomicUsize>)>);

impl ServingThread {
    /// Starts a thread that runs `serve` over the connections that it is given.
    pub fn start<F>(number: usize, serve: impl FnOnce(Incoming) -> F) -> Result<Self, String>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (connections, mut accepted) = mpsc::unbounded_channel::<Accepted>();
        let incoming = futures::stream::poll_fn(move |context| {
            accepted.poll_recv(context).map(|accepted| accepted.map(Accepted::into_connection))
        });
        let serve = serve(Box::pin(incoming));
        let (ending, ended) = oneshot::channel();
        let (starting, started) = sync_channel(1);
        // The runtime lives and dies on its own thread: inside of another one it may do neither.
        let run = move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(starting.send(Err(error))),
            };
            let serving = runtime.spawn(serve);
            // Whoever started it is waiting.
            let _ = starting.send(Ok(serving.abort_handle()));
            // An error means that it panicked, which the log has seen, or that it was aborted.
            let _ = runtime.block_on(serving);
            runtime.shutdown_background();
            // Nobody listens once the server is gone.
            let _ = ending.send(());
        };
        let failed = |error: io::Error| format!("could not start a thread that serves (serving-threads): {error}");
        std::thread::Builder::new().name(format!("firn-serve-{number}")).spawn(run).map_err(failed)?;
        let serving = started.recv().map_err(|error| failed(io::Error::other(error)))?.map_err(failed)?;
        Ok(Self { connections, open: Arc::default(), serving, ended: Some(ended) })
    }

    /// Waits until all that it accepted is finished.
    pub async fn ended(&mut self) {
        if let Some(ended) = &mut self.ended {
            // A dropped sender means the same.
            let _ = ended.await;
            self.ended = None;
        }
    }

    /// Cuts off what still runs.
    pub fn abort(&self) {
        self.serving.abort();
    }
}

impl Doors {
    /// The doors of `threads`.
    pub fn new(threads: &[ServingThread]) -> Self {
        Self(threads.iter().map(|thread| (thread.connections.clone(), Arc::clone(&thread.open))).collect())
    }

    /// Gives a connection, which `accept` makes of its place, to the thread with the fewest.
    pub fn enter(&self, accept: impl FnOnce(Place) -> Accepted) {
        let serving = self.0.iter().filter(|(thread, _)| !thread.is_closed());
        let Some((thread, open)) = serving.min_by_key(|(_, open)| open.load(Ordering::Relaxed)) else { return };
        // A thread that has just ended takes none: the connection is closed.
        let _ = thread.send(accept(Place::new(open)));
    }
}
