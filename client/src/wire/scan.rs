//! `scan`: a table's entities at a bound, or its whole history, in parts that may be read in parallel.
//!
//! ```text
//! {"scan":{"table":"weather","columns":["temp"],"as_of":…,"known_at":…,"history":false,"from":…,"to":…,
//!          "position":"…","durable":false,"schema_version":7,"clock":µs,"max_message_bytes":n}}
//! ```
//! GetFlightInfo answers tickets of the same form with `"part":{"part":0,"parts":4}` and everything fixed. To a
//! client they are opaque. A ticket without a part reads the whole table.

use serde_json::Value;

use super::bound::{Bound, Time};
use super::object::{Object, count_or_most, flag, object};
use super::{CommandError, Result};

/// What to read of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scan {
    /// The table.
    pub table: String,
    /// The features; none given means all.
    pub columns: Option<Vec<String>>,
    /// The event bound, the same for all rows.
    pub as_of: Bound,
    /// The knowledge bound, the same for all rows.
    pub known_at: Bound,
    /// Every row and tombstone instead of one row per entity.
    pub history: bool,
    /// The least event time.
    pub from: Option<Time>,
    /// The event time that is already outside.
    pub to: Option<Time>,
    /// Reads exactly the commits of this position.
    pub position: Option<String>,
    /// Sees nothing that the loss of the server's disk could take back.
    pub durable: bool,
    /// Names, types, defaults and max ages as of this schema version.
    pub schema_version: Option<u64>,
    /// Replaces the clock for ages, µs.
    pub clock: Option<i64>,
    /// The greatest size of one message; [`super::MOST`] is what the server allows.
    pub max_message_bytes: Option<u64>,
    /// Which part of the scan.
    pub part: Option<Part>,
}

/// One of the parts that a scan was divided into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Counted from 0.
    pub part: u64,
    /// How many there are.
    pub parts: u64,
}

impl Scan {
    pub(super) fn decode(body: Value) -> Result<Self> {
        let mut fields = Object::new("scan", body)?;
        let table = fields.required_text("table")?;
        let columns = fields.texts("columns")?;
        let (as_of_place, known_at_place) = (fields.place("as_of"), fields.place("known_at"));
        let as_of = fields.take("as_of").map(|value| Bound::decode(&as_of_place, value)).transpose()?;
        let known_at =
            fields.take("known_at").map(|value| Bound::decode_known_at(&known_at_place, value)).transpose()?;
        for (place, bound) in [(&as_of_place, &as_of), (&known_at_place, &known_at)] {
            if matches!(bound, Some(Bound::Column { .. })) {
                return Err(CommandError::invalid(place, "a scan has no rows of a request; give a time or \"latest\""));
            }
        }
        let history = fields.flag("history")?;
        let (from_place, to_place) = (fields.place("from"), fields.place("to"));
        let from = fields.take("from").map(|value| Time::decode(&from_place, value)).transpose()?;
        let to = fields.take("to").map(|value| Time::decode(&to_place, value)).transpose()?;
        let scan = Self {
            table,
            columns,
            as_of: as_of.unwrap_or_default(),
            known_at: known_at.unwrap_or_default(),
            history,
            from,
            to,
            position: fields.text("position")?,
            durable: fields.flag("durable")?,
            schema_version: fields.count("schema_version")?,
            clock: fields.micros("clock")?,
            max_message_bytes: fields.count_or_most("max_message_bytes")?,
            part: Part::decode(&mut fields)?,
        };
        fields.finish()?;
        Ok(scan)
    }

    pub(super) fn encode(&self) -> Value {
        object([
            ("table", Some(Value::from(self.table.as_str()))),
            ("columns", self.columns.as_ref().map(|columns| Value::from(columns.clone()))),
            ("as_of", self.as_of.encode()),
            ("known_at", self.known_at.encode()),
            ("history", flag(self.history)),
            ("from", self.from.as_ref().map(Time::encode)),
            ("to", self.to.as_ref().map(Time::encode)),
            ("position", self.position.as_deref().map(Value::from)),
            ("durable", flag(self.durable)),
            ("schema_version", self.schema_version.map(Value::from)),
            ("clock", self.clock.map(Value::from)),
            ("max_message_bytes", self.max_message_bytes.map(count_or_most)),
            ("part", self.part.map(Part::encode)),
        ])
    }
}

impl Part {
    fn decode(fields: &mut Object) -> Result<Option<Self>> {
        let place = fields.place("part");
        let Some(value) = fields.take("part") else { return Ok(None) };
        let mut inner = Object::new(place, value)?;
        let (part, parts) = (inner.count("part")?, inner.count("parts")?);
        let wrong = inner.invalid("expected {\"part\":k,\"parts\":n} with k < n");
        inner.finish()?;
        match (part, parts) {
            (Some(part), Some(parts)) if part < parts => Ok(Some(Self { part, parts })),
            _ => Err(wrong),
        }
    }

    fn encode(self) -> Value {
        object([("part", Some(Value::from(self.part))), ("parts", Some(Value::from(self.parts)))])
    }
}
