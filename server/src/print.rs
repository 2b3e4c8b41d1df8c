//! What commands print: aligned tables for people, JSON for machines.

use std::io::Write;

use clap::{Arg, ArgAction};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{BinaryBytes, HumanCount};
use serde_json::Value;

/// `--json`.
pub(crate) fn json_flag() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON, for machines")
}

/// Prints a line. A closed pipe is no reason to end in a panic.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A number with thousands apart.
pub(crate) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// A number of bytes in a unit that leaves at most four digits.
pub(crate) fn bytes(number: u64) -> String {
    BinaryBytes(number).to_string()
}

/// An aligned table without borders; the columns `numbers` are aligned right.
pub(crate) fn table(header: &[&str], numbers: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for &number in numbers {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// The text of a JSON value in a cell: nothing for null, strings without quotes, lists with commas.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Number(number) => number.as_u64().map_or_else(|| number.to_string(), count),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Object(_) => value.to_string(),
    }
}

/// The objects under `key` as a table of `fields`.
pub(crate) fn list(answer: &Value, key: &str, fields: &[(&str, &str)], numbers: &[usize]) -> String {
    let header: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let row = |item: &Value| fields.iter().map(|(_, field)| cell(&item[*field])).collect();
    table(&header, numbers, answer[key].as_array().into_iter().flatten().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([5, 2048, 3 << 30].map(bytes), ["5 B", "2.00 KiB", "3.00 GiB"]);
    }

    #[test]
    fn tables_are_aligned() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["longer".to_owned(), "1,000".to_owned()]];
        let text = table(&["name", "rows"], &[1], rows);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
    }
}
