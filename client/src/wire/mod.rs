//! The commands of the wire, one per file, decode beside encode: what a client sends is read by the same file.
//!
//! A command is a JSON object with exactly one key, its verb: `{"lookup":{…}}`. It travels as a Flight descriptor
//! command or a ticket. Unknown fields are errors that name the field, its place and what is accepted there, so a
//! misspelt option is never silently ignored. Nothing here knows a table or checks a name against a catalog.

mod answer;
mod bound;
mod erase;
mod feature;
mod join;
mod lookup;
mod object;
mod producers;
mod scan;
mod tables;
mod write;

use std::fmt;

use serde_json::{Map, Value};

pub use answer::{Answer, AnswerError};
pub use bound::{Bound, Time};
pub use erase::{Blocked, Erase, RECEIPTS_ASKED, RECEIPTS_MAX, Receipts};
pub use feature::FeatureReference;
pub use join::{Join, SPINE_COLUMNS};
pub use lookup::{Lookup, ReadOptions};
pub use object::MOST;
pub use producers::{Producers, ProducersOf};
pub use scan::{Part, Scan};
pub use tables::TableName;
pub use write::{Acknowledgement, BadRow, Level, ProducerStep, Put, Verb};

/// Keys of entities, column by column, each with its JSON values in row order.
pub type KeyValues = Vec<(String, Vec<Value>)>;

/// Why a command could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandError {
    /// Whether the form is known but reserved for a later version (`UNIMPLEMENTED`, else `INVALID_ARGUMENT`).
    pub reserved: bool,
    /// What, where and how to mend it.
    pub message: String,
}

impl CommandError {
    fn invalid(place: &str, message: impl fmt::Display) -> Self {
        Self { reserved: false, message: format!("{place}: {message}") }
    }

    fn reserved(place: &str, message: impl fmt::Display) -> Self {
        Self { reserved: true, message: format!("{place}: {message}") }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CommandError {}

/// The result of reading a command.
pub type Result<T> = std::result::Result<T, CommandError>;

/// Every command that travels as a descriptor or a ticket.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Features of entities (DoExchange, or DoGet with entities).
    Lookup(Lookup),
    /// A spine extended by features (DoExchange).
    Join(Join),
    /// A write, delete or retract (DoPut).
    Put(Put),
    /// A table, whole or in part (GetFlightInfo, DoGet).
    Scan(Scan),
}

/// The verbs of [`Command`], in the order in which the documentation shows them.
const VERBS: &str = "`lookup`, `join`, `write`, `delete`, `retract`, `scan`";

impl Command {
    /// Reads the bytes of a descriptor command or a ticket.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(CommandError::invalid(
                "command",
                format!(
                    "expected a JSON object with one of the keys {VERBS}; a command of Flight SQL comes in a google.protobuf.Any"
                ),
            ));
        }
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| CommandError::invalid("command", format!("not JSON: {error}")))?;
        let Value::Object(fields) = value else {
            return Err(CommandError::invalid("command", "expected a JSON object"));
        };
        let mut fields = fields.into_iter();
        match (fields.next(), fields.next()) {
            (Some((verb, body)), None) => Self::from_verb(&verb, body),
            (None, _) => Err(CommandError::invalid("command", format!("it is empty; give exactly one of {VERBS}"))),
            (Some((first, _)), Some((second, _))) => Err(CommandError::invalid(
                "command",
                format!("has the keys `{first}` and `{second}`; give exactly one of {VERBS}"),
            )),
        }
    }

    fn from_verb(verb: &str, body: Value) -> Result<Self> {
        match verb {
            "lookup" => Ok(Self::Lookup(Lookup::decode(body)?)),
            "join" => Ok(Self::Join(Join::decode(body)?)),
            "write" | "delete" | "retract" => Ok(Self::Put(Put::decode(verb, body)?)),
            "scan" => Ok(Self::Scan(Scan::decode(body)?)),
            _ => Err(CommandError::invalid("command", format!("unknown verb `{verb}`; give one of {VERBS}"))),
        }
    }

    /// The verb: the one key of the JSON form.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Lookup(_) => "lookup",
            Self::Join(_) => "join",
            Self::Put(put) => put.verb.name(),
            Self::Scan(_) => "scan",
        }
    }

    /// The bytes that [`Command::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let body = match self {
            Self::Lookup(lookup) => lookup.encode(),
            Self::Join(join) => join.encode(),
            Self::Put(put) => put.encode(),
            Self::Scan(scan) => scan.encode(),
        };
        let mut command = Map::new();
        command.insert(self.verb().to_owned(), body);
        Value::Object(command).to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests;
