//! Erasing entities: at once invisible at all bounds, then gone from every file.
//!
//! An erase is a commit. Its entities' ordinals leave the dictionary, so that no read finds them and later rows of
//! the same key are a new entity; what stays is a hash of each key, so that a replayed older row is recognised and
//! dropped, and so that a read at an older position can say that something was erased. Purging (`purge.rs`) then
//! rewrites what still holds their bytes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::model::key::{self, KeyColumn, Keys};
use crate::time::{Micros, Sequence};
use crate::view::EntityState;

/// The entities that one request erases: encoded keys, or encodings of the leading key columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasePlan {
    /// The entity's number.
    pub entity: u32,
    /// How many leading key columns each prefix has.
    pub columns: usize,
    /// The prefixes, in base64.
    prefixes: Vec<String>,
    /// Whether later rows of these entities are refused.
    pub block: bool,
}

impl ErasePlan {
    /// A plan over `prefixes` of `columns` key columns each.
    pub fn new(entity: u32, columns: usize, prefixes: &Keys, block: bool) -> Self {
        let prefixes = (0..prefixes.len()).map(|row| STANDARD.encode(prefixes.get(row))).collect();
        Self { entity, columns, prefixes, block }
    }

    /// The plan as the WAL keeps it.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a plan is plain data")
    }

    /// Reads what [`ErasePlan::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| Error::invalid(format!("an erase record does not read: {error}")))
    }

    fn prefixes(&self) -> impl Iterator<Item = Vec<u8>> {
        self.prefixes.iter().filter_map(|text| STANDARD.decode(text).ok())
    }
}

/// What was erased of one entity.
#[derive(Debug, Clone, Default)]
pub struct Erasures {
    /// Hash of an erased key → the commit that erased it last.
    keys: HashMap<u128, Sequence>,
    /// Hashes of blocked prefixes, by how many key columns they have.
    blocked: BTreeMap<usize, HashSet<u128>>,
    /// The key columns, for cutting prefixes from keys.
    key: Vec<KeyColumn>,
    /// Every erase, oldest first.
    pub receipts: Vec<Receipt>,
}

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
}

/// [`Erasures`] as the manifest keeps them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasuresEntry {
    keys: Vec<(String, Sequence)>,
    blocked: Vec<(usize, String)>,
    receipts: Vec<Receipt>,
}

impl Erasures {
    /// What a manifest kept, for an entity with these key columns.
    pub fn from_entry(entry: &ErasuresEntry, key: Vec<KeyColumn>) -> Result<Self> {
        let hash = |text: &str| {
            u128::from_str_radix(text, 16).map_err(|_| Error::invalid(format!("{text:?} is not the hash of a key")))
        };
        let mut erasures = Self { key, receipts: entry.receipts.clone(), ..Self::default() };
        for (text, sequence) in &entry.keys {
            erasures.keys.insert(hash(text)?, *sequence);
        }
        for (columns, text) in &entry.blocked {
            erasures.blocked.entry(*columns).or_default().insert(hash(text)?);
        }
        Ok(erasures)
    }

    /// What the manifest keeps.
    pub fn entry(&self) -> ErasuresEntry {
        let mut keys: Vec<_> = self.keys.iter().map(|(hash, sequence)| (format!("{hash:032x}"), *sequence)).collect();
        keys.sort();
        let blocked = self.blocked.iter().flat_map(|(columns, hashes)| hashes.iter().map(|hash| (*columns, *hash)));
        let mut blocked: Vec<_> = blocked.map(|(columns, hash)| (columns, format!("{hash:032x}"))).collect();
        blocked.sort();
        ErasuresEntry { keys, blocked, receipts: self.receipts.clone() }
    }

    /// The commit that erased `key` last, if any did.
    pub fn erased_at(&self, key: &[u8]) -> Option<Sequence> {
        if self.keys.is_empty() {
            return None;
        }
        self.keys.get(&xxh3_128(key)).copied()
    }

    /// Whether anything was erased.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Refuses keys of blocked entities.
    pub fn check_blocked(&self, keys: &Keys) -> Result<()> {
        if self.blocked.is_empty() {
            return Ok(());
        }
        for row in 0..keys.len() {
            let bytes = keys.get(row);
            for (&columns, hashes) in &self.blocked {
                let length = key::prefix_length(&self.key, bytes, columns);
                if hashes.contains(&xxh3_128(&bytes[..length])) {
                    return Err(Error::precondition(format!(
                        "row {row}: its entity was erased with \"block\":true and takes no more rows; leave the row out"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Applies an erase: its entities are invisible when this returns.
pub fn apply_erase(engine: &Engine, plan: &ErasePlan, sequence: Sequence, ingest_time: Micros) -> Result<()> {
    let Some(entity) = engine.entity(plan.entity) else { return Ok(()) };
    let versions = engine.versions.load();
    let declared = versions.newest().entity_by_id(plan.entity);
    let key_columns = declared.map(|entity| entity.key.clone()).unwrap_or_default();
    let mut erasures = entity.erasures.write();
    erasures.key = key_columns;
    let mut count = 0;
    for dictionary in &entity.dictionaries {
        let mut ordinals = RoaringBitmap::new();
        for prefix in plan.prefixes() {
            ordinals |= dictionary.matching_prefix(&prefix)?;
        }
        let listed: Vec<u32> = ordinals.iter().collect();
        dictionary.keys(&listed, &mut |_, key| {
            if let Some(key) = key {
                erasures.keys.insert(xxh3_128(key), sequence);
            }
        })?;
        count += ordinals.len();
        dictionary.erase(&ordinals);
    }
    if plan.block {
        let hashes = plan.prefixes().map(|prefix| xxh3_128(&prefix));
        erasures.blocked.entry(plan.columns).or_default().extend(hashes);
    }
    erasures.receipts.push(Receipt { sequence, ingest_time, entities: count, purged: None });
    Ok(())
}

/// Whether a row of `key` committed as `sequence` was erased later: replay leaves it out.
pub fn is_erased(entity: &Arc<EntityState>, key: &[u8], sequence: Sequence) -> bool {
    entity.erasures.read().erased_at(key).is_some_and(|erased| erased > sequence)
}

/// Writes a bitmap for the manifest.
pub fn encode_bitmap(bitmap: &RoaringBitmap) -> String {
    let mut bytes = Vec::with_capacity(bitmap.serialized_size());
    bitmap.serialize_into(&mut bytes).expect("writing to memory cannot fail");
    STANDARD.encode(bytes)
}

/// Reads a bitmap from the manifest.
pub fn decode_bitmap(text: &str) -> Result<RoaringBitmap> {
    let wrong = |what: String| Error::invalid(format!("a bitmap of erased ordinals does not read: {what}"));
    let bytes = STANDARD.decode(text).map_err(|error| wrong(error.to_string()))?;
    RoaringBitmap::deserialize_from(bytes.as_slice()).map_err(|error| wrong(error.to_string()))
}
