//! Erasing entities: at once invisible at all bounds, then gone from every file.
//!
//! An erase is a commit. Its entities' ordinals leave the dictionary, so that no read finds them and later rows of
//! the same key are a new entity; what stays is a keyed hash of each key, so that a replayed older row is recognised and
//! dropped, and so that a read at an older position can say that something was erased. Purging (`purge.rs`) then
//! rewrites what still holds their bytes.
//!
//! Whoever asks looks the entities up ([`Erase::new`]); what is left for the log's one writer is what came meanwhile
//! ([`Erase::look_again`]). It knows dictionaries and keys, and neither the log nor tables.

mod erasures;
mod file;
mod prefixes;
mod receipt;
mod secret;

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roaring::RoaringBitmap;

use crate::dictionary::{Dictionary, UNKNOWN};
use crate::error::{Error, Kind, Result};
use crate::model::catalog::Entity;
use crate::model::key;
use crate::time::Sequence;

pub use erasures::{BLOCKED, Erasures, ErasuresEntry};
pub(crate) use file::block_list;
pub use file::file_name;
pub use prefixes::{Blocking, ErasePrefixes};
pub use receipt::{Gone, HomeTiers, Receipt, Tiers};
pub use secret::Secret;

/// The entities of one bucket that an erase names.
#[derive(Debug, Default)]
struct Found {
    ordinals: RoaringBitmap,
    /// Ordinals below this were looked at.
    seen: u32,
}

/// An erase with all that can be worked out before its place in the log is known.
#[derive(Debug)]
pub struct Erase {
    /// What it names.
    pub prefixes: ErasePrefixes,
    /// What the WAL keeps.
    pub payload: Vec<u8>,
    /// Per bucket.
    found: Vec<Found>,
    /// The hash of each key that was found; the commit is filled in when it is known.
    keys: HashMap<u128, Sequence>,
    /// The hash of each prefix whose entities take no more rows.
    blocked: HashMap<u128, Sequence>,
}

impl Erase {
    /// Looks up what `prefixes` names in the `dictionaries` of `entity`: whole keys by their hash, others in one pass.
    pub fn new(prefixes: ErasePrefixes, entity: &Entity, dictionaries: &[Dictionary], secret: &Secret) -> Result<Self> {
        if prefixes.columns == 0 || prefixes.columns > entity.key.len() {
            let message = format!("an erase names {} key columns of entity `{}`", prefixes.columns, entity.name);
            return Err(Error::new(Kind::Corrupt, message));
        }
        let hashes = prefixes.keys().iter().filter(|_| prefixes.blocking != Blocking::Leaves);
        let hashes = hashes.map(|prefix| (secret.hash(prefix), 0));
        let mut erase = Self {
            payload: prefixes.encode(),
            found: dictionaries.iter().map(|_| Found::default()).collect(),
            keys: HashMap::new(),
            blocked: hashes.collect(),
            prefixes,
        };
        if erase.prefixes.blocking == Blocking::Unblocks {
            return Ok(erase);
        }
        if erase.prefixes.columns == entity.key.len() {
            // What comes after this is looked at in the log, so nothing falls between.
            erase.found.iter_mut().zip(dictionaries).for_each(|(found, dictionary)| found.seen = dictionary.len());
            erase.find_whole(entity, dictionaries, secret)?;
        } else {
            erase.look_again(entity, dictionaries, secret)?;
        }
        Ok(erase)
    }

    fn find_whole(&mut self, entity: &Entity, dictionaries: &[Dictionary], secret: &Secret) -> Result<()> {
        let keys = self.prefixes.keys();
        let hashes = keys.hashes();
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); dictionaries.len()];
        for (row, (key, &hash)) in keys.iter().zip(&hashes).enumerate() {
            rows[key::bucket_of(entity, key, hash) as usize].push(row as u32);
        }
        let mut ordinals = vec![UNKNOWN; keys.len()];
        for (bucket, rows) in rows.iter().enumerate() {
            dictionaries[bucket].find(keys, rows, &hashes, &mut ordinals)?;
            for &row in rows.iter().filter(|row| ordinals[**row as usize] != UNKNOWN) {
                self.found[bucket].ordinals.insert(ordinals[row as usize]);
                self.keys.insert(secret.hash(keys.get(row as usize)), 0);
            }
        }
        Ok(())
    }

    /// Looks at the keys that came since the last look.
    pub fn look_again(&mut self, entity: &Entity, dictionaries: &[Dictionary], secret: &Secret) -> Result<()> {
        let Self { prefixes, found, keys, .. } = self;
        if prefixes.blocking == Blocking::Unblocks {
            return Ok(());
        }
        for (Found { ordinals, seen }, dictionary) in found.iter_mut().zip(dictionaries) {
            *seen = dictionary.visit(*seen, &mut |ordinal, key| {
                if prefixes.names(&key[..key::prefix_length(&entity.key, key, prefixes.columns)]) {
                    ordinals.insert(ordinal);
                    keys.insert(secret.hash(key), 0);
                }
            })?;
        }
        Ok(())
    }

    /// Makes the entities invisible as the commit `sequence`, and notes them in `erasures`; how many there were. What is in
    /// the dictionaries was looked at.
    pub fn apply(self, dictionaries: &[Dictionary], sequence: Sequence) -> (u64, Erased) {
        let Self { prefixes, found, mut keys, mut blocked, .. } = self;
        keys.values_mut().chain(blocked.values_mut()).for_each(|of| *of = sequence);
        if prefixes.blocking == Blocking::Unblocks {
            blocked.values_mut().for_each(|of| *of = prefixes::UNBLOCKED);
            return (0, Erased { keys, columns: prefixes.columns, blocked });
        }
        let mut count = 0;
        for (Found { ordinals, seen }, dictionary) in found.into_iter().zip(dictionaries) {
            assert_eq!(seen, dictionary.len(), "an erase knows every key that came before it");
            count += dictionary.erase(&ordinals);
        }
        (count, Erased { keys, columns: prefixes.columns, blocked })
    }
}

/// What an erase leaves behind: hashes.
#[derive(Debug)]
pub struct Erased {
    /// Of each key.
    pub keys: HashMap<u128, Sequence>,
    /// How many key columns the blocked prefixes have.
    pub columns: usize,
    /// Of each blocked prefix.
    pub blocked: HashMap<u128, Sequence>,
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
