//! A dictionary file: consecutive ordinals that no longer change, memory-mapped.
//!
//! ```text
//! offsets  only if widths differ: count + 1 numbers of 4 or 8 bytes, from the start of `keys`
//! keys     the keys by ordinal; zeros (one width) or nothing (many widths) where a key was purged
//! table    the lines of `table.rs`: key lines if all keys have eight bytes, else fingerprint lines
//! ```
//!
//! The frame around the sections is that of `blocks.rs`; its description is [`Description`].

use std::sync::Arc;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::part::Part;
use super::table::{
    LINE_BYTES, LINE_KEY_BYTES, Line, fingerprint_lines_for, key_lines_for, line_of, mix, ordinals, place_fingerprint,
    place_key,
};
use crate::blocks::{BlockWriter, Blocks, FileKind, Frame, number_at};
use crate::error::{Error, Result};
use crate::io::{Files, publish};
use crate::model::key::hash;

const KIND: FileKind = FileKind { letters: *b"DICT", format: 0 };

/// What the manifest remembers of a dictionary file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DictionaryMeta {
    /// The number in the file's name.
    pub number: u64,
    /// The length of the file in bytes.
    pub length: u64,
    /// The ordinal of the first key.
    pub first_ordinal: u32,
    /// How many ordinals the file covers.
    pub count: u32,
    /// How many of them are erased and have no bytes left.
    pub purged: u32,
    /// The CRC-64 of the file's checksums and foot.
    pub crc: u64,
}

impl DictionaryMeta {
    /// The ordinal after the last one.
    pub fn end(&self) -> u32 {
        self.first_ordinal.saturating_add(self.count)
    }

    /// The name of the file.
    pub fn name(&self) -> String {
        file_name(self.number)
    }
}

/// The name of dictionary file `number`.
pub fn file_name(number: u64) -> String {
    format!("dictionaries/{number:020}.dictionary")
}

/// What the sections are and where: the JSON at the end of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) first_ordinal: u32,
    pub(super) count: u32,
    pub(super) purged: u32,
    /// Bytes per key, if all have the same.
    pub(super) width: Option<u64>,
    /// Bytes per offset, 4 or 8, if widths differ.
    pub(super) offset_bytes: Option<u8>,
    pub(super) offsets: u64,
    pub(super) keys: u64,
    pub(super) key_bytes: u64,
    pub(super) table: u64,
    pub(super) lines: u64,
    pub(super) probe_max: u64,
}

/// A dictionary file, opened.
#[derive(Debug)]
pub(super) struct Mapped {
    meta: DictionaryMeta,
    blocks: Blocks,
    widths: Widths,
    keys: usize,
    key_bytes: usize,
    table: usize,
    lines: u64,
    probe_max: u64,
}

#[derive(Debug, Clone, Copy)]
enum Widths {
    /// All keys have this many bytes.
    One(usize),
    /// Offsets of 4 bytes start here.
    Offsets32(usize),
    /// Offsets of 8 bytes start here.
    Offsets64(usize),
}

impl Mapped {
    /// Opens the file that `meta` describes: maps it and checks its shape, not its keys.
    pub(super) fn open(files: &Arc<dyn Files>, meta: &DictionaryMeta) -> Result<Self> {
        let frame = Frame { number: meta.number, length: meta.length, crc: meta.crc };
        let blocks = Blocks::open(files, meta.name(), KIND, frame)?;
        let damaged = |what: &str| blocks.damaged(blocks.description_offset(), what);
        let stated: Description = serde_json::from_slice(blocks.description()?)
            .map_err(|error| damaged(&format!("the description makes no sense: {error}")))?;
        if (stated.first_ordinal, stated.count, stated.purged) != (meta.first_ordinal, meta.count, meta.purged) {
            return Err(damaged("the description states other ordinals than the manifest"));
        }
        if meta.first_ordinal.checked_add(meta.count).is_none() {
            return Err(damaged("the ordinals end beyond the greatest one"));
        }
        let section = |offset: u64, count: u64, bytes: u64| -> Option<usize> {
            let end = count.checked_mul(bytes)?.checked_add(offset)?;
            if end <= blocks.sections_end() as u64 { usize::try_from(offset).ok() } else { None }
        };
        let count = u64::from(stated.count);
        let outside = || damaged("a section lies outside the file");
        let widths = match (stated.width, stated.offset_bytes) {
            (Some(width), None) if count.checked_mul(width) == Some(stated.key_bytes) => Widths::One(width as usize),
            (None, Some(4)) => Widths::Offsets32(section(stated.offsets, count + 1, 4).ok_or_else(outside)?),
            (None, Some(8)) => Widths::Offsets64(section(stated.offsets, count + 1, 8).ok_or_else(outside)?),
            _ => return Err(damaged("the description states no possible width of keys")),
        };
        if stated.probe_max >= stated.lines.max(1) {
            return Err(damaged("a search would go on for longer than the table"));
        }
        let keys = section(stated.keys, stated.key_bytes, 1).ok_or_else(outside)?;
        let table = section(stated.table, stated.lines, LINE_BYTES as u64).ok_or_else(outside)?;
        let (key_bytes, lines, probe_max) = (stated.key_bytes as usize, stated.lines, stated.probe_max);
        let meta = meta.clone();
        Ok(Self { meta, blocks, widths, keys, key_bytes, table, lines, probe_max })
    }

    /// What the manifest remembers of this file.
    pub(super) fn meta(&self) -> &DictionaryMeta {
        &self.meta
    }

    /// Checks every block, offset and line.
    pub(super) fn check_all(&self) -> Result<()> {
        self.blocks.check_all()?;
        for relative in 0..self.count() {
            self.key(relative)?;
        }
        for at in 0..self.lines {
            if ordinals(self.line(at)?, self.key_lines()).any(|relative| relative >= self.count()) {
                return Err(self.damaged(at));
            }
        }
        Ok(())
    }

    /// [`Mapped::check_all`], and that the table finds every key that is not `erased`, and nothing else.
    pub(super) fn verify(&self, erased: &RoaringBitmap) -> Result<()> {
        self.check_all()?;
        let mut found = RoaringBitmap::new();
        for at in 0..self.lines {
            for relative in ordinals(self.line(at)?, self.key_lines()) {
                let start = line_of(mix(hash(self.key(relative)?)), self.lines);
                let distance = (at + self.lines - start) % self.lines;
                if distance > self.probe_max || !found.insert(self.meta.first_ordinal + relative) {
                    return Err(self.damaged(at));
                }
            }
        }
        let range = self.meta.first_ordinal..self.meta.end();
        let mut missing = RoaringBitmap::new();
        missing.insert_range(range.clone());
        missing -= &found;
        let purged = missing.len() == u64::from(self.meta.purged) && missing.is_subset(erased);
        if purged {
            Ok(())
        } else {
            Err(self.blocks.damaged(self.table, "the table does not find all keys of the file"))
        }
    }

    /// How many bytes are mapped.
    pub(super) fn mapped_bytes(&self) -> usize {
        self.blocks.length()
    }
}

impl Part for Mapped {
    #[inline]
    fn first_ordinal(&self) -> u32 {
        self.meta.first_ordinal
    }

    #[inline]
    fn count(&self) -> u32 {
        self.meta.count
    }

    #[inline]
    fn lines(&self) -> u64 {
        self.lines
    }

    #[inline]
    fn key_lines(&self) -> bool {
        matches!(self.widths, Widths::One(LINE_KEY_BYTES))
    }

    #[inline]
    fn probe_max(&self) -> u64 {
        self.probe_max
    }

    #[inline]
    fn line(&self, at: u64) -> Result<&[u8; LINE_BYTES]> {
        let line = self.blocks.range(self.table + at as usize * LINE_BYTES, LINE_BYTES)?;
        Ok(line.first_chunk().expect("a range has the length that was asked for"))
    }

    #[inline]
    fn key(&self, relative: u32) -> Result<&[u8]> {
        let relative = relative as usize;
        let (start, end) = match self.widths {
            Widths::One(width) => return self.blocks.range(self.keys + relative * width, width),
            Widths::Offsets32(at) => {
                let pair = number_at(self.blocks.range(at + relative * 4, 8)?, 0);
                ((pair & 0xffff_ffff) as usize, (pair >> 32) as usize)
            }
            Widths::Offsets64(at) => {
                let pair = self.blocks.range(at + relative * 8, 16)?;
                (number_at(pair, 0) as usize, number_at(pair, 8) as usize)
            }
        };
        if start > end || end > self.key_bytes {
            return Err(self.blocks.damaged(self.keys, format!("the offsets of key {relative} make no sense")));
        }
        self.blocks.range(self.keys + start, end - start)
    }

    fn damaged(&self, at: u64) -> Error {
        self.blocks.damaged(self.table + at as usize * LINE_BYTES, "a line of the hash table points nowhere")
    }
}

/// Writes the keys of `parts`, which must follow one another, to file `number`. Keys of `erased` ordinals leave no
/// bytes there and cannot be found.
pub(super) fn write(
    files: &Arc<dyn Files>,
    number: u64,
    parts: &[&dyn Part],
    erased: &RoaringBitmap,
) -> Result<DictionaryMeta> {
    let first_ordinal = parts.first().expect("a file has at least one part").first_ordinal();
    let mut count = 0;
    for part in parts {
        assert_eq!(part.first_ordinal(), first_ordinal + count, "parts of a file follow one another");
        count += part.count();
    }
    let purged = erased.range_cardinality(first_ordinal..first_ordinal + count) as u32;
    let (width, mut key_bytes) = measure(parts, erased)?;
    let (table, probe_max) = build_table(parts, erased, count - purged, width)?;
    let offset_bytes = match width {
        Some(_) => None,
        None => Some(if key_bytes <= u64::from(u32::MAX) { 4 } else { 8 }),
    };
    if let Some(width) = width {
        key_bytes = u64::from(count) * width as u64;
    }
    let mut frame = None;
    publish(files, &file_name(number), |file| {
        let mut writer = BlockWriter::new(file, KIND, number)?;
        let offsets = writer.align()?;
        if let Some(bytes) = offset_bytes {
            append_offsets(&mut writer, parts, erased, usize::from(bytes))?;
        }
        let keys = writer.align()?;
        let purged_key = vec![0; width.unwrap_or(0)];
        each_key(parts, erased, &mut |_, key| writer.append(key.unwrap_or(&purged_key)))?;
        assert_eq!(writer.position() - keys, key_bytes, "the keys were measured");
        let at = writer.align()?;
        for Line(line) in &table {
            writer.append(line)?;
        }
        let width = width.map(|width| width as u64);
        let description = Description {
            first_ordinal,
            count,
            purged,
            width,
            offset_bytes,
            offsets,
            keys,
            key_bytes,
            table: at,
            lines: table.len() as u64,
            probe_max,
        };
        let text = serde_json::to_vec(&description).expect("numbers always have a JSON form");
        frame = Some(writer.finish(&text)?);
        Ok(())
    })?;
    let frame = frame.expect("a published file was finished");
    Ok(DictionaryMeta { number, length: frame.length, first_ordinal, count, purged, crc: frame.crc })
}

/// The width of all keys, if they have one, and the sum of their lengths.
fn measure(parts: &[&dyn Part], erased: &RoaringBitmap) -> Result<(Option<usize>, u64)> {
    let mut key_bytes = 0;
    let mut width = None;
    let mut one_width = true;
    each_key(parts, erased, &mut |_, key| {
        if let Some(key) = key {
            key_bytes += key.len() as u64;
            one_width &= *width.get_or_insert(key.len()) == key.len();
        }
        Ok(())
    })?;
    Ok((if one_width { Some(width.unwrap_or(0)) } else { None }, key_bytes))
}

/// The table over the `live` keys of `parts`, and how far the search for any of them goes.
fn build_table(
    parts: &[&dyn Part],
    erased: &RoaringBitmap,
    live: u32,
    width: Option<usize>,
) -> Result<(Vec<Line>, u64)> {
    let key_lines = width == Some(LINE_KEY_BYTES);
    let mut table = Line::table(if key_lines { key_lines_for(live) } else { fingerprint_lines_for(live) });
    let mut probe_max = 0;
    each_key(parts, erased, &mut |relative, key| {
        if let Some(key) = key {
            let mixed = mix(hash(key));
            probe_max = probe_max.max(match key_lines {
                true => place_key(&mut table, mixed, key, relative),
                false => place_fingerprint(&mut table, mixed, relative),
            });
        }
        Ok(())
    })?;
    Ok((table, probe_max))
}

fn append_offsets(
    writer: &mut BlockWriter<'_>,
    parts: &[&dyn Part],
    erased: &RoaringBitmap,
    bytes: usize,
) -> Result<()> {
    let mut offset = 0_u64;
    writer.append(&offset.to_le_bytes()[..bytes])?;
    each_key(parts, erased, &mut |_, key| {
        offset += key.map_or(0, <[u8]>::len) as u64;
        writer.append(&offset.to_le_bytes()[..bytes])
    })
}

/// Takes the place of a key in the file and the key, if it is not erased.
type Visit<'a> = dyn FnMut(u32, Option<&[u8]>) -> Result<()> + 'a;

/// Calls `visit` with each key of `parts`, `None` for those of `erased` ordinals.
fn each_key(parts: &[&dyn Part], erased: &RoaringBitmap, visit: &mut Visit<'_>) -> Result<()> {
    let mut at = 0;
    for part in parts {
        let mut gone = erased.range(part.first_ordinal()..part.first_ordinal() + part.count()).peekable();
        for relative in 0..part.count() {
            let key = if gone.next_if_eq(&(part.first_ordinal() + relative)).is_some() {
                None
            } else {
                Some(part.key(relative)?)
            };
            visit(at, key)?;
            at += 1;
        }
    }
    Ok(())
}
