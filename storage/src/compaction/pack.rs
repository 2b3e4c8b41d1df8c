//! Building latest packs: the rule's answer for every entity of a bucket, at the table's last commit.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow_array::{Array, ArrayRef, new_null_array};
use arrow_buffer::{BooleanBuffer, MutableBuffer, NullBuffer};
use arrow_cast::cast;
use arrow_schema::DataType;
use arrow_select::interleave::interleave;

use crate::column::{Column, fixed_width};
use crate::edit::Outputs;
use crate::engine::Engine;
use crate::error::Result;
use crate::manifest::{NamedFile, PackEntry};
use crate::model::catalog::Table;
use crate::pack::{self, DELETED, NEVER, NULL, Pack, VALUE, WindowColumn, Winners};
use crate::read::bounds::Bounds;
use crate::read::fixed;
use crate::read::resolve::{Item, Resolved, Wanted, resolve};
use crate::time::Sequence;
use crate::view::{BucketView, DirtySet, LatestPack, TableState};

/// A pack is rebuilt when one in this many of its entities was written since.
const DIRTY_SHARE: u64 = 8;
/// After a pack was built for so long, none is rebuilt because of writes for so many times as long: where writes go to
/// all entities, packs would else take a whole core and be out of date at once.
const REST_TIMES: i64 = 7;
/// Entities below which a pack is not worth its file.
const ENTITIES_MIN: u32 = 4096;

/// How much background work should want to build the bucket's pack now; `None` if not at all.
pub(crate) fn urgency(table: &TableState, bucket: u32, engine: &Engine) -> Option<u64> {
    let entities = table.entity.dictionaries[bucket as usize].len();
    let view = table.view.load();
    let view_of_bucket = &view.buckets[bucket as usize];
    if view_of_bucket.segments.is_empty() || entities < ENTITIES_MIN {
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
        let mut winners = LatestWinners {
            view: &view.buckets[self.bucket as usize],
            features: &features,
            position,
            erased: table.entity.erased(self.bucket),
        };
        let number = outputs.number(NamedFile::Pack);
        let meta = pack::build(&engine.files, number, &features, self.ordinals, position, &mut winners)?;
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
            Arc::make_mut(&mut view.buckets[bucket as usize]).pack = Some(Arc::new(latest));
            table.pending.lock().remove(&bucket);
        });
        Ok(())
    }
}

/// The winners of a bucket with both bounds open, window by window.
struct LatestWinners<'a> {
    view: &'a BucketView,
    features: &'a [(u32, DataType)],
    position: Sequence,
    erased: Arc<roaring::RoaringBitmap>,
}

impl Winners for LatestWinners<'_> {
    fn window(&mut self, start: u32, length: usize, values: bool) -> Result<Vec<WindowColumn>> {
        // Reads are served from other packs meanwhile, and nobody waits for this one.
        std::thread::yield_now();
        let items = (0..length as u32).filter(|place| !self.erased.contains(start + place));
        let items = items.map(|place| Item { place, ordinal: start + place }).collect();
        // A pack holds no ages, so that no clock matters.
        let bounds = Bounds::latest(self.position, 0);
        let ids: Vec<u32> = self.features.iter().map(|(id, _)| *id).collect();
        let resolved = resolve(self.view, items, &bounds, Wanted { features: &ids, event_times: true })?;
        let columns = self.features.iter().enumerate();
        columns.map(|(slot, (id, data_type))| window_column(&resolved, slot, *id, data_type, length, values)).collect()
    }
}

fn window_column(
    resolved: &Resolved,
    slot: usize,
    feature: u32,
    data_type: &DataType,
    length: usize,
    with_values: bool,
) -> Result<WindowColumn> {
    let mut statuses = vec![NEVER; length];
    let mut event_times = vec![0; length];
    let columns: Vec<_> = resolved.sources.iter().map(|source| source.chunk.column(feature)).collect();
    let mut gathered = Gathered::new(&columns, data_type, length, with_values);
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
        let is_null = gathered.put(place, source, column, position)?;
        statuses[place] = if is_null { NULL } else { VALUE };
        event_times[place] = event_time;
    }
    let values = if with_values { Some(gathered.finish(data_type, &statuses)?) } else { None };
    Ok(WindowColumn { statuses, event_times, values })
}

/// Values on their way to one array.
enum Gathered<'a> {
    /// All have the same fixed width: copied as bytes, if values are wanted at all.
    Bytes { width: usize, bytes: Option<MutableBuffer> },
    /// Remembered as an array and a position there, and cast if they are of an older type.
    Arrays {
        data_type: &'a DataType,
        arrays: Vec<ArrayRef>,
        /// (source, window of its column) → array.
        opened: HashMap<(u32, u32), usize>,
        picks: Vec<(usize, usize)>,
    },
}

impl<'a> Gathered<'a> {
    fn new(columns: &[Option<&Column>], data_type: &'a DataType, length: usize, with_values: bool) -> Self {
        let alike = |column: &&Column| column.fixed().is_some() && column.data_type() == data_type;
        match fixed_width(data_type) {
            Some(width) if columns.iter().flatten().all(alike) => {
                Self::Bytes { width, bytes: with_values.then(|| MutableBuffer::from_len_zeroed(length * width)) }
            }
            _ => Self::Arrays {
                data_type,
                arrays: vec![new_null_array(data_type, 1)],
                opened: HashMap::new(),
                picks: vec![(0, 0); length],
            },
        }
    }

    /// Puts the value at `position` of a source's column in its place; whether it is null.
    fn put(&mut self, place: usize, source: u32, column: &Column, position: u32) -> Result<bool> {
        match self {
            Self::Bytes { width, bytes } => {
                let fixed = column.fixed().expect("all columns have a fixed width");
                let position = position as usize;
                if let Some(bytes) = bytes {
                    bytes[place * *width..][..*width].copy_from_slice(fixed.value(position));
                }
                Ok(fixed.nulls.is_some_and(|nulls| nulls.is_null(position)))
            }
            Self::Arrays { data_type, arrays, opened, picks } => {
                let (window, position) = column.locate(position);
                let array = match opened.entry((source, window)) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(vacant) => {
                        // A column written before the feature was widened is cast whole: a build reads most of it anyway.
                        let values = column.window(window)?;
                        arrays.push(if values.data_type() == *data_type { values } else { cast(&values, data_type)? });
                        *vacant.insert(arrays.len() - 1)
                    }
                };
                picks[place] = (array, position as usize);
                Ok(arrays[array].is_null(position as usize))
            }
        }
    }

    /// The array of what was put, of which values are wanted; null where the status is not value.
    fn finish(self, data_type: &DataType, statuses: &[u8]) -> Result<ArrayRef> {
        match self {
            Self::Bytes { bytes, .. } => {
                let bytes = bytes.expect("values are wanted where they are finished");
                let valid = BooleanBuffer::collect_bool(statuses.len(), |place| statuses[place] == VALUE);
                fixed::array(data_type, statuses.len(), bytes.into(), Some(NullBuffer::new(valid)))
            }
            Self::Arrays { arrays, picks, .. } => {
                let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
                Ok(interleave(&arrays, &picks)?)
            }
        }
    }
}
