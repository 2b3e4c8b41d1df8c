//! Building latest packs: the rule's answer for every entity of a bucket, at the table's last commit.

mod kept;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::DataType;

use self::kept::Kept;
use crate::column::{Column, fixed_width};
use crate::edit::Outputs;
use crate::engine::Engine;
use crate::error::{Kind, Result};
use crate::gather::{CellOrigin, FixedColumns, Found};
use crate::manifest::{NamedFile, PackEntry};
use crate::model::catalog::Table;
use crate::pack::{self, DELETED, NEVER, NULL, Pack, StretchColumn, VALUE, Winners};
use crate::read::bounds::Bounds;
use crate::read::estimate;
use crate::read::fill::{Patience, bring};
use crate::read::fixed;
use crate::read::resolve::{Wanted, resolve};
use crate::read::resolved::{Item, Resolved};
use crate::time::Sequence;
use crate::view::{BucketView, DirtySet, LatestPack, TableState};

/// A pack is rebuilt when one in this many of its entities was written since.
const DIRTY_SHARE: u64 = 8;
/// After a pack was built for so long, none is rebuilt because of writes for so many times as long: where writes go to
/// all entities, packs would else take a whole core and be out of date at once.
const REST_TIMES: i64 = 7;
/// Entities below which a pack is not worth its file, unless cells of the bucket are away.
const ENTITIES_MIN: u32 = 4096;

/// How much background work should want to build the bucket's pack now; `None` if not at all.
pub(crate) fn urgency(table: &TableState, bucket: u32, engine: &Engine) -> Option<u64> {
    let entities = table.entity.dictionaries[bucket as usize].len();
    let view = table.view.load();
    let view_of_bucket = &view.buckets[bucket as usize];
    let is_away = view_of_bucket.segments.iter().any(|run| run.ice.is_some());
    if view_of_bucket.segments.is_empty() || (entities < ENTITIES_MIN && !is_away) {
        return None;
    }
    let Some(latest) = view_of_bucket.pack.as_ref().filter(|_| !is_misshaped(table, bucket, engine)) else {
        return Some(u64::MAX);
    };
    let now = engine.clock.monotonic();
    let behind = latest.dirty.len() + u64::from(entities.saturating_sub(latest.pack.ordinals()));
    // A pack that is behind at all is rebuilt once its table is at rest.
    let quiet = table.is_quiet(now);
    let rested = now >= engine.packs_rest_until.load(Ordering::Relaxed);
    let due = (behind > u64::from(entities) / DIRTY_SHARE && rested) || (behind > 0 && quiet);
    due.then(|| behind * 1_000_000 / u64::from(entities))
}

/// Whether the bucket has rows that its pack, if it has one, does not cover.
pub(crate) fn is_stale(table: &TableState, bucket: u32, engine: &Engine) -> bool {
    let entities = table.entity.dictionaries[bucket as usize].len();
    let view = table.view.load();
    let bucket_view = &view.buckets[bucket as usize];
    let has_rows = bucket_view.runs().next().is_some();
    has_rows
        && bucket_view.pack.as_ref().is_none_or(|latest| {
            !latest.dirty.is_empty()
                || latest.pack.ordinals() < entities
                || is_misshaped(table, bucket, engine)
                || !table.entity.erased(bucket).is_empty()
        })
}

/// Whether the pack of the bucket holds all that wins among rows up to `through`.
pub(crate) fn covers(table: &TableState, bucket: u32, engine: &Engine, through: Sequence) -> bool {
    let view = table.view.load();
    let pack = view.buckets[bucket as usize].pack.as_ref();
    pack.is_some_and(|latest| latest.pack.position() >= through) && !is_misshaped(table, bucket, engine)
}

/// Whether the table's features changed since the pack was built.
fn is_misshaped(table: &TableState, bucket: u32, engine: &Engine) -> bool {
    let view = table.view.load();
    let pack = view.buckets[bucket as usize].pack.as_ref();
    let declared = engine.declaration(table.id);
    match (pack, declared) {
        (Some(latest), Some(declared)) => latest.shape != declared.shape,
        _ => false,
    }
}

/// Builds the pack of `bucket` and lets it serve. The caller holds the compaction lock.
pub(crate) fn build(engine: &Arc<Engine>, table: &TableState, bucket: u32) -> Result<()> {
    let Some(declared) = engine.declaration(table.id) else { return Ok(()) };
    let started = engine.clock.monotonic();
    let ordinals = table.entity.dictionaries[bucket as usize].len();
    let dirty = Arc::new(DirtySet::new(ordinals));
    // Under the edit lock no commit is half applied: every later one marks the new set.
    let view = {
        let _guard = table.edit.lock();
        table.pending.lock().insert(bucket, Arc::clone(&dirty));
        table.view.load_full()
    };
    let building = Building { engine, table, bucket, declared, ordinals, dirty };
    let result = building.build(view.through);
    table.pending.lock().remove(&bucket);
    let ended = engine.clock.monotonic();
    engine.packs_rest_until.store(ended + (ended - started) * REST_TIMES, Ordering::Relaxed);
    result
}

/// A pack that is being built.
struct Building<'a> {
    engine: &'a Engine,
    table: &'a TableState,
    bucket: u32,
    declared: Arc<Table>,
    ordinals: u32,
    /// What is written meanwhile.
    dirty: Arc<DirtySet>,
}

impl Building<'_> {
    fn build(&self, position: Sequence) -> Result<()> {
        let outputs = self.engine.outputs();
        let pack = self.write(&outputs, position)?;
        self.serve(outputs, pack)
    }

    fn write(&self, outputs: &Outputs<'_>, position: Sequence) -> Result<Pack> {
        let Self { engine, table, .. } = self;
        // The view may hold a commit that is not yet published, because its group is still being applied.
        engine.published.wait(position, Duration::from_secs(60))?;
        let view = table.view.load_full();
        let features: Vec<(u32, DataType)> =
            self.declared.features.iter().map(|feature| (feature.id, feature.stored_type())).collect();
        // Of each feature a status and a time, and values twice: in an array, and in rows.
        let values = estimate::row_bytes(features.iter().map(|(id, data_type)| (*id, data_type)), &view);
        let winner_bytes = 9 * features.len() as u64 + 2 * values;
        let bytes = pack::memory_bytes(winner_bytes);
        let _memory = engine.resources.budget.take(bytes, bytes);
        let bucket = &view.buckets[self.bucket as usize];
        let before = bucket.pack.as_deref();
        let before = before.and_then(|latest| Kept::of(latest, self.declared.shape, &features));
        let build = |before: Option<Kept<'_>>, view: &BucketView| {
            let erased = table.entity.erased(self.bucket);
            let mut winners = LatestWinners { view, features: &features, position, erased, before };
            let number = outputs.number(NamedFile::Pack);
            pack::build(&engine.files, number, &features, self.ordinals, position, winner_bytes, &mut winners)
        };
        let meta = match build(before, bucket) {
            // A pack that is damaged is made anew from history.
            Err(error) if bucket.pack.is_some() && error.kind() == Kind::Corrupt => {
                build(None, &BucketView { pack: None, ..BucketView::clone(bucket) })?
            }
            built => built?,
        };
        engine.statistics.packs.add(1);
        engine.statistics.pack_bytes.add(meta.length);
        Pack::open(&engine.files, &meta)
    }

    fn serve(&self, outputs: Outputs<'_>, pack: Pack) -> Result<()> {
        let Self { table, bucket, .. } = *self;
        let (shape, meta) = (self.declared.shape, pack.meta().clone());
        self.engine.edit_manifest(outputs, |state| {
            let listed = state.tables.entry(table.id).or_default();
            listed.packs.retain(|entry| entry.bucket != bucket);
            listed.packs.push(PackEntry { bucket, shape, meta });
        })?;
        table.edit_view(|view| {
            let latest = LatestPack::new(pack, Arc::clone(&self.dirty), shape);
            let older = Arc::make_mut(&mut view.buckets[bucket as usize]).pack.replace(Arc::new(latest));
            self.engine.leaving.keep(older);
            table.pending.lock().remove(&bucket);
        });
        Ok(())
    }
}

/// The winners of a bucket with both bounds open, stretch by stretch.
struct LatestWinners<'a> {
    view: &'a BucketView,
    features: &'a [(u32, DataType)],
    position: Sequence,
    erased: Arc<roaring::RoaringBitmap>,
    before: Option<Kept<'a>>,
}

impl Winners for LatestWinners<'_> {
    fn stretch(&mut self, start: u32, length: usize, values: bool) -> Result<Vec<StretchColumn>> {
        // Reads are served from other packs meanwhile, and nobody waits for this one.
        std::thread::yield_now();
        let stays = |place: u32| !self.erased.contains(start + place);
        let is_kept = |place: u32| stays(place) && self.before.as_ref().is_some_and(|before| before.has(start + place));
        let kept: Vec<bool> = (0..length as u32).map(is_kept).collect();
        let items = (0..length as u32).filter(|&place| stays(place) && !kept[place as usize]);
        let items = items.map(|place| Item { place, ordinal: start + place }).collect();
        // A pack holds no ages, so that no clock matters.
        let bounds = Bounds::latest(self.position, 0);
        let ids: Vec<u32> = self.features.iter().map(|(id, _)| *id).collect();
        let resolved = resolve(self.view, items, &bounds, Wanted { features: &ids, event_times: true })?;
        bring(std::slice::from_ref(&resolved), &ids, Patience::Waits)?;
        let columns = self.features.iter().enumerate();
        let column = |(slot, (id, data_type)): (usize, &(u32, DataType))| {
            let mut column = stretch_column(&resolved, slot, *id, data_type, length, values)?;
            if let Some(before) = &self.before {
                before.put(slot, start, &kept, &mut column)?;
            }
            Ok(column)
        };
        columns.map(column).collect()
    }
}

fn stretch_column(
    resolved: &Resolved,
    slot: usize,
    feature: u32,
    data_type: &DataType,
    length: usize,
    with_values: bool,
) -> Result<StretchColumn> {
    let mut statuses = vec![NEVER; length];
    let mut event_times = vec![0; length];
    let mut origins = vec![CellOrigin::ABSENT; length];
    let columns: Vec<_> = resolved.sources.iter().map(|source| source.chunk.column(feature)).collect();
    let whole = resolved.sources.iter().map(|source| (&source.picks, &source.event_times)).zip(0u32..);
    let decided = resolved.features.get(slot);
    let won = decided.into_iter().flat_map(|decided| &decided.won).map(|won| (&won.picks, &won.event_times));
    let winners = whole.chain(won.zip(0u32..)).flat_map(|((picks, event_times), source)| {
        picks.iter().zip(event_times).map(move |(pick, time)| (pick, source, *time))
    });
    for place in decided.into_iter().flat_map(|decided| &decided.deleted) {
        statuses[*place as usize] = DELETED;
    }
    for (pick, source, event_time) in winners {
        let place = pick.place as usize;
        let Some(column) = columns[source as usize] else { continue };
        let Some(position) = column.position(pick.row)? else { continue };
        column.check(position)?;
        origins[place] = CellOrigin { column: source, position };
        event_times[place] = event_time;
    }
    let alike = |column: &&Column| column.fixed().is_some() && column.data_type() == data_type;
    let width = fixed_width(data_type).filter(|_| columns.iter().flatten().all(alike));
    let present = (0..length).filter(|&place| origins[place] != CellOrigin::ABSENT);
    let status = |is_null: bool| if is_null { NULL } else { VALUE };
    let values = if let Some(width) = width {
        let fixed = FixedColumns::new(&columns);
        present.for_each(|place| statuses[place] = status(!fixed.is_valid(origins[place])));
        // Where there is no value there are zeros, and null.
        let valid = || NullBuffer::new(BooleanBuffer::collect_bool(length, |place| statuses[place] == VALUE));
        let array = || fixed::array(data_type, length, fixed.gather(&origins, width).bytes, Some(valid()));
        with_values.then(array).transpose()?
    } else {
        let found = Found::new(&columns, &origins)?;
        present.for_each(|place| statuses[place] = status(found.is_null(place)));
        with_values.then(|| found.finish(data_type)).transpose()?
    };
    Ok(StretchColumn { statuses, event_times, values })
}
