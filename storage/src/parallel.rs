//! Spreading the parts of one large read over threads. Small reads stay on the caller's.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::error::Result;

/// `work` of each item, in the order of the items; the first error ends it.
pub(crate) fn map<T: Send, R: Send>(
    items: Vec<T>,
    threads: usize,
    work: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    if threads <= 1 || items.len() <= 1 {
        return items.into_iter().map(work).collect();
    }
    let slots: Vec<Mutex<Option<T>>> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
    let answers: Vec<Mutex<Option<Result<R>>>> = slots.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(slot) = slots.get(index) else { return };
            let item = slot.lock().take().expect("each slot is taken once");
            *answers[index].lock() = Some(work(item));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(slots.len()) {
            // Without another thread there is less at once. A panic of one goes on in the caller, and ends its request.
            if std::thread::Builder::new().name("firn-read".to_owned()).spawn_scoped(scope, run).is_err() {
                break;
            }
        }
        run();
    });
    answers.into_iter().map(|answer| answer.into_inner().expect("every slot was worked on")).collect()
}

/// [`map`] over items that are changed in place.
pub(crate) fn map_mut<T: Send, R: Send>(
    items: &mut [T],
    threads: usize,
    work: impl Fn(&mut T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    map(items.iter_mut().collect(), threads, work)
}
