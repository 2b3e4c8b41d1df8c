//! The vectors of `docs/time.md`, read from the page itself: each is put to the oracle alone and, through the Rust
//! API, to the engine in every layout (in memory, flushed, compacted, reopened). The page cannot drift from the code.

use std::collections::BTreeMap;

use crate::notation::{self, Cells, Commits, Read, in_every_layout, split, time, written};
use crate::oracle::{self, Value};
use crate::types::Type;
use crate::world::ask::given;
use crate::world::{Age, Batch, Feature, Shape, World};

const PAGE: &str = include_str!("../../../docs/time.md");
const FEATURES: [&str; 3] = ["x", "y", "z"];
const CELLS: Cells<'static> = Cells { features: &FEATURES, value: &|_, text| value(text) };

/// One line of a table of the page.
#[derive(Debug)]
struct Vector {
    line: String,
    row_ids: bool,
    shape: Shape,
    batches: Vec<(Batch, i64)>,
    reads: Vec<(Read, Answers)>,
}

/// Feature → value (`None` for the default or null) and status.
type Answers = BTreeMap<u32, (Option<Value>, String)>;

fn value(text: &str) -> Option<Value> {
    (text != "null").then(|| Value::Text(text.to_owned()))
}

fn vectors() -> Vec<Vector> {
    notation::lines(PAGE).into_iter().map(vector).collect()
}

fn vector(line: &str) -> Vector {
    let columns = notation::columns(line);
    let [rows, bounds, answers] = columns[..] else { panic!("three columns: {line}") };
    let (row_ids, rows) = match rows.strip_prefix("row ids:") {
        Some(rows) => (true, rows),
        None => (false, rows),
    };
    let mut shape = Shape::default();
    for (id, name) in FEATURES.iter().enumerate() {
        shape.features.push(Feature::plain(id as u32, name, Type::Text));
    }
    let mut commits = Commits::default();
    for item in split(rows, ',') {
        if item.contains('@') {
            commits.row(item, &CELLS);
        } else {
            setting(item, &mut shape);
        }
    }
    let (bounds, answers) = (split(bounds, '/'), split(answers, '/'));
    assert_eq!(bounds.len(), answers.len(), "bounds and answers: {line}");
    let answers = answers.into_iter().map(|answer| expected(answer, &shape));
    let reads = bounds.into_iter().map(Read::parse).zip(answers).collect();
    Vector { line: line.to_owned(), row_ids, shape, batches: commits.batches(), reads }
}

fn setting(item: &str, shape: &mut Shape) {
    let words: Vec<&str> = item.split_whitespace().collect();
    let feature = |name| CELLS.feature(name) as usize;
    match words[..] {
        ["max", "age", age] => shape.max_age = Some(time(age)),
        [name, "max", "age", "none"] => shape.features[feature(name)].max_age = Age::Unlimited,
        [name, "max", "age", age] => shape.features[feature(name)].max_age = Age::Micros(time(age)),
        ["default", text] => shape.features[0].default = value(text),
        _ => panic!("unknown setting {item:?}"),
    }
}

fn expected(answer: &str, shape: &Shape) -> Answers {
    let mut answers = Answers::new();
    for part in split(answer, ',') {
        let (id, text) = match part.split_once(':') {
            Some((name, text)) => (CELLS.feature(name.trim()), text.trim()),
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
        answers.insert(id, (text, status));
    }
    answers
}

#[test]
fn the_oracle_answers_the_vectors() {
    let vectors = vectors();
    assert!(vectors.len() > 60, "{} vectors", vectors.len());
    for vector in &vectors {
        let rows = notation::oracle_rows(&vector.batches);
        for (read, answers) in &vector.reads {
            let bounds = read.bounds();
            for (id, (value, status)) in answers {
                let asked = &vector.shape.features[*id as usize];
                let max_age = vector.shape.max_age_of(asked);
                let answer = oracle::answer(&rows, 0, *id, max_age, &asked.default, &bounds);
                assert_eq!((answer.0, &answer.1), (status.as_str(), value), "{} at {bounds:?}", vector.line);
            }
        }
    }
}

fn ask_all(world: &mut World, vector: &Vector, layout: &str) {
    for (read, answers) in &vector.reads {
        let ask = read.ask(world);
        let answer = world.check(&ask).unwrap_or_else(|error| panic!("{layout}: {}: {error}", vector.line));
        let answer = answer.unwrap_or_else(|| panic!("{layout}: {}: refused {read:?}", vector.line));
        for (id, (value, status)) in answers {
            let given = given(&answer.columns()[*id as usize * 3..*id as usize * 3 + 3], 0);
            assert_eq!((&given.0, &given.1), (status, value), "{layout}: {} at {read:?}", vector.line);
        }
    }
}

#[test]
fn the_engine_answers_the_vectors_in_every_layout() {
    for vector in &vectors() {
        for flush_each in [false, true] {
            let world = written(vector.shape.clone(), vector.row_ids, &vector.batches, flush_each);
            let world = world.unwrap_or_else(|error| panic!("{}: {error}", vector.line));
            in_every_layout(world, |world, layout| ask_all(world, vector, layout));
        }
    }
}
