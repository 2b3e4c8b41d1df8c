//! The latest pack's share of a read: entities that were not written since the pack was built.
//!
//! A pack answers only reads that see everything: both bounds open, at a position that is not before the pack's. All
//! other rows of the request are handed back to be resolved in history, by the same rule that built the pack.

use super::answer::{AnswerColumn, Status};
use super::plan::{Plan, PlannedBound};
use super::resolved::Item;
use super::snapshot::Snapshot;
use crate::error::Result;
use crate::pack::gather::{self, Cells};
use crate::pack::{Cell, Pack, Slot, array_of};
use crate::view::{BucketView, TableView};

/// Fills `columns` for the items that latest packs answer; the rest is returned by bucket.
pub(crate) fn fill(
    plan: &Plan,
    snapshot: &Snapshot,
    view: &TableView,
    items: &[Vec<Item>],
    columns: &mut [AnswerColumn<'_>],
) -> Result<Vec<(usize, Vec<Item>)>> {
    let open = plan.as_of == PlannedBound::Latest && plan.known_at == PlannedBound::Latest;
    let mut rest = Vec::with_capacity(items.len());
    for (bucket, items) in items.iter().enumerate().filter(|(_, items)| !items.is_empty()) {
        let serving = serving_pack(&view.buckets[bucket], snapshot, columns).filter(|_| open);
        let Some((pack, dirty)) = serving else {
            rest.push((bucket, items.clone()));
            continue;
        };
        let in_pack = |item: &&Item| item.ordinal < pack.ordinals() && !dirty.contains(item.ordinal);
        let rows: Vec<(u32, u32)> = items.iter().filter(in_pack).map(|item| (item.place, item.ordinal)).collect();
        if rows.len() < items.len() {
            rest.push((bucket, items.iter().filter(|item| !in_pack(item)).copied().collect()));
        }
        fill_from(pack, &rows, columns)?;
    }
    Ok(rest)
}

/// The bucket's pack, if it can answer: it is not newer than the read and holds every feature as it is declared.
fn serving_pack<'a>(
    view: &'a BucketView,
    snapshot: &Snapshot,
    columns: &[AnswerColumn<'_>],
) -> Option<(&'a Pack, &'a crate::view::DirtySet)> {
    let latest = view.pack.as_ref()?;
    let layout = latest.pack.layout();
    let holds = |column: &AnswerColumn<'_>| {
        let part = column.part();
        layout.index_of(part.feature.id).is_some_and(|at| layout.features()[at].data_type == part.stored)
    };
    let serves = latest.pack.position() <= snapshot.sequence() && columns.iter().all(holds);
    serves.then_some((&latest.pack, &*latest.dirty))
}

fn fill_from(pack: &Pack, rows: &[(u32, u32)], columns: &mut [AnswerColumn<'_>]) -> Result<()> {
    let layout = pack.layout();
    let places = columns.first().map_or(0, |column| column.statuses.len());
    let mut wanted: Vec<Cell> = Vec::with_capacity(columns.len() * 2);
    let mut cells: Vec<Cells> = Vec::with_capacity(columns.len() * 2);
    for column in columns.iter_mut() {
        let index = layout.index_of(column.part().feature.id).expect("a serving pack holds every feature");
        let cell = layout.cell(index);
        cells.push(column.lend_cells().unwrap_or_else(|| Cells::new(cell.width as usize, places)));
        wanted.push(cell);
    }
    for column in columns.iter().filter(|column| column.event_times.is_some()) {
        let index = layout.index_of(column.part().feature.id).expect("a serving pack holds every feature");
        wanted.push(layout.time_cell(layout.features()[index].group));
        cells.push(Cells::new(8, places));
    }
    gather::gather(pack, rows, &wanted, &mut cells)?;
    let mut times = cells.split_off(columns.len()).into_iter();
    for (column, mut cells) in columns.iter_mut().zip(cells) {
        take_statuses(column, rows, cells.statuses.take());
        let index = layout.index_of(column.part().feature.id).expect("a serving pack holds every feature");
        match layout.features()[index].slot {
            Slot::Variable(variable) => {
                let ordinals: Vec<u32> = rows.iter().map(|&(_, ordinal)| ordinal).collect();
                let values = pack.gather_variable(variable, &ordinals)?;
                column.pick(&values, rows.iter().enumerate().map(|(at, &(place, _))| (place, at as u32)));
            }
            Slot::Fixed { .. } if column.is_fixed() => column.give_cells(cells),
            Slot::Fixed { .. } => {
                let values = array_of(&column.part().stored, cells.bytes.into(), None)?;
                column.pick(&values, rows.iter().map(|&(place, _)| (place, place)));
            }
        }
        if let Some(event_times) = &mut column.event_times {
            let gathered = times.next().expect("each column that keeps event times gathered them");
            let (gathered, _) = gathered.bytes.as_slice().as_chunks::<8>();
            rows.iter().for_each(|&(place, _)| {
                event_times[place as usize] = i64::from_le_bytes(gathered[place as usize]);
            });
        }
    }
    Ok(())
}

/// Notes the statuses of gathered places: all are values unless the pack said otherwise.
fn take_statuses(column: &mut AnswerColumn<'_>, rows: &[(u32, u32)], statuses: Option<Vec<u8>>) {
    const OF_PACK: [Status; 4] = [Status::Value, Status::Null, Status::Deleted, Status::Never];
    for &(place, _) in rows {
        let status = statuses.as_ref().map_or(crate::pack::VALUE, |statuses| statuses[place as usize]);
        column.statuses[place as usize] = OF_PACK[usize::from(status & 3)] as u8;
    }
}
