//! A scan without history: one row per entity that stands within the bounds.
//!
//! Entities are taken by the thousand, in the order of their ordinals, and answered as a lookup of them would be: from the
//! latest pack where it serves, else by the rule. An entity whose features have a winner stands. Of the few others it is
//! asked in history whether a row of theirs stands that says nothing of these features.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use arrow_select::filter::FilterBuilder;

use super::columns::ScanColumn;
use super::pinned::{Batches, Piece, Scan};
use crate::error::{Error, Result};
use crate::model::key::Decoder;
use crate::read::fill::{Filling, Patience, fill};
use crate::read::latest;
use crate::read::plain::FeatureAnswer;
use crate::read::resolved::Item;
use crate::read::standing::{standing, walk_each};
use crate::read::window;
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
    let (mut stand, features) = match together(scan, bucket, piece, ordinals.len())? {
        Some(features) => (vec![Some(Micros::MAX); ordinals.len()], features),
        None => {
            let items = ordinals.iter().zip(0..).map(|(&ordinal, place)| Item { place, ordinal });
            answer(scan, bucket, &items.collect::<Vec<Item>>())?
        }
    };
    let keys = match scan.columns.any(|column| matches!(column, ScanColumn::Key(_))) {
        true => keys_of(scan, bucket, &ordinals, &mut stand)?,
        false => leave_erased(scan, bucket, &ordinals, &mut stand),
    };
    let rows = stand.iter().flatten().count();
    if rows == 0 {
        return Ok(None);
    }
    let filter = (rows < stand.len()).then(|| {
        let mask = BooleanArray::from_iter(stand.iter().map(|stands| Some(stands.is_some())));
        FilterBuilder::new(&mask).optimize().build()
    });
    let standing = |cells: &ArrayRef| match &filter {
        None => Ok(Arc::clone(cells)),
        Some(filter) => filter.filter(cells.as_ref()).map_err(Error::from),
    };
    let of = |place: usize, which: usize| features[place][which].as_ref().expect("the answer has what is asked");
    let columns = scan.columns.iter().map(|column| match column {
        ScanColumn::Key(place) => Ok(Arc::clone(&keys[place])),
        ScanColumn::EventTime => {
            let times: Vec<Micros> = stand.iter().copied().flatten().collect();
            Ok(Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")) as ArrayRef)
        }
        ScanColumn::Cells(place) => standing(of(place, 0)),
        ScanColumn::Status(place) => Ok(cast(&standing(of(place, 1))?, &DataType::Utf8)?),
        ScanColumn::WonAt(place) => standing(of(place, 2)),
        other => unreachable!("a scan of the latest rows has no {other:?}"),
    });
    scan.batch(columns.collect::<Result<_>>()?, rows).map(Some)
}

/// The answers of all entities of `piece`, if they can be read together. Who has a value stands.
fn together(scan: &Scan, bucket: u32, piece: &Piece, entities: usize) -> Result<Option<Vec<FeatureAnswer>>> {
    let plain = !scan.asked.features.is_empty()
        && scan.asked.outputs.is_empty()
        && scan.event_times.is_none()
        && !scan.columns.any(|column| !matches!(column, ScanColumn::Key(_) | ScanColumn::Cells(_)));
    match piece {
        Piece::Range(start, end) if plain && entities == (end - start) as usize => {
            let cells = latest::together(&scan.bounds, &scan.asked, &scan.view, bucket as usize, *start..*end)?;
            Ok(cells.map(|cells| cells.into_iter().map(|cells| [Some(cells), None, None]).collect()))
        }
        _ => Ok(None),
    }
}

/// For each of `items` whether a row of its stands, with the event time of the newest such row where that matters, and
/// the answers of all of them.
fn answer(scan: &Scan, bucket: u32, items: &[Item]) -> Result<(Vec<Option<Micros>>, Vec<FeatureAnswer>)> {
    let view = &scan.view.buckets[bucket as usize];
    let newest = scan.columns.any(|column| column == ScanColumn::EventTime) || scan.event_times.is_some();
    if scan.asked.features.is_empty() && scan.asked.outputs.is_empty() {
        return Ok((standing(view, items, &scan.bounds, scan.event_times)?, Vec::new()));
    }
    let status = scan.columns.any(|column| matches!(column, ScanColumn::Status(_)));
    let event_times = scan.columns.any(|column| matches!(column, ScanColumn::WonAt(_)));
    let how = Filling {
        view: &scan.view,
        bounds: &scan.bounds,
        rows: items.len(),
        event_times,
        threads: 1,
        patience: Patience::Waits,
        slabs: &scan.snapshot.resources.slabs,
    };
    let of_bucket = std::iter::once((bucket as usize, items));
    let table = fill(&scan.asked, of_bucket.clone(), &how)?;
    let stand = if newest || scan.asked.features.is_empty() {
        standing(view, items, &scan.bounds, scan.event_times)?
    } else {
        let mut stand: Vec<Option<Micros>> = table.won().into_iter().map(|won| won.then_some(Micros::MAX)).collect();
        let left: Vec<Item> = items.iter().filter(|item| stand[item.place as usize].is_none()).copied().collect();
        walk_each(view, &left, &scan.bounds, scan.event_times, &mut stand)?;
        stand
    };
    let with = (status, event_times);
    let answer = table.finish(&[], &scan.bounds, with, 1)?.into_columns(&scan.asked.features, items.len())?;
    if scan.asked.outputs.is_empty() {
        return Ok((stand, answer));
    }
    let outputs = window::answer(&scan.asked, of_bucket, &how, &[], with)?;
    let features = scan.asked.features.iter().map(|feature| feature.output).zip(answer);
    let reckoned = scan.asked.outputs.iter().map(|output| output.output).zip(outputs);
    let mut all: Vec<(usize, FeatureAnswer)> = features.chain(reckoned).collect();
    all.sort_by_key(|(place, _)| *place);
    Ok((stand, all.into_iter().map(|(_, answer)| answer).collect()))
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

/// [`keys_of`] where no key is asked for.
fn leave_erased(scan: &Scan, bucket: u32, ordinals: &[u32], stand: &mut [Option<Micros>]) -> Vec<ArrayRef> {
    let erased = scan.state.erased(bucket);
    if !erased.is_empty() {
        let gone = ordinals.iter().zip(stand).filter(|(ordinal, _)| erased.contains(**ordinal));
        gone.for_each(|(_, stands)| *stands = None);
    }
    Vec::new()
}
