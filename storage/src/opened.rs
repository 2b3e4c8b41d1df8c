//! A database that is open: its state, its log's queue, and its threads, which end before it does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::background;
use crate::commit::{Job, Queue, spawn};
use crate::config::Options;
use crate::engine::{Engine, Lasting};
use crate::error::Result;
use crate::recovery;

/// An open database. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) engine: Arc<Engine>,
    pub(crate) queue: Arc<Queue>,
    threads: Mutex<Threads>,
}

#[derive(Debug, Default)]
struct Threads {
    committer: Option<JoinHandle<Result<()>>>,
    background: Vec<JoinHandle<()>>,
    upload: Option<JoinHandle<()>>,
}

impl Opened {
    /// Opens the database of `options`, the `opening`-th time in this process.
    pub(crate) fn open(options: Options, lasting: &Lasting, opening: u64) -> Result<Arc<Self>> {
        let in_background = options.background;
        let (engine, committer) = recovery::open(options, lasting, opening)?;
        let taken = Arc::clone(&engine.statistics.queue_bytes);
        let queue = Arc::new(Queue::new(engine.options.queue_bytes_max, taken));
        let committer = spawn("firn-commit", &engine, &queue, move |_, queue| committer.run(queue))?;
        let threads = Mutex::new(Threads { committer: Some(committer), ..Threads::default() });
        // From here on dropping it stops what was started.
        let opened = Arc::new(Self { engine, queue, threads });
        opened.threads.lock().upload = background::start_upload(&opened.engine, &opened.queue)?;
        if in_background {
            opened.threads.lock().background = background::start(&opened.engine, &opened.queue)?;
        }
        Ok(opened)
    }

    /// Stops background work, finishes what was accepted, and closes the log cleanly. Reads at latest go on.
    pub(crate) fn close(&self) -> Result<()> {
        let mut threads = self.threads.lock();
        recovery::begin_close(&self.engine);
        // A thread that panicked has poisoned the database; the others go on to their end, the log's last.
        threads.background.drain(..).for_each(|thread| drop(thread.join()));
        let Some(committer) = threads.committer.take() else { return Ok(()) };
        self.queue.put(Job::Stop);
        let closed = committer.join().unwrap_or(Ok(()));
        self.engine.log_ended.store(true, Ordering::SeqCst);
        if let (Some(home), Some(upload)) = (&self.engine.home, threads.upload.take()) {
            home.wake();
            drop(upload.join());
        }
        self.engine.poison.check().and(closed)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the database did not close cleanly; the next opening recovers");
        }
    }
}
