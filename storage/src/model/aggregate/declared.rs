//! An aggregate as a table has it: plain values, stored with the catalog. Inputs are known by the numbers of their features.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, new_null_array};
use arrow_schema::DataType;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Result;
use crate::model::types::{as_declared, as_text, stored_type};
use crate::model::value::one_from_json;

/// The outputs of all aggregates of a table, at most.
pub(crate) const OUTPUTS_MAX: usize = 4096;
/// The values of a list that an aggregate answers, at most.
pub(crate) const LIST_VALUES_MAX: u32 = 1000;
/// The values that a condition names, at most.
pub(crate) const CONDITION_VALUES_MAX: usize = 1024;
/// The conditions of an aggregate, at most.
pub(crate) const CONDITIONS_MAX: usize = 32;
/// The columns of which an aggregate lists values together, at most.
pub(crate) const LISTED_COLUMNS_MAX: usize = 32;
/// The shortest window, a millisecond, in microseconds.
pub(crate) const WINDOW_MIN: i64 = 1000;
/// The longest window that is not a lifetime, and the longest delay: a hundred years, in microseconds.
pub(crate) const WINDOW_MAX: i64 = 36_525 * 86_400_000_000;

/// What is reckoned over windows of the events of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// Never used again within its table, nor is it the number of a feature.
    pub id: u32,
    /// The name.
    pub name: String,
    /// What is reckoned.
    pub function: Function,
    /// Of which columns; empty if events are counted.
    pub of: Vec<Input>,
    /// Which events count: those that meet all.
    #[serde(rename = "where")]
    pub conditions: Vec<Condition>,
    /// Over which events, and what each answer is called.
    pub outputs: Vec<Output>,
    /// How long before the moment that is asked for a window ends, in microseconds.
    pub delay: i64,
    /// What an empty window answers, as JSON; `None` is what the function has for it.
    pub default: Option<Value>,
    /// What it is.
    pub description: String,
    /// Free words.
    pub tags: Vec<String>,
}

/// What is reckoned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Function {
    /// How many events, or cells that are not null.
    Count,
    /// The exact sum.
    Sum {
        /// The type of the answer, if it is not the one that follows from the input.
        #[serde(rename = "type", with = "as_text::optional", default, skip_serializing_if = "Option::is_none")]
        data_type: Option<DataType>,
    },
    /// The exact mean, rounded once.
    Avg,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The oldest values.
    First(Ends),
    /// The newest values.
    Last(Ends),
}

/// Which of the values at an end of a window are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ends {
    /// So many as a list; `None` is one by itself.
    pub n: Option<u32>,
    /// Whether each value is listed once.
    pub distinct: bool,
    /// Whether nulls are values too.
    pub nulls: bool,
}

/// A column that an aggregate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// The feature of this number.
    Feature(u32),
    /// The event-time column.
    EventTime,
    /// The row id column at this place.
    RowId(usize),
}

/// One condition of a `where`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The number of the feature that is looked at.
    pub feature: u32,
    /// What it must be.
    pub test: Test,
}

/// What the cell of an event must be. Values are JSON, read by the type of the feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// This value.
    Is(Value),
    /// One of these.
    In(Vec<Value>),
    /// None of these.
    NotIn(Vec<Value>),
    /// Below it.
    Lt(Value),
    /// Below it or it.
    Le(Value),
    /// Above it.
    Gt(Value),
    /// Above it or it.
    Ge(Value),
    /// Another.
    Ne(Value),
    /// Null or absent, or not.
    IsNull(bool),
}

/// One window and what its answer is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The window as it was spelled.
    pub window: String,
    /// How far it reaches back.
    pub reach: Reach,
    /// The name of the answer.
    pub name: String,
}

/// How far a window reaches back from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// So many microseconds.
    Micros(i64),
    /// To the first event.
    Lifetime,
}

impl Aggregate {
    /// The features that it reads.
    pub fn features(&self) -> impl Iterator<Item = u32> + '_ {
        let of = self.of.iter().filter_map(|input| match input {
            Input::Feature(feature) => Some(*feature),
            Input::EventTime | Input::RowId(_) => None,
        });
        of.chain(self.conditions.iter().map(|condition| condition.feature))
    }

    /// How far before the moment that is asked for its windows reach, in microseconds; `None` is without end.
    pub fn reach(&self) -> Option<i64> {
        let reach = |output: &Output| match output.reach {
            Reach::Micros(micros) => Some(micros.saturating_add(self.delay)),
            Reach::Lifetime => None,
        };
        self.outputs.iter().map(reach).try_fold(0, |most: i64, reach| Some(most.max(reach?)))
    }

    /// Whether it answers lists.
    pub fn lists(&self) -> bool {
        matches!(self.function, Function::First(Ends { n: Some(_), .. }) | Function::Last(Ends { n: Some(_), .. }))
    }

    /// Whether it lists each value once.
    pub fn is_distinct(&self) -> bool {
        matches!(
            self.function,
            Function::First(Ends { distinct: true, .. }) | Function::Last(Ends { distinct: true, .. })
        )
    }

    /// What an empty window answers: a row of `data_type`, the type of its answers.
    ///
    /// # Errors
    /// `Invalid` for a default that was not checked.
    pub fn empty(&self, data_type: &DataType) -> Result<ArrayRef> {
        match (&self.default, &self.function) {
            (Some(default), _) => as_declared(one_from_json(default, &stored_type(data_type))?, data_type),
            (None, Function::Count) => Ok(Arc::new(Int64Array::from(vec![0]))),
            (None, _) if self.lists() => one_from_json(&Value::Array(Vec::new()), data_type),
            (None, _) => Ok(new_null_array(data_type, 1)),
        }
    }

    /// About how many bytes an answer takes.
    pub fn row_bytes(&self) -> u64 {
        let n = match self.function {
            Function::First(ends) | Function::Last(ends) => u64::from(ends.n.unwrap_or(1)),
            _ => 1,
        };
        16 * n * self.of.len().max(1) as u64
    }
}
