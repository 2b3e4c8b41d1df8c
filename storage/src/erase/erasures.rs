//! What was erased of one entity: hashes and receipts, as readers see them and as they are kept.
//!
//! The value is persistent: adding an erase shares everything that was there, so the log's writer does not copy what
//! years of erases left, and readers hold what they loaded. Whoever has time puts small layers together ([`Erasures::merged`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::prefixes::UNBLOCKED;
use super::receipt::{Receipt, Tiers};
use super::{Erased, Secret};
use crate::error::{Error, Result};
use crate::model::key::{self, KeyColumn, Keys};
use crate::time::{Micros, Sequence};

/// Hashes with the commit that brought them, the newest layer last.
#[derive(Debug, Clone, Default)]
struct Layers(Vec<Arc<HashMap<u128, Sequence>>>);

impl Layers {
    fn get(&self, hash: u128) -> Option<Sequence> {
        self.0.iter().rev().find_map(|layer| layer.get(&hash).copied())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, layer: &Arc<HashMap<u128, Sequence>>) {
        if !layer.is_empty() {
            self.0.push(Arc::clone(layer));
        }
    }

    /// The same in few layers, each at least twice as large as the next.
    fn merged(&self) -> Self {
        let mut merged: Vec<Arc<HashMap<u128, Sequence>>> = Vec::new();
        for layer in &self.0 {
            let mut layer = Arc::clone(layer);
            while let Some(older) = merged.pop_if(|older| older.len() < layer.len() * 2) {
                let mut both = HashMap::clone(&older);
                both.extend(layer.iter().map(|(hash, sequence)| (*hash, *sequence)));
                layer = Arc::new(both);
            }
            merged.push(layer);
        }
        Self(merged)
    }

    /// Whether these are the layers of `other` and later ones.
    fn continues(&self, other: &Self) -> bool {
        self.0.len() >= other.0.len() && self.0.iter().zip(&other.0).all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// All hashes with the last commit of each, sorted.
    fn entries(&self) -> Vec<(String, Sequence)> {
        let all: HashMap<u128, Sequence> =
            self.0.iter().flat_map(|layer| layer.iter().map(|(&h, &s)| (h, s))).collect();
        let mut entries: Vec<_> = all.into_iter().map(|(hash, sequence)| (format!("{hash:032x}"), sequence)).collect();
        entries.sort_unstable();
        entries
    }
}

/// What was erased of one entity.
#[derive(Debug, Clone)]
pub struct Erasures {
    secret: Secret,
    /// The key columns, for cutting prefixes from keys.
    key: Arc<[KeyColumn]>,
    /// Of erased keys.
    keys: Layers,
    /// Of blocked prefixes, by how many key columns they have.
    blocked: BTreeMap<usize, Layers>,
    /// Every erase, oldest first.
    receipts: Arc<Vec<Receipt>>,
}

/// [`Erasures`] as they are kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasuresEntry {
    keys: Vec<(String, Sequence)>,
    blocked: Vec<(usize, String)>,
    receipts: Vec<Receipt>,
}

impl Erasures {
    /// Nothing yet, of an entity with these key columns.
    pub fn new(secret: Secret, key: &[KeyColumn]) -> Self {
        let (keys, blocked, receipts) = (Layers::default(), BTreeMap::new(), Arc::default());
        Self { secret, key: key.into(), keys, blocked, receipts }
    }

    /// What was kept.
    pub fn from_entry(entry: &ErasuresEntry, secret: Secret, key: &[KeyColumn]) -> Result<Self> {
        let hash = |text: &str| {
            u128::from_str_radix(text, 16).map_err(|_| Error::invalid(format!("{text:?} is not the hash of a key")))
        };
        let mut erasures = Self::new(secret, key);
        let keys = entry.keys.iter().map(|(text, sequence)| Ok((hash(text)?, *sequence)));
        erasures.keys.add(&Arc::new(keys.collect::<Result<_>>()?));
        let mut blocked: BTreeMap<usize, HashMap<u128, Sequence>> = BTreeMap::new();
        for (columns, text) in &entry.blocked {
            blocked.entry(*columns).or_default().insert(hash(text)?, 0);
        }
        for (columns, hashes) in blocked {
            erasures.blocked.entry(columns).or_default().add(&Arc::new(hashes));
        }
        erasures.receipts = Arc::new(entry.receipts.clone());
        Ok(erasures)
    }

    /// What is to be kept.
    pub fn entry(&self) -> ErasuresEntry {
        let of_columns = |(columns, layers): (&usize, &Layers)| {
            let columns = *columns;
            let entries = layers.entries().into_iter().filter(|(_, sequence)| *sequence != UNBLOCKED);
            entries.map(move |(hash, _)| (columns, hash)).collect::<Vec<_>>()
        };
        ErasuresEntry {
            keys: self.keys.entries(),
            blocked: self.blocked.iter().flat_map(of_columns).collect(),
            receipts: self.receipts.to_vec(),
        }
    }

    /// These and one erase more, or without its receipt what is blocked no longer. If a manifest had the receipt already,
    /// replay only looked for what was inserted again.
    #[must_use]
    pub fn with(&self, receipt: Option<&Receipt>, erased: &SharedErased) -> Self {
        let mut with = self.clone();
        with.keys.add(&erased.keys);
        if !erased.blocked.is_empty() {
            with.blocked.entry(erased.columns).or_default().add(&erased.blocked);
        }
        if let Some(receipt) = receipt.filter(|receipt| self.receipt(receipt.sequence).is_none()) {
            Arc::make_mut(&mut with.receipts).push(receipt.clone());
        }
        with
    }

    /// The same in fewer layers.
    #[must_use]
    pub fn merged(&self) -> Self {
        let blocked = self.blocked.iter().map(|(columns, layers)| (*columns, layers.merged())).collect();
        Self { keys: self.keys.merged(), blocked, ..self.clone() }
    }

    /// These, but what is also in `before` as `merged` has it.
    #[must_use]
    pub fn replaced(&self, before: &Self, merged: &Self) -> Self {
        let replace = |now: &Layers, before: &Layers, merged: &Layers| {
            if now.continues(before) {
                let later = now.0.iter().skip(before.0.len());
                Layers(merged.0.iter().chain(later).cloned().collect())
            } else {
                now.clone()
            }
        };
        let nothing = Layers::default();
        let of = |all: &Self, columns: &usize| all.blocked.get(columns).cloned().unwrap_or_default();
        let blocked = self.blocked.iter().map(|(columns, now)| {
            (*columns, replace(now, before.blocked.get(columns).unwrap_or(&nothing), &of(merged, columns)))
        });
        Self { keys: replace(&self.keys, &before.keys, &merged.keys), blocked: blocked.collect(), ..self.clone() }
    }

    /// The same, but what was erased up to `sequence` was purged at `now`, from these `tiers`.
    #[must_use]
    pub fn purged(&self, sequence: Sequence, now: Micros, tiers: &Tiers) -> Self {
        let mut purged = self.clone();
        let waiting = |receipt: &&mut Receipt| receipt.sequence <= sequence && receipt.purged.is_none();
        for receipt in Arc::make_mut(&mut purged.receipts).iter_mut().filter(waiting) {
            (receipt.purged, receipt.tiers) = (Some(now), Some(tiers.clone()));
        }
        purged
    }

    /// Every erase, oldest first.
    pub fn receipts(&self) -> &[Receipt] {
        &self.receipts
    }

    /// The receipt of the erase that was committed as `sequence`.
    pub fn receipt(&self, sequence: Sequence) -> Option<&Receipt> {
        self.receipts.iter().rfind(|receipt| receipt.sequence == sequence)
    }

    /// The secret that keys are hashed with.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The commit that erased `key` last, if any did.
    pub fn erased_at(&self, key: &[u8]) -> Option<Sequence> {
        if self.is_empty() {
            return None;
        }
        self.keys.get(self.secret.hash(key))
    }

    /// Whether no key was erased.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Refuses keys of blocked entities.
    pub fn check_blocked(&self, keys: &Keys) -> Result<()> {
        match self.blocked_rows(keys).next() {
            None => Ok(()),
            Some(row) => Err(Error::precondition(format!("row {row}: {BLOCKED}; leave the row out"))),
        }
    }

    /// Whether any entity is blocked.
    pub fn block(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// How many prefixes are blocked, by how many key columns they have. Of their keys nothing is kept but hashes.
    pub fn blocked_counts(&self) -> BTreeMap<usize, usize> {
        let count = |layers: &Layers| layers.entries().iter().filter(|(_, sequence)| *sequence != UNBLOCKED).count();
        let counts = self.blocked.iter().map(|(columns, layers)| (*columns, count(layers)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Which of `prefixes`, of `columns` key columns each, are blocked as such.
    pub fn blocked_prefixes(&self, columns: usize, prefixes: &Keys) -> Vec<bool> {
        let blocked = self.blocked.get(&columns);
        let is_blocked = |prefix: &[u8]| blocked.and_then(|layers| layers.get(self.secret.hash(prefix)));
        prefixes.iter().map(|prefix| is_blocked(prefix).is_some_and(|blocked| blocked != UNBLOCKED)).collect()
    }

    /// The keys of blocked entities, by place.
    pub fn blocked_rows(&self, keys: &Keys) -> impl Iterator<Item = usize> {
        let is_blocked = |row: &usize| {
            let bytes = keys.get(*row);
            self.blocked.iter().any(|(&columns, hashes)| {
                let length = key::prefix_length(&self.key, bytes, columns);
                hashes.get(self.secret.hash(&bytes[..length])).is_some_and(|blocked| blocked != UNBLOCKED)
            })
        };
        let rows = if self.block() { keys.len() } else { 0 };
        (0..rows).filter(is_blocked)
    }
}

/// Why a row of a blocked entity is refused.
pub const BLOCKED: &str = "its entity was erased with \"block\":true and takes no more rows";

/// [`Erased`], shared by all that adding it may have to be tried with.
#[derive(Debug)]
pub struct SharedErased {
    keys: Arc<HashMap<u128, Sequence>>,
    columns: usize,
    blocked: Arc<HashMap<u128, Sequence>>,
}

impl From<Erased> for SharedErased {
    fn from(erased: Erased) -> Self {
        Self { keys: Arc::new(erased.keys), columns: erased.columns, blocked: Arc::new(erased.blocked) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::receipt::{Gone, HomeTiers};
    use super::*;

    fn erased(keys: &[&str], sequence: Sequence, secret: Secret) -> SharedErased {
        let keys = keys.iter().map(|key| (secret.hash(key.as_bytes()), sequence)).collect();
        Erased { keys, columns: 1, blocked: HashMap::new() }.into()
    }

    fn receipt(sequence: Sequence) -> Receipt {
        Receipt { sequence, ingest_time: 0, entities: 1, purged: None, tiers: None }
    }

    #[test]
    fn merging_beside_a_writer_loses_nothing_and_leaves_few_layers() {
        let secret = Secret::random().unwrap();
        let mut now = Erasures::new(secret, &[]);
        for sequence in 1..200 {
            let key = format!("key {}", sequence % 150);
            let before = now.clone();
            let merged = before.merged();
            now = now.with(Some(&receipt(sequence)), &erased(&[&key], sequence, secret));
            now = now.with(Some(&receipt(sequence)), &erased(&[], sequence, secret)).replaced(&before, &merged);
            assert!(now.keys.0.len() < 10, "{} layers", now.keys.0.len());
        }
        for key in 0..150 {
            let last = if key < 50 && key > 0 {
                key + 150
            } else if key == 0 {
                150
            } else {
                key
            };
            assert_eq!(now.erased_at(format!("key {key}").as_bytes()), Some(last), "key {key}");
        }
        assert_eq!(now.receipts().len(), 199, "one of each");
        let kept = Erasures::from_entry(&now.entry(), secret, &[]).unwrap();
        assert_eq!(kept.erased_at(b"key 149"), Some(149));
        let disk = |removed| Tiers { disk: Gone { gone_at: 4, removed }, home: None };
        let purged = kept.purged(10, 5, &disk(3)).purged(12, 6, &disk(0));
        let times: Vec<_> = purged.receipts().iter().map(|receipt| receipt.purged).collect();
        assert_eq!((&times[..10], &times[10..13]), (&[Some(5); 10][..], &[Some(6), Some(6), None][..]));
        let read = Erasures::from_entry(&purged.entry(), secret, &[]).unwrap();
        assert_eq!(read.receipts(), purged.receipts());
        assert_eq!(read.receipts()[9].tiers, Some(disk(3)), "who purged it first says from where");
    }

    #[test]
    fn receipts_read_back_as_they_were_written_also_those_of_before_tiers() {
        let gone = |removed| Gone { gone_at: 4, removed };
        let home = HomeTiers { bucket: gone(1), ice: gone(2), checkpoints: gone(3) };
        for tiers in [None, Some(Tiers { disk: gone(0), home: None }), Some(Tiers { disk: gone(0), home: Some(home) })]
        {
            let receipt = Receipt { purged: Some(5), tiers, ..receipt(1) };
            let text = serde_json::to_string(&receipt).unwrap();
            assert_eq!(serde_json::from_str::<Receipt>(&text).unwrap(), receipt, "{text}");
        }
        let before = r#"{"sequence":1,"ingest_time":0,"entities":1,"purged":5}"#;
        let before: Receipt = serde_json::from_str(before).unwrap();
        assert_eq!(before.told(), serde_json::json!({"entities": 1, "erased_at": 0, "purged_at": 5}));
    }
}
