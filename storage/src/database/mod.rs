//! The database: every door that a server or an embedder uses. Those of upkeep are in `upkeep.rs`.

mod upkeep;

mod durable;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::Schema;
use serde_json::{Value, json};

use crate::budget::{Budget, Share};
use crate::checkpoints::purge_everywhere;
use crate::commit::{Committed, Done, Job, Prepared, Reservation, Terms};
use crate::config::Options;
use crate::engine::Lasting;
use crate::erase::{BLOCKED, Blocking, ErasePrefixes, Receipt};
use crate::error::{Error, Result};
pub use crate::follow::Lag;
use crate::follow::{self, Follower};
use crate::model::batch::WriteBatch;
use crate::model::cast::key_values;
use crate::model::catalog::{Catalog, Entity};
use crate::model::declare::Change;
use crate::model::key::{self, Keys};
use crate::model::prove::{Proven, Unwanted, WriteRequest, prove, prove_without};
use crate::opened::Opened;
use crate::position::Position;
use crate::read::plan::entity_of;
use crate::read::scan::{self, ScanInputs};
use crate::read::states::States;
use crate::read::{Answer, Moment, Patience, Plan, PointRequest, Scan, ScanRequest, Snapshot, plan, point};
use crate::recovery;
use crate::statistics::Statistics;
use crate::status::{self, Holdings};
use crate::time::Sequence;

/// Which entities to erase.
#[derive(Debug, Clone)]
pub struct EraseRequest {
    /// The entity.
    pub entity: String,
    /// Leading key columns and their values, one array per column, of equal length.
    pub keys: Vec<(String, ArrayRef)>,
    /// Whether later rows of these entities are refused.
    pub block: bool,
}

/// An open database. Cloning is cheap; the last clone that goes closes it.
#[derive(Debug, Clone)]
pub struct Database {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// A follower may replace it.
    current: Arc<ArcSwap<Opened>>,
    lasting: Lasting,
    follower: Option<Follower>,
}

impl Database {
    /// Opens the database of `options`, creating it if the directory is empty, and recovers what the log holds. One that follows
    /// another process has what the bucket has.
    pub fn open(options: Options) -> Result<Self> {
        options.check()?;
        let lasting = recovery::lasting(&options);
        let options = options.counted(&lasting.statistics.bucket);
        let (current, follower) = if options.follow.is_some() {
            let (current, follower) = follow::start(options, &lasting)?;
            (current, Some(follower))
        } else {
            (Arc::new(ArcSwap::new(Opened::open(options, &lasting, 0)?)), None)
        };
        Ok(Self { shared: Arc::new(Shared { current, lasting, follower }) })
    }

    /// Stops background work, finishes what was accepted, and closes the log cleanly.
    pub fn close(&self) -> Result<()> {
        self.shared.follower.iter().for_each(Follower::stop);
        self.opened().close()
    }

    fn opened(&self) -> Guard<Arc<Opened>> {
        self.shared.current.load()
    }

    /// Refuses what only the writer does, on a follower.
    fn check_writes(&self) -> Result<()> {
        self.shared.follower.as_ref().map_or(Ok(()), |follower| Err(follower.refusal()))
    }

    /// The newest schema.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(self.opened().engine.versions.load().newest())
    }

    /// The schema of `schema_version`.
    pub fn catalog_at(&self, schema_version: u64) -> Result<Arc<Catalog>> {
        self.opened().engine.versions.load().at(schema_version).cloned()
    }

    /// The schema that a request asks for: the one of `schema_version`, or the newest.
    pub fn catalog_asked(&self, schema_version: Option<u64>) -> Result<Arc<Catalog>> {
        schema_version.map_or_else(|| Ok(self.catalog()), |version| self.catalog_at(version))
    }

    /// Changes the schema; durable when this returns the schema after it. What is changed must be in `catalog`.
    pub fn change(&self, catalog: &Catalog, change: &Change) -> Result<Arc<Catalog>> {
        self.check_writes()?;
        change.check_seen(catalog)?;
        let change = change.clone();
        let after = self.opened().queue.ask(|done| Job::Change(change, done))?;
        self.opened().engine.try_forget_dropped();
        Ok(after)
    }

    /// Proves `batch` against `catalog`. Where bad rows are reported, those of blocked entities are.
    pub fn prove(&self, catalog: &Catalog, request: &WriteRequest, batch: &RecordBatch) -> Result<Proven> {
        let now = self.opened().engine.clock.now();
        let table = catalog.table(&request.table).ok().and_then(|table| self.opened().engine.table(table.id));
        let erasures = table.filter(|_| request.report_bad_rows).map(|table| table.entity.erasures.load_full());
        match erasures.filter(|erasures| erasures.block()) {
            None => prove(catalog, request, batch, now),
            Some(erasures) => {
                let places = |keys: &Keys| erasures.blocked_rows(keys).collect();
                prove_without(catalog, request, batch, now, Some(Unwanted { places: &places, reason: BLOCKED }))
            }
        }
    }

    /// Refuses a batch with rows of entities that take no more. The log does so too, but whole batches only.
    pub fn check_blocked(&self, batch: &WriteBatch) -> Result<()> {
        match self.opened().engine.table(batch.table) {
            Some(table) => table.entity.erasures.load().check_blocked(&batch.keys),
            None => Ok(()),
        }
    }

    /// Calls `ready` with room for a batch of about `bytes` ([`batch_bytes`](crate::commit::batch_bytes)) on its way through the log as soon as there is
    /// some, perhaps at once, perhaps on the log's thread; or with why there never will be.
    pub fn reserve_then(&self, bytes: u64, ready: Done<Reservation>) {
        match self.check_writes() {
            Ok(()) => self.opened().queue.admission().reserve_then(bytes, ready),
            Err(error) => ready.answer(Err(error)),
        }
    }

    /// Room for a batch of about `bytes` ([`batch_bytes`](crate::commit::batch_bytes)), waiting for it no longer than `wait`.
    pub fn reserve(&self, bytes: u64, wait: Duration) -> Result<Reservation> {
        self.check_writes()?;
        self.opened().queue.admission().reserve(bytes, wait)
    }

    /// Sends `batch` to the log, if there is room now. Calls of one thread are committed in their order; `done` is called
    /// once the batch is durable and readable, or refused, perhaps on the log's thread, and must be quick.
    pub fn submit(&self, batch: WriteBatch, done: Done<Committed>) {
        let sent = self.alone(batch).and_then(|prepared| {
            let room = self.opened().queue.admission().try_reserve(prepared.bytes_on_the_way())?;
            Ok(Prepared { room: Some(Arc::new(room)), ..prepared })
        });
        self.send(sent, done);
    }

    /// [`Database::submit`] of one batch of the stream of `terms`, for which there is `room`: if the log refuses it, it refuses
    /// the later ones of the stream too, however many were sent meanwhile. The room is given back once the log has the batch,
    /// however long its acknowledgement waits for the bucket: so none that does not wait for it waits behind one that does.
    pub fn submit_within(&self, terms: &Terms, room: Arc<Reservation>, batch: WriteBatch, done: Done<Committed>) {
        let prepared = Prepared::new(&self.opened().engine, batch);
        let terms = terms.clone();
        self.send(prepared.map(|prepared| Prepared { terms, room: Some(room), ..prepared }), done);
    }

    /// A batch that belongs to no stream.
    fn alone(&self, batch: WriteBatch) -> Result<Prepared> {
        let opened = self.opened();
        let terms = Terms::of_one(opened.engine.level());
        Ok(Prepared { terms, ..Prepared::new(&opened.engine, batch)? })
    }

    fn send(&self, prepared: Result<Prepared>, done: Done<Committed>) {
        match self.check_writes().and(prepared) {
            Ok(prepared) => self.opened().queue.put(Job::Write(Box::new(prepared), done)),
            Err(error) => done.answer(Err(error)),
        }
    }

    /// [`Database::submit`], and waits, also for room.
    pub fn write(&self, batch: WriteBatch) -> Result<Committed> {
        self.check_writes()?;
        let prepared = self.alone(batch)?;
        let room = self.reserve(prepared.bytes_on_the_way(), self.opened().engine.options.stall_wait_max)?;
        let prepared = Prepared { room: Some(Arc::new(room)), ..prepared };
        self.opened().queue.ask(|done| Job::Write(Box::new(prepared), done))
    }

    /// Erases entities: invisible at all bounds when this returns, and gone from every file. Answers the receipt.
    pub fn erase(&self, catalog: &Catalog, request: &EraseRequest) -> Result<Value> {
        self.check_writes()?;
        let entity = catalog.entity(&request.entity)?;
        let prefixes = key_prefixes(entity, &request.keys, "an erase")?;
        let state = self.opened().engine.entity_state(entity)?;
        let engine = Arc::clone(&self.opened().engine);
        let _erasing = engine.home.as_ref().map(|home| home.erasing.read());
        let blocking = if request.block { Blocking::Blocks } else { Blocking::Leaves };
        let erase = state.look_up(ErasePrefixes::new(entity.id, request.keys.len(), &prefixes, blocking))?;
        let sequence = self.opened().queue.ask(|done| Job::Erase(Box::new(erase), done))?;
        let purging = Arc::clone(&state);
        self.aside(move |engine, queue| purge_everywhere(engine, queue, &purging, sequence))?;
        let erasures = state.erasures.load();
        let mut answer = erasures.receipt(sequence).expect("an erase leaves its receipt").told();
        answer["entity"] = json!(entity.name);
        answer["read_position"] = json!(self.position_of(sequence).to_string());
        answer["block"] = json!(request.block);
        Ok(answer)
    }

    /// The receipts of the `last` erases of `entity`, the oldest first.
    pub fn receipts(&self, catalog: &Catalog, entity: &str, last: usize) -> Result<Value> {
        let entity = catalog.entity(entity)?;
        let erasures = self.opened().engine.entity_state(entity)?.erasures.load_full();
        let all = erasures.receipts();
        let told: Vec<Value> = all[all.len().saturating_sub(last)..].iter().map(Receipt::told).collect();
        Ok(json!({ "entity": entity.name, "count": all.len(), "receipts": told }))
    }

    /// Takes rows of entities again that an erase has blocked, named as that erase named them. Answers how many were
    /// blocked.
    pub fn unblock(&self, catalog: &Catalog, entity: &str, keys: &[(String, ArrayRef)]) -> Result<Value> {
        self.check_writes()?;
        let entity = catalog.entity(entity)?;
        let prefixes = key_prefixes(entity, keys, "an unblock")?;
        let state = self.opened().engine.entity_state(entity)?;
        let before = state.erasures.load().blocked_prefixes(keys.len(), &prefixes);
        let unblock = state.look_up(ErasePrefixes::new(entity.id, keys.len(), &prefixes, Blocking::Unblocks))?;
        let sequence = self.opened().queue.ask(|done| Job::Erase(Box::new(unblock), done))?;
        Ok(json!({
            "entity": entity.name,
            "unblocked": before.iter().filter(|blocked| **blocked).count(),
            "read_position": self.position_of(sequence).to_string(),
        }))
    }

    /// Which entities take no more rows: how many, by how many leading key columns name them, and of `keys` which. The
    /// database keeps hashes of erased keys and so cannot say the keys themselves.
    pub fn blocked(&self, catalog: &Catalog, entity: &str, keys: &[(String, ArrayRef)]) -> Result<Value> {
        let entity = catalog.entity(entity)?;
        let erasures = self.opened().engine.entity_state(entity)?.erasures.load_full();
        let counts = erasures.blocked_counts();
        let mut answer = json!({
            "entity": entity.name,
            "count": counts.values().sum::<usize>(),
            "by_key_columns": counts.iter().map(|(columns, count)| (columns.to_string(), *count)).collect::<BTreeMap<_, _>>(),
        });
        if !keys.is_empty() {
            let prefixes = key_prefixes(entity, keys, "a request for what is blocked")?;
            answer["blocked"] = json!(erasures.blocked_prefixes(keys.len(), &prefixes));
        }
        Ok(answer)
    }

    /// The last number of each producer of a table whose batch is durable and readable: where each may go on.
    pub fn producers(&self, catalog: &Catalog, table: &str) -> Result<BTreeMap<String, u64>> {
        let state = self.opened().engine.table_state(catalog.table(table)?)?;
        Ok(state.producers.lock().clone())
    }

    /// [`Database::producers`] of one producer; `None` if it has sent nothing.
    pub fn producer(&self, catalog: &Catalog, table: &str, producer: &str) -> Result<Option<u64>> {
        let state = self.opened().engine.table_state(catalog.table(table)?)?;
        Ok(state.producers.lock().get(producer).copied())
    }

    /// Counters.
    pub fn statistics(&self) -> &Statistics {
        &self.shared.lasting.statistics
    }

    /// What the database holds and does now.
    pub fn status(&self) -> Value {
        let follower = self.shared.follower.as_ref().map(Follower::status);
        status::status(&self.opened().engine, follower)
    }

    /// Whether a failed sync stopped all writes.
    pub fn is_poisoned(&self) -> bool {
        self.opened().engine.poison.get().is_some()
    }

    /// How far a follower is; `None` if the database is written here.
    pub fn lag(&self) -> Option<Lag> {
        self.shared.follower.as_ref().map(Follower::lag)
    }

    /// What the database holds now, for metrics.
    pub fn holdings(&self) -> Holdings {
        status::holdings(&self.opened().engine)
    }

    /// Everything published.
    pub fn position(&self) -> Position {
        self.position_of(self.opened().engine.published.sequence())
    }

    fn position_of(&self, sequence: Sequence) -> Position {
        self.opened().engine.log.position(sequence)
    }

    /// Reads a position that this database answered.
    pub fn parse_position(&self, text: &str) -> Result<Position> {
        let opened = self.opened();
        let (lineage, database) = (opened.engine.lineage.load(), opened.engine.log.database());
        if self.shared.follower.is_some() {
            lineage.position_on_follower(database, text)
        } else {
            lineage.position(database, text)
        }
    }

    /// Waits until `position` is published.
    pub fn wait_for(&self, position: &Position, wait: Duration) -> Result<()> {
        self.opened().engine.published.wait(position.sequence(), wait).map(drop)
    }

    /// Plans a lookup or join for requests of `schema`. `catalog` is the schema that the request asks for.
    pub fn plan(&self, catalog: &Arc<Catalog>, request: &PointRequest, schema: &Schema) -> Result<Plan> {
        check_asked(catalog, request.schema_version);
        let position = request.position.as_deref().map(|text| self.parse_position(text)).transpose()?;
        let planned = plan::plan(Arc::clone(catalog), &*self.opened().engine, request, position, schema);
        planned.map_err(|error| in_version(request.schema_version, error))
    }

    /// Pins what reads of `plan` see. `first` is the first batch that is read there: a knowledge bound per row is made
    /// final up to the greatest in it.
    pub fn snapshot(&self, plan: &Plan, first: &RecordBatch) -> Result<Snapshot> {
        self.opened().engine.present().pin(&plan.tables(), &plan.moment(first), plan.catalog.schema_version)
    }

    /// Pins one moment over `tables` of `catalog`: all that is read of them with the snapshot agrees.
    pub fn snapshot_of(&self, catalog: &Catalog, tables: &[&str], moment: &Moment) -> Result<Snapshot> {
        let tables = tables.iter().map(|name| catalog.table(name).map(Arc::clone)).collect::<Result<Vec<_>>>()?;
        self.opened().engine.present().pin(&tables, moment, catalog.schema_version)
    }

    /// The memory that requests, answers and scans hold together.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.shared.lasting.resources.budget
    }

    /// Answers `plan` for the rows of `batch`: its features, in the order of the rows.
    pub fn read(&self, plan: &Plan, snapshot: &Snapshot, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut memory = self.budget().reserve(batch.num_rows() as u64 * plan.row_bytes())?;
        self.answer(plan, snapshot, batch, &mut memory, Patience::Waits)?.into_batch()
    }

    /// [`Database::read`], but without arrays where bytes will do, and in memory that is reserved before: `row_bytes` of
    /// the plan for each row. It grows where values are longer than they are on average.
    /// One that has no `patience` is refused what lies in the bucket: [`Kind::Away`](crate::error::Kind::Away).
    pub fn answer(
        &self,
        plan: &Plan,
        snapshot: &Snapshot,
        batch: &RecordBatch,
        memory: &mut Share,
        patience: Patience,
    ) -> Result<Answer> {
        let opened = self.opened();
        let engine = &opened.engine;
        snapshot.check_age()?;
        snapshot.check_opening(plan.opening)?;
        let answer = point::read(plan, snapshot, batch, (engine.options.reader_threads, patience), memory)?;
        engine.statistics.rows_read.add(batch.num_rows() as u64);
        Ok(answer)
    }

    /// The newest erase, after what `snapshot` sees, of an entity that `batch` asks for; `None` if there is none.
    pub fn erased_since(&self, plan: &Plan, snapshot: &Snapshot, batch: &RecordBatch) -> Result<Option<Position>> {
        let Some(since) = snapshot.erased_since else { return Ok(None) };
        snapshot.check_opening(plan.opening)?;
        let erased = point::erased_from(plan, since.first, batch)?;
        Ok(erased.map(|sequence| self.position_of(sequence)))
    }

    /// Plans and pins a scan. `catalog` is the schema that the request asks for.
    pub fn scan(&self, catalog: &Catalog, request: &ScanRequest) -> Result<Arc<Scan>> {
        check_asked(catalog, request.schema_version);
        let position = request.position.as_deref().map(|text| self.parse_position(text)).transpose()?;
        let moment = request.moment(position)?;
        let snapshot = self.snapshot_of(catalog, &[&request.table], &moment);
        self.scan_at(catalog, request, snapshot.map_err(|error| in_version(request.schema_version, error))?)
    }

    /// Plans a scan of what is pinned. The position, clock and schema version are the snapshot's.
    pub fn scan_at(&self, catalog: &Catalog, request: &ScanRequest, snapshot: Snapshot) -> Result<Arc<Scan>> {
        assert_eq!(
            catalog.schema_version,
            snapshot.schema_version(),
            "a snapshot is of the schema that it was taken in"
        );
        let opened = self.opened();
        let engine = &opened.engine;
        snapshot.check_opening(engine.opening)?;
        let table = Arc::clone(catalog.table(&request.table)?);
        let entity = entity_of(catalog, &table)?;
        let state = engine.entity_state(&entity)?;
        let table_state = engine.table_state(&table)?;
        Ok(Arc::new(scan::plan(request, ScanInputs { table, entity, state, table_state, snapshot })?))
    }
}

/// Who makes a request gives the schema that it asks for.
fn check_asked(catalog: &Catalog, schema_version: Option<u64>) {
    let asked = schema_version.unwrap_or(catalog.schema_version);
    assert_eq!(catalog.schema_version, asked, "a request that pins a schema version is read in it");
}

/// The error of a request that pins a schema version says which.
fn in_version(schema_version: Option<u64>, error: Error) -> Error {
    match schema_version {
        None => error,
        Some(version) => error.at(format!("in schema version {version}")),
    }
}

/// The encoded values of the leading key columns of `entity` that a request names. `what` is the request.
fn key_prefixes(entity: &Entity, keys: &[(String, ArrayRef)], what: &str) -> Result<Keys> {
    let columns = keys.len();
    if columns == 0 || columns > entity.key.len() {
        let known: Vec<_> = entity.key.iter().map(|key| key.name.as_str()).collect();
        return Err(Error::invalid(format!(
            "{what} names values of the leading key columns of entity {}: {}",
            entity.name,
            known.join(", ")
        )));
    }
    let mut arrays = Vec::with_capacity(columns);
    for (key, (name, values)) in entity.key.iter().zip(keys) {
        if key.name != *name {
            return Err(Error::invalid(format!(
                "{what} names leading key columns in order: {name:?} was given where {:?} is due",
                key.name
            )));
        }
        arrays.push(key_values(values, &entity.name, key, &|| format!("column {name:?} of the request"))?);
    }
    key::encode(&entity.key[..columns], &arrays)
}
