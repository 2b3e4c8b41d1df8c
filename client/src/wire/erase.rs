//! The body of the action `erase`: every row of some entities, at all bounds, in every tier.
//!
//! ```text
//! {"entity":"airport","entities":{"origin":["EWR"]},"block":false}
//! ```

use serde_json::Value;

use super::Result;
use super::object::{Object, flag, key_values, object};
use super::{CommandError, KeyValues};

/// Entities to erase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erase {
    /// The entity, as declared.
    pub entity: String,
    /// Its keys, or leading key columns for every entity that begins with them.
    pub entities: KeyValues,
    /// Whether later rows of them are refused.
    pub block: bool,
}

impl Erase {
    /// Reads the body of the action.
    pub fn decode(body: Value) -> Result<Self> {
        let mut fields = Object::new("erase", body)?;
        let entity = fields.required_text("entity")?;
        let entities = fields.key_values("entities")?;
        let block = fields.flag("block")?;
        fields.finish()?;
        let missing = || CommandError::invalid("erase", "the field `entities` is missing");
        Ok(Self { entity, entities: entities.ok_or_else(missing)?, block })
    }

    /// The body of the action.
    pub fn encode(&self) -> Value {
        object([
            ("entity", Some(Value::from(self.entity.as_str()))),
            ("entities", Some(key_values(&self.entities))),
            ("block", flag(self.block)),
        ])
    }
}
