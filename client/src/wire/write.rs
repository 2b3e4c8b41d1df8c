//! `write`, `delete` and `retract`: batches in, acknowledgements out.
//!
//! ```text
//! descriptor        {"write":{"table":"weather","nulls":"absent","producer":"p1","bad_rows":"report","acknowledge":"object"}}
//!                   {"delete":{"table":"weather"}}   {"retract":{"table":"weather","features":["temp"]}}
//! batch metadata    {"producer_seq":7,"previous":6}
//! acknowledgement   {"batches":3,"rows":24576,"read_position":"…","acknowledged":"object","durable_position":"…",
//!                    "duplicates":0,"bad_rows":[],"bad_row_count":0}
//! ```

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::object::{Object, object};
use super::{CommandError, Result};

/// What the rows of a stream do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// They write cells.
    Write,
    /// They end entities.
    Delete,
    /// They take back identities, or only these features of them.
    Retract {
        /// The features; none given means the whole identity.
        features: Option<Vec<String>>,
    },
}

impl Verb {
    /// The key of the JSON form.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Retract { .. } => "retract",
        }
    }
}

/// What a write must have survived before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The end of the process: it is on the server's disk.
    Local,
    /// The loss of the disk: it is in the bucket.
    Object,
}

impl Level {
    /// How the wire spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Object => "object",
        }
    }
}

/// A stream of batches for one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// What its rows do.
    pub verb: Verb,
    /// The table.
    pub table: String,
    /// Whether a null cell means absent instead of an explicit null.
    pub nulls_absent: bool,
    /// The producer whose sequence numbers the batches carry.
    pub producer: Option<String>,
    /// The column that holds the rows' own ingest times (a history load).
    pub ingest_time: Option<String>,
    /// Whether good rows are applied where others are bad, and the bad ones reported.
    pub report_bad_rows: bool,
    /// What the batches are acknowledged for, if it is not what the server acknowledges for by itself.
    pub acknowledge: Option<Level>,
}

impl Put {
    /// A plain write to `table`.
    pub fn write(table: impl Into<String>) -> Self {
        Self {
            verb: Verb::Write,
            table: table.into(),
            nulls_absent: false,
            producer: None,
            ingest_time: None,
            report_bad_rows: false,
            acknowledge: None,
        }
    }

    pub(super) fn decode(verb: &str, body: Value) -> Result<Self> {
        let mut fields = Object::new(verb, body)?;
        let table = fields.required_text("table")?;
        let verb = match verb {
            "delete" => Verb::Delete,
            "retract" => Verb::Retract { features: fields.texts("features")? },
            _ => Verb::Write,
        };
        let nulls_absent = match verb {
            Verb::Write => fields.choice("nulls", "value", "absent")?,
            Verb::Delete | Verb::Retract { .. } => false,
        };
        let put = Self {
            verb,
            table,
            nulls_absent,
            producer: fields.text("producer")?,
            ingest_time: fields.text("ingest_time")?,
            report_bad_rows: fields.choice("bad_rows", "refuse_batch", "report")?,
            acknowledge: fields
                .given_choice("acknowledge", [Level::Local, Level::Object].map(|level| (level.name(), level)))?,
        };
        if matches!(&put.verb, Verb::Retract { features: Some(features) } if features.is_empty()) {
            return Err(fields.invalid("`features` is empty; leave it out to retract whole rows"));
        }
        fields.finish()?;
        Ok(put)
    }

    pub(super) fn encode(&self) -> Value {
        let features = match &self.verb {
            Verb::Retract { features: Some(features) } => Some(Value::from(features.clone())),
            _ => None,
        };
        object([
            ("table", Some(Value::from(self.table.as_str()))),
            ("features", features),
            ("nulls", self.nulls_absent.then(|| Value::from("absent"))),
            ("producer", self.producer.as_deref().map(Value::from)),
            ("ingest_time", self.ingest_time.as_deref().map(Value::from)),
            ("bad_rows", self.report_bad_rows.then(|| Value::from("report"))),
            ("acknowledge", self.acknowledge.map(|level| Value::from(level.name()))),
        ])
    }
}

/// Where a batch stands in the sequence of its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerStep {
    /// The number of this batch.
    pub producer_seq: u64,
    /// The number of the batch before it; none for the first.
    pub previous: Option<u64>,
}

impl ProducerStep {
    /// Reads the app_metadata of a batch.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let place = "app_metadata";
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| CommandError::invalid(place, format!("not JSON: {error}")))?;
        let mut fields = Object::new(place, value)?;
        let producer_seq = fields.count("producer_seq")?;
        let previous = fields.count("previous")?;
        let missing = fields.invalid("the field `producer_seq` is missing");
        let order = fields.invalid("`producer_seq` must be greater than `previous`");
        fields.finish()?;
        let producer_seq = producer_seq.ok_or(missing)?;
        if previous.is_some_and(|previous| previous >= producer_seq) {
            return Err(order);
        }
        Ok(Self { producer_seq, previous })
    }

    /// The app_metadata of a batch.
    pub fn encode(&self) -> Vec<u8> {
        let previous = Some(self.previous.map_or(Value::Null, Value::from));
        let step = object([("producer_seq", Some(Value::from(self.producer_seq))), ("previous", previous)]);
        step.to_string().into_bytes()
    }
}

/// The app_metadata of a PutResult: one or more batches, in order, are durable and readable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// How many batches this acknowledges.
    pub batches: u64,
    /// How many rows of them were applied.
    pub rows: u64,
    /// A read at this position sees them.
    pub read_position: String,
    /// With a bucket: what the batches have survived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Level>,
    /// With a bucket: a read at this position sees what the bucket has, and what no loss of a disk takes away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable_position: Option<String>,
    /// How many of the batches had been applied before.
    pub duplicates: u64,
    /// The first bad rows, at most 1,000.
    pub bad_rows: Vec<BadRow>,
    /// How many bad rows there were.
    #[serde(default)]
    pub bad_row_count: u64,
}

/// A row that was not applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// Its batch, counted from 0 in the stream.
    pub batch: u64,
    /// Its place in the batch, counted from 0.
    pub row: u64,
    /// The column at fault.
    pub column: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Acknowledgement {
    /// Reads the app_metadata of a PutResult.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| CommandError::invalid("acknowledgement", error))
    }

    /// The app_metadata of a PutResult.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an acknowledgement has only string keys")
    }
}
