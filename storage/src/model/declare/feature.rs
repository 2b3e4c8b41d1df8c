//! The declaration of one feature.

use arrow_schema::DataType;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::beyond::beyond;
use crate::model::catalog::{Feature, MaxAge};
use crate::model::names::{DEFAULT_BYTES_MAX, DESCRIPTION_BYTES_MAX, check_column_name, check_length, check_tags};
use crate::model::types::{print_type, stored_type};
use crate::model::value::{one_from_json, to_json};

/// The declaration of a feature.
#[derive(Debug, Clone)]
pub struct FeatureDeclaration {
    /// The name.
    pub name: String,
    /// The type, which readers get.
    pub data_type: DataType,
    /// How old a winning cell may be.
    pub max_age: MaxAge,
    /// What deleted, expired and never answer, as JSON; `None` is null.
    pub default: Option<Value>,
    /// What it is.
    pub description: String,
    /// Free words such as `pii`.
    pub tags: Vec<String>,
}

impl FeatureDeclaration {
    /// The feature as declared, with the number that `id` is.
    pub(in crate::model) fn feature(&self, id: u32) -> Result<Feature> {
        check_column_name("feature", &self.name)?;
        let what = format!("feature `{}`", self.name);
        let default = self.default.as_ref().map(|value| default_of(value, &what, &self.data_type)).transpose()?;
        check_length(&format!("the description of {what}"), &self.description, DESCRIPTION_BYTES_MAX)?;
        check_tags(&what, &self.tags)?;
        Ok(Feature {
            id,
            name: self.name.clone(),
            data_type: self.data_type.clone(),
            max_age: self.max_age,
            default,
            description: self.description.clone(),
            tags: self.tags.clone(),
        })
    }
}

/// A default in the one form that its value has, so that equal declarations are equal.
fn default_of(value: &Value, what: &str, data_type: &DataType) -> Result<Value> {
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
