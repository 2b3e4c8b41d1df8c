//! References to features: which ones, under which name, for which entity of the request.
//!
//! ```text
//! "weather.temp"   "weather.*"
//! {"feature":"weather.temp","as":"dest_temp","entity":{"origin":"dest"}}
//! {"feature":"weather.*","prefix":"dest_","entity":{"origin":{"column":"dest"}}}
//! ```

use serde_json::Value;

use super::object::{Object, describe, object};
use super::{CommandError, Result};

/// One feature of a table, or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureReference {
    /// The table.
    pub table: String,
    /// The feature; `*` means all.
    pub feature: String,
    /// The name in the answer (`as`), instead of the feature's own.
    pub rename: Option<String>,
    /// Put before the name in the answer.
    pub prefix: Option<String>,
    /// Key column of the entity → column of the request that holds it, where they differ.
    pub entity: Vec<(String, String)>,
}

impl FeatureReference {
    /// The reference `table.feature` under its own name.
    pub fn new(table: impl Into<String>, feature: impl Into<String>) -> Self {
        Self { table: table.into(), feature: feature.into(), rename: None, prefix: None, entity: Vec::new() }
    }

    /// Reads `table.feature` or `table.*`.
    pub fn parse(text: &str) -> Result<Self> {
        Self::spelled("feature", text)
    }

    fn spelled(place: &str, text: &str) -> Result<Self> {
        match text.split_once('.') {
            Some((table, feature)) if !table.is_empty() && !feature.is_empty() && !feature.contains('.') => {
                Ok(Self::new(table, feature))
            }
            _ => Err(CommandError::invalid(
                place,
                format!("expected \"table.feature\" or \"table.*\", found {}", describe(&Value::from(text))),
            )),
        }
    }

    pub(super) fn decode(place: &str, value: Value) -> Result<Self> {
        if let Value::String(text) = &value {
            return Self::spelled(place, text);
        }
        if !value.is_object() {
            let expected = "expected \"table.feature\", \"table.*\" or {\"feature\":\"table.feature\",…}";
            return Err(CommandError::invalid(place, format!("{expected}, found {}", describe(&value))));
        }
        let mut fields = Object::new(place, value)?;
        let mut reference = Self::spelled(&fields.place("feature"), &fields.required_text("feature")?)?;
        reference.rename = fields.text("as")?;
        reference.prefix = fields.text("prefix")?;
        let entity_place = fields.place("entity");
        if let Some(entity) = fields.take("entity") {
            reference.entity = decode_entity(&entity_place, entity)?;
        }
        if reference.rename.is_some() && reference.feature == "*" {
            return Err(fields.invalid("`as` names one feature; for `*` give a `prefix`"));
        }
        if reference.rename.is_some() && reference.prefix.is_some() {
            return Err(fields.invalid("give `as` or `prefix`, not both"));
        }
        fields.finish()?;
        Ok(reference)
    }

    pub(super) fn encode(&self) -> Value {
        let feature = Value::from(format!("{}.{}", self.table, self.feature));
        if self.rename.is_none() && self.prefix.is_none() && self.entity.is_empty() {
            return feature;
        }
        let entity = (!self.entity.is_empty()).then(|| {
            let columns = self.entity.iter().map(|(key, column)| (key.clone(), Value::from(column.as_str())));
            Value::Object(columns.collect())
        });
        object([
            ("feature", Some(feature)),
            ("as", self.rename.as_deref().map(Value::from)),
            ("prefix", self.prefix.as_deref().map(Value::from)),
            ("entity", entity),
        ])
    }
}

/// Reads `{"origin":"dest"}` or `{"origin":{"column":"dest"}}`.
fn decode_entity(place: &str, value: Value) -> Result<Vec<(String, String)>> {
    let Value::Object(columns) = value else {
        let expected = "expected an object from key columns to columns of the request";
        return Err(CommandError::invalid(place, format!("{expected}, found {}", describe(&value))));
    };
    let mut read = Vec::with_capacity(columns.len());
    for (key, source) in columns {
        let key_place = format!("{place}.{key}");
        let column = match source {
            Value::String(column) => column,
            Value::Object(ref fields) if fields.contains_key("feature") => {
                return Err(CommandError::reserved(
                    &key_place,
                    "mapping an entity through a feature is not served yet; map it to a column of the request",
                ));
            }
            other => {
                let mut fields = Object::new(key_place, other)?;
                let column = fields.required_text("column")?;
                fields.finish()?;
                column
            }
        };
        read.push((key, column));
    }
    Ok(read)
}
