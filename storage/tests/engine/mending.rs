//! Verify names every damage, and repair keeps what is whole: for every byte of every kind of file.

use std::sync::{Arc, Mutex};

use firn_storage::io::Files;
use firn_storage::io::simulated::Simulated;
use firn_storage::repair::repair;
use firn_storage::verify::verify;

use crate::faults::{ENTITIES, Ledger, Work, batch, on_all_cores, report, whole_directory};
use crate::world::ask::Ask;
use crate::world::scan::Sweep;
use crate::world::{Outcome, World, calmly};

/// Damages one byte, or cuts the file there, and mends the database.
fn damage_and_mend(world: &World, ledger: &Ledger, name: &str, at: usize, cut: bool) -> Outcome {
    let files = world.files.copy();
    if cut {
        files.truncate(name, at)
    } else {
        files.flip(name, at)
    }
    let door: Arc<dyn Files> = Arc::new(files.clone());
    let found = calmly("verify", || verify(&door))?;
    if found.damages.is_empty() && name.starts_with("wal/") {
        // Only the record that closes the log is hurt, or the log was cut like a crash does: that is no damage.
        let mut whole = world.on(files);
        whole.open()?;
        return ledger.check_but_torn(&mut whole, cut);
    }
    if !found.damages.iter().any(|damage| damage.file == name) {
        return Err(format!("verify does not name it: {found:?}"));
    }
    let damaged = files.content(name);
    let first = calmly("repair", || repair(&door, world.clock.as_ref(), false))?;
    if name.starts_with("manifest/") || name.starts_with("versions/") {
        return if first.left == found.damages { Ok(()) } else { Err(format!("a manifest was mended: {first:?}")) };
    }
    if first.left.is_empty() {
        let mut whole = world.on(files.copy());
        whole.open()?;
        ledger.check(&mut whole).map_err(|error| format!("nothing was given up, but {error}: {first:?}"))?;
    } else if first.left.iter().any(|damage| damage.file != name && !name.starts_with("wal/")) {
        return Err(format!("something else is left: {first:?}"));
    }
    let second = calmly("repair", || repair(&door, world.clock.as_ref(), true))?;
    if !cut && name.starts_with("dictionaries/") && !in_description(&world.files.content(name), at) {
        // Each key stands twice: a flipped byte costs none or the one that it is in.
        let given_up = |done: &&String| done.contains("gave up") && !done.contains("gave up 1 entities");
        if let Some(done) = second.done.iter().find(given_up) {
            return Err(format!("one byte cost more than one key: {done}"));
        }
    }
    if !second.left.is_empty() {
        return Err(format!("not all was mended: {second:?}"));
    }
    let aside = files.names().into_iter().filter(|name| name.starts_with("damaged/"));
    if !aside.into_iter().any(|name| files.content(&name) == damaged) {
        return Err("the damaged file was not kept".to_owned());
    }
    answers(world, ledger, name, &files).map_err(|error| format!("{error}, after {first:?} and {second:?}"))
}

/// Whether `at` is in the description of a dictionary, without which nothing tells where anything lies.
fn in_description(file: &[u8], at: usize) -> bool {
    let pattern = b"{\"first_ordinal\"";
    let start = file.windows(pattern.len()).rposition(|window| window == pattern).expect("every dictionary has one");
    let end = file.iter().rposition(|byte| *byte == b'}').expect("it ends");
    (start..=end).contains(&at)
}

/// Opens what was mended: it answers, takes writes after all that came before, and is whole.
fn answers(world: &World, ledger: &Ledger, name: &str, files: &Simulated) -> Outcome {
    let mut mended = world.on(files.clone());
    mended.open()?;
    if name.starts_with("wal/") {
        // A log that was cut is one that lost its newest batches.
        ledger.check_but_torn(&mut mended, true)?;
    }
    let latest = mended.request(&Ask::latest(&mended, ENTITIES)).ok_or("the table has no features")?;
    calmly("read", || mended.ask(&latest))?;
    calmly("scan", || mended.sweep(&Sweep::history(0)))?;
    calmly("scan", || mended.sweep(&Sweep { history: false, ..Sweep::history(0) }))?;
    let written = calmly("write", || mended.send(&batch(Work::Write(10)).expect("a write has a batch")))?;
    let answered = world.acks.len() as u64 + ledger.commits();
    if written.position.sequence() <= answered {
        return Err(format!("sequence {} was given twice", written.position.sequence()));
    }
    calmly("compact", || mended.database().compact(&mended.database().catalog(), None))?;
    calmly("read", || mended.ask(&latest))?;
    calmly("close", || mended.close())?;
    let found = calmly("verify", || verify(&mended.door()))?;
    if found.damages.is_empty() { Ok(()) } else { Err(format!("damage is left: {found:?}")) }
}

#[test]
fn any_damage_is_named_and_mended() {
    let (world, ledger) = whole_directory(true);
    let mut damages: Vec<(String, usize, bool)> = Vec::new();
    for name in world.files.names().into_iter().filter(|name| name != "lock") {
        let length = world.files.content(&name).len();
        println!("{name}: {length} bytes");
        // A number that divides no size of a record or a section, so that every field is met.
        damages.extend((0..length).step_by(7).map(|at| (name.clone(), at, false)));
        damages.extend((0..length).step_by(61).map(|at| (name.clone(), at, true)));
    }
    let failures = Mutex::new(Vec::new());
    on_all_cores(|number| {
        let Some((name, at, cut)) = damages.get(number) else { return true };
        if let Err(error) = damage_and_mend(&world, &ledger, name, *at, *cut) {
            let how = if *cut { "cut at" } else { "flipped at" };
            failures.lock().unwrap().push(format!("{name} {how} {at}: {error}"));
        }
        number + 1 >= damages.len()
    });
    println!("{} damages", damages.len());
    report(failures.into_inner().unwrap());
}

#[test]
fn a_missing_file_is_named_and_mended() {
    let (world, ledger) = whole_directory(true);
    let names = world.files.names();
    // Nobody can tell that the ceiling, or the last file of a log that was closed, is missing.
    let told = names.into_iter().filter(|name| name.contains('/') && !name.starts_with("manifest/"));
    let told: Vec<String> = told.collect();
    for folder in ["versions/", "erasures/", "segments/", "packs/", "dictionaries/", "wal/"] {
        assert!(told.iter().any(|name| name.starts_with(folder)), "there is nothing in {folder}");
    }
    for name in told {
        let files = world.files.copy();
        files.remove(&name).expect("the file is there");
        let door: Arc<dyn Files> = Arc::new(files.clone());
        let found = verify(&door).unwrap();
        assert!(found.damages.iter().any(|damage| damage.file == name), "{name}: {found:?}");
        let done = repair(&door, world.clock.as_ref(), true).unwrap();
        if name.starts_with("versions/") {
            assert_eq!(done.left, found.damages, "nothing can make it again");
            continue;
        }
        assert!(done.left.is_empty(), "{name}: {done:?}");
        answers(&world, &ledger, &name, &files).unwrap_or_else(|error| panic!("{name}: {error}, after {done:?}"));
    }
}

#[test]
fn a_whole_database_is_left_as_it_is() {
    let (world, _) = whole_directory(true);
    let door: Arc<dyn Files> = Arc::new(world.files.copy());
    let done = repair(&door, world.clock.as_ref(), true).unwrap();
    assert_eq!((done.done, done.left, done.set_aside), (vec![], vec![], vec![]));
    assert!(done.before.files >= 5 && done.before.bytes > 1000, "{:?}", done.before);
}
