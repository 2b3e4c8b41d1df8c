//! One part of a dictionary: consecutive ordinals, their keys, and a hash table over them (`table.rs`).
//!
//! Lookups go in chunks and in passes, so that the cache misses of many keys overlap.

use roaring::RoaringBitmap;

use super::table::{
    LINE_BYTES, LINE_KEY_BYTES, fingerprint_matches, fingerprint_of, fingerprint_ordinal, fingerprints_full,
    key_matches, key_ordinal, keys_full, line_of, mix, next_line,
};
use crate::error::{Error, Result};
use crate::model::key::Keys;
use crate::prefetch::prefetch;

/// How many keys are looked up side by side: enough misses to keep the memory busy, few enough to stay in the first
/// cache.
const CHUNK_KEYS: usize = 32;

/// One part of a dictionary.
pub(super) trait Part {
    /// The ordinal of the first key.
    fn first_ordinal(&self) -> u32;
    /// How many ordinals the part covers.
    fn count(&self) -> u32;
    /// How many lines the table has; 0 only if it holds no key.
    fn lines(&self) -> u64;
    /// Whether they are key lines.
    fn key_lines(&self) -> bool;
    /// No key lies further than this many lines behind its own.
    fn probe_max(&self) -> u64;
    /// The line at `at`, which is less than [`Part::lines`].
    fn line(&self, at: u64) -> Result<&[u8; LINE_BYTES]>;
    /// The key of ordinal `first_ordinal + relative`, where `relative` is less than [`Part::count`].
    fn key(&self, relative: u32) -> Result<&[u8]>;
    /// The error for a line at `at` that points nowhere.
    fn damaged(&self, at: u64) -> Error;
}

/// What a search is for, the same in every part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search<'a> {
    /// The keys, by row.
    pub(super) keys: &'a Keys,
    /// Their hashes, by row.
    pub(super) hashes: &'a [u64],
    /// Ordinals that are never found, if there are any.
    pub(super) erased: Option<&'a RoaringBitmap>,
}

impl Search<'_> {
    #[inline]
    fn is_live(&self, ordinal: u32) -> bool {
        self.erased.is_none_or(|erased| !erased.contains(ordinal))
    }

    /// Looks for the keys of the rows `pending` in `part`: writes the ordinals of those found to `out`, by row, and
    /// keeps only the others in `pending`, in order.
    pub(super) fn find_in<P: Part>(&self, part: &P, pending: &mut Vec<u32>, out: &mut [u32]) -> Result<()> {
        if part.lines() == 0 {
            return Ok(());
        }
        let mut kept = 0;
        let mut start = 0;
        while start < pending.len() {
            let end = (start + CHUNK_KEYS).min(pending.len());
            let mut found = [None; CHUNK_KEYS];
            self.find_chunk(part, &pending[start..end], &mut found)?;
            for index in start..end {
                let row = pending[index];
                match found[index - start] {
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

    #[inline]
    fn find_chunk<P: Part>(&self, part: &P, rows: &[u32], found: &mut [Option<u32>; CHUNK_KEYS]) -> Result<()> {
        let lines = part.lines();
        let mut mixes = [0; CHUNK_KEYS];
        for (mixed, &row) in mixes.iter_mut().zip(rows) {
            *mixed = mix(self.hashes[row as usize]);
            prefetch(part.line(line_of(*mixed, lines))?);
        }
        if part.key_lines() {
            for ((found, &mixed), &row) in found.iter_mut().zip(&mixes).zip(rows) {
                *found = self.probe_keys(part, mixed, self.keys.get(row as usize))?;
            }
            return Ok(());
        }
        // The keys that the fingerprints very likely mean come into the cache, again many at once.
        let mut guesses = [None; CHUNK_KEYS];
        for (guess, &mixed) in guesses.iter_mut().zip(&mixes[..rows.len()]) {
            let line = part.line(line_of(mixed, lines))?;
            let matches = fingerprint_matches(line, fingerprint_of(mixed));
            let relative = fingerprint_ordinal(line, matches);
            if matches != 0 && relative < part.count() {
                *guess = Some(relative);
                prefetch(part.key(relative)?);
            }
        }
        for (index, &row) in rows.iter().enumerate() {
            let key = self.keys.get(row as usize);
            found[index] = match guesses[index].map(|relative| (relative, part.first_ordinal() + relative)) {
                Some((relative, ordinal)) if self.is_live(ordinal) && part.key(relative)? == key => Some(ordinal),
                _ => self.probe(part, mixes[index], key)?,
            };
        }
        Ok(())
    }

    /// The ordinal of `key`, whose mixed hash is `mixed`, in the fingerprint lines of `part`.
    pub(super) fn probe<P: Part>(&self, part: &P, mixed: u64, key: &[u8]) -> Result<Option<u32>> {
        let lines = part.lines();
        if lines == 0 {
            return Ok(None);
        }
        let mut at = line_of(mixed, lines);
        for _ in 0..=part.probe_max() {
            let line = part.line(at)?;
            let mut matches = fingerprint_matches(line, fingerprint_of(mixed));
            while matches != 0 {
                let relative = fingerprint_ordinal(line, matches);
                if relative >= part.count() {
                    return Err(part.damaged(at));
                }
                let ordinal = part.first_ordinal() + relative;
                // The key of an erased ordinal may have come again as a later one, so the search goes on.
                if part.key(relative)? == key && self.is_live(ordinal) {
                    return Ok(Some(ordinal));
                }
                matches &= matches - 1;
            }
            if !fingerprints_full(line) {
                return Ok(None);
            }
            at = next_line(at, lines);
        }
        Ok(None)
    }

    /// [`Search::probe`] in key lines.
    #[inline]
    fn probe_keys<P: Part>(&self, part: &P, mixed: u64, key: &[u8]) -> Result<Option<u32>> {
        let Ok(key) = <&[u8; LINE_KEY_BYTES]>::try_from(key) else {
            return Ok(None);
        };
        let lines = part.lines();
        let mut at = line_of(mixed, lines);
        for _ in 0..=part.probe_max() {
            let line = part.line(at)?;
            let mut matches = key_matches(line, key);
            while matches != 0 {
                let relative = key_ordinal(line, matches);
                if relative >= part.count() {
                    return Err(part.damaged(at));
                }
                let ordinal = part.first_ordinal() + relative;
                if self.is_live(ordinal) {
                    return Ok(Some(ordinal));
                }
                matches &= matches - 1;
            }
            if !keys_full(line) {
                return Ok(None);
            }
            at = next_line(at, lines);
        }
        Ok(None)
    }
}
