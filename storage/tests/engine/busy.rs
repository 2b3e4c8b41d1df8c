//! Failing file calls while flush, compaction and scrub run by themselves, all the time.
//!
//! Which call fails is chance here, for the threads take turns as they like. What must hold is the same every time:
//! what was acknowledged is there, answers are right, nothing hangs, and no file is left over.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use firn_storage::error::Kind as ErrorKind;
use firn_storage::io::simulated::Fault;

use crate::faults::{Ledger, Work, batch, no_orphans, on_all_cores, prepared, report};
use crate::oracle::Value;
use crate::world::ask::Ask;
use crate::world::{Outcome, Setting, panic_text};

/// Batches of a trial, of which the first half meets the fault if it lasts.
const BATCHES: u64 = 16;

/// Lets the `call`-th file call from now fail, whoever makes it; how many errors background work met.
fn trial(call: u64, fault: Fault, sticky: bool) -> Outcome<u64> {
    let setting = Setting { segment_rows_max: 8, wal_bytes_max: 4096, start: 1_000_000, ..Setting::default() };
    let mut world = prepared(Setting { busy: true, ..setting });
    let mut ledger = Ledger::default();
    if sticky {
        world.files.fail_from(call, fault)
    } else {
        world.files.fail_call(call, fault)
    }
    for number in 1..=BATCHES {
        let error = ledger.work(&mut world, Work::Write(number));
        if error.is_some_and(|error| error.kind() == ErrorKind::Poisoned) && !world.database().is_poisoned() {
            return Err("a write says that the database is poisoned, and it is not".to_owned());
        }
        if number == BATCHES / 2 {
            world.files.heal();
        }
        if number % 4 == 0 {
            ledger.work(&mut world, Work::Compact);
        }
    }
    world.files.heal();
    ledger.check(&mut world).map_err(|error| format!("while it runs: {error}"))?;
    let poisoned = world.database().is_poisoned();
    let met = world.database().statistics().background_errors.get();
    match world.close() {
        Err(error) if !poisoned => return Err(format!("close failed: {error:?}")),
        _ => {}
    }
    let mut after = world.on(world.files.crash(call));
    after.setting.busy = false;
    after.open()?;
    no_orphans(&after).map_err(|error| format!("after opening again: {error}"))?;
    ledger.check(&mut after).map_err(|error| format!("after opening again: {error}"))?;
    Ok(met)
}

#[test]
fn a_flush_that_failed_is_tried_again_although_nothing_else_is_written() {
    let mut world = prepared(Setting { busy: true, start: 1_000_000, ..Setting::default() });
    world.files.fill("segments");
    // One batch is enough for a flush, so that no other row is in memory when that has failed.
    let mut write = batch(Work::Write(1)).expect("a write has a batch");
    write.rows[0].cells[1] = Some(Value::Text("a long text ".repeat(100)));
    world.apply(&write).unwrap();
    let statistics = world.database().statistics();
    let until = |what: &str, rests: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !rests() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::yield_now();
        }
    };
    until("no flush fails", &|| statistics.background_errors.get() > 0);
    world.files.heal();
    until("the flush is not tried again", &|| statistics.flushes.get() > 0);
    world.check(&Ask::latest(&world, 3)).unwrap();
}

#[test]
fn a_file_call_that_fails_under_background_work_loses_nothing_and_hangs_nobody() {
    let failures = Mutex::new(Vec::new());
    let met = AtomicU64::new(0);
    for (fault, sticky) in [
        (Fault::NoSpace, false),
        (Fault::Io, false),
        (Fault::SyncLost, false),
        (Fault::NoSpace, true),
        (Fault::Io, true),
    ] {
        on_all_cores(|number| {
            let call = number as u64 * 3 + 1;
            let done = catch_unwind(AssertUnwindSafe(|| trial(call, fault, sticky)));
            match done.unwrap_or_else(|panic| Err(panic_text(panic))) {
                Ok(errors) => _ = met.fetch_add(errors, Ordering::Relaxed),
                Err(error) => {
                    failures.lock().unwrap().push(format!("call {call} {fault:?} sticky {sticky}: {error}"));
                }
            }
            number >= 120
        });
    }
    report(failures.into_inner().unwrap());
    println!("background work met {} errors", met.load(Ordering::Relaxed));
    assert!(met.into_inner() > 0, "no failing call was one of background work: that proves nothing");
}
