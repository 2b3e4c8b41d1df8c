//! Jobs on their way to the log's writer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use parking_lot::{Condvar, Mutex};

use super::admission::Admission;
use super::answer::{Done, closed};
use super::frozen::Frozen;
use super::job::Job;
use crate::error::{Error, Result};
use crate::statistics::Counter;

/// A bounded queue. Writes, changes and erases keep their order; freezes overtake them, for in a group that waits for room
/// they are what makes it, and they change nothing that the others meet. Who sends a write has reserved its bytes before.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    admission: Arc<Admission>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Why nothing more is taken.
    stopped: Option<Error>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} jobs", self.jobs.len())
    }
}

impl Queue {
    /// An empty queue for writes of `bytes_max` bytes; `taken` shows how many are taken.
    pub fn new(bytes_max: u64, taken: Arc<Counter>) -> Self {
        let admission = Admission::new("queue-bytes-max", bytes_max, taken);
        Self { state: Mutex::default(), filled: Condvar::new(), admission }
    }

    /// Where writes reserve their bytes.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Adds `job`, or answers it with an error if the writer stopped.
    pub fn put(&self, job: Job) {
        let stopped = {
            let mut state = self.state.lock();
            match state.stopped.clone() {
                Some(error) => error,
                None => {
                    state.stopped = matches!(job, Job::Stop).then(closed);
                    state.jobs.push_back(job);
                    self.filled.notify_one();
                    return;
                }
            }
        };
        job.refuse(stopped);
    }

    /// Adds what `job` makes of who is answered, and waits for the answer.
    pub(crate) fn ask<T: Send + 'static>(&self, job: impl FnOnce(Done<T>) -> Job) -> Result<T> {
        let (send, receive) = sync_channel(1);
        let done = Done::new(move |answer| {
            // The receiver is gone only if the waiting thread panicked.
            let _ = send.send(answer);
        });
        self.put(job(done));
        receive.recv().map_err(|_| closed())?
    }

    /// Refuses what waits and all that comes later with `error`, and lets the writer stop.
    pub(super) fn stop(&self, error: &Error) {
        let refused = {
            let mut state = self.state.lock();
            state.stopped.get_or_insert_with(|| error.clone());
            std::mem::replace(&mut state.jobs, VecDeque::from([Job::Stop]))
        };
        self.filled.notify_one();
        refused.into_iter().for_each(|job| job.refuse(error.clone()));
        self.admission.close(error);
    }

    /// Takes the freezes out of the queue, before what waits ahead of them.
    pub(super) fn take_freezes(&self) -> Vec<(Vec<u32>, Done<Frozen>)> {
        let mut state = self.state.lock();
        let (freezes, others): (VecDeque<Job>, _) =
            std::mem::take(&mut state.jobs).into_iter().partition(|job| matches!(job, Job::Freeze(..)));
        state.jobs = others;
        let freezes = freezes.into_iter().filter_map(|job| match job {
            Job::Freeze(tables, done) => Some((tables, done)),
            _ => None,
        });
        freezes.collect()
    }

    /// Waits for jobs and takes as many as one group may hold.
    pub fn take(&self, group_bytes_max: u64) -> Vec<Job> {
        let mut state = self.state.lock();
        while state.jobs.is_empty() {
            self.filled.wait(&mut state);
        }
        let mut jobs = Vec::new();
        let mut bytes = 0;
        while let Some(job) = state.jobs.pop_front() {
            bytes += job.bytes();
            jobs.push(job);
            if bytes >= group_bytes_max {
                break;
            }
        }
        jobs
    }
}
