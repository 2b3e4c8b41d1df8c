//! What reads see: the immutable views of tables, swapped whole, and the entities that they share.
//!
//! A writer, a flush or a compaction makes a new [`TableView`] and swaps it in under the table's edit lock; a reader
//! loads it once and holds it for the read. A view may already hold rows after the reader's position: the position
//! hides them, so that views of several tables agree.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use roaring::RoaringBitmap;

use crate::dictionary::Dictionary;
use crate::erase::{Blocking, Erase, ErasePrefixes, Erasures, Receipt};
use crate::error::Result;
use crate::horizon::Ages;
pub use crate::horizon::Horizon;
use crate::ice::Trial;
use crate::manifest::ManifestState;
use crate::model::catalog::Entity;
use crate::pack::Pack;
use crate::run::Run;
use crate::time::{Micros, Sequence};

/// One bucket of one table at one moment.
#[derive(Debug, Clone, Default)]
pub struct BucketView {
    /// Runs that take new rows, oldest first.
    pub memory: Vec<Arc<Run>>,
    /// Runs that are being flushed.
    pub frozen: Vec<Arc<Run>>,
    /// Runs in segments.
    pub segments: Vec<Arc<Run>>,
    /// The latest pack, if one was built.
    pub pack: Option<Arc<LatestPack>>,
}

impl BucketView {
    /// All runs; the order means nothing.
    pub fn runs(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.memory.iter().chain(&self.frozen).chain(&self.segments)
    }
}

/// A latest pack and the entities that were written after it was built.
#[derive(Debug)]
pub struct LatestPack {
    /// The file.
    pub pack: Pack,
    /// The entities whose row in the pack is out of date.
    pub dirty: Arc<DirtySet>,
    /// The schema version whose features the pack holds.
    pub shape: u64,
}

impl LatestPack {
    /// A pack that was just built or opened.
    pub fn new(pack: Pack, dirty: Arc<DirtySet>, shape: u64) -> Self {
        Self { pack, dirty, shape }
    }
}

/// A fixed set of ordinals that only grows; safe to read while it is written.
#[derive(Debug)]
pub struct DirtySet {
    words: Vec<AtomicU64>,
    count: AtomicU64,
}

impl DirtySet {
    /// An empty set over the ordinals below `ordinals`.
    pub fn new(ordinals: u32) -> Self {
        let words = (0..ordinals.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { words, count: AtomicU64::new(0) }
    }

    /// Adds `ordinal`; one beyond the set is not in the pack anyway.
    pub fn mark(&self, ordinal: u32) {
        if let Some(word) = self.words.get(ordinal as usize / 64) {
            let bit = 1 << (ordinal % 64);
            if word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Release) & bit == 0 {
                self.count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Whether `ordinal` is in the set, or beyond it.
    pub fn contains(&self, ordinal: u32) -> bool {
        let word = self.words.get(ordinal as usize / 64);
        word.is_none_or(|word| word.load(Ordering::Acquire) & (1 << (ordinal % 64)) != 0)
    }

    /// Whether one of `ordinals` is in the set, or beyond it.
    pub fn contains_any(&self, ordinals: Range<u32>) -> bool {
        !self.is_empty() && ordinals.into_iter().any(|ordinal| self.contains(ordinal))
    }

    /// The number of ordinals in the set.
    pub fn len(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether nothing was written since.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One table at one moment.
#[derive(Debug, Clone)]
pub struct TableView {
    /// Its buckets.
    pub buckets: Vec<Arc<BucketView>>,
    /// The last commit that the view holds.
    pub through: Sequence,
    /// How far back the table may be asked.
    pub horizon: Horizon,
    /// How often the view was replaced since the database was opened.
    pub edits: u64,
}

impl TableView {
    /// An empty table of `buckets` buckets.
    pub fn empty(buckets: u32) -> Self {
        let buckets = (0..buckets).map(|_| Arc::new(BucketView::default())).collect();
        Self { buckets, through: 0, horizon: Horizon::default(), edits: 0 }
    }
}

/// What the memtable of a table holds, for deciding when to flush it.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemtableSize {
    /// Bytes of rows that take new rows.
    pub active_bytes: u64,
    /// Bytes of rows that are being flushed.
    pub frozen_bytes: u64,
    /// When the oldest batch came that the manifest does not say and that is not being flushed, by the monotonic clock.
    pub active_since: Option<Micros>,
    /// The same of what is being flushed.
    pub frozen_since: Option<Micros>,
}

/// A table as the engine keeps it.
#[derive(Debug)]
pub struct TableState {
    /// The table's number.
    pub id: u32,
    /// Its entity.
    pub entity: Arc<EntityState>,
    /// What reads see.
    pub view: ArcSwap<TableView>,
    /// Held while the view is replaced.
    pub edit: Mutex<()>,
    /// Dirty sets of packs that are being built, per bucket.
    pub pending: Mutex<HashMap<u32, Arc<DirtySet>>>,
    /// What the memtable holds.
    pub size: Mutex<MemtableSize>,
    /// Features whose columns are of several types, because they were widened.
    pub mixed: RwLock<HashSet<u32>>,
    /// The last commit when background work last looked, and since when it has been the last.
    pub quiet: Mutex<(Sequence, Micros)>,
    /// What compaction saw when it last found nothing to do.
    pub looked: Mutex<Looked>,
    /// Until when compaction passes over the table, because it failed there, by the monotonic clock.
    pub failed_until: AtomicI64,
    /// The last number of each producer whose batch is durable and readable.
    pub producers: Mutex<BTreeMap<String, u64>>,
    /// The ages of its segments, by number, once compaction asked for them.
    pub ages: Mutex<HashMap<u64, Arc<Ages>>>,
    /// How its files of ice are encoded.
    pub(crate) trial: Mutex<Option<Trial>>,
}

/// What compaction saw of a table in which it found nothing to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Looked {
    /// Of the view.
    pub edits: u64,
    /// Of the whole schema.
    pub schema_version: u64,
    /// Whether the table was at rest: else there may be something to do although nothing else changed.
    pub at_rest: bool,
    /// When, by the monotonic clock.
    pub at: Micros,
}

/// What freezing looks at.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeenIce {
    /// The manifest.
    pub(crate) listed: Weak<ManifestState>,
    /// The number of the newest root.
    pub(crate) root: u64,
    /// How the tables are declared.
    pub(crate) schema_version: u64,
}

impl SeenIce {
    /// Whether nothing changed since.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let version = |seen: &Self| (seen.root, seen.schema_version);
        version(self) == version(other) && Weak::ptr_eq(&self.listed, &other.listed)
    }
}

/// A table that was not written for so long is at rest: what reads gain by is done then, for the next writes may be far
/// away.
const QUIET_MICROS: i64 = 3_000_000;

impl TableState {
    /// A table that shows `view`.
    pub fn new(id: u32, entity: Arc<EntityState>, view: TableView) -> Self {
        Self {
            id,
            entity,
            view: ArcSwap::from_pointee(view),
            edit: Mutex::new(()),
            pending: Mutex::default(),
            size: Mutex::default(),
            mixed: RwLock::default(),
            quiet: Mutex::default(),
            looked: Mutex::default(),
            failed_until: AtomicI64::new(i64::MIN),
            ages: Mutex::default(),
            trial: Mutex::default(),
            producers: Mutex::default(),
        }
    }

    /// Whether, at `now`, the table was not written for [`QUIET_MICROS`], as far as anybody looked.
    pub fn is_quiet(&self, now: Micros) -> bool {
        let through = self.view.load().through;
        let mut quiet = self.quiet.lock();
        if quiet.0 != through {
            *quiet = (through, now);
        }
        now - quiet.1 >= QUIET_MICROS
    }

    /// The ages of the segment `run`, and of no segment that went.
    pub fn ages_of(&self, run: &Run) -> Arc<Ages> {
        let number = run.segment.expect("a run in a segment has its number");
        let mut ages = self.ages.lock();
        if !ages.contains_key(&number) {
            let view = self.view.load();
            let shown: HashSet<u64> =
                view.buckets.iter().flat_map(|bucket| &bucket.segments).filter_map(|run| run.segment).collect();
            ages.retain(|number, _| shown.contains(number));
        }
        Arc::clone(ages.entry(number).or_insert_with(|| Arc::new(Ages::of(&run.rows))))
    }

    /// Lets readers see that `producer` has come to the number `seq`.
    pub fn show_producer(&self, producer: &str, seq: u64) {
        let mut producers = self.producers.lock();
        match producers.get_mut(producer) {
            Some(last) => *last = seq,
            None => drop(producers.insert(producer.to_owned(), seq)),
        }
    }

    /// Replaces the view by what `change` makes of it.
    pub fn edit_view<T>(&self, change: impl FnOnce(&mut TableView) -> T) -> T {
        let _guard = self.edit.lock();
        let mut view = TableView::clone(&self.view.load());
        view.edits += 1;
        let answer = change(&mut view);
        self.view.store(Arc::new(view));
        answer
    }

    /// Notes a batch, with rows or without, that was applied at `monotonic`: the table is due for flushing a while later,
    /// so that it cannot keep files of the log for ever. Answers how many bytes its memtable has.
    pub fn note_batch(&self, monotonic: Micros) -> u64 {
        let mut size = self.size.lock();
        size.active_since.get_or_insert(monotonic);
        size.active_bytes
    }

    /// Turns the memtable over for flushing.
    pub fn freeze(&self) {
        self.edit_view(|view| {
            for bucket in view.buckets.iter_mut().filter(|bucket| !bucket.memory.is_empty()) {
                let bucket = Arc::make_mut(bucket);
                assert!(bucket.frozen.is_empty(), "one flush of a table ends before the next begins");
                bucket.frozen = std::mem::take(&mut bucket.memory);
            }
        });
        let mut size = self.size.lock();
        size.frozen_bytes += std::mem::take(&mut size.active_bytes);
        size.frozen_since = size.active_since.take();
    }

    /// Takes the bytes of all rows in memory out of the count, for a table that was dropped.
    pub fn take_bytes(&self) -> u64 {
        let mut size = self.size.lock();
        std::mem::take(&mut size.active_bytes) + std::mem::take(&mut size.frozen_bytes)
    }

    /// Marks `ordinals` of `bucket` as written, in the pack that serves and in the one that is being built. The
    /// caller holds the edit lock, so that no pack begins in between.
    pub fn mark_dirty(&self, bucket: u32, view: &BucketView, ordinals: impl Iterator<Item = u32>) {
        let pending = self.pending.lock().get(&bucket).cloned();
        let serving = view.pack.as_ref().map(|pack| &pack.dirty);
        for ordinal in ordinals {
            pending.iter().chain(serving).for_each(|dirty| dirty.mark(ordinal));
        }
    }
}

/// An entity as the engine keeps it.
#[derive(Debug)]
pub struct EntityState {
    /// The entity's number.
    pub id: u32,
    /// How it was declared: that never changes.
    pub declared: Arc<Entity>,
    /// Key to ordinal, per bucket.
    pub dictionaries: Vec<Dictionary>,
    /// What was erased.
    pub erasures: ArcSwap<Erasures>,
    /// The same as the manifest has it.
    pub listed_erasures: ArcSwap<Erasures>,
}

impl EntityState {
    /// An entity of which `erasures` are in the manifest.
    pub fn new(declared: Arc<Entity>, dictionaries: Vec<Dictionary>, erasures: Erasures) -> Self {
        let erasures = Arc::new(erasures);
        let listed_erasures = ArcSwap::new(Arc::clone(&erasures));
        Self { id: declared.id, declared, dictionaries, erasures: ArcSwap::new(erasures), listed_erasures }
    }

    /// Looks up what `prefixes` names.
    pub fn look_up(&self, prefixes: ErasePrefixes) -> Result<Erase> {
        Erase::new(prefixes, &self.declared, &self.dictionaries, self.erasures.load().secret())
    }

    /// Applies an erase: its entities are invisible when this returns. For the log's one writer.
    pub fn erase(&self, mut erase: Erase, sequence: Sequence, ingest_time: Micros) -> Result<()> {
        erase.look_again(&self.declared, &self.dictionaries, self.erasures.load().secret())?;
        let erases = erase.prefixes.blocking != Blocking::Unblocks;
        let (entities, erased) = erase.apply(&self.dictionaries, sequence);
        let receipt = erases.then_some(Receipt { sequence, ingest_time, entities, purged: None, tiers: None });
        let erased = erased.into();
        self.erasures.rcu(|erasures| erasures.with(receipt.as_ref(), &erased));
        Ok(())
    }

    /// Puts small layers of erasures together, beside the log's writer.
    pub fn merge_erasures(&self) {
        let before = self.erasures.load_full();
        let merged = before.merged();
        self.erasures.rcu(|erasures| erasures.replaced(&before, &merged));
    }

    /// The ordinals of `bucket` that were erased.
    pub fn erased(&self, bucket: u32) -> Arc<RoaringBitmap> {
        self.dictionaries[bucket as usize].erased()
    }
}
