//! Following: a database that another process writes into a bucket is read here, a moment behind it.
//!
//! A follower is a database like any other whose commits come from the writer's log in the bucket instead of clients. It keeps them in
//! a log of its own and flushes, merges and purges its own files, by the same code as a writer, so everything that holds of a
//! database holds of it; the price is that it does that work again. The alternative, to take the writer's segments root by root,
//! would save the work, but every reader would have to change from one set of ordinals and files to another in one step, at each
//! root. A root is taken only at the start, and if the log that follows what is here was deleted meanwhile: then the database is
//! opened anew from the newest root, while reads go on with the old one, and takes its place.
//!
//! It writes nothing to the bucket and claims nothing. The order of locks is the engine's; the progress is taken alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::commit::Job;
use crate::config::{FollowOptions, Options};
use crate::engine::Lasting;
use crate::error::{Error, Kind, Result};
use crate::home::{self, Lineage, Step, Trail};
use crate::io::Files;
use crate::opened::Opened;
use crate::recovery;
use crate::signal::Signal;
use crate::time::Micros;
use crate::wal::OwnedRecord;

/// A follower that runs; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Follower {
    following: Arc<Following>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the follower's thread shares with those who ask how far it is.
#[derive(Debug)]
struct Following {
    options: Options,
    follow: FollowOptions,
    files: Arc<dyn Files>,
    lasting: Lasting,
    /// What reads see.
    current: Arc<ArcSwap<Opened>>,
    /// When it was started, by the monotonic clock.
    started: Micros,
    progress: Mutex<Progress>,
    stop: AtomicBool,
    bell: Signal,
}

/// How far a follower is.
#[derive(Debug, Clone, Default)]
struct Progress {
    root: u64,
    writer: Option<String>,
    /// When the last look at the bucket began that found nothing newer: by the wall clock, and by the monotonic one.
    seen: Option<(Micros, Micros)>,
    /// Why the last look failed.
    error: Option<Error>,
    /// How often the database was opened anew.
    reopened: u64,
}

/// How far a follower is, for metrics.
#[derive(Debug, Clone, Copy)]
pub struct Lag {
    /// How long ago it was sure to have everything that the bucket had.
    pub lag: Duration,
    /// Whether its last look at the bucket failed.
    pub failing: bool,
    /// How often it fell so far behind that it was opened anew.
    pub reopened: u64,
}

/// Opens the follower of `options`. It serves only once it has seen everything that the bucket had.
pub(crate) fn start(mut options: Options, lasting: &Lasting) -> Result<(Arc<ArcSwap<Opened>>, Follower)> {
    let follow = options.follow.clone().expect("the caller looked");
    // One for all openings: the directory is held by its lock.
    let files = recovery::files_of(&options)?;
    options.files = Some(Arc::clone(&files));
    let opened = Opened::open(options.clone(), lasting, 0)?;
    let current = Arc::new(ArcSwap::new(opened));
    let following = Arc::new(Following {
        options,
        follow,
        files,
        lasting: lasting.clone(),
        current: Arc::clone(&current),
        started: lasting.resources.clock.monotonic(),
        progress: Mutex::default(),
        stop: AtomicBool::new(false),
        bell: Signal::default(),
    });
    let mut walk = Walk::new(&following);
    // Whoever stays at a checkpoint has all of it.
    while following.follow.checkpoint.is_none() && walk.step()? {}
    let guard = Guard(Arc::clone(&following));
    #[expect(clippy::disallowed_methods, reason = "the guards of other threads hold one engine for ever")]
    let spawned = std::thread::Builder::new().name("firn-follow".to_owned()).spawn(move || {
        let guard = guard;
        walk.go_on();
        drop(guard);
    });
    let thread =
        spawned.map_err(|error| Error::exhausted(format!("could not start the thread firn-follow: {error}")))?;
    Ok((current, Follower { following, thread: Mutex::new(Some(thread)) }))
}

impl Follower {
    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.following.stop.store(true, Ordering::SeqCst);
        self.following.bell.ring();
        if let Some(thread) = self.thread.lock().take() {
            // Its guard says what a panic was.
            drop(thread.join());
        }
    }

    /// The error of what only the writer does.
    pub(crate) fn refusal(&self) -> Error {
        if let Some(name) = &self.following.follow.checkpoint {
            return Error::precondition(format!(
                "this node was started with --checkpoint and stays at {name}: it is only read"
            ));
        }
        let writer = self.following.progress.lock().writer.clone().unwrap_or_else(|| "another process".to_owned());
        Error::precondition(format!(
            "this node was started with --read-only and follows the database, which {writer} writes: send writes, changes, erases and \
             requests to flush or compact there"
        ))
    }

    /// How far it is.
    pub(crate) fn lag(&self) -> Lag {
        let progress = self.following.progress.lock().clone();
        let now = self.following.lasting.resources.clock.monotonic();
        let seen = progress.seen.map_or(self.following.started, |(_, seen)| seen);
        // Whoever stays at a checkpoint is not behind.
        let lag = if self.following.follow.checkpoint.is_some() { 0 } else { now.saturating_sub(seen).max(0) };
        let failing = progress.error.is_some();
        Lag { lag: Duration::from_micros(lag.unsigned_abs()), failing, reopened: progress.reopened }
    }

    /// How far it is, for people.
    pub(crate) fn status(&self) -> Value {
        let engine = Arc::clone(&self.following.current.load().engine);
        let Lag { lag, reopened, .. } = self.lag();
        let progress = self.following.progress.lock().clone();
        json!({
            "epoch": engine.lineage.load().current(),
            "root": progress.root,
            "writer": progress.writer,
            "checkpoint": self.following.follow.checkpoint,
            "ingest_time": engine.clock.last(),
            "seen_at": progress.seen.map(|(wall, _)| wall),
            "lag_us": u64::try_from(lag.as_micros()).unwrap_or(u64::MAX),
            "reopened": reopened,
            "error": progress.error.map(|error| error.to_string()),
        })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Held by the follower's thread: its panic is seen as that of any thread of the engine.
struct Guard(Arc<Following>);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let what = "the thread firn-follow met a defect and ended; the log of the server says where";
            let error = Error::new(Kind::Poisoned, what);
            self.0.current.load().engine.poison.set(&error);
            self.0.progress.lock().error = Some(error);
        }
    }
}

/// Whoever stays at a checkpoint looks so much less often whether it was written anew.
const CHECKPOINT_INTERVALS: u32 = 30;
/// The pause after a failure is twice the one before, so often at most.
const DOUBLINGS_MAX: u32 = 3;

/// A follower on its way.
struct Walk {
    following: Arc<Following>,
    trail: Trail,
    /// Commits that were read and perhaps not taken yet.
    waiting: Option<Arc<Vec<OwnedRecord>>>,
    /// Why the database is to be opened anew.
    behind: Option<String>,
}

impl Walk {
    fn new(following: &Arc<Following>) -> Self {
        let trail = Self::trail(following);
        Self { following: Arc::clone(following), trail, waiting: None, behind: None }
    }

    /// The trail from its beginning.
    fn trail(following: &Following) -> Trail {
        let database = following.current.load().engine.log.database();
        Trail::new(Arc::clone(&following.follow.objects), database)
    }

    /// Follows until it is stopped.
    fn go_on(mut self) {
        let (mut heard, mut failures) = (0, 0);
        let following = Arc::clone(&self.following);
        while !following.stop.load(Ordering::SeqCst) {
            match self.step() {
                Ok(more) => {
                    failures = 0;
                    if more {
                        continue;
                    }
                }
                Err(error) => {
                    failures = (failures + 1).min(DOUBLINGS_MAX);
                    self.note_failure(error);
                }
            }
            let looks = if following.follow.checkpoint.is_some() { CHECKPOINT_INTERVALS } else { 1 };
            following.bell.wait(&mut heard, following.follow.interval.saturating_mul(looks << failures));
        }
    }

    /// Takes a step; whether there may be more at once.
    fn step(&mut self) -> Result<bool> {
        let following = Arc::clone(&self.following);
        if let Some(why) = self.behind.clone() {
            return self.reopen(&why).map(|()| true);
        }
        let opened = following.current.load_full();
        opened.engine.poison.check()?;
        if let Some(name) = &following.follow.checkpoint {
            return self.look_at_checkpoint(name);
        }
        if opened.engine.fetch.as_ref().is_some_and(|fetch| fetch.found_gone()) {
            self.behind = Some("history that it asked for was frozen anew".to_owned());
            return Ok(true);
        }
        if let Some(records) = &self.waiting {
            take(&opened, records)?;
            self.waiting = None;
        }
        let clock = &following.lasting.resources.clock;
        let began = (clock.now(), clock.monotonic());
        let step = self.trail.step(&opened.engine.lineage.load(), opened.engine.published.sequence())?;
        match step {
            Step::Records(records) => {
                self.waiting = (!records.is_empty()).then(|| Arc::new(records));
                Ok(true)
            }
            Step::Turned(lineage) => self.turn(&opened, lineage).map(|()| true),
            Step::Whole => {
                let (root, writer) = (self.trail.root(), self.trail.writer().map(str::to_owned));
                let mut progress = following.progress.lock();
                let reopened = progress.reopened;
                *progress = Progress { root, writer, seen: Some(began), error: None, reopened };
                Ok(false)
            }
            Step::Claimed(claim) => {
                self.note_failure(home::not_begun(&claim));
                Ok(false)
            }
            Step::Behind(why) => {
                self.behind = Some(why);
                Ok(true)
            }
        }
    }

    /// Looks whether the checkpoint `name` is still what it was: an erase writes it anew.
    fn look_at_checkpoint(&mut self, name: &str) -> Result<bool> {
        let following = &self.following;
        let changed = home::checkpoint_changed(following.follow.objects.as_ref(), &following.files, name)?;
        self.behind = changed.then(|| "the checkpoint was written anew".to_owned());
        following.progress.lock().error = None;
        Ok(changed)
    }

    /// Goes on in the last epoch of `lineage`.
    fn turn(&mut self, opened: &Opened, lineage: Lineage) -> Result<()> {
        let engine = &opened.engine;
        // Before any commit of that epoch is here: after a restart it goes on in it too.
        if let Err(error) = home::note(&engine.files, engine.log.database(), &lineage) {
            self.trail = Self::trail(&self.following);
            return Err(error);
        }
        let epoch = lineage.current();
        engine.lineage.store(Arc::new(lineage));
        engine.log.turn(epoch);
        tracing::info!(epoch, writer = self.trail.writer(), "the writer went on in another epoch");
        Ok(())
    }

    /// Opens the database anew from the newest root. Reads go on in the old one, whose files they hold.
    fn reopen(&mut self, why: &str) -> Result<()> {
        let following = &self.following;
        let before = following.current.load_full();
        before.engine.poison.check()?;
        tracing::warn!(why, "this node is opened anew from what the bucket has now");
        before.close()?;
        home::forget(&following.files)?;
        let opening = before.engine.opening + 1;
        let opened = Opened::open(following.options.clone(), &following.lasting, opening)?;
        following.current.store(opened);
        following.progress.lock().reopened = opening;
        (self.behind, self.waiting, self.trail) = (None, None, Self::trail(following));
        Ok(())
    }

    fn note_failure(&self, error: Error) {
        let mut progress = self.following.progress.lock();
        // What lasts is logged once.
        if progress.error.as_ref().is_none_or(|before| before.message() != error.message()) {
            tracing::warn!(%error, "the bucket could not be followed and will be asked again");
        }
        progress.writer = self.trail.writer().map(str::to_owned).or(progress.writer.take());
        progress.error = Some(error);
    }
}

/// Has `records` committed here.
fn take(opened: &Opened, records: &Arc<Vec<OwnedRecord>>) -> Result<()> {
    opened.queue.ask(|done| Job::Follow(Arc::clone(records), done))?;
    opened.engine.try_forget_dropped();
    Ok(())
}
