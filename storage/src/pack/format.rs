//! The format of a pack file: the sections of its frame (`blocks.rs`) and their description.
//!
//! ```text
//! per stretch   rows         one after another, each as in `layout.rs`
//!              arrays       per variable feature an arrow IPC stream of one batch of one column; none if all null
//! schema       an arrow IPC stream of no batch: the type of each feature, in order, fields named by feature id
//! presence     only if packed: one bit per ordinal; then, after the next multiple of 64 bytes,
//! ranks        per 512 ordinals a u32: how many rows come before them
//! stretches      per stretch: offset of its rows, rows before it, then per variable feature offset and length (u64)
//! ```
//!
//! A stretch is `stretch_ordinals` (a power of two) consecutive ordinals. Packed packs leave out ordinals that have no
//! row in this table: other tables of the entity gave them.

use std::sync::Arc;

use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use serde::{Deserialize, Serialize};

use super::layout::{Layout, Slot};
use super::meta::PackMeta;
use crate::block_list::BlockList;
use crate::blocks::{Blocks, FileKind, Frame, number_at};
use crate::error::Result;
use crate::io::Files;
use crate::segment::format::caught;

pub(super) const KIND: FileKind = FileKind { letters: *b"PACK", format: 0 };
/// Ordinals per entry of the ranks.
pub(super) const RANK_ORDINALS: u32 = 512;
const RANK_BYTES: usize = RANK_ORDINALS as usize / 8;

/// What the sections are and where: the JSON at the end of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) position: u64,
    pub(super) ordinals: u32,
    pub(super) rows: u32,
    pub(super) packed: bool,
    pub(super) stride: u64,
    pub(super) groups: u16,
    /// The file keeps the word of its first version.
    #[serde(rename = "window_ordinals")]
    pub(super) stretch_ordinals: u32,
    pub(super) features: Vec<DescribedFeature>,
    pub(super) schema: u64,
    pub(super) schema_length: u64,
    pub(super) presence: u64,
    pub(super) ranks: u64,
    #[serde(rename = "windows")]
    pub(super) stretches: u64,
}

/// One feature in the description; its type is in the schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DescribedFeature {
    pub(super) feature: u32,
    pub(super) group: u16,
    /// Offset and width of its cell; `None` if its values are beside the rows.
    pub(super) cell: Option<(u32, u32)>,
}

/// Bytes per entry of the stretches.
pub(super) fn stretch_bytes(variables: usize) -> usize {
    16 + variables * 16
}

/// Opens the frame.
pub(super) fn open(files: &Arc<dyn Files>, meta: &PackMeta) -> Result<Blocks> {
    Blocks::open(files, meta.name(), KIND, frame(meta))
}

/// The blocks of the pack that `meta` describes, without mapping it.
pub(crate) fn block_list(files: &dyn Files, meta: &PackMeta) -> Result<BlockList> {
    BlockList::framed(files, meta.name(), frame(meta))
}

fn frame(meta: &PackMeta) -> Frame {
    Frame { number: meta.number, length: meta.length, crc: meta.crc }
}

/// Reads the description and proves it against the manifest and itself.
pub(super) fn describe(blocks: &Blocks, meta: &PackMeta) -> Result<(Description, Layout)> {
    let damaged = |what: &str| blocks.damaged(blocks.description_offset(), what);
    let stated: Description = serde_json::from_slice(blocks.description()?)
        .map_err(|error| damaged(&format!("the description makes no sense: {error}")))?;
    if (stated.position, stated.ordinals, stated.rows) != (meta.position, meta.ordinals, meta.rows) {
        return Err(damaged("the description states other rows than the manifest"));
    }
    if stated.rows > stated.ordinals || !stated.stretch_ordinals.is_power_of_two() {
        return Err(damaged("the description's numbers of ordinals do not fit together"));
    }
    if stated.schema.checked_add(stated.schema_length).is_none_or(|end| end > blocks.sections_end() as u64) {
        return Err(damaged("the schema lies outside the file"));
    }
    let mut bytes = Buffer::from(blocks.shared(stated.schema as usize, stated.schema_length as usize)?);
    let mut decoder = StreamDecoder::new();
    let decoded =
        caught(|| decoder.decode(&mut bytes)).ok_or_else(|| damaged("the schema has a type that does not exist"))?;
    let decoded = decoded.map_err(|error| damaged(&format!("the schema: {error}")))?;
    let schema = decoder.schema().filter(|_| decoded.is_none()).ok_or_else(|| damaged("there is no schema"))?;
    if schema.fields().len() != stated.features.len() {
        return Err(damaged("the schema has another number of features than the description"));
    }
    let typed =
        schema.fields().iter().zip(&stated.features).map(|(field, feature)| {
            (feature.feature, field.data_type().clone(), feature.group, feature.cell.is_none())
        });
    let layout = Layout::new(&typed.collect::<Vec<_>>(), stated.groups);
    let same_cells = layout.features().iter().zip(&stated.features).all(|(laid, feature)| {
        let cell = match laid.slot {
            Slot::Fixed { offset, width } => Some((offset, width)),
            Slot::Variable(_) => None,
        };
        cell == feature.cell && feature.group < stated.groups
    });
    if !same_cells || layout.stride() as u64 != stated.stride {
        return Err(damaged("the description lays rows out in another way than this format"));
    }
    Ok((stated, layout))
}

/// Reads where the rows of each stretch start and how many come before them.
pub(super) fn stretches(blocks: &Blocks, stated: &Description, layout: &Layout) -> Result<Vec<(usize, u32)>> {
    let damaged = |what: &str| blocks.damaged(stated.stretches as usize, what);
    let count = stated.ordinals.div_ceil(stated.stretch_ordinals) as usize;
    let entry_bytes = stretch_bytes(layout.variables() as usize);
    let length = count.checked_mul(entry_bytes).ok_or_else(|| damaged("the stretches are too many"))?;
    let entries = blocks.range(stated.stretches as usize, length)?;
    let mut stretches = Vec::with_capacity(count);
    let mut before = 0;
    let most = u64::from(if stated.packed { stated.rows } else { stated.ordinals });
    for (index, entry) in entries.chunks_exact(entry_bytes).enumerate() {
        let (offset, rows_before) = (number_at(entry, 0), number_at(entry, 8));
        let ordered = rows_before >= before && rows_before <= most && (index > 0 || rows_before == 0);
        if offset > blocks.sections_end() as u64 || !ordered {
            return Err(damaged("the stretches do not follow one another"));
        }
        before = rows_before;
        stretches.push((offset as usize, rows_before as u32));
    }
    Ok(stretches)
}

/// Which ordinals of a packed pack have a row.
#[derive(Debug)]
pub(super) struct Presence {
    bits: usize,
    ranks: usize,
}

impl Presence {
    /// The presence of a packed pack; `None` if every ordinal has a row.
    pub(super) fn open(blocks: &Blocks, stated: &Description) -> Result<Option<Self>> {
        if !stated.packed {
            return Ok(None);
        }
        let count = u64::from(stated.ordinals.div_ceil(RANK_ORDINALS));
        let end = blocks.sections_end() as u64;
        let fits = |offset: u64, bytes: u64| (count * bytes).checked_add(offset).is_some_and(|last| last <= end);
        if !fits(stated.presence, RANK_BYTES as u64) || !fits(stated.ranks, 4) {
            return Err(blocks.damaged(blocks.description_offset(), "the presence lies outside the file"));
        }
        Ok(Some(Self { bits: stated.presence as usize, ranks: stated.ranks as usize }))
    }

    /// How many rows come before that of `ordinal`; `None` if it has none.
    #[inline]
    pub(super) fn rank(&self, blocks: &Blocks, ordinal: u32) -> Result<Option<u32>> {
        let group = (ordinal / RANK_ORDINALS) as usize;
        let bits = blocks.range(self.bits + group * RANK_BYTES, RANK_BYTES)?;
        let (word, bit) = ((ordinal % RANK_ORDINALS / 64) as usize, ordinal % 64);
        let last = number_at(bits, word * 8);
        if last >> bit & 1 == 0 {
            return Ok(None);
        }
        let rank = blocks.range(self.ranks + group * 4, 4)?;
        let mut row = u32::from_le_bytes([rank[0], rank[1], rank[2], rank[3]]);
        for before in 0..word {
            row = row.wrapping_add(number_at(bits, before * 8).count_ones());
        }
        Ok(Some(row.wrapping_add((last & ((1 << bit) - 1)).count_ones())))
    }
}
