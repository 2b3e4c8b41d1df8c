//! `join`: the rows of a spine in, the same rows extended by features out, each as of its own bounds.
//!
//! ```text
//! {"join":{"features":["weather.temp"],"as_of":{"column":"decided_at"},"known_at":{"column":"decided_at"},…}}
//! ```
//! The options are those of `lookup`. `as_of` must be given, because an open bound is how labels leak.

use serde_json::Value;

use super::bound::Bound;
use super::feature::FeatureReference;
use super::lookup::{ReadOptions, decode_features, extend};
use super::object::{Object, object};
use super::{CommandError, Result};

/// In the metadata of the schema of a join (GetSchema): how many of its columns, the first, the spine must have.
pub const SPINE_COLUMNS: &str = "spine_columns";

/// A point-in-time join.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Join {
    /// What to put after the spine's columns, in this order.
    pub features: Vec<FeatureReference>,
    /// The event bound.
    pub as_of: Bound,
    /// The knowledge bound.
    pub known_at: Bound,
    /// How to answer.
    pub options: ReadOptions,
}

impl Join {
    pub(super) fn decode(body: Value) -> Result<Self> {
        let mut fields = Object::new("join", body)?;
        let spine_place = fields.place("spine");
        if fields.take("spine").is_some() {
            let message = "a stored table as spine is not served yet; send the spine as record batches";
            return Err(CommandError::reserved(&spine_place, message));
        }
        let features = decode_features(&mut fields)?;
        let (as_of_place, known_at_place) = (fields.place("as_of"), fields.place("known_at"));
        let Some(as_of) = fields.take("as_of") else {
            let forms = "{\"column\":\"decided_at\"}, a time, or \"latest\" if that is meant";
            return Err(fields.invalid(&format!("a join must say its `as_of`: {forms}")));
        };
        let as_of = Bound::decode(&as_of_place, as_of)?;
        let known_at =
            fields.take("known_at").map(|value| Bound::decode_known_at(&known_at_place, value)).transpose()?;
        let options = ReadOptions::decode(&mut fields)?;
        fields.finish()?;
        Ok(Self { features, as_of, known_at: known_at.unwrap_or_default(), options })
    }

    pub(super) fn encode(&self) -> Value {
        let mut body = object([
            ("features", Some(self.features.iter().map(FeatureReference::encode).collect())),
            ("as_of", Some(self.as_of.encode().unwrap_or_else(|| Value::from("latest")))),
            ("known_at", self.known_at.encode()),
        ]);
        extend(&mut body, object(self.options.encode()));
        body
    }
}
