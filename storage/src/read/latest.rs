//! The latest pack's share of a read: entities that were not written since the pack was built.
//!
//! A pack answers only reads that see everything: both bounds open, at a position that is not before the pack's. All
//! other rows of the request are handed back to be resolved in history, by the same rule that built the pack.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use arrow_array::ArrayRef;
use arrow_buffer::MutableBuffer;

use super::answer::AnswerTable;
use super::bounds::Bounds;
use super::fixed;
use super::plan::{AskedFeature, AskedTable};
use super::resolved::Item;
use super::statuses::Status;
use crate::error::Result;
use crate::fixed_values::FixedValues;
use crate::pack::gather::gather;
use crate::pack::{Cell, DELETED, Layout, NULL, Pack, Slot, VALUE, array_of};
use crate::transpose::{BLOCK_ROWS, Transposed, is_transposed};
use crate::view::{BucketView, LatestPack, TableView};

/// The rows of a request that packs with one layout answer.
#[derive(Debug)]
pub(crate) struct Packed<'a> {
    /// The index, in the packs, of each feature of the table that is asked.
    indexes: Vec<usize>,
    packs: Vec<PackRows<'a>>,
}

/// The rows that one pack answers: place and ordinal.
#[derive(Debug)]
struct PackRows<'a> {
    pack: &'a Pack,
    rows: Vec<(u32, u32)>,
}

impl PackRows<'_> {
    /// Place and bytes of each row.
    fn rows(&self) -> impl Iterator<Item = Result<(u32, &[u8])>> {
        self.rows.iter().map(|&(place, ordinal)| Ok((place, self.pack.row(ordinal)?)))
    }
}

impl Packed<'_> {
    /// The places of all rows.
    pub(crate) fn places(&self) -> impl Iterator<Item = u32> {
        self.packs.iter().flat_map(|of| of.rows.iter().map(|&(place, _)| place))
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.packs.iter().map(|of| of.rows.len()).sum()
    }

    fn layout(&self) -> &Layout {
        self.packs[0].pack.layout()
    }

    /// Place and bytes of each row.
    fn rows(&self) -> impl Iterator<Item = Result<(u32, &[u8])>> {
        self.packs.iter().flat_map(PackRows::rows)
    }
}

/// What latest packs answer of `items`, which come with their bucket, and the rest by bucket.
pub(crate) fn split<'a, 'i>(
    bounds: &Bounds,
    asked: &AskedTable,
    view: &'a TableView,
    items: impl Iterator<Item = (usize, &'i [Item])>,
) -> (Vec<Packed<'a>>, Vec<(usize, Vec<Item>)>) {
    let (mut packed, mut rest): (Vec<Packed<'a>>, Vec<_>) = (Vec::new(), Vec::new());
    for (bucket, items) in items.filter(|(_, items)| !items.is_empty()) {
        let latest = view.buckets[bucket].serving(bounds);
        let like = |known: &Packed<'a>| latest.is_some_and(|latest| known.layout().is_like(latest.pack.layout()));
        let known = packed.iter().position(like);
        let fresh = if known.is_some() { None } else { latest.and_then(|latest| indexes_in(&latest.pack, asked)) };
        let (Some(latest), true) = (latest, known.is_some() || fresh.is_some()) else {
            rest.push((bucket, items.to_vec()));
            continue;
        };
        let (mut rows, mut left) = (Vec::with_capacity(items.len()), Vec::new());
        for item in items {
            if item.ordinal < latest.pack.ordinals() && !latest.dirty.contains(item.ordinal) {
                rows.push((item.place, item.ordinal));
            } else {
                left.push(*item);
            }
        }
        let rows = PackRows { pack: &latest.pack, rows };
        match (known, fresh) {
            (Some(known), _) => packed[known].packs.push(rows),
            (None, indexes) => packed.push(Packed { indexes: indexes.unwrap_or_default(), packs: vec![rows] }),
        }
        if !left.is_empty() {
            rest.push((bucket, left));
        }
    }
    (packed, rest)
}

impl BucketView {
    /// The latest pack, if it may serve a read within `bounds`.
    pub(super) fn serving(&self, bounds: &Bounds) -> Option<&LatestPack> {
        self.pack.as_deref().filter(|latest| bounds.is_latest() && latest.pack.position() <= bounds.position)
    }
}

/// The cells of all features of `asked` for `ordinals` of `bucket`, if the latest pack serves them all and every one is a
/// value of a few bytes that cannot expire: then they are copied together.
pub(crate) fn together(
    bounds: &Bounds,
    asked: &AskedTable,
    view: &TableView,
    bucket: usize,
    ordinals: Range<u32>,
) -> Result<Option<Vec<ArrayRef>>> {
    let plain = |feature: &AskedFeature| feature.plain_width.is_some_and(is_transposed) && feature.max_age.is_none();
    let Some(latest) = view.buckets[bucket].serving(bounds).filter(|_| asked.features.iter().all(plain)) else {
        return Ok(None);
    };
    let pack = &latest.pack;
    if ordinals.end > pack.ordinals() || latest.dirty.contains_any(ordinals.clone()) {
        return Ok(None);
    }
    let Some(indexes) = indexes_in(pack, asked) else { return Ok(None) };
    let cells: Vec<Cell> = indexes.iter().map(|&index| pack.layout().cell(index)).collect();
    let (stride, rows) = (pack.layout().stride(), ordinals.len());
    let mut columns = Transposed::new(cells.iter().map(|cell| cell.width as usize), rows);
    let mut next = ordinals.start;
    while next < ordinals.end {
        let bytes = pack.rows_together(next..ordinals.end)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let values = |cell: &Cell| {
            let (width, bytes) = (cell.width as usize, &bytes[cell.offset as usize..]);
            Some(FixedValues { width, stride, bytes, nulls: None })
        };
        let values: Vec<Option<FixedValues<'_>>> = cells.iter().map(values).collect();
        // A block is looked at and copied while it is in the first cache.
        for (block, rows) in bytes.chunks(stride * BLOCK_ROWS).enumerate() {
            if !rows.chunks_exact(stride).all(|row| pack.layout().all_values(row)) {
                return Ok(None);
            }
            let first = block * BLOCK_ROWS;
            columns.add(&values, first..first + rows.len() / stride);
        }
        next += (bytes.len() / stride) as u32;
    }
    let features = asked.features.iter().zip(columns.finish());
    features.map(|(feature, cells)| fixed::array(&feature.stored, rows, cells, None)).collect::<Result<_>>().map(Some)
}

/// The index in `pack` of each feature of `asked`, if it holds all of them as they are declared.
fn indexes_in(pack: &Pack, asked: &AskedTable) -> Option<Vec<usize>> {
    pack.layout().indexes_alike(asked.stored_types())
}

/// Fills `table` for the rows of `packed`.
pub(crate) fn fill(packed: &Packed<'_>, table: &mut AnswerTable<'_>) -> Result<()> {
    let layout = packed.layout();
    let places = table.rows();
    let (columns, shares, base) = table.split();
    let wanted: Vec<Cell> = packed.indexes.iter().map(|&index| layout.cell(index)).collect();
    // Cells that the answer lays out in another way than the pack are gathered aside: booleans, widened features.
    let mut aside: Vec<MutableBuffer> = columns
        .iter()
        .zip(&wanted)
        .map(|(column, cell)| if column.is_slab() { 0 } else { cell.width as usize * places })
        .map(MutableBuffer::from_len_zeroed)
        .collect();
    {
        let pairs = shares.into_iter().zip(&mut aside).zip(columns.iter());
        let mut cells: Vec<&mut [u8]> =
            pairs.map(|((share, aside), column)| if column.is_slab() { share } else { aside.as_slice_mut() }).collect();
        let differ = |index: usize, place, status| columns[index].set_status(base, place, status_of_pack(status));
        match &packed.packs[..] {
            [of] => gather(of.rows(), &wanted, &mut cells, differ)?,
            _ => gather(packed.rows(), &wanted, &mut cells, differ)?,
        }
    }
    let (columns, shares, _) = table.split();
    for (((column, share), &index), aside) in columns.iter_mut().zip(shares).zip(&packed.indexes).zip(aside) {
        match layout.features()[index].slot {
            Slot::Variable(variable) => {
                column.make_picks(share)?;
                for PackRows { pack, rows } in &packed.packs {
                    let ordinals: Vec<u32> = rows.iter().map(|&(_, ordinal)| ordinal).collect();
                    let values = pack.gather_variable(variable, &ordinals)?;
                    column.pick(&values, rows.iter().enumerate().map(|(at, &(place, _))| (place, at as u32)));
                }
            }
            Slot::Fixed { .. } if !column.is_slab() => {
                let values = array_of(&column.asked().stored, aside.into(), None)?;
                column.pick(&values, packed.places().map(|place| (place, place)));
            }
            Slot::Fixed { .. } => {}
        }
    }
    fill_event_times(packed, table)
}

/// Fills the event times of the columns that keep them, gathered once for all features of a time group.
fn fill_event_times(packed: &Packed<'_>, table: &mut AnswerTable<'_>) -> Result<()> {
    let layout = packed.layout();
    let places = table.rows();
    let mut of_group: HashMap<u16, Vec<u8>> = HashMap::new();
    let (columns, ..) = table.split();
    for (column, &index) in columns.iter_mut().zip(&packed.indexes) {
        let Some(event_times) = column.event_times_mut() else { continue };
        let group = layout.features()[index].group;
        let gathered = match of_group.entry(group) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let bytes = vacant.insert(vec![0; places * 8]);
                gather(packed.rows(), &[layout.time_cell(group)], &mut [bytes.as_mut_slice()], |_, _, _| {})?;
                bytes
            }
        };
        let (times, _) = gathered.as_chunks::<8>();
        packed.places().for_each(|place| event_times[place as usize] = i64::from_le_bytes(times[place as usize]));
    }
    Ok(())
}

fn status_of_pack(status: u8) -> Status {
    match status {
        VALUE => Status::Value,
        NULL => Status::Null,
        DELETED => Status::Deleted,
        _ => Status::Never,
    }
}
