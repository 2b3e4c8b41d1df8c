//! Receipts: the proof of an erase, which says when its last byte went, and from where.
//!
//! A tier counts what lay in it when the purge began, may have held what was erased, and is deleted now. It does not count what an
//! earlier purge removed that failed before its end. Of a database without a bucket there is no tier but the disk, and so it is on a
//! follower, which removes the bytes from its own disk.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::time::{Micros, Sequence};

/// The proof of one erase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The commit.
    pub sequence: Sequence,
    /// When it was committed, µs.
    pub ingest_time: Micros,
    /// How many entities it found.
    pub entities: u64,
    /// When the last byte was gone from every file, µs.
    pub purged: Option<Micros>,
    /// From where they went; none before, and of receipts that are older than this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Tiers>,
}

/// From where the bytes of an erase went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tiers {
    /// Files of the local disk: the log, segments, packs and dictionaries.
    pub disk: Gone,
    /// The bucket, if there is one.
    #[serde(flatten)]
    pub home: Option<HomeTiers>,
}

/// The tiers of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeTiers {
    /// Objects of the log, and of the files that the disk has too.
    pub bucket: Gone,
    /// Files of ice.
    pub ice: Gone,
    /// Checkpoints, which were written anew.
    pub checkpoints: Gone,
}

/// What went from a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// By when all of it was gone, µs.
    pub gone_at: Micros,
    /// How many files or objects.
    pub removed: u64,
}

impl Receipt {
    /// What people are told of it.
    pub fn told(&self) -> Value {
        let mut told = json!({ "entities": self.entities, "erased_at": self.ingest_time, "purged_at": self.purged });
        if let Some(tiers) = &self.tiers {
            told["tiers"] = json!(tiers);
        }
        told
    }
}
