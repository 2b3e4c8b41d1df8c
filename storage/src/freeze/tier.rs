//! Which of what is frozen stays on the local disk, and which of the cells that came back stay in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compaction::pack;
use crate::engine::Engine;
use crate::error::Result;
use crate::home::{Home, ice_name};
use crate::ice::Fetch;
use crate::io::Files;
use crate::manifest::{IceEntry, ManifestState, SegmentEntry};
use crate::run::Run;
use crate::segment;
use crate::time::Micros;
use crate::view::TableState;

/// Lets one segment leave the local disk, or the cells of one leave memory, if there is too much of them; whether one did.
pub(crate) fn leave_once(engine: &Arc<Engine>) -> Result<bool> {
    let Some(fetch) = &engine.fetch else { return Ok(false) };
    let _guard = engine.compacting.lock();
    // Who follows has no say in what the bucket keeps, and so nothing of its disk leaves.
    if let Some((table, entry, ice)) = engine.home.as_ref().and_then(|home| coldest(engine, home, fetch)) {
        // What is latest stays here, so that reads of it need no bucket.
        if !pack::covers(&table, entry.bucket, engine, entry.meta.sequence_max) {
            pack::build(engine, &table, entry.bucket)?;
        }
        leave_disk(engine, fetch, &table, &entry, &ice)?;
        return Ok(true);
    }
    if fetch.resident_bytes() > fetch.policy().cache_bytes_max {
        return leave_memory(engine, fetch);
    }
    Ok(false)
}

type Hot = (Arc<TableState>, SegmentEntry, IceEntry);

fn frozen(state: &ManifestState) -> impl Iterator<Item = (u32, &SegmentEntry, &IceEntry)> {
    let segments = state.tables.iter().flat_map(|(&id, table)| table.segments.iter().map(move |entry| (id, entry)));
    segments.filter_map(|(id, entry)| Some((id, entry, entry.ice.as_ref()?)))
}

/// The segment that leaves next: one that is older than the window of its table, or, if frozen segments take more of the local disk
/// than they may, of those that never left the oldest, and before it those of tables without a window, of those that came back the
/// first.
fn coldest(engine: &Engine, home: &Home, fetch: &Fetch) -> Option<Hot> {
    let listed = engine.listed.load_full();
    let policy = fetch.policy();
    let windows = Windows::now(engine, &listed);
    [(false, policy.hot_bytes_max), (true, policy.thawed_bytes_max)].into_iter().find_map(|(thawed, most)| {
        let there = || frozen(&listed).filter(move |(_, _, ice)| ice.hot && ice.thawed == thawed);
        let bytes: u64 = there().map(|(_, entry, _)| entry.meta.length).sum();
        let stay = |id: u32, entry: &SegmentEntry| if thawed { Stay::Untold } else { windows.stay(id, entry) };
        let must_leave = |id: u32, entry: &SegmentEntry| bytes > most || stay(id, entry) == Stay::Over;
        let may_leave =
            there().filter(|(id, entry, ice)| must_leave(*id, entry) && home.has_published(&ice_name(*id, ice)));
        let age = |entry: &SegmentEntry| if thawed { entry.meta.number as i64 } else { entry.meta.event_time_max };
        let (id, entry, ice) = may_leave.min_by_key(|(id, entry, _)| (stay(*id, entry), age(entry)))?;
        Some((engine.table(id)?, entry.clone(), ice.clone()))
    })
}

/// What the window of its table says of a segment; what is less leaves earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stay {
    /// It is over.
    Over,
    /// The table has none.
    Untold,
    /// It is in the window.
    Within,
}

/// The windows of all tables that have one: the event time up to which each is over. They go by the ingest time of the last commit
/// that the manifest has, not by a clock that goes on alone: what nobody writes to does not move.
struct Windows(BTreeMap<u32, Micros>);

impl Windows {
    fn now(engine: &Engine, listed: &ManifestState) -> Self {
        let end = |&id: &u32| Some((id, listed.ingest_time.saturating_sub(engine.declaration(id)?.hot_window?)));
        Self(listed.tables.keys().filter_map(end).collect())
    }

    fn stay(&self, table: u32, entry: &SegmentEntry) -> Stay {
        match self.0.get(&table) {
            None => Stay::Untold,
            Some(&end) if entry.meta.event_time_max < end => Stay::Over,
            Some(_) => Stay::Within,
        }
    }
}

/// Shows the rows part of `entry` instead of its segment, whose file goes once no reader holds it.
fn leave_disk(
    engine: &Arc<Engine>,
    fetch: &Arc<Fetch>,
    table: &Arc<TableState>,
    entry: &SegmentEntry,
    ice: &IceEntry,
) -> Result<()> {
    let number = entry.meta.number;
    let Some(away) = open_away(engine, fetch, table, entry, ice)? else { return Ok(()) };
    engine.edit_manifest(engine.outputs(), |state| {
        let listed = state.tables.get_mut(&table.id).map(|table| &mut table.segments);
        let mut listed = listed.into_iter().flatten().filter(|listed| listed.meta.number == number);
        if let Some(ice) = listed.next().and_then(|listed| listed.ice.as_mut()) {
            (ice.hot, ice.thawed) = (false, false);
        }
    })?;
    show(engine, table, entry.bucket, number, away);
    Ok(())
}

/// The segment `entry` of the table `table` with its cells in the bucket.
pub(crate) fn away_run(
    files: &Arc<dyn Files>,
    fetch: &Arc<Fetch>,
    table: u32,
    entry: &SegmentEntry,
    ice: &IceEntry,
) -> Result<Run> {
    let away = segment::open_away(files, &ice.rows, ice_name(table, ice), fetch)?;
    // Reads and merges know it by the number of its segment, wherever its cells are.
    Ok(Run { segment: Some(entry.meta.number), ..away })
}

/// The rows part of `entry` as a run, if the segment is shown.
fn open_away(
    engine: &Engine,
    fetch: &Arc<Fetch>,
    table: &TableState,
    entry: &SegmentEntry,
    ice: &IceEntry,
) -> Result<Option<Arc<Run>>> {
    let shown = table.view.load();
    let shown = shown.buckets[entry.bucket as usize].segments.iter();
    if !{ shown }.any(|run| run.segment == Some(entry.meta.number)) {
        return Ok(None);
    }
    away_run(&engine.files, fetch, table.id, entry, ice).map(|away| Some(Arc::new(away)))
}

/// Whether `run` is what reads of its bucket see.
pub(super) fn is_shown(table: &TableState, bucket: u32, run: &Arc<Run>) -> bool {
    table.view.load().buckets[bucket as usize].segments.iter().any(|shown| Arc::ptr_eq(shown, run))
}

/// Shows `run` in place of the segment `number`.
pub(super) fn show(engine: &Engine, table: &TableState, bucket: u32, number: u64, run: Arc<Run>) {
    let before = table.edit_view(|view| {
        let segments = &mut Arc::make_mut(&mut view.buckets[bucket as usize]).segments;
        let place = segments.iter().position(|shown| shown.segment == Some(number));
        place.map(|place| std::mem::replace(&mut segments[place], run))
    });
    engine.leaving.keep(before);
}

/// A segment that is away, and whose cells are partly in memory.
pub(super) struct Resident {
    pub(super) table: Arc<TableState>,
    pub(super) entry: SegmentEntry,
    pub(super) run: Arc<Run>,
    /// How many bytes of them.
    pub(super) bytes: u64,
}

/// The segment of which most cells are in memory, if there is one.
pub(super) fn fullest(engine: &Engine) -> Option<Resident> {
    let listed = engine.listed.load_full();
    let shown = frozen(&listed).filter(|(_, _, ice)| !ice.hot).filter_map(|(id, entry, _)| {
        let table = engine.table(id)?;
        let view = table.view.load();
        let run =
            view.buckets[entry.bucket as usize].segments.iter().find(|run| run.segment == Some(entry.meta.number))?;
        let (run, bytes) = (Arc::clone(run), run.resident_bytes());
        (bytes > 0).then(|| Resident { entry: entry.clone(), run, bytes, table: Arc::clone(&table) })
    });
    shown.max_by_key(|resident| resident.bytes)
}

/// Opens the segment anew of which most cells are in memory; whether there was one.
fn leave_memory(engine: &Arc<Engine>, fetch: &Arc<Fetch>) -> Result<bool> {
    let Some(Resident { table, entry, .. }) = fullest(engine) else { return Ok(false) };
    let Some(ice) = &entry.ice else { return Ok(false) };
    if let Some(away) = open_away(engine, fetch, &table, &entry, ice)? {
        show(engine, &table, entry.bucket, entry.meta.number, away);
    }
    Ok(true)
}
