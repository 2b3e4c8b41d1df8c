//! What of a damaged dictionary file can still be told, and a new file of it.
//!
//! A key stands among the keys, and the table has it once more: whole, if keys have eight bytes, else as a fingerprint
//! in the line that its hash leads to. So a key counts as known if its blocks check, if a line that checks holds it, or
//! if both copies agree although their blocks do not check: a fingerprint with its place tells as much as a block's
//! checksum. Every other key of a damaged block is lost.

use std::collections::HashMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::file::{self, Description, DictionaryMeta, Mapped};
use super::part::Part;
use super::table::{LINE_BYTES, LINE_KEY_BYTES, Told, fingerprint_of, line_of, mix, told};
use crate::block_list::BlockList;
use crate::blocks::{BLOCK_BYTES, Frame, number_at};
use crate::checksum::checksum;
use crate::error::{Error, Result};
use crate::io::Files;
use crate::model::key::hash;

/// How a description begins.
const DESCRIPTION: &[u8] = b"{\"first_ordinal\"";

/// The blocks of the file that `meta` describes, without mapping it.
pub(crate) fn block_list(files: &dyn Files, meta: &DictionaryMeta) -> Result<BlockList> {
    let frame = Frame { number: meta.number, length: meta.length, crc: meta.crc };
    BlockList::framed(files, meta.name(), frame)
}

/// Checks every promise of the file that `meta` describes; its blocks were checked before.
pub(crate) fn verify(files: &Arc<dyn Files>, meta: &DictionaryMeta, erased: &RoaringBitmap) -> Result<()> {
    Mapped::open(files, meta)?.verify(erased)
}

/// A damaged file, as far as it can be told.
#[derive(Debug)]
pub(crate) struct Salvage {
    meta: DictionaryMeta,
    /// What is left; `None` if not even its parts can be told.
    remains: Option<Remains>,
    /// Keys whose own block does not check, by ordinal counted from the first.
    found: HashMap<u32, Vec<u8>>,
    /// Ordinals, not erased before, whose keys nothing tells any more.
    pub(crate) lost: RoaringBitmap,
}

impl Salvage {
    /// Reads the file that `meta` describes; `erased` ordinals are not missed.
    pub(crate) fn of(files: &Arc<dyn Files>, meta: &DictionaryMeta, erased: &RoaringBitmap) -> Self {
        let remains = Remains::of(files.as_ref(), meta);
        let found = remains.as_ref().map(Remains::keys_of_table).unwrap_or_default();
        let mut salvage = Self { meta: meta.clone(), remains, found, lost: RoaringBitmap::new() };
        let lost = (0..meta.count).filter(|&relative| salvage.key(relative).is_err());
        let lost: RoaringBitmap = lost.map(|relative| meta.first_ordinal + relative).collect();
        salvage.lost = lost - erased;
        salvage
    }

    /// Writes what is left to the file `number`; `erased` has what is lost.
    pub(crate) fn write(&self, files: &Arc<dyn Files>, number: u64, erased: &RoaringBitmap) -> Result<DictionaryMeta> {
        assert!(self.lost.is_subset(erased), "what is lost is erased");
        file::write(files, number, &[self], erased)
    }
}

/// The bytes of a damaged file, and which of its blocks check.
#[derive(Debug)]
struct Remains {
    bytes: Vec<u8>,
    stated: Description,
    whole: Vec<bool>,
}

impl Remains {
    fn of(files: &dyn Files, meta: &DictionaryMeta) -> Option<Self> {
        let bytes = files.read(&meta.name()).ok()?;
        // The last of its kind: whatever a key holds, it comes before.
        let at = bytes.windows(DESCRIPTION.len()).rposition(|window| window == DESCRIPTION)?;
        let mut read = serde_json::Deserializer::from_slice(&bytes[at..]).into_iter::<Description>();
        let stated = read.next()?.ok()?;
        let described = at..at + read.byte_offset();
        let same = (stated.first_ordinal, stated.count, stated.purged) == (meta.first_ordinal, meta.count, meta.purged);
        // Without a list of checksums that checks, no block does.
        let whole = block_list(files, meta).map_or_else(
            |_| Vec::new(),
            |list| {
                let covered = bytes.get(..list.covered as usize).unwrap_or(&bytes);
                let checks = |(block, expected): (&[u8], &u32)| checksum(block) == *expected;
                covered.chunks(BLOCK_BYTES).zip(&list.checksums).map(checks).collect()
            },
        );
        let mut remains = Self { bytes, stated, whole };
        if !remains.range(described.start as u64, described.len() as u64)?.1 {
            // Where the keys are is not certain, so only what agrees with the table counts.
            remains.whole.clear();
        }
        same.then_some(remains)
    }

    /// The bytes at `at`, and whether their blocks check.
    fn range(&self, at: u64, length: u64) -> Option<(&[u8], bool)> {
        let (start, end) = (usize::try_from(at).ok()?, usize::try_from(at.checked_add(length)?).ok()?);
        let bytes = self.bytes.get(start..end)?;
        let mut blocks = start / BLOCK_BYTES..=end.saturating_sub(1).max(start) / BLOCK_BYTES;
        Some((bytes, blocks.all(|block| self.whole.get(block) == Some(&true))))
    }

    /// A key among the keys, and whether its bytes check.
    fn key(&self, relative: u32) -> Option<(&[u8], bool)> {
        let (stated, relative) = (&self.stated, u64::from(relative));
        let (start, length, sure) = match (stated.width, stated.offset_bytes.map(u64::from)) {
            (Some(width), None) => (relative.checked_mul(width)?, width, true),
            (None, Some(bytes @ (4 | 8))) => {
                let (pair, sure) = self.range(stated.offsets.checked_add(relative * bytes)?, bytes * 2)?;
                let wide = |at: usize| if bytes == 8 { number_at(pair, at) } else { u64::from(u32_at(pair, at)) };
                let (start, end) = (wide(0), wide(bytes as usize));
                (start, end.checked_sub(start).filter(|_| end <= stated.key_bytes)?, sure)
            }
            _ => return None,
        };
        let (bytes, checks) = self.range(stated.keys.checked_add(start)?, length)?;
        Some((bytes, sure && checks))
    }

    /// The keys that only the table, or its agreement with them, vouches for.
    fn keys_of_table(&self) -> HashMap<u32, Vec<u8>> {
        let unsure = |relative: &u32| !matches!(self.key(*relative), Some((_, true)));
        let wanted: RoaringBitmap = (0..self.stated.count).filter(unsure).collect();
        let key_lines = self.stated.width == Some(LINE_KEY_BYTES as u64);
        let mut found = HashMap::new();
        for at in (0..self.stated.lines).filter(|_| !wanted.is_empty()) {
            let line = at.checked_mul(LINE_BYTES as u64).and_then(|start| start.checked_add(self.stated.table));
            let Some((line, line_checks)) = line.and_then(|start| self.range(start, LINE_BYTES as u64)) else { break };
            let line = line.first_chunk().expect("a range has the length that was asked for");
            for (relative, told) in told(line, key_lines).filter(|(relative, _)| wanted.contains(*relative)) {
                let among_keys = self.key(relative).map(|(key, _)| key);
                let key = match told {
                    Told::Key(key) if line_checks || among_keys == Some(&key) => Some(key.to_vec()),
                    Told::Key(_) => None,
                    Told::Fingerprint(told) => {
                        among_keys.filter(|key| fingerprint_of(mix(hash(key))) == told).map(<[u8]>::to_vec)
                    }
                };
                if let Some(key) = key.filter(|key| self.leads_to(key, at)) {
                    found.insert(relative, key);
                }
            }
        }
        found
    }

    /// Whether a search for `key` comes to the line `at`.
    fn leads_to(&self, key: &[u8], at: u64) -> bool {
        let lines = self.stated.lines;
        (at + lines - line_of(mix(hash(key)), lines)) % lines <= self.stated.probe_max
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl Part for Salvage {
    fn first_ordinal(&self) -> u32 {
        self.meta.first_ordinal
    }

    fn count(&self) -> u32 {
        self.meta.count
    }

    fn lines(&self) -> u64 {
        0
    }

    fn key_lines(&self) -> bool {
        false
    }

    fn probe_max(&self) -> u64 {
        0
    }

    fn line(&self, at: u64) -> Result<&[u8; LINE_BYTES]> {
        Err(self.damaged(at))
    }

    fn key(&self, relative: u32) -> Result<&[u8]> {
        match self.remains.as_ref().and_then(|remains| remains.key(relative)) {
            Some((key, true)) => Ok(key),
            _ => self.found.get(&relative).map(Vec::as_slice).ok_or_else(|| self.damaged(0)),
        }
    }

    fn damaged(&self, _: u64) -> Error {
        Error::corrupt(&self.meta.name(), 0, "a key cannot be read")
    }
}
