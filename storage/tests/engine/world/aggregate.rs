//! How the aggregates of the oracle are declared: their JSON, the names of their answers and the types of these.

use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};
use serde_json::{Value as Json, json};

use super::Shape;
use super::data::duration;
use crate::oracle::Value;
use crate::oracle::aggregate::{Aggregate, By, Column, Test, Window};
use crate::oracle::function::{Function, Pick, Quantiles, SumType};
use crate::types::Type;

/// The columns of every table of a world.
const EVENT_TIME: &str = "at";
const ROW_ID: &str = "id";

impl Window {
    fn declaration(self) -> Json {
        match self {
            Window::Duration(micros) => duration(micros),
            Window::Lifetime => json!("lifetime"),
            Window::Session { gap } => json!({"session": duration(gap)}),
        }
    }

    /// How the name of an answer ends.
    fn spelled(self) -> String {
        let spelled = |micros| duration(micros).as_str().expect("durations are text").to_owned();
        match self {
            Window::Duration(micros) => spelled(micros),
            Window::Lifetime => "lifetime".to_owned(),
            Window::Session { gap } => format!("session_{}", spelled(gap)),
        }
    }
}

impl Aggregate {
    /// The names of the answers, one for each window.
    pub fn answer_names(&self) -> Vec<String> {
        self.windows.iter().map(|window| format!("{}_{}", self.name, window.spelled())).collect()
    }

    /// The features that it reads.
    pub fn features(&self) -> impl Iterator<Item = u32> {
        let of = self.of.iter().filter_map(|column| match column {
            Column::Feature(feature) => Some(*feature),
            Column::EventTime | Column::RowId => None,
        });
        of.chain(self.conditions.iter().map(|(feature, _)| *feature)).chain(self.by.iter().map(|by| by.feature))
    }

    /// How far before the moment that is asked for its windows reach, µs.
    pub fn reach(&self) -> i64 {
        let reach = |window: &Window| match window {
            Window::Duration(micros) => micros + self.delay,
            Window::Lifetime | Window::Session { .. } => i64::MAX,
        };
        self.windows.iter().map(reach).max().unwrap_or(0)
    }

    /// The declaration in a table of this shape.
    pub fn declaration(&self, shape: &Shape) -> Json {
        let mut declared = json!({"name": self.name, "function": self.function_name()});
        let names: Vec<&str> = self.of.iter().map(|column| column_name(*column, shape)).collect();
        match names[..] {
            [] => {}
            [name] => declared["of"] = json!(name),
            _ => declared["of"] = json!(names),
        }
        self.declare_function(shape, &mut declared);
        if !self.conditions.is_empty() {
            declared["where"] = conditions(&self.conditions, shape);
        }
        if let Some(By { feature, keys }) = &self.by {
            declared["by"] = json!(shape.feature(*feature).expect("a live feature").name);
            let kind = type_of(*feature, shape);
            if let Some(keys) = keys {
                declared["keys"] = keys.iter().map(|key| kind.json(key)).collect();
            }
        }
        declared["windows"] = self.windows.iter().map(|window| window.declaration()).collect();
        if self.delay > 0 {
            declared["delay"] = duration(self.delay);
        }
        if let Some(default) = &self.default {
            declared["default"] = match (default, self.data_type_of_one(shape)) {
                (Value::Int(default), DataType::Int64) => json!(*default as i64),
                (Value::Float(_), _) => Type::Float64.json(default),
                _ => self.input(shape).expect("the answer has the type of an input").json(default),
            };
        }
        declared
    }

    fn function_name(&self) -> &'static str {
        match self.function {
            Function::Count => "count",
            Function::Sum(_) => "sum",
            Function::Avg => "avg",
            Function::VarPop => "var_pop",
            Function::VarSamp => "var_samp",
            Function::StddevPop => "stddev_pop",
            Function::StddevSamp => "stddev_samp",
            Function::Min => "min",
            Function::Max => "max",
            Function::First(_) => "first",
            Function::Last(_) => "last",
            Function::CountDistinct => "count_distinct",
            Function::Percentile { .. } => "percentile",
            Function::TopK(_) => "top_k",
            Function::Histogram(_) => "histogram",
        }
    }

    /// Adds the parameters of the function.
    fn declare_function(&self, shape: &Shape, declared: &mut Json) {
        match &self.function {
            Function::First(Pick { n, distinct, keep_nulls }) | Function::Last(Pick { n, distinct, keep_nulls }) => {
                if let Some(n) = n {
                    declared["n"] = json!(n);
                }
                if *distinct {
                    declared["distinct"] = json!(true);
                }
                if *keep_nulls {
                    declared["nulls"] = json!("keep");
                }
            }
            Function::Percentile { q, linear } => {
                declared["q"] = match q {
                    Quantiles::One(q) => json!(q),
                    Quantiles::Many(many) => json!(many),
                };
                if *linear {
                    declared["interpolation"] = json!("linear");
                }
            }
            Function::TopK(k) => declared["k"] = json!(k),
            Function::Histogram(edges) => {
                let kind = self.input(shape).expect("a histogram has an input");
                declared["edges"] = edges.iter().map(|edge| kind.json(edge)).collect();
            }
            Function::Sum(SumType::Decimal { precision }) if self.scale == 0 => {
                declared["type"] = json!(format!("decimal128({precision}, 0)"));
            }
            _ => {}
        }
    }

    /// The type of the one feature that the function is of.
    fn input(&self, shape: &Shape) -> Option<Type> {
        match self.of[..] {
            [Column::Feature(feature)] => Some(type_of(feature, shape)),
            _ => None,
        }
    }

    /// The type of an answer.
    pub fn data_type(&self, shape: &Shape) -> DataType {
        let one = self.data_type_of_one(shape);
        let Some(By { feature, keys }) = &self.by else { return one };
        let kind = type_of(*feature, shape);
        match keys {
            None => {
                let entry = vec![Field::new("keys", kind.data_type(), false), Field::new("values", one, true)];
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry.into()), false)), true)
            }
            Some(keys) => {
                let name = |key: &Value| match kind.json(key) {
                    Json::String(text) => text,
                    other => other.to_string(),
                };
                DataType::Struct(keys.iter().map(|key| Field::new(name(key), one.clone(), true)).collect())
            }
        }
    }

    /// The type of what the function answers, for a single key where there is `by`.
    pub fn data_type_of_one(&self, shape: &Shape) -> DataType {
        let cell = || match self.of[..] {
            [column] => column_type(column, shape),
            _ => {
                let field =
                    |column: &Column| Field::new(column_name(*column, shape), column_type(*column, shape), true);
                DataType::Struct(self.of.iter().map(field).collect())
            }
        };
        match &self.function {
            Function::Count | Function::CountDistinct | Function::Sum(SumType::Int64) => DataType::Int64,
            Function::Sum(SumType::Uint64) => DataType::UInt64,
            Function::Sum(SumType::Decimal { precision }) => DataType::Decimal128(*precision as u8, self.scale as i8),
            Function::Sum(SumType::Float64)
            | Function::Avg
            | Function::VarPop
            | Function::VarSamp
            | Function::StddevPop
            | Function::StddevSamp => DataType::Float64,
            Function::Min | Function::Max => cell(),
            Function::First(pick) | Function::Last(pick) => {
                if pick.n.is_some() {
                    list(cell())
                } else {
                    cell()
                }
            }
            Function::Percentile { q, linear } => {
                let one = if *linear { DataType::Float64 } else { cell() };
                if matches!(q, Quantiles::Many(_)) { list(one) } else { one }
            }
            Function::TopK(_) => {
                let pair = vec![Field::new("value", cell(), true), Field::new("count", DataType::Int64, true)];
                list(DataType::Struct(pair.into()))
            }
            Function::Histogram(_) => list(DataType::Int64),
        }
    }
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

fn type_of(feature: u32, shape: &Shape) -> Type {
    shape.feature(feature).expect("a live feature").kind
}

fn column_name(column: Column, shape: &Shape) -> &str {
    match column {
        Column::Feature(feature) => &shape.feature(feature).expect("a live feature").name,
        Column::EventTime => EVENT_TIME,
        Column::RowId => ROW_ID,
    }
}

fn column_type(column: Column, shape: &Shape) -> DataType {
    match column {
        Column::Feature(feature) => type_of(feature, shape).data_type(),
        Column::EventTime => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Column::RowId => DataType::Int64,
    }
}

/// Feature → value, or an object of tests; all of them are to be passed.
fn conditions(conditions: &[(u32, Test)], shape: &Shape) -> Json {
    let mut declared = json!({});
    for (feature, test) in conditions {
        let (kind, name) = (type_of(*feature, shape), &shape.feature(*feature).expect("a live feature").name);
        let one = |value: &Value| kind.json(value);
        let many = |values: &[Value]| Json::Array(values.iter().map(one).collect());
        let (word, value) = match test {
            Test::Is(value) => {
                declared[name] = one(value);
                continue;
            }
            Test::IsNot(value) => ("ne", one(value)),
            Test::In(values) => ("in", many(values)),
            Test::NotIn(values) => ("not_in", many(values)),
            Test::Less(value) => ("lt", one(value)),
            Test::LessOrEqual(value) => ("le", one(value)),
            Test::Greater(value) => ("gt", one(value)),
            Test::GreaterOrEqual(value) => ("ge", one(value)),
            Test::Null(wanted) => ("is_null", json!(wanted)),
        };
        declared[name][word] = value;
    }
    declared
}
