//! The vectors of `docs/aggregates.md`, read from the page itself and put to the oracle. A vector holds what a world
//! needs to put it to an engine too: batches, the shape of the table, and aggregates that can be declared.

mod engine;
mod text;

use serde_json::json;

use crate::notation::{self, Cells, Commits, Read, UNIT, split, time};
use crate::oracle::aggregate::{self, Aggregate};
use crate::oracle::function::OutOfRange;
use crate::oracle::{self, Answer, Row};
use crate::types::Type;
use crate::world::{Age, Batch, Deed, Feature, Sent, Shape};
use text::{Expected, aggregate, cell};

const PAGE: &str = include_str!("../../../../docs/aggregates.md");
const FEATURES: [&str; 3] = ["x", "y", "k"];

/// One line of a table of the page.
#[derive(Debug)]
struct Vector {
    line: String,
    row_ids: bool,
    shape: Shape,
    batches: Vec<(Batch, i64)>,
    /// The sequence at which the entity is erased.
    erased: Option<u64>,
    /// Rows up to this event time may be gone.
    kept_from: Option<i64>,
    asked: Vec<Asked>,
    /// Each with an answer for each of `asked`.
    reads: Vec<(Read, Vec<Expected>)>,
}

#[derive(Debug)]
enum Asked {
    Feature(u32),
    Aggregate(Box<Aggregate>),
}

fn vectors() -> Vec<Vector> {
    notation::lines(PAGE).into_iter().map(vector).collect()
}

fn shape() -> Shape {
    let types = [Type::Float64, Type::Float64, Type::Text].into_iter();
    let features = FEATURES.iter().zip(types).zip(0..);
    Shape { features: features.map(|((name, kind), id)| Feature::plain(id, name, kind)).collect(), ..Shape::default() }
}

fn vector(line: &str) -> Vector {
    let columns = notation::columns(line);
    let [rows, aggregates, bounds, answers] = columns[..] else { panic!("four columns: {line}") };
    let (settings, rows, row_ids) = match rows.split_once("row ids:") {
        Some((settings, rows)) => (settings, rows, true),
        None => ("", rows, false),
    };
    let (mut shape, mut commits, mut erased, mut kept_from) = (shape(), Commits::default(), None, None);
    let (rows, settings): (Vec<&str>, Vec<&str>) = split(settings, ',')
        .into_iter()
        .chain(split(rows, ','))
        .filter(|item| !item.is_empty())
        .partition(|item| item.contains('@') || item.starts_with("values "));
    for item in settings {
        match item.strip_prefix("kept after ") {
            Some(text) => kept_from = Some(time(text)),
            None => setting(item, &mut shape),
        }
    }
    for item in rows {
        if let Some(sequence) = item.strip_prefix("erase@") {
            erased = Some(sequence.parse().expect("sequences are integers"));
        } else if let Some(list) = item.strip_prefix("values ") {
            values(list, &shape, &mut commits);
        } else {
            let value = |id: u32, text: &str| cell(text, &shape.features[id as usize].kind.data_type());
            commits.row(item, &Cells { features: &FEATURES, value: &value });
        }
    }
    let named = |(at, text): (usize, &str)| match text.strip_prefix("feature ") {
        Some(name) => Asked::Feature(text::feature(name, &shape)),
        None => Asked::Aggregate(Box::new(aggregate(text, &format!("a{at}"), &shape))),
    };
    let asked: Vec<Asked> = split(aggregates, ';').into_iter().enumerate().map(named).collect();
    let (bounds, answers) = (split(bounds, '/'), split(answers, '/'));
    assert_eq!(bounds.len(), answers.len(), "bounds and answers: {line}");
    let answers = answers.into_iter().map(|answers| {
        let answers = split(answers, ';');
        assert_eq!(answers.len(), asked.len(), "aggregates and answers: {line}");
        asked.iter().zip(answers).map(|(asked, text)| Expected::parse(text, &asked.data_type(&shape))).collect()
    });
    let reads = bounds.into_iter().map(Read::parse).zip(answers).collect();
    Vector { line: line.to_owned(), row_ids, batches: commits.batches(), erased, kept_from, asked, reads, shape }
}

/// The type of a feature, or its max age.
fn setting(item: &str, shape: &mut Shape) {
    let (name, text) = item.split_once(' ').unwrap_or_else(|| panic!("unknown setting {item:?}"));
    let feature = text::feature(name, shape) as usize;
    match text.strip_prefix("max age ") {
        Some(age) => shape.features[feature].max_age = Age::Micros(time(age)),
        None => shape.features[feature].kind = text::kind(text),
    }
}

/// A batch of rows with these cells of the first feature, a microsecond apart.
fn values(list: &str, shape: &Shape, commits: &mut Commits) {
    let mut cells = Vec::new();
    for word in list.split_whitespace() {
        let value = |text: &str| cell(text, &shape.features[0].kind.data_type());
        let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("{word:?} is no run of values"));
        match (word.split_once('*'), word.split_once("..")) {
            (Some((text, times)), _) => cells.extend(std::iter::repeat_n(value(text), number(times))),
            (None, Some((first, last))) => {
                cells.extend((number(first)..=number(last)).map(|at| value(&at.to_string())));
            }
            (None, None) => cells.push(value(word)),
        }
    }
    let count = cells.len() as i64;
    for (cell, later) in cells.into_iter().zip(1..) {
        let sent = Sent { entity: 0, event_time: 10 * UNIT - count + later, row_id: None, cells: vec![cell] };
        commits.push(1, None, Deed::Write { columns: vec![0], nulls_absent: false }, sent);
    }
}

impl Vector {
    /// The rows that are left, in the oracle's form.
    fn oracle_rows(&self) -> Vec<Row> {
        let mut rows = notation::oracle_rows(&self.batches);
        rows.retain(|row| self.erased.is_none_or(|erased| row.sequence > erased));
        rows
    }

    fn oracle_answer(&self, rows: &[Row], asked: &Asked, read: &Read) -> Result<Answer, OutOfRange> {
        match asked {
            Asked::Feature(id) => {
                let feature = &self.shape.features[*id as usize];
                let max_age = self.shape.max_age_of(feature);
                Ok(oracle::answer(rows, 0, *id, max_age, &feature.default, &read.bounds()))
            }
            Asked::Aggregate(asked) => {
                aggregate::answer(rows, 0, asked, asked.windows[0], &read.bounds(), self.kept_from)
            }
        }
    }
}

impl Asked {
    fn data_type(&self, shape: &Shape) -> arrow_schema::DataType {
        match self {
            Asked::Feature(id) => shape.features[*id as usize].kind.data_type(),
            Asked::Aggregate(aggregate) => aggregate.data_type(shape),
        }
    }
}

#[test]
fn the_oracle_answers_the_vectors_of_aggregates() {
    let vectors = vectors();
    assert!(vectors.len() > 100, "{} vectors", vectors.len());
    let mut wrong = Vec::new();
    for vector in &vectors {
        let rows = vector.oracle_rows();
        assert!(vector.row_ids || rows.iter().all(|row| row.row_id.is_none()), "row ids: {}", vector.line);
        for (read, expected) in &vector.reads {
            for (place, (asked, expected)) in vector.asked.iter().zip(expected).enumerate() {
                let answer = vector.oracle_answer(&rows, asked, read);
                if !expected.is(&answer) {
                    let bounds = read.bounds();
                    wrong.push(format!("{}\n  {place} at {bounds:?}:\n  {answer:?}, not {expected:?}", vector.line));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn aggregates_are_declared_as_the_page_says() {
    let mut shape = shape();
    shape.features.push(Feature::plain(3, "d", Type::Decimal));
    let declared = |text: &str| aggregate(text, "a", &shape).declaration(&shape);
    let cases = [
        ("count", json!({"name": "a", "function": "count", "windows": ["10ms"]})),
        (
            "sum of y where k = p and y > 0 and y <= 2.5 lifetime default 0",
            json!({"name": "a", "function": "sum", "of": "y", "where": {"k": "p", "y": {"gt": 0.0, "le": 2.5}},
                "windows": ["lifetime"], "default": 0.0}),
        ),
        (
            "count of x where k in [p, s] and x is not null and y is null and d != 0.10",
            json!({"name": "a", "function": "count", "of": "x", "where": {"k": {"in": ["p", "s"]},
                "x": {"is_null": false}, "y": {"is_null": true}, "d": {"ne": "0.10"}}, "windows": ["10ms"]}),
        ),
        (
            "percentile 0.95",
            json!({"name": "a", "function": "percentile", "of": "x", "q": "0.95", "windows": ["10ms"]}),
        ),
        (
            "linear [0, 0.5] window 7",
            json!({"name": "a", "function": "percentile", "of": "x", "q": ["0", "0.5"], "interpolation": "linear",
                "windows": ["7ms"]}),
        ),
        (
            "last of [x, at, id] n 50 distinct nulls keep session 30",
            json!({"name": "a", "function": "last", "of": ["x", "at", "id"], "n": 50, "distinct": true, "nulls": "keep",
                "windows": [{"session": "30ms"}]}),
        ),
        (
            "count by k keys [p, s] delay 7 default 3",
            json!({"name": "a", "function": "count", "by": "k", "keys": ["p", "s"], "windows": ["10ms"],
                "delay": "7ms", "default": 3}),
        ),
        (
            "min of d default 1.25",
            json!({"name": "a", "function": "min", "of": "d", "windows": ["10ms"], "default": "1.25"}),
        ),
        ("top_k 5 of k", json!({"name": "a", "function": "top_k", "of": "k", "k": 5, "windows": ["10ms"]})),
        (
            "histogram [0, 0.5] of y",
            json!({"name": "a", "function": "histogram", "of": "y", "edges": [0.0, 0.5], "windows": ["10ms"]}),
        ),
    ];
    for (text, json) in cases {
        assert_eq!(declared(text), json, "{text}");
    }
    let names = |text: &str| aggregate(text, "n", &shape).answer_names();
    assert_eq!(names("count session 30"), ["n_session_30ms"]);
    assert_eq!(names("count window 30"), ["n_30ms"]);
    assert_eq!(names("count lifetime"), ["n_lifetime"]);
}

#[test]
fn a_sum_as_a_decimal_is_declared_with_its_type() {
    let mut shape = shape();
    shape.features[0].kind = Type::Int64;
    let declared = |text: &str| aggregate(text, "a", &shape).declaration(&shape);
    let plain = json!({"name": "a", "function": "sum", "of": "x", "windows": ["10ms"]});
    assert_eq!(declared("sum"), plain);
    let mut typed = plain;
    typed["type"] = json!("decimal128(38, 0)");
    assert_eq!(declared("sum as decimal128(38, 0)"), typed);
}
