//! The vectors of `docs/time.md`, read from the page itself: each is put to the oracle alone and, through the Rust
//! API, to the engine in every layout (in memory, flushed, compacted, reopened). The page cannot drift from the code.

use std::collections::BTreeMap;

use firn_storage::model::prove::{EVENT_TIME_MAX, EVENT_TIME_MIN};

use crate::oracle::{self, AsOf, Bounds, Value};
use crate::types::Type;
use crate::world::ask::{Ask, Limit, given};
use crate::world::keys::KeyShape;
use crate::world::{Age, Batch, Deed, Feature, Sent, Setting, Shape, World};

const PAGE: &str = include_str!("../../../docs/time.md");
/// One unit of a vector in microseconds: the least duration that a declaration can spell.
const UNIT: i64 = 1000;
const FEATURES: [&str; 3] = ["x", "y", "z"];

/// One line of a table of the page.
#[derive(Debug)]
struct Vector {
    line: String,
    row_ids: bool,
    shape: Shape,
    batches: Vec<(Batch, i64)>,
    reads: Vec<Read>,
}

#[derive(Debug)]
struct Read {
    as_of: Limit,
    known_at: Limit,
    position: Option<usize>,
    clock: Option<i64>,
    /// Feature → value (`None` for the default or null) and status.
    answers: BTreeMap<u32, (Option<Value>, String)>,
}

fn time(text: &str) -> i64 {
    match text {
        "min" => EVENT_TIME_MIN,
        "max" => EVENT_TIME_MAX,
        "lowest" => i64::MIN,
        "highest" => i64::MAX,
        number => number.parse::<i64>().unwrap_or_else(|_| panic!("{number:?} is not a time")) * UNIT,
    }
}

fn feature(name: &str) -> u32 {
    FEATURES.iter().position(|known| *known == name).unwrap_or_else(|| panic!("unknown feature {name:?}")) as u32
}

fn value(text: &str) -> Option<Value> {
    (text != "null").then(|| Value::Text(text.to_owned()))
}

/// Splits at `separator` outside braces.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut depth = 0;
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if character == separator && depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

fn vectors() -> Vec<Vector> {
    let page = PAGE.split("## Vectors").nth(1).expect("the page has vectors").split("\n## ").next().unwrap_or_default();
    let lines = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| rows |"));
    lines.map(vector).collect()
}

fn vector(line: &str) -> Vector {
    let columns: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [rows, bounds, answers] = columns[..] else { panic!("three columns: {line}") };
    let (row_ids, rows) = match rows.strip_prefix("row ids:") {
        Some(rows) => (true, rows),
        None => (false, rows),
    };
    let mut shape = Shape::default();
    for (id, name) in FEATURES.iter().enumerate() {
        shape.features.push(Feature::plain(id as u32, name, Type::Text));
    }
    let mut commits: BTreeMap<u64, (Batch, i64)> = BTreeMap::new();
    for item in split(rows, ',') {
        if item.contains('@') {
            row(item, &mut commits);
        } else {
            setting(item, &mut shape);
        }
    }
    let (bounds, answers) = (split(bounds, '/'), split(answers, '/'));
    assert_eq!(bounds.len(), answers.len(), "bounds and answers: {line}");
    let reads = bounds.iter().zip(answers).map(|(bounds, answer)| read(bounds, answer, &shape)).collect();
    Vector { line: line.to_owned(), row_ids, shape, batches: commits.into_values().collect(), reads }
}

fn setting(item: &str, shape: &mut Shape) {
    let words: Vec<&str> = item.split_whitespace().collect();
    match words[..] {
        ["max", "age", age] => shape.max_age = Some(time(age)),
        [name, "max", "age", "none"] => shape.features[feature(name) as usize].max_age = Age::Unlimited,
        [name, "max", "age", age] => shape.features[feature(name) as usize].max_age = Age::Micros(time(age)),
        ["default", text] => shape.features[0].default = value(text),
        _ => panic!("unknown setting {item:?}"),
    }
}

/// `event[/rowid]@sequence=cell [ingested at time]`
fn row(item: &str, commits: &mut BTreeMap<u64, (Batch, i64)>) {
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
    let mut cells: BTreeMap<u32, Option<Value>> = BTreeMap::new();
    let deed = match cell {
        "delete" => Deed::Delete,
        "retract" => Deed::Retract,
        _ if cell.starts_with("retract of ") => {
            Deed::RetractCells(cell["retract of ".len()..].split(" and ").map(feature).collect())
        }
        _ => {
            match cell.strip_prefix('{').and_then(|cell| cell.strip_suffix('}')) {
                Some(inner) => {
                    for pair in split(inner, ',') {
                        let (name, text) = pair.split_once('=').unwrap_or_else(|| panic!("no cell in {pair:?}"));
                        cells.insert(feature(name), value(text));
                    }
                }
                None if cell == "absent" => {}
                None => _ = cells.insert(0, value(cell)),
            }
            // A batch has one set of columns; explicit nulls need the columns of their own.
            let nulls_absent = !cells.values().any(Option::is_none);
            Deed::Write {
                columns: if nulls_absent { vec![0, 1, 2] } else { cells.keys().copied().collect() },
                nulls_absent,
            }
        }
    };
    let columns = if let Deed::Write { columns, .. } = &deed { columns.clone() } else { Vec::new() };
    let cells = columns.iter().map(|id| cells.get(id).cloned().flatten()).collect();
    let sent = Sent { entity: 0, event_time: time(event), row_id, cells };
    let ingest_time = ingested.unwrap_or(sequence as i64 * UNIT);
    let fresh =
        || (Batch { table: 0, deed, rows: Vec::new(), ingest_times: None, producer: None, bad_rows: 0 }, ingest_time);
    commits.entry(sequence).or_insert_with(fresh).0.rows.push(sent);
}

fn read(bounds: &str, answer: &str, shape: &Shape) -> Read {
    let cleaned = bounds.replace(',', " ");
    let mut words = cleaned.split_whitespace().peekable();
    let mut read =
        Read { as_of: Limit::Open, known_at: Limit::Open, position: None, clock: None, answers: BTreeMap::new() };
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
    for part in split(answer, ',') {
        let (id, text) = match part.split_once(':') {
            Some((name, text)) => (feature(name.trim()), text.trim()),
            None => (0, part),
        };
        let (text, status) = match text.split_once(" (") {
            Some((text, status)) => (value(text), status.trim_end_matches(')').to_owned()),
            None => match text {
                "never" | "deleted" | "expired" => (shape.features[id as usize].default.clone(), text.to_owned()),
                "null" => (None, "null".to_owned()),
                _ => (value(text), "value".to_owned()),
            },
        };
        read.answers.insert(id, (text, status));
    }
    read
}

/// The rows that a vector's batches become, in the oracle's form.
fn oracle_rows(vector: &Vector) -> Vec<oracle::Row> {
    let mut rows = Vec::new();
    for (at, (batch, ingest_time)) in vector.batches.iter().enumerate() {
        rows.extend(crate::world::data::rows_of(batch, at as u64 + 1, |_| (0, *ingest_time)));
    }
    rows
}

#[test]
fn the_oracle_answers_the_vectors() {
    let vectors = vectors();
    assert!(vectors.len() > 60, "{} vectors", vectors.len());
    for vector in &vectors {
        let rows = oracle_rows(vector);
        for read in &vector.reads {
            let bounds = Bounds {
                as_of: match read.as_of {
                    Limit::At { micros, exclusive: true } => AsOf::Before(micros),
                    Limit::At { micros, exclusive: false } => AsOf::At(micros),
                    _ => AsOf::Open,
                },
                known_at: read.known_at.greatest(),
                position: read.position.map_or(u64::MAX, |ack| ack as u64 + 1),
                clock: read.clock.unwrap_or(100 * UNIT),
            };
            for (id, (value, status)) in &read.answers {
                let asked = &vector.shape.features[*id as usize];
                let max_age = vector.shape.max_age_of(asked);
                let answer = oracle::answer(&rows, 0, *id, max_age, &asked.default, &bounds);
                assert_eq!((answer.0, &answer.1), (status.as_str(), value), "{} at {bounds:?}", vector.line);
            }
        }
    }
}

fn ask_all(world: &mut World, vector: &Vector, layout: &str) {
    for read in &vector.reads {
        let ask = Ask {
            as_of: read.as_of.clone(),
            known_at: read.known_at.clone(),
            position: read.position,
            clock: read.clock,
            ..Ask::latest(world, 1)
        };
        let answer = world.check(&ask).unwrap_or_else(|error| panic!("{layout}: {}: {error}", vector.line));
        let answer = answer.unwrap_or_else(|| panic!("{layout}: {}: refused {read:?}", vector.line));
        for (id, (value, status)) in &read.answers {
            let given = given(&answer.columns()[*id as usize * 3..*id as usize * 3 + 3], 0);
            assert_eq!((&given.0, &given.1), (status, value), "{layout}: {} at {read:?}", vector.line);
        }
    }
}

/// The world of a vector after its rows; with `flush_each`, every batch is a segment of its own.
fn world_of(vector: &Vector, flush_each: bool) -> World {
    let mut world = World::new(Setting::default(), KeyShape::Text).expect("a new world");
    world.create_table("t", vector.row_ids, vector.shape.clone()).expect("a table");
    // Sealing is a commit of its own; the first write would be ingested a microsecond after it.
    world.seal(0).expect("a table that can be sealed");
    for (batch, ingest_time) in &vector.batches {
        world.clock.set(*ingest_time);
        world.apply(batch).unwrap_or_else(|error| panic!("{}: {error}", vector.line));
        if flush_each {
            world.flush(None).unwrap_or_else(|error| panic!("{}: {error}", vector.line));
        }
    }
    world.clock.set(100 * UNIT);
    world
}

#[test]
fn the_engine_answers_the_vectors_in_every_layout() {
    for vector in &vectors() {
        for flush_each in [false, true] {
            let mut world = world_of(vector, flush_each);
            ask_all(&mut world, vector, "as written");
            world.reopen().expect("reopen");
            ask_all(&mut world, vector, "reopened");
            world.flush(None).expect("flush");
            ask_all(&mut world, vector, "flushed");
            world.compact(None).expect("compact");
            ask_all(&mut world, vector, "compacted");
            world.crash(7).expect("crash");
            ask_all(&mut world, vector, "after a crash");
        }
    }
}
