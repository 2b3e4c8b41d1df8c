//! The rows that cannot be stored: which, in which column, why.
//!
//! Marking a row costs a bit; a reason is written only for as many as are reported.

use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};

use super::BadRow;
use crate::error::Error;

/// The most bad rows that a report lists.
pub const BAD_ROWS_REPORTED_MAX: usize = 1000;
/// The most bad rows that the refusal of a batch lists.
pub const BAD_ROWS_LISTED_MAX: usize = 100;

/// The bad rows found so far.
#[derive(Debug)]
pub(super) struct BadRows {
    rows: usize,
    marks: Option<BooleanBufferBuilder>,
    listed: Vec<BadRow>,
    count: u64,
}

impl BadRows {
    /// No row of `rows` is bad.
    pub(super) fn new(rows: usize) -> Self {
        Self { rows, marks: None, listed: Vec::new(), count: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether `row` was found bad before.
    pub(super) fn is_bad(&self, row: usize) -> bool {
        self.marks.as_ref().is_some_and(|marks| marks.get_bit(row))
    }

    /// Marks `rows`, in order, as bad in `column`. Call it once per column and kind of fault.
    pub(super) fn add(
        &mut self,
        column: &str,
        rows: impl Iterator<Item = usize>,
        mut reason: impl FnMut(usize) -> String,
    ) {
        for (nth, row) in rows.enumerate() {
            let marks = self.marks.get_or_insert_with(|| {
                let mut marks = BooleanBufferBuilder::new(self.rows);
                marks.append_n(self.rows, false);
                marks
            });
            marks.set_bit(row, true);
            self.count += 1;
            // The first rows of every column are kept, so that the first rows of all columns are among them.
            if nth < BAD_ROWS_REPORTED_MAX {
                self.listed.push(BadRow { row: row as u32, column: column.to_owned(), reason: reason(row) });
            }
        }
    }

    /// The rows that are not bad; `None` if all are.
    pub(super) fn good_rows(&self) -> Option<BooleanBuffer> {
        self.marks.as_ref().map(|marks| {
            let marked = BooleanBuffer::new(arrow_buffer::Buffer::from(marks.as_slice()), 0, self.rows);
            !&marked
        })
    }

    /// The first bad rows by row, and how many there are.
    pub(super) fn report(mut self) -> (Vec<BadRow>, u64) {
        // The sort is stable: within a row the columns stay in the order in which they were checked.
        self.listed.sort_by_key(|bad| bad.row);
        self.listed.truncate(BAD_ROWS_REPORTED_MAX);
        (self.listed, self.count)
    }

    /// The error that refuses a batch because of them.
    pub(super) fn refusal(self, table: &str) -> Error {
        let some_good = self.good_rows().is_some_and(|good| good.count_set_bits() > 0);
        let (listed, count) = self.report();
        let shown: Vec<String> = listed
            .iter()
            .take(BAD_ROWS_LISTED_MAX)
            .map(|bad| format!("row {}, column `{}`: {}", bad.row, bad.column, bad.reason))
            .collect();
        let what = if count == 1 { "1 bad row".to_owned() } else { format!("{count} bad rows") };
        let more = if count > shown.len() as u64 {
            format!("; and {} more", count - shown.len() as u64)
        } else {
            String::new()
        };
        let mend = if some_good { " (\"bad_rows\":\"report\" applies the good ones)" } else { "" };
        Error::invalid(format!(
            "table `{table}`: {what}, so that nothing of the batch is applied{mend}: {}{more}",
            shown.join("; ")
        ))
    }
}
