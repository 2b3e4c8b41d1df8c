//! The action `producers`: how far each producer of a table has come, which is what one that resumes asks.
//!
//! ```text
//! body    {"table":"weather","producer":"loader"}
//! answer  {"table":"weather","producers":{"loader":7}}
//! ```
//! The numbers are those of batches that are durable and readable. Without `producer` all are answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Result;
use super::object::{Object, object};

/// Whose numbers are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProducersOf {
    /// The table.
    pub table: String,
    /// One producer, or all.
    pub producer: Option<String>,
}

/// The last number of each producer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Producers {
    /// The table.
    pub table: String,
    /// Each that has sent something, by name.
    pub producers: BTreeMap<String, u64>,
}

impl ProducersOf {
    /// Reads the body of the action.
    pub fn decode(body: Value) -> Result<Self> {
        let mut fields = Object::new("producers", body)?;
        let asked = Self { table: fields.required_text("table")?, producer: fields.text("producer")? };
        fields.finish()?;
        Ok(asked)
    }

    /// The body of the action.
    pub fn encode(&self) -> Value {
        object([
            ("table", Some(Value::from(self.table.as_str()))),
            ("producer", self.producer.as_deref().map(Value::from)),
        ])
    }
}
