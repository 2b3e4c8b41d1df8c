//! Merges runs of one bucket into segments: the one code path of flush and compaction.
//!
//! Entities come in ascending order from the directories of all runs; the rows of each are brought into storage order,
//! erased and unwanted ones are left out, and what remains is cut into segments, anywhere, even inside an entity. Per
//! segment, the order of the rows is known first (20 bytes per row in memory); then each section is streamed out, and
//! each column stretch by stretch (`merge/cells.rs`).
//!
//! A merge changes no answer: which rows may go is for the [`RowFilter`] to know.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::Arc;

use arrow_schema::DataType;
use roaring::RoaringBitmap;

pub use self::row::MergedRow;
use self::strip::Member;
use crate::column::fixed_width;
use crate::error::{Error, Kind, Result};
use crate::io::{Files, HUGE_BYTES, SHORT_BYTES, publish_in};
use crate::run::{Origin, Run};
use crate::segment::writer::SegmentWriter;
use crate::segment::{SegmentMeta, file_name};

mod cells;
mod output;
mod row;
mod strip;

#[cfg(test)]
mod tests;

/// Says which rows of an entity stay: retention, and erasing a part of an entity's rows.
pub trait RowFilter {
    /// Clears the entries of `keep`, all of which are set, whose rows may go. `rows` are all rows of `ordinal` in the
    /// runs being merged, in storage order; their bytes are checked.
    fn keep(&self, ordinal: u32, rows: &[MergedRow], keep: &mut [bool]) -> Result<()>;
}

/// Every row stays.
#[derive(Debug, Clone, Copy)]
pub struct KeepAll;

impl RowFilter for KeepAll {
    fn keep(&self, _ordinal: u32, _rows: &[MergedRow], _keep: &mut [bool]) -> Result<()> {
        Ok(())
    }
}

/// A merge of runs of one bucket.
pub struct Merge<'a> {
    /// Where segments go.
    pub files: &'a Arc<dyn Files>,
    /// The runs, in memory or segments, in any order.
    pub runs: &'a [Arc<Run>],
    /// Entities of which nothing stays.
    pub erased: &'a RoaringBitmap,
    /// Which rows stay.
    pub filter: &'a dyn RowFilter,
    /// The features to keep, ascending, and the types to store them as: wider than in a run if the feature was widened
    /// since. Cells of features that are not listed are purged.
    pub types: &'a [(u32, DataType)],
    /// Rows of a segment, at most.
    pub segment_rows_max: u32,
    /// Bytes of a column of a segment, at most (by the averages of the runs), below 2 GiB.
    pub segment_bytes_max: u64,
    /// Numbers for the files.
    pub next_number: &'a dyn Fn() -> u64,
    /// Told how many bytes are written, before more are, and of steps between; may sleep to slow the merge down, or let
    /// others go first.
    pub throttle: &'a dyn Fn(u64),
    /// Whether to stop.
    pub cancelled: &'a dyn Fn() -> bool,
}

impl fmt::Debug for Merge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments: Vec<_> = self.runs.iter().map(|run| run.segment).collect();
        f.debug_struct("Merge").field("segments", &segments).finish_non_exhaustive()
    }
}

/// Rows that are brought into order before others may go first.
const STEP_ROWS: usize = 4096;

/// Bytes of a segment, roughly, from which huge pages pay.
const LARGE_BYTES: usize = 16 << 20;

/// Row ids of a segment, at most: their offsets are i32.
const ROW_ID_BYTES_MAX: u64 = 1 << 30;

/// A row of the segment that is being written: its ordinal, where it comes from, and where its cells are.
const ROW_BYTES: u64 = (size_of::<u32>() + size_of::<MergedRow>() + size_of::<Origin>()) as u64;

/// Values on their way, as they are gathered, encoded and appended.
const PIECES_BYTES: u64 = 4 << 20;

impl Merge<'_> {
    /// How much memory it takes, about: it goes by the rows of a segment.
    pub fn memory_bytes(&self) -> u64 {
        let rows: u64 = self.runs.iter().map(|run| u64::from(run.rows.len())).sum();
        rows.min(u64::from(self.segment_rows_max)) * ROW_BYTES + PIECES_BYTES
    }

    /// Writes and publishes the segments, in storage order; none if no row stays. On an error the caller, who gave the
    /// numbers, removes what was written.
    pub fn run(&self) -> Result<Vec<SegmentMeta>> {
        assert!(self.types.is_sorted_by(|a, b| a.0 < b.0), "features are in ascending order");
        let mut written = Vec::new();
        let row_bytes: Vec<u64> = self.runs.iter().map(|run| self.row_bytes(run)).collect();
        let mut entities = self.runs.iter().map(|run| run.rows.entities()).collect::<Result<Vec<_>>>()?;
        let mut heads = BinaryHeap::new();
        let mut ranges = vec![0..0; self.runs.len()];
        let mut advance = |run: usize, heads: &mut BinaryHeap<_>, ranges: &mut Vec<_>| {
            if let Some((ordinal, rows)) = entities[run].next() {
                ranges[run] = rows;
                heads.push(Reverse((ordinal, run)));
            }
        };
        (0..self.runs.len()).for_each(|run| advance(run, &mut heads, &mut ranges));

        let mut pending = Pending::default();
        let mut rows = Vec::new();
        while let Some(&Reverse((ordinal, _))) = heads.peek() {
            rows.clear();
            let mut sources = 0;
            while let Some(&Reverse((next, run))) = heads.peek().filter(|head| head.0.0 == ordinal) {
                debug_assert_eq!(next, ordinal);
                heads.pop();
                let range = ranges[run].clone();
                if let Some(checks) = &self.runs[run].rows.checks {
                    checks.rows(range.clone())?;
                }
                rows.extend(range.map(|row| MergedRow { run: run as u32, row }));
                sources += 1;
                advance(run, &mut heads, &mut ranges);
            }
            if self.erased.contains(ordinal) {
                continue;
            }
            if sources > 1 {
                // A merge sort finds the runs in it, so this is a merge.
                rows.sort_by(|a, b| self.storage_order(a, b));
            }
            self.keep(ordinal, &mut rows)?;
            for &row in &rows {
                let run = &self.runs[row.run as usize];
                let row_id_bytes = run.rows.row_id(row.row).len() as u64;
                if self.is_full(&pending, row_bytes[row.run as usize], row_id_bytes) {
                    written.push(self.write(&pending)?);
                    pending.clear();
                }
                pending.push(ordinal, row, row_bytes[row.run as usize], row_id_bytes);
                if pending.rows.len().is_multiple_of(STEP_ROWS) {
                    (self.throttle)(0);
                }
            }
        }
        if !pending.rows.is_empty() {
            written.push(self.write(&pending)?);
        }
        Ok(written)
    }

    fn is_full(&self, pending: &Pending, row_bytes: u64, row_id_bytes: u64) -> bool {
        !pending.rows.is_empty()
            && (pending.rows.len() >= self.segment_rows_max as usize
                || pending.column_bytes + row_bytes > self.segment_bytes_max
                || pending.row_id_bytes + row_id_bytes > ROW_ID_BYTES_MAX)
    }

    /// The order of two rows of one entity.
    fn storage_order(&self, a: &MergedRow, b: &MergedRow) -> Ordering {
        let (left, right) = (&self.runs[a.run as usize].rows, &self.runs[b.run as usize].rows);
        let (i, j) = (a.row as usize, b.row as usize);
        (right.event_times[j].cmp(&left.event_times[i]))
            .then_with(|| right.row_id(b.row).cmp(left.row_id(a.row)))
            .then_with(|| right.sequence(b.row).cmp(&left.sequence(a.row)))
            .then_with(|| right.places.of(b.row).cmp(&left.places.of(a.row)))
    }

    fn keep(&self, ordinal: u32, rows: &mut Vec<MergedRow>) -> Result<()> {
        let mut keep = vec![true; rows.len()];
        self.filter.keep(ordinal, rows, &mut keep)?;
        let mut keep = keep.into_iter();
        rows.retain(|_| keep.next().unwrap_or(true));
        Ok(())
    }

    /// What a row of `run` adds to its largest column, on average.
    fn row_bytes(&self, run: &Run) -> u64 {
        let columns = run.chunks.iter().flat_map(|chunk| &chunk.columns).filter(|column| !column.is_empty());
        let average = |column: &crate::column::Column| (column.bytes() as u64).div_ceil(u64::from(column.len()));
        columns.map(average).max().unwrap_or(0)
    }

    fn write(&self, pending: &Pending) -> Result<SegmentMeta> {
        let number = (self.next_number)();
        let name = file_name(number);
        let mut meta = None;
        publish_in(self.files, &name, self.write_bytes(pending), |file| {
            let mut writer = SegmentWriter::new(file, number, self.throttle);
            let output = output::Output::new(self.runs, &pending.ordinals, &pending.rows);
            let (described, steps) = output.write(number, &mut writer)?;
            let mut members = Vec::new();
            for (feature, data_type) in self.types {
                self.check_cancelled()?;
                let width = cells::write(*feature, data_type, &output, &mut writer, &|| self.check_cancelled())?;
                members.extend(width.map(|width| Member { feature: *feature, data_type: data_type.clone(), width }));
            }
            strip::write_all(&members, &output, &mut writer, &|| self.check_cancelled())?;
            meta = Some(writer.finish(described, steps)?);
            Ok(())
        })?;
        Ok(meta.expect("a published segment was finished"))
    }

    /// How much of the segment of `pending` is written at once: a small one will be merged again soon.
    fn write_bytes(&self, pending: &Pending) -> usize {
        let cells: usize = self.types.iter().map(|(_, data_type)| fixed_width(data_type).unwrap_or(0)).sum();
        let is_large = pending.rows.len() * cells + pending.row_id_bytes as usize >= LARGE_BYTES;
        if is_large { HUGE_BYTES } else { SHORT_BYTES }
    }

    fn check_cancelled(&self) -> Result<()> {
        if (self.cancelled)() {
            return Err(Error::new(Kind::Unavailable, "the merge was stopped; it will be done again"));
        }
        Ok(())
    }
}

/// Rows of the segment to be written next.
#[derive(Default)]
struct Pending {
    ordinals: Vec<u32>,
    rows: Vec<MergedRow>,
    column_bytes: u64,
    row_id_bytes: u64,
}

impl Pending {
    fn push(&mut self, ordinal: u32, row: MergedRow, column_bytes: u64, row_id_bytes: u64) {
        self.ordinals.push(ordinal);
        self.rows.push(row);
        self.column_bytes += column_bytes;
        self.row_id_bytes += row_id_bytes;
    }

    fn clear(&mut self) {
        self.ordinals.clear();
        self.rows.clear();
        (self.column_bytes, self.row_id_bytes) = (0, 0);
    }
}
