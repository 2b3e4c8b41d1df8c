//! The bodies of the actions that only name a table or an entity: `describe_*`, `list_*`, `flush`, `compact`,
//! `status`.
//!
//! ```text
//! {"table":"weather"}   {"entity":"airport"}   {}
//! ```
//! Declarations (`create_table` and the like) are read by the storage engine, which owns their JSON form.

use serde_json::Value;

use super::Result;
use super::object::{Object, object};

/// The name of a table, of an entity, or none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableName {
    /// The name, if one is given.
    pub name: Option<String>,
}

impl TableName {
    /// Reads the body of `action`, which may name what `field` says (`table`, `entity`); no field means no name.
    pub fn decode(action: &str, field: Option<&'static str>, body: Value) -> Result<Self> {
        let mut fields = Object::new(action, body)?;
        let name = match field {
            Some(field) => fields.text(field)?,
            None => None,
        };
        fields.finish()?;
        Ok(Self { name })
    }

    /// The body that names a table.
    pub fn encode(&self) -> Value {
        object([("table", self.name.as_deref().map(Value::from))])
    }
}
