//! What a process of a schedule is told to do: each command runs on a thread of its own, and waits at the gate as it calls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use firn_storage::commit::{Committed, Done};
use firn_storage::config::Options;
use firn_storage::database::{Database, EraseRequest};
use firn_storage::error::{Error, Kind, Result};
use firn_storage::model::batch::WriteBatch;
use parking_lot::Mutex;

use super::bucket::Bucket;
use crate::world::panic_text;

/// What a process is told to do.
pub enum Command {
    Open(Box<Options>),
    Write {
        database: Database,
        number: i64,
        batch: Box<WriteBatch>,
    },
    Flush(Database),
    Compact(Database),
    /// A root that names what there is.
    Publish(Database),
    /// Segments become ice, then a root.
    Freeze(Database),
    /// An entity is erased; `nudge` is a batch without rows, which makes the log go up again after a failure.
    Erase {
        database: Database,
        request: EraseRequest,
        nudge: Box<WriteBatch>,
    },
    Close(Database),
}

/// What came of it.
#[derive(Debug)]
pub enum Ended {
    Opened(Result<Database>),
    Wrote { number: i64, result: Result<Committed> },
    Did(&'static str, Result<()>),
    Erased(Result<()>),
    Closed(Result<()>),
}

/// A command that runs.
pub type Running = JoinHandle<std::result::Result<Ended, String>>;

impl Command {
    /// What the trace calls it.
    pub fn name(&self) -> String {
        match self {
            Command::Open(options) => {
                format!("open {}", if options.follow.is_some() { "to follow" } else { "to write" })
            }
            Command::Write { number, .. } => format!("write {number}"),
            Command::Flush(_) => "flush".to_owned(),
            Command::Compact(_) => "compact".to_owned(),
            Command::Publish(_) => "publish".to_owned(),
            Command::Freeze(_) => "freeze".to_owned(),
            Command::Erase { .. } => "erase".to_owned(),
            Command::Close(_) => "close".to_owned(),
        }
    }

    /// Starts it as what `process` does.
    pub fn start(self, bucket: &Bucket, process: usize) -> Running {
        bucket.begin(process);
        let bucket = bucket.clone();
        std::thread::spawn(move || {
            let ended = catch_unwind(AssertUnwindSafe(|| self.run(&bucket, process)));
            let polls = matches!(&ended, Ok(Ended::Opened(Ok(database))) if database.lag().is_some());
            bucket.end(process, polls);
            ended.map_err(panic_text)
        })
    }

    fn run(self, bucket: &Bucket, process: usize) -> Ended {
        let ended = match self {
            Command::Open(options) => Ended::Opened(Database::open(*options)),
            Command::Write { database, number, batch } => {
                let first = |done| database.submit((*batch).clone(), done);
                Ended::Wrote { number, result: answered(bucket, process, first, || nudge(&database, &batch)) }
            }
            Command::Erase { database, request, nudge: batch } => {
                let erasing = database.clone();
                let first = |done: Done<()>| {
                    std::thread::spawn(move || {
                        let erased = catch_unwind(AssertUnwindSafe(|| erasing.erase(&erasing.catalog(), &request)));
                        let panicked = |panic| Err(Error::new(Kind::Defect, panic_text(panic)));
                        done.answer(erased.unwrap_or_else(panicked).map(drop));
                    });
                };
                Ended::Erased(answered(bucket, process, first, || nudge(&database, &batch)))
            }
            Command::Flush(database) => Ended::Did("flush", database.flush(&database.catalog(), Some("t"))),
            Command::Compact(database) => Ended::Did("compact", database.compact(&database.catalog(), Some("t"))),
            // Of a table that has nothing to freeze.
            Command::Publish(database) => Ended::Did("publish", database.freeze(&database.catalog(), Some("u"))),
            Command::Freeze(database) => Ended::Did("freeze", database.freeze(&database.catalog(), Some("t"))),
            Command::Close(database) => return Ended::Closed(database.close()),
        };
        bucket.rest(process);
        ended
    }
}

/// Sends `batch`, perhaps again: then it is acknowledged as it was, and the log goes up again after a failure.
fn nudge(database: &Database, batch: &WriteBatch) {
    database.submit(batch.clone(), Done::new(|_| ()));
}

/// What `first` is answered, as a client is that asks `again` while there is no answer.
fn answered<T: Send + 'static>(
    bucket: &Bucket,
    process: usize,
    first: impl FnOnce(Done<T>),
    again: impl Fn(),
) -> Result<T> {
    let answer: Arc<Mutex<Option<Result<T>>>> = Arc::default();
    let (into, told) = (Arc::clone(&answer), bucket.clone());
    first(Done::new(move |answered| {
        *into.lock() = Some(answered);
        drop(told.lock());
        told.tell();
    }));
    let gone = || Err(Error::new(Kind::Unavailable, "nobody answers any more: the process is gone (simulated)"));
    bucket.wait_for(process, || answer.lock().take(), again).unwrap_or_else(gone)
}
