//! An answer as a table for people: numbers to the right, NULL by its name, and a bound on how much is drawn.

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, DurationFormat, FormatOptions};
use arrow_schema::{ArrowError, Schema};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Row, Table, presets};

use crate::print::count;

/// Rows that are drawn; more is no reading for people.
const ROWS_DRAWN_MAX: usize = 1000;
/// A column narrower than this shows nothing: rows of more columns are drawn one below the other.
const COLUMN_WIDTH_MIN: usize = 8;

/// A table that is being drawn.
#[derive(Debug)]
pub(super) struct Drawing {
    table: Table,
    width: Option<u16>,
    rows: u64,
}

impl Drawing {
    /// A table of these columns, cut to `width` if there is one.
    pub(super) fn new(schema: &Schema, width: Option<u16>) -> Self {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(schema.fields().iter().map(|field| Cell::new(plain(field.name()))));
        for (column, field) in table.column_iter_mut().zip(schema.fields()) {
            if field.data_type().is_numeric() {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self { table, width, rows: 0 }
    }

    /// Adds rows; those beyond the bound are only counted.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let options = FormatOptions::new().with_null("NULL").with_duration_format(DurationFormat::Pretty);
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let left = ROWS_DRAWN_MAX - self.table.row_count();
        for row in 0..batch.num_rows().min(left) {
            let cell = |column: &ArrayFormatter<'_>| Ok(Cell::new(plain(&column.value(row).try_to_string()?)));
            let mut drawn = Row::from(columns.iter().map(cell).collect::<Result<Vec<_>, ArrowError>>()?);
            drawn.max_height(1);
            self.table.add_row(drawn);
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// The table, and below it how many rows are not drawn.
    pub(super) fn finish(mut self) -> String {
        let columns = self.table.column_count();
        // A column has a line and two blanks beside it.
        let natural: usize =
            self.table.column_max_content_widths().into_iter().map(|width| usize::from(width) + 3).sum();
        let drawn = match self.width.map(usize::from).filter(|width| natural >= *width) {
            Some(width) if columns * COLUMN_WIDTH_MIN > width => one_below_the_other(&self.table, width),
            Some(_) => {
                self.table.set_content_arrangement(ContentArrangement::Dynamic);
                self.width.map(|width| self.table.set_width(width));
                self.table.to_string()
            }
            None => self.table.to_string(),
        };
        match self.rows - self.table.row_count() as u64 {
            0 => drawn,
            more => format!("{drawn}\n… {} more rows; use --format csv", count(more)),
        }
    }
}

/// The rows of `table` as lines of names and values, none longer than `width`.
fn one_below_the_other(table: &Table, width: usize) -> String {
    let names: Vec<String> = table.header().into_iter().flat_map(Row::cell_iter).map(Cell::content).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let mut lines = Vec::new();
    for (number, row) in table.row_iter().enumerate() {
        lines.push(format!("─ row {} {}", number + 1, "─".repeat(longest)));
        for (name, cell) in names.iter().zip(row.cell_iter()) {
            let line = format!("{name:<longest$} │ {}", cell.content());
            lines.push(match line.char_indices().nth(width) {
                Some(_) => line.chars().take(width - 1).chain(['…']).collect(),
                None => line,
            });
        }
    }
    lines.join("\n")
}

/// `text` on one line, without what a terminal would obey.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter.is_control() {
            true => plain.extend(letter.escape_default()),
            false => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray};

    use super::*;

    fn batch(names: Vec<Option<&str>>, temperatures: Vec<Option<f64>>) -> RecordBatch {
        let names: ArrayRef = Arc::new(StringArray::from(names));
        let temperatures: ArrayRef = Arc::new(Float64Array::from(temperatures));
        RecordBatch::try_from_iter_with_nullable([("name", names, true), ("temp", temperatures, true)]).unwrap()
    }

    fn drawn(batches: &[RecordBatch], width: Option<u16>) -> String {
        let mut drawing = Drawing::new(batches[0].schema_ref(), width);
        batches.iter().for_each(|batch| drawing.add(batch).unwrap());
        drawing.finish()
    }

    #[test]
    fn numbers_stand_right_and_null_is_told() {
        let rows = batch(vec![Some("Newark"), None], vec![Some(39.5), Some(-100.0)]);
        let expected = "\
┌────────┬────────┐
│ name   ┆   temp │
╞════════╪════════╡
│ Newark ┆   39.5 │
│ NULL   ┆ -100.0 │
└────────┴────────┘";
        assert_eq!(drawn(&[rows], None), expected);
    }

    #[test]
    fn wide_values_are_cut_to_the_terminal_alone() {
        let long = "a long text ".repeat(20);
        let rows = batch(vec![Some(&long), Some("two\nlines\u{1b}[31m")], vec![None, None]);
        let cut = drawn(std::slice::from_ref(&rows), Some(40));
        assert!(cut.lines().all(|line| line.chars().count() <= 40), "{cut}");
        assert!(cut.contains('…') && cut.contains(r"two\nlines\u{1b}[31m") && cut.lines().count() == 6, "{cut}");
        assert!(drawn(&[rows], None).contains(long.trim()));
    }

    #[test]
    fn many_columns_stand_one_below_the_other() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1_234_567_890_123), None]));
        let names: Vec<String> = (1..=11).map(|number| format!("n{number}")).collect();
        let rows = RecordBatch::try_from_iter(names.iter().map(|name| (name, Arc::clone(&numbers)))).unwrap();
        let text = drawn(std::slice::from_ref(&rows), Some(80));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 24, "{text}");
        assert_eq!((lines[0], lines[1], lines[23]), ("─ row 1 ───", "n1  │ 1234567890123", "n11 │ NULL"));
        assert!(drawn(&[rows], None).starts_with('┌'));
    }

    #[test]
    fn what_is_not_drawn_is_counted() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..700));
        let rows = RecordBatch::try_from_iter([("number", numbers)]).unwrap();
        let text = drawn(&[rows.clone(), rows.clone(), rows], None);
        assert!(text.ends_with("… 1,100 more rows; use --format csv"), "{text}");
        assert_eq!(text.lines().count(), 1000 + 4 + 1);
    }
}
