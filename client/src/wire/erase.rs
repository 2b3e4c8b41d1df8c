//! The bodies of the actions `erase` (every row of some entities, at all bounds, in every tier), `receipts`, `blocked` and `unblock`.
//!
//! ```text
//! {"entity":"airport","entities":{"origin":["EWR"]},"block":false}
//! {"entity":"airport","last":10}
//! {"entity":"airport","entities":{"origin":["EWR"]}}
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

/// So many receipts are answered if nothing is said of how many.
pub const RECEIPTS_ASKED: u64 = 100;
/// The most receipts that one answer has.
pub const RECEIPTS_MAX: u64 = 10_000;

/// The receipts of erases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipts {
    /// The entity, as declared.
    pub entity: String,
    /// Those of so many erases, the last of all; 1 to [`RECEIPTS_MAX`].
    pub last: u64,
}

impl Receipts {
    /// Reads the body of the action.
    pub fn decode(body: Value) -> Result<Self> {
        let mut fields = Object::new("receipts", body)?;
        let entity = fields.required_text("entity")?;
        let last = fields.count("last")?.unwrap_or(RECEIPTS_ASKED);
        fields.finish()?;
        if !(1..=RECEIPTS_MAX).contains(&last) {
            let wrong = format!("the field `last` is {last}: ask for 1 to {RECEIPTS_MAX} receipts");
            return Err(CommandError::invalid("receipts", wrong));
        }
        Ok(Self { entity, last })
    }

    /// The body of the action.
    pub fn encode(&self) -> Value {
        object([("entity", Some(Value::from(self.entity.as_str()))), ("last", Some(Value::from(self.last)))])
    }
}

/// Entities that an erase may have blocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// The entity, as declared.
    pub entity: String,
    /// Keys, or leading key columns, as an erase named them; none where all are meant.
    pub entities: KeyValues,
}

impl Blocked {
    /// Reads the body of the action `name`, which may leave out the keys unless they are `needed`.
    pub fn decode(name: &str, body: Value, needed: bool) -> Result<Self> {
        let mut fields = Object::new(name, body)?;
        let entity = fields.required_text("entity")?;
        let entities = fields.key_values("entities")?;
        fields.finish()?;
        if entities.is_none() && needed {
            return Err(CommandError::invalid(name, "the field `entities` is missing"));
        }
        Ok(Self { entity, entities: entities.unwrap_or_default() })
    }

    /// The body of the action.
    pub fn encode(&self) -> Value {
        let entities = (!self.entities.is_empty()).then(|| key_values(&self.entities));
        object([("entity", Some(Value::from(self.entity.as_str()))), ("entities", entities)])
    }
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
