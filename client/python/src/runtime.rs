//! The threads that calls run on: those of this process, made at its first call.
//!
//! A fork copies memory but no threads. A child that finds its parent's runtime leaves it where it lies, untouched: even
//! dropping it would wait for threads that are not there. No lock is taken on the way, for the fork may have come while
//! another thread held it.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::runtime::{Builder, Handle, Runtime};

/// Enough to read one answer while another is sent; the caller's own thread does the rest.
const THREADS: usize = 2;

/// Something of one process, which is of no use in those forked from it.
#[derive(Debug)]
pub(crate) struct OfProcess<T> {
    found: ArcSwapOption<(u32, T)>,
}

impl<T> OfProcess<T> {
    /// Nothing yet, in any process.
    pub(crate) const fn new() -> Self {
        Self { found: ArcSwapOption::const_empty() }
    }

    /// What this process has, if that was made.
    pub(crate) fn get(&self) -> Option<Arc<(u32, T)>> {
        self.found.load_full().filter(|found| found.0 == std::process::id())
    }

    /// Forgets what this process has.
    pub(crate) fn clear(&self) {
        if self.get().is_some() {
            self.found.store(None);
        }
    }

    /// What this process has, made now if need be. Of several that are made at once one stays.
    pub(crate) fn get_or_make<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<(u32, T)>, E> {
        if let Some(found) = self.get() {
            return Ok(found);
        }
        let ours = Arc::new((std::process::id(), make()?));
        loop {
            let before = self.found.load_full();
            match &before {
                Some(other) if other.0 == ours.0 => return Ok(Arc::clone(other)),
                _ => {
                    let seen = self.found.compare_and_swap(&before, Some(Arc::clone(&ours)));
                    let swapped = match (&*seen, &before) {
                        (Some(seen), Some(before)) => Arc::ptr_eq(seen, before),
                        (seen, before) => seen.is_none() && before.is_none(),
                    };
                    if swapped {
                        // A parent's is never dropped.
                        std::mem::forget(before);
                        return Ok(ours);
                    }
                }
            }
        }
    }
}

impl<T> Drop for OfProcess<T> {
    fn drop(&mut self) {
        if let Some(found) = self.found.swap(None)
            && found.0 != std::process::id()
        {
            std::mem::forget(found);
        }
    }
}

/// A part of an open stream. In a process that was forked from its own it is left where it lies, untouched.
#[derive(Debug)]
pub(crate) struct Ours<T> {
    process: u32,
    part: Option<T>,
}

impl<T> Ours<T> {
    pub(crate) fn new(part: T) -> Self {
        Self { process: std::process::id(), part: Some(part) }
    }

    /// The part, if this is the process that it is of.
    pub(crate) fn get(&self) -> Option<&T> {
        self.part.as_ref().filter(|_| self.process == std::process::id())
    }
}

impl<T> Drop for Ours<T> {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            std::mem::forget(self.part.take());
        }
    }
}

static RUNTIME: OfProcess<Runtime> = OfProcess::new();

/// The runtime of this process.
pub(crate) fn handle() -> io::Result<Handle> {
    let make = || Builder::new_multi_thread().worker_threads(THREADS).thread_name("firndb").enable_all().build();
    Ok(RUNTIME.get_or_make(make)?.1.handle().clone())
}
