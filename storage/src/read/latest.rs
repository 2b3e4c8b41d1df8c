//! The latest pack's share of a read: entities that were not written since the pack was built.
//!
//! A pack answers only reads that see everything: both bounds open, at a position that is not before the pack's. All
//! other rows of the request are handed back to be resolved in history, by the same rule that built the pack.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use arrow_buffer::MutableBuffer;

use super::answer::{AnswerTable, Status};
use super::plan::{Plan, PlannedBound, TablePart};
use super::resolved::Item;
use super::snapshot::Snapshot;
use crate::error::Result;
use crate::pack::gather::gather;
use crate::pack::{Cell, DELETED, NULL, Pack, Slot, VALUE, array_of};
use crate::view::{BucketView, DirtySet, TableView};

/// The rows of a request that a pack answers.
#[derive(Debug)]
pub(crate) struct Packed<'a> {
    pack: &'a Pack,
    /// The index, in the pack, of each feature of the table's part of the plan.
    indexes: Vec<usize>,
    /// Place and ordinal.
    pub(crate) rows: Vec<(u32, u32)>,
}

/// What latest packs answer of `items`, and the rest by bucket.
pub(crate) fn split<'a>(
    plan: &Plan,
    snapshot: &Snapshot,
    part: &TablePart,
    view: &'a TableView,
    items: &[Vec<Item>],
) -> (Vec<Packed<'a>>, Vec<(usize, Vec<Item>)>) {
    let open = plan.as_of == PlannedBound::Latest && plan.known_at == PlannedBound::Latest;
    let (mut packed, mut rest) = (Vec::new(), Vec::new());
    for (bucket, items) in items.iter().enumerate().filter(|(_, items)| !items.is_empty()) {
        let serving = if open { serving_pack(&view.buckets[bucket], snapshot, part) } else { None };
        let Some((pack, dirty, indexes)) = serving else {
            rest.push((bucket, items.clone()));
            continue;
        };
        let (mut rows, mut left) = (Vec::with_capacity(items.len()), Vec::new());
        for item in items {
            if item.ordinal < pack.ordinals() && !dirty.contains(item.ordinal) {
                rows.push((item.place, item.ordinal));
            } else {
                left.push(*item);
            }
        }
        packed.push(Packed { pack, indexes, rows });
        if !left.is_empty() {
            rest.push((bucket, left));
        }
    }
    (packed, rest)
}

/// The bucket's pack, if it can answer: it is not newer than the read and holds every feature as it is declared.
fn serving_pack<'a>(
    view: &'a BucketView,
    snapshot: &Snapshot,
    part: &TablePart,
) -> Option<(&'a Pack, &'a DirtySet, Vec<usize>)> {
    let latest = view.pack.as_ref().filter(|latest| latest.pack.position() <= snapshot.sequence())?;
    let layout = latest.pack.layout();
    let indexes = layout.indexes_of(part.features.iter().map(|feature| feature.feature.id))?;
    let as_declared = |(feature, &index): (&super::plan::FeaturePart, &usize)| {
        layout.features()[index].data_type == feature.stored
    };
    let serves = part.features.iter().zip(&indexes).all(as_declared);
    serves.then_some((&latest.pack, &*latest.dirty, indexes))
}

/// Fills `table` for the rows of `packed`.
pub(crate) fn fill(packed: &Packed<'_>, table: &mut AnswerTable<'_>) -> Result<()> {
    let Packed { pack, indexes, rows } = packed;
    let layout = pack.layout();
    let places = table.rows();
    let (columns, shares, base) = table.split();
    let wanted: Vec<Cell> = indexes.iter().map(|&index| layout.cell(index)).collect();
    // Cells that the answer lays out in another way than the pack are gathered aside: booleans, widened features.
    let mut aside: Vec<MutableBuffer> = columns
        .iter()
        .zip(&wanted)
        .map(|(column, cell)| if column.is_block() { 0 } else { cell.width as usize * places })
        .map(MutableBuffer::from_len_zeroed)
        .collect();
    {
        let pairs = shares.into_iter().zip(&mut aside).zip(columns.iter());
        let mut cells: Vec<&mut [u8]> =
            pairs.map(|((share, aside), column)| if column.is_block() { share } else { aside.as_slice_mut() }).collect();
        gather(pack, rows, &wanted, &mut cells, |index, place, status| {
            columns[index].set_status(base, place, status_of_pack(status));
        })?;
    }
    let (columns, shares, _) = table.split();
    let ordinals: Vec<u32> = rows.iter().map(|&(_, ordinal)| ordinal).collect();
    for (((column, share), &index), aside) in columns.iter_mut().zip(shares).zip(indexes).zip(aside) {
        match layout.features()[index].slot {
            Slot::Variable(variable) => {
                let values = pack.gather_variable(variable, &ordinals)?;
                column.make_picks(share)?;
                column.pick(&values, rows.iter().enumerate().map(|(at, &(place, _))| (place, at as u32)));
            }
            Slot::Fixed { .. } if !column.is_block() => {
                let values = array_of(&column.part().stored, aside.into(), None)?;
                column.pick(&values, rows.iter().map(|&(place, _)| (place, place)));
            }
            Slot::Fixed { .. } => {}
        }
    }
    fill_event_times(packed, table)
}

/// Fills the event times of the columns that keep them, gathered once for all features of a time group.
fn fill_event_times(packed: &Packed<'_>, table: &mut AnswerTable<'_>) -> Result<()> {
    let Packed { pack, indexes, rows } = packed;
    let layout = pack.layout();
    let places = table.rows();
    let mut of_group: HashMap<u16, Vec<u8>> = HashMap::new();
    let (columns, ..) = table.split();
    for (column, &index) in columns.iter_mut().zip(indexes) {
        let Some(event_times) = column.event_times_mut() else { continue };
        let group = layout.features()[index].group;
        let gathered = match of_group.entry(group) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let bytes = vacant.insert(vec![0; places * 8]);
                gather(pack, rows, &[layout.time_cell(group)], &mut [bytes.as_mut_slice()], |_, _, _| {})?;
                bytes
            }
        };
        let (times, _) = gathered.as_chunks::<8>();
        rows.iter().for_each(|&(place, _)| event_times[place as usize] = i64::from_le_bytes(times[place as usize]));
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
