//! The guard of a thread of the engine: no thread dies unseen.
//!
//! Each thread that the engine starts holds one. If it panics, the guard poisons the database, so that metrics, `/ready` and
//! the log say so, and stops the log's queue: what waits for the dead thread is refused, and so is all that comes later. Hence
//! the waits in this crate that have no deadline: for a job of the log, for an answer of it, for a thread to end. Each of them
//! ends when the thread that it waits for does, however that ends.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::answer::closed;
use super::queue::Queue;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};

/// Held by a thread as long as it lives.
#[derive(Debug)]
pub(crate) struct Guard {
    thread: &'static str,
    engine: Arc<Engine>,
    queue: Arc<Queue>,
}

/// Starts the thread `name` of the engine under a guard.
pub(crate) fn spawn<T: Send + 'static>(
    name: &'static str,
    engine: &Arc<Engine>,
    queue: &Arc<Queue>,
    body: impl FnOnce(&Arc<Engine>, &Queue) -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    let guard = Guard { thread: name, engine: Arc::clone(engine), queue: Arc::clone(queue) };
    #[expect(clippy::disallowed_methods, reason = "this is where threads of the engine are started")]
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || body(&guard.engine, &guard.queue));
    spawned.map_err(|error| Error::exhausted(format!("could not start the thread {name}: {error}")))
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let what = format!("the thread {} met a defect and ended; the log of the server says where", self.thread);
        self.engine.poison.set(&Error::new(Kind::Poisoned, what));
        let error = self.engine.poison.get().cloned();
        self.queue.stop(&error.unwrap_or_else(closed));
        self.engine.room.ring();
        self.engine.work.ring();
    }
}
