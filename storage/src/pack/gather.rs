//! From rows to columns: copies cells of many rows into one buffer per feature.
//!
//! Rows go in blocks: all rows of a block are touched first, so that their cache misses overlap, then each feature's
//! cells are copied while the block is in the first cache. Everything is ordinary safe loads and stores.

use std::hint::black_box;

use arrow_buffer::MutableBuffer;

use super::layout::{Cell, status_of};
use super::{Pack, VALUE};
use crate::error::Result;

/// Rows per block: with rows of some hundred bytes a block stays in the first cache.
const BLOCK_ROWS: usize = 16;
/// The distance of touches.
const LINE_BYTES: u32 = 64;
/// Of a wide cell only the start is touched: the machine notices the sequence and goes on by itself.
const TOUCH_BYTES_MAX: u32 = 256;

/// The cells of one feature (or the event times of one group) of an answer, by place in the answer.
#[derive(Debug)]
pub struct Cells {
    width: usize,
    places: usize,
    /// The cells, `width` bytes each; zeros where nothing was gathered or the status is not value.
    pub bytes: MutableBuffer,
    /// The status of each place; `None` as long as all that were gathered are values.
    pub statuses: Option<Vec<u8>>,
}

impl Cells {
    /// Room for `places` cells of `width` bytes.
    pub fn new(width: usize, places: usize) -> Self {
        Self { width, places, bytes: MutableBuffer::from_len_zeroed(width * places), statuses: None }
    }

    /// Notes the status of `place`.
    pub fn set_status(&mut self, place: u32, status: u8) {
        if status != VALUE || self.statuses.is_some() {
            let places = self.places;
            self.statuses.get_or_insert_with(|| vec![VALUE; places])[place as usize] = status;
        }
    }
}

/// Copies the cells `wanted` of each `(place, ordinal)` in `rows` to `place` of the matching `cells`. A place is
/// gathered once.
pub fn gather(pack: &Pack, rows: &[(u32, u32)], wanted: &[Cell], cells: &mut [Cells]) -> Result<()> {
    assert_eq!(wanted.len(), cells.len(), "each wanted cell has its buffer");
    for (cell, into) in wanted.iter().zip(cells.iter()) {
        assert_eq!(cell.width as usize, into.width, "a buffer has the width of its cells");
    }
    let touches = touches(wanted);
    let empty: &[u8] = &[];
    for block in rows.chunks(BLOCK_ROWS) {
        let mut bytes = [empty; BLOCK_ROWS];
        let mut places = [0; BLOCK_ROWS];
        for (index, &(place, ordinal)) in block.iter().enumerate() {
            bytes[index] = pack.row(ordinal)?;
            places[index] = place;
        }
        let (bytes, places) = (&bytes[..block.len()], &places[..block.len()]);
        let mut touched = 0;
        for row in bytes {
            for &offset in &touches {
                touched ^= row[offset as usize];
            }
        }
        black_box(touched);
        for (cell, into) in wanted.iter().zip(cells.iter_mut()) {
            copy_cells(cell, bytes, places, &mut into.bytes);
        }
        for (row, &place) in bytes.iter().zip(places) {
            if row[0] != 1 {
                copy_statuses(row, place, wanted, cells);
            }
        }
    }
    Ok(())
}

/// Where to touch a row so that every line with a wanted cell is on its way.
fn touches(wanted: &[Cell]) -> Vec<u32> {
    let mut ranges: Vec<(u32, u32)> =
        wanted.iter().map(|cell| (cell.offset, cell.offset + cell.width.clamp(1, TOUCH_BYTES_MAX) - 1)).collect();
    ranges.sort_unstable();
    let mut touches = vec![0];
    for (first, last) in ranges {
        let mut next = first;
        loop {
            let due = touches.last().is_none_or(|&at| next >= at + LINE_BYTES);
            if due {
                touches.push(next);
            }
            if next == last {
                break;
            }
            next = (next + LINE_BYTES).min(last);
        }
    }
    touches
}

fn copy_cells(cell: &Cell, rows: &[&[u8]], places: &[u32], into: &mut [u8]) {
    let offset = cell.offset as usize;
    match cell.width {
        0 => {}
        1 => copy_width::<1>(offset, rows, places, into),
        2 => copy_width::<2>(offset, rows, places, into),
        4 => copy_width::<4>(offset, rows, places, into),
        8 => copy_width::<8>(offset, rows, places, into),
        16 => copy_width::<16>(offset, rows, places, into),
        width => {
            let width = width as usize;
            for (row, &place) in rows.iter().zip(places) {
                let at = place as usize * width;
                into[at..at + width].copy_from_slice(&row[offset..offset + width]);
            }
        }
    }
}

/// One width known to the compiler: a cell is one load and one store.
fn copy_width<const WIDTH: usize>(offset: usize, rows: &[&[u8]], places: &[u32], into: &mut [u8]) {
    let (into, _) = into.as_chunks_mut::<WIDTH>();
    for (row, &place) in rows.iter().zip(places) {
        into[place as usize] = *row[offset..].first_chunk().expect("a cell lies inside its row");
    }
}

fn copy_statuses(row: &[u8], place: u32, wanted: &[Cell], cells: &mut [Cells]) {
    for (cell, into) in wanted.iter().zip(cells) {
        if let Some(index) = cell.status {
            into.set_status(place, status_of(row, index as usize));
        }
    }
}
