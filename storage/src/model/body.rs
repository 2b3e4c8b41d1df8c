//! JSON objects as they come in: each field taken by name and type, every unknown field an error that names it.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// An object whose fields are read one by one.
#[derive(Debug)]
pub struct Body<'a> {
    place: String,
    fields: &'a Map<String, Value>,
}

impl<'a> Body<'a> {
    /// `value`, called `place` in messages, which may have the `accepted` fields and no other.
    pub fn new(place: impl Into<String>, value: &'a Value, accepted: &[&str]) -> Result<Self> {
        let place = place.into();
        let Value::Object(fields) = value else {
            return Err(Error::invalid(format!("{place} is a JSON object, not {}", kind(value))));
        };
        if let Some(unknown) = fields.keys().find(|name| !accepted.contains(&name.as_str())) {
            let shown: String = unknown.chars().take(80).collect();
            return Err(Error::invalid(format!("{place} has no field `{shown}`; its fields are {}", accepted.join(", "))));
        }
        Ok(Self { place, fields })
    }

    /// The field, unless it is missing or null.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// Whether the field is there, be it null.
    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// An error about one field.
    pub fn wrong(&self, name: &str, expected: &str) -> Error {
        match self.get(name) {
            None => Error::invalid(format!("{} needs the field `{name}`: {expected}", self.place)),
            Some(value) => Error::invalid(format!("`{name}` of {} is {expected}, not {}", self.place, kind(value))),
        }
    }

    /// A string that must be there.
    pub fn text(&self, name: &str) -> Result<&'a str> {
        self.get(name).and_then(Value::as_str).ok_or_else(|| self.wrong(name, "a string"))
    }

    /// A string, empty if missing.
    pub fn optional_text(&self, name: &str) -> Result<String> {
        if self.get(name).is_none() { Ok(String::new()) } else { self.text(name).map(str::to_owned) }
    }

    /// A flag, false if missing.
    pub fn flag(&self, name: &str) -> Result<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(name, "true or false")),
        }
    }

    /// An array, empty if missing.
    pub fn list(&self, name: &str) -> Result<&'a [Value]> {
        match self.get(name) {
            None => Ok(&[]),
            Some(value) => value.as_array().map(Vec::as_slice).ok_or_else(|| self.wrong(name, "an array")),
        }
    }

    /// An array of strings, empty if missing.
    pub fn texts(&self, name: &str) -> Result<Vec<String>> {
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| self.wrong(name, "an array of strings"));
        self.list(name)?.iter().map(text).collect()
    }
}

/// What a JSON value is, for a message.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
