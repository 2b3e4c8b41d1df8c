//! The log's one writer: every commit goes through its thread, in order.
//!
//! Waiting jobs are taken together: each is checked and appended to the WAL ([`ledger`]), one sync makes all of them
//! durable, then they are applied to the memtables in order ([`apply`]), small writes of one table together, and
//! published. A job is answered after that, so an acknowledged write is durable and readable. While a group is syncing
//! the next one gathers; there is no sleep.

mod admission;
mod answer;
mod apply;
mod deed;
mod follow;
mod frozen;
mod guard;
mod job;
mod ledger;
mod prepared;
mod queue;
pub mod record;
mod staged;
mod survival;

use std::sync::Arc;

use crate::engine::Engine;
use crate::erase::Erase;
use crate::error::{Error, Result};
use crate::memtable::BatchSteps;
use crate::model::catalog::Catalog;
use crate::time::Sequence;
use crate::versions::{VersionEntry, Versions};

pub use admission::{Admission, Reservation, batch_bytes};
pub use answer::{Committed, Done, Terms, closed};
pub use apply::note_widened;
use apply::{apply_batches, apply_version};
pub use deed::{Again, Deed};
pub use frozen::{Frozen, TableLog};
pub(crate) use guard::spawn;
pub use job::Job;
pub use ledger::LogEnd;
use ledger::{Ledger, Standing};
pub use prepared::Prepared;
pub use queue::Queue;
use staged::{Staged, StagedAlone, StagedWrite, together};
use survival::Survival;

/// Answers a job after its group was published.
type Answer = Box<dyn FnOnce()>;

/// The log's writer.
#[derive(Debug)]
pub struct Committer {
    engine: Arc<Engine>,
    ledger: Ledger,
}

impl Committer {
    /// A writer that goes on at `end`.
    pub fn new(engine: Arc<Engine>, end: LogEnd) -> Self {
        Self { ledger: Ledger::new(Arc::clone(&engine), end), engine }
    }

    /// Lets readers see the numbers of all producers that recovery found.
    pub(crate) fn show_producers(&self) {
        self.ledger.show_producers();
    }

    /// Lets the bucket have what recovery found.
    pub(crate) fn note_tail(&self) {
        self.ledger.note_tail();
    }

    /// Serves `queue` until it is told to stop, then closes the WAL.
    pub fn run(mut self, queue: &Queue) -> Result<()> {
        loop {
            let jobs = queue.take(self.engine.options.queue_bytes_max);
            if self.group(jobs, queue) {
                break;
            }
        }
        self.engine.published.fail(closed());
        self.ledger.close()
    }

    /// Commits one group of jobs; whether the writer must stop.
    fn group(&mut self, jobs: Vec<Job>, queue: &Queue) -> bool {
        // Freezes go first: in a group that waits for room they may be the only ones that can make it.
        let (freezes, jobs): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| matches!(job, Job::Freeze(..)));
        for job in freezes {
            if let Job::Freeze(tables, done) = job {
                done.answer(self.ledger.freeze(&tables));
            }
        }
        let writes = jobs.iter().any(|job| matches!(job, Job::Write(..) | Job::Follow(..)));
        let full = if writes { self.wait_for_room(queue) } else { None };
        let mut staged: Vec<Staged> = Vec::with_capacity(jobs.len());
        let mut stop = false;
        for job in jobs {
            match job {
                Job::Write(prepared, done) => match &full {
                    None => self.stage_write(prepared, done, &mut staged),
                    Some(error) => refuse(&prepared, done, error.clone()),
                },
                Job::Change(change, done) => match self.ledger.change(&change) {
                    Ok(entry) => staged.push(Staged::Alone(StagedAlone::Change { entry, done: Some(done) })),
                    Err(error) => done.answer(Err(error)),
                },
                Job::Erase(erase, done) => {
                    self.stage_erase(erase, done, &mut staged);
                    // What follows meets it applied: a write of an entity that it blocks must not pass beside it.
                    self.commit(std::mem::take(&mut staged));
                }
                Job::Follow(records, done) => done.answer(match &full {
                    None => self.follow(&records),
                    Some(error) => Err(error.clone()),
                }),
                Job::Freeze(..) => unreachable!("freezes were taken out of the group"),
                Job::Stop => stop = true,
            }
        }
        self.commit(staged);
        stop
    }

    /// Waits while memtables are over their budget; the error that writes get if that took too long. Freezes go on
    /// meanwhile: they are what makes room.
    fn wait_for_room(&mut self, queue: &Queue) -> Option<Error> {
        let engine = Arc::clone(&self.engine);
        let options = &engine.options;
        let mut overload = engine.overload().filter(|_| options.background)?;
        engine.statistics.stalls.add(1);
        let start = engine.clock.monotonic();
        let wait_max = i64::try_from(options.stall_wait_max.as_micros()).unwrap_or(i64::MAX);
        let mut heard = 0;
        loop {
            for (tables, done) in queue.take_freezes() {
                done.answer(self.ledger.freeze(&tables));
            }
            let waited = engine.clock.monotonic() - start;
            let goes_on = waited < wait_max && !engine.is_closing() && engine.poison.get().is_none();
            match engine.overload() {
                Some(still) if goes_on => overload = still,
                still => {
                    engine.statistics.stall_micros.add(waited.max(0) as u64);
                    return still.map(|_| engine.poison.get().cloned().unwrap_or(overload));
                }
            }
            engine.work.ring();
            engine.room.wait(&mut heard, ROOM_WAIT);
        }
    }

    fn stage_write(&mut self, prepared: Box<Prepared>, done: Done<Committed>, staged: &mut Vec<Staged>) {
        let sealed = match self.ledger.standing(&prepared) {
            Ok(Standing::Duplicate) => {
                let (level, ingest_time) = (prepared.terms.level(), self.ledger.ingest_time());
                return staged.push(Staged::Alone(StagedAlone::Duplicate { level, ingest_time, done }));
            }
            Ok(Standing::Seals) => self.ledger.seal(prepared.batch.table),
            Ok(Standing::Next) => Ok(None),
            Err(error) => Err(error),
        };
        let placed = sealed.and_then(|entry| {
            let seal = entry.map(|entry| StagedAlone::Change { entry: Some(entry), done: None });
            staged.extend(seal.map(Staged::Alone));
            self.ledger.write(&prepared)
        });
        match placed {
            Ok(deal) => staged.push(Staged::Write(StagedWrite { prepared, deal, done })),
            Err(error) => refuse(&prepared, done, error),
        }
    }

    fn stage_erase(&mut self, erase: Box<Erase>, done: Done<Sequence>, staged: &mut Vec<Staged>) {
        match self.ledger.erase(&erase) {
            Ok((sequence, ingest_time)) => {
                staged.push(Staged::Alone(StagedAlone::Erase { erase, sequence, ingest_time, done }));
            }
            Err(error) => done.answer(Err(error)),
        }
    }

    /// Makes `staged` durable, applies and publishes it, and answers.
    fn commit(&mut self, staged: Vec<Staged>) {
        if staged.is_empty() {
            return;
        }
        self.ledger.sync();
        let mut staged = staged.into_iter().peekable();
        let mut later = Vec::new();
        while let Some(next) = staged.next() {
            match next {
                Staged::Write(write) => {
                    let writes = together(write, &mut staged);
                    // Clients of the first writes go on while the others are applied.
                    self.apply_writes(writes).into_iter().for_each(|answer| answer());
                }
                Staged::Alone(alone) => later.push(self.apply_alone(alone)),
            }
        }
        if self.engine.poison.get().is_none() {
            self.engine.published.publish(self.ledger.sequence());
        }
        later.into_iter().for_each(|answer| answer());
        self.ledger.turn_if_full();
    }

    /// Applies staged writes of one table and publishes them, unless the database is poisoned; how to answer each.
    fn apply_writes(&self, writes: Vec<StagedWrite>) -> Vec<Answer> {
        let batches: Vec<(&Prepared, &BatchSteps)> =
            writes.iter().filter_map(|write| Some((&*write.prepared, write.deal.steps.as_ref()?))).collect();
        let result = self.applied(|engine| apply_batches(engine, &batches));
        if let (Ok(()), Some(first), Some(last)) = (&result, writes.first(), writes.last()) {
            let rows: usize = writes.iter().map(|write| write.prepared.batch.keys.len()).sum();
            self.engine.statistics.rows.add(rows as u64);
            self.engine.statistics.batches.add(writes.len() as u64);
            writes.iter().for_each(|write| write.prepared.show_producer());
            let bytes = first.prepared.table.note_batch(self.engine.clock.monotonic());
            if bytes >= self.engine.options.flush_bytes_max {
                self.engine.work.ring();
            }
            self.engine.published.publish(last.deal.last);
        }
        let answer = |StagedWrite { prepared, deal, done }: StagedWrite| -> Answer {
            let (ingest_time, rows) = (deal.ingest_time, prepared.batch.keys.len() as u64);
            let survival = Survival::of_write(&self.engine, prepared.terms.level(), deal.last);
            let told = survival.clone();
            let committed = move |()| told.committed(ingest_time, rows, false);
            let result = result.clone();
            Box::new(move || survival.then(result, move |result| done.answer(result.map(committed))))
        };
        writes.into_iter().map(answer).collect()
    }

    /// Applies a staged job that is no write, unless the database is poisoned, and returns how to answer it.
    fn apply_alone(&self, staged: StagedAlone) -> Answer {
        match staged {
            StagedAlone::Duplicate { level, ingest_time, done } => {
                self.engine.statistics.duplicates.add(1);
                let survival = Survival::of_write(&self.engine, level, self.ledger.sequence());
                let told = survival.clone();
                let committed = move |()| told.committed(ingest_time, 0, true);
                let result = self.applied(|_| Ok(()));
                Box::new(move || survival.then(result, move |result| done.answer(result.map(committed))))
            }
            StagedAlone::Change { entry, done } => {
                let sequence = entry.as_ref().map_or(self.ledger.sequence(), |entry| entry.sequence);
                let result = self.applied(|engine| apply_change(engine, entry.as_ref()));
                let Some(done) = done else { return Box::new(|| ()) };
                let survival = Survival::of_change(&self.engine, sequence);
                Box::new(move || survival.then(result, move |result| done.answer(result)))
            }
            StagedAlone::Erase { erase, sequence, ingest_time, done } => {
                let result = self.applied(|engine| match engine.entity(erase.prefixes.entity) {
                    Some(entity) => entity.erase(*erase, sequence, ingest_time),
                    None => Ok(()),
                });
                let survival = Survival::of_change(&self.engine, sequence);
                Box::new(move || survival.then(result, move |result| done.answer(result.map(|()| sequence))))
            }
        }
    }

    /// What `apply` gives, unless the database is poisoned. What is durable and cannot be applied poisons it.
    fn applied<T>(&self, apply: impl FnOnce(&Engine) -> Result<T>) -> Result<T> {
        self.engine.poison.check()?;
        apply(&self.engine).inspect_err(|error| self.engine.poison.set(error))
    }
}

/// Lets readers see the schema version `entry`, which is durable, and answers the newest.
fn apply_change(engine: &Engine, entry: Option<&Arc<VersionEntry>>) -> Result<Arc<Catalog>> {
    let versions = engine.versions.load();
    let Some(entry) = entry else { return Ok(Arc::clone(versions.newest())) };
    let mut versions = Versions::clone(&versions);
    versions.apply(Arc::clone(entry))?;
    let catalog = Arc::clone(versions.newest());
    apply_version(engine, versions, entry)?;
    Ok(catalog)
}

/// Refuses a batch, and with it all that follow it in its stream, although there may be room for them again.
fn refuse(prepared: &Prepared, done: Done<Committed>, error: Error) {
    prepared.terms.void();
    done.answer(Err(error));
}

/// How long a write waits for memory before it looks again.
const ROOM_WAIT: std::time::Duration = std::time::Duration::from_millis(50);
