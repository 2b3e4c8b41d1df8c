//! Cells that are away: the values of a column of a segment that lie in ice, and come from there when they are asked for.
//!
//! A column comes in *pieces*: of fixed width the values of [`PIECE_ROWS`] rows, which arrive where they would lie in the
//! file; of any other a stretch. What a read needs of several columns is asked for at once ([`bring`]), so that it waits
//! for the bucket once. A column that is read without that brings its pieces one after another. What came stays until
//! the segment is closed.
//!
//! Which rows have a cell, and which are null, the segment knows itself: ice is asked for values alone.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::{BooleanBuffer, Buffer};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use arrow_select::filter::filter;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::ice::{IceFile, Wanted, ask};
use crate::io::region::Arrivals;
use crate::segment::packed::Packed;

/// Rows whose values of fixed width arrive together: a page of ice.
pub(crate) const PIECE_ROWS: u32 = firn_ice::PAGE_ROWS as u32;
/// Rows per rank.
const RANK_ROWS: u32 = 512;
const _: () = assert!(PIECE_ROWS.is_multiple_of(RANK_ROWS), "a piece begins where values are counted");

/// Where the values of a column are while they are not in its file.
#[derive(Debug)]
pub(crate) struct Away {
    file: Arc<IceFile>,
    feature: u32,
    /// Rows of the segment.
    rows: u32,
    /// Values of the column.
    len: u32,
    /// Which rows have a value; `None` if all have.
    packed: Option<Packed>,
    /// Those of fixed width that have come.
    pub(super) arrivals: Option<Arrivals>,
}

/// Rows, and the position of the first value in them.
type RowsFrom = (Range<u32>, u32);

impl Away {
    /// The column of `feature`, which has `len` values in `rows` rows.
    pub(super) fn new(
        file: &Arc<IceFile>,
        feature: u32,
        (rows, len): (u32, u32),
        packed: Option<Packed>,
        arrivals: Option<Arrivals>,
    ) -> Self {
        Self { file: Arc::clone(file), feature, rows, len, packed, arrivals }
    }

    /// How many pieces a column of fixed width has in `rows` rows.
    pub(super) fn pieces(rows: u32) -> u32 {
        rows.div_ceil(PIECE_ROWS)
    }

    /// The piece that the value of fixed width at `position` is in.
    #[inline]
    pub(super) fn piece_of(&self, position: u32) -> Result<u32> {
        match &self.packed {
            None => Ok(position / PIECE_ROWS),
            Some(packed) => Ok(rank_of(packed, position)? / (PIECE_ROWS / RANK_ROWS)),
        }
    }

    /// Whether `piece` of a column of fixed width has come.
    #[inline]
    pub(super) fn has(&self, piece: u32) -> bool {
        self.arrivals.as_ref().is_some_and(|arrivals| arrivals.has(piece))
    }

    /// The positions of `piece` of a column of fixed width.
    pub(super) fn positions_of(&self, piece: u32) -> Result<Range<u32>> {
        let (start, end) = (piece * PIECE_ROWS, (piece + 1).saturating_mul(PIECE_ROWS).min(self.rows));
        match &self.packed {
            None => Ok(start..end),
            Some(packed) => {
                packed.checks.bytes(packed.ranks.all())?;
                let before = |row: u32| packed.ranks.values.get((row / RANK_ROWS) as usize).copied();
                Ok(before(start).unwrap_or(self.len)..before(end.next_multiple_of(RANK_ROWS)).unwrap_or(self.len))
            }
        }
    }

    /// Rows that hold the values at `positions`, and the position of the first value in them.
    fn rows_of(&self, positions: &Range<u32>) -> Result<RowsFrom> {
        let Some(packed) = &self.packed else { return Ok((positions.clone(), positions.start)) };
        let (first, last) = (rank_of(packed, positions.start)?, rank_of(packed, positions.end - 1)?);
        let rows = first * RANK_ROWS..((last + 1) * RANK_ROWS).min(self.rows);
        Ok((rows, packed.ranks.values[first as usize]))
    }

    /// The values at `positions` among `cells`, which are those of the rows that [`Away::rows_of`] says.
    fn values(&self, positions: &Range<u32>, (rows, first): &RowsFrom, cells: &ArrayRef) -> Result<ArrayRef> {
        let present = match &self.packed {
            None => Arc::clone(cells),
            Some(Packed { words, checks, .. }) => {
                let (start, end) = ((rows.start / 64) as usize, rows.end.div_ceil(64) as usize);
                checks.bytes(words.bytes(start..end))?;
                let bits = Buffer::from(words.values[start..end].to_vec());
                filter(cells, &BooleanArray::new(BooleanBuffer::new(bits, 0, rows.len()), None))?
            }
        };
        let (skipped, count) = (positions.start.checked_sub(*first), positions.len());
        let whole = skipped.filter(|skipped| *skipped as usize + count <= present.len());
        let skipped = whole.ok_or_else(|| self.file.damaged("it has fewer values than its segment says"))?;
        Ok(present.slice(skipped as usize, count))
    }

    /// The error for values that are of another kind than the column.
    pub(super) fn of_another_type(&self, found: &dyn Array) -> Error {
        self.file.damaged(&format!("feature {} is of type {}", self.feature, found.data_type()))
    }

    /// Counts bytes that came and stay.
    pub(super) fn came(&self, bytes: usize) {
        self.file.came(bytes as u64);
    }
}

/// Which rank the value at `position` lies after.
fn rank_of(packed: &Packed, position: u32) -> Result<u32> {
    packed.checks.bytes(packed.ranks.all())?;
    let after = packed.ranks.values.partition_point(|&before| before <= position) as u32;
    after
        .checked_sub(1)
        .ok_or_else(|| packed.checks.damaged(packed.ranks.offset, "the cells of a column are counted wrongly"))
}

/// Where values belong that come.
pub(super) trait Place: fmt::Debug + Sync {
    /// The type of the values.
    fn data_type(&self) -> &DataType;
    /// Puts the values of `piece`, those at `positions`, where they belong.
    fn arrive(&self, piece: u32, positions: &Range<u32>, values: &ArrayRef) -> Result<()>;
}

/// What a read lacks of a column.
#[derive(Debug)]
pub(crate) struct Lack<'a> {
    pub(super) column: &'a dyn Place,
    pub(super) away: &'a Away,
    /// The positions of each piece.
    pub(super) pieces: Vec<(u32, Range<u32>)>,
}

/// Brings all that is lacking, and waits for the bucket once.
pub(crate) fn bring(lacks: Vec<Lack<'_>>) -> Result<()> {
    let mut waves: HashMap<(usize, Vec<Range<u64>>), Wave<'_>> = HashMap::new();
    for lack in lacks {
        let rows = lack.pieces.iter().map(|(_, positions)| lack.away.rows_of(positions)).collect::<Result<Vec<_>>>()?;
        let key = (Arc::as_ptr(&lack.away.file).addr(), union(rows.iter().map(|(rows, _)| rows)));
        waves.entry(key).or_default().add(lack, rows);
    }
    let waves: Vec<_> = waves.into_iter().collect();
    let wanted = waves.iter().map(|((_, rows), wave)| wave.wanted(rows.clone()));
    ask(&wanted.collect::<Vec<_>>(), |place, rows, cells| waves[place].1.arrive(rows, cells))?;
    waves.into_iter().try_for_each(|(_, wave)| wave.join())
}

/// What columns of one file lack that need the same rows of it, so that they are decoded together.
#[derive(Debug, Default)]
struct Wave<'a> {
    lacks: Vec<Lack<'a>>,
    /// The pieces of all of them, by their rows: columns of a strip lie between each other, so what is near in rows is near in
    /// memory.
    pieces: Vec<Needed>,
    /// Rows of a piece, at most.
    piece_rows_max: u64,
    /// Cells of pieces that lie in several row groups.
    parts: Mutex<Vec<Part>>,
}

/// A piece that a column lacks.
#[derive(Debug)]
struct Needed {
    /// Its rows.
    rows: Range<u64>,
    from: RowsFrom,
    /// The column, and the piece among those that it lacks.
    lack: usize,
    piece: usize,
}

/// Some of the cells of a piece: which of the pieces, the first row, the cells.
type Part = (usize, u64, ArrayRef);

impl<'a> Wave<'a> {
    fn add(&mut self, lack: Lack<'a>, rows: Vec<RowsFrom>) {
        let of = self.lacks.len();
        for (piece, from) in rows.into_iter().enumerate() {
            let rows = u64::from(from.0.start)..u64::from(from.0.end);
            self.piece_rows_max = self.piece_rows_max.max(rows.end - rows.start);
            self.pieces.push(Needed { rows, from, lack: of, piece });
        }
        self.pieces.sort_by_key(|piece| piece.rows.start);
        self.lacks.push(lack);
    }

    fn wanted(&self, rows: Vec<Range<u64>>) -> Wanted<'a> {
        Wanted {
            file: &self.lacks[0].away.file,
            features: self.lacks.iter().map(|lack| lack.away.feature).collect(),
            types: self.lacks.iter().map(|lack| lack.column.data_type().clone()).collect(),
            rows,
        }
    }

    /// Puts the cells of a row group where they belong: of each column those of `rows`, one after another.
    fn arrive(&self, rows: &[Range<u64>], cells: &[ArrayRef]) -> Result<()> {
        let mut before = 0;
        for range in rows {
            // No piece that begins before ends in the range, and none that begins after.
            let first = self.pieces.partition_point(|piece| piece.rows.start + self.piece_rows_max <= range.start);
            let end = self.pieces.partition_point(|piece| piece.rows.start < range.end);
            for (number, piece) in (first..end).map(|number| (number, &self.pieces[number])) {
                let (start, end) = (piece.rows.start.max(range.start), piece.rows.end.min(range.end));
                if start >= end {
                    continue;
                }
                let part = cells[piece.lack].slice((before + start - range.start) as usize, (end - start) as usize);
                if (start..end) == piece.rows {
                    self.put(piece, &part)?;
                } else {
                    self.parts.lock().push((number, start, part));
                }
            }
            before += range.end - range.start;
        }
        Ok(())
    }

    /// Puts the pieces that came in parts.
    fn join(&self) -> Result<()> {
        let mut parts = std::mem::take(&mut *self.parts.lock());
        parts.sort_by_key(|(number, start, _)| (*number, *start));
        for of in parts.chunk_by(|one, other| one.0 == other.0) {
            let cells: Vec<&dyn Array> = of.iter().map(|(.., cells)| cells.as_ref()).collect();
            self.put(&self.pieces[of[0].0], &concat(&cells)?)?;
        }
        Ok(())
    }

    /// Puts a piece where it belongs: `cells` are those of its rows.
    fn put(&self, needed: &Needed, cells: &ArrayRef) -> Result<()> {
        let lack = &self.lacks[needed.lack];
        let (piece, positions) = &lack.pieces[needed.piece];
        lack.column.arrive(*piece, positions, &lack.away.values(positions, &needed.from, cells)?)
    }
}

/// The rows of ascending `ranges`, which may meet and overlap.
fn union<'a>(ranges: impl Iterator<Item = &'a Range<u32>>) -> Vec<Range<u64>> {
    let mut union: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let (start, end) = (u64::from(range.start), u64::from(range.end));
        match union.last_mut() {
            Some(last) if last.end >= start => last.end = last.end.max(end),
            _ => union.push(start..end),
        }
    }
    union
}
