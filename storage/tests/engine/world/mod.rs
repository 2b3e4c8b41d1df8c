//! A database and beside it what the oracle knows: every step is done to both, every read is asked of both.
//!
//! The world keeps the rows as plain structs, one list per table, and the declarations as they were at each schema
//! version. It checks what acknowledgements promise (ingest times increase, positions, counts) as it goes.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{Field, Schema};
use firn_storage::commit::Committed;
use firn_storage::config::{HomeOptions, HomePolicy, IcePolicy, Level, Options};
use firn_storage::database::{Database, EraseRequest};
use firn_storage::error::{Error, Kind as ErrorKind};
use firn_storage::io::Files;
use firn_storage::io::disk::Disk;
use firn_storage::io::simulated::Simulated;
use firn_storage::model::batch::{Producer, Verb, WriteRequest};
use firn_storage::model::declare::Change;
use firn_storage::model::prove::Proven;
use firn_storage::objects::faulty::Faulty;
use firn_storage::objects::memory::Memory;
use firn_storage::time::{Clock, ManualClock, Micros};
use serde_json::{Value as Json, json};

use crate::oracle::Value;

pub mod aggregate;
pub mod ask;
pub mod data;
pub mod hooked;
pub mod keys;
pub mod plain;
pub mod scan;

use data::rows_of;
pub use data::{Age, Batch, Deed, Feature, Output, Retention, Sent, Shape, Table, duration};
use keys::KeyShape;

/// A failed step, as a person should read it.
pub type Outcome<T = ()> = Result<T, String>;

/// An acknowledgement.
#[derive(Debug, Clone)]
pub struct Ack {
    pub position: String,
    /// The last of the world's own sequences that it covers.
    pub sequence: u64,
}

/// How the database of a world is opened.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// On a real directory, where `map` says whether files are mapped or read to the heap.
    pub real: bool,
    pub map: bool,
    pub segment_rows_max: u32,
    pub wal_bytes_max: u64,
    pub start: Micros,
    /// Whether flush, compaction and scrub run by themselves, at the least occasion.
    pub busy: bool,
    /// Whether there is a bucket, so that a crash may take the disk.
    pub home: bool,
    /// Whether what is frozen stays on the disk, but for the window of its table.
    pub hot: bool,
}

impl Default for Setting {
    fn default() -> Self {
        let (segment_rows_max, wal_bytes_max) = (1 << 20, 1 << 24);
        Self { real: false, map: true, segment_rows_max, wal_bytes_max, start: 0, busy: false, home: false, hot: false }
    }
}

/// The database and what the oracle knows.
#[derive(Debug)]
pub struct World {
    pub setting: Setting,
    pub clock: Arc<ManualClock>,
    pub files: Simulated,
    /// The bucket, if the world has one.
    pub objects: Memory,
    /// A directory of the operating system, if files are to be mapped or read for real.
    real: Option<tempfile::TempDir>,
    pub keys: KeyShape,
    pub tables: Vec<Table>,
    /// Schema versions with the shapes of all tables that existed.
    pub versions: Vec<(u64, Vec<Shape>)>,
    pub acks: Vec<Ack>,
    database: Option<Database>,
    sequence: u64,
    /// No later commit may have an ingest time up to this: the last one, and the highest knowledge bound answered.
    answered: Micros,
    /// The same for the clock that answers carried, as long as the database stays open.
    answered_clock: Micros,
}

/// The name of the entity that all tables share.
pub const ENTITY: &str = "thing";

impl World {
    /// An empty database with the entity declared.
    pub fn new(setting: Setting, keys: KeyShape) -> Outcome<Self> {
        let mut world = Self {
            setting,
            clock: Arc::new(ManualClock::at(setting.start)),
            files: Simulated::new(),
            objects: Memory::new(),
            real: setting.real.then(|| tempfile::tempdir().expect("a temporary directory")),
            keys,
            tables: Vec::new(),
            versions: Vec::new(),
            acks: Vec::new(),
            database: None,
            sequence: 0,
            answered: i64::MIN,
            answered_clock: i64::MIN,
        };
        world.open()?;
        world.change("create_entity", &keys.declaration(ENTITY))?;
        Ok(world)
    }

    /// The options that this world opens its database with.
    pub fn options(&self) -> Options {
        let mut options = Options::new("unused");
        options.files = Some(self.door());
        options.clock = Some(Arc::clone(&self.clock) as Arc<dyn Clock>);
        options.map = self.setting.map;
        options.background = self.setting.busy;
        if self.setting.busy {
            options.flush_bytes_max = 512;
        }
        options.reader_threads = 2;
        options.segment_rows_max = self.setting.segment_rows_max;
        options.wal_bytes_max = self.setting.wal_bytes_max;
        options.home = self.setting.home.then(|| self.home_options());
        options
    }

    /// How the database keeps to the bucket: nothing is acknowledged that is not there.
    pub fn home_options(&self) -> HomeOptions {
        HomeOptions {
            objects: Arc::new(self.objects.clone()),
            policy: HomePolicy {
                acknowledge: Level::Object,
                upload_interval: Duration::from_millis(1),
                backlog_bytes_max: 1 << 30,
                publish_bytes: 1 << 30,
                publish_interval: Duration::from_secs(3600),
                garbage_age: Duration::ZERO,
                checkpoints_max: 4,
                discard_local: false,
                // What is frozen leaves the disk at once, and comes back for each read that nothing else was kept for; little of it
                // comes back to the disk, and goes again soon.
                ice: IcePolicy {
                    hot_bytes_max: if self.setting.hot { u64::MAX } else { 0 },
                    cache_bytes_max: 0,
                    thawed_bytes_max: 4096,
                    gap_bytes: 64,
                    ..IcePolicy::default()
                },
            },
            writer: "a test".to_owned(),
        }
    }

    /// The door to the files of this world: its simulated disk, or a real directory.
    pub fn door(&self) -> Arc<dyn Files> {
        match &self.real {
            None => Arc::new(self.files.clone()),
            Some(directory) => {
                Arc::new(Disk::open(directory.path(), self.setting.map, 1 << 16).expect("a directory of this test"))
            }
        }
    }

    /// The open database.
    pub fn database(&self) -> &Database {
        self.database.as_ref().expect("a world is closed only within a step")
    }

    /// The same world on another disk, closed.
    pub fn on(&self, files: Simulated) -> Self {
        Self {
            setting: self.setting,
            clock: Arc::new(ManualClock::at(self.clock.now())),
            files,
            objects: self.objects.copy(),
            real: None,
            keys: self.keys,
            tables: self.tables.clone(),
            versions: self.versions.clone(),
            acks: self.acks.clone(),
            database: None,
            sequence: self.sequence,
            answered: self.answered,
            answered_clock: i64::MIN,
        }
    }

    /// Takes over what the oracle knows in `other`, whose database this one's is a copy of.
    pub fn know(&mut self, other: &Self) {
        self.tables.clone_from(&other.tables);
        self.versions.clone_from(&other.versions);
        self.acks.clone_from(&other.acks);
        (self.sequence, self.answered) = (other.sequence, other.answered);
    }

    /// Forgets what the oracle knows of `entity`, as an erase does.
    pub fn know_erased(&mut self, entity: usize) {
        self.tables.iter_mut().for_each(|table| table.rows.retain(|row| row.entity != entity));
    }

    /// Opens the database.
    pub fn try_open(&mut self) -> Result<(), Error> {
        self.open_with(|_| {})
    }

    /// Opens the database with options that `change` changed.
    pub fn open_with(&mut self, change: impl FnOnce(&mut Options)) -> Result<(), Error> {
        let mut options = self.options();
        change(&mut options);
        self.answered_clock = i64::MIN;
        self.database = Some(Database::open(options)?);
        Ok(())
    }

    /// Opens the database on its bucket through a door that can fail, and answers that.
    pub fn open_on_faulty(&mut self) -> Faulty {
        let faulty = Faulty::new(Arc::new(self.objects.clone()));
        let bucket = Arc::new(faulty.clone());
        self.open_with(|options| options.home.as_mut().expect("it has a bucket").objects = bucket)
            .expect("a healthy bucket");
        faulty
    }

    /// Opens the database, which must work.
    pub fn open(&mut self) -> Outcome {
        calmly("open", || self.try_open())
    }

    /// Closes the database, cleanly or with the error that it met.
    pub fn close(&mut self) -> Result<(), Error> {
        self.database.take().map_or(Ok(()), |database| database.close())
    }

    /// Closes the database cleanly and opens it again.
    pub fn reopen(&mut self) -> Outcome {
        calmly("close", || self.close())?;
        self.open()
    }

    /// Takes the power away and opens what `seed` left of the disk: what was not synced may be lost.
    pub fn crash(&mut self, seed: u64) -> Outcome {
        if self.real.is_some() {
            return self.reopen();
        }
        let after = self.files.crash(seed);
        let objects = self.objects.copy();
        drop(self.database.take());
        // With a bucket every other disk is lost whole.
        self.files = if self.setting.home && seed.is_multiple_of(2) { Simulated::new() } else { after };
        self.objects = objects;
        self.open()
    }

    /// The latest moment that a knowledge bound may name without waiting.
    pub fn answered(&self) -> Micros {
        self.clock.now().max(self.answered)
    }

    /// Flushes one table, or all.
    pub fn flush(&self, table: Option<usize>) -> Outcome {
        let name = table.map(|table| self.tables[table].name.as_str());
        calmly("flush", || self.database().flush(&self.database().catalog(), name))
    }

    /// Compacts one table, or all.
    pub fn compact(&self, table: Option<usize>) -> Outcome {
        let name = table.map(|table| self.tables[table].name.as_str());
        calmly("compact", || self.database().compact(&self.database().catalog(), name))
    }

    /// Freezes one table, or all: everything but what latest needs leaves the disk.
    pub fn freeze(&self, table: Option<usize>) -> Outcome {
        let name = table.map(|table| self.tables[table].name.as_str());
        calmly("freeze", || self.database().freeze(&self.database().catalog(), name))
    }

    /// Applies a declaration and returns the schema version that it made.
    pub fn change(&mut self, action: &str, body: &Json) -> Outcome<u64> {
        let doing = format!("{action} {body}");
        let before = self.database().catalog().schema_version;
        let catalog =
            calmly(&doing, || self.database().change(&self.database().catalog(), &Change::parse(action, body)?))?;
        // A change that changes nothing takes no place in the log.
        if catalog.schema_version != before {
            self.answered_clock = self.answered_clock.max(self.clock.now());
        }
        Ok(catalog.schema_version)
    }

    fn remember_version(&mut self, version: u64) {
        let shapes = self.tables.iter().map(|table| table.shape.clone()).collect();
        self.versions.retain(|(old, _)| *old != version);
        self.versions.push((version, shapes));
    }

    /// Declares a table.
    pub fn create_table(&mut self, name: &str, row_ids: bool, shape: Shape) -> Outcome<usize> {
        let features: Vec<Json> = shape.features.iter().map(Feature::declaration).collect();
        let mut body = json!({"table": name, "entity": ENTITY, "event_time": "at", "max_future_skew": "none",
            "features": features});
        if row_ids {
            body["row_id"] = json!([{"name": "id", "type": "int64"}]);
        }
        if !shape.outputs.is_empty() {
            body["aggregates"] = shape.aggregates().map(|aggregate| aggregate.declaration(&shape)).collect();
        }
        if let Some(max_age) = shape.max_age {
            body["max_age"] = duration(max_age);
        }
        let version = self.change("create_table", &body)?;
        let features_ever = shape.features.len() as u32;
        let (rows, producers) = (Vec::new(), BTreeMap::new());
        let name = name.to_owned();
        let (loaded_until, retention) = (i64::MIN, None);
        let sealed = false;
        self.tables.push(Table {
            name,
            row_ids,
            sealed,
            shape,
            features_ever,
            rows,
            loaded_until,
            producers,
            retention,
        });
        self.remember_version(version);
        Ok(self.tables.len() - 1)
    }

    /// Seals a table.
    pub fn seal(&mut self, table: usize) -> Outcome {
        let version = self.change("seal_table", &json!({"table": self.tables[table].name}))?;
        self.tables[table].sealed = true;
        self.remember_version(version);
        Ok(())
    }

    /// Adds a feature to a table.
    pub fn add_feature(&mut self, table: usize, feature: Feature) -> Outcome {
        let body = json!({"table": self.tables[table].name, "add": [feature.declaration()]});
        let version = self.change("alter_table", &body)?;
        let table = &mut self.tables[table];
        table.features_ever = table.features_ever.max(feature.id + 1);
        table.shape.features.push(feature);
        self.remember_version(version);
        Ok(())
    }

    /// Adds the aggregate that has these windows.
    pub fn add_aggregate(&mut self, table: usize, outputs: Vec<Output>) -> Outcome {
        let declaration = outputs[0].aggregate.declaration(&self.tables[table].shape);
        self.alter(table, &json!({"add_aggregates": [declaration]}), |shape| shape.outputs.extend(outputs))
    }

    /// Has a table keep what was true in the last `keep` µs.
    pub fn keep_events(&mut self, table: usize, keep: i64) -> Outcome {
        self.alter(table, &json!({"set": {"retention": {"keep_events": duration(keep)}}}), |_| {})?;
        self.tables[table].retention = Some(Retention { keep, gone: i64::MIN });
        Ok(())
    }

    /// Widens, renames or retires features and outputs, or sets the table's max age.
    pub fn alter(&mut self, table: usize, what: &Json, change: impl FnOnce(&mut Shape)) -> Outcome {
        self.tables[table].note_gone(self.clock.now());
        let mut body = what.clone();
        body["table"] = json!(self.tables[table].name);
        let version = self.change("alter_table", &body)?;
        change(&mut self.tables[table].shape);
        self.remember_version(version);
        Ok(())
    }

    /// The Arrow batch that a writer would send.
    pub fn record_batch(&self, batch: &Batch) -> RecordBatch {
        let table = &self.tables[batch.table];
        let columns = if let Deed::Write { columns, .. } = &batch.deed { columns.len() } else { 0 };
        let bad = Sent { entity: 0, event_time: i64::MIN, row_id: Some(0), cells: vec![None; columns] };
        let rows: Vec<&Sent> = batch.rows.iter().chain(std::iter::repeat_n(&bad, batch.bad_rows)).collect();
        let entities: Vec<usize> = rows.iter().map(|row| row.entity).collect();
        let mut columns = self.keys.columns(&entities);
        let mut push = |name: &str, array: ArrayRef| {
            columns.push((Field::new(name, array.data_type().clone(), true), array));
        };
        push("at", times(rows.iter().map(|row| row.event_time)));
        if table.row_ids && !matches!(batch.deed, Deed::Delete) {
            push("id", Arc::new(rows.iter().map(|row| row.row_id).collect::<Int64Array>()));
        }
        if let Deed::Write { columns: features, .. } = &batch.deed {
            for (place, id) in features.iter().enumerate() {
                let feature = table.shape.feature(*id).expect("a batch names live features");
                let cells: Vec<Option<Value>> = rows.iter().map(|row| row.cells[place].clone()).collect();
                push(&feature.name, feature.kind.array(&cells));
            }
        }
        if let Some(ingest_times) = &batch.ingest_times {
            push("landed", times(ingest_times.iter().copied()));
        }
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of equal length")
    }

    /// How a writer would ask for `batch`.
    pub fn write_request(&self, batch: &Batch) -> WriteRequest {
        let table = &self.tables[batch.table];
        let verb = match &batch.deed {
            Deed::Write { .. } => Verb::Write,
            Deed::Delete => Verb::Delete,
            Deed::Retract => Verb::Retract { features: Vec::new() },
            Deed::RetractCells(features) => {
                let name = |id: &u32| table.shape.feature(*id).expect("a batch names live features").name.clone();
                Verb::Retract { features: features.iter().map(name).collect() }
            }
        };
        WriteRequest {
            table: table.name.clone(),
            verb,
            nulls_absent: matches!(batch.deed, Deed::Write { nulls_absent: true, .. }),
            ingest_time: batch.ingest_times.is_some().then(|| "landed".to_owned()),
            report_bad_rows: batch.bad_rows > 0,
        }
    }

    /// Proves and writes `batch` to the database alone.
    pub fn send(&self, batch: &Batch) -> Result<Committed, Error> {
        let (request, rows) = (self.write_request(batch), self.record_batch(batch));
        let Proven { batch: proven, bad_rows, bad_row_count } =
            self.database().prove(&self.database().catalog(), &request, &rows)?;
        if bad_row_count > batch.bad_rows as u64 {
            return Err(Error::invalid(format!("bad rows: {bad_rows:?}")));
        }
        let mut write = proven;
        write.producer = batch.producer.as_ref().map(|(name, sequence, previous)| Producer {
            name: name.clone(),
            seq: *sequence,
            previous: *previous,
        });
        self.database().write(write)
    }

    /// Writes `batch` and remembers it, or checks that it is refused where the contract says so.
    pub fn apply(&mut self, batch: &Batch) -> Outcome {
        if batch.rows.is_empty() && batch.producer.is_none() {
            return Ok(());
        }
        let expected = self.expected_refusal(batch);
        let sent = catch_unwind(AssertUnwindSafe(|| self.send(batch)));
        let sent = sent.map_err(|panic| format!("write panicked: {}", panic_text(panic)))?;
        match (sent, expected) {
            (Ok(committed), None) => self.remember(batch, &committed),
            (Ok(_), Some(kind)) => Err(format!("a write that must be refused as {kind:?} was acknowledged: {batch:?}")),
            (Err(error), Some(kind)) if error.kind() == kind => Ok(()),
            // A table may have been sealed since the original was acknowledged; either answer tells the writer enough.
            (Err(error), None) if self.is_late_duplicate(batch) && error.kind() == ErrorKind::Precondition => Ok(()),
            (Err(error), _) => Err(format!("write failed: {error:?}: {batch:?}")),
        }
    }

    /// Erases an entity. If it is not `purged`, the disk has no room for another manifest meanwhile.
    pub fn erase(&mut self, entity: usize, purged: bool) -> Outcome {
        let keys = self.keys.columns(&[entity]).into_iter();
        let keys = keys.map(|(field, values)| (field.name().clone(), values)).collect();
        let request = EraseRequest { entity: ENTITY.to_owned(), keys, block: false };
        if !purged {
            self.files.fill("manifest");
        }
        let erased = catch_unwind(AssertUnwindSafe(|| self.database().erase(&self.database().catalog(), &request)));
        self.files.heal();
        match erased.map_err(|panic| format!("erase panicked: {}", panic_text(panic)))? {
            Err(error) if purged || error.kind() == ErrorKind::Poisoned => {
                return Err(format!("erase failed: {error:?}"));
            }
            _ => {}
        }
        self.know_erased(entity);
        Ok(())
    }

    fn is_duplicate(&self, batch: &Batch) -> bool {
        let stored = |(name, _, _): &(String, u64, Option<u64>)| self.tables[batch.table].producers.get(name).copied();
        batch.producer.as_ref().is_some_and(|producer| stored(producer) == Some(producer.1))
    }

    fn is_late_duplicate(&self, batch: &Batch) -> bool {
        self.is_duplicate(batch) && batch.ingest_times.is_some() && self.tables[batch.table].sealed
    }

    fn expected_refusal(&self, batch: &Batch) -> Option<ErrorKind> {
        let table = &self.tables[batch.table];
        if self.is_duplicate(batch) {
            return None;
        }
        if let Some((name, sequence, previous)) = &batch.producer {
            if previous.is_some_and(|previous| *sequence <= previous) {
                return Some(ErrorKind::Invalid);
            }
            if table.producers.get(name) != previous.as_ref() {
                return Some(ErrorKind::Precondition);
            }
        }
        match &batch.ingest_times {
            Some(_) if table.sealed => Some(ErrorKind::Precondition),
            Some(times) if times.iter().any(|time| *time > self.clock.now()) => Some(ErrorKind::Invalid),
            Some(times) if !times.is_sorted() || times[0] < table.loaded_until => Some(ErrorKind::Invalid),
            _ => None,
        }
    }

    fn remember(&mut self, batch: &Batch, committed: &Committed) -> Outcome {
        let duplicate = self.is_duplicate(batch);
        if committed.duplicate != duplicate {
            return Err(format!("duplicate is {}, must be {duplicate}: {batch:?}", committed.duplicate));
        }
        if duplicate {
            return Ok(());
        }
        if committed.rows != batch.rows.len() as u64 {
            return Err(format!("{} rows acknowledged of {}", committed.rows, batch.rows.len()));
        }
        if batch.ingest_times.is_none() {
            let answered = self.answered.max(self.answered_clock);
            if committed.ingest_time <= answered || committed.ingest_time < self.clock.now() {
                return Err(format!(
                    "ingest time {} at clock {}, though {} was answered before",
                    committed.ingest_time,
                    self.clock.now(),
                    answered
                ));
            }
            self.answered = committed.ingest_time;
        }
        let table = &mut self.tables[batch.table];
        let first = self.sequence + 1;
        let mut step = 0;
        table.rows.extend(rows_of(batch, first, |place| match &batch.ingest_times {
            None => (0, committed.ingest_time),
            Some(times) => {
                step += u64::from(place > 0 && times[place] != times[place - 1]);
                (step, times[place])
            }
        }));
        self.sequence = first + step;
        if let Some(last) = batch.ingest_times.as_ref().and_then(|times| times.last()) {
            table.loaded_until = *last;
        }
        table.sealed |= batch.ingest_times.is_none() && !batch.rows.is_empty();
        if let Some((name, sequence, _)) = &batch.producer {
            table.producers.insert(name.clone(), *sequence);
        }
        let position = committed.position.to_string();
        self.acks.push(Ack { position, sequence: self.sequence });
        Ok(())
    }
}

/// An Arrow column of times.
pub fn times(micros: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

/// Runs `work`; an error or a panic becomes a sentence.
pub fn calmly<T>(doing: &str, work: impl FnOnce() -> Result<T, Error>) -> Outcome<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(format!("{doing} failed: {error:?}")),
        Err(panic) => Err(format!("{doing} panicked: {}", panic_text(panic))),
    }
}

/// What a panic said.
pub fn panic_text(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "?".to_owned())
}
