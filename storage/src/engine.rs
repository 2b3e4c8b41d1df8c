//! The state that writers, readers and background work share.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::config::{Level, Options};
use crate::erase::Secret;
use crate::error::{Error, Result};
use crate::home::{Home, Inhabitant, Lineage, coming};
use crate::ice::Fetch;
use crate::ingest_clock::IngestClock;
use crate::io::Files;
use crate::io::coming::Coming;
use crate::lake::{self, Lake};
use crate::leaving::Leaving;
use crate::manifest::{LogFiles, Manifest, ManifestState, Subject};
use crate::model::catalog::{Entity, Table};
use crate::poison::Poison;
use crate::position::CurrentLog;
use crate::published::Published;
use crate::read::Resources;
use crate::read::moment::Present;
use crate::read::states::States;
use crate::retired::Retired;
use crate::signal::Signal;
use crate::statistics::Statistics;
use crate::time::Micros;
use crate::versions::Versions;
use crate::view::{EntityState, SeenIce, TableState};

/// Entities and tables by number; replaced whole when one is created or dropped.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// Entities.
    pub entities: HashMap<u32, Arc<EntityState>>,
    /// Tables.
    pub tables: HashMap<u32, Arc<TableState>>,
}

/// What stays when the engine of a follower is replaced by one that was opened from a newer root.
#[derive(Debug, Clone)]
pub struct Lasting {
    /// Counters.
    pub statistics: Arc<Statistics>,
    /// What reads share.
    pub resources: Arc<Resources>,
}

/// The shared state of an open database.
///
/// Locks are taken in this order, and none while a later one is held: the home's `erasing` and `rewriting`, `freezing`, `compacting`, `flushing`, `manifest`, a table's
/// `edit`, its `pending` or `size`, a dictionary's state, `log_files`, `retired`. A flush waits for the log's
/// thread while it holds `flushing`; that thread takes neither `compacting` nor `flushing`.
#[derive(Debug)]
pub struct Engine {
    /// The settings.
    pub options: Options,
    /// The door to files.
    pub files: Arc<dyn Files>,
    /// The same, as what knows which of them are still on their way from the bucket.
    pub(crate) coming: Arc<Coming>,
    /// Why nothing is written any more, if a sync failed.
    pub poison: Arc<Poison>,
    /// Files that nothing needs any more and that are still there.
    pub retired: Retired,
    /// What readers may still hold.
    pub leaving: Leaving,
    /// The clock of the log.
    pub clock: IngestClock,
    /// What reads see of the log.
    pub published: Arc<Published>,
    /// The schema, all versions.
    pub versions: ArcSwap<Versions>,
    /// Entities and tables.
    pub registry: ArcSwap<Registry>,
    /// The manifest; locked while it changes.
    pub manifest: Mutex<Manifest>,
    /// What the files of the log hold.
    pub log_files: Mutex<LogFiles>,
    /// What the manifest's [`groups_most`](crate::manifest::ManifestState::groups_most) says.
    pub groups_most: AtomicUsize,
    /// Bytes that all memtables hold.
    pub memtable_bytes: AtomicU64,
    /// What the manifest says, for those who only read it: nobody waits for its file.
    pub listed: ArcSwap<ManifestState>,
    /// The next number for a file.
    pub next_number: AtomicU64,
    /// What keys are hashed with that were erased.
    pub secret: Secret,
    /// Whose sequences these are.
    pub log: CurrentLog,
    /// Who wrote the database, and who does now.
    pub lineage: ArcSwap<Lineage>,
    /// Tells this engine from those that a follower had before it: their ordinals are not the same.
    pub opening: u64,
    /// Its bucket, if it has one.
    pub home: Option<Arc<Home>>,
    /// The door through which cells of ice come, if there is a bucket.
    pub(crate) fetch: Option<Arc<Fetch>>,
    /// Segments that came back from the bucket as others when they were frozen: they stay as they are.
    pub(crate) unfrozen: Mutex<HashSet<u64>>,
    /// What was seen when nothing was to freeze, nor to leave.
    pub(crate) looked_at_ice: Mutex<SeenIce>,
    /// Counters.
    pub statistics: Arc<Statistics>,
    /// Wakes background work.
    pub work: Signal,
    /// Wakes writes that wait for memory.
    pub room: Signal,
    /// Set when the database closes: background work stops at its next step.
    pub closing: AtomicBool,
    /// Wakes what sleeps until then.
    pub closed: Signal,
    /// Set when the log's writer has ended: nothing more goes up than what there is.
    pub log_ended: AtomicBool,
    /// Held while a segment becomes ice, and by a purge: what is erased must not go to the bucket meanwhile.
    pub(crate) freezing: Mutex<()>,
    /// Held by the one compaction that runs.
    pub compacting: Mutex<()>,
    /// Until when no pack is rebuilt because of writes, by the monotonic clock.
    pub packs_rest_until: AtomicI64,
    /// Held by the one flush that runs.
    pub flushing: Mutex<()>,
    /// What reads share.
    pub resources: Arc<Resources>,
}

impl Engine {
    /// The next number for a file.
    pub fn take_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::SeqCst)
    }

    /// Brings one of the files that are still in the bucket; whether there was one.
    pub(crate) fn restore_once(&self) -> Result<bool> {
        let Some(fetch) = &self.fetch else { return Ok(false) };
        coming::bring_once(&self.coming, fetch.policy().requests_max)
    }

    /// Whether the database is being closed.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Whether another process writes the database, and this one only follows it.
    pub fn is_follower(&self) -> bool {
        self.options.follow.is_some()
    }

    /// Sleeps for `wait`, but not beyond the closing of the database.
    pub fn sleep(&self, wait: Duration) {
        self.closed.wait(&mut 0, wait);
    }

    /// The state of table `id`, unless it was dropped.
    pub fn table(&self, id: u32) -> Option<Arc<TableState>> {
        self.registry.load().tables.get(&id).cloned()
    }

    /// The state of entity `id`, unless it was dropped.
    pub fn entity(&self, id: u32) -> Option<Arc<EntityState>> {
        self.registry.load().entities.get(&id).cloned()
    }

    /// The tables, by number.
    pub fn tables(&self) -> Vec<Arc<TableState>> {
        let mut tables: Vec<_> = self.registry.load().tables.values().cloned().collect();
        tables.sort_by_key(|table| table.id);
        tables
    }

    /// Whether what a record of the log is about was not dropped.
    pub fn exists(&self, subject: Subject) -> bool {
        match subject {
            Subject::Table(id) => self.table(id).is_some(),
            Subject::Entity(id) => self.entity(id).is_some(),
            Subject::Schema => true,
        }
    }

    /// What decides the moments of reads.
    pub(crate) fn present(&self) -> Present<'_> {
        Present {
            log: &self.log,
            opening: self.opening,
            follows: self.is_follower(),
            clock: &self.clock,
            published: &self.published,
            durable: self.durable(),
            states: self,
            resources: &self.resources,
            age_max: self.options.snapshot_age_max,
            closing: &self.closing,
        }
    }

    /// The newest declaration of table `id`.
    pub fn declaration(&self, id: u32) -> Option<Arc<Table>> {
        self.versions.load().newest().table_by_id(id).cloned()
    }

    /// What writes are acknowledged for that do not say it.
    pub fn level(&self) -> Level {
        self.home.as_ref().map_or(Level::Local, |home| home.acknowledge())
    }

    /// The commits that no loss of the disk takes away, if there is a bucket: a follower has no others.
    pub(crate) fn durable(&self) -> Option<&Published> {
        if self.is_follower() { Some(&self.published) } else { self.home.as_ref().map(|home| home.durable()) }
    }

    /// Bytes that all memtables hold.
    pub fn memtable_bytes(&self) -> u64 {
        self.memtable_bytes.load(Ordering::SeqCst)
    }

    /// Counts bytes that came into memtables.
    pub fn memtables_grew(&self, bytes: u64) {
        let now = self.memtable_bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.statistics.memtable_bytes.set(now);
    }

    /// Counts bytes that left memtables.
    pub fn memtables_shrank(&self, bytes: u64) {
        let before = self.memtable_bytes.fetch_sub(bytes, Ordering::SeqCst);
        assert!(before >= bytes, "{bytes} bytes left memtables of {before}");
        self.statistics.memtable_bytes.set(before - bytes);
    }
}

impl Engine {
    /// What keeps writes waiting now: the error that they get if it lasts.
    pub fn overload(&self) -> Option<Error> {
        let options = &self.options;
        if let Some(overload) = self.home.as_ref().and_then(|home| home.overload()) {
            return Some(overload);
        }
        if self.memtable_bytes() > options.memory_bytes_max {
            return Some(Error::exhausted(format!(
                "memtables hold more than memory-bytes-max ({} bytes) and flushing does not keep up; send slower, or again \
                 later",
                options.memory_bytes_max
            )));
        }
        (self.groups_most() >= options.segment_groups_max).then(|| {
            Error::exhausted(format!(
                "a bucket has segments of segment-groups-max ({}) merges and compaction does not keep up; send slower, or \
                 again later",
                options.segment_groups_max
            ))
        })
    }

    /// Whether writes may soon have to wait for background work, so that it should not wait for anything itself.
    pub fn is_pressed(&self) -> bool {
        let options = &self.options;
        self.memtable_bytes() > options.memory_bytes_max / 2 || self.groups_most() >= options.segment_groups_max / 2
    }

    /// The most groups of segments that reads of one bucket meet. Segments that one merge wrote do not overlap.
    fn groups_most(&self) -> usize {
        self.groups_most.load(Ordering::Relaxed)
    }
}

impl Inhabitant for Engine {
    fn listed(&self) -> Arc<ManifestState> {
        self.listed.load_full()
    }

    fn ceiling(&self) -> Micros {
        self.clock.ceiling()
    }

    fn now(&self) -> Micros {
        self.clock.now()
    }

    fn monotonic(&self) -> Micros {
        self.clock.monotonic()
    }

    fn lake(&self, state: &ManifestState, table: u32) -> Result<Option<Lake>> {
        lake::lake(state, table, &self.versions.load())
    }
}

impl States for Engine {
    fn table_state(&self, table: &Table) -> Result<Arc<TableState>> {
        self.table(table.id).ok_or_else(|| Error::not_found(format!("table {} was dropped", table.name)))
    }

    fn entity_state(&self, entity: &Entity) -> Result<Arc<EntityState>> {
        self.entity(entity.id).ok_or_else(|| Error::not_found(format!("entity {} was dropped", entity.name)))
    }

    fn opening(&self) -> u64 {
        self.opening
    }

    fn is_sealed(&self, table: u32) -> bool {
        self.declaration(table).is_some_and(|declared| declared.sealed)
    }

    fn promised(&self) -> Micros {
        self.home.as_ref().map_or(Micros::MAX, |home| home.promised())
    }

    fn promise(&self, bound: Micros, wait: Duration) -> Result<()> {
        self.home.as_ref().map_or(Ok(()), |home| home.promise(bound, wait))
    }
}
