//! Purging checkpoints: what was erased leaves them too.
//!
//! Each is opened beside the database, in a directory of its own, erased from and purged by the code that erases from the database, and
//! written anew under the same name. It is another database then, a copy that goes on after the commits that it had: so no position
//! of it is mistaken for one of this database, whose next commit is not the erase.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use arrow_array::BinaryArray;
use parking_lot::Mutex;

use crate::commit::{Job, Queue, spawn};
use crate::config::{FollowOptions, Options};
use crate::engine::{Engine, Lasting};
use crate::erase::{Blocking, ErasePrefixes, Erasures};
use crate::error::Result;
use crate::home::{self, Checkpoint, Home, Pinned, Purged};
use crate::io::Files;
use crate::model::key::Keys;
use crate::purge::purge;
use crate::read::Resources;
use crate::recovery;
use crate::statistics::Statistics;
use crate::time::{ManualClock, Sequence};
use crate::view::EntityState;

/// So many numbers for files are set aside for what one checkpoint is written to.
const NUMBERS: u64 = 1 << 20;

/// The checkpoints without what was erased since each was taken, written, and to be named by the next root.
pub(crate) fn purge_checkpoints(engine: &Arc<Engine>, home: &Home) -> Result<BTreeMap<String, Pinned>> {
    let mut all = BTreeMap::new();
    let last = last_erase(engine);
    for checkpoint in home.checkpoints().into_iter().filter(|checkpoint| last > checkpoint.erased) {
        let rewritten = rewrite(engine, home, &checkpoint, last).inspect_err(|_| home.abandon(all.values()))?;
        all.insert(checkpoint.name, rewritten);
    }
    Ok(all)
}

/// The last erase; 0 if there was none.
fn last_erase(engine: &Engine) -> Sequence {
    let entities = engine.registry.load();
    let last =
        |entity: &Arc<EntityState>| entity.erasures.load().receipts().iter().map(|receipt| receipt.sequence).max();
    entities.entities.values().filter_map(last).max().unwrap_or(0)
}

/// Writes `checkpoint` anew without what was erased since it was taken, up to the erase `last`.
fn rewrite(engine: &Arc<Engine>, home: &Home, checkpoint: &Checkpoint, last: Sequence) -> Result<Pinned> {
    let files = home::beside(&engine.files)?;
    let first_number = engine.next_number.fetch_add(NUMBERS, Ordering::SeqCst);
    let beside = Beside::open(engine, home, checkpoint, &files)?;
    let begins_after = beside.engine.published.sequence();
    let before = beside.engine.next_number.swap(first_number, Ordering::SeqCst);
    assert!(before <= first_number, "a checkpoint has no number that was not given when it was taken");
    let changed = erase_all(engine, &beside, checkpoint)?;
    beside.close()?;
    let pinned = if changed {
        assert!(beside.engine.next_number.load(Ordering::SeqCst) <= first_number + NUMBERS, "the numbers suffice");
        let state = beside.engine.listed.load_full();
        let sequence = beside.engine.published.sequence();
        let purged = Purged { state: &state, files: files.as_ref(), first_number, begins_after, sequence };
        home.rewrite_checkpoint(checkpoint, (last, engine.take_number()), &purged)?
    } else {
        home.keep_checkpoint(checkpoint, last)?
    };
    drop(beside);
    home::clear_beside(&engine.files)?;
    Ok(pinned)
}

/// Erases from the copy `beside` what was erased from `engine` since `checkpoint` was taken; whether there was any of it.
fn erase_all(engine: &Arc<Engine>, beside: &Beside, checkpoint: &Checkpoint) -> Result<bool> {
    let entities: Vec<Arc<EntityState>> = beside.engine.registry.load().entities.values().cloned().collect();
    let mut changed = false;
    for entity in entities {
        // What a dropped entity had cannot be erased any more; it goes with the checkpoint.
        let Some(here) = engine.entity(entity.id) else { continue };
        let erased = erased_keys(&entity, &here.erasures.load(), checkpoint.sequence)?;
        if erased.is_empty() {
            continue;
        }
        let prefixes = ErasePrefixes::new(entity.id, entity.declared.key.len(), &erased, Blocking::Leaves);
        let erase = entity.look_up(prefixes)?;
        let sequence = beside.queue.ask(|done| Job::Erase(Box::new(erase), done))?;
        purge(&beside.engine, &beside.queue, &entity, sequence, purge_checkpoints)?;
        changed = true;
    }
    Ok(changed)
}

/// The keys of `entity` that `erasures` says were erased after the commit `since`.
fn erased_keys(entity: &EntityState, erasures: &Erasures, since: Sequence) -> Result<Keys> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for dictionary in &entity.dictionaries {
        dictionary.visit(0, &mut |_, key| {
            if erasures.erased_at(key).is_some_and(|erased| erased > since) {
                keys.push(key.to_vec());
            }
        })?;
    }
    Ok(Keys::from_binary(BinaryArray::from_iter_values(keys)))
}

/// A checkpoint that is open beside the database.
struct Beside {
    engine: Arc<Engine>,
    queue: Arc<Queue>,
    committer: Mutex<Option<JoinHandle<Result<()>>>>,
}

impl Beside {
    fn open(engine: &Arc<Engine>, home: &Home, checkpoint: &Checkpoint, files: &Arc<dyn Files>) -> Result<Self> {
        home::copy_checkpoint(home.bucket().as_ref(), files, checkpoint)?;
        // Its clock stands: what was known when it was taken is what it knows.
        let clock = Arc::new(ManualClock::at(checkpoint.at));
        let options = Options {
            files: Some(Arc::clone(files)),
            clock: Some(clock.clone()),
            home: None,
            follow: Some(FollowOptions {
                objects: home.bucket(),
                interval: Duration::ZERO,
                ice: home.ice_policy().clone(),
                checkpoint: None,
            }),
            background: false,
            // It would measure by a clock that stands.
            compaction_bytes_per_second: 0,
            ..engine.options.clone()
        };
        let Resources { slabs, budget, .. } = engine.resources.as_ref();
        let resources = Resources { clock, slabs: Arc::clone(slabs), budget: Arc::clone(budget) };
        let lasting = Lasting { statistics: Arc::new(Statistics::default()), resources: Arc::new(resources) };
        let (engine, committer) = recovery::open(options, &lasting, 0)?;
        let taken = Arc::clone(&engine.statistics.queue_bytes);
        let queue = Arc::new(Queue::new(engine.options.queue_bytes_max, taken));
        let committer = spawn("firn-commit", &engine, &queue, move |_, queue| committer.run(queue))?;
        Ok(Self { engine, queue, committer: Mutex::new(Some(committer)) })
    }

    /// Ends its log cleanly.
    fn close(&self) -> Result<()> {
        let Some(committer) = self.committer.lock().take() else { return Ok(()) };
        recovery::begin_close(&self.engine);
        self.queue.put(Job::Stop);
        let closed = committer.join().unwrap_or(Ok(()));
        self.engine.poison.check().and(closed)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "a checkpoint that was purged did not close cleanly; it is thrown away");
        }
    }
}
