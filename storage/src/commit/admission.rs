//! Room for what waits: bytes that are reserved before something is sent and given back when it is dropped.
//!
//! Whoever finds no room waits its turn, on a condition of its own or by being called back, so that threads and tasks stand
//! in one queue, and a large one is not overtaken for ever. What can never fit is refused at once. It does not know what is
//! in the bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;

use super::answer::{Done, closed};
use crate::error::{Error, Result};
use crate::statistics::Counter;

/// What the log keeps beside the cells of a row, generously.
const ROW_BYTES: u64 = 64;
/// What the log keeps beside the rows of a batch, generously.
const BATCH_BYTES: u64 = 16 << 10;

/// About how many bytes a batch takes on its way through the log: the one estimate, before and after it is proven.
pub fn batch_bytes(cell_bytes: usize, rows: usize) -> u64 {
    let cells = cell_bytes as u64;
    cells + cells / 4 + rows as u64 * ROW_BYTES + BATCH_BYTES
}

/// Bytes that may be taken by all together.
#[derive(Debug)]
pub struct Admission {
    /// The setting that says how many, for errors.
    limit: &'static str,
    bytes_max: u64,
    state: Mutex<State>,
    /// Shows how many are taken.
    taken: Arc<Counter>,
}

#[derive(Debug, Default)]
struct State {
    taken: u64,
    /// Who waits, in the order in which they came.
    waiting: VecDeque<(u64, Done<Reservation>)>,
    /// Why nobody is let in any more.
    closed: Option<Error>,
}

/// Bytes that are taken until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    bytes: u64,
    of: Arc<Admission>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.of.give_back(self.bytes);
    }
}

impl Admission {
    /// Room for `bytes_max` bytes, which the setting `limit` says; `taken` shows how many are taken.
    pub fn new(limit: &'static str, bytes_max: u64, taken: Arc<Counter>) -> Arc<Self> {
        Arc::new(Self { limit, bytes_max, state: Mutex::default(), taken })
    }

    /// Calls `ready` with room for `bytes` as soon as there is, perhaps at once, on any thread; or with why there never
    /// will be.
    pub fn reserve_then(self: &Arc<Self>, bytes: u64, ready: Done<Reservation>) {
        let outcome = {
            let mut state = self.state.lock();
            if let Some(error) = state.closed.clone() {
                Err(error)
            } else if bytes > self.bytes_max {
                Err(self.never_fits(bytes))
            } else if state.waiting.is_empty() && state.taken + bytes <= self.bytes_max {
                Ok(self.take(&mut state, bytes))
            } else {
                return state.waiting.push_back((bytes, ready));
            }
        };
        ready.answer(outcome);
    }

    /// Room for `bytes`, waiting for it no longer than `wait`.
    pub fn reserve(self: &Arc<Self>, bytes: u64, wait: Duration) -> Result<Reservation> {
        let (send, receive) = sync_channel(1);
        let ready = Done::new(move |room| {
            // Whoever waited has given up: the room goes back.
            let _ = send.send(room);
        });
        self.reserve_then(bytes, ready);
        match receive.recv_timeout(wait) {
            Ok(room) => room,
            Err(RecvTimeoutError::Timeout) => Err(self.full()),
            Err(RecvTimeoutError::Disconnected) => Err(closed()),
        }
    }

    /// Room for `bytes` if there is some now.
    pub fn try_reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation> {
        self.reserve(bytes, Duration::ZERO)
    }

    /// Lets nobody in any more, and tells those who wait.
    pub fn close(&self, error: &Error) {
        let waiting = {
            let mut state = self.state.lock();
            state.closed.get_or_insert_with(|| error.clone());
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(|(_, ready)| ready.answer(Err(error.clone())));
    }

    fn take(self: &Arc<Self>, state: &mut State, bytes: u64) -> Reservation {
        state.taken += bytes;
        assert!(state.taken <= self.bytes_max, "no more is taken than there is");
        self.taken.set(state.taken);
        Reservation { bytes, of: Arc::clone(self) }
    }

    fn give_back(self: &Arc<Self>, bytes: u64) {
        let mut let_in = Vec::new();
        {
            let mut state = self.state.lock();
            assert!(state.taken >= bytes, "what is given back was taken");
            state.taken -= bytes;
            while let Some((next, ready)) = state.waiting.pop_front() {
                if state.taken + next > self.bytes_max {
                    state.waiting.push_front((next, ready));
                    break;
                }
                let_in.push((self.take(&mut state, next), ready));
            }
            self.taken.set(state.taken);
        }
        let_in.into_iter().for_each(|(room, ready)| ready.answer(Ok(room)));
    }

    fn never_fits(&self, bytes: u64) -> Error {
        let Self { limit, bytes_max, .. } = self;
        Error::exhausted(format!(
            "the batch takes about {bytes} bytes on its way to the log, and {limit} lets {bytes_max} wait there; send \
             smaller batches, or raise {limit}"
        ))
    }

    fn full(&self) -> Error {
        let Self { limit, bytes_max, .. } = self;
        Error::exhausted(format!(
            "writes of {bytes_max} bytes wait for the log (limit {limit}) and there was no room in time; send slower, or \
             again later"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::error::Kind;

    fn admission() -> Arc<Admission> {
        Admission::new("queue-bytes-max", 100, Arc::default())
    }

    #[test]
    fn what_can_never_fit_is_refused_at_once_and_names_the_setting() {
        let error = admission().reserve(101, Duration::from_secs(3600)).unwrap_err();
        assert_eq!(error.kind(), Kind::Exhausted);
        assert!(error.message().contains("queue-bytes-max"), "{error}");
        admission().reserve(100, Duration::ZERO).unwrap();
    }

    #[test]
    fn who_waits_is_let_in_in_turn_and_nobody_overtakes() {
        let admission = admission();
        let first = admission.reserve(60, Duration::ZERO).unwrap();
        let (send, let_in) = channel();
        for bytes in [50, 40, 100] {
            let send = send.clone();
            admission.reserve_then(bytes, Done::new(move |room| send.send((bytes, room.unwrap())).unwrap()));
        }
        let error = admission.try_reserve(1).unwrap_err();
        assert!(error.message().contains("queue-bytes-max"), "{error}");
        assert!(let_in.try_recv().is_err(), "there are only 40 bytes, and the first in turn wants 50");
        drop(first);
        let (second, third) = (let_in.recv().unwrap(), let_in.recv().unwrap());
        assert_eq!((second.0, third.0), (50, 40));
        assert!(let_in.try_recv().is_err());
        assert_eq!(admission.taken.get(), 90);
        drop((second, third));
        let last = let_in.recv().unwrap();
        assert_eq!(last.0, 100);
        drop(last);
        assert_eq!(admission.taken.get(), 0, "also what the one who gave up was given");
    }

    #[test]
    fn closing_tells_all_that_wait_and_all_that_come() {
        let admission = admission();
        let _all = admission.reserve(100, Duration::ZERO).unwrap();
        let (send, told) = channel();
        admission.reserve_then(1, Done::new(move |room| send.send(room.map(drop)).unwrap()));
        admission.close(&closed());
        assert_eq!(told.recv().unwrap().unwrap_err().kind(), Kind::Unavailable);
        assert_eq!(admission.reserve(1, Duration::ZERO).unwrap_err().kind(), Kind::Unavailable);
    }
}
