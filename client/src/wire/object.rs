//! Reading one JSON object field by field: every error names the place, every unknown field is an error.
//!
//! A field that is `null` counts as not given. The fields that were asked for are the ones that [`Object::finish`]
//! lists as accepted, so the list cannot drift from the code.

use serde_json::{Map, Value};

use super::{CommandError, KeyValues, Result};

/// As much as the server allows, wherever a command says how much it may be.
pub const MOST: u64 = u64::MAX;
/// How a command spells [`MOST`].
const MOST_TEXT: &str = "max";

/// A count, or [`MOST`], as JSON.
pub(super) fn count_or_most(count: u64) -> Value {
    if count == MOST { Value::from(MOST_TEXT) } else { Value::from(count) }
}

/// A JSON object on its way into a command.
pub(super) struct Object {
    place: String,
    fields: Map<String, Value>,
    accepted: Vec<&'static str>,
}

impl Object {
    /// The object found at `place`, for example `lookup.features[2]`.
    pub(super) fn new(place: impl Into<String>, value: Value) -> Result<Self> {
        let place = place.into();
        match value {
            Value::Object(fields) => Ok(Self { place, fields, accepted: Vec::new() }),
            other => Err(CommandError::invalid(&place, format!("expected an object, found {}", describe(&other)))),
        }
    }

    /// The place of the field `name`.
    pub(super) fn place(&self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }

    /// An error about the object as a whole.
    pub(super) fn invalid(&self, message: &str) -> CommandError {
        CommandError::invalid(&self.place, message)
    }

    /// The value of a field, if it is given and not null.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.accepted.push(name);
        self.fields.shift_remove(name).filter(|value| !value.is_null())
    }

    /// The value of a field that must be given.
    pub(super) fn required(&mut self, name: &'static str) -> Result<Value> {
        match self.take(name) {
            Some(value) => Ok(value),
            None => Err(CommandError::invalid(&self.place, format!("the field `{name}` is missing"))),
        }
    }

    /// A string.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>> {
        let place = self.place(name);
        self.take(name).map(|value| text(&place, value)).transpose()
    }

    /// A string that must be given.
    pub(super) fn required_text(&mut self, name: &'static str) -> Result<String> {
        let place = self.place(name);
        text(&place, self.required(name)?)
    }

    /// A list of strings.
    pub(super) fn texts(&mut self, name: &'static str) -> Result<Option<Vec<String>>> {
        let place = self.place(name);
        let Some(value) = self.take(name) else { return Ok(None) };
        let values = list(&place, value)?;
        let texts = values.into_iter().enumerate().map(|(at, value)| text(&format!("{place}[{at}]"), value));
        texts.collect::<Result<Vec<_>>>().map(Some)
    }

    /// A list of anything that must be given, each element with its place.
    pub(super) fn required_list(&mut self, name: &'static str) -> Result<Vec<(String, Value)>> {
        let place = self.place(name);
        let values = list(&place, self.required(name)?)?;
        Ok(values.into_iter().enumerate().map(|(at, value)| (format!("{place}[{at}]"), value)).collect())
    }

    /// `true` or `false`; false if not given.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(CommandError::invalid(
                &self.place(name),
                format!("expected true or false, found {}", describe(&other)),
            )),
        }
    }

    /// A whole number of at least 0.
    pub(super) fn count(&mut self, name: &'static str) -> Result<Option<u64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_u64() {
            Some(count) => Ok(Some(count)),
            None => Err(CommandError::invalid(
                &self.place(name),
                format!("expected a whole number of at least 0, found {}", describe(&value)),
            )),
        }
    }

    /// A count, or [`MOST`] where it says `"max"`.
    pub(super) fn count_or_most(&mut self, name: &'static str) -> Result<Option<u64>> {
        if self.fields.get(name).is_some_and(|value| value == MOST_TEXT) {
            self.take(name);
            return Ok(Some(MOST));
        }
        self.count(name)
    }

    /// Microseconds: since 1970-01-01 UTC, or between two times.
    pub(super) fn micros(&mut self, name: &'static str) -> Result<Option<i64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_i64() {
            Some(integer) => Ok(Some(integer)),
            None => Err(CommandError::invalid(
                &self.place(name),
                format!("expected a whole number of microseconds, found {}", describe(&value)),
            )),
        }
    }

    /// One of two words; false for the first (the default), true for the second.
    pub(super) fn choice(&mut self, name: &'static str, first: &str, second: &str) -> Result<bool> {
        Ok(self.given_choice(name, [(first, false), (second, true)])?.unwrap_or(false))
    }

    /// What one of two words stands for, if it is given.
    pub(super) fn given_choice<T: Copy>(&mut self, name: &'static str, words: [(&str, T); 2]) -> Result<Option<T>> {
        let Some(word) = self.text(name)? else { return Ok(None) };
        let meant = words.iter().find(|(known, _)| *known == word).map(|(_, meant)| *meant);
        let [(first, _), (second, _)] = words;
        let expected = || {
            CommandError::invalid(&self.place(name), format!("expected \"{first}\" or \"{second}\", found \"{word}\""))
        };
        meant.ok_or_else(expected).map(Some)
    }

    /// `{"key column":[values, …], …}`, all columns of one length.
    pub(super) fn key_values(&mut self, name: &'static str) -> Result<Option<KeyValues>> {
        let place = self.place(name);
        let Some(value) = self.take(name) else { return Ok(None) };
        let Value::Object(columns) = value else {
            let expected = "expected an object of key columns, each a list of values";
            return Err(CommandError::invalid(&place, format!("{expected}, found {}", describe(&value))));
        };
        let mut read: KeyValues = Vec::with_capacity(columns.len());
        for (column, values) in columns {
            let values = list(&format!("{place}.{column}"), values)?;
            if let Some((first, others)) = read.first().filter(|(_, others)| others.len() != values.len()) {
                let lengths = format!("`{first}` has {} values, `{column}` has {}", others.len(), values.len());
                return Err(CommandError::invalid(&place, format!("{lengths}; every key column needs as many")));
            }
            read.push((column, values));
        }
        if read.is_empty() {
            return Err(CommandError::invalid(&place, "names no key column"));
        }
        Ok(Some(read))
    }

    /// Refuses whatever was not asked for.
    pub(super) fn finish(self) -> Result<()> {
        match self.fields.keys().find(|name| !self.accepted.contains(&name.as_str())) {
            None => Ok(()),
            Some(unknown) => {
                let accepted: Vec<_> = self.accepted.iter().map(|name| format!("`{name}`")).collect();
                let accepted = accepted.join(", ");
                Err(CommandError::invalid(&self.place, format!("unknown field `{unknown}`; the fields are {accepted}")))
            }
        }
    }
}

/// The string at `place`.
pub(super) fn text(place: &str, value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(CommandError::invalid(place, format!("expected a string, found {}", describe(&other)))),
    }
}

fn list(place: &str, value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(CommandError::invalid(place, format!("expected a list, found {}", describe(&other)))),
    }
}

/// What a JSON value is, in words, cut short.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.chars().count() <= 40 => format!("\"{text}\""),
        Value::String(_) => "a long string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The JSON object of the fields that are given, in this order.
pub(super) fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect())
}

/// `true` as a field, or no field.
pub(super) fn flag(flag: bool) -> Option<Value> {
    flag.then_some(Value::Bool(true))
}

/// Key values as a JSON object.
pub(super) fn key_values(keys: &KeyValues) -> Value {
    Value::Object(keys.iter().map(|(column, values)| (column.clone(), Value::Array(values.clone()))).collect())
}
