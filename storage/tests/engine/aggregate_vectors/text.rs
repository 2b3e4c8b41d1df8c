//! The notation of aggregates and of their answers: words to the oracle's aggregates, texts to values of a type.

use arrow_schema::DataType;

use crate::notation::{split, time};
use crate::oracle::aggregate::{Aggregate, By, Column, Test, Window};
use crate::oracle::function::{Function, OutOfRange, Pick, Quantiles, SumType};
use crate::oracle::number::QUIET_NAN;
use crate::oracle::{Answer, Value};
use crate::types::Type;
use crate::world::Shape;

/// The window of an aggregate that names none.
const WINDOW: &str = "10";

/// The id of a feature.
pub fn feature(name: &str, shape: &Shape) -> u32 {
    let known = shape.features.iter().find(|feature| feature.name == name);
    known.unwrap_or_else(|| panic!("unknown feature {name:?}")).id
}

/// The type of a feature.
pub fn kind(text: &str) -> Type {
    let types =
        [Type::Bool, Type::Int8, Type::Int64, Type::Uint64, Type::Float32, Type::Float64, Type::Text, Type::Decimal];
    let named = types.into_iter().find(|kind| kind.spelled() == text);
    named.unwrap_or_else(|| panic!("unknown type {text:?}"))
}

/// The items of `[a, b]`, or of what other brackets hold.
fn items(text: &str, brackets: [char; 2]) -> Vec<&str> {
    let inner = text.strip_prefix(brackets[0]).and_then(|text| text.strip_suffix(brackets[1]));
    let inner = inner.unwrap_or_else(|| panic!("{text:?} is not in {brackets:?}"));
    if inner.is_empty() { Vec::new() } else { split(inner, ',') }
}

/// A cell of this type; none if it is null.
pub fn cell(text: &str, kind: &DataType) -> Option<Value> {
    if text == "null" {
        return None;
    }
    Some(match kind {
        DataType::Boolean => Value::Int(text.parse::<bool>().unwrap_or_else(|_| panic!("{text:?} is no bool")).into()),
        DataType::Int8 | DataType::Int64 | DataType::UInt64 => Value::Int(integer(text)),
        DataType::Float32 => Value::Float(f64::from(float(text) as f32).to_bits()),
        DataType::Float64 => Value::Float(float(text).to_bits()),
        DataType::Utf8 => Value::Text(text.to_owned()),
        DataType::Timestamp(..) => Value::Int(time(text).into()),
        DataType::Decimal128(_, scale) => {
            let (_, places) = text.split_once('.').unwrap_or((text, ""));
            assert_eq!(places.len(), *scale as usize, "the places of {text:?}");
            Value::Int(integer(&text.replace('.', "")))
        }
        DataType::List(item) => {
            Value::List(items(text, ['[', ']']).into_iter().map(|text| cell(text, item.data_type())).collect())
        }
        DataType::Struct(fields) => {
            let named = text.starts_with('{');
            let texts = items(text, if named { ['{', '}'] } else { ['(', ')'] });
            assert_eq!(texts.len(), fields.len(), "the fields of {text:?}");
            let cells = texts.into_iter().zip(fields).map(|(text, field)| {
                let (name, text) = if named { entry(text) } else { (field.name().as_str(), text) };
                assert_eq!(name, field.name(), "a field of {text:?}");
                cell(text, field.data_type())
            });
            Value::List(cells.collect())
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(fields) = entries.data_type() else { panic!("the entries of a map are structs") };
            let entries = items(text, ['{', '}']).into_iter().map(|text| {
                let (key, text) = entry(text);
                Some(Value::List(vec![cell(key, fields[0].data_type()), cell(text, fields[1].data_type())]))
            });
            Value::List(entries.collect())
        }
        other => panic!("no vector has a value of type {other}"),
    })
}

fn entry(text: &str) -> (&str, &str) {
    let (key, text) = text.split_once(':').unwrap_or_else(|| panic!("no key in {text:?}"));
    (key.trim(), text.trim())
}

fn integer(text: &str) -> i128 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no integer"))
}

fn float(text: &str) -> f64 {
    match (text, text.strip_prefix("NaN#")) {
        ("NaN", _) => f64::from_bits(QUIET_NAN),
        (_, Some(bits)) => f64::from_bits(QUIET_NAN | integer(bits) as u64),
        ("MAX", _) => f64::MAX,
        ("-MAX", _) => f64::MIN,
        _ => text.parse().unwrap_or_else(|_| panic!("{text:?} is no float")),
    }
}

/// What is answered, or that the answer is out of the range of its type.
#[derive(Debug)]
pub enum Expected {
    OutOfRange,
    Answer { status: &'static str, value: Option<Value>, event_time: Option<i64> },
}

const STATUSES: [&str; 5] = ["value", "null", "expired", "deleted", "never"];

impl Expected {
    /// `value [(status)] [at event time]`
    pub fn parse(text: &str, kind: &DataType) -> Self {
        let (text, event_time) = match text.rsplit_once(" at ") {
            Some((text, event_time)) => (text, Some(time(event_time))),
            None => (text, None),
        };
        let named = STATUSES.iter().find_map(|status| Some((text.strip_suffix(&format!(" ({status})"))?, *status)));
        let (text, status) = named.unwrap_or((text, if text == "–" { "never" } else { "value" }));
        match text {
            "OUT_OF_RANGE" => Self::OutOfRange,
            "forgotten" => Self::Answer { status: "forgotten", value: None, event_time },
            "–" => Self::Answer { status, value: None, event_time },
            _ => Self::Answer { status, value: cell(text, kind), event_time },
        }
    }

    /// Whether `answer` is this one. An event time that the page does not give is there exactly if something
    /// contributed.
    pub fn is(&self, answer: &Result<Answer, OutOfRange>) -> bool {
        match (self, answer) {
            (Self::OutOfRange, Err(OutOfRange)) => true,
            (Self::Answer { status, value, event_time }, Ok(answer)) => {
                let timed = match event_time {
                    Some(_) => *event_time == answer.2,
                    None => answer.2.is_some() == matches!(*status, "value" | "null" | "expired"),
                };
                *status == answer.0 && *value == answer.1 && timed
            }
            _ => false,
        }
    }
}

/// The aggregate that `text` spells.
pub fn aggregate(text: &str, name: &str, shape: &Shape) -> Aggregate {
    let words: Vec<&str> = split(text, ' ').into_iter().filter(|word| !word.is_empty()).collect();
    let mut words = words.into_iter().peekable();
    let function_name = words.next().expect("an aggregate has a function");
    let parameter =
        if matches!(function_name, "percentile" | "linear" | "top_k" | "histogram") { words.next() } else { None };
    let mut aggregate = Aggregate {
        name: name.to_owned(),
        function: Function::Count,
        of: if function_name == "count" { Vec::new() } else { vec![Column::Feature(0)] },
        scale: 0,
        conditions: Vec::new(),
        by: None,
        windows: vec![Window::Duration(time(WINDOW))],
        delay: 0,
        default: None,
    };
    let (mut pick, mut as_decimal, mut default) = (Pick::default(), false, None);
    while let Some(word) = words.next() {
        let mut next = || words.next().unwrap_or_else(|| panic!("{text:?} ends early"));
        match word {
            "of" => aggregate.of = columns(next(), shape),
            "n" => pick.n = Some(next().parse().expect("n is a number")),
            "distinct" => pick.distinct = true,
            "nulls" => pick.keep_nulls = next() == "keep",
            "as" => as_decimal = next() == "decimal128(38, 0)",
            "where" | "and" => aggregate.conditions.push(condition(&mut next, shape)),
            "by" => aggregate.by = Some(By { feature: feature(next(), shape), keys: None }),
            "keys" => {
                let by = aggregate.by.as_mut().expect("keys stand behind by");
                let kind = shape.features[by.feature as usize].kind.data_type();
                let keys = items(next(), ['[', ']']).into_iter();
                by.keys = Some(keys.map(|text| cell(text, &kind).expect("a key is not null")).collect());
            }
            "lifetime" => aggregate.windows = vec![Window::Lifetime],
            "window" => aggregate.windows = vec![Window::Duration(time(next()))],
            "session" => aggregate.windows = vec![Window::Session { gap: time(next()) }],
            "delay" => aggregate.delay = time(next()),
            "default" => default = Some(next()),
            _ => panic!("unknown word {word:?} in {text:?}"),
        }
    }
    let input = match aggregate.of[..] {
        [Column::Feature(feature)] => Some(shape.features[feature as usize].kind),
        _ => None,
    };
    aggregate.scale = if input == Some(Type::Decimal) { 2 } else { 0 };
    aggregate.function = function(function_name, parameter, pick, as_decimal, input);
    aggregate.default = default.and_then(|text| cell(text, &aggregate.data_type_of_one(shape)));
    aggregate
}

fn columns(text: &str, shape: &Shape) -> Vec<Column> {
    let names = if text.starts_with('[') { items(text, ['[', ']']) } else { vec![text] };
    let column = |name| match name {
        "at" => Column::EventTime,
        "id" => Column::RowId,
        _ => Column::Feature(feature(name, shape)),
    };
    names.into_iter().map(column).collect()
}

fn condition<'a>(next: &mut impl FnMut() -> &'a str, shape: &Shape) -> (u32, Test) {
    let id = feature(next(), shape);
    let kind = shape.features[id as usize].kind.data_type();
    let value = |text: &str| cell(text, &kind).expect("a condition compares with a value");
    let values = |text: &str| items(text, ['[', ']']).into_iter().map(value).collect();
    let test = match next() {
        "=" => Test::Is(value(next())),
        "!=" => Test::IsNot(value(next())),
        "<" => Test::Less(value(next())),
        "<=" => Test::LessOrEqual(value(next())),
        ">" => Test::Greater(value(next())),
        ">=" => Test::GreaterOrEqual(value(next())),
        "in" => Test::In(values(next())),
        "not" => {
            assert_eq!(next(), "in");
            Test::NotIn(values(next()))
        }
        "is" => match next() {
            "null" => Test::Null(true),
            word => {
                assert_eq!((word, next()), ("not", "null"));
                Test::Null(false)
            }
        },
        word => panic!("unknown condition {word:?}"),
    };
    (id, test)
}

fn function(name: &str, parameter: Option<&str>, pick: Pick, as_decimal: bool, input: Option<Type>) -> Function {
    let quantiles = || match parameter.expect("a percentile has a q") {
        many if many.starts_with('[') => {
            Quantiles::Many(items(many, ['[', ']']).into_iter().map(str::to_owned).collect())
        }
        one => Quantiles::One(one.to_owned()),
    };
    match name {
        "count" => Function::Count,
        "sum" => Function::Sum(match input.expect("a sum has one input") {
            _ if as_decimal => SumType::Decimal { precision: 38 },
            Type::Decimal => SumType::Decimal { precision: 38 },
            Type::Float32 | Type::Float64 => SumType::Float64,
            Type::Uint64 => SumType::Uint64,
            _ => SumType::Int64,
        }),
        "avg" => Function::Avg,
        "var_pop" => Function::VarPop,
        "var_samp" => Function::VarSamp,
        "stddev_pop" => Function::StddevPop,
        "stddev_samp" => Function::StddevSamp,
        "min" => Function::Min,
        "max" => Function::Max,
        "first" => Function::First(pick),
        "last" => Function::Last(pick),
        "count_distinct" => Function::CountDistinct,
        "percentile" => Function::Percentile { q: quantiles(), linear: false },
        "linear" => Function::Percentile { q: quantiles(), linear: true },
        "top_k" => Function::TopK(parameter.and_then(|k| k.parse().ok()).expect("top_k has a k")),
        "histogram" => {
            let kind = input.expect("a histogram has one input").data_type();
            let edges = items(parameter.expect("a histogram has edges"), ['[', ']']).into_iter();
            Function::Histogram(edges.map(|edge| cell(edge, &kind).expect("an edge is not null")).collect())
        }
        _ => panic!("unknown function {name:?}"),
    }
}
