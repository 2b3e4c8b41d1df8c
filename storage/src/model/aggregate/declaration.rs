//! An aggregate as it is asked for, by names, and as JSON: `aggregates` of `create_table`, `add_aggregates` of `alter_table`.

use arrow_schema::DataType;
use serde_json::Value;

use super::declared::Ends;
use crate::error::{Error, Result};
use crate::model::body::Body;
use crate::model::names::shown;
use crate::model::types::parse_type;

/// The declaration of an aggregate.
#[derive(Debug, Clone)]
pub struct AggregateDeclaration {
    /// The name.
    pub name: String,
    /// What is reckoned: `count`, `sum`, `avg`, `min`, `max`, `first`, `last`.
    pub function: String,
    /// Of which columns of the table.
    pub of: Vec<String>,
    /// Feature, and what it must be.
    pub conditions: Vec<(String, Value)>,
    /// The windows, as they are spelled, each with the name of its answer if that is another than follows from it.
    pub windows: Vec<(String, Option<String>)>,
    /// How long before the moment that is asked for a window ends.
    pub delay: Option<String>,
    /// What an empty window answers.
    pub default: Option<Value>,
    /// The type of a sum.
    pub data_type: Option<DataType>,
    /// Which values `first` and `last` answer.
    pub ends: Ends,
    /// What it is.
    pub description: String,
    /// Free words.
    pub tags: Vec<String>,
}

/// The fields of an aggregate.
const FIELDS: [&str; 13] = [
    "name",
    "function",
    "of",
    "where",
    "windows",
    "delay",
    "default",
    "type",
    "n",
    "distinct",
    "nulls",
    "description",
    "tags",
];

impl AggregateDeclaration {
    /// The aggregate that `value` declares.
    ///
    /// # Errors
    /// `Invalid`, with the field that is wrong and the name of the aggregate.
    pub fn parse(value: &Value) -> Result<Self> {
        let named = value.get("name").and_then(Value::as_str);
        let place = named.map_or_else(|| "an aggregate".to_owned(), |name| format!("aggregate `{}`", shown(name)));
        let body = Body::new(place, value, &FIELDS)?;
        let name = body.text("name")?.to_owned();
        let what = format!("aggregate `{name}`");
        Self::of(&body, name).map_err(|error| error.at(what))
    }

    fn of(body: &Body<'_>, name: String) -> Result<Self> {
        let conditions = match body.get("where") {
            None => Vec::new(),
            Some(Value::Object(fields)) => fields.iter().map(|(name, test)| (name.clone(), test.clone())).collect(),
            Some(_) => return Err(body.wrong("where", "an object of features and what they must be")),
        };
        let delay = body.get("delay").map(|_| body.text("delay").map(str::to_owned)).transpose()?;
        let data_type = body.get("type").map(|_| body.text("type").and_then(parse_type)).transpose()?;
        Ok(Self {
            name,
            function: body.text("function")?.to_owned(),
            of: names(body, "of")?,
            conditions,
            windows: body.list("windows")?.iter().map(|window| window_of(body, window)).collect::<Result<_>>()?,
            delay,
            default: body.get("default").cloned(),
            data_type,
            ends: ends(body)?,
            description: body.optional_text("description")?,
            tags: body.texts("tags")?,
        })
    }
}

/// One name or a list of names.
fn names(body: &Body<'_>, field: &str) -> Result<Vec<String>> {
    match body.get(field) {
        Some(Value::String(name)) => Ok(vec![name.clone()]),
        Some(Value::Array(_)) => body.texts(field),
        None => Ok(Vec::new()),
        Some(_) => Err(body.wrong(field, "the name of a column, or an array of names")),
    }
}

/// A window as it is spelled, or with a name: `{"window":"7d","name":"plays_week"}`.
fn window_of(body: &Body<'_>, value: &Value) -> Result<(String, Option<String>)> {
    match value {
        Value::String(window) => Ok((window.clone(), None)),
        Value::Object(_) => {
            let named = Body::new("a window", value, &["window", "name"])?;
            Ok((named.text("window")?.to_owned(), Some(named.text("name")?.to_owned())))
        }
        _ => Err(body.wrong("windows", "an array of windows, such as \"7d\" or \"lifetime\"")),
    }
}

fn ends(body: &Body<'_>) -> Result<Ends> {
    let n = match body.get("n") {
        None => None,
        Some(value) => {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            Some(number.ok_or_else(|| body.wrong("n", "a whole number"))?)
        }
    };
    let nulls = match body.get("nulls").map(Value::as_str) {
        None => false,
        Some(Some("keep")) => true,
        Some(_) => return Err(Error::invalid("nulls is \"keep\", or left out")),
    };
    Ok(Ends { n, distinct: body.flag("distinct")?, nulls })
}
