//! What each file of the log holds, and hence how long it stays: until the manifest says everything that its records say.
//!
//! A record is about a table, an entity or the schema, whatever its kind and however few rows it has. The manifest says
//! of each of them up to which commit it knows. So what the log alone still holds is a comparison, and there is nothing
//! to forget: a batch without rows, an erase or a schema version keeps its file as rows do. It knows neither files nor
//! the log; the log's writer fills it, a flush asks it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::ManifestState;
use crate::time::Sequence;

/// What a record of the log is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The rows and producers of a table.
    Table(u32),
    /// The erases of an entity.
    Entity(u32),
    /// The schema.
    Schema,
}

/// The last commit about each subject in one file.
pub type Contents = HashMap<Subject, Sequence>;

/// The files that are still there.
#[derive(Debug)]
pub struct LogFiles {
    /// The contents of those that take no more records.
    closed: BTreeMap<u64, Contents>,
    /// The one that is being written.
    current: u64,
}

impl LogFiles {
    /// Of a log that goes on in the file `current`.
    pub fn new(closed: BTreeMap<u64, Contents>, current: u64) -> Self {
        assert!(closed.last_key_value().is_none_or(|(&last, _)| last < current), "the log goes on in its last file");
        Self { closed, current }
    }

    /// Takes note that the log goes on in the file `next`, after `contents`.
    pub fn turn(&mut self, contents: Contents, next: u64) {
        assert!(next > self.current, "numbers of files increase");
        self.closed.insert(self.current, contents);
        self.current = next;
    }

    /// The first file with a record that `state` does not say. What was dropped, so that `exists` is false, needs no
    /// record.
    pub fn first_needed(&self, state: &ManifestState, exists: &dyn Fn(Subject) -> bool) -> u64 {
        let alone = |contents: &Contents| contents.iter().any(|record| is_alone(record, state, exists));
        self.closed.iter().find(|(_, contents)| alone(contents)).map_or(self.current, |(&number, _)| number)
    }

    /// The entities with erases that `state` does not say.
    pub fn entities(&self, state: &ManifestState, exists: &dyn Fn(Subject) -> bool) -> BTreeSet<u32> {
        let records = self.closed.values().flatten().filter(|record| is_alone(*record, state, exists));
        let entity = |(subject, _): (&Subject, _)| match subject {
            Subject::Entity(id) => Some(*id),
            _ => None,
        };
        records.filter_map(entity).collect()
    }

    /// Forgets the files before `number`, which are about to be removed because `state` is durable.
    pub fn forget_before(&mut self, number: u64, state: &ManifestState, exists: &dyn Fn(Subject) -> bool) {
        assert!(number <= self.current, "the file that is being written stays");
        let kept = self.closed.split_off(&number);
        for (number, contents) in std::mem::replace(&mut self.closed, kept) {
            let lost = contents.iter().find(|record| is_alone(*record, state, exists));
            assert!(lost.is_none(), "the log file {number} goes although it alone holds {lost:?}");
        }
    }
}

/// Whether the log alone holds a record.
fn is_alone(
    (&subject, &sequence): (&Subject, &Sequence),
    state: &ManifestState,
    exists: &dyn Fn(Subject) -> bool,
) -> bool {
    let said = match subject {
        Subject::Table(id) => state.tables.get(&id).map(|table| table.flushed),
        Subject::Entity(id) => state.entities.get(&id).map(|entity| entity.through),
        Subject::Schema => state.versions.last().map(|version| version.sequence),
    };
    sequence > said.unwrap_or(0) && exists(subject)
}

#[cfg(test)]
mod tests {
    use super::super::{EntityManifest, TableManifest};
    use super::*;

    fn state() -> ManifestState {
        let mut state = ManifestState::default();
        state.tables.insert(1, TableManifest { flushed: 10, ..TableManifest::default() });
        state.entities.insert(2, EntityManifest { through: 20, ..EntityManifest::default() });
        state
    }

    fn files() -> LogFiles {
        let mut files = LogFiles::new([(3, [(Subject::Table(1), 10), (Subject::Table(9), 4)].into())].into(), 5);
        files.turn([(Subject::Entity(2), 21)].into(), 6);
        files.turn([(Subject::Table(1), 11)].into(), 8);
        files
    }

    #[test]
    fn a_file_stays_while_it_alone_holds_a_record_about_something_that_exists() {
        let dropped = |subject| subject != Subject::Table(9);
        assert_eq!(files().first_needed(&state(), &|_| true), 3, "table 9 was never flushed");
        assert_eq!(files().first_needed(&state(), &dropped), 5, "table 9 was dropped, the erase is not said");
        assert_eq!(files().entities(&state(), &dropped), [2].into());
        let mut said = state();
        said.entities.entry(2).or_default().through = 21;
        assert_eq!(files().first_needed(&said, &dropped), 6);
        said.tables.entry(1).or_default().flushed = 11;
        assert_eq!(files().first_needed(&said, &dropped), 8);
    }

    #[test]
    #[should_panic(expected = "it alone holds")]
    fn removing_a_file_that_alone_holds_a_record_is_a_bug() {
        files().forget_before(6, &state(), &|subject| subject != Subject::Table(9));
    }
}
