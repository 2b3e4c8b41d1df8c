//! The hash table of a part: lines of 64 bytes, as long as a cache line, the same in memory and in a file.
//!
//! There are two layouts. *Fingerprint lines* have room for eight keys: eight fingerprints (`u32`, 0 where there is no
//! key), then their eight ordinals, counted from the part's first. *Key lines*, of files whose keys all have eight
//! bytes, have room for five: five keys, then five ordinals plus one (0 where there is no key), then four zeros; a
//! lookup in them needs no second cache miss to compare the key.
//!
//! A line fills from its start; what finds its line full goes into the next one. The first line of a key comes from
//! the high bits of its mixed hash, its fingerprint from the low 32 bits.

/// Bytes per line.
pub(super) const LINE_BYTES: usize = 64;
/// Keys per fingerprint line.
pub(super) const LINE_FINGERPRINTS: usize = 8;
/// Keys per key line.
pub(super) const LINE_KEYS: usize = 5;
/// The bytes of a key in a key line.
pub(super) const LINE_KEY_BYTES: usize = 8;

/// A line of a table that is being built.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Line(pub(super) [u8; LINE_BYTES]);

impl Line {
    /// `count` empty lines.
    pub(super) fn table(count: u64) -> Vec<Self> {
        vec![Self([0; LINE_BYTES]); count as usize]
    }
}

/// How many fingerprint lines `keys` keys need, so that at most 0.7 of their room is used.
pub(super) fn fingerprint_lines_for(keys: u32) -> u64 {
    u64::from(keys) * 10 / (7 * LINE_FINGERPRINTS as u64) + 1
}

/// How many key lines `keys` keys need, so that at most 0.75 of their room is used.
pub(super) fn key_lines_for(keys: u32) -> u64 {
    u64::from(keys) * 4 / (3 * LINE_KEYS as u64) + 1
}

/// Spreads a key's hash over all 64 bits: in one bucket the high bits of the hashes are alike.
#[inline]
pub(super) fn mix(hash: u64) -> u64 {
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The line where the search for a mixed hash starts.
#[inline]
pub(super) fn line_of(mixed: u64, lines: u64) -> u64 {
    ((u128::from(mixed) * u128::from(lines)) >> 64) as u64
}

/// The line after `at`.
#[inline]
pub(super) fn next_line(at: u64, lines: u64) -> u64 {
    if at + 1 == lines { 0 } else { at + 1 }
}

/// The fingerprint of a mixed hash; never 0, which stands for no key.
#[inline]
pub(super) fn fingerprint_of(mixed: u64) -> u32 {
    mixed as u32 | 1
}

/// The `u32` at `index` of a line.
#[inline]
fn number_at(line: &[u8; LINE_BYTES], index: usize) -> u32 {
    u32::from_le_bytes([line[index * 4], line[index * 4 + 1], line[index * 4 + 2], line[index * 4 + 3]])
}

/// One bit per key of a fingerprint line with this fingerprint.
#[inline]
pub(super) fn fingerprint_matches(line: &[u8; LINE_BYTES], fingerprint: u32) -> u32 {
    let mut matches = 0;
    for index in 0..LINE_FINGERPRINTS {
        matches |= u32::from(number_at(line, index) == fingerprint) << index;
    }
    matches
}

/// The ordinal that the lowest bit of `matches` names, counted from the part's first.
#[inline]
pub(super) fn fingerprint_ordinal(line: &[u8; LINE_BYTES], matches: u32) -> u32 {
    number_at(line, LINE_FINGERPRINTS + matches.trailing_zeros() as usize % LINE_FINGERPRINTS)
}

/// Whether a fingerprint line is full.
#[inline]
pub(super) fn fingerprints_full(line: &[u8; LINE_BYTES]) -> bool {
    number_at(line, LINE_FINGERPRINTS - 1) != 0
}

/// One bit per key of a key line that equals `key`.
#[inline]
pub(super) fn key_matches(line: &[u8; LINE_BYTES], key: &[u8; LINE_KEY_BYTES]) -> u32 {
    let key = u64::from_ne_bytes(*key);
    let (keys, _) = line.as_chunks::<LINE_KEY_BYTES>();
    let mut matches = 0;
    for (index, candidate) in keys[..LINE_KEYS].iter().enumerate() {
        let same = u64::from_ne_bytes(*candidate) == key && number_at(line, LINE_KEYS * 2 + index) != 0;
        matches |= u32::from(same) << index;
    }
    matches
}

/// The ordinal that the lowest bit of `matches` names, counted from the part's first.
#[inline]
pub(super) fn key_ordinal(line: &[u8; LINE_BYTES], matches: u32) -> u32 {
    number_at(line, LINE_KEYS * 2 + matches.trailing_zeros() as usize % LINE_KEYS).wrapping_sub(1)
}

/// Whether a key line is full.
#[inline]
pub(super) fn keys_full(line: &[u8; LINE_BYTES]) -> bool {
    number_at(line, LINE_KEYS * 3 - 1) != 0
}

/// The keys of a line: the ordinal of each, counted from the part's first, for checks.
pub(super) fn ordinals(line: &[u8; LINE_BYTES], key_lines: bool) -> impl Iterator<Item = u32> {
    let room = if key_lines { LINE_KEYS } else { LINE_FINGERPRINTS };
    (0..room).filter_map(move |index| {
        if key_lines {
            number_at(line, LINE_KEYS * 2 + index).checked_sub(1)
        } else {
            (number_at(line, index) != 0).then(|| number_at(line, LINE_FINGERPRINTS + index))
        }
    })
}

/// What a line says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// The key itself.
    Key([u8; LINE_KEY_BYTES]),
    /// Its fingerprint.
    Fingerprint(u32),
}

/// What a line says of its keys, each with its ordinal counted from the part's first.
pub(super) fn told(line: &[u8; LINE_BYTES], key_lines: bool) -> impl Iterator<Item = (u32, Told)> {
    let (keys, _) = line.as_chunks::<LINE_KEY_BYTES>();
    let room = if key_lines { LINE_KEYS } else { LINE_FINGERPRINTS };
    (0..room).filter_map(move |index| {
        if key_lines {
            Some((number_at(line, LINE_KEYS * 2 + index).checked_sub(1)?, Told::Key(keys[index])))
        } else {
            let fingerprint = number_at(line, index);
            let relative = number_at(line, LINE_FINGERPRINTS + index);
            (fingerprint != 0).then_some((relative, Told::Fingerprint(fingerprint)))
        }
    })
}

/// Puts a key into a table of fingerprint lines that has room, and says how many lines behind its own it came to lie.
pub(super) fn place_fingerprint(table: &mut [Line], mixed: u64, relative: u32) -> u64 {
    place(table, mixed, |line| {
        let empty = fingerprint_matches(line, 0);
        if empty == 0 {
            return false;
        }
        let index = empty.trailing_zeros() as usize;
        put(line, index * 4, &fingerprint_of(mixed).to_le_bytes());
        put(line, (LINE_FINGERPRINTS + index) * 4, &relative.to_le_bytes());
        true
    })
}

/// Puts a key into a table of key lines that has room, and says how many lines behind its own it came to lie.
pub(super) fn place_key(table: &mut [Line], mixed: u64, key: &[u8], relative: u32) -> u64 {
    place(table, mixed, |line| {
        let Some(index) = (0..LINE_KEYS).find(|index| number_at(line, LINE_KEYS * 2 + index) == 0) else {
            return false;
        };
        put(line, index * LINE_KEY_BYTES, key);
        put(line, (LINE_KEYS * 2 + index) * 4, &(relative + 1).to_le_bytes());
        true
    })
}

fn place(table: &mut [Line], mixed: u64, mut put: impl FnMut(&mut [u8; LINE_BYTES]) -> bool) -> u64 {
    let lines = table.len() as u64;
    let mut at = line_of(mixed, lines);
    for distance in 0..lines {
        if put(&mut table[at as usize].0) {
            return distance;
        }
        at = next_line(at, lines);
    }
    unreachable!("a table always has room")
}

fn put(line: &mut [u8; LINE_BYTES], at: usize, bytes: &[u8]) {
    line[at..at + bytes.len()].copy_from_slice(bytes);
}
