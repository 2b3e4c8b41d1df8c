//! Background work: one thread flushes, one compacts, one scrubs. None holds what the other needs for longer than a manifest.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::commit::{Queue, closed, spawn};
use crate::compaction;
use crate::engine::Engine;
use crate::error::Result;
use crate::flush::flush;
use crate::freeze;
use crate::priority::give_way;
use crate::purge::purge;
use crate::recovery::IDLE;
use crate::scrub;
use crate::view::MemtableSize;

/// Starts the threads.
pub(crate) fn start(engine: &Arc<Engine>, queue: &Arc<Queue>) -> Result<Vec<JoinHandle<()>>> {
    let flusher = spawn("firn-flush", engine, queue, |engine, queue| {
        give_way(FLUSH_NICENESS);
        work(engine, || flush_due(engine, queue));
    })?;
    let compactor = spawn("firn-compact", engine, queue, |engine, _| {
        give_way(COMPACTION_NICENESS);
        work(engine, || compaction::compact_once(engine));
    })?;
    let mut threads = vec![flusher, compactor];
    if engine.fetch.is_some() {
        threads.push(spawn("firn-freeze", engine, queue, |engine, _| {
            give_way(COMPACTION_NICENESS);
            work(engine, || freeze::step(engine));
        })?);
    }
    if engine.home.is_some() {
        threads.push(spawn("firn-restore", engine, queue, |engine, _| work(engine, || engine.restore_once()))?);
    }
    if engine.options.scrub_bytes_per_second > 0 {
        threads.push(spawn("firn-scrub", engine, queue, |engine, _| {
            give_way(SCRUB_NICENESS);
            scrub::run(engine);
        })?);
    }
    if engine.is_follower() {
        threads.push(spawn("firn-purge", engine, queue, |engine, queue| {
            give_way(COMPACTION_NICENESS);
            work(engine, || purge_due(engine, queue));
        })?);
    }
    if engine.home.is_some() {
        threads.push(spawn("firn-publish", engine, queue, |engine, _| {
            let home = engine.home.as_ref().expect("it was there when the thread began");
            home.publish_until(&**engine, |wait| engine.sleep(wait), || engine.is_closing());
        })?);
    }
    Ok(threads)
}

/// Starts the thread that sends the log to the bucket, if there is one. It ends after the log's own.
pub(crate) fn start_upload(engine: &Arc<Engine>, queue: &Arc<Queue>) -> Result<Option<JoinHandle<()>>> {
    if engine.home.is_none() {
        return Ok(None);
    }
    let upload = spawn("firn-upload", engine, queue, |engine, _| {
        let home = engine.home.as_ref().expect("it was there when the thread began");
        home.upload_until(|| engine.log_ended.load(Ordering::SeqCst), || engine.clock.ceiling());
    })?;
    Ok(Some(upload))
}

/// Does `work`, which somebody asked for and waits for, as compaction is done: on a thread of its own, after all that
/// serves.
pub(crate) fn aside<T: Send + 'static>(
    engine: &Arc<Engine>,
    queue: &Arc<Queue>,
    work: impl FnOnce(&Arc<Engine>, &Queue) -> Result<T> + Send + 'static,
) -> Result<T> {
    let thread = spawn("firn-aside", engine, queue, |engine, queue| {
        give_way(COMPACTION_NICENESS);
        work(engine, queue)
    })?;
    // Its guard says what a panic was.
    thread.join().unwrap_or_else(|_| Err(engine.poison.get().cloned().unwrap_or_else(closed)))
}

/// How long background work pauses after an error, and at most after many in a row.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Does `step` until the database closes; sleeps while there is nothing to do, longer after each error. Once the
/// database is poisoned nothing can be written, and there is nothing to do.
fn work(engine: &Engine, step: impl Fn() -> Result<bool>) {
    let mut heard = 0;
    let mut pause = PAUSE;
    while !engine.is_closing() {
        if engine.poison.get().is_some() {
            engine.sleep(PAUSE_MAX);
            continue;
        }
        match step() {
            Ok(more) => {
                pause = PAUSE;
                if !more {
                    engine.work.wait(&mut heard, IDLE);
                }
            }
            Err(_) if engine.is_closing() => return,
            Err(error) => {
                engine.statistics.background_errors.add(1);
                tracing::error!(%error, "background work failed and will be tried again");
                engine.sleep(pause);
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// Flushes the tables whose memtable is large or old; whether any was.
fn flush_due(engine: &Arc<Engine>, queue: &Queue) -> Result<bool> {
    let due = due_tables(engine);
    if due.is_empty() {
        return Ok(false);
    }
    flush(engine, queue, &due)?;
    Ok(true)
}

/// Removes the bytes of what the writer erased from the files of a follower; whether there were any.
fn purge_due(engine: &Arc<Engine>, queue: &Queue) -> Result<bool> {
    let entities: Vec<_> = engine.registry.load().entities.values().cloned().collect();
    let due = entities.into_iter().find_map(|entity| {
        let erasures = entity.erasures.load_full();
        let sequence = erasures.receipts().iter().rfind(|receipt| receipt.purged.is_none())?.sequence;
        Some((entity, sequence))
    });
    let Some((entity, sequence)) = due else { return Ok(false) };
    purge(engine, queue, &entity, sequence)?;
    Ok(true)
}

fn due_tables(engine: &Engine) -> Vec<u32> {
    let options = &engine.options;
    let age_max = i64::try_from(options.wal_age_max.as_micros()).unwrap_or(i64::MAX);
    let now = engine.clock.monotonic();
    let sizes: Vec<(u32, MemtableSize)> = engine.tables().iter().map(|table| (table.id, *table.size.lock())).collect();
    // Frozen rows between two flushes are those of one that failed: nothing else may remind of them.
    let is_due = |size: &MemtableSize| {
        size.active_bytes >= options.flush_bytes_max
            || size.frozen_bytes > 0
            || size.active_since.is_some_and(|since| now - since >= age_max)
    };
    let mut due: Vec<u32> = sizes.iter().filter(|(_, size)| is_due(size)).map(|(id, _)| *id).collect();
    let total: u64 = sizes.iter().map(|(_, size)| size.active_bytes + size.frozen_bytes).sum();
    if due.is_empty() && total >= options.memory_bytes_max / 2 {
        due.extend(sizes.iter().max_by_key(|(_, size)| size.active_bytes).map(|(id, _)| *id));
    }
    due
}

/// How far threads step back for others. A flush makes room that writes wait for, so it yields least: with memtables
/// over their budget writes stall, and it has the machine.
const FLUSH_NICENESS: i32 = 5;
const COMPACTION_NICENESS: i32 = 10;
const SCRUB_NICENESS: i32 = 15;
