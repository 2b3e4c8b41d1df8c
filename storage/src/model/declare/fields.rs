//! The parts of declarations: key columns, features, defaults, durations, retention.

use arrow_schema::DataType;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::beyond::beyond;
use crate::model::body::Body;
use crate::model::catalog::{Feature, MaxAge};
use crate::model::key::{KeyColumn, KeyType};
use crate::model::names::{
    DEFAULT_BYTES_MAX, DESCRIPTION_BYTES_MAX, KEY_COLUMNS_MAX, check_column_name, check_length, check_tags,
};
use crate::model::types::{parse_type, print_type, stored_type};
use crate::model::value::{one_from_json, parse_duration, to_json};

/// The columns of a key or of a row id.
pub(super) fn parse_key_columns(body: &Body<'_>, field: &str, what: &str) -> Result<Vec<KeyColumn>> {
    let list = body.list(field)?;
    if list.len() > KEY_COLUMNS_MAX {
        return Err(Error::invalid(format!(
            "{field} has {} columns, at most {KEY_COLUMNS_MAX} are allowed",
            list.len()
        )));
    }
    let mut columns: Vec<KeyColumn> = Vec::with_capacity(list.len());
    for value in list {
        let body = Body::new(what, value, &["name", "type"])?;
        let name = body.text("name")?.to_owned();
        check_column_name(what, &name)?;
        let data_type = parse_type(body.text("type")?).map_err(|error| error.at(format!("{what} `{name}`")))?;
        if KeyType::of(&data_type).is_none() {
            return Err(Error::invalid(format!(
                "{what} `{name}` cannot be {}; it can be an int, utf8, binary, fixed_size_binary, date32 or bool",
                print_type(&data_type)
            )));
        }
        if columns.iter().any(|column| column.name == name) {
            return Err(Error::invalid(format!("the {what} `{name}` is declared twice")));
        }
        columns.push(KeyColumn::new(name, data_type));
    }
    Ok(columns)
}

/// A feature's declaration as the feature with `id`.
pub(in crate::model) fn parse_feature(value: &Value, id: u32) -> Result<Feature> {
    let body = Body::new("a feature", value, &["name", "type", "max_age", "default", "description", "tags"])?;
    let name = body.text("name")?.to_owned();
    check_column_name("feature", &name)?;
    let what = format!("feature `{name}`");
    let data_type = parse_type(body.text("type").map_err(|error| error.at(&what))?).map_err(|error| error.at(&what))?;
    let max_age = match body.get("max_age").map(Value::as_str) {
        None => MaxAge::Table,
        Some(Some("none")) => MaxAge::Unlimited,
        Some(Some(text)) => {
            MaxAge::Micros(parse_duration(text).map_err(|error| error.at(format!("max_age of {what}")))?)
        }
        Some(None) => return Err(body.wrong("max_age", "a duration such as \"90s\", or \"none\"").at(&what)),
    };
    let default = body.get("default").map(|value| parse_default(value, &what, &data_type)).transpose()?;
    let description = body.optional_text("description")?;
    check_length(&format!("the description of {what}"), &description, DESCRIPTION_BYTES_MAX)?;
    let tags = body.texts("tags")?;
    check_tags(&what, &tags)?;
    Ok(Feature { id, name, data_type, max_age, default, description, tags })
}

/// A default in the one form that its value has, so that equal declarations are equal.
fn parse_default(value: &Value, what: &str, data_type: &DataType) -> Result<Value> {
    let length = value.to_string().len();
    if length > DEFAULT_BYTES_MAX {
        return Err(Error::invalid(format!(
            "the default of {what} has {length} bytes, at most {DEFAULT_BYTES_MAX} are allowed"
        )));
    }
    let array = one_from_json(value, &stored_type(data_type)).and_then(|array| match beyond(&array) {
        None => Ok(array),
        Some(_) => Err(Error::invalid(format!("{value} is beyond {}", print_type(data_type)))),
    });
    array.and_then(|array| to_json(&array, 0)).map_err(|error| error.at(format!("default of {what}")))
}

/// A duration or `"none"`; `missing` if the field is missing or null.
pub(in crate::model) fn parse_limit(body: &Body<'_>, field: &str, missing: Option<i64>) -> Result<Option<i64>> {
    match body.get(field).map(Value::as_str) {
        None => Ok(missing),
        Some(Some("none")) => Ok(None),
        Some(Some(text)) => parse_duration(text).map(Some).map_err(|error| error.at(field)),
        Some(None) => Err(body.wrong(field, "a duration such as \"90s\", or \"none\"")),
    }
}

/// `retention`: how long events and knowledge are kept; what it does not say stays as in `standing`.
pub(in crate::model) fn parse_retention(
    body: &Body<'_>,
    standing: (Option<i64>, Option<i64>),
) -> Result<(Option<i64>, Option<i64>)> {
    let Some(value) = body.get("retention") else { return Ok(standing) };
    let retention = Body::new("retention", value, &["keep_events", "keep_knowledge"])?;
    let keep = |field: &str, standing: Option<i64>| {
        let kept = if retention.has(field) { parse_limit(&retention, field, None)? } else { standing };
        match kept {
            Some(0) => {
                Err(Error::invalid(format!("{field} of 0 would keep nothing; to keep everything write \"none\"")))
            }
            kept => Ok(kept),
        }
    };
    Ok((keep("keep_events", standing.0)?, keep("keep_knowledge", standing.1)?))
}
