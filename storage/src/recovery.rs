//! Opening a database: the manifest, the files that it names, then the WAL after them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::budget::Budget;
use crate::commit::{Again, Committer, Deed, LogEnd, TableLog, note_widened, record};
use crate::config::Options;
use crate::dictionary::Dictionary;
use crate::engine::{Engine, Lasting, Registry};
use crate::erase::{Erasures, Secret, decode_bitmap};
use crate::error::{Error, Kind, Result};
use crate::freeze::tier::away_run;
use crate::home;
use crate::ice::Fetch;
use crate::ingest_clock::IngestClock;
use crate::io::coming::Coming;
use crate::io::disk::Disk;
use crate::io::{Files, TEMPORARY};
use crate::leaving::Leaving;
use crate::manifest::{
    Contents, EntityManifest, LogFiles, Manifest, ManifestState, NamedFile, SegmentEntry, Subject, TableManifest,
};
use crate::model::batch::WriteBatch;
use crate::model::catalog::Table;
use crate::pack::Pack;
use crate::poison::{Poison, Watched};
use crate::position::{CurrentLog, Log, random_database};
use crate::published::Published;
use crate::read::Resources;
use crate::read::slab::SpareSlabs;
use crate::retired::Retired;
use crate::run::Run;
use crate::segment;
use crate::signal::Signal;
use crate::statistics::Statistics;
use crate::time::{Micros, Sequence, SystemClock};
use crate::versions::Versions;
use crate::view::{BucketView, DirtySet, EntityState, LatestPack, TableState, TableView};
use crate::wal::{Record, Wal};

/// Opens the database of `options`: the shared state and the log's writer. It is the `opening`-th time that this process does.
pub(crate) fn open(options: Options, lasting: &Lasting, opening: u64) -> Result<(Arc<Engine>, Committer)> {
    options.check()?;
    let published = Arc::new(Published::default());
    let poison = Arc::new(Poison::new(Arc::clone(&published)));
    let coming = Arc::new(Coming::new(Arc::new(Watched::new(files_of(&options)?, Arc::clone(&poison)))));
    let files: Arc<dyn Files> = Arc::clone(&coming) as _;
    let Lasting { statistics, resources } = lasting.clone();
    let clock = Arc::clone(&resources.clock);
    let (manifest, entered) = found(&options, &coming, clock.now())?;
    manifest.sweep()?;
    let state = manifest.state.clone();
    sweep(&files, &state)?;
    let versions = manifest.versions()?;
    let fetch = fetch_of(&options, &statistics);
    let doors = Doors { files: &files, fetch: fetch.as_ref() };
    let registry = open_states(doors, &state, &versions).map_err(|error| match error.kind() {
        // Nobody asked for anything yet, so what cannot be is in the manifest; other errors name their file.
        Kind::Invalid => manifest.damaged(&error),
        _ => error,
    })?;
    let skew = options.clock_skew_max;
    let next_number = next_number(&files, &state)?;
    let home = entered.map(|entered| entered.home(&state, Arc::clone(&files), Arc::clone(&poison), next_number));
    let home = home.transpose()?.map(Arc::new);
    let before = lineage_before(&options, &files)?;
    let epoch = home.as_ref().map_or(before.current(), |home| home.epoch());
    let engine = Arc::new(Engine {
        clock: IngestClock::open(clock, Arc::clone(&files), state.sequence, state.ingest_time, skew)?,
        published,
        poison,
        retired: Retired::new(Arc::clone(&files)),
        leaving: Leaving::default(),
        versions: ArcSwap::from_pointee(versions),
        registry: ArcSwap::from_pointee(registry),
        next_number: AtomicU64::new(next_number),
        secret: state.secret,
        log: CurrentLog::new(Log { database: state.database, epoch }),
        lineage: ArcSwap::default(),
        opening,
        home,
        fetch,
        unfrozen: Mutex::default(),
        looked_at_ice: Mutex::default(),
        listed: ArcSwap::new(Arc::clone(&manifest.state)),
        manifest: Mutex::new(manifest),
        log_files: Mutex::new(LogFiles::new(BTreeMap::new(), state.wal_first)),
        groups_most: AtomicUsize::new(state.groups_most()),
        memtable_bytes: AtomicU64::new(0),
        statistics,
        work: Signal::default(),
        room: Signal::default(),
        closing: AtomicBool::new(false),
        closed: Signal::default(),
        log_ended: AtomicBool::new(false),
        freezing: Mutex::new(()),
        compacting: Mutex::new(()),
        packs_rest_until: AtomicI64::new(i64::MIN),
        flushing: Mutex::new(()),
        resources,
        files,
        coming,
        options,
    });
    let committer = replay(&engine, &state)?;
    committer.show_producers();
    // The log may have dropped what the manifest still names.
    engine.forget_dropped()?;
    engine.lineage.store(Arc::new(settle(&engine, &committer, before)?));
    Ok((engine, committer))
}

/// What stays as long as a database of `options` is open.
pub(crate) fn lasting(options: &Options) -> Lasting {
    let clock = options.clock.clone().unwrap_or_else(|| Arc::new(SystemClock::default()));
    let budget = Budget::new(options.request_bytes_max, options.request_wait_max);
    let slabs = Arc::new(SpareSlabs::new(options.spare_slabs_bytes_max as usize));
    Lasting { statistics: Arc::default(), resources: Arc::new(Resources { clock, slabs, budget }) }
}

/// The door to the files of `options`.
pub(crate) fn files_of(options: &Options) -> Result<Arc<dyn Files>> {
    match &options.files {
        Some(files) => Ok(Arc::clone(files)),
        None => Ok(Arc::new(Disk::open(&options.directory, options.map, options.maps_max)?)),
    }
}

/// Who wrote what is here.
fn lineage_before(options: &Options, files: &Arc<dyn Files>) -> Result<home::Lineage> {
    match &options.follow {
        Some(_) => home::followed_lineage(files),
        None => home::known_lineage(files),
    }
}

/// The manifest of the database of `options`, new or restored if there is none, and the claim of its bucket.
fn found(options: &Options, coming: &Arc<Coming>, now: Micros) -> Result<(Manifest, Option<home::Entered>)> {
    let files: &Arc<dyn Files> = &(Arc::clone(coming) as _);
    let mut known = Manifest::open(Arc::clone(files))?;
    let mut entered = None;
    if let Some(home) = &options.home {
        let database = known.as_ref().map(|manifest| manifest.state.database);
        entered = Some(home::enter(home.clone(), coming, database, now)?);
        // What was restored is there now, or on its way.
        known = Manifest::open(Arc::clone(files))?;
        if let Some(manifest) = &known {
            home::coming::go_on(&home.objects, coming, &manifest.state, home.policy.ice.requests_max)?;
        }
    } else if let Some(follow) = &options.follow {
        let database = known.as_ref().map(|manifest| manifest.state.database);
        home::adopt(follow.objects.as_ref(), files, database, follow.checkpoint.as_deref())?;
        known = Manifest::open(Arc::clone(files))?;
    } else {
        home::refuse_followers(files)?;
        home::opened_alone(files)?;
    }
    Ok((known.map_or_else(|| create(files), Ok)?, entered))
}

/// The door to ice, if there is a bucket.
fn fetch_of(options: &Options, statistics: &Arc<Statistics>) -> Option<Arc<Fetch>> {
    let home = options.home.as_ref().map(|home| (&home.objects, &home.policy.ice));
    let of = home.or(options.follow.as_ref().map(|follow| (&follow.objects, &follow.ice)));
    of.map(|(objects, policy)| {
        Arc::new(Fetch::new(Arc::clone(objects), policy.clone(), options.follow.is_some(), Arc::clone(statistics)))
    })
}

/// Puts what was recovered into the bucket, if there is one; who wrote the database `before`, and who does now.
fn settle(engine: &Arc<Engine>, committer: &Committer, before: home::Lineage) -> Result<home::Lineage> {
    let Some(home) = &engine.home else { return Ok(before) };
    home.begin(engine.published.sequence())?;
    committer.note_tail();
    home.settle(&**engine)?;
    Ok(home.lineage().clone())
}

/// The first manifest of a new database. Other files without a manifest are a database that lost it.
fn create(files: &Arc<dyn Files>) -> Result<Manifest> {
    for (folder, _) in NamedFile::FOLDERS {
        if files.list(folder)?.iter().any(|name| !name.ends_with(".tmp")) {
            return Err(Error::new(
                Kind::Corrupt,
                format!("the data directory has files in {folder}/ but no manifest; restore manifest/ from a copy"),
            ));
        }
        files.create_directory(folder)?;
    }
    Wal::create(files, 1)?;
    let (database, secret) = (random_database(), Secret::random()?);
    let state = ManifestState { database, secret, next_number: 2, wal_first: 1, ..Default::default() };
    Manifest::create(Arc::clone(files), state)
}

/// Removes files that the manifest does not name: what a crash left of a flush or a compaction.
fn sweep(files: &Arc<dyn Files>, state: &ManifestState) -> Result<()> {
    unnamed(files, state)?.iter().try_for_each(|path| files.remove(path))?;
    // A checkpoint that was erased from may have been open there.
    home::clear_beside(files).map(drop)
}

/// The files that belong to nothing.
pub(crate) fn unnamed(files: &Arc<dyn Files>, state: &ManifestState) -> Result<Vec<String>> {
    let named: HashSet<String> = state.files().into_iter().map(NamedFile::name).collect();
    let mut unnamed = Vec::new();
    for (folder, _) in NamedFile::FOLDERS {
        let paths = files.list(folder)?.into_iter().map(|name| format!("{folder}/{name}"));
        unnamed.extend(paths.filter(|path| !named.contains(path)));
    }
    for folder in ["", "manifest", "wal"] {
        let temporary = files.list(folder)?.into_iter().filter(|name| name.ends_with(TEMPORARY));
        unnamed.extend(temporary.map(|name| if folder.is_empty() { name } else { format!("{folder}/{name}") }));
    }
    Ok(unnamed)
}

/// A number above every file's.
pub(crate) fn next_number(files: &Arc<dyn Files>, state: &ManifestState) -> Result<u64> {
    let mut next = state.next_number;
    for (folder, ending) in NamedFile::FOLDERS.iter().chain(&[("wal", ".wal")]) {
        for name in files.list(folder)? {
            let number = name.strip_suffix(ending).and_then(|name| name.parse::<u64>().ok());
            next = next.max(number.map_or(0, |number| number + 1));
        }
    }
    Ok(next)
}

/// Where what a manifest names is opened.
#[derive(Clone, Copy)]
struct Doors<'a> {
    files: &'a Arc<dyn Files>,
    /// To ice, if there is a bucket.
    fetch: Option<&'a Arc<Fetch>>,
}

fn open_states(doors: Doors<'_>, state: &ManifestState, versions: &Versions) -> Result<Registry> {
    let files = doors.files;
    let mut registry = Registry::default();
    let nothing = EntityManifest::default();
    for entity in &versions.newest().entities {
        let kept = state.entities.get(&entity.id).unwrap_or(&nothing);
        let mut dictionaries = Vec::with_capacity(entity.buckets as usize);
        for bucket in 0..entity.buckets as usize {
            let metas = kept.dictionaries.get(bucket).map(Vec::as_slice).unwrap_or_default();
            let erased = kept.erased.get(bucket).map(|text| decode_bitmap(text)).transpose()?.unwrap_or_default();
            dictionaries.push(Dictionary::open(files, metas, erased)?);
        }
        let erasures = match &kept.erasures {
            Some(file) => Erasures::read(files, file, state.secret, &entity.key)?,
            None => Erasures::new(state.secret, &entity.key),
        };
        let state = EntityState::new(Arc::clone(entity), dictionaries, erasures);
        registry.entities.insert(entity.id, Arc::new(state));
    }
    let nothing = TableManifest::default();
    for table in &versions.newest().tables {
        let entity = Arc::clone(&registry.entities[&table.entity]);
        let kept = state.tables.get(&table.id).unwrap_or(&nothing);
        let view = open_view(doors, table, kept, entity.dictionaries.len())?;
        registry.tables.insert(table.id, Arc::new(TableState::new(table.id, entity, view)));
    }
    note_all_widened(&registry, versions)?;
    Ok(registry)
}

fn note_all_widened(registry: &Registry, versions: &Versions) -> Result<()> {
    for entry in versions.after(1) {
        let before = versions.at(entry.schema_version - 1)?;
        for table in &entry.tables {
            if let Some(state) = registry.tables.get(&table.id) {
                note_widened(state, before, table);
            }
        }
    }
    Ok(())
}

fn open_view(doors: Doors<'_>, table: &Table, kept: &TableManifest, buckets: usize) -> Result<TableView> {
    let mut opened = vec![BucketView::default(); buckets];
    let misplaced = || Error::invalid("it names a bucket that its entity does not have");
    for entry in &kept.segments {
        let bucket = opened.get_mut(entry.bucket as usize).ok_or_else(misplaced)?;
        bucket.segments.push(Arc::new(open_segment(doors, table, entry)?));
    }
    for entry in &kept.packs {
        let bucket = opened.get_mut(entry.bucket as usize).ok_or_else(misplaced)?;
        let pack = Pack::open(doors.files, &entry.meta)?;
        let dirty = Arc::new(dirty_since(bucket, &pack)?);
        bucket.pack = Some(Arc::new(LatestPack::new(pack, dirty, entry.shape)));
    }
    let buckets = opened.into_iter().map(Arc::new).collect();
    Ok(TableView { buckets, through: kept.flushed, horizon: kept.horizon, edits: 1 })
}

/// The segment of `entry`, or its rows part if its cells are in the bucket only.
fn open_segment(doors: Doors<'_>, table: &Table, entry: &SegmentEntry) -> Result<Run> {
    let Doors { files, fetch } = doors;
    let Some(ice) = entry.ice.as_ref().filter(|ice| !ice.hot) else { return segment::open(files, &entry.meta) };
    let fetch = fetch.ok_or_else(|| {
        let what =
            format!("history of table {} lies in the bucket only: open the database with its bucket", table.name);
        Error::precondition(what)
    })?;
    away_run(files, fetch, table.id, entry, ice)
}

/// The entities with rows in segments that are newer than the pack.
fn dirty_since(bucket: &BucketView, pack: &Pack) -> Result<DirtySet> {
    let dirty = DirtySet::new(pack.ordinals());
    for run in &bucket.segments {
        let seen = run.rows.steps.sequences.partition_point(|&sequence| sequence <= pack.position());
        if seen == run.rows.steps.len() {
            continue;
        }
        for (ordinal, range) in run.rows.entities()? {
            if let Some(checks) = &run.rows.checks {
                checks.rows(range.clone())?;
            }
            let newer = |row: u32| run.rows.row_steps[row as usize] as usize >= seen;
            if range.clone().any(newer) {
                dirty.mark(ordinal);
            }
        }
    }
    Ok(dirty)
}

/// Replays the WAL into memory and goes on where it ends.
fn replay(engine: &Arc<Engine>, state: &ManifestState) -> Result<Committer> {
    let mut replayed = Replayed {
        engine,
        sequence: state.sequence,
        ingest_time: state.ingest_time,
        tables: kept_logs(state),
        contents: BTreeMap::new(),
        again: Again::new(engine),
        state,
    };
    let wal = Wal::recover(&engine.files, state.wal_first, &mut |file, record| replayed.apply(file, &record))?;
    replayed.again.finish()?;
    let Replayed { sequence, ingest_time, tables, mut contents, .. } = replayed;
    let current = contents.remove(&wal.number()).unwrap_or_default();
    *engine.log_files.lock() = LogFiles::new(contents, wal.number());
    engine.clock.resume(sequence, ingest_time);
    engine.published.publish(sequence);
    let end = LogEnd { wal, sequence, ingest_time, tables, contents: current };
    Ok(Committer::new(Arc::clone(engine), end))
}

fn kept_logs(state: &ManifestState) -> HashMap<u32, TableLog> {
    let log = |table: &TableManifest| TableLog {
        producers: table.producers.iter().map(|(name, seq)| (name.clone(), *seq)).collect(),
        ingest_time: table.ingest_time,
        sealed: false,
    };
    state.tables.iter().map(|(id, table)| (*id, log(table))).collect()
}

struct Replayed<'a> {
    engine: &'a Arc<Engine>,
    again: Again<'a>,
    sequence: Sequence,
    ingest_time: Micros,
    tables: HashMap<u32, TableLog>,
    /// What each file holds.
    contents: BTreeMap<u64, Contents>,
    state: &'a ManifestState,
}

impl Replayed<'_> {
    fn apply(&mut self, file: u64, record: &Record<'_>) -> Result<()> {
        self.sequence = self.sequence.max(record.last);
        let subject = self.act(record).map_err(|error| {
            Error::new(Kind::Corrupt, format!("the WAL record of commit {} does not apply: {error}", record.first))
        })?;
        self.contents.entry(file).or_default().insert(subject, record.last);
        Ok(())
    }

    /// Does what `record` says, if the manifest does not say so already; what it is about.
    fn act(&mut self, record: &Record<'_>) -> Result<Subject> {
        if record.kind == record::BATCH {
            let table = WriteBatch::table_of(record.payload)?;
            let flushed = self.state.tables.get(&table).map_or(0, |table| table.flushed);
            if self.engine.table(table).is_none() || record.last <= flushed {
                return Ok(Subject::Table(table));
            }
        }
        let deed = Deed::decode(record)?;
        let subject = deed.subject();
        let timed = !matches!(&deed, Deed::Batch(batch) if batch.ingest_times.is_some());
        if timed {
            self.ingest_time = self.ingest_time.max(record.ingest_time);
        }
        let is_new = match &deed {
            Deed::Batch(batch) => {
                self.tables.entry(batch.table).or_default().note(batch, record.ingest_time);
                true
            }
            Deed::Version(entry) => entry.schema_version > self.engine.versions.load().newest().schema_version,
            Deed::Erase(prefixes) => {
                record.first > self.state.entities.get(&prefixes.entity).map_or(0, |entity| entity.through)
            }
        };
        if is_new {
            self.again.act(record, deed)?;
        }
        Ok(subject)
    }
}

/// Stops background work at its next step.
pub(crate) fn begin_close(engine: &Engine) {
    engine.closing.store(true, Ordering::SeqCst);
    engine.closed.ring();
    engine.work.ring();
    engine.room.ring();
}

/// How long background work sleeps when nobody rings.
pub(crate) const IDLE: Duration = Duration::from_millis(200);
