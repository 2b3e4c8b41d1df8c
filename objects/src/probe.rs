//! Whether a bucket keeps what the protocol of writers relies on, asked before anything is trusted to it.
//!
//! Above all a create must be one step: of several at once exactly one may succeed. Stores that first look and then
//! write let two writers both believe that the database is theirs, and each would acknowledge what the other loses. The
//! probe also tries that what was written, replaced or deleted is seen so at once from another connection, that a list
//! shows it, that ranges are exact, and that "there is no such object" is told apart from everything else.
//!
//! It shows a store that is wrong, and can not prove one right: a race may happen not to be lost, and a cache between
//! may show itself to others only.

use std::sync::Barrier;

use firn_storage::error::{Error, Kind, Result};
use firn_storage::objects::{Creation, ObjectName, Objects};

/// How often a create is raced.
const ROUNDS: usize = 8;

/// How many threads of each connection race.
const RACERS_EACH: usize = 2;

/// Where the objects of probes lie. One that was killed leaves a few bytes there, which mean nothing.
pub const PROBE_FOLDER: &str = "probe";

/// Tries the bucket behind `first` and `second`, two connections to the same one, and leaves nothing there.
///
/// # Errors
/// `Unsupported` if the bucket breaks a promise, with what to use instead; else what it answered to a call that must
/// work.
pub fn probe(first: &dyn Objects, second: &dyn Objects) -> Result<()> {
    let own = format!("{PROBE_FOLDER}/{:032x}", fastrand::u128(..));
    let answer = Probe { first, second, own: &own }.all();
    // What a bucket will not delete stays; that it would not is said, unless something else is wrong.
    let cleaned = clean(first, &own);
    answer.and(cleaned)
}

/// Deletes everything in `folder`.
fn clean(objects: &dyn Objects, folder: &str) -> Result<()> {
    objects.list(folder)?.iter().try_for_each(|object| objects.delete(&object.name))
}

/// A probe under way.
struct Probe<'a> {
    first: &'a dyn Objects,
    second: &'a dyn Objects,
    /// The folder that is its alone.
    own: &'a str,
}

impl Probe<'_> {
    fn all(&self) -> Result<()> {
        self.absence_is_told()?;
        self.a_create_finds_what_is_there()?;
        for round in 0..ROUNDS {
            self.race(round)?;
        }
        self.writes_are_seen()?;
        self.ranges_are_exact()
    }

    fn name(&self, name: &str) -> Result<ObjectName> {
        ObjectName::new(format!("{}/{name}", self.own))
    }

    fn absence_is_told(&self) -> Result<()> {
        let name = self.name("absent")?;
        let absent = self.first.get(&name)?.is_none() && self.first.length(&name)?.is_none();
        expect(absent, "an object that nobody wrote is there")?;
        // A delete can be repeated.
        self.first.delete(&name)
    }

    fn a_create_finds_what_is_there(&self) -> Result<()> {
        let name = self.name("created")?;
        expect(self.first.put_new(&name, "first".into())? == Creation::Created, "a create found what nobody wrote")?;
        let again = self.second.put_new(&name, "second".into())?;
        let kept = self.second.get(&name)?.is_some_and(|content| content == "first");
        if again == Creation::Created || !kept {
            return Err(not_atomic("a create replaced an object that was there"));
        }
        self.first.delete(&name)
    }

    /// Creates one object from all threads at once.
    fn race(&self, round: usize) -> Result<()> {
        let name = self.name(&format!("race-{round}"))?;
        let racers: Vec<&dyn Objects> = [self.first, self.second].repeat(RACERS_EACH);
        let gate = Barrier::new(racers.len());
        let answers: Vec<Result<Creation>> = std::thread::scope(|scope| {
            let racing: Vec<_> = racers
                .iter()
                .enumerate()
                .map(|(racer, objects)| {
                    let (name, gate) = (&name, &gate);
                    scope.spawn(move || {
                        gate.wait();
                        // Each sends bytes of its own, for that is how its object is told.
                        objects.put_new(name, format!("racer {racer}").into())
                    })
                })
                .collect();
            let defect = || Error::new(Kind::Defect, "a thread of the probe panicked");
            racing.into_iter().map(|racer| racer.join().unwrap_or_else(|_| Err(defect()))).collect()
        });
        let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
        let winners: Vec<usize> = (0..answers.len()).filter(|racer| answers[*racer] == Creation::Created).collect();
        let content = self.second.get(&name)?;
        match (winners.as_slice(), content) {
            ([winner], Some(content)) if content == format!("racer {winner}") => self.first.delete(&name),
            ([_], _) => Err(not_atomic("a create that failed replaced the object of the one that succeeded")),
            ([], _) => Err(not_atomic("none of several creates of one object at once succeeded")),
            (winners, _) => {
                let count = winners.len();
                Err(not_atomic(&format!("{count} of {} creates of one object at once succeeded", racers.len())))
            }
        }
    }

    /// What one connection writes, replaces and deletes, the other sees so at once.
    fn writes_are_seen(&self) -> Result<()> {
        let name = self.name("seen/object")?;
        let folder = self.name("seen")?;
        for content in ["old", "newer"] {
            self.first.put(&name, content.into())?;
            let read = self.second.get(&name)?.is_some_and(|read| read == content);
            expect(read, "a read after a write does not show what was written")?;
            let length = self.second.length(&name)? == Some(content.len() as u64);
            expect(length, "the length after a write is not that of what was written")?;
            let listed = self.second.list(folder.as_str())?;
            let shown = listed.len() == 1 && listed[0].name == name && listed[0].length == content.len() as u64;
            expect(shown, "a list after a write does not show what was written")?;
        }
        self.first.delete(&name)?;
        expect(self.second.get(&name)?.is_none(), "a read after a delete shows what was deleted")?;
        expect(self.second.list(folder.as_str())?.is_empty(), "a list after a delete shows what was deleted")
    }

    fn ranges_are_exact(&self) -> Result<()> {
        let name = self.name("ranges")?;
        let content: Vec<u8> = (0..=255).collect();
        self.first.put(&name, content.clone().into())?;
        for range in [0..1, 10..200, 255..256, 0..256] {
            let read = self.second.get_range(&name, range.clone())?;
            let expected = &content[range.start as usize..range.end as usize];
            expect(read.is_some_and(|read| read == expected), "a read of a range brings other bytes")?;
        }
        let beyond = self.second.get_range(&name, 200..300);
        expect(beyond.is_err(), "a read of a range beyond the end of an object brings something")?;
        self.first.delete(&name)
    }
}

/// Refuses a bucket that does not keep a promise.
fn expect(kept: bool, broken: &str) -> Result<()> {
    if kept {
        return Ok(());
    }
    let advice = "use the store itself, not a cache, a replica or a gateway before it";
    Err(Error::new(Kind::Unsupported, format!("this bucket cannot hold a database: {broken}; {advice}")))
}

/// Refuses a bucket in which two writers may both believe that the database is theirs.
fn not_atomic(what: &str) -> Error {
    let message = format!(
        "conditional writes are not atomic here: {what}. Two servers would both believe that the database is theirs, \
         and each lose what the other wrote. Use S3, Google Cloud Storage, Azure, a directory, or a version of this \
         store that answers If-None-Match in one step"
    );
    Error::new(Kind::Unsupported, message)
}
