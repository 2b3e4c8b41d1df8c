//! From rows to columns: copies cells of many rows into one buffer per feature.
//!
//! Rows go in blocks that stay in the first cache. Their wanted lines are prefetched, so that the cache misses of all
//! rows of a block overlap. If most of a row is wanted, the wanted extent of each row is then copied together first, so
//! that the copying of cells that follows is a plain strided loop.

use std::ops::Range;

use arrow_array::ArrayRef;
use arrow_buffer::{MutableBuffer, NullBuffer};

use super::layout::{Cell, Slot, status_of};
use super::{Pack, VALUE, array_of};
use crate::error::Result;
use crate::prefetch::{LINE_BYTES, prefetch};

/// Rows per block at most.
const BLOCK_ROWS: usize = 32;
/// The bytes of wanted extents per block at most (but at least four rows).
const BLOCK_BYTES: usize = 16 * 1024;
/// Of a wide extent or cell only the start is asked for: the machine notices the sequence and goes on by itself.
const PREFETCH_BYTES_MAX: usize = 1024;

/// Copies the cells `wanted` of each row to its place in the matching bytes of `cells`, which hold one cell per place.
/// The rows may come from several packs with one layout. Tells `differ` the index of the cell, the place and the status
/// of every cell that is no value; the bytes of those are zeros.
pub fn gather<'a>(
    rows: impl Iterator<Item = Result<(u32, &'a [u8])>>,
    wanted: &[Cell],
    cells: &mut [&mut [u8]],
    mut differ: impl FnMut(usize, u32, u8),
) -> Result<()> {
    assert_eq!(wanted.len(), cells.len(), "each wanted cell has its bytes");
    let extent = dense_extent(wanted);
    let prefetched = match &extent {
        Some(extent) => vec![0..1, extent.start..extent.end.min(extent.start + PREFETCH_BYTES_MAX)],
        None => lines(wanted),
    };
    let extent_bytes = extent.as_ref().map_or(0, Range::len);
    let block_rows = BLOCK_BYTES.checked_div(extent_bytes).map_or(BLOCK_ROWS, |rows| rows.clamp(4, BLOCK_ROWS));
    let mut together = vec![0; block_rows * extent_bytes];
    let mut rows = rows;
    loop {
        let empty: &[u8] = &[];
        let mut bytes = [empty; BLOCK_ROWS];
        let mut places = [0; BLOCK_ROWS];
        let mut count = 0;
        for row in rows.by_ref().take(block_rows) {
            (places[count], bytes[count]) = row?;
            prefetched.iter().for_each(|range| prefetch(&bytes[count][range.clone()]));
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        let (bytes, places) = (&bytes[..count], &places[..count]);
        match &extent {
            Some(extent) => {
                for (row, copy) in bytes.iter().zip(together.chunks_exact_mut(extent_bytes)) {
                    copy.copy_from_slice(&row[extent.clone()]);
                }
                for (cell, into) in wanted.iter().zip(cells.iter_mut()) {
                    let rows = together.chunks_exact(extent_bytes);
                    // A cell without width may lie before the extent; none of its bytes are copied.
                    let offset = (cell.offset as usize).saturating_sub(extent.start);
                    copy_cells(cell, offset, rows, places, into);
                }
            }
            None => {
                for (cell, into) in wanted.iter().zip(cells.iter_mut()) {
                    copy_cells(cell, cell.offset as usize, bytes.iter().copied(), places, into);
                }
            }
        }
        for (row, &place) in bytes.iter().zip(places) {
            if row[0] != 1 {
                tell_statuses(row, place, wanted, &mut differ);
            }
        }
    }
}

/// The values of the feature at `index` of `pack` for each of `ordinals`; null for those that have none there.
pub(crate) fn values(pack: &Pack, index: usize, ordinals: &[u32]) -> Result<ArrayRef> {
    let feature = &pack.layout().features()[index];
    let width = match feature.slot {
        Slot::Variable(variable) => return pack.gather_variable(variable, ordinals),
        Slot::Fixed { width, .. } => width as usize,
    };
    let mut cells = MutableBuffer::from_len_zeroed(width * ordinals.len());
    let mut valid = vec![true; ordinals.len()];
    let rows = ordinals.iter().zip(0u32..).map(|(&ordinal, place)| Ok((place, pack.row(ordinal)?)));
    let cell = pack.layout().cell(index);
    gather(rows, &[cell], &mut [cells.as_slice_mut()], |_, place, _| valid[place as usize] = false)?;
    array_of(&feature.data_type, cells.into(), Some(NullBuffer::from(valid)))
}

/// The extent of a row that holds all wanted cells, if they fill at least half of it.
fn dense_extent(wanted: &[Cell]) -> Option<Range<usize>> {
    let cells = || wanted.iter().filter(|cell| cell.width > 0);
    let start = cells().map(|cell| cell.offset).min()? as usize;
    let end = cells().map(|cell| cell.offset + cell.width).max()? as usize;
    let filled: usize = cells().map(|cell| cell.width as usize).sum();
    // One or two cells are copied as fast from where they lie.
    if filled * 2 >= end - start && cells().count() > 2 { Some(start..end) } else { None }
}

/// The ranges of a row that hold its first byte and the wanted cells, as few as possible.
fn lines(wanted: &[Cell]) -> Vec<Range<usize>> {
    let range = |cell: &Cell| {
        let start = cell.offset as usize;
        start..start + (cell.width as usize).clamp(1, PREFETCH_BYTES_MAX)
    };
    let mut ranges: Vec<Range<usize>> = wanted.iter().map(range).collect();
    ranges.push(0..1);
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end + LINE_BYTES => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[inline]
fn copy_cells<'a>(cell: &Cell, offset: usize, rows: impl Iterator<Item = &'a [u8]>, places: &[u32], into: &mut [u8]) {
    match cell.width {
        0 => {}
        1 => copy_width::<1>(offset, rows, places, into),
        2 => copy_width::<2>(offset, rows, places, into),
        4 => copy_width::<4>(offset, rows, places, into),
        8 => copy_width::<8>(offset, rows, places, into),
        16 => copy_width::<16>(offset, rows, places, into),
        width => {
            let width = width as usize;
            for (row, &place) in rows.zip(places) {
                let at = place as usize * width;
                into[at..at + width].copy_from_slice(&row[offset..offset + width]);
            }
        }
    }
}

/// One width known to the compiler: a cell is one load and one store.
#[inline]
fn copy_width<'a, const WIDTH: usize>(
    offset: usize,
    rows: impl Iterator<Item = &'a [u8]>,
    places: &[u32],
    into: &mut [u8],
) {
    let (into, _) = into.as_chunks_mut::<WIDTH>();
    let first = places[0] as usize;
    let follow = places.iter().enumerate().all(|(index, &place)| place as usize == first + index);
    if follow {
        for (row, cell) in rows.zip(&mut into[first..first + places.len()]) {
            *cell = *row[offset..].first_chunk().expect("a cell lies inside its row");
        }
    } else {
        for (row, &place) in rows.zip(places) {
            into[place as usize] = *row[offset..].first_chunk().expect("a cell lies inside its row");
        }
    }
}

fn tell_statuses(row: &[u8], place: u32, wanted: &[Cell], differ: &mut impl FnMut(usize, u32, u8)) {
    for (index, cell) in wanted.iter().enumerate() {
        let status = cell.status.map_or(VALUE, |feature| status_of(row, feature as usize));
        if status != VALUE {
            differ(index, place, status);
        }
    }
}
