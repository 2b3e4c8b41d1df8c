//! Jobs on their way to the log's writer.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

use super::{Done, Frozen, Job, closed};
use crate::error::{Error, Result};
use crate::statistics::Statistics;

/// A bounded queue: its bytes are limited, its order is kept.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: u64,
    stopped: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} jobs of {} bytes", self.jobs.len(), self.bytes)
    }
}

impl Job {
    fn bytes(&self) -> u64 {
        match self {
            Self::Write(prepared, _) => prepared.bytes(),
            _ => 0,
        }
    }

    /// Answers the job with an error.
    pub(super) fn refuse(self, error: Error) {
        match self {
            Self::Write(_, done) => done(Err(error)),
            Self::Change(_, done) => done(Err(error)),
            Self::Erase(_, done) => done(Err(error)),
            Self::Freeze(_, done) => done(Err(error)),
            Self::Stop => {}
        }
    }
}

impl Queue {
    /// Adds `job`, or answers it with an error if more than `bytes_max` wait or the writer stopped.
    pub fn put(&self, job: Job, bytes_max: u64, statistics: &Statistics) {
        let refused = self.try_put(job, bytes_max, statistics);
        if let Err((job, error)) = refused {
            job.refuse(error);
        }
    }

    fn try_put(&self, job: Job, bytes_max: u64, statistics: &Statistics) -> Result<(), (Job, Error)> {
        let mut state = self.state.lock();
        if state.stopped {
            return Err((job, closed()));
        }
        let bytes = job.bytes();
        if bytes > 0 && state.bytes > 0 && state.bytes + bytes > bytes_max {
            let error = Error::exhausted(format!(
                "writes of more than {bytes_max} bytes wait for the log (limit queue-bytes-max); send slower, or again later"
            ));
            return Err((job, error));
        }
        state.stopped = matches!(job, Job::Stop);
        state.bytes += bytes;
        statistics.queue_bytes.set(state.bytes);
        state.jobs.push_back(job);
        self.filled.notify_one();
        Ok(())
    }

    /// Takes the freezes out of the queue, before what waits ahead of them.
    pub(super) fn take_freezes(&self) -> Vec<(Vec<u32>, Done<Frozen>)> {
        let mut state = self.state.lock();
        let (freezes, others) =
            std::mem::take(&mut state.jobs).into_iter().partition(|job| matches!(job, Job::Freeze(..)));
        state.jobs = others;
        let freezes: VecDeque<Job> = freezes;
        let freezes = freezes.into_iter().filter_map(|job| match job {
            Job::Freeze(tables, done) => Some((tables, done)),
            _ => None,
        });
        freezes.collect()
    }

    /// Waits for jobs and takes as many as one group may hold.
    pub fn take(&self, group_bytes_max: u64, statistics: &Statistics) -> Vec<Job> {
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
        state.bytes -= bytes;
        statistics.queue_bytes.set(state.bytes);
        jobs
    }
}
