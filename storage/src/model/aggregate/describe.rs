//! Aggregates as JSON answers: what `add_aggregates` would take to make them, and their outputs as columns that can be read.

use serde_json::{Map, Value, json};

use super::answered::{feature_of, input_name};
use super::check::natural_name;
use super::declared::{Aggregate, Condition, Ends, Function, Test};
use crate::model::catalog::Table;
use crate::model::duration::print_duration;
use crate::model::types::print_type;

/// What `add_aggregates` would take to make `aggregate` of `table`.
pub(in crate::model) fn aggregate_declaration(table: &Table, aggregate: &Aggregate) -> Value {
    let Aggregate { name, function, of, conditions, outputs, delay, default, description, tags, .. } = aggregate;
    let windows = outputs.iter().map(|output| match natural_name(name, &output.window) == output.name {
        true => json!(output.window),
        false => json!({ "window": output.window, "name": output.name }),
    });
    let windows: Vec<Value> = windows.collect();
    let mut answer = json!({
        "name": name,
        "function": function.name(),
        "windows": windows,
        "delay": print_duration(*delay),
        "default": default,
        "description": description,
        "tags": tags,
    });
    let names: Vec<&str> = of.iter().map(|input| input_name(table, *input)).collect();
    match names[..] {
        [] => {}
        [name] => answer["of"] = json!(name),
        _ => answer["of"] = json!(names),
    }
    if !conditions.is_empty() {
        answer["where"] = conditions_declaration(table, conditions);
    }
    match function {
        Function::Sum { data_type: Some(data_type) } => answer["type"] = json!(print_type(data_type)),
        Function::First(Ends { n, distinct, nulls }) | Function::Last(Ends { n, distinct, nulls }) => {
            if let Some(n) = n {
                answer["n"] = json!(n);
                answer["distinct"] = json!(distinct);
            }
            if *nulls {
                answer["nulls"] = json!("keep");
            }
        }
        _ => {}
    }
    answer
}

/// The columns that `aggregate` of `table` answers, each with its name, type, aggregate and window.
pub(in crate::model) fn output_declarations<'a>(
    table: &'a Table,
    aggregate: &'a Aggregate,
) -> impl Iterator<Item = Value> + 'a {
    let data_type = print_type(&aggregate.data_type(table));
    aggregate.outputs.iter().map(move |output| {
        json!({ "name": output.name, "type": data_type, "aggregate": aggregate.name, "window": output.window })
    })
}

fn conditions_declaration(table: &Table, conditions: &[Condition]) -> Value {
    let mut fields: Map<String, Value> = Map::new();
    for Condition { feature, test } in conditions {
        let name = feature_of(table, *feature).name.clone();
        if let Test::Is(value) = test {
            fields.insert(name, value.clone());
            continue;
        }
        let (word, value) = test.spelled();
        fields.entry(name).or_insert_with(|| json!({}))[word] = value;
    }
    Value::Object(fields)
}

impl Function {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum { .. } => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::First(_) => "first",
            Self::Last(_) => "last",
        }
    }
}

impl Test {
    /// Its word and what it takes.
    fn spelled(&self) -> (&'static str, Value) {
        match self {
            Self::Is(value) => ("is", value.clone()),
            Self::In(values) => ("in", json!(values)),
            Self::NotIn(values) => ("not_in", json!(values)),
            Self::Lt(value) => ("lt", value.clone()),
            Self::Le(value) => ("le", value.clone()),
            Self::Gt(value) => ("gt", value.clone()),
            Self::Ge(value) => ("ge", value.clone()),
            Self::Ne(value) => ("ne", value.clone()),
            Self::IsNull(flag) => ("is_null", json!(flag)),
        }
    }
}
