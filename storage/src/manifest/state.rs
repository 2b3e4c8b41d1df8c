//! What a manifest holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::annex::AnnexMeta;
use crate::dictionary::DictionaryMeta;
use crate::erase::Secret;
use crate::horizon::{Before, Horizon};
use crate::model::catalog::shared_list;
use crate::pack::PackMeta;
use crate::segment::SegmentMeta;
use crate::time::{Micros, Sequence};
use crate::versions::{VersionEntry, VersionFile};

/// The whole of a manifest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestState {
    /// Tells this database from every other, in positions.
    pub database: u64,
    /// What keys are hashed with that were erased.
    pub secret: Secret,
    /// The next number for a file.
    pub next_number: u64,
    /// The first WAL file that replay needs.
    pub wal_first: u64,
    /// The last commit when the manifest was written; replay goes on after it even if the WAL is empty.
    pub sequence: Sequence,
    /// The last ingest time when the manifest was written.
    pub ingest_time: Micros,
    /// Older schema versions, in files of their own.
    #[serde(default)]
    pub version_files: Vec<VersionFile>,
    /// The newest schema versions: those after the files.
    #[serde(with = "shared_list")]
    pub versions: Vec<Arc<VersionEntry>>,
    /// Per entity.
    pub entities: BTreeMap<u32, EntityManifest>,
    /// Per table.
    pub tables: BTreeMap<u32, TableManifest>,
}

impl ManifestState {
    /// The same without its tables.
    pub(crate) fn without_tables(&self) -> Self {
        Self {
            database: self.database,
            secret: self.secret,
            next_number: self.next_number,
            wal_first: self.wal_first,
            sequence: self.sequence,
            ingest_time: self.ingest_time,
            version_files: self.version_files.clone(),
            versions: self.versions.clone(),
            entities: self.entities.clone(),
            tables: BTreeMap::new(),
        }
    }

    /// The most groups of segments that any bucket of a table has, but for what is frozen, which is not merged any more.
    pub fn groups_most(&self) -> usize {
        let of_table = |table: &TableManifest| {
            let groups: BTreeSet<(u32, u64)> = table
                .segments
                .iter()
                .filter(|entry| entry.ice.is_none())
                .map(|entry| (entry.bucket, entry.group))
                .collect();
            let mut of_bucket: BTreeMap<u32, usize> = BTreeMap::new();
            groups.iter().for_each(|(bucket, _)| *of_bucket.entry(*bucket).or_default() += 1);
            of_bucket.into_values().max().unwrap_or(0)
        };
        self.tables.values().map(of_table).max().unwrap_or(0)
    }
}

/// What is kept of an entity.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntityManifest {
    /// The commits up to this one are in the dictionaries and erasures.
    pub through: Sequence,
    /// The dictionary files of each bucket.
    pub dictionaries: Vec<Vec<DictionaryMeta>>,
    /// The erased ordinals of each bucket, as a portable roaring bitmap in base64.
    pub erased: Vec<String>,
    /// The file that holds what was erased, if anything was.
    pub erasures: Option<AnnexMeta>,
}

/// What is kept of a table.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableManifest {
    /// The commits up to this one are in segments.
    pub flushed: Sequence,
    /// Its segments.
    pub segments: Vec<SegmentEntry>,
    /// Its latest packs.
    pub packs: Vec<PackEntry>,
    /// The last producer sequence of each producer.
    pub producers: BTreeMap<String, u64>,
    /// The greatest ingest time in segments, below which a history load may not go.
    pub ingest_time: Option<Micros>,
    /// How far back the table may be asked.
    pub horizon: Horizon,
}

/// A segment of a bucket.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentEntry {
    /// The bucket.
    pub bucket: u32,
    /// Segments of one group came from one merge and do not overlap.
    pub group: u64,
    /// Rows that stayed although they lay before the horizon, when all that reached before it was merged together.
    #[serde(default, skip_serializing_if = "Before::is_empty")]
    pub stayed: Before,
    /// The file.
    pub meta: SegmentMeta,
    /// Its ice, if it is frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ice: Option<IceEntry>,
}

/// The ice of a segment: its cells in a file of the bucket, and the rest in one of the local disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceEntry {
    /// The epoch in the name of the bucket's file.
    pub epoch: u64,
    /// The number in that name.
    pub number: u64,
    /// The bytes of that file.
    pub length: u64,
    /// The schema version whose names its columns have.
    pub schema_version: u64,
    /// The rows part.
    pub rows: SegmentMeta,
    /// Whether the segment itself is on the local disk too.
    pub hot: bool,
    /// Whether it came back there after it had left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub thawed: bool,
}

impl IceEntry {
    /// The name of the bucket's file, in the folder of its table.
    pub fn file_name(&self) -> String {
        format!("{:010}-{:012}.parquet", self.epoch, self.number)
    }
}

impl SegmentEntry {
    /// The file that reads are served from.
    pub fn serving(&self) -> &SegmentMeta {
        match &self.ice {
            Some(ice) if !ice.hot => &ice.rows,
            _ => &self.meta,
        }
    }

    /// Whether its cells are in the bucket only.
    pub fn is_away(&self) -> bool {
        self.ice.as_ref().is_some_and(|ice| !ice.hot)
    }

    /// Whether it has rows before `horizon`.
    pub fn reaches_before(&self, horizon: &Horizon) -> bool {
        self.meta.event_time_min <= horizon.rows || self.meta.sequence_min <= horizon.sequence
    }
}

/// A latest pack of a bucket.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackEntry {
    /// The bucket.
    pub bucket: u32,
    /// The version of the table's declaration whose features it holds.
    pub shape: u64,
    /// The file.
    pub meta: PackMeta,
}
