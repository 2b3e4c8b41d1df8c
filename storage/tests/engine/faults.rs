//! P1, P5 and P6: power loss, damaged files and failing file calls.
//!
//! The workload writes batches that can be told apart (the number of a batch is in its event times and cells), so
//! that after any trouble a history scan says which batches are there. Every acknowledged one must be, each whole;
//! one that failed may be there or not. What is there is then put to the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use firn_storage::database::EraseRequest;
use firn_storage::error::{Error, Kind as ErrorKind};
use firn_storage::io::Files;
use firn_storage::io::simulated::{Fault, Simulated};
use firn_storage::model::declare::Change;
use firn_storage::time::Clock;
use firn_storage::verify::verify;
use serde_json::json;

use crate::oracle::Value;
use crate::types::Type;
use crate::world::ask::{Ask, Limit};
use crate::world::data::rows_of;
use crate::world::keys::KeyShape;
use crate::world::scan::Sweep;
use crate::world::{Batch, Deed, ENTITY, Feature, Outcome, Sent, Setting, Shape, World, panic_text};

/// One step of the workload.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    Write(u64),
    Delete(u64),
    /// Adds a feature.
    Evolve(u32),
    Flush,
    Compact,
    Read,
    Reopen,
}

/// Every kind of file comes and goes: logs, segments, dictionaries, packs, manifests.
const WORKLOAD: [Work; 21] = [
    Work::Write(1),
    Work::Write(2),
    Work::Flush,
    Work::Write(3),
    Work::Read,
    Work::Delete(4),
    Work::Flush,
    Work::Compact,
    Work::Evolve(2),
    Work::Write(5),
    Work::Reopen,
    Work::Read,
    Work::Write(6),
    Work::Flush,
    Work::Write(7),
    Work::Flush,
    Work::Evolve(3),
    Work::Compact,
    Work::Write(8),
    Work::Read,
    Work::Write(9),
];

pub(crate) const ENTITIES: usize = 3;

pub(crate) fn batch(work: Work) -> Option<Batch> {
    let (number, deed) = match work {
        Work::Write(number) => (number, Deed::Write { columns: vec![0, 1], nulls_absent: true }),
        Work::Delete(number) => (number, Deed::Delete),
        _ => return None,
    };
    let writes = matches!(deed, Deed::Write { .. });
    let row = |entity: usize| {
        let text = (entity != 1).then(|| Value::Text(format!("batch {number} for {entity}")));
        let cells = vec![Some(Value::Int(i128::from(number) * 10 + entity as i128)), text];
        Sent { entity, event_time: number as i64 * 1000, row_id: None, cells: if writes { cells } else { vec![] } }
    };
    // A delete ends one entity only, so that the others keep their older batches in sight.
    let entities = if writes { 0..ENTITIES } else { 1..2 };
    let rows = entities.map(row).collect();
    Some(Batch { table: 0, deed, rows, ingest_times: None, producer: None, bad_rows: 0 })
}

fn added(id: u32) -> Feature {
    Feature::plain(id, &format!("added{id}"), Type::Float64)
}

/// How these worlds are opened.
fn setting() -> Setting {
    Setting { segment_rows_max: 8, wal_bytes_max: 4096, start: 1_000_000, ..Setting::default() }
}

/// An empty table to work on.
pub(crate) fn prepared(setting: Setting) -> World {
    let mut world = World::new(setting, KeyShape::Number).expect("a new world");
    let features = vec![Feature::plain(0, "n", Type::Int64), Feature::plain(1, "s", Type::Text)];
    world.create_table("t", false, Shape { features, ..Shape::default() }).expect("a table");
    // Many versions, so that some get a file of their own.
    for version in 0..9 {
        world.alter(0, &json!({"set": {"description": version.to_string()}}), |_| {}).expect("a change");
    }
    // And an erase, which has one too: of an entity that never comes.
    let keys = world.keys.columns(&[99]).into_iter().map(|(field, array)| (field.name().clone(), array)).collect();
    let erase = EraseRequest { entity: ENTITY.to_owned(), keys, block: true };
    world.database().erase(&world.database().catalog(), &erase).expect("a healthy disk");
    world
}

/// What a writer knows: which batches were acknowledged, and which were sent.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ledger {
    acknowledged: BTreeSet<u64>,
    sent: BTreeMap<u64, Batch>,
    evolved: BTreeSet<u32>,
}

impl Ledger {
    /// At least as many commits as this were acknowledged.
    pub(crate) fn commits(&self) -> u64 {
        (self.acknowledged.len() + self.evolved.len()) as u64
    }

    /// Does `work`; the error, if there was one.
    pub(crate) fn work(&mut self, world: &mut World, work: Work) -> Option<Error> {
        world.clock.advance(10);
        let done = catch_unwind(AssertUnwindSafe(|| match work {
            Work::Write(number) | Work::Delete(number) => {
                let batch = batch(work).expect("a write has a batch");
                self.sent.insert(number, batch.clone());
                world.send(&batch).map(|_| _ = self.acknowledged.insert(number))
            }
            Work::Evolve(id) => {
                let body = json!({"table": "t", "add": [added(id).declaration()]});
                world.database().change(&world.database().catalog(), &Change::parse("alter_table", &body)?)?;
                self.evolved.insert(id);
                Ok(())
            }
            Work::Flush => world.database().flush(&world.database().catalog(), None),
            Work::Compact => world.database().compact(&world.database().catalog(), None),
            Work::Read => {
                let known_at = Limit::At { micros: world.clock.now(), exclusive: false };
                let ask = Ask { known_at, ..Ask::latest(world, ENTITIES) };
                world.ask(&world.request(&ask).expect("the table has features")).map(drop)
            }
            Work::Reopen => {
                // However closing ends, opening must work once the disk does.
                let closed = world.close();
                let opened = world.try_open();
                if opened.is_err() {
                    world.files.heal();
                    world.try_open()?;
                }
                closed.and(opened)
            }
        }));
        done.unwrap_or_else(|panic| panic!("{work:?} panicked: {}", panic_text(panic))).err()
    }

    /// Checks that what is there is what may be there, and that the engine answers by it.
    pub(crate) fn check(&self, world: &mut World) -> Outcome {
        self.check_but_torn(world, false)
    }

    /// With `torn`, the newest batches may be missing: a log that was cut looks like one that power loss tore.
    pub(crate) fn check_but_torn(&self, world: &mut World, torn: bool) -> Outcome {
        let there = world.database().catalog();
        let there = &there.table("t").map_err(|error| error.to_string())?.features;
        let there = |id: &u32| there.iter().any(|feature| feature.name == added(*id).name);
        if let Some(lost) = self.evolved.iter().find(|id| !there(id)) {
            return Err(format!("the acknowledged feature {lost} is lost"));
        }
        world.tables[0].shape.features.truncate(2);
        world.tables[0].shape.features.extend((2..=3).filter(there).map(added));
        let (batches, _) = world.sweep(&Sweep::history(0)).map_err(|error| format!("history scan: {error:?}"))?;
        let mut rows: BTreeMap<u64, (usize, i64)> = BTreeMap::new();
        for batch in &batches {
            let time = |name: &str, row: usize| crate::world::scan::time_at(batch, name, row);
            for row in 0..batch.num_rows() {
                let there = rows.entry(time("at", row)? as u64 / 1000).or_insert((0, time("ingest_time", row)?));
                there.0 += 1;
            }
        }
        let newest = rows.keys().max().copied();
        let may_miss = |number: &u64| torn && newest.is_none_or(|newest| *number > newest);
        let lost = self.acknowledged.iter().find(|number| !rows.contains_key(number) && !may_miss(number));
        if let Some(lost) = lost {
            return Err(format!("the acknowledged batch {lost} is lost; there are {rows:?}"));
        }
        world.tables[0].rows.clear();
        world.tables[0].sealed = !rows.is_empty();
        for (number, (count, ingest_time)) in rows {
            let batch = self.sent.get(&number).ok_or_else(|| format!("batch {number} was never sent"))?;
            if count != batch.rows.len() {
                return Err(format!("batch {number} has {count} rows of {}", batch.rows.len()));
            }
            world.tables[0].rows.extend(rows_of(batch, number, |_| (0, ingest_time)));
        }
        world.check_scan(&Sweep::history(0))?;
        world.check_scan(&Sweep { history: false, ..Sweep::history(0) })?;
        world.check(&Ask::latest(world, ENTITIES + 1))?;
        let micros: Vec<i64> = (0..12).map(|number| number * 1000).collect();
        let entities = (0..micros.len()).map(|row| row % ENTITIES).collect();
        let as_of = Limit::PerRow { micros, exclusive: false };
        world.check(&Ask { as_of, entities, ..Ask::latest(world, 0) }).map(drop)
    }
}

/// Runs `trials` numbered ones on all cores until `trial` says that it was the last.
pub(crate) fn on_all_cores(trial: impl Fn(usize) -> bool + Sync) -> usize {
    let (next, last) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number > last.load(Ordering::Relaxed) {
                        return;
                    }
                    if trial(number) {
                        last.fetch_min(number, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    last.into_inner()
}

/// No file is there that the manifest does not name, and one manifest.
pub(crate) fn no_orphans(world: &World) -> Outcome {
    let files: Arc<dyn Files> = Arc::new(world.files.clone());
    let report = verify(&files).map_err(|error| format!("{error:?}"))?;
    let manifests = world.files.names().into_iter().filter(|name| name.starts_with("manifest/")).count();
    // What is left of the ceiling is written over with the next one.
    let orphan = |note: &&String| note.contains("belongs to nothing") && !note.starts_with("ceiling.tmp");
    match report.notes.iter().find(orphan) {
        Some(orphan) => Err(orphan.clone()),
        None if manifests > 1 => Err(format!("there are {manifests} manifests")),
        None => Ok(()),
    }
}

/// Lets the `call`-th file call of the workload fail; returns whether the workload ended before that call.
fn fail_call(call: u64, fault: Fault, sticky: bool) -> Result<bool, String> {
    let mut world = prepared(setting());
    let mut ledger = Ledger::default();
    let begun = world.files.calls();
    if sticky {
        world.files.fail_from(call, fault)
    } else {
        world.files.fail_call(call, fault)
    }
    let mut refused = false;
    for work in WORKLOAD {
        let error = ledger.work(&mut world, work);
        if let (Some(error), false) = (&error, world.files.calls() >= begun + call) {
            return Err(format!("{work:?} failed before any call did: {error:?}"));
        }
        refused |= error.is_some();
        if refused {
            world.files.heal();
        }
        let unsynced = error.is_some_and(|error| error.kind() == ErrorKind::Poisoned);
        if unsynced && !matches!(work, Work::Reopen) && !world.database().is_poisoned() {
            return Err(format!("a sync failed in {work:?}, and writes go on"));
        }
    }
    let over = world.files.calls() < begun + call;
    world.files.heal();
    // Whatever was refused, reads go on and are right.
    ledger.check(&mut world).map_err(|error| format!("before opening again: {error}"))?;
    if world.database().is_poisoned() {
        let written = ledger.work(&mut world, Work::Write(19));
        if !written.is_some_and(|error| error.kind() == ErrorKind::Poisoned) {
            return Err("a poisoned database took a write".to_owned());
        }
    } else {
        world
            .database()
            .flush(&world.database().catalog(), None)
            .map_err(|error| format!("a flush on a healthy disk: {error:?}"))?;
        no_orphans(&world).map_err(|error| format!("after a good flush: {error}"))?;
    }
    let closed = world.close();
    if let (Err(error), false) = (&closed, refused) {
        return Err(format!("close failed: {error:?}"));
    }
    world.files.evict();
    let files = world.files.crash(call);
    let mut after = world.on(files);
    after.open()?;
    no_orphans(&after).map_err(|error| format!("after opening again: {error}"))?;
    ledger.check(&mut after).map_err(|error| format!("after opening again: {error}"))?;
    // The database is whole again: it takes writes, and keeps them.
    for work in [Work::Write(20), Work::Flush, Work::Write(21), Work::Compact, Work::Reopen] {
        if let Some(error) = ledger.work(&mut after, work) {
            return Err(format!("{work:?} failed on a healthy disk: {error:?}"));
        }
    }
    ledger.check(&mut after).map_err(|error| format!("after writing again: {error}"))?;
    Ok(over)
}

#[test]
fn any_failing_file_call_is_an_error_and_then_recovery() {
    let failures = Mutex::new(Vec::new());
    for (fault, sticky) in [
        (Fault::NoSpace, false),
        (Fault::Io, false),
        (Fault::TooManyFiles, false),
        (Fault::SyncLost, false),
        (Fault::NoSpace, true),
        (Fault::Io, true),
    ] {
        let calls = on_all_cores(|number| match fail_quietly(number as u64 + 1, fault, sticky) {
            Ok(over) => over,
            Err(error) => {
                failures.lock().unwrap().push(format!("call {} {fault:?} sticky {sticky}: {error}", number + 1));
                number > 5000
            }
        });
        println!("{calls} calls failed as {fault:?}, sticky: {sticky}");
        assert!(calls < 5000, "the workload never ends");
    }
    report(failures.into_inner().unwrap());
}

fn fail_quietly(call: u64, fault: Fault, sticky: bool) -> Result<bool, String> {
    catch_unwind(|| fail_call(call, fault, sticky)).unwrap_or_else(|panic| Err(panic_text(panic)))
}

pub(crate) fn report(failures: Vec<String>) {
    let total = failures.len();
    let first: Vec<String> = failures.into_iter().take(10).collect();
    assert!(total == 0, "{total} failures, the first:\n{}", first.join("\n\n"));
}

#[test]
fn a_failing_call_while_opening_is_an_error_and_the_next_opening_works() {
    let mut world = prepared(setting());
    let mut ledger = Ledger::default();
    for work in WORKLOAD {
        assert!(ledger.work(&mut world, work).is_none(), "{work:?} failed on a healthy disk");
    }
    let failures = Mutex::new(Vec::new());
    for fault in [Fault::NoSpace, Fault::Io, Fault::TooManyFiles] {
        on_all_cores(|number| {
            let mut again = world.on(world.files.crash(number as u64));
            again.files.fail_call(number as u64 + 1, fault);
            let over = match catch_unwind(AssertUnwindSafe(|| again.try_open())) {
                Ok(opened) => opened.is_ok() && again.files.calls() <= number as u64,
                Err(panic) => {
                    failures.lock().unwrap().push(format!("call {number} {fault:?}: {}", panic_text(panic)));
                    false
                }
            };
            again.files.heal();
            drop(again.close());
            if let Err(error) = again.open().and_then(|()| ledger.check(&mut again)) {
                failures.lock().unwrap().push(format!("call {number} {fault:?}: {error}"));
            }
            over || number > 2000
        });
    }
    report(failures.into_inner().unwrap());
}

#[test]
fn acknowledged_writes_survive_power_loss_at_every_call() {
    let failures = Mutex::new(Vec::new());
    let seeds = 8;
    on_all_cores(|number| {
        let mut world = prepared(setting());
        let mut ledger = Ledger::default();
        let begun = world.files.calls();
        let call = (number / seeds) as u64 + 1;
        // The process dies at that call: nothing reaches the disk from there on.
        world.files.fail_from(call, Fault::Io);
        for work in WORKLOAD.into_iter().filter(|work| !matches!(work, Work::Reopen)) {
            ledger.work(&mut world, work);
        }
        let over = world.files.calls() < begun + call;
        let mut after = world.on(world.files.crash(number as u64));
        let checked = after.open().and_then(|()| ledger.check(&mut after));
        if let Err(error) = checked {
            failures.lock().unwrap().push(format!("call {call} seed {number}: {error}"));
        }
        over || number > 20_000
    });
    report(failures.into_inner().unwrap());
}

/// A directory with every kind of file and the ledger of what it holds: closed cleanly, or as power loss finds it.
pub(crate) fn whole_directory(closed: bool) -> (World, Ledger) {
    let mut world = prepared(setting());
    let mut ledger = Ledger::default();
    for work in WORKLOAD {
        assert!(ledger.work(&mut world, work).is_none(), "{work:?} failed on a healthy disk");
    }
    ledger.check(&mut world).expect("an undamaged database answers right");
    if closed {
        world.close().expect("a healthy disk");
        return (world, ledger);
    }
    let files = world.files.copy();
    (world.on(files), ledger)
}

/// Opens a damaged copy and reads everything: an error must name the damaged file; an answer must be right.
fn examine(world: &World, ledger: &Ledger, files: Simulated, name: &str, torn: bool) -> Outcome {
    let mut damaged = world.on(files.clone());
    // A file that is not there can only be missed from its directory.
    let missing = !files.names().iter().any(|there| there == name);
    let (directory, number) = name.rsplit_once('/').unwrap_or(("", name));
    let number = if missing && directory == "manifest" { directory } else { number };
    let named = |error: &Error| match error.kind() {
        ErrorKind::Corrupt | ErrorKind::Io if error.message().contains(number) => Ok(()),
        _ => Err(format!("an error that does not name the damaged file: {error:?}")),
    };
    match catch_unwind(AssertUnwindSafe(|| damaged.try_open())) {
        Err(panic) => return Err(format!("open panicked: {}", panic_text(panic))),
        Ok(Err(error)) => return named(&error),
        Ok(Ok(())) => {}
    }
    let checked = catch_unwind(AssertUnwindSafe(|| ledger.check_but_torn(&mut damaged, torn)));
    match checked {
        Err(panic) => Err(format!("read panicked: {}", panic_text(panic))),
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if (error.contains("Corrupt: ") || error.contains("Io: ")) && error.contains(number) => Ok(()),
        Ok(Err(error)) => Err(error),
    }
}

/// Flips every byte of every file whose name begins with `prefix`, and cuts it everywhere. The newest batches of the
/// last log may be missing where it may look torn: where it was cut, and with `open` also where a byte was flipped.
fn damage_all(world: &World, ledger: &Ledger, prefix: &str, open: bool) {
    let mut damages: Vec<(String, usize, bool)> = Vec::new();
    for name in world.files.names().into_iter().filter(|name| name.starts_with(prefix)) {
        let length = world.files.content(&name).len();
        println!("{name}: {length} bytes");
        damages.extend((0..length).flat_map(|at| [(name.clone(), at, false), (name.clone(), at, true)]));
    }
    let last_log = world.files.names().into_iter().filter(|name| name.starts_with("wal/")).max();
    let failures = Mutex::new(Vec::new());
    on_all_cores(|number| {
        let Some((name, at, cut)) = damages.get(number) else { return true };
        let files = world.files.copy();
        if *cut {
            files.truncate(name, *at)
        } else {
            files.flip(name, *at)
        }
        let torn = (*cut || open) && Some(name) == last_log.as_ref();
        if let Err(error) = examine(world, ledger, files, name, torn) {
            let how = if *cut { "cut at" } else { "flipped at" };
            failures.lock().unwrap().push(format!("{name} {how} {at}: {error}"));
        }
        number + 1 >= damages.len()
    });
    println!("{} damages", damages.len());
    report(failures.into_inner().unwrap());
}

#[test]
fn a_damaged_byte_is_an_error_and_never_a_wrong_answer() {
    let (world, ledger) = whole_directory(true);
    damage_all(&world, &ledger, "", false);
}

#[test]
fn a_damaged_log_that_was_not_closed_loses_at_most_its_torn_end() {
    let (world, ledger) = whole_directory(false);
    damage_all(&world, &ledger, "wal/", true);
}

#[test]
fn damage_in_one_table_keeps_no_other_from_compaction() {
    let mut world = prepared(setting());
    let features = vec![Feature::plain(0, "n", Type::Int64), Feature::plain(1, "s", Type::Text)];
    world.create_table("u", false, Shape { features, ..Shape::default() }).expect("a table");
    for number in 1..=4 {
        let mut batch = batch(Work::Write(number)).expect("a write has a batch");
        // Long enough that some blocks of its segment hold nothing but its text.
        batch.rows[0].cells[1] = Some(Value::Text("a long text ".repeat(20_000)));
        world.apply(&batch).unwrap();
        world.flush(None).unwrap();
        world.apply(&Batch { table: 1, ..batch }).unwrap();
        world.flush(None).unwrap();
    }
    world.close().unwrap();
    let names = world.files.names();
    let first = names.iter().find(|name| name.starts_with("segments/")).expect("there are segments");
    world.files.flip(first, world.files.content(first).len() / 2);
    world.open().unwrap();
    let segments = |world: &World, table: usize| world.database().status()["tables"][table]["segments"].clone();
    let before = (segments(&world, 0), segments(&world, 1));
    let mut errors = 0;
    for _ in 0..20 {
        match world.database().compact_once() {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
                errors += 1;
            }
        }
    }
    assert_eq!(errors, 1, "a table in which compaction failed is passed over for a while");
    assert_eq!(segments(&world, 0), before.0);
    assert!(segments(&world, 1).as_u64() < before.1.as_u64(), "the other table was not compacted");
    no_orphans(&world).unwrap();
}

#[test]
fn a_missing_file_is_an_error_and_never_a_wrong_answer() {
    let (world, ledger) = whole_directory(true);
    for name in world.files.names() {
        let files = world.files.copy();
        firn_storage::io::Files::remove(&files, &name).expect("the file is there");
        if let Err(error) = examine(&world, &ledger, files, &name, false) {
            panic!("{name} removed: {error}");
        }
    }
}
