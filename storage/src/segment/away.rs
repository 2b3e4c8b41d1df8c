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
use arrow_select::filter::filter;

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
pub(super) trait Place: fmt::Debug {
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
    let mut groups: HashMap<(usize, Vec<Range<u64>>), Vec<(Lack<'_>, Vec<RowsFrom>)>> = HashMap::new();
    for lack in lacks {
        let rows = lack.pieces.iter().map(|(_, positions)| lack.away.rows_of(positions)).collect::<Result<Vec<_>>>()?;
        let key = (Arc::as_ptr(&lack.away.file).addr(), union(rows.iter().map(|(rows, _)| rows)));
        groups.entry(key).or_default().push((lack, rows));
    }
    let groups: Vec<_> = groups.into_iter().collect();
    let wanted = groups.iter().map(|((_, rows), lacks)| Wanted {
        file: &lacks[0].0.away.file,
        features: lacks.iter().map(|(lack, _)| lack.away.feature).collect(),
        types: lacks.iter().map(|(lack, _)| lack.column.data_type().clone()).collect(),
        rows: rows.clone(),
    });
    let answers = ask(&wanted.collect::<Vec<_>>())?;
    for (((_, union), lacks), columns) in groups.iter().zip(answers) {
        for ((lack, rows), cells) in lacks.iter().zip(columns) {
            put(lack, rows, union, &cells)?;
        }
    }
    Ok(())
}

/// Puts the pieces of `lack` where they belong; `cells` are those of the rows `union`.
fn put(lack: &Lack<'_>, rows: &[RowsFrom], union: &[Range<u64>], cells: &ArrayRef) -> Result<()> {
    let (mut range, mut before) = (0, 0);
    for ((piece, positions), from) in lack.pieces.iter().zip(rows) {
        let (start, end) = (u64::from(from.0.start), u64::from(from.0.end));
        while union[range].end < end {
            before += union[range].end - union[range].start;
            range += 1;
        }
        assert!(union[range].start <= start, "a piece lies within what was asked for");
        let cells = cells.slice((before + start - union[range].start) as usize, from.0.len());
        lack.column.arrive(*piece, positions, &lack.away.values(positions, from, &cells)?)?;
    }
    Ok(())
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
