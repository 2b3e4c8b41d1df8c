//! `lookup`: entities and bounds in, features out.
//!
//! ```text
//! {"lookup":{"features":["weather.temp"],"as_of":"latest","known_at":"latest","status":false,"event_times":false,
//!            "position":"…","durable":false,"schema_version":7,"clock":µs,"at_least":"…","wait":"100ms","digest":false,
//!            "null_keys":"refuse","max_age":"3h","max_message_bytes":4194304,"errors":"in_band","entities":{"origin":["EWR"]}}}
//! ```
//! `entities` belongs to a DoGet ticket; in DoExchange the entities come as record batches.

use serde_json::Value;

use super::bound::Bound;
use super::feature::FeatureReference;
use super::object::{Object, count_or_most, flag, key_values, object};
use super::{KeyValues, Result};

/// Features of entities.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lookup {
    /// What to answer, in this order.
    pub features: Vec<FeatureReference>,
    /// The event bound.
    pub as_of: Bound,
    /// The knowledge bound.
    pub known_at: Bound,
    /// How to answer.
    pub options: ReadOptions,
    /// The entities of a one-shot call.
    pub entities: Option<KeyValues>,
}

/// What lookups and joins may ask for beside features and bounds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// Adds `x__status` after each feature `x`.
    pub status: bool,
    /// Adds `x__event_time` after each feature `x`.
    pub event_times: bool,
    /// Reads exactly the commits of this position.
    pub position: Option<String>,
    /// Sees nothing that the loss of the server's disk could take back.
    pub durable: bool,
    /// Names, types, defaults and max ages as of this schema version.
    pub schema_version: Option<u64>,
    /// Replaces the clock for ages, µs.
    pub clock: Option<i64>,
    /// Reads no earlier than this position.
    pub at_least: Option<String>,
    /// How long to wait for `at_least`, as a duration (`"100ms"`).
    pub wait: Option<String>,
    /// Puts a hash of each answer on its last message.
    pub digest: bool,
    /// Rows whose key is null are answered as those of an unknown entity, instead of refused.
    pub keep_null_keys: bool,
    /// Counts instead of the max ages that the features declare: a duration (`"3h"`), or `"none"`.
    pub max_age: Option<String>,
    /// The greatest size of one message of an answer; [`super::MOST`] is what the server allows.
    pub max_message_bytes: Option<u64>,
    /// Answers errors that depend on rows or state in band instead of ending the stream.
    pub errors_in_band: bool,
}

impl ReadOptions {
    pub(super) fn decode(fields: &mut Object) -> Result<Self> {
        let options = Self {
            status: fields.flag("status")?,
            event_times: fields.flag("event_times")?,
            position: fields.text("position")?,
            durable: fields.flag("durable")?,
            schema_version: fields.count("schema_version")?,
            clock: fields.micros("clock")?,
            at_least: fields.text("at_least")?,
            wait: fields.text("wait")?,
            digest: fields.flag("digest")?,
            keep_null_keys: fields.choice("null_keys", "refuse", "keep")?,
            max_age: fields.text("max_age")?,
            max_message_bytes: fields.count_or_most("max_message_bytes")?,
            errors_in_band: fields.choice("errors", "status", "in_band")?,
        };
        if options.wait.is_some() && options.at_least.is_none() {
            return Err(fields.invalid("`wait` needs `at_least`: a position to wait for"));
        }
        Ok(options)
    }

    /// The given options as fields of a command.
    pub(super) fn encode(&self) -> [(&'static str, Option<Value>); 13] {
        [
            ("status", flag(self.status)),
            ("event_times", flag(self.event_times)),
            ("position", self.position.as_deref().map(Value::from)),
            ("durable", flag(self.durable)),
            ("schema_version", self.schema_version.map(Value::from)),
            ("clock", self.clock.map(Value::from)),
            ("at_least", self.at_least.as_deref().map(Value::from)),
            ("wait", self.wait.as_deref().map(Value::from)),
            ("digest", flag(self.digest)),
            ("null_keys", self.keep_null_keys.then(|| Value::from("keep"))),
            ("max_age", self.max_age.as_deref().map(Value::from)),
            ("max_message_bytes", self.max_message_bytes.map(count_or_most)),
            ("errors", self.errors_in_band.then(|| Value::from("in_band"))),
        ]
    }
}

/// The features of a lookup or a join.
pub(super) fn decode_features(fields: &mut Object) -> Result<Vec<FeatureReference>> {
    let listed = fields.required_list("features")?;
    if listed.is_empty() {
        return Err(fields.invalid("`features` is empty; name at least one, for example \"weather.temp\""));
    }
    listed.into_iter().map(|(place, value)| FeatureReference::decode(&place, value)).collect()
}

impl Lookup {
    pub(super) fn decode(body: Value) -> Result<Self> {
        let mut fields = Object::new("lookup", body)?;
        let features = decode_features(&mut fields)?;
        let (as_of_place, known_at_place) = (fields.place("as_of"), fields.place("known_at"));
        let as_of = fields.take("as_of").map(|value| Bound::decode(&as_of_place, value)).transpose()?;
        let known_at =
            fields.take("known_at").map(|value| Bound::decode_known_at(&known_at_place, value)).transpose()?;
        let options = ReadOptions::decode(&mut fields)?;
        let entities = fields.key_values("entities")?;
        fields.finish()?;
        Ok(Self {
            features,
            as_of: as_of.unwrap_or_default(),
            known_at: known_at.unwrap_or_default(),
            options,
            entities,
        })
    }

    pub(super) fn encode(&self) -> Value {
        let mut body = object([
            ("features", Some(self.features.iter().map(FeatureReference::encode).collect())),
            ("as_of", self.as_of.encode()),
            ("known_at", self.known_at.encode()),
        ]);
        extend(&mut body, object(self.options.encode()));
        extend(&mut body, object([("entities", self.entities.as_ref().map(key_values))]));
        body
    }
}

/// Puts the fields of `more` after those of `body`.
pub(super) fn extend(body: &mut Value, more: Value) {
    if let (Value::Object(body), Value::Object(more)) = (body, more) {
        body.extend(more);
    }
}
