//! The app_metadata of every record-batch message of an answer.
//!
//! ```text
//! {"request":k,"last":true,"read_position":"…","durable_position":"…","clock":µs,"schema_version":n}
//! {"request":k,"last":true,"error":{"code":"INVALID_ARGUMENT","message":"…"}}
//! ```
//! Reading it ignores unknown fields: a newer server may say more.

use serde::{Deserialize, Serialize};

use super::{CommandError, Result};

/// What a message of an answer says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// The request that is answered, counted from 0 in the stream.
    pub request: u64,
    /// Whether this is the answer's last message.
    pub last: bool,
    /// Which commits the read saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_position: Option<String>,
    /// With a bucket: how far that was, so what no loss of a disk takes away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable_position: Option<String>,
    /// The clock that ages were measured from, µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<i64>,
    /// The schema version that chose names, types, defaults and max ages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<u64>,
    /// An erase after the read's position touched what was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased_since: Option<String>,
    /// On the last message: a hash of names, types, validity and value bits in row order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why the request has no answer; there are zero rows then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<AnswerError>,
}

/// A request's error, in band.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerError {
    /// The code as gRPC spells it (`INVALID_ARGUMENT`).
    pub code: String,
    /// What, where and how to mend it.
    pub message: String,
    /// The column or feature at fault, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The first row at fault, counted from 0 in the request, if it is a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
}

impl Answer {
    /// Reads the app_metadata of a message.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| CommandError::invalid("answer", error))
    }

    /// The app_metadata of a message.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an answer has only string keys")
    }
}
