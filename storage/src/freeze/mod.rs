//! Freezing: what nothing merges any more goes to the bucket as ice, and what the local disk has no room for is read from
//! there.
//!
//! A segment is frozen as it is, row by row in storage order, so that ice and segment are the same rows. What was written is
//! read back and compared before anything names it. The segment stays on the local disk until a root names the ice, and
//! longer while there is room for it ([`tier`]); its rows part stays always, so that a read knows which cells it needs before
//! it asks for one.
//!
//! What reads bring back again and again comes back to the disk ([`thaw`]).
//!
//! It waits for the bucket, so it runs on a thread of its own and holds no lock meanwhile.

mod columns;
mod thaw;
pub(crate) mod tier;

use std::io;
use std::sync::Arc;

use firn_ice::{Encodings, Meta, Writer, Written};

use self::columns::Columns;
use crate::column::Column;
use crate::compaction::{choice, entries_of, merge_segments};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::home::{Home, ice_name};
use crate::ice::{Fetch, Trial};
use crate::io::{Access, Append, HUGE_BYTES, publish_in};
use crate::manifest::{IceEntry, NamedFile, SegmentEntry};
use crate::model::catalog::{Catalog, Entity};
use crate::read::Moment;
use crate::read::plan::entity_of;
use crate::read::scan::{self, Scan, ScanInputs};
use crate::read::states::States;
use crate::run::Run;
use crate::segment;
use crate::view::{SeenIce, TableState};

/// Rows that are handed to the writer of ice at once.
const BATCH_ROWS: usize = 8192;

/// Freezes a segment that is due, or lets one leave; whether there was one.
pub(crate) fn step(engine: &Arc<Engine>) -> Result<bool> {
    let Some(fetch) = &engine.fetch else { return Ok(false) };
    let seen = SeenIce {
        listed: Arc::downgrade(&engine.listed.load()),
        root: engine.home.as_ref().map_or(0, |home| home.root()),
        schema_version: engine.versions.load().newest().schema_version,
    };
    if engine.looked_at_ice.lock().same(&seen) && fetch.resident_bytes() <= fetch.policy().cache_bytes_max {
        return Ok(false);
    }
    let did = freeze_once(engine)? || thaw::thaw_once(engine, fetch)? || tier::leave_once(engine)?;
    if !did {
        *engine.looked_at_ice.lock() = seen;
    }
    Ok(did)
}

/// Freezes one segment that is due, if there is one; whether there was.
fn freeze_once(engine: &Arc<Engine>) -> Result<bool> {
    let (Some(home), Some(fetch)) = (&engine.home, &engine.fetch) else { return Ok(false) };
    let least = fetch.policy().freeze_bytes_min;
    for table in engine.tables() {
        for bucket in 0..table.entity.dictionaries.len() as u32 {
            let entries = entries_of(engine, &table, bucket);
            let merged_next = choice::choose(&entries).unwrap_or_default();
            let is_due = |entry: &&SegmentEntry| {
                let group = entries.iter().filter(|other| other.group == entry.group);
                let bytes: u64 = group.map(|other| other.meta.length).sum();
                is_open(engine, entry) && bytes >= least && !merged_next.contains(&entry.meta.number)
            };
            if let Some(entry) = entries.iter().find(is_due) {
                freeze_segment(engine, home, fetch, &table, entry)?;
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether `entry` is not frozen and may be.
fn is_open(engine: &Engine, entry: &SegmentEntry) -> bool {
    entry.ice.is_none() && !engine.unfrozen.lock().contains(&entry.meta.number)
}

/// Freezes all segments of `tables`, whatever their size.
pub(crate) fn freeze_all(engine: &Arc<Engine>, tables: &[u32]) -> Result<()> {
    let (Some(home), Some(fetch)) = (&engine.home, &engine.fetch) else {
        return Err(Error::precondition("the database has no bucket to freeze into; start it with --bucket"));
    };
    for table in tables.iter().filter_map(|&id| engine.table(id)) {
        for bucket in 0..table.entity.dictionaries.len() as u32 {
            while let Some(entry) = entries_of(engine, &table, bucket).iter().find(|entry| is_open(engine, entry)) {
                freeze_segment(engine, home, fetch, &table, entry)?;
            }
        }
    }
    home.publish(&**engine)?;
    while tier::leave_once(engine)? {}
    Ok(())
}

/// Freezes the segment `entry` of `table`, or merges it with itself if it holds what ice must not: then it is frozen as it has
/// become.
fn freeze_segment(
    engine: &Arc<Engine>,
    home: &Home,
    fetch: &Arc<Fetch>,
    table: &Arc<TableState>,
    entry: &SegmentEntry,
) -> Result<()> {
    let _guard = engine.freezing.lock();
    let view = table.view.load_full();
    let segments = &view.buckets[entry.bucket as usize].segments;
    // A flush lists its segments before it shows them.
    let Some(run) = segments.iter().find(|run| run.segment == Some(entry.meta.number)) else { return Ok(()) };
    match write(engine, home, table, entry, run)? {
        Some(frozen) => {
            let name = ice_name(table.id, &frozen.ice);
            let whole = frozen.is_whole(engine, fetch, table, (entry, run));
            // Nothing names it yet. Once an edit was tried something may, and it stays whatever came of that.
            if !matches!(whole, Ok(true)) || !frozen.list(engine, table, entry)? {
                home.discard(&name);
            }
            whole.map(drop)
        }
        None => {
            let _guard = engine.compacting.lock();
            merge_segments(engine, table, entry.bucket, &[entry.meta.number])
        }
    }
}

/// A segment that lies in the bucket as ice, and of which the rows part is written.
struct Frozen<'a> {
    outputs: crate::edit::Outputs<'a>,
    ice: IceEntry,
}

/// Writes the rows of `run` to the bucket. None if it holds cells of another shape than the table's, or erased entities.
fn write<'a>(
    engine: &'a Arc<Engine>,
    home: &Home,
    table: &Arc<TableState>,
    entry: &SegmentEntry,
    run: &Arc<Run>,
) -> Result<Option<Frozen<'a>>> {
    let catalog = Arc::clone(engine.versions.load().newest());
    let Some(declared) = catalog.table_by_id(table.id) else { return Ok(None) };
    let entity = entity_of(&catalog, declared)?;
    let Some(columns) = Columns::of(run, declared, &entity)? else { return Ok(None) };
    let scan = scan_of(engine, &catalog, entity, &columns)?;
    let bytes = entry.meta.length;
    let _memory = engine.resources.budget.take(bytes, bytes);
    let outputs = engine.outputs();
    let number = outputs.number(NamedFile::Ice);
    let local = NamedFile::Ice(number).name();
    let known = table.trial.lock().as_mut().and_then(|trial| trial.once_more(u64::from(entry.meta.rows)));
    let mut written = None;
    publish_in(&engine.files, &local, HUGE_BYTES, |file| {
        written = write_file(&scan, (entry.bucket, run), &columns, known.clone(), file)?;
        Ok(())
    })?;
    let Some(Written { footer, encodings }) = written else { return Ok(None) };
    if known.is_none() {
        *table.trial.lock() = Some(Trial::new(encodings));
    }
    let length = engine.files.length(&local)?;
    let file = engine.files.map(&local, length, Access::Ordered)?;
    let described = Meta::new(footer, &file).and_then(|meta| meta.encode()).map_err(failed)?;
    let rows_number = outputs.number(NamedFile::Segment);
    let rows = segment::write_rows_part(&engine.files, &entry.meta, rows_number, &described)?;
    let schema_version = catalog.schema_version;
    let ice = IceEntry { epoch: home.epoch(), number, length, schema_version, rows, hot: true, thawed: false };
    let name = ice_name(table.id, &ice);
    // An error does not say that nothing landed.
    home.put_ice(&name, file).inspect_err(|_| home.discard(&name))?;
    Ok(Some(Frozen { outputs, ice }))
}

/// A scan of all that was ever written, as the table is declared now.
fn scan_of(engine: &Arc<Engine>, catalog: &Catalog, entity: Arc<Entity>, columns: &Columns) -> Result<Arc<Scan>> {
    let table = Arc::clone(&columns.table);
    let snapshot = engine.present().pin(&[Arc::clone(&table)], &Moment::default(), catalog.schema_version)?;
    let (state, table_state) = (engine.entity_state(&entity)?, engine.table_state(&table)?);
    let inputs = ScanInputs { table, entity, state, table_state, snapshot };
    Ok(Arc::new(scan::plan(&columns.request, inputs)?))
}

/// Writes all rows of `run`, one of the bucket, to `file`, by the encodings that are known; none if an entity was erased.
fn write_file(
    scan: &Arc<Scan>,
    (bucket, run): (u32, &Arc<Run>),
    columns: &Columns,
    encodings: Option<Arc<Encodings>>,
    file: &mut dyn Append,
) -> Result<Option<Written>> {
    let options = firn_ice::Options { encodings, ..Default::default() };
    let mut writer = Writer::new(Sink(file), &columns.specs, options).map_err(failed)?;
    let whole = scan.freeze(bucket, run, BATCH_ROWS, |arrays| writer.write(&arrays).map_err(failed))?;
    if whole { writer.finish().map(Some).map_err(failed) } else { Ok(None) }
}

/// The error for ice that could not be written.
fn failed(error: firn_ice::Error) -> Error {
    Error::new(Kind::Io, error.to_string())
}

/// A file as the writer of ice wants it.
struct Sink<'a>(&'a mut dyn Append);

impl io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Frozen<'_> {
    /// Whether the bucket has the very cells of `run`. If not, it is remembered: the segment answers as before.
    fn is_whole(
        &self,
        engine: &Arc<Engine>,
        fetch: &Arc<Fetch>,
        table: &Arc<TableState>,
        (entry, run): (&SegmentEntry, &Arc<Run>),
    ) -> Result<bool> {
        let bytes = entry.meta.length;
        let _memory = engine.resources.budget.take(bytes, bytes);
        let away = segment::open_away(&engine.files, &self.ice.rows, ice_name(table.id, &self.ice), fetch)?;
        thaw::bring(&away)?;
        let Some(feature) = differs(run, &away)? else { return Ok(true) };
        engine.unfrozen.lock().extend(run.segment);
        tracing::error!(segment = run.segment, feature, "cells came back from the bucket as others: it is not frozen");
        Ok(false)
    }

    /// Lists it with its segment; whether that was still there.
    fn list(self, engine: &Arc<Engine>, table: &Arc<TableState>, entry: &SegmentEntry) -> Result<bool> {
        let Self { outputs, ice } = self;
        let _guard = engine.compacting.lock();
        let mut found = false;
        engine.edit_manifest(outputs, |state| {
            let listed = state.tables.get_mut(&table.id).map(|table| &mut table.segments);
            let mut listed = listed.into_iter().flatten();
            // It may have been merged meanwhile.
            if let Some(listed) = listed.find(|listed| listed.meta.number == entry.meta.number) {
                listed.ice = Some(ice);
                found = true;
            }
        })?;
        engine.statistics.frozen.add(u64::from(found));
        Ok(found)
    }
}

/// Values of each column that are compared before the next of each: columns of a strip lie between each other, and so many of all of
/// them stay in the second cache.
const COMPARE_VALUES: usize = 2048;

/// The feature of which ice does not hold the very cells of its segment, if there is one.
fn differs(run: &Run, away: &Run) -> Result<Option<u32>> {
    for (chunk, other) in run.chunks.iter().zip(&away.chunks) {
        let pairs = || chunk.columns.iter().zip(&other.columns);
        for (column, other) in pairs() {
            let of = |column: &Column| (column.feature(), column.len());
            assert_eq!(of(column), of(other), "a rows part has the same columns");
        }
        let most = chunk.columns.iter().map(Column::len).max().unwrap_or(0);
        for start in (0..most).step_by(COMPARE_VALUES) {
            for (column, other) in pairs() {
                let end = start.saturating_add(COMPARE_VALUES as u32).min(column.len());
                if start < end && !column.is_same(other, start..end)? {
                    return Ok(Some(column.feature()));
                }
            }
        }
    }
    Ok(None)
}
