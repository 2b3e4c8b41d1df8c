//! A scan without history: one row per entity that stands within the bounds.
//!
//! Entities are taken by the thousand, in the order of their ordinals, and answered as a lookup of them would be: from the
//! latest pack where it serves, else by the rule. An entity whose features have a winner stands. Of the few others it is
//! asked in history whether a row of theirs stands that says nothing of these features.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow_select::filter::FilterBuilder;

use super::pinned::{Batches, Piece, Scan};
use crate::error::Result;
use crate::model::key::Decoder;
use crate::read::fill::{Filling, fill};
use crate::read::resolve::Item;
use crate::read::standing::{standing, walk_each};
use crate::time::Micros;

/// The batches of `bucket`, for each of which at most so many entities are looked at.
pub(super) fn read(scan: Arc<Scan>, bucket: u32, entities_max: u32) -> Batches {
    let pieces = scan.pieces(bucket, entities_max);
    Box::new(pieces.into_iter().filter_map(move |piece| read_piece(&scan, bucket, &piece).transpose()))
}

fn read_piece(scan: &Scan, bucket: u32, piece: &Piece) -> Result<Option<RecordBatch>> {
    let mut ordinals = piece.ordinals();
    let erased = scan.state.erased(bucket);
    if !erased.is_empty() {
        ordinals.retain(|&ordinal| !erased.contains(ordinal));
    }
    let items = ordinals.iter().zip(0..).map(|(&ordinal, place)| Item { place, ordinal });
    let items: Vec<Item> = items.collect();
    let (mut stand, features) = answer(scan, bucket, &items)?;
    let mut columns = keys_of(scan, bucket, &ordinals, &mut stand)?;
    let mask = BooleanArray::from_iter(stand.iter().map(|stands| Some(stands.is_some())));
    if mask.true_count() == 0 {
        return Ok(None);
    }
    let filter = FilterBuilder::new(&mask).optimize().build();
    if scan.event_time {
        let times: Vec<Micros> = stand.iter().copied().flatten().collect();
        columns.push(Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")));
    }
    let all = mask.true_count() == mask.len();
    for cells in features {
        columns.push(if all { cells } else { filter.filter(cells.as_ref())? });
    }
    Ok(Some(RecordBatch::try_new(Arc::clone(&scan.schema), columns)?))
}

/// For each of `items` whether a row of its stands, with the event time of the newest such row where that matters, and
/// the answers of all of them.
fn answer(scan: &Scan, bucket: u32, items: &[Item]) -> Result<(Vec<Option<Micros>>, Vec<ArrayRef>)> {
    let view = &scan.view.buckets[bucket as usize];
    if scan.asked.features.is_empty() {
        return Ok((standing(view, items, &scan.bounds, scan.event_times)?, Vec::new()));
    }
    let how = Filling {
        view: &scan.view,
        bounds: &scan.bounds,
        rows: items.len(),
        event_times: false,
        threads: 1,
        slabs: &scan.snapshot.resources.slabs,
    };
    let table = fill(&scan.asked, std::iter::once((bucket as usize, items)), &how)?;
    let stand = if scan.event_time || scan.event_times.is_some() {
        standing(view, items, &scan.bounds, scan.event_times)?
    } else {
        let mut stand: Vec<Option<Micros>> = table.won().into_iter().map(|won| won.then_some(Micros::MAX)).collect();
        let left: Vec<Item> = items.iter().filter(|item| stand[item.place as usize].is_none()).copied().collect();
        walk_each(view, &left, &scan.bounds, scan.event_times, &mut stand)?;
        stand
    };
    let answer = table.finish(&[], &scan.bounds, (false, false), 1)?;
    let answers = answer.into_columns(&scan.asked.features, items.len())?;
    Ok((stand, answers.into_iter().filter_map(|[cells, ..]| cells).collect()))
}

/// The key columns of those of `ordinals` that stand. One that was erased meanwhile has no key, and stands no more.
fn keys_of(scan: &Scan, bucket: u32, ordinals: &[u32], stand: &mut [Option<Micros>]) -> Result<Vec<ArrayRef>> {
    let mut keys = Decoder::new(&scan.entity.key)?;
    scan.state.dictionaries[bucket as usize].keys(ordinals, |index, key| match key {
        Some(key) if stand[index].is_some() => keys.push(key),
        Some(_) => Ok(()),
        None => {
            stand[index] = None;
            Ok(())
        }
    })?;
    keys.finish()
}
