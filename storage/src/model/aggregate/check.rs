//! What makes an aggregate of its declaration and its table: names become numbers, and what cannot be is refused by the field that
//! says it.

use arrow_schema::DataType;
use serde_json::Value;

use super::answered::{feature_of, input_name, input_type, sum_type};
use super::declaration::AggregateDeclaration;
use super::declared::{
    Aggregate, CONDITION_VALUES_MAX, CONDITIONS_MAX, Condition, Ends, Function, Input, LIST_VALUES_MAX,
    LISTED_COLUMNS_MAX, Output, Reach, Test, WINDOW_MAX, WINDOW_MIN,
};
use crate::error::{Error, Result};
use crate::model::catalog::Table;
use crate::model::duration::parse_duration;
use crate::model::names::{
    DEFAULT_BYTES_MAX, DESCRIPTION_BYTES_MAX, check_column_name, check_length, check_name, check_tags,
};
use crate::model::types::{integer, print_type, stored_type};
use crate::model::value::one_from_json;

impl AggregateDeclaration {
    /// The aggregate as declared on `table`, with the number `id`.
    ///
    /// # Errors
    /// `Invalid`, with the field that is wrong and the name of the aggregate.
    pub(in crate::model) fn aggregate(&self, table: &Table, id: u32) -> Result<Aggregate> {
        let what = format!("aggregate `{}`", self.name);
        check_name("aggregate", &self.name)?;
        self.checked(table, id).map_err(|error| error.at(what))
    }

    fn checked(&self, table: &Table, id: u32) -> Result<Aggregate> {
        check_length("its description", &self.description, DESCRIPTION_BYTES_MAX)?;
        check_tags("it", &self.tags)?;
        let of = self.of.iter().map(|name| input(table, name)).collect::<Result<Vec<_>>>()?;
        let function = self.function()?;
        check_inputs(table, &function, &of)?;
        if self.conditions.len() > CONDITIONS_MAX {
            return Err(Error::invalid(format!("where has at most {CONDITIONS_MAX} conditions")));
        }
        let mut conditions = Vec::with_capacity(self.conditions.len());
        for (name, test) in &self.conditions {
            conditions.extend(conditions_of(table, name, test)?);
        }
        let delay =
            self.delay.as_deref().map_or(Ok(0), |delay| parse_duration(delay).map_err(|error| error.at("delay")));
        let delay = delay?;
        if delay > WINDOW_MAX {
            return Err(Error::invalid("delay is at most 36525d"));
        }
        let aggregate = Aggregate {
            id,
            name: self.name.clone(),
            function,
            of,
            conditions,
            outputs: self.outputs()?,
            delay,
            default: self.default.clone(),
            description: self.description.clone(),
            tags: self.tags.clone(),
        };
        aggregate.check_default(table)?;
        aggregate.check_kept(table)?;
        Ok(aggregate)
    }

    fn function(&self) -> Result<Function> {
        let function = match self.function.as_str() {
            "count" => Function::Count,
            "sum" => Function::Sum { data_type: self.data_type.clone() },
            "avg" => Function::Avg,
            "min" => Function::Min,
            "max" => Function::Max,
            "first" => Function::First(self.ends),
            "last" => Function::Last(self.ends),
            other => {
                return Err(Error::invalid(format!(
                    "there is no function `{other}`; there are count, sum, avg, min, max, first and last"
                )));
            }
        };
        let lists = matches!(function, Function::First(_) | Function::Last(_));
        if !lists && self.ends != (Ends { n: None, distinct: false, nulls: false }) {
            return Err(Error::invalid("n, distinct and nulls are for first and last"));
        }
        if self.ends.distinct && self.ends.n.is_none() {
            return Err(Error::invalid("distinct needs n: one value by itself is always distinct"));
        }
        if self.ends.n.is_some_and(|n| !(1..=LIST_VALUES_MAX).contains(&n)) {
            return Err(Error::invalid(format!("n is a whole number from 1 to {LIST_VALUES_MAX}")));
        }
        if self.data_type.is_some() && !matches!(function, Function::Sum { .. }) {
            return Err(Error::invalid("type is for sum"));
        }
        Ok(function)
    }

    fn outputs(&self) -> Result<Vec<Output>> {
        if self.windows.is_empty() {
            return Err(Error::invalid("windows names none; name at least one, such as \"7d\" or \"lifetime\""));
        }
        let mut outputs: Vec<Output> = Vec::with_capacity(self.windows.len());
        for (window, name) in &self.windows {
            let reach = match window.as_str() {
                "lifetime" => Reach::Lifetime,
                window => {
                    let micros = parse_duration(window).map_err(|error| error.at("windows"))?;
                    if !(WINDOW_MIN..=WINDOW_MAX).contains(&micros) {
                        return Err(Error::invalid(format!("the window `{window}` is not from 1ms to 36525d")));
                    }
                    Reach::Micros(micros)
                }
            };
            if let Some(same) = outputs.iter().find(|output| output.reach == reach) {
                let same = &same.window;
                return Err(Error::invalid(format!("the windows `{same}` and `{window}` are the same")));
            }
            let name = name.clone().unwrap_or_else(|| natural_name(&self.name, window));
            check_column_name("output", &name)?;
            outputs.push(Output { window: window.clone(), reach, name });
        }
        Ok(outputs)
    }
}

impl Aggregate {
    /// Checks what reads take for granted of an aggregate of `table` that was stored.
    pub(in crate::model) fn check(&self, table: &Table) -> Result<()> {
        let known = |feature: u32| table.features.iter().any(|known| known.id == feature);
        if !self.features().all(known) {
            return Err(Error::invalid(format!("aggregate `{}` reads a feature that is not there", self.name)));
        }
        check_inputs(table, &self.function, &self.of)
            .map_err(|error| error.at(format!("aggregate `{}`", self.name)))?;
        for Condition { feature, test } in &self.conditions {
            values_of(test)
                .into_iter()
                .try_for_each(|value| one_from_json(value, &feature_of(table, *feature).stored_type()).map(drop))?;
        }
        self.check_default(table)?;
        self.check_kept(table).map_err(|error| error.at(format!("aggregate `{}`", self.name)))
    }

    /// Refuses a lifetime of which `table` forgets the beginning.
    fn check_kept(&self, table: &Table) -> Result<()> {
        if self.reach().is_some() || table.keep_events.is_none() {
            return Ok(());
        }
        Err(Error::invalid(
            "a lifetime window needs all events, and the table keeps some only (keep_events); name a window",
        ))
    }

    fn check_default(&self, table: &Table) -> Result<()> {
        let Some(default) = &self.default else { return Ok(()) };
        let data_type = self.data_type(table);
        if matches!(data_type, DataType::List(_)) {
            return Err(Error::invalid("default is not for lists: an empty window answers an empty list"));
        }
        check_length("default", &default.to_string(), DEFAULT_BYTES_MAX)?;
        one_from_json(default, &stored_type(&data_type)).map(drop).map_err(|error| error.at("default"))
    }
}

/// What the answer of an aggregate over `window` is called unless it says otherwise.
pub(super) fn natural_name(aggregate: &str, window: &str) -> String {
    format!("{aggregate}_{window}")
}

/// The column of `table` called `name`.
fn input(table: &Table, name: &str) -> Result<Input> {
    if name == table.event_time {
        return Ok(Input::EventTime);
    }
    if let Some(place) = table.row_id.iter().position(|column| column.name == *name) {
        return Ok(Input::RowId(place));
    }
    Ok(Input::Feature(table.feature(name).map_err(|error| error.at("of"))?.id))
}

/// Refuses what `function` cannot be reckoned of.
fn check_inputs(table: &Table, function: &Function, of: &[Input]) -> Result<()> {
    let columns = match function {
        Function::Count => 0..=1,
        Function::First(_) | Function::Last(_) => 1..=LISTED_COLUMNS_MAX,
        _ => 1..=1,
    };
    if !columns.contains(&of.len()) {
        let (least, most) = (columns.start(), columns.end());
        let wanted = if least == most { format!("{least}") } else { format!("{least} to {most}") };
        return Err(Error::invalid(format!("of names {} columns, the function takes {wanted}", of.len())));
    }
    let Some(&first) = of.first() else { return Ok(()) };
    let (name, declared) = (input_name(table, first), input_type(table, first));
    let stored = stored_type(&declared);
    let is_feature = matches!(first, Input::Feature(_));
    let fits = match function {
        Function::Count => is_feature,
        Function::Sum { data_type } => is_feature && sum_fits(&stored, data_type.as_ref()),
        Function::Avg => is_feature && is_number(&stored),
        Function::Min | Function::Max => is_ordered(&stored),
        Function::First(_) | Function::Last(_) => true,
    };
    if fits {
        return Ok(());
    }
    Err(Error::invalid(match function {
        Function::Count => "count is of events or of the cells of a feature".to_owned(),
        Function::Sum { data_type: Some(to) } if sum_type(&stored).is_some() => {
            format!("a sum of `{name}`, {}, cannot be {}", print_type(&declared), print_type(to))
        }
        _ => format!("`{name}` is {}, of which there is no such thing; it can be a number", print_type(&declared)),
    }))
}

/// Whether the sum of values of the type `of` may be answered as `to`.
fn sum_fits(of: &DataType, to: Option<&DataType>) -> bool {
    let (Some(natural), Some(to)) = (sum_type(of), to) else { return sum_type(of).is_some() };
    let whole = integer(of).is_some();
    natural == *to || (whole && matches!(to, DataType::Decimal128(38, 0) | DataType::Decimal256(76, 0)))
}

fn is_number(stored: &DataType) -> bool {
    sum_type(stored).is_some() && !matches!(stored, DataType::Duration(_))
}

/// Whether values have an order.
fn is_ordered(stored: &DataType) -> bool {
    !stored.is_nested() && *stored != DataType::Null && !matches!(stored, DataType::Interval(_))
}

/// What `test` says of the feature `name`: a value, or an object of what is compared.
fn conditions_of(table: &Table, name: &str, test: &Value) -> Result<Vec<Condition>> {
    let feature = table.feature(name).map_err(|error| error.at("where"))?;
    let stored = feature.stored_type();
    let tests = match test {
        // A moment by itself is spelled as an object too.
        Value::Object(fields) if !fields.contains_key("us") => {
            fields.iter().map(|(word, value)| test_of(word, value)).collect::<Result<Vec<_>>>()
        }
        Value::Null => Err(Error::invalid("null is no value; say {\"is_null\": true}")),
        value => Ok(vec![Test::Is(value.clone())]),
    };
    let tests = tests.map_err(|error| error.at(format!("where: `{name}`")))?;
    if tests.is_empty() || (stored.is_nested() && !matches!(tests[..], [Test::IsNull(_)])) {
        return Err(Error::invalid(format!(
            "where: `{name}` is not compared with anything that it can be compared with"
        )));
    }
    for value in tests.iter().flat_map(values_of) {
        one_from_json(value, &stored).map_err(|error| error.at(format!("where: `{name}`")))?;
    }
    Ok(tests.into_iter().map(|test| Condition { feature: feature.id, test }).collect())
}

fn test_of(word: &str, value: &Value) -> Result<Test> {
    let values = || match value {
        Value::Array(values)
            if (1..=CONDITION_VALUES_MAX).contains(&values.len()) && !values.iter().any(Value::is_null) =>
        {
            Ok(values.clone())
        }
        _ => Err(Error::invalid(format!(
            "{word} takes an array of 1 to {CONDITION_VALUES_MAX} values, no null among them"
        ))),
    };
    let one = || match value {
        Value::Null => Err(Error::invalid(format!("{word} takes a value; say \"is_null\" for null"))),
        value => Ok(value.clone()),
    };
    Ok(match word {
        "in" => Test::In(values()?),
        "not_in" => Test::NotIn(values()?),
        "lt" => Test::Lt(one()?),
        "le" => Test::Le(one()?),
        "gt" => Test::Gt(one()?),
        "ge" => Test::Ge(one()?),
        "ne" => Test::Ne(one()?),
        "is_null" => {
            let flag = value.as_bool().ok_or_else(|| Error::invalid("is_null is true or false"))?;
            Test::IsNull(flag)
        }
        _ => {
            return Err(Error::invalid(format!(
                "there is no `{word}`; there are in, not_in, lt, le, gt, ge, ne and is_null"
            )));
        }
    })
}

/// The values that a test names.
pub(super) fn values_of(test: &Test) -> Vec<&Value> {
    match test {
        Test::Is(value) | Test::Lt(value) | Test::Le(value) | Test::Gt(value) | Test::Ge(value) | Test::Ne(value) => {
            vec![value]
        }
        Test::In(values) | Test::NotIn(values) => values.iter().collect(),
        Test::IsNull(_) => Vec::new(),
    }
}
