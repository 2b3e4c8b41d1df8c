//! What every door to object storage must do, as a test that any of them can be put through.
//!
//! [`check`] asserts the contract of [`Objects`] call by call, [`race`] that a create has one winner. Both work below a
//! folder that is theirs and empty, so that a real bucket can be tried as well, and leave nothing there. They show that
//! a store that works works as it must, not what it does when it fails. Nothing but tests uses this.

use std::sync::{Arc, Barrier};

use bytes::Bytes;

use super::{Creation, Listed, ObjectName, Objects};
use crate::error::{Kind, Result};

/// Bytes of the object that ranges are read from: more than one buffer of any layer below.
const LARGE_BYTES: usize = 3 << 20;

/// How many objects one page of a list of S3 holds.
pub const PAGE_OBJECTS: usize = 1000;

/// Puts `objects` through every promise of the contract, below `folder`, with `many` objects in the longest list.
///
/// # Errors
/// What the store answered to a call that must work.
///
/// # Panics
/// If an answer is not the one that the contract promises.
pub fn check(objects: &Arc<dyn Objects>, folder: &str, many: usize) -> Result<()> {
    let objects = objects.as_ref();
    assert_eq!(objects.list(folder)?, [], "the folder {folder} is not empty");
    nothing_is_there(objects, folder)?;
    a_create_keeps_what_is_there(objects, folder)?;
    a_write_replaces(objects, folder)?;
    ranges_are_exact(objects, folder)?;
    lists_are_whole(objects, folder)?;
    long_lists_are_whole(objects, folder, many)?;
    assert_eq!(objects.list(folder)?, [], "something is left after it was deleted");
    Ok(())
}

/// Lets `racers` threads create the same object at once, `rounds` times, and asserts that one of them won each time.
///
/// # Errors
/// What the store answered to a call that must work.
///
/// # Panics
/// If none or several won, or if the object is not the winner's.
pub fn race(objects: &Arc<dyn Objects>, folder: &str, racers: usize, rounds: usize) -> Result<()> {
    for round in 0..rounds {
        let name = named(folder, &format!("race-{round}"))?;
        let gate = Barrier::new(racers);
        let answers: Vec<Result<Creation>> = std::thread::scope(|scope| {
            let racing: Vec<_> = (0..racers)
                .map(|racer| {
                    let (name, gate) = (&name, &gate);
                    scope.spawn(move || {
                        gate.wait();
                        objects.put_new(name, racer.to_string().into())
                    })
                })
                .collect();
            racing.into_iter().map(|racer| racer.join().expect("a racer does not panic")).collect()
        });
        let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
        let winners: Vec<usize> = (0..racers).filter(|racer| answers[*racer] == Creation::Created).collect();
        assert_eq!(winners.len(), 1, "{name} was created by {winners:?}");
        let content = objects.get(&name)?.expect("what was created is there");
        assert_eq!(content, winners[0].to_string(), "{name} is not the winner's");
        objects.delete(&name)?;
    }
    Ok(())
}

fn named(folder: &str, name: &str) -> Result<ObjectName> {
    ObjectName::new(format!("{folder}/{name}"))
}

fn nothing_is_there(objects: &dyn Objects, folder: &str) -> Result<()> {
    let name = named(folder, "absent/object")?;
    assert_eq!(objects.get(&name)?, None);
    assert_eq!(objects.get_range(&name, 0..1)?, None);
    assert_eq!(objects.length(&name)?, None);
    objects.delete(&name)
}

fn a_create_keeps_what_is_there(objects: &dyn Objects, folder: &str) -> Result<()> {
    let name = named(folder, "created")?;
    assert_eq!(objects.put_new(&name, "first".into())?, Creation::Created);
    assert_eq!(objects.get(&name)?, Some("first".into()), "what was written is read");
    assert_eq!(objects.put_new(&name, "second".into())?, Creation::Found);
    assert_eq!(objects.put_new(&name, "other".into())?, Creation::Found);
    assert_eq!(objects.get(&name)?, Some("first".into()), "a create that lost changed nothing");
    assert_eq!(objects.length(&name)?, Some(5));
    objects.delete(&name)?;
    assert_eq!(objects.get(&name)?, None, "what was deleted is gone");
    assert_eq!(objects.put_new(&name, "third".into())?, Creation::Created);
    assert_eq!(objects.get(&name)?, Some("third".into()));
    objects.delete(&name)
}

fn a_write_replaces(objects: &dyn Objects, folder: &str) -> Result<()> {
    let name = named(folder, "written/here")?;
    for content in ["some bytes", "some bytes", "more bytes than before", "fewer", ""] {
        objects.put(&name, content.into())?;
        assert_eq!(objects.get(&name)?, Some(content.into()), "what was written last is read");
        assert_eq!(objects.length(&name)?, Some(content.len() as u64));
    }
    assert_eq!(objects.put_new(&name, "not this".into())?, Creation::Found, "an empty object is an object");
    let empty = objects.list(&format!("{folder}/written"))?;
    assert_eq!(empty, [Listed { name: name.clone(), length: 0 }]);
    objects.delete(&name)
}

fn ranges_are_exact(objects: &dyn Objects, folder: &str) -> Result<()> {
    let name = named(folder, "large")?;
    let content: Bytes = (0..LARGE_BYTES).map(|at| (at * 31 + at / 251) as u8).collect::<Vec<u8>>().into();
    assert_eq!(objects.put_new(&name, content.clone())?, Creation::Created);
    assert!(objects.get(&name)?.is_some_and(|read| read == content), "a large object is read as it was written");
    let end = LARGE_BYTES as u64;
    for range in [0..1, 0..end, 1..2, 4095..4097, 1_000_000..2_500_000, end - 1..end] {
        let read = objects.get_range(&name, range.clone())?.expect("it is there");
        let expected = content.slice(range.start as usize..range.end as usize);
        assert!(read == expected, "bytes {range:?} are not those that were written: {} came", read.len());
    }
    for range in [0..end + 1, end - 1..end + 1, end..end + 1, end + 7..end + 9] {
        let error = objects.get_range(&name, range.clone()).expect_err("the object ends before");
        assert_eq!(error.kind(), Kind::Corrupt, "{range:?}: {error}");
        assert!(error.message().contains(name.as_str()), "{error}");
    }
    objects.delete(&name)
}

fn lists_are_whole(objects: &dyn Objects, folder: &str) -> Result<()> {
    let inside = ["a", "a-b", "b/c", "b/c.d/e", "b/c.d/f=1", "bc/d"];
    let names = inside.iter().map(|name| named(folder, &format!("list/{name}"))).collect::<Result<Vec<_>>>()?;
    for (name, length) in names.iter().zip(1..) {
        objects.put(name, vec![b'x'; length].into())?;
    }
    let listed = |below: &str| -> Result<Vec<(String, u64)>> {
        let start = format!("{folder}/list/");
        let found = objects.list(&format!("{folder}/list{below}"))?;
        let shown = |object: Listed| (object.name.as_str().trim_start_matches(&start).to_owned(), object.length);
        Ok(found.into_iter().map(shown).collect())
    };
    let expected =
        |of: &[usize]| -> Vec<(String, u64)> { of.iter().map(|at| (inside[*at].to_owned(), *at as u64 + 1)).collect() };
    assert_eq!(listed("")?, expected(&[0, 1, 2, 3, 4, 5]), "a list is sorted by name and holds every depth");
    assert_eq!(listed("/b")?, expected(&[2, 3, 4]), "a folder is a whole part of a name");
    assert_eq!(listed("/b/c.d")?, expected(&[3, 4]));
    assert_eq!(listed("/a")?, [], "an object is not in the folder of its name");
    assert_eq!(listed("/none")?, []);
    let all = objects.list("")?;
    assert!(names.iter().all(|name| all.iter().any(|object| object.name == *name)), "the list of all holds these");
    assert!(all.is_sorted_by(|one, other| one.name < other.name));
    objects.delete(&names[3])?;
    assert_eq!(listed("/b")?, expected(&[2, 4]), "a list does not show what was deleted");
    assert_eq!(objects.list("/not/a/folder").expect_err("it begins with a slash").kind(), Kind::Invalid);
    names.iter().try_for_each(|name| objects.delete(name))
}

fn long_lists_are_whole(objects: &dyn Objects, folder: &str, many: usize) -> Result<()> {
    let names = (0..many).map(|number| named(folder, &format!("many/{number:06}"))).collect::<Result<Vec<_>>>()?;
    for name in &names {
        objects.put(name, "x".into())?;
    }
    let listed: Vec<ObjectName> =
        objects.list(&format!("{folder}/many"))?.into_iter().map(|object| object.name).collect();
    assert_eq!(listed, names, "a list of more than one page is whole");
    names.iter().try_for_each(|name| objects.delete(name))
}
