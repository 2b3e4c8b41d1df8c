//! Where queries run: on threads of their own, which give way to everything that serves. Calls and small queries have some,
//! and all other queries others, so that one that works for long keeps nobody waiting.

use std::sync::Arc;

use arrow_array::RecordBatch;
use firn_storage::error::{Error, Result};
use firn_storage::priority::give_way;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use crate::error::defect;

/// Batches of an answer.
pub type Batches = BoxStream<'static, Result<RecordBatch>>;

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
    /// Of calls, and of queries that look at few rows.
    pub(crate) small: Lane,
    /// Of all other queries, which give way to those too.
    pub(crate) large: Lane,
}

impl Lanes {
    /// `threads` threads each, the large one for at most `queries_max` queries at once.
    pub(crate) fn new(threads: usize, queries_max: usize) -> std::io::Result<Self> {
        let small = Lane::new("firn-sql-small", threads, NICE_OF_SMALL, Semaphore::MAX_PERMITS)?;
        Ok(Self { small, large: Lane::new("firn-sql", threads, NICE_OF_LARGE, queries_max)? })
    }
}

/// How much less than all that serves the threads of small queries get of a core that both want.
const NICE_OF_SMALL: i32 = 5;
/// The same of all others.
const NICE_OF_LARGE: i32 = 10;

/// Threads that give way.
#[derive(Debug)]
pub(crate) struct Lane {
    runtime: Option<Runtime>,
    permits: Arc<Semaphore>,
}

impl Lane {
    fn new(name: &str, threads: usize, nice: i32, queries_max: usize) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .enable_time()
            .on_thread_start(move || give_way(nice))
            .build()?;
        Ok(Self { runtime: Some(runtime), permits: Arc::new(Semaphore::new(queries_max)) })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is there until it is dropped")
    }

    /// Runs `call` on these threads. Who drops the answer ends it.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let called = AbortOnDropHandle::new(self.runtime().spawn(call)).await;
        called.unwrap_or_else(|error| Err(ended(&error)))
    }

    /// Runs the query that `begin` begins on these threads. Who drops the batches ends it.
    pub(crate) fn run<F, S>(&self, begin: F) -> Batches
    where
        F: Future<Output = Result<S>> + Send + 'static,
        S: Stream<Item = Result<RecordBatch>> + Send + Unpin + 'static,
    {
        let (send, receive) = mpsc::channel(READY_BATCHES);
        let permits = Arc::clone(&self.permits);
        let running = self.runtime().spawn(async move {
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
        let receiving = Receiving { receive, running: Some(AbortOnDropHandle::new(running)) };
        futures::stream::unfold(receiving, |mut receiving| async move {
            let next = receiving.next().await?;
            Some((next, receiving))
        })
        .boxed()
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Why a task has no answer. What panics in it is an error of this query alone.
fn ended(error: &JoinError) -> Error {
    match error.is_cancelled() {
        true => Error::new(firn_storage::error::Kind::Unavailable, "the server is shutting down"),
        false => defect(&format!("a query ended its task: {error}")),
    }
}

/// The end of a query that its client reads.
struct Receiving {
    receive: mpsc::Receiver<Result<RecordBatch>>,
    running: Option<AbortOnDropHandle<()>>,
}

impl Receiving {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        if let Some(batch) = self.receive.recv().await {
            return Some(batch);
        }
        self.running.take()?.await.err().map(|error| Err(ended(&error)))
    }
}
