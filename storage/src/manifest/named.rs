//! The files that a manifest names.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{IceEntry, ManifestState, SegmentEntry};
use crate::{dictionary, erase, pack, segment, versions};

/// A published file. Numbers are given once, whatever the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NamedFile {
    /// A segment.
    Segment(u64),
    /// A latest pack.
    Pack(u64),
    /// A part of a dictionary.
    Dictionary(u64),
    /// Schema versions.
    Versions(u64),
    /// What was erased of an entity.
    Erasures(u64),
    /// Ice on its way to the bucket, where it stays: no manifest names it as a local file.
    Ice(u64),
}

impl NamedFile {
    /// The folders in which they lie, and how the names in each end.
    pub const FOLDERS: [(&str, &str); 6] = [
        ("segments", ".segment"),
        ("packs", ".pack"),
        ("dictionaries", ".dictionary"),
        ("versions", ".versions"),
        ("erasures", ".erasures"),
        ("ice", ".parquet"),
    ];

    /// Its number.
    pub fn number(self) -> u64 {
        match self {
            Self::Segment(number)
            | Self::Pack(number)
            | Self::Dictionary(number)
            | Self::Versions(number)
            | Self::Erasures(number)
            | Self::Ice(number) => number,
        }
    }

    /// Whether it holds rows or keys. Schema versions do not, and of what was erased there are hashes.
    pub fn holds_rows(self) -> bool {
        !matches!(self, Self::Versions(_) | Self::Erasures(_))
    }

    /// From the data directory.
    pub fn name(self) -> String {
        match self {
            Self::Segment(number) => segment::file_name(number),
            Self::Pack(number) => pack::file_name(number),
            Self::Dictionary(number) => dictionary::file_name(number),
            Self::Versions(number) => versions::file_name(number),
            Self::Erasures(number) => erase::file_name(number),
            Self::Ice(number) => format!("ice/{number:020}.parquet"),
        }
    }
}

/// The entries of `all` with these numbers.
fn only<T: Clone>(all: &BTreeMap<u32, T>, numbers: &BTreeSet<u32>) -> BTreeMap<u32, T> {
    all.iter().filter(|(number, _)| numbers.contains(number)).map(|(number, one)| (*number, one.clone())).collect()
}

impl ManifestState {
    /// All published files of the local disk that the database consists of.
    pub fn files(&self) -> HashSet<NamedFile> {
        let mut named = self.files_in_bucket();
        let segments = self.tables.values().flat_map(|table| &table.segments);
        named.extend(segments.filter(|entry| !entry.is_away()).map(|entry| NamedFile::Segment(entry.meta.number)));
        named
    }

    /// Those that `entity` and its `tables` consist of.
    pub fn files_of(&self, entity: u32, tables: &[u32]) -> HashSet<NamedFile> {
        let (tables, entity) = (tables.iter().copied().collect(), BTreeSet::from([entity]));
        let part =
            Self { tables: only(&self.tables, &tables), entities: only(&self.entities, &entity), ..Self::default() };
        part.files()
    }

    /// Those that its bucket has too. Of a segment that is frozen this is the rows part: its cells are there as ice.
    pub fn files_in_bucket(&self) -> HashSet<NamedFile> {
        let mut named = HashSet::new();
        for table in self.tables.values() {
            let segment = |entry: &SegmentEntry| entry.ice.as_ref().map_or(entry.meta.number, |ice| ice.rows.number);
            named.extend(table.segments.iter().map(|entry| NamedFile::Segment(segment(entry))));
            named.extend(table.packs.iter().map(|entry| NamedFile::Pack(entry.meta.number)));
        }
        for entity in self.entities.values() {
            let metas = entity.dictionaries.iter().flatten();
            named.extend(metas.map(|meta| NamedFile::Dictionary(meta.number)));
            named.extend(entity.erasures.iter().map(|meta| NamedFile::Erasures(meta.number)));
        }
        named.extend(self.version_files.iter().map(|file| NamedFile::Versions(file.file.number)));
        named
    }

    /// Those of [`ManifestState::files`] that are read by blocks, each when it is first needed, and their lengths.
    pub fn files_of_blocks(&self) -> HashMap<NamedFile, u64> {
        let mut lengths = HashMap::new();
        for table in self.tables.values() {
            let rows = table.segments.iter().filter_map(|entry| entry.ice.as_ref()).map(|ice| &ice.rows);
            let whole = table.segments.iter().filter(|entry| !entry.is_away()).map(|entry| &entry.meta);
            lengths.extend(rows.chain(whole).map(|meta| (NamedFile::Segment(meta.number), meta.length)));
            lengths.extend(table.packs.iter().map(|entry| (NamedFile::Pack(entry.meta.number), entry.meta.length)));
        }
        let metas = self.entities.values().flat_map(|entity| entity.dictionaries.iter().flatten());
        lengths.extend(metas.map(|meta| (NamedFile::Dictionary(meta.number), meta.length)));
        lengths
    }

    /// The ice of all tables, with the table that each is of.
    pub fn ice(&self) -> impl Iterator<Item = (u32, &IceEntry)> {
        let segments =
            self.tables.iter().flat_map(|(&table, kept)| kept.segments.iter().map(move |entry| (table, entry)));
        segments.filter_map(|(table, entry)| Some((table, entry.ice.as_ref()?)))
    }
}
