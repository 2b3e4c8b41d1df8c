//! Proving all rows of an import before any is sent, by the rule by which the server proves them: so that every row that it
//! would refuse is written down first, whatever happens later, and a file that is to be mended has changed nothing.
//!
//! Not everything is known here: the server alone knows of blocked entities, and has the last word.

use std::collections::{BTreeMap, HashMap};

use arrow_buffer::BooleanBuffer;
use firn_storage::model::catalog::Catalog;
use firn_storage::model::prove::{BadRow, examine};
use firn_storage::time::Micros;

use super::bad_rows::BadRowsFile;
use super::history::{Reading, Staged};
use super::source::name_of;
use super::{Origin, Result};
use crate::service::convert::write_request;

/// Reasons that a message tells, at most.
const TOLD_MAX: usize = 20;

/// What was found wrong with the files.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// By the number of the piece, from 1: its good rows, where not all are.
    pub(crate) good: HashMap<u64, BooleanBuffer>,
    /// How many rows cannot be stored.
    pub(crate) refused: u64,
    /// By column and kind of reason, in the order in which they were met.
    reasons: Vec<Reason>,
    known: BTreeMap<(String, String), usize>,
}

/// Rows that are bad for like reasons.
#[derive(Debug)]
struct Reason {
    column: String,
    /// That of the first.
    text: String,
    first: Origin,
    count: u64,
}

/// Proves everything that `reading` reads against `catalog`, at `now`, and writes what is bad to `file`.
pub(crate) fn check(
    reading: &Reading,
    catalog: &Catalog,
    now: Micros,
    mut file: Option<&mut BadRowsFile>,
) -> Result<Checked> {
    let (mut checked, mut pieces, mut failed) = (Checked::default(), 0, Ok(()));
    reading.read(&mut |staged| {
        pieces += 1;
        failed = checked.piece(pieces, &staged, catalog, now, file.as_deref_mut());
        failed.is_ok()
    })?;
    failed?;
    if let Some(file) = file {
        file.sync()?;
    }
    Ok(checked)
}

impl Checked {
    fn piece(
        &mut self,
        number: u64,
        (piece, unread): &Staged,
        catalog: &Catalog,
        now: Micros,
        file: Option<&mut BadRowsFile>,
    ) -> Result<()> {
        for unread in unread {
            self.note(&unread.column, &unread.reason, unread.origin);
        }
        self.refused += unread.len() as u64;
        let request = write_request(&piece.put);
        let found = examine(catalog, &request, &piece.batch, now).map_err(|error| error.to_string())?;
        let by_row = by_row(&found.bad_rows);
        for (&row, bad) in &by_row {
            bad.iter().for_each(|bad| self.note(&bad.column, &bad.reason, piece.origins[row as usize]));
        }
        self.refused += by_row.len() as u64;
        if let Some(file) = file {
            file.unread(unread)?;
            by_row.iter().try_for_each(|(&row, bad)| file.refused(piece, row, bad, BadRowsFile::BY_CHECK))?;
        }
        if let Some(good) = found.good {
            self.good.insert(number, good);
        }
        Ok(())
    }

    fn note(&mut self, column: &str, reason: &str, origin: Origin) {
        let next = self.reasons.len();
        let place = *self.known.entry((column.to_owned(), kind(reason))).or_insert(next);
        if place == next {
            self.reasons.push(Reason { column: column.to_owned(), text: reason.to_owned(), first: origin, count: 0 });
        }
        self.reasons[place].count += 1;
    }

    /// What is wrong, a line for each reason.
    pub(crate) fn told(&self, reading: &Reading) -> String {
        let line = |reason: &Reason| {
            let source = &reading.sources[reason.first.file];
            let (file, place) = (name_of(source.location.path()), source.format.place(reason.first.row));
            let column = if reason.column.is_empty() { String::new() } else { format!("column {}: ", reason.column) };
            let more =
                if reason.count > 1 { format!(", and {} more like it", reason.count - 1) } else { String::new() };
            format!("  {file}, {place}: {column}{}{more}", reason.text)
        };
        let mut lines: Vec<String> = self.reasons.iter().take(TOLD_MAX).map(line).collect();
        if self.reasons.len() > TOLD_MAX {
            lines.push(format!("  and {} other reasons", self.reasons.len() - TOLD_MAX));
        }
        lines.join("\n")
    }
}

/// The bad columns of each bad row.
pub(crate) fn by_row(bad_rows: &[BadRow]) -> BTreeMap<u32, Vec<&BadRow>> {
    let mut by_row: BTreeMap<u32, Vec<&BadRow>> = BTreeMap::new();
    bad_rows.iter().for_each(|bad| by_row.entry(bad.row).or_default().push(bad));
    by_row
}

/// A reason without the values in it: what has a digit or stands in quotes.
fn kind(reason: &str) -> String {
    let value = |word: &str| word.contains(['"', '`']) || word.bytes().any(|byte| byte.is_ascii_digit());
    let mut words: Vec<&str> = reason.split(' ').map(|word| if value(word) { "…" } else { word }).collect();
    words.dedup();
    // A value of several words stands before what is said of it.
    let said = words.iter().position(|word| matches!(*word, "is" | "does" | "has" | "lies")).unwrap_or(0);
    words[said..].join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_their_values_are_one() {
        let kinds = ["\"many\" is no int64", "\"a few\" is no int64", "12 does not fit int8", "-1.5 does not fit int8"];
        let kinds = kinds.map(kind);
        assert_eq!(kinds, ["is no …", "is no …", "does not fit …", "does not fit …"]);
        assert_eq!(kind("a key is never null"), "is never null");
    }
}
