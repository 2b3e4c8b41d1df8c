//! One attempt of each call, on threads of its own.
//!
//! The engine is synchronous and the clients of the clouds are not: an attempt runs on a small runtime that nobody else
//! uses, and whoever makes the call waits for it. Every attempt ends by itself within the time that it is given. It may
//! be made from any thread, also one of another runtime. An attempt that is given up may still land.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bytes::Bytes;
use firn_storage::error::{Error, Kind, Result};
use firn_storage::objects::{Listed, ObjectName};
use futures::StreamExt;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, GetResult, MultipartId, ObjectMeta, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::cloud::Store;
use crate::failure::Failure;
use crate::hedge::Hedge;
use crate::options::Options;

/// Threads for what blocks, which is to look up the address of a host.
const BLOCKING_THREADS_MAX: usize = 4;

/// A client of a store and the threads that it runs on.
#[derive(Debug)]
pub(crate) struct Wire {
    store: Arc<dyn Store>,
    prefix: String,
    options: Options,
    hedge: Arc<Hedge>,
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
}

/// The result of an attempt.
pub(crate) type Attempt<T> = std::result::Result<T, Failure>;

impl Wire {
    /// `store` below `prefix`, on threads of its own.
    pub(crate) fn new(store: Arc<dyn Store>, prefix: Option<&ObjectName>, options: Options) -> Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(options.threads.max(1)).max_blocking_threads(BLOCKING_THREADS_MAX);
        let runtime = builder.thread_name("firn-objects").enable_all().build().map_err(|error| {
            Error::new(Kind::Exhausted, format!("could not start the threads for the bucket: {error}"))
        })?;
        let prefix = prefix.map_or_else(String::new, |prefix| format!("{prefix}/"));
        let hedge = Arc::new(Hedge::new(options.hedge_percent));
        Ok(Self { store, prefix, options, hedge, runtime: Some(runtime) })
    }

    /// Creates `name`.
    pub(crate) fn create(&self, name: &ObjectName, bytes: &Bytes, limit: Duration) -> Attempt<()> {
        self.write(self.path(name), bytes, PutMode::Create, limit)
    }

    /// Writes `name`.
    pub(crate) fn put(&self, name: &ObjectName, bytes: &Bytes, limit: Duration) -> Attempt<()> {
        self.write(self.path(name), bytes, PutMode::Overwrite, limit)
    }

    /// Writes what is at `path`, as `mode` says.
    pub(crate) fn write(&self, path: Path, bytes: &Bytes, mode: PutMode, limit: Duration) -> Attempt<()> {
        let store = Arc::clone(&self.store);
        let payload = PutPayload::from_bytes(bytes.clone());
        self.run(async move { within(limit, store.put_opts(&path, payload, PutOptions::from(mode))).await.map(|_| ()) })
    }

    /// The content of `name`, or of a range of it: as many bytes as the store says that it sends.
    pub(crate) fn get(&self, name: &ObjectName, range: Option<Range<u64>>, limit: Duration) -> Attempt<Bytes> {
        let asked = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        self.read(self.path(name), asked, limit).map(|(body, _)| body)
    }

    /// The same for a `range` that somebody waits for: asked for once more if the answer is late.
    pub(crate) fn get_soon(&self, name: &ObjectName, range: Range<u64>, limit: Duration) -> Attempt<Bytes> {
        let (store, path, hedge) = (Arc::clone(&self.store), self.path(name), Arc::clone(&self.hedge));
        let limit_body = self.options.body_max(range.end - range.start);
        self.run(async move {
            let call = || {
                let asked = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
                within(limit, store.get_opts(&path, asked))
            };
            let (answer, again) = hedge.ask(call).await;
            if again {
                tracing::debug!(%path, "a range was asked for twice, because the first answer was late");
            }
            body_of(answer?, limit + limit_body).await.map(|(body, _)| body)
        })
    }

    /// What is `asked` of what is at `path`, and what the store says of it. The body has [`Options::body_max`] more time.
    pub(crate) fn read(&self, path: Path, asked: GetOptions, limit: Duration) -> Attempt<(Bytes, ObjectMeta)> {
        let (store, options) = (Arc::clone(&self.store), self.options.clone());
        self.run(async move {
            let answer = within(limit, store.get_opts(&path, asked)).await?;
            let length = answer.range.end - answer.range.start;
            body_of(answer, limit + options.body_max(length)).await
        })
    }

    /// The length of `name` in bytes. The store may not say why it does not know it.
    pub(crate) fn head(&self, name: &ObjectName, limit: Duration) -> Attempt<u64> {
        let (store, path) = (Arc::clone(&self.store), self.path(name));
        self.run(async move { within(limit, store.head(&path)).await.map(|found| found.size) })
    }

    /// Deletes `name`; [`Failure::Absent`] if there was no such object.
    pub(crate) fn delete(&self, name: &ObjectName, limit: Duration) -> Attempt<()> {
        let (store, path) = (Arc::clone(&self.store), self.path(name));
        self.run(async move {
            match timeout(limit, store.delete(&path)).await {
                // The stores that say so name the object, or answer with no words.
                Ok(Err(error @ object_store::Error::NotFound { .. })) => match Failure::of(&error) {
                    never @ Failure::Never(..) => Err(never),
                    _ => Err(Failure::Absent),
                },
                answer => answered(answer, limit),
            }
        })
    }

    /// Every object below `folder`, `""` for all; each page has `limit`.
    pub(crate) fn list(&self, folder: &str, limit: Duration) -> Attempt<Vec<Listed>> {
        let below = format!("{}{folder}", self.prefix);
        let below = (!below.is_empty()).then(|| Path::from(below));
        let (mut found, prefix) = (self.store.list(below.as_ref()), self.prefix.clone());
        self.run(async move {
            let mut listed = Vec::new();
            while let Some(object) = timeout(limit, found.next()).await.map_err(|_| Failure::Silence(limit))? {
                let object = object.map_err(|error| Failure::of(&error))?;
                // Objects of others may lie beside ours.
                let name = object.location.as_ref().strip_prefix(&prefix).and_then(|name| ObjectName::new(name).ok());
                listed.extend(name.map(|name| Listed { name, length: object.size }));
            }
            listed.sort_unstable_by(|one, other| one.name.cmp(&other.name));
            Ok(listed)
        })
    }

    /// Begins to write in parts what is to be at `path`: how the store calls that.
    pub(crate) fn begin(&self, path: Path, limit: Duration) -> Attempt<MultipartId> {
        let store = Arc::clone(&self.store);
        self.run(async move { within(limit, store.create_multipart(&path)).await })
    }

    /// Sends the part `index`, from 0.
    pub(crate) fn part(
        &self,
        path: Path,
        id: &MultipartId,
        index: usize,
        bytes: &Bytes,
        limit: Duration,
    ) -> Attempt<PartId> {
        let (store, id, payload) = (Arc::clone(&self.store), id.clone(), PutPayload::from_bytes(bytes.clone()));
        self.run(async move { within(limit, store.put_part(&path, &id, index, payload)).await })
    }

    /// Makes an object of all `parts`.
    pub(crate) fn complete(&self, path: Path, id: &MultipartId, parts: &[PartId], limit: Duration) -> Attempt<()> {
        let (store, id, parts) = (Arc::clone(&self.store), id.clone(), parts.to_vec());
        self.run(async move { within(limit, store.complete_multipart(&path, &id, parts)).await.map(|_| ()) })
    }

    /// Gives the parts up that were sent.
    pub(crate) fn abort(&self, path: Path, id: &MultipartId, limit: Duration) -> Attempt<()> {
        let (store, id) = (Arc::clone(&self.store), id.clone());
        self.run(async move { within(limit, store.abort_multipart(&path, &id)).await })
    }

    fn path(&self, name: &ObjectName) -> Path {
        Path::from(format!("{}{name}", self.prefix))
    }

    /// Runs `attempt`, which ends by itself, on the runtime, and waits for it.
    fn run<T: Send + 'static>(&self, attempt: impl Future<Output = Attempt<T>> + Send + 'static) -> Attempt<T> {
        let runtime = self.runtime.as_ref().expect("the runtime is taken when the wire is dropped");
        let (answer, waiting) = sync_channel(1);
        runtime.spawn(async move {
            // Whoever waits for it is there until it comes.
            let _ = answer.send(attempt.await);
        });
        let lost = |_| Err(Failure::Later(Kind::Unavailable, "the attempt ended without an answer".to_owned()));
        waiting.recv().unwrap_or_else(lost)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // To wait for the threads is not allowed on those of another runtime, and nothing is left to wait for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The body of `answer`, which comes within `limit`, and what the store says of the object.
async fn body_of(answer: GetResult, limit: Duration) -> Attempt<(Bytes, ObjectMeta)> {
    let (length, meta) = (answer.range.end - answer.range.start, answer.meta.clone());
    let body = within(limit, answer.bytes()).await?;
    if body.len() as u64 != length {
        let words = format!("{} bytes came of the {length} that the store announced", body.len());
        return Err(Failure::Later(Kind::Corrupt, words));
    }
    Ok((body, meta))
}

/// The answer of `call` if it comes in time.
async fn within<T>(limit: Duration, call: impl Future<Output = object_store::Result<T>>) -> Attempt<T> {
    answered(timeout(limit, call).await, limit)
}

fn answered<T>(answer: Result<object_store::Result<T>, tokio::time::error::Elapsed>, limit: Duration) -> Attempt<T> {
    answer.map_err(|_| Failure::Silence(limit))?.map_err(|error| Failure::of(&error))
}
