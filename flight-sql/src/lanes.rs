//! Where queries run: small ones where they arrive, all others on threads of their own, which give way to everything that
//! serves.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow_array::RecordBatch;
use firn_storage::error::{Error, Result};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::error::defect;

/// Batches of an answer.
pub type Batches = BoxStream<'static, Result<RecordBatch>>;

/// How much less than all that serves the threads of queries get of a core that both want.
const NICE: i32 = 10;
/// So many batches of a query lie ready for its client.
const READY_BATCHES: usize = 2;

/// Runs `work` on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.unwrap_or_else(|error| Err(defect(&format!("a statement ended its thread: {error}"))))
}

/// The threads of queries.
#[derive(Debug)]
pub(crate) struct Lanes {
    runtime: Option<Runtime>,
    permits: Arc<Semaphore>,
}

impl Lanes {
    /// `threads` threads for at most `queries_max` queries at once.
    pub(crate) fn new(threads: usize, queries_max: usize) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("firn-sql")
            .enable_time()
            .on_thread_start(|| {
                // Where it is refused, queries only share more evenly.
                let _ = rustix::process::nice(NICE);
            })
            .build()?;
        Ok(Self { runtime: Some(runtime), permits: Arc::new(Semaphore::new(queries_max)) })
    }

    /// Runs the query that `begin` begins on these threads. Who drops the batches ends it.
    pub(crate) fn run<F, S>(&self, begin: F) -> Batches
    where
        F: Future<Output = Result<S>> + Send + 'static,
        S: Stream<Item = Result<RecordBatch>> + Send + Unpin + 'static,
    {
        let (send, receive) = mpsc::channel(READY_BATCHES);
        let permits = Arc::clone(&self.permits);
        let runtime = self.runtime.as_ref().expect("it is there until it is dropped");
        let running = runtime.spawn(async move {
            let Ok(_permit) = permits.acquire_owned().await else { return };
            let mut batches = match begin.await {
                Ok(batches) => batches,
                Err(error) => return drop(send.send(Err(error)).await),
            };
            while let Some(batch) = batches.next().await {
                let failed = batch.is_err();
                if send.send(batch).await.is_err() || failed {
                    return;
                }
            }
        });
        let receiving = Receiving { receive, running: Some(running) };
        futures::stream::unfold(receiving, |mut receiving| async move {
            let next = receiving.next().await?;
            Some((next, receiving))
        })
        .boxed()
    }
}

/// Batches of a query that runs where it arrives. What panics in it is an error of this query alone.
pub(crate) fn guarded(batches: Batches) -> Batches {
    let guarded = AssertUnwindSafe(batches).catch_unwind();
    let guarded = guarded.map(|batch| batch.unwrap_or_else(|panic| Err(panicked(&*panic))));
    guarded.boxed()
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    defect(&format!("a query panicked: {}", said.unwrap_or("it did not say why")))
}

impl Drop for Lanes {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The end of a query that its client reads.
struct Receiving {
    receive: mpsc::Receiver<Result<RecordBatch>>,
    running: Option<JoinHandle<()>>,
}

impl Receiving {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        if let Some(batch) = self.receive.recv().await {
            return Some(batch);
        }
        let ended = self.running.take()?.await;
        match ended {
            Ok(()) => None,
            Err(error) if error.is_cancelled() => {
                Some(Err(Error::new(firn_storage::error::Kind::Unavailable, "the server is shutting down")))
            }
            Err(error) => Some(Err(defect(&format!("a query ended its task: {error}")))),
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}
