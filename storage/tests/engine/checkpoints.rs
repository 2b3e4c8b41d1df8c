//! Checkpoints: what one holds answers as it did when it was taken, whatever came since, and what nothing holds any more goes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use firn_storage::config::{FollowOptions, IcePolicy};
use firn_storage::database::Database;
use firn_storage::error::{Error, Kind, Result};
use firn_storage::home::{Checkpoint, copy};
use firn_storage::io::Files;
use firn_storage::io::simulated::Simulated;
use firn_storage::objects::faulty::Fault;
use firn_storage::objects::memory::Memory;
use firn_storage::objects::{ObjectName, Objects};

use serde_json::json;

use crate::histories::generator::{Size, Step, generate};
use crate::histories::runner::{begin, run_step};
use crate::world::ask::Ask;
use crate::world::plain::{number as row, of_numbers};
use crate::world::scan::Sweep;
use crate::world::{Setting, World};

/// A world with a bucket and a table of one integer.
fn writer() -> World {
    let mut world = of_numbers(Setting { home: true, wal_bytes_max: 4096, start: 1_000_000, ..Setting::default() });
    world.fill(20, row);
    world
}

fn take(world: &World, name: &str) -> Result<()> {
    let database = world.database();
    database.create_checkpoint(&database.catalog(), name).map(drop)
}

/// A reader of what `writer` is now, on an empty disk, not open yet: it knows what the oracle knows now.
fn reader_of(writer: &World) -> World {
    let mut reader = writer.on(Simulated::new());
    reader.clock = Arc::clone(&writer.clock);
    reader.know(writer);
    reader
}

/// Opens `reader` at the checkpoint `name` of the bucket of `writer`.
fn open(reader: &mut World, writer: &World, name: &str) -> Result<()> {
    let (objects, interval) = (Arc::new(writer.objects.clone()), Duration::from_millis(1));
    let checkpoint = Some(name.to_owned());
    reader.open_with(|options| {
        options.home = None;
        options.follow = Some(FollowOptions { objects, interval, ice: IcePolicy::default(), checkpoint });
    })
}

/// `reader` answers as the oracle does, which knows what was when the checkpoint was taken.
fn check(reader: &mut World, entities: usize) {
    let latest = Ask { entities: (0..entities).collect(), ..Ask::latest(reader, 0) };
    reader.check(&latest).expect("it answers as it did then");
    for table in 0..reader.tables.len() {
        reader.check_scan(&Sweep::history(table)).expect("it has the rows that it had then");
    }
}

fn refused(result: Result<()>, kind: Kind, words: &str) {
    let error: Error = result.expect_err(words);
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.message().contains(words), "{error:?}");
}

fn names_in(world: &World, folder: &str) -> Vec<String> {
    world.objects.list(folder).unwrap().iter().map(|listed| listed.name.to_string()).collect()
}

#[test]
fn a_checkpoint_answers_as_then_whatever_came_since() {
    let mut writer = writer();
    take(&writer, "first").unwrap();
    let mut first = reader_of(&writer);
    for number in 20..60 {
        writer.apply(&row(number as usize % 4, number, number)).unwrap();
        if number % 8 == 0 {
            writer.compact(None).unwrap();
        }
        if number == 40 {
            take(&writer, "second").unwrap();
            writer.reopen().unwrap();
        }
    }
    writer.change("drop_table", &serde_json::json!({"table": "t"})).unwrap();
    writer.reopen().unwrap();
    for _ in 0..2 {
        open(&mut first, &writer, "first").unwrap();
        check(&mut first, 4);
        refused(first.database().flush(&first.database().catalog(), None), Kind::Precondition, "stays at first");
        first.close().unwrap();
    }
    refused(open(&mut first, &writer, "second"), Kind::Precondition, "empty directory");
    let known = writer.database().checkpoints().unwrap();
    assert_eq!(known.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["first", "second"]);
}

#[test]
fn what_only_a_dropped_checkpoint_needed_goes() {
    let mut writer = writer();
    writer.compact(None).unwrap();
    take(&writer, "a").unwrap();
    writer.fill(20, row);
    writer.compact(None).unwrap();
    take(&writer, "b").unwrap();
    writer.fill(20, row);
    writer.compact(None).unwrap();
    writer.reopen().unwrap();
    let with_both = names_in(&writer, "data").len();
    writer.database().drop_checkpoint("a").unwrap();
    let with_one = names_in(&writer, "data").len();
    writer.database().drop_checkpoint("b").unwrap();
    let with_none = names_in(&writer, "data").len();
    assert!(with_both > with_one && with_one > with_none, "{with_both}, {with_one}, {with_none}");
    assert!(names_in(&writer, "checkpoints").is_empty());
    refused(writer.database().drop_checkpoint("a"), Kind::NotFound, "there is none");
    // What is left is what one without checkpoints would have.
    writer.files = Simulated::new();
    drop(writer.close());
    writer.files = Simulated::new();
    writer.open().unwrap();
    let latest = Ask { entities: vec![0, 1, 2, 3], ..Ask::latest(&writer, 0) };
    writer.check(&latest).unwrap();
}

#[test]
fn names_are_checked_and_there_are_only_so_many() {
    let writer = writer();
    for name in ["", "a b", "a/b", "ü", &"a".repeat(65)] {
        refused(take(&writer, name), Kind::Invalid, "a checkpoint is named by");
    }
    for name in ["a", "2026-11-27_v1.0", "c", "d"] {
        take(&writer, name).unwrap();
    }
    refused(take(&writer, "a"), Kind::AlreadyExists, "already");
    refused(take(&writer, "e"), Kind::Exhausted, "bucket-checkpoints-max (4)");
    let without = of_numbers(Setting { start: 1_000_000, ..Setting::default() });
    refused(take(&without, "a"), Kind::Precondition, "--bucket");
}

#[test]
fn while_a_checkpoint_cannot_be_read_nothing_is_deleted() {
    let mut writer = writer();
    take(&writer, "a").unwrap();
    let (name, kept) = {
        let listed = writer.objects.list("checkpoints").unwrap();
        let name = listed[0].name.clone();
        let bytes = writer.objects.get(&name).unwrap().unwrap();
        (name, bytes)
    };
    let mut reader = reader_of(&writer);
    writer.close().unwrap();
    writer.objects.put(&name, kept.slice(..kept.len() - 1)).unwrap();
    writer.open().unwrap();
    let before = names_in(&writer, "data");
    for number in 0..3 {
        writer.fill(10 + number, row);
        writer.compact(None).unwrap();
        writer.reopen().unwrap();
    }
    let after = names_in(&writer, "data");
    assert!(before.iter().all(|name| after.contains(name)), "nothing is deleted");
    refused(open(&mut reader, &writer, "a"), Kind::Corrupt, "checkpoints/");
    // It comes back: a disk was mended.
    writer.objects.put(&name, kept).unwrap();
    open(&mut reader, &writer, "a").unwrap();
    check(&mut reader, 4);
    writer.database().drop_checkpoint("a").unwrap();
    writer.reopen().unwrap();
    assert!(!names_in(&writer, "data").contains(&before[0]), "it was let go");
}

/// Each random history is taken to checkpoints on its way, which are read at its end.
fn check_history(seed: u64) {
    let mut history = generate(seed, Size { steps: 60, rows: 60 });
    history.setting.home = true;
    let mut writer = begin(&history).expect("a world");
    let mut readers: Vec<(String, World)> = Vec::new();
    // Erased, and not gone from the files yet.
    let mut pending: Vec<usize> = Vec::new();
    for (at, step) in history.steps.iter().enumerate() {
        let told = |error: String| panic!("seed {seed}, step {at} {step:?}: {error}");
        run_step(&mut writer, &history, step).unwrap_or_else(told);
        if let Step::Erase { entity, purged } = step {
            pending.push(*entity);
            if *purged {
                // What is erased leaves the checkpoints too, and with it what a purge before could not remove.
                for entity in pending.drain(..) {
                    readers.iter_mut().for_each(|(_, reader)| reader.know_erased(entity));
                }
            }
        }
        if at % 20 == 13 {
            let name = format!("at-{at}");
            match take(&writer, &name) {
                Ok(()) => readers.push((name, reader_of(&writer))),
                Err(error) if error.kind() == Kind::Unavailable && !pending.is_empty() => {}
                Err(error) => told(format!("{error:?}")),
            }
        }
    }
    for (name, reader) in &mut readers {
        let told = |error| panic!("seed {seed}, checkpoint {name}: {error}");
        open(reader, &writer, name).unwrap_or_else(|error| panic!("seed {seed}, checkpoint {name}: {error:?}"));
        let latest = Ask::latest(reader, history.entities + 1);
        reader.check(&latest).map(drop).unwrap_or_else(told);
        for table in 0..reader.tables.len() {
            reader.check_scan(&Sweep::history(table)).unwrap_or_else(told);
        }
        reader.close().expect("a clean end");
    }
}

#[test]
fn checkpoints_of_random_histories_answer_as_the_oracle_did() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (first, count) = (number("FIRN_SEED", 1), number("FIRN_CHECKPOINTED", 60));
    (first..first + count).for_each(check_history);
}

const SECRET: i64 = 0x5EC2_E7C0_FFEE_1234;

#[test]
fn what_was_erased_is_in_no_checkpoint() {
    let mut writer = writer();
    writer.apply(&row(0, 100, SECRET)).unwrap();
    writer.compact(None).unwrap();
    writer.freeze(None).unwrap();
    writer.apply(&row(0, 101, SECRET)).unwrap();
    take(&writer, "frozen").unwrap();
    writer.apply(&row(0, 102, SECRET)).unwrap();
    take(&writer, "later").unwrap();
    let before = writer.database().position();
    let mut readers: Vec<_> = ["frozen", "later"].into_iter().map(|name| (name, reader_of(&writer))).collect();
    let (name, reader) = &mut readers[1];
    open(reader, &writer, name).unwrap();
    writer.erase(0, true).unwrap();
    writer.check_gone(SECRET);
    writer.apply(&row(0, 103, 5)).unwrap();
    take(&writer, "after").unwrap();
    let mut after = reader_of(&writer);
    writer.erase(1, true).unwrap();
    readers.push(("after", reader_of(&writer)));
    for (name, reader) in &mut readers {
        [0, 1]
            .into_iter()
            .filter(|entity| *name != "after" || *entity == 1)
            .for_each(|entity| reader.know_erased(entity));
        drop(reader.close());
        open(reader, &writer, name).unwrap();
        check(reader, 4);
        // A position of before counts there, and one of there does not count here.
        let database = reader.database();
        if *name == "later" {
            database.parse_position(&before.to_string()).expect("a commit that it has");
            let listed = |database: &Database| {
                database.checkpoints().unwrap().iter().map(Checkpoint::position).collect::<Vec<_>>()
            };
            assert_eq!(listed(database), listed(writer.database()), "they are the same wherever they are listed");
            assert_eq!(listed(database)[1], before);
            assert!(writer.database().parse_position(&database.position().to_string()).is_err(), "an erase of its own");
        }
    }
    after.know_erased(1);
    open(&mut after, &writer, "after").unwrap();
    check(&mut after, 4);
}

/// The objects of each tier that may hold rows or keys.
fn of_tiers(writer: &World) -> [BTreeSet<String>; 3] {
    let names = writer.objects.names();
    let collected = |is: &dyn Fn(&str) -> bool| {
        names.iter().map(ObjectName::as_str).filter(|name| is(name)).map(str::to_owned).collect()
    };
    let of_data = |name: &str| {
        name.starts_with("data/") && [".segment", ".pack", ".dictionary"].iter().any(|ending| name.ends_with(ending))
    };
    [
        collected(&|name| name.starts_with("wal/") || of_data(name)),
        collected(&|name| name.ends_with(".parquet")),
        collected(&|name| name.starts_with("checkpoints/")),
    ]
}

#[test]
fn a_receipt_says_from_where_the_bytes_went_on_every_node() {
    let mut writer = writer();
    writer.apply(&row(0, 100, SECRET)).unwrap();
    writer.compact(None).unwrap();
    writer.freeze(None).unwrap();
    writer.apply(&row(0, 101, SECRET)).unwrap();
    take(&writer, "a").unwrap();
    writer.apply(&row(0, 102, SECRET)).unwrap();
    take(&writer, "b").unwrap();
    let before = of_tiers(&writer);
    let receipt = writer.erase_for_receipt(0);
    writer.check_gone(SECRET);
    let after = of_tiers(&writer);
    let gone = [0, 1, 2].map(|tier| before[tier].difference(&after[tier]).count() as u64);
    let tiers = &receipt["tiers"];
    let removed = ["bucket", "ice", "checkpoints"].map(|tier| tiers[tier]["removed"].as_u64().expect("a tier"));
    assert_eq!((removed[1], removed[2]), (gone[1], 2), "{receipt}");
    assert!(gone[1] > 0 && gone[0] > 4, "{gone:?}");
    // The object of the log that says which keys are erased came meanwhile, and went too.
    assert!((gone[0]..=gone[0] + 2).contains(&removed[0]), "{receipt}, {gone:?}");
    assert!(tiers["disk"]["removed"].as_u64() > Some(2), "{receipt}");
    for tier in ["disk", "bucket", "ice", "checkpoints"] {
        let at = &tiers[tier]["gone_at"];
        assert!(at.as_i64() >= receipt["erased_at"].as_i64() && at.as_i64() <= receipt["purged_at"].as_i64());
    }
    // Nothing is left to go but the log that says the key once more.
    let again = writer.erase_for_receipt(0);
    assert_eq!((&again["tiers"]["ice"]["removed"], &again["entities"]), (&json!(0), &json!(0)), "{again}");
    let told = writer.receipts();
    assert_eq!(told["receipts"][0]["tiers"], *tiers);
    writer.reopen().unwrap();
    assert_eq!(writer.receipts(), told);
    let mut follower = reader_of(&writer);
    let (objects, interval) = (Arc::new(writer.objects.clone()), Duration::from_millis(1));
    let follow = FollowOptions { objects, interval, ice: IcePolicy::default(), checkpoint: None };
    follower.open_with(|options| (options.home, options.follow) = (None, Some(follow))).unwrap();
    assert_eq!(follower.receipts(), told);
    // The disk of a node that is lost held what it held: another says the same.
    drop(writer.close());
    writer.files = Simulated::new();
    writer.open().unwrap();
    assert_eq!(writer.receipts(), told);
}

/// Whatever call to the bucket fails while checkpoints are written anew, erasing again ends it.
#[test]
fn an_erase_from_checkpoints_that_was_interrupted_is_ended_by_the_next() {
    let mut left = 0;
    for call in 1.. {
        let mut writer = writer();
        writer.apply(&row(0, 100, SECRET)).unwrap();
        take(&writer, "a").unwrap();
        let mut reader = reader_of(&writer);
        writer.close().unwrap();
        let faulty = writer.open_on_faulty();
        let last = faulty.calls() + call;
        faulty.fail_call(call, Fault::Before);
        if let Err(error) = writer.erase(0, true) {
            assert!(!error.contains("\"0 objects"), "something is left: {error}");
            left += u32::from(error.contains("objects that may hold what was erased"));
            writer.erase(0, true).unwrap_or_else(|error| panic!("after call {call} failed: {error}"));
        }
        let reached = faulty.calls() >= last;
        writer.check_gone(SECRET);
        reader.know_erased(0);
        open(&mut reader, &writer, "a").unwrap();
        check(&mut reader, 4);
        if !reached {
            assert!(call > 10 && left > 3, "{call}, {left}");
            return;
        }
    }
}

/// Found by the test above: what a publish had put when it failed stayed until the next start, whatever was erased meanwhile.
#[test]
fn what_a_failed_root_left_goes_with_an_erase_too() {
    for call in 1.. {
        let mut writer = writer();
        writer.close().unwrap();
        let faulty = writer.open_on_faulty();
        writer.apply(&row(0, 100, SECRET)).unwrap();
        let last = faulty.calls() + call;
        faulty.fail_call(call, Fault::Before);
        let _ = take(&writer, "a");
        let reached = faulty.calls() >= last;
        faulty.heal();
        writer.apply(&row(1, 100, 1)).unwrap();
        writer.compact(None).unwrap();
        writer.erase(0, true).unwrap();
        writer.check_gone(SECRET);
        if !reached {
            return;
        }
    }
}

/// The database in the bucket of `writer`, at `checkpoint` if one is named, as one of its own that knows what `knows` knows.
fn copied(writer: &World, checkpoint: Option<&str>, knows: &World) -> World {
    let to = Memory::new();
    let files: Arc<dyn Files> = Arc::new(Simulated::new());
    copy((&writer.objects, &to), checkpoint, &files, ("a test", 7), |_| {}).unwrap();
    let mut copy = reader_of(knows);
    copy.objects = to;
    copy.setting.home = true;
    copy.open().unwrap();
    copy
}

#[test]
fn a_copy_is_a_database_of_its_own() {
    let mut writer = writer();
    writer.compact(None).unwrap();
    writer.freeze(None).unwrap();
    writer.apply(&row(2, 50, 50)).unwrap();
    take(&writer, "a").unwrap();
    let then = reader_of(&writer);
    let fork = writer.database().position().to_string();
    writer.apply(&row(2, 60, 60)).unwrap();
    let later = writer.database().position().to_string();
    for checkpoint in [Some("a"), None] {
        let knows = if checkpoint.is_some() { &then } else { &writer };
        let mut copy = copied(&writer, checkpoint, knows);
        check(&mut copy, 4);
        copy.database().parse_position(&fork).expect("it has that commit");
        assert_eq!(copy.database().parse_position(&later).is_err(), checkpoint.is_some());
        for number in 0..10 {
            copy.apply(&row(number as usize % 4, 200 + number, number)).unwrap();
        }
        copy.compact(None).unwrap();
        copy.erase(1, true).unwrap();
        check(&mut copy, 4);
        let own = copy.database().position().to_string();
        assert!(writer.database().parse_position(&own).is_err(), "a commit of the copy");
        // It is as disposable as any, and takes checkpoints of its own.
        take(&copy, "b").unwrap();
        copy.close().unwrap();
        copy.files = Simulated::new();
        copy.open().unwrap();
        check(&mut copy, 4);
    }
    check(&mut writer, 4);
    let (from, to) = (&writer.objects, writer.objects.copy());
    let files: Arc<dyn Files> = Arc::new(Simulated::new());
    let refused = copy((from, &to), None, &files, ("a test", 7), |_| {}).expect_err("somebody lives there");
    assert!(refused.message().contains("give an empty one"), "{refused:?}");
    let unknown = copy((from, &Memory::new()), Some("z"), &files, ("a test", 7), |_| {}).expect_err("no such");
    assert!(unknown.message().contains("there are a"), "{unknown:?}");
}

/// A checkpoint that an erase wrote anew is copied as any other.
#[test]
fn a_checkpoint_that_was_erased_from_is_copied() {
    let mut writer = writer();
    take(&writer, "a").unwrap();
    let fork = writer.database().position().to_string();
    let mut then = reader_of(&writer);
    writer.apply(&row(2, 60, 60)).unwrap();
    let later = writer.database().position().to_string();
    for entity in [0, 1] {
        writer.erase(entity, true).unwrap();
        then.know_erased(entity);
        let mut copy = copied(&writer, Some("a"), &then);
        check(&mut copy, 4);
        copy.database().parse_position(&fork).expect("it has that commit");
        copy.database().parse_position(&later).expect_err("it has another in its place");
        copy.apply(&row(0, 70, 70)).unwrap();
        copy.compact(None).unwrap();
        copy.reopen().unwrap();
        check(&mut copy, 4);
    }
}
