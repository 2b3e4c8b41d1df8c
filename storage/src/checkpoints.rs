//! Purging everything: what was erased leaves the files, the bucket, and the checkpoints in it.
//!
//! Each checkpoint is opened beside the database, in a directory of its own, erased from and purged by the code that erases from the
//! database, and written anew under the same name. It is another database then, a copy that goes on after the commits that it had:
//! so no position of it is mistaken for one of this database, whose next commit is not the erase.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow_array::BinaryArray;

use crate::commit::{Job, Queue};
use crate::config::{FollowOptions, Options};
use crate::engine::{Engine, Lasting};
use crate::erase::{Blocking, ErasePrefixes, Erasures, Gone, HomeTiers, Tiers};
use crate::error::{Kind, Result};
use crate::home::{self, Deleted, Home, Pinned, Purged};
use crate::io::Files;
use crate::model::key::Keys;
use crate::opened::Opened;
use crate::purge::{Held, give_receipt, purge, purge_files};
use crate::read::Resources;
use crate::statistics::Statistics;
use crate::time::{ManualClock, Micros, Sequence};
use crate::view::EntityState;

/// So many numbers for files are set aside for what one checkpoint is written to.
const NUMBERS: u64 = 1 << 20;

/// Removes the bytes of every erased entity of `entity` from all files, and from the bucket if there is one.
pub(crate) fn purge_everywhere(
    engine: &Arc<Engine>,
    queue: &Queue,
    entity: &Arc<EntityState>,
    sequence: Sequence,
) -> Result<()> {
    let Some(home) = &engine.home else { return purge(engine, queue, entity, sequence) };
    let (held, before) = (Held::now(engine, entity)?, home.deleted());
    purge_files(engine, queue, entity)?;
    purge_objects(engine, home)?;
    let of_home = home_tiers(home.deleted().since(before), engine.clock.now());
    // The log files that the bucket lacked go last.
    engine.remove_log_files()?;
    let tiers = Tiers { disk: held.gone(engine)?, home: Some(of_home) };
    give_receipt(engine, entity, sequence, &tiers)?;
    // A node that is restored creates no checkpoint while a receipt is missing.
    match home.publish(&**engine) {
        Err(error) if error.kind() == Kind::Poisoned => return Err(error),
        Err(error) => {
            tracing::warn!(%error, "the bucket does not know a receipt of an erase yet; the next root has it")
        }
        Ok(()) => {}
    }
    Ok(())
}

/// Lets the objects go that hold what was erased, those of checkpoints too.
fn purge_objects(engine: &Arc<Engine>, home: &Home) -> Result<()> {
    let _rewriting = home.rewriting.lock();
    let rewritten = rewrite_all(engine, home)?;
    home.publish_and_purge(&**engine, &rewritten).inspect_err(|_| home.abandon(rewritten.values()))
}

/// What `deleted` says of the tiers of a bucket from which all of it was gone at `gone_at`.
fn home_tiers(deleted: Deleted, gone_at: Micros) -> HomeTiers {
    let Deleted { bucket, ice, checkpoints } = deleted;
    let [bucket, ice, checkpoints] = [bucket, ice, checkpoints].map(|removed| Gone { gone_at, removed });
    HomeTiers { bucket, ice, checkpoints }
}

/// The checkpoints without what was erased since each was created, written, and to be named by the next root.
fn rewrite_all(engine: &Arc<Engine>, home: &Home) -> Result<BTreeMap<String, Pinned>> {
    let mut all = BTreeMap::new();
    let last = last_erase(engine);
    for pinned in home.pinned().into_iter().filter(|pinned| last > pinned.checkpoint().erased) {
        let rewritten = rewrite(engine, home, &pinned, last).inspect_err(|_| home.abandon(all.values()))?;
        all.insert(pinned.checkpoint().name.clone(), rewritten);
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

/// `pinned` without what was erased since it was created, up to the erase `last`: written anew if there was any of it.
fn rewrite(engine: &Arc<Engine>, home: &Home, pinned: &Pinned, last: Sequence) -> Result<Pinned> {
    let checkpoint = pinned.checkpoint();
    let files = home::beside(&engine.files)?;
    let before = home::copy_checkpoint(home.bucket().as_ref(), &files, checkpoint)?;
    let first_number = engine.next_number.fetch_add(NUMBERS, Ordering::SeqCst);
    let lasting = lasting(engine, checkpoint.at);
    let beside = Opened::open(options(engine, home, &lasting, Arc::clone(&files)), &lasting, 0)?;
    let begins_after = beside.engine.published.sequence();
    let given = beside.engine.next_number.swap(first_number, Ordering::SeqCst);
    assert!(given <= first_number, "a checkpoint has no number that was not given when it was created");
    let changed = erase_all(engine, &beside, checkpoint.sequence)?;
    beside.close()?;
    let rewritten = if changed {
        assert!(beside.engine.next_number.load(Ordering::SeqCst) <= first_number + NUMBERS, "the numbers suffice");
        let state = beside.engine.listed.load_full();
        let sequence = beside.engine.published.sequence();
        let purged = Purged { before, state: &state, files: files.as_ref(), first_number, begins_after, sequence };
        home.rewrite_checkpoint(checkpoint, (last, engine.take_number()), purged)?
    } else {
        pinned.without_erased(last)
    };
    drop(beside);
    home::clear_beside(&engine.files)?;
    Ok(rewritten)
}

/// What a checkpoint that is opened beside `engine` shares with it. Its clock stands at `at`: what was known then is what it knows.
fn lasting(engine: &Engine, at: Micros) -> Lasting {
    let Resources { slabs, budget, .. } = engine.resources.as_ref();
    let clock = Arc::new(ManualClock::at(at));
    let resources = Resources { clock, slabs: Arc::clone(slabs), budget: Arc::clone(budget) };
    Lasting { statistics: Arc::new(Statistics::default()), resources: Arc::new(resources) }
}

/// How a checkpoint is opened beside `engine`, in `files`, which hold it.
fn options(engine: &Engine, home: &Home, lasting: &Lasting, files: Arc<dyn Files>) -> Options {
    let (objects, interval, ice) = (home.bucket(), Duration::ZERO, home.ice_policy().clone());
    Options {
        files: Some(files),
        clock: Some(Arc::clone(&lasting.resources.clock)),
        home: None,
        follow: Some(FollowOptions { objects, interval, ice, checkpoint: None }),
        background: false,
        // It would measure by a clock that stands.
        compaction_bytes_per_second: 0,
        ..engine.options.clone()
    }
}

/// Erases from the copy `beside` what was erased from `engine` after the commit `since`; whether there was any of it.
fn erase_all(engine: &Arc<Engine>, beside: &Opened, since: Sequence) -> Result<bool> {
    let entities: Vec<Arc<EntityState>> = beside.engine.registry.load().entities.values().cloned().collect();
    let mut changed = false;
    for entity in entities {
        // What a dropped entity had cannot be erased any more; it goes with the checkpoint.
        let Some(here) = engine.entity(entity.id) else { continue };
        let erased = erased_keys(&entity, &here.erasures.load(), since)?;
        if erased.is_empty() {
            continue;
        }
        let prefixes = ErasePrefixes::new(entity.id, entity.declared.key.len(), &erased, Blocking::Leaves);
        let erase = entity.look_up(prefixes)?;
        let sequence = beside.queue.ask(|done| Job::Erase(Box::new(erase), done))?;
        purge(&beside.engine, &beside.queue, &entity, sequence)?;
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
