//! What a feature table says of itself beside its columns: one setting each, declared with it or changed later.

use super::catalog::Table;
use super::names::MAX_FUTURE_SKEW_DEFAULT;
use crate::error::{Error, Result};

/// One setting of a feature table and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// Max age in microseconds; `None` is unlimited.
    MaxAge(Option<i64>),
    /// How far after its own ingest time an event time may be, in microseconds; `None` is any.
    MaxFutureSkew(Option<i64>),
    /// How long events are kept, in microseconds; `None` is for ever.
    KeepEvents(Option<i64>),
    /// How long past knowledge is kept, in microseconds; `None` is for ever.
    KeepKnowledge(Option<i64>),
    /// How long frozen segments stay on the local disk while there is room, in microseconds; `None` is for ever.
    HotWindow(Option<i64>),
    /// Who answers for it.
    Owner(String),
    /// What it is.
    Description(String),
    /// Free words.
    Tags(Vec<String>),
}

impl Setting {
    /// Gives `table` the setting.
    pub(super) fn set_on(&self, table: &mut Table) -> Result<()> {
        let kept = |field: &str, kept: Option<i64>| match kept {
            Some(0) => {
                Err(Error::invalid(format!("{field} of 0 would keep nothing; to keep everything write \"none\"")))
            }
            kept => Ok(kept),
        };
        match self {
            Self::MaxAge(micros) => table.max_age = *micros,
            Self::MaxFutureSkew(micros) => table.max_future_skew = *micros,
            Self::KeepEvents(micros) => table.keep_events = kept("keep_events", *micros)?,
            Self::KeepKnowledge(micros) => table.keep_knowledge = kept("keep_knowledge", *micros)?,
            Self::HotWindow(micros) => table.hot_window = *micros,
            Self::Owner(owner) => table.owner.clone_from(owner),
            Self::Description(description) => table.description.clone_from(description),
            Self::Tags(tags) => table.tags.clone_from(tags),
        }
        Ok(())
    }
}

impl Table {
    /// A table with nothing in it and every setting as it is when not declared.
    pub(super) fn unnamed() -> Self {
        Self {
            id: 0,
            name: String::new(),
            entity: 0,
            event_time: String::new(),
            row_id: Vec::new(),
            features: Vec::new(),
            retired: Vec::new(),
            purged: Vec::new(),
            aggregates: Vec::new(),
            max_age: None,
            max_future_skew: Some(MAX_FUTURE_SKEW_DEFAULT),
            keep_events: None,
            keep_knowledge: None,
            hot_window: None,
            rounding_floor: false,
            floats_exact: false,
            owner: String::new(),
            description: String::new(),
            tags: Vec::new(),
            sealed: false,
            next_feature: 1,
            shape: 0,
        }
    }
}
