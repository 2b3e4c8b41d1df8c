//! The rows that cannot be stored: which, in which column, why.
//!
//! Marking a row costs a bit; a reason is written only for as many as are reported.

use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};

use crate::error::Error;

/// The most bad rows that a report lists.
pub const BAD_ROWS_REPORTED_MAX: usize = 1000;
/// The most bad rows that the refusal of a batch lists.
pub const BAD_ROWS_LISTED_MAX: usize = 100;

/// A row that cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// The row, counted from 0 in the batch as sent.
    pub row: u32,
    /// The column that is wrong.
    pub column: String,
    /// Why.
    pub reason: String,
}

/// The bad rows found so far: at most one entry for a row and column, and one for every column of a row that is wrong.
#[derive(Debug)]
pub(super) struct BadRows {
    rows: usize,
    /// The columns in which rows are bad, in the order in which they were found, and the rows of each.
    columns: Vec<(String, BooleanBufferBuilder)>,
    listed: Vec<BadRow>,
    listed_max: usize,
    count: u64,
}

impl BadRows {
    /// No row of `rows` is bad; of those that will be, at most `listed_max` are listed.
    pub(super) fn new(rows: usize, listed_max: usize) -> Self {
        Self { rows, columns: Vec::new(), listed: Vec::new(), listed_max, count: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether `row` was found bad in `column` before.
    pub(super) fn is_bad(&self, row: usize, column: &str) -> bool {
        self.columns.iter().any(|(known, marks)| known == column && marks.get_bit(row))
    }

    /// Marks `rows`, in order, as bad in `column`; the first reason for a row and column counts. Call it once per column
    /// and kind of fault.
    pub(super) fn add(
        &mut self,
        column: &str,
        rows: impl Iterator<Item = usize>,
        mut reason: impl FnMut(usize) -> String,
    ) {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return;
        }
        let place = self.columns.iter().position(|(known, _)| known == column).unwrap_or_else(|| {
            let mut marks = BooleanBufferBuilder::new(self.rows);
            marks.append_n(self.rows, false);
            self.columns.push((column.to_owned(), marks));
            self.columns.len() - 1
        });
        let marks = &mut self.columns[place].1;
        let mut listed = 0;
        for row in rows {
            if marks.get_bit(row) {
                continue;
            }
            marks.set_bit(row, true);
            self.count += 1;
            // The first rows of every column are kept, so that the first rows of all columns are among them.
            if listed < self.listed_max {
                listed += 1;
                self.listed.push(BadRow { row: row as u32, column: column.to_owned(), reason: reason(row) });
            }
        }
    }

    /// The rows that are not bad in any column; `None` if all are.
    pub(super) fn good_rows(&self) -> Option<BooleanBuffer> {
        let marked = |(_, marks): &(String, BooleanBufferBuilder)| {
            BooleanBuffer::new(arrow_buffer::Buffer::from(marks.as_slice()), 0, self.rows)
        };
        let bad = self.columns.iter().map(marked).reduce(|left, right| &left | &right);
        bad.map(|bad| !&bad)
    }

    /// The first bad rows by row, and how many there are.
    pub(super) fn report(mut self) -> (Vec<BadRow>, u64) {
        // The sort is stable: within a row the columns stay in the order in which they were checked.
        self.listed.sort_by_key(|bad| bad.row);
        self.listed.truncate(self.listed_max);
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
        let error = Error::invalid(format!(
            "table `{table}`: {what}, so that nothing of the batch is applied{mend}: {}{more}",
            shown.join("; ")
        ));
        match listed.first() {
            Some(first) => error.of_column(&first.column).of_row(first.row as usize),
            None => error,
        }
    }
}
