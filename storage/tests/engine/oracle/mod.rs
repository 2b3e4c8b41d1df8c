//! The brute-force oracle: the rule of time, read word by word, over plain structs. It shares no code with the engine
//! and cares for nothing but being plainly right; `docs/time.md` explains the rule, and `docs/aggregates.md` that of
//! aggregates.

use std::collections::BTreeMap;

pub mod aggregate;
pub mod function;
pub mod number;
pub mod order;

/// Floats are their bits as a double: NaN equals itself and the zeros differ. A decimal is its unscaled integer, a time its
/// microseconds, a bool 0 or 1. A struct is the list of its cells, a map that of its entries, each a list of key and value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Int(i128),
    Float(u64),
    Text(String),
    List(Vec<Option<Value>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Write,
    Delete,
    Retract,
    RetractCells,
}

/// `cells` holds a written cell: a value or an explicit null; an absent cell is not in it.
#[derive(Debug, Clone)]
pub struct Row {
    pub entity: usize,
    pub event_time: i64,
    pub row_id: Option<i64>,
    pub sequence: u64,
    pub place: u32,
    pub ingest_time: i64,
    pub kind: Kind,
    pub cells: BTreeMap<u32, Option<Value>>,
    pub retracted: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AsOf {
    Open,
    At(i64),
    Before(i64),
}

/// What a read may see, and the clock that ages are measured from when neither T nor S is a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    pub as_of: AsOf,
    pub known_at: Option<i64>,
    pub position: u64,
    pub clock: i64,
}

/// Status, value (`None` is null) and the event time of the winner.
pub type Answer = (&'static str, Option<Value>, Option<i64>);

/// The visible rows of `entity` in the order of the rule: the one that counts first comes first.
fn visible<'a>(rows: &'a [Row], entity: usize, bounds: &Bounds) -> Vec<&'a Row> {
    let within = |row: &&Row| {
        let before = match bounds.as_of {
            AsOf::Open => true,
            AsOf::At(time) => row.event_time <= time,
            AsOf::Before(time) => row.event_time < time,
        };
        let known = bounds.known_at.is_none_or(|time| row.ingest_time <= time);
        row.entity == entity && before && known && row.sequence <= bounds.position
    };
    let mut seen: Vec<&Row> = rows.iter().filter(within).collect();
    seen.sort_by_key(|row| std::cmp::Reverse((row.event_time, row.row_id, row.sequence, row.place)));
    seen
}

/// Whether a newer row at the same event time hides `row`, or its cell of `feature`.
fn hidden(seen: &[&Row], row: &Row, feature: Option<u32>) -> bool {
    seen.iter().filter(|other| other.event_time == row.event_time).any(|other| {
        let same = other.row_id == row.row_id;
        let names = feature.is_some_and(|feature| other.retracted.contains(&feature));
        (other.sequence, other.place) > (row.sequence, row.place)
            && match other.kind {
                Kind::Write => false,
                Kind::Retract => same,
                Kind::RetractCells => same && names && row.kind == Kind::Write,
                Kind::Delete => row.kind == Kind::Write && !hidden(seen, other, None),
            }
    })
}

pub fn answer(
    rows: &[Row],
    entity: usize,
    feature: u32,
    max_age: Option<i64>,
    default: &Option<Value>,
    bounds: &Bounds,
) -> Answer {
    let seen = visible(rows, entity, bounds);
    for row in &seen {
        if row.kind == Kind::Delete && !hidden(&seen, row, None) {
            return ("deleted", default.clone(), None);
        }
        let Some(cell) = row.cells.get(&feature).filter(|_| !hidden(&seen, row, Some(feature))) else { continue };
        let from = match (bounds.as_of, bounds.known_at) {
            (AsOf::At(time) | AsOf::Before(time), _) => time,
            (AsOf::Open, known_at) => known_at.unwrap_or(bounds.clock),
        };
        let age = i128::from(from) - i128::from(row.event_time);
        return match cell {
            _ if max_age.is_some_and(|max_age| age > i128::from(max_age)) => {
                ("expired", default.clone(), Some(row.event_time))
            }
            Some(value) => ("value", Some(value.clone()), Some(row.event_time)),
            None => ("null", None, Some(row.event_time)),
        };
    }
    ("never", default.clone(), None)
}

/// The event times of the rows that make `entity` appear in a scan without history: its standing rows newer than its
/// newest delete.
pub fn standing(rows: &[Row], entity: usize, bounds: &Bounds) -> Vec<i64> {
    let seen = visible(rows, entity, bounds);
    let stands = |row: &&&Row| !hidden(&seen, row, None);
    let deleted = seen.iter().filter(stands).filter(|row| row.kind == Kind::Delete).map(|row| row.event_time).max();
    let writes = seen.iter().filter(stands).filter(|row| row.kind == Kind::Write).map(|row| row.event_time);
    writes.filter(|time| deleted.is_none_or(|deleted| *time >= deleted)).collect()
}
