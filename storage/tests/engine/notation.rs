//! The notation of the vectors in the pages about time: times, bounds and rows, read from the text of a table.

use std::collections::BTreeMap;

use firn_storage::model::prove::{EVENT_TIME_MAX, EVENT_TIME_MIN};

use crate::oracle::{AsOf, Bounds, Row, Value};
use crate::world::ask::{Ask, Limit};
use crate::world::data::rows_of;
use crate::world::keys::KeyShape;
use crate::world::{Batch, Deed, Outcome, Sent, Setting, Shape, World};

/// One unit of a vector in microseconds: the least duration that a declaration can spell.
pub const UNIT: i64 = 1000;
/// The clock of a read that does not give one.
pub const CLOCK: i64 = 100 * UNIT;

/// The lines of the tables under "## Vectors" of a page.
pub fn lines(page: &str) -> Vec<&str> {
    let vectors = page.split("## Vectors").nth(1).expect("the page has vectors");
    let vectors = vectors.split("\n## ").next().unwrap_or_default();
    vectors.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| rows |")).collect()
}

/// The cells of a line of a table.
pub fn columns(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

/// Splits at `separator` outside brackets.
pub fn split(text: &str, separator: char) -> Vec<&str> {
    let mut depth = 0;
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, character) in text.char_indices() {
        match character {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            _ if character == separator && depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + character.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

pub fn time(text: &str) -> i64 {
    match text {
        "min" => EVENT_TIME_MIN,
        "max" => EVENT_TIME_MAX,
        "lowest" => i64::MIN,
        "highest" => i64::MAX,
        number => number.parse::<i64>().unwrap_or_else(|_| panic!("{number:?} is not a time")) * UNIT,
    }
}

/// The bounds of a read.
#[derive(Debug)]
pub struct Read {
    as_of: Limit,
    known_at: Limit,
    position: Option<usize>,
    clock: Option<i64>,
}

impl Read {
    pub fn parse(bounds: &str) -> Self {
        let cleaned = bounds.replace(',', " ");
        let mut words = cleaned.split_whitespace().peekable();
        let mut read = Self { as_of: Limit::Open, known_at: Limit::Open, position: None, clock: None };
        while let Some(word) = words.next() {
            let mut next = || words.next().unwrap_or_else(|| panic!("{bounds:?} ends early"));
            match word {
                "open" => {}
                "T" => match next() {
                    "open" => {}
                    micros => {
                        let exclusive = words.next_if_eq(&"exclusive").is_some();
                        read.as_of = Limit::At { micros: time(micros), exclusive };
                    }
                },
                "S" => match next() {
                    "=" => {
                        assert_eq!(next(), "time", "{bounds:?}");
                        read.known_at = Limit::At { micros: time(next()), exclusive: false };
                    }
                    ack => read.position = Some(ack.parse::<usize>().expect("S n counts acknowledgements") - 1),
                },
                "clock" => read.clock = Some(time(next())),
                _ => panic!("unknown bound {word:?} in {bounds:?}"),
            }
        }
        read
    }

    /// What the oracle is asked.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            as_of: match self.as_of {
                Limit::At { micros, exclusive: true } => AsOf::Before(micros),
                Limit::At { micros, exclusive: false } => AsOf::At(micros),
                _ => AsOf::Open,
            },
            known_at: self.known_at.greatest(),
            position: self.position.map_or(u64::MAX, |ack| ack as u64 + 1),
            clock: self.clock.unwrap_or(CLOCK),
        }
    }

    /// What the engine is asked.
    pub fn ask(&self, world: &World) -> Ask {
        Ask {
            as_of: self.as_of.clone(),
            known_at: self.known_at.clone(),
            position: self.position,
            clock: self.clock,
            ..Ask::latest(world, 1)
        }
    }
}

/// How the cells of a vector's rows are read: a plain cell is of the first feature.
pub struct Cells<'a> {
    pub features: &'a [&'a str],
    pub value: &'a dyn Fn(u32, &str) -> Option<Value>,
}

impl Cells<'_> {
    /// The id of a feature.
    pub fn feature(&self, name: &str) -> u32 {
        let known = self.features.iter().position(|known| *known == name);
        known.unwrap_or_else(|| panic!("unknown feature {name:?}")) as u32
    }

    /// What `cell` does, and the cells that it writes.
    fn deed(&self, cell: &str) -> (Deed, BTreeMap<u32, Option<Value>>) {
        let mut cells: BTreeMap<u32, Option<Value>> = BTreeMap::new();
        match cell {
            "delete" => return (Deed::Delete, cells),
            "retract" => return (Deed::Retract, cells),
            "absent" => {}
            _ => {
                match (cell.strip_prefix("retract of "), cell.strip_prefix('{').and_then(|cell| cell.strip_suffix('}')))
                {
                    (Some(names), _) => {
                        return (
                            Deed::RetractCells(names.split(" and ").map(|name| self.feature(name)).collect()),
                            cells,
                        );
                    }
                    (None, Some(inner)) => {
                        for pair in split(inner, ',') {
                            let (name, text) = pair.split_once('=').unwrap_or_else(|| panic!("no cell in {pair:?}"));
                            let feature = self.feature(name);
                            cells.insert(feature, (self.value)(feature, text));
                        }
                    }
                    (None, None) => _ = cells.insert(0, (self.value)(0, cell)),
                }
            }
        }
        // A batch has one set of columns; explicit nulls need the columns of their own.
        let nulls_absent = !cells.values().any(Option::is_none);
        let all = || (0..self.features.len() as u32).collect();
        let columns = if nulls_absent { all() } else { cells.keys().copied().collect() };
        (Deed::Write { columns, nulls_absent }, cells)
    }
}

/// The batches of a vector by their sequences, each with its ingest time.
#[derive(Debug, Default)]
pub struct Commits(BTreeMap<u64, (Batch, i64)>);

impl Commits {
    /// Takes in `event[/rowid]@sequence=cell [ingested at time]`.
    pub fn row(&mut self, item: &str, cells: &Cells<'_>) {
        let (item, ingested) = match item.split_once(" ingested at ") {
            Some((item, ingested)) => (item, Some(time(ingested))),
            None => (item, None),
        };
        let (place, cell) = item.split_once('=').unwrap_or_else(|| panic!("no cell in {item:?}"));
        let (identity, sequence) = place.split_once('@').unwrap_or_else(|| panic!("no sequence in {item:?}"));
        let (event, row_id) = match identity.split_once('/') {
            Some((event, row_id)) => (event, Some(row_id.parse().expect("row ids are integers"))),
            None => (identity, None),
        };
        let sequence: u64 = sequence.parse().expect("sequences are integers");
        let (deed, written) = cells.deed(cell);
        let columns = if let Deed::Write { columns, .. } = &deed { columns.clone() } else { Vec::new() };
        let sent = columns.iter().map(|id| written.get(id).cloned().flatten()).collect();
        let sent = Sent { entity: 0, event_time: time(event), row_id, cells: sent };
        self.push(sequence, ingested, deed, sent);
    }

    /// Adds a row to the batch of a sequence; the first row says what the batch does.
    pub fn push(&mut self, sequence: u64, ingested: Option<i64>, deed: Deed, sent: Sent) {
        let ingest_time = ingested.unwrap_or(sequence as i64 * UNIT);
        let batch = |deed| Batch { table: 0, deed, rows: Vec::new(), ingest_times: None, producer: None, bad_rows: 0 };
        self.0.entry(sequence).or_insert_with(|| (batch(deed), ingest_time)).0.rows.push(sent);
    }

    /// The batches in the order of their sequences.
    pub fn batches(self) -> Vec<(Batch, i64)> {
        self.0.into_values().collect()
    }
}

/// The rows that `batches` become, in the oracle's form.
pub fn oracle_rows(batches: &[(Batch, i64)]) -> Vec<Row> {
    let numbered = batches.iter().zip(1..);
    numbered.flat_map(|((batch, ingest_time), sequence)| rows_of(batch, sequence, |_| (0, *ingest_time))).collect()
}

/// A world with a table of `shape` into which `batches` were written; with `flush_each`, every one is a segment of its own.
pub fn written(shape: Shape, row_ids: bool, batches: &[(Batch, i64)], flush_each: bool) -> Outcome<World> {
    let mut world = World::new(Setting::default(), KeyShape::Text)?;
    world.create_table("t", row_ids, shape)?;
    // Sealing is a commit of its own; the first write would be ingested a microsecond after it.
    world.seal(0)?;
    for (batch, ingest_time) in batches {
        world.clock.set(*ingest_time);
        world.apply(batch)?;
        if flush_each {
            world.flush(None)?;
        }
    }
    Ok(world)
}

/// Calls `ask` with `world` in every layout that its rows can have.
pub fn in_every_layout(mut world: World, mut ask: impl FnMut(&mut World, &str)) {
    world.clock.set(CLOCK);
    ask(&mut world, "as written");
    world.reopen().expect("reopen");
    ask(&mut world, "reopened");
    world.flush(None).expect("flush");
    ask(&mut world, "flushed");
    world.compact(None).expect("compact");
    ask(&mut world, "compacted");
    world.crash(7).expect("crash");
    ask(&mut world, "after a crash");
}
