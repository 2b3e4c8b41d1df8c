//! What the word at the cursor may become: backslash commands, tables, columns, keywords.

use std::collections::BTreeSet;

use super::answer::AnswerFormat;
use super::backslash::COMMANDS;
use super::session::Names;
use super::splitter::{is_word, split, words};

/// Keywords behind which a table is named.
const BEFORE_TABLE: [&str; 6] = ["FROM", "JOIN", "INTO", "TABLE", "DESCRIBE", "DESC"];

/// Words that are written often; the server knows more.
const KEYWORDS: &str = "ADD ALTER AND AS ASC ASOF AS_OF AVG BETWEEN BIGINT BOOLEAN BY CALL CASE CAST CHANGES COLUMN COMMENT \
    COUNT CREATE DATE DEFAULT DELETE DESC DESCRIBE DISTINCT DOUBLE DROP ELSE END EXISTS EXPLAIN FALSE FOR FROM FULL GROUP \
    HAVING HISTORY IN INNER INSERT INT INTERVAL INTO IS JOIN KEY LEFT LIKE LIMIT MATCH_CONDITION MAX MIN NOT NULL OF OFFSET \
    ON OR ORDER OUTER OVER PARTITION PRIMARY REAL RENAME RESET RIGHT SEAL_TABLE SELECT SET SHOW SUM SYSTEM_TIME TABLE TABLES \
    THEN TIMESTAMP TRUE UNION USING VALID_TIME VALUES VARCHAR WHEN WHERE WITH";

/// Where the last word of `before` begins, and what it may become. `after` is what stands behind the cursor.
pub(super) fn candidates(before: &str, after: &str, names: &Names) -> (usize, Vec<String>) {
    let start = before.trim_end_matches(is_word).len();
    let (head, word) = before.split_at(start);
    let cut = split(head);
    let line = head.rsplit('\n').next().unwrap_or_default();
    let found = match (cut.open, cut.rest, line.strip_prefix('\\')) {
        // The functions of moments take a table as text.
        (Some("quote"), ..) if head.ends_with("('") => names.tables.keys().cloned().collect(),
        (Some(_), ..) => BTreeSet::new(),
        (None, None, Some(command)) => after_backslash(command, names),
        (None, rest, _) => in_statement(rest.map_or("", |rest| rest.text), word, after, names),
    };
    let begun = word.to_lowercase();
    (start, found.into_iter().filter(|name| name.trim_matches('"').to_lowercase().starts_with(&begun)).collect())
}

fn after_backslash(command: &str, names: &Names) -> BTreeSet<String> {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    match command.trim_end() {
        "" => COMMANDS.iter().map(|(name, ..)| (*name).to_owned()).collect(),
        "d" => names.tables.keys().map(|table| quoted(table)).collect(),
        "format" => texts(&AnswerFormat::NAMES),
        "timing" => texts(&["on", "off"]),
        _ => BTreeSet::new(),
    }
}

/// What `word` may become behind `head`, which is the statement up to it.
fn in_statement(head: &str, word: &str, after: &str, names: &Names) -> BTreeSet<String> {
    let written = words(head);
    let tables = names.tables.keys().map(|table| quoted(table));
    match written[..] {
        [.., owner, "."] => return columns([owner_of(owner, &written, names)].into_iter(), names),
        [.., last] if BEFORE_TABLE.contains(&last.to_uppercase().as_str()) => return tables.collect(),
        // Everything would be no help.
        _ if word.is_empty() => return BTreeSet::new(),
        _ => {}
    }
    let mut known = columns(written.iter().copied().chain(words(after)), names);
    if known.is_empty() {
        known = columns(names.tables.keys().map(String::as_str), names);
    }
    let is_lower = word.contains(char::is_lowercase);
    let keywords = KEYWORDS.split_whitespace().map(|word| if is_lower { word.to_lowercase() } else { word.to_owned() });
    tables.chain(known).chain(keywords).collect()
}

/// The table that `owner` stands for: the one that it is an alias of, or itself.
fn owner_of<'a>(owner: &'a str, written: &[&'a str], names: &Names) -> &'a str {
    let before = |at: usize| if written[at - 1].eq_ignore_ascii_case("as") { at.saturating_sub(2) } else { at - 1 };
    let aliases = (1..written.len() - 2).filter(|&at| written[at] == owner).map(|at| written[before(at)]);
    aliases.into_iter().find(|table| columns_of(table, names).is_some()).unwrap_or(owner)
}

fn columns_of<'a>(table: &str, names: &'a Names) -> Option<&'a Vec<String>> {
    names.tables.get(&table.to_lowercase())
}

/// The columns of those of `tables` that there are.
fn columns<'a>(tables: impl Iterator<Item = &'a str>, names: &Names) -> BTreeSet<String> {
    tables.filter_map(|table| columns_of(table, names)).flatten().map(|column| quoted(column)).collect()
}

/// A name as SQL takes it.
fn quoted(name: &str) -> String {
    let is_plain = name.chars().all(|letter| is_word(letter) && !letter.is_uppercase());
    match is_plain && !name.starts_with(char::is_numeric) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(before: &str, after: &str) -> Vec<String> {
        let table =
            |name: &str, columns: &[&str]| (name.to_owned(), columns.iter().map(|&name| name.to_owned()).collect());
        let tables = [
            table("weather", &["origin", "observed", "temp"]),
            table("flights", &["carrier", "tail", "Gate"]),
            table("Web Log", &["path"]),
        ];
        candidates(before, after, &Names { tables: tables.into_iter().collect() }).1
    }

    #[test]
    fn tables_follow_the_words_that_ask_for_them() {
        assert_eq!(of("SELECT * FROM ", ""), ["\"Web Log\"", "flights", "weather"]);
        assert_eq!(of("SELECT 1; select * from we", ""), ["\"Web Log\"", "weather"]);
        assert_eq!(of("SELECT * FROM history('w", ""), ["Web Log", "weather"]);
        assert_eq!(of("\\d fl", ""), ["flights"]);
    }

    #[test]
    fn columns_are_those_of_what_is_mentioned() {
        assert_eq!(of("SELECT te", " FROM weather"), ["temp"]);
        assert_eq!(of("SELECT ta", ""), ["table", "tables", "tail"]);
        assert_eq!(of("SELECT weather.", ""), ["observed", "origin", "temp"]);
        assert_eq!(of("SELECT 1 FROM weather w JOIN flights AS f ON w.o", ""), ["observed", "origin"]);
        assert_eq!(of("SELECT 1 FROM weather w JOIN flights AS f\n ON f.g", ""), ["\"Gate\""]);
        assert_eq!(of("SELECT 'a te", ""), Vec::<String>::new());
    }

    #[test]
    fn keywords_and_commands_are_as_they_are_begun() {
        assert_eq!(of("SEL", ""), ["SELECT"]);
        assert_eq!(of("sel", ""), ["select"]);
        assert_eq!(of("SELECT 1;\n\\form", ""), ["format"]);
        assert_eq!(of("\\format c", ""), ["csv"]);
        assert_eq!(of("SELECT 1 ", ""), Vec::<String>::new());
        assert_eq!(candidates("\\ti", "", &Names::default()), (1, vec!["timing".to_owned()]));
    }
}
