//! One part of a dictionary: consecutive ordinals, their keys, and a hash table over them.
//!
//! The table is the same in memory and in a file: `u64` words, open addressing, linear probing. A word is 0 if the slot
//! is empty, else `fingerprint << 32 | (ordinal − first ordinal + 1)`. Slots come from the high bits of the mixed
//! hash, fingerprints from its low 32 bits. Lookups go in chunks and in passes, so that the cache misses of many keys
//! overlap; no instruction but ordinary loads is needed for that.

use std::hint::black_box;

use roaring::RoaringBitmap;

use crate::error::{Error, Result};
use crate::model::key::Keys;

/// How many keys are looked up side by side: enough misses to keep the memory busy, few enough to stay in the first
/// cache.
const CHUNK_KEYS: usize = 32;

/// One part of a dictionary.
pub(super) trait Part {
    /// The ordinal of the first key.
    fn first_ordinal(&self) -> u32;
    /// How many ordinals the part covers.
    fn count(&self) -> u32;
    /// How many slots the table has; 0 only if it holds no key.
    fn slots(&self) -> u64;
    /// No key lies further than this many slots behind its own.
    fn probe_max(&self) -> u64;
    /// The word in `slot`, which is less than [`Part::slots`].
    fn word(&self, slot: u64) -> Result<u64>;
    /// The key of ordinal `first_ordinal + relative`, where `relative` is less than [`Part::count`].
    fn key(&self, relative: u32) -> Result<&[u8]>;
    /// The error for a word that points nowhere.
    fn damaged(&self, slot: u64) -> Error;
}

/// Spreads a key's hash over all 64 bits: in one bucket the high bits of the hashes are alike.
#[inline]
pub(super) fn mix(hash: u64) -> u64 {
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The slot where the search for a mixed hash starts.
#[inline]
pub(super) fn slot_of(mixed: u64, slots: u64) -> u64 {
    ((u128::from(mixed) * u128::from(slots)) >> 64) as u64
}

/// The word of the key with this mixed hash.
#[inline]
pub(super) fn word_of(mixed: u64, relative: u32) -> u64 {
    (mixed << 32) | u64::from(relative + 1)
}

/// The relative ordinal that a word names.
#[inline]
pub(super) fn relative_of(word: u64) -> u32 {
    (word as u32).wrapping_sub(1)
}

/// Puts a word into a table that has room, and says how far behind its own slot it came to lie.
pub(super) fn place_word(table: &mut [u64], mixed: u64, relative: u32) -> u64 {
    let slots = table.len() as u64;
    let mut slot = slot_of(mixed, slots);
    for distance in 0..slots {
        let word = &mut table[slot as usize];
        if *word == 0 {
            *word = word_of(mixed, relative);
            return distance;
        }
        slot += 1;
        if slot == slots {
            slot = 0;
        }
    }
    unreachable!("a table always has an empty slot")
}

/// Looks for the keys of the rows `pending` in `part`: writes the ordinals of those found to `out`, by row, and keeps
/// only the others in `pending`, in order. Ordinals in `erased` are never found.
pub(super) fn find_in<P: Part>(
    part: &P,
    keys: &Keys,
    hashes: &[u64],
    pending: &mut Vec<u32>,
    out: &mut [u32],
    erased: Option<&RoaringBitmap>,
) -> Result<()> {
    let slots = part.slots();
    if slots == 0 {
        return Ok(());
    }
    let mut kept = 0;
    let mut start = 0;
    while start < pending.len() {
        let end = (start + CHUNK_KEYS).min(pending.len());
        let mut mixes = [0; CHUNK_KEYS];
        let mut words = [0; CHUNK_KEYS];
        for (index, &row) in pending[start..end].iter().enumerate() {
            mixes[index] = mix(hashes[row as usize]);
            words[index] = part.word(slot_of(mixes[index], slots))?;
        }
        touch(part, &mixes, &words[..end - start])?;
        for index in 0..end - start {
            let row = pending[start + index];
            match probe(part, mixes[index], words[index], keys.get(row as usize), erased)? {
                Some(ordinal) => out[row as usize] = ordinal,
                None => {
                    pending[kept] = row;
                    kept += 1;
                }
            }
        }
        start = end;
    }
    pending.truncate(kept);
    Ok(())
}

/// Brings the keys that the words very likely mean into the cache, all at once.
#[inline]
fn touch<P: Part>(part: &P, mixes: &[u64; CHUNK_KEYS], words: &[u64]) -> Result<()> {
    let mut touched = 0;
    for (mixed, &word) in mixes.iter().zip(words) {
        let relative = relative_of(word);
        if (word >> 32) as u32 == *mixed as u32 && relative < part.count() {
            touched ^= part.key(relative)?.first().copied().unwrap_or(0);
        }
    }
    black_box(touched);
    Ok(())
}

/// The ordinal of `key` in `part`, searching from the slot of `mixed`, which holds `word`.
#[inline]
fn probe<P: Part>(
    part: &P,
    mixed: u64,
    mut word: u64,
    key: &[u8],
    erased: Option<&RoaringBitmap>,
) -> Result<Option<u32>> {
    let slots = part.slots();
    let mut slot = slot_of(mixed, slots);
    let mut distance = 0;
    loop {
        if word == 0 {
            return Ok(None);
        }
        if (word >> 32) as u32 == mixed as u32 {
            let relative = relative_of(word);
            if relative >= part.count() {
                return Err(part.damaged(slot));
            }
            if same(part.key(relative)?, key) {
                let ordinal = part.first_ordinal() + relative;
                // The key of an erased ordinal may have come again as a later one, so the search goes on.
                if erased.is_none_or(|erased| !erased.contains(ordinal)) {
                    return Ok(Some(ordinal));
                }
            }
        }
        distance += 1;
        if distance > part.probe_max() {
            return Ok(None);
        }
        slot += 1;
        if slot == slots {
            slot = 0;
        }
        word = part.word(slot)?;
    }
}

/// Equality of keys, without a call for the most common width.
#[inline]
fn same(left: &[u8], right: &[u8]) -> bool {
    match (<[u8; 8]>::try_from(left), <[u8; 8]>::try_from(right)) {
        (Ok(left), Ok(right)) => u64::from_ne_bytes(left) == u64::from_ne_bytes(right),
        _ => left == right,
    }
}
