//! What of a damaged dictionary file can still be told, and a new file of it.
//!
//! A key stands twice in a file whose keys have eight bytes: among the keys and in the table. So one damaged block
//! loses nothing there. In other files the table holds fingerprints, and the keys of a damaged block are lost.

use std::collections::HashMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::file::{self, DictionaryMeta, Mapped};
use super::part::Part;
use super::table::{LINE_BYTES, LINE_KEY_BYTES, line_keys};
use crate::block_list::BlockList;
use crate::blocks::Frame;
use crate::error::{Error, Result};
use crate::io::Files;

/// The blocks of the file that `meta` describes, without mapping it.
pub(crate) fn block_list(files: &dyn Files, meta: &DictionaryMeta) -> Result<BlockList> {
    let frame = Frame { number: meta.number, length: meta.length, crc: meta.crc };
    BlockList::framed(files, meta.name(), frame)
}

/// Checks every promise of the file that `meta` describes; its blocks were checked before.
pub(crate) fn verify(files: &Arc<dyn Files>, meta: &DictionaryMeta, erased: &RoaringBitmap) -> Result<()> {
    Mapped::open(files, meta)?.verify(erased)
}

/// A damaged file, read as far as it checks.
#[derive(Debug)]
pub(crate) struct Salvage {
    meta: DictionaryMeta,
    /// The file; `None` if it does not even open.
    file: Option<Mapped>,
    /// Keys that only the table still has, by ordinal counted from the first.
    found: HashMap<u32, [u8; LINE_KEY_BYTES]>,
    /// Ordinals, not erased before, whose keys nothing tells any more.
    pub(crate) lost: RoaringBitmap,
}

impl Salvage {
    /// Reads the file that `meta` describes; `erased` ordinals are not missed.
    pub(crate) fn of(files: &Arc<dyn Files>, meta: &DictionaryMeta, erased: &RoaringBitmap) -> Self {
        let file = Mapped::open(files, meta).ok();
        let found = file.as_ref().map(keys_of_table).unwrap_or_default();
        let mut salvage = Self { meta: meta.clone(), file, found, lost: RoaringBitmap::new() };
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

/// The keys in those lines of the table that check.
fn keys_of_table(file: &Mapped) -> HashMap<u32, [u8; LINE_KEY_BYTES]> {
    if !file.key_lines() {
        return HashMap::new();
    }
    let lines = (0..file.lines()).filter_map(|at| file.line(at).ok());
    lines.flat_map(line_keys).filter(|(relative, _)| *relative < file.count()).collect()
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
        if let Some(Ok(key)) = self.file.as_ref().map(|file| file.key(relative)) {
            return Ok(key);
        }
        self.found.get(&relative).map(<[u8; LINE_KEY_BYTES]>::as_slice).ok_or_else(|| self.damaged(0))
    }

    fn damaged(&self, _: u64) -> Error {
        Error::corrupt(&self.meta.name(), 0, "a key cannot be read")
    }
}
