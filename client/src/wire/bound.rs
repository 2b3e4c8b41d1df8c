//! Bounds of a read: how far into event time, and how much had been learned.
//!
//! ```text
//! "latest"                                   open
//! "2024-05-01T00:00:00Z"   {"us":n}          a time
//! {"time":"2024-…","exclusive":true}         a time, for as_of also exclusive
//! {"column":"decided_at","exclusive":true}   a timestamp column of the request, row by row
//! ```
//! Text times stay text here: whether they are floored or rounded up depends on the bound, and the server decides it.

use serde_json::Value;

use super::object::{Object, describe, flag, object, text};
use super::{CommandError, Result};

/// A point in time as it was spelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Time {
    /// RFC 3339.
    Text(String),
    /// Microseconds since 1970-01-01 UTC.
    Micros(i64),
}

impl Time {
    pub(super) fn decode(place: &str, value: Value) -> Result<Self> {
        match value {
            Value::String(text) => Ok(Self::Text(text)),
            Value::Object(_) => {
                let mut fields = Object::new(place, value)?;
                let micros = fields.micros("us")?;
                let missing = fields.invalid("expected an RFC 3339 string or {\"us\":microseconds}");
                fields.finish()?;
                micros.map(Self::Micros).ok_or(missing)
            }
            other => {
                let expected = "expected an RFC 3339 string or {\"us\":microseconds}";
                Err(CommandError::invalid(place, format!("{expected}, found {}", describe(&other))))
            }
        }
    }

    pub(super) fn encode(&self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.clone()),
            Self::Micros(micros) => object([("us", Some(Value::from(*micros)))]),
        }
    }
}

/// An event bound (`as_of`) or a knowledge bound (`known_at`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Bound {
    /// Open.
    #[default]
    Latest,
    /// One time for every row.
    Time {
        /// The time.
        time: Time,
        /// Whether the time itself is outside.
        exclusive: bool,
    },
    /// A timestamp column of the request.
    Column {
        /// Its name.
        column: String,
        /// Whether the time itself is outside.
        exclusive: bool,
    },
}

impl Bound {
    pub(super) fn decode(place: &str, value: Value) -> Result<Self> {
        match value {
            Value::String(word) if word == "latest" => Ok(Self::Latest),
            Value::String(text) => Ok(Self::Time { time: Time::Text(text), exclusive: false }),
            Value::Object(_) => Self::decode_object(place, value),
            other => Err(CommandError::invalid(
                place,
                format!(
                    "expected \"latest\", an RFC 3339 string, {{\"us\":…}}, {{\"time\":…}} or {{\"column\":…}}, found {}",
                    describe(&other)
                ),
            )),
        }
    }

    fn decode_object(place: &str, value: Value) -> Result<Self> {
        let mut fields = Object::new(place, value)?;
        let time_place = fields.place("time");
        let column_place = fields.place("column");
        let time = fields.take("time");
        let micros = fields.micros("us")?;
        let column = fields.take("column");
        let exclusive = fields.flag("exclusive")?;
        let ambiguous = fields.invalid("give exactly one of `time`, `us` and `column`");
        fields.finish()?;
        match (time, micros, column) {
            (Some(time), None, None) => Ok(Self::Time { time: Time::decode(&time_place, time)?, exclusive }),
            (None, Some(micros), None) => Ok(Self::Time { time: Time::Micros(micros), exclusive }),
            (None, None, Some(column)) => Ok(Self::Column { column: text(&column_place, column)?, exclusive }),
            _ => Err(ambiguous),
        }
    }

    /// The same for `known_at`, which is always inclusive.
    pub(super) fn decode_known_at(place: &str, value: Value) -> Result<Self> {
        match Self::decode(place, value)? {
            Self::Time { exclusive: true, .. } | Self::Column { exclusive: true, .. } => {
                Err(CommandError::invalid(place, "`exclusive` belongs to `as_of` alone; known_at is inclusive"))
            }
            bound => Ok(bound),
        }
    }

    pub(super) fn encode(&self) -> Option<Value> {
        match self {
            Self::Latest => None,
            Self::Time { time, exclusive: false } => Some(time.encode()),
            Self::Time { time, exclusive } => {
                Some(object([("time", Some(time.encode())), ("exclusive", flag(*exclusive))]))
            }
            Self::Column { column, exclusive } => {
                Some(object([("column", Some(Value::from(column.as_str()))), ("exclusive", flag(*exclusive))]))
            }
        }
    }
}
