//! The memory that requests, answers and scans hold at once: one number of bytes for all of them.
//!
//! Whoever is about to hold memory that grows with what is asked *reserves* it before. What does not fit waits its turn,
//! and is refused after a while, or at once if it can never fit; the error names the setting. What is in memory already,
//! or may not wait because others wait for it, is *taken*: counted, never refused, and held against reservations up to
//! half of the budget, so that requests which wait cannot keep all room from their own answers. Both are given back by
//! being dropped.
//!
//! It counts what it is told, not what an allocator gives. Memtables, writes that wait for the log, and mapped files are
//! not in it: they have limits of their own. Merges and the building of packs take what they need, about: others wait for
//! them, so that they cannot.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Error, Result};

/// The budget of one database.
#[derive(Debug)]
pub struct Budget {
    bytes_max: u64,
    wait_max: Duration,
    reserved: AtomicU64,
    taken: AtomicU64,
    /// How many wait: what is given back looks here before it looks into the queue.
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<Waiting>>,
}

/// Somebody who waits for a reservation.
struct Waiting {
    bytes: u64,
    granted: Box<dyn FnOnce(Share) + Send>,
    /// Gone once nobody waits any more.
    place: Weak<()>,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Waiting for {} bytes", self.bytes)
    }
}

/// A share of a budget; dropped, it is given back.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: u64,
    kind: Kind,
}

/// How a share was got, and so how it grows.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// It waited, and waits for more.
    Reserved,
    /// It did not wait, and does not grow beyond this.
    Taken { bytes_max: u64 },
}

/// A place in the queue; who drops it waits no more.
#[derive(Debug)]
pub struct Place {
    budget: Arc<Budget>,
    place: Option<Arc<()>>,
}

impl Budget {
    /// A budget of `bytes_max` (`request-bytes-max`), for shares of which one waits at most `wait_max`
    /// (`request-wait-max`).
    pub fn new(bytes_max: u64, wait_max: Duration) -> Arc<Self> {
        let (reserved, taken) = (AtomicU64::new(0), AtomicU64::new(0));
        let (waiting, queue) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { bytes_max, wait_max, reserved, taken, waiting, queue })
    }

    /// The most that may be held.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// How long a share is waited for.
    pub fn wait_max(&self) -> Duration {
        self.wait_max
    }

    /// What is held now.
    pub fn held(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed).saturating_add(self.taken.load(Ordering::Relaxed))
    }

    /// Counts `bytes` that are in memory already, or that nobody may wait for. The share does not grow beyond `bytes_max`.
    pub fn take(self: &Arc<Self>, bytes: u64, bytes_max: u64) -> Share {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        Share { budget: Arc::clone(self), bytes, kind: Kind::Taken { bytes_max } }
    }

    /// A share of `bytes`, waited for on this thread.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Share> {
        let (send, receive) = sync_channel(1);
        // Who waited too long has dropped the receiver, and with it what was sent.
        let _place = self.reserve_later(bytes, move |granted| drop(send.send(granted)))?;
        receive.recv_timeout(self.wait_max).map_err(|_| self.exhausted(bytes))
    }

    /// A share of `bytes`: `granted` is told it, on this thread if there is room, else on that of whoever makes room; so it
    /// must be quick. It is not told once the place is dropped. An error if the share can never be had.
    pub fn reserve_later(self: &Arc<Self>, bytes: u64, granted: impl FnOnce(Share) + Send + 'static) -> Result<Place> {
        if bytes > self.bytes_max {
            return Err(Error::exhausted(format!(
                "this would take {bytes} bytes of memory, and all requests together may hold {} (request-bytes-max): ask \
                 for less at once, or raise it",
                self.bytes_max
            )));
        }
        let place = Arc::new(());
        if self.waiting.load(Ordering::SeqCst) == 0 && self.fits(bytes) {
            granted(self.share(bytes));
        } else {
            let waiting = Waiting { bytes, granted: Box::new(granted), place: Arc::downgrade(&place) };
            let mut queue = self.queue.lock();
            self.waiting.fetch_add(1, Ordering::SeqCst);
            queue.push_back(waiting);
            drop(queue);
            // What was given back meanwhile may not have seen it.
            self.grant();
        }
        Ok(Place { budget: Arc::clone(self), place: Some(place) })
    }

    /// The error of a share that was waited for in vain.
    pub fn exhausted(&self, bytes: u64) -> Error {
        Error::exhausted(format!(
            "requests hold {} of {} bytes (request-bytes-max), and {bytes} more did not come free within {:?} \
             (request-wait-max); ask again later",
            self.held(),
            self.bytes_max,
            self.wait_max
        ))
    }

    fn share(self: &Arc<Self>, bytes: u64) -> Share {
        Share { budget: Arc::clone(self), bytes, kind: Kind::Reserved }
    }

    /// Reserves `bytes` if there is room.
    fn fits(&self, bytes: u64) -> bool {
        let taken = self.taken.load(Ordering::SeqCst).min(self.bytes_max / 2);
        let room = |reserved: u64| {
            // What is larger than the room beside what was taken has it once nothing else is reserved.
            let fits = reserved + bytes + taken <= self.bytes_max || reserved == 0;
            fits.then_some(reserved + bytes)
        };
        self.reserved.fetch_update(Ordering::SeqCst, Ordering::SeqCst, room).is_ok()
    }

    /// Grants what waits, in order, as far as there is room.
    fn grant(self: &Arc<Self>) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut granted = Vec::new();
        let mut queue = self.queue.lock();
        while let Some(first) = queue.front() {
            let waits = first.place.strong_count() > 0;
            if waits && !self.fits(first.bytes) {
                break;
            }
            let first = queue.pop_front().expect("it was looked at");
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            if waits {
                granted.push((self.share(first.bytes), first.granted));
            }
        }
        drop(queue);
        granted.into_iter().for_each(|(reservation, granted)| granted(reservation));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.place.take();
        self.budget.grant();
    }
}

impl Share {
    /// How much it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes it at least `bytes`: waits for the rest as it waited before; one that was taken is refused beyond its most.
    pub fn grow_to(&mut self, bytes: u64) -> Result<()> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|&more| more > 0) else { return Ok(()) };
        match self.kind {
            Kind::Taken { bytes_max } if bytes > bytes_max => return Err(self.budget.exhausted(more)),
            Kind::Taken { .. } => drop(self.budget.taken.fetch_add(more, Ordering::Relaxed)),
            // It is now a part of this one.
            Kind::Reserved => self.budget.reserve(more)?.bytes = 0,
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let counter = match self.kind {
            Kind::Reserved => &self.budget.reserved,
            Kind::Taken { .. } => &self.budget.taken,
        };
        let before = counter.fetch_sub(self.bytes, Ordering::SeqCst);
        assert!(before >= self.bytes, "no more is given back than was counted");
        self.budget.grant();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind as ErrorKind;

    fn budget(bytes_max: u64) -> Arc<Budget> {
        Budget::new(bytes_max, Duration::ZERO)
    }

    fn later(budget: &Arc<Budget>, bytes: u64) -> (Place, std::sync::mpsc::Receiver<Share>) {
        let (send, receive) = sync_channel(1);
        let place = budget.reserve_later(bytes, move |granted| drop(send.send(granted)));
        (place.expect("it can fit"), receive)
    }

    #[test]
    fn what_does_not_fit_waits_its_turn_and_what_cannot_fit_is_refused_by_name() {
        let budget = budget(100);
        let first = budget.reserve(60).expect("room");
        let (_second, second) = later(&budget, 50);
        let (_third, third) = later(&budget, 10);
        assert!(second.try_recv().is_err() && third.try_recv().is_err(), "the third waits behind the second");
        for bytes in [50, 101] {
            let refused = budget.reserve(bytes).expect_err("no room");
            assert_eq!(refused.kind(), ErrorKind::Exhausted);
            assert!(refused.message().contains("request-bytes-max"), "{refused:?}");
        }
        drop(first);
        let (second, third) = (second.try_recv().expect("room"), third.try_recv().expect("room"));
        assert_eq!((budget.held(), second.bytes(), third.bytes()), (60, 50, 10));
        drop((second, third));
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn who_waits_no_more_holds_nobody_up() {
        let budget = budget(100);
        let _first = budget.reserve(60).expect("room");
        let (place, never) = later(&budget, 50);
        let (_place, small) = later(&budget, 40);
        drop(place);
        assert!(never.try_recv().is_err());
        assert_eq!(small.try_recv().expect("room").bytes(), 40);
        assert_eq!(budget.held(), 60);
    }

    #[test]
    fn what_is_taken_is_counted_against_half_of_the_budget() {
        let budget = budget(100);
        let taken = budget.take(500, 600);
        let reserved = budget.reserve(50).expect("half is left");
        assert!(budget.reserve(1).is_err());
        drop(reserved);
        let all = budget.reserve(100).expect("alone, even the whole budget");
        assert_eq!(budget.held(), 600);
        drop((taken, all));
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_share_grows_within_its_bounds() {
        let budget = budget(100);
        let mut reserved = budget.reserve(10).expect("room");
        reserved.grow_to(5).expect("it is more already");
        reserved.grow_to(90).expect("room");
        assert!(reserved.grow_to(101).is_err());
        let mut taken = budget.take(1, 20);
        taken.grow_to(20).expect("within its most");
        assert!(taken.grow_to(21).is_err());
        assert_eq!((budget.held(), reserved.bytes(), taken.bytes()), (110, 90, 20));
    }

    #[test]
    fn many_threads_never_hold_more_than_there_is() {
        let budget = Budget::new(10, Duration::from_secs(60));
        let most = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let (budget, most) = (&budget, &most);
                scope.spawn(move || {
                    for round in 0..200 {
                        let held = budget.reserve(1 + (thread + round) % 10).expect("it comes free");
                        most.fetch_max(budget.held(), Ordering::SeqCst);
                        drop(held);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 10);
        assert_eq!((budget.held(), budget.queue.lock().len()), (0, 0));
    }
}
