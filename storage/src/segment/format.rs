//! The bytes of a segment file, format version 1. The only file that knows offsets; `docs/format.md` says the same.
//!
//! ```text
//! header   64 bytes: magic 8, format version u32, zero u32, segment number u64, zeros
//! sections each padded with zeros to 64 bytes, in any order
//! footer   format version u32, zero u32
//!          number u64, rows u32, tombstones u32, entities u32, ordinal min u32, ordinal max u32, steps u32
//!          event time min i64, max i64, ingest time min i64, max i64, sequence min u64, max u64, lead max i64
//!          sections u32, of each 40 bytes: kind u16, version u16, flags u32, feature u32, count u32, aux u32, zero u32,
//!                                          offset u64, length u64
//!          schema length u32, schema: an Arrow IPC `Schema`, one field per feature, ascending, named by its number
//!          blocks u32, CRC-32C u32 of each 64 KiB of header and sections (the last block may be shorter)
//! tail     24 bytes: footer length u64, CRC-64 of the footer u64, magic 8
//! ```
//!
//! Everything is little-endian. A section whose kind or version is unknown is skipped, unless its flags say that
//! answers without it would be wrong (bit 0). A section of cells of version 1 is *away*: its bytes are not in the file but
//! in ice, and its offset is where they arrive in memory.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_buffer::ArrowNativeType;
use arrow_ipc::convert::{IpcSchemaEncoder, fb_to_schema};
use arrow_ipc::root_as_schema;
use arrow_ipc::writer::DictionaryTracker;
use arrow_schema::{DataType, Field, Schema};

use crate::segment::SegmentMeta;

const _: () = assert!(cfg!(target_endian = "little"), "mapped numbers are little-endian");

/// The format version that is written and read.
pub(crate) const VERSION: u32 = 1;
/// Sections start at multiples of this.
pub(crate) const ALIGNMENT: u64 = 64;
/// Bytes of the header.
pub(crate) const HEADER_BYTES: u64 = 64;
/// Bytes of the tail.
pub(crate) const TAIL_BYTES: u64 = 24;

const MAGIC: [u8; 8] = *b"firn-seg";
/// The flag of a section that a reader must understand.
const REQUIRED: u32 = 1;
/// The version of a section whose bytes are not in the file.
const AWAY_VERSION: u16 = 1;
/// The cells that are away from one segment, at most.
const AWAY_BYTES_MAX: u64 = 1 << 46;

/// What a section holds. The numbers are those on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub(crate) enum SectionKind {
    /// The ordinals of the entities, u32.
    Ordinals = 1,
    /// A bit for each of ordinal min ..= max, in u64 words.
    OrdinalBits = 2,
    /// The ones before each 512 of them, u32.
    OrdinalRanks = 3,
    /// The first row of each entity, and the number of rows, u32; absent if every entity has one row.
    Starts = 4,
    /// Event time of each row, i64 µs.
    EventTimes = 5,
    /// Step of each row, u32.
    RowSteps = 6,
    /// Place of each row in its batch, u16 or, if one does not fit, u32.
    Places = 7,
    /// Kind of each row, u8; absent if all are writes.
    Kinds = 8,
    /// Start of each row id in the next section, and the end of the last, i32; absent without row ids.
    RowIdOffsets = 9,
    /// Encoded row ids.
    RowIdBytes = 10,
    /// Rows that retract cells, u32 words: row, number of features, the features; and so on.
    Retracted = 11,
    /// The sequence of each step, u64.
    StepSequences = 12,
    /// The ingest time of each step, i64 µs.
    StepIngestTimes = 13,
    /// The least step in each 256 rows, u32.
    StepZones = 14,
    /// Of a feature: a bit per row that has a cell, in u64 words; absent if the column is dense.
    Present = 32,
    /// Of a feature: the ones before each 512 rows, u32.
    PresentRanks = 33,
    /// Of a feature: values of fixed width; count is their number.
    Values = 34,
    /// Of a feature with values of fixed width: a bit per value that is not null; absent if none is null.
    Valid = 35,
    /// Of a feature: stretches (`stretch.rs`); count is the number of values, aux the binary logarithm of values per stretch.
    Stretches = 36,
    /// Of a feature: where each stretch starts in its section, and where the last one ends, u64.
    StretchOffsets = 37,
    /// Of each of several features, the same bytes: for each row their values of fixed width, side by side; count is the
    /// number of rows, aux where the feature's value starts in its row.
    Strip = 38,
    /// What the file of ice is in which the cells are that are away.
    Ice = 39,
    /// Of the tests: what a newer FirnDB may add and this one may leave out.
    #[cfg(test)]
    Hint = 200,
}

impl SectionKind {
    /// Every kind.
    pub(crate) const ALL: [Self; 22] = {
        use SectionKind::*;
        [
            Ordinals,
            OrdinalBits,
            OrdinalRanks,
            Starts,
            EventTimes,
            RowSteps,
            Places,
            Kinds,
            RowIdOffsets,
            RowIdBytes,
            Retracted,
            StepSequences,
            StepIngestTimes,
            StepZones,
            Present,
            PresentRanks,
            Values,
            Valid,
            Stretches,
            StretchOffsets,
            Strip,
            Ice,
        ]
    };

    /// Whether answers without such a section would be wrong, so that a reader must know it. An accelerator is not
    /// required: a FirnDB that does not know its kind reads the file without it.
    pub(crate) const fn is_required(self) -> bool {
        match self {
            #[cfg(test)]
            Self::Hint => false,
            _ => true,
        }
    }

    /// Whether it holds the values of cells, which may be away.
    pub(crate) const fn holds_cells(self) -> bool {
        matches!(self, Self::Values | Self::Strip | Self::Stretches)
    }

    fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u16 == number)
    }
}

/// Where a section is and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    /// What it holds.
    pub(crate) kind: SectionKind,
    /// Whether a reader that does not know the kind must refuse the file.
    pub(crate) required: bool,
    /// Whether its bytes are not in the file.
    pub(crate) away: bool,
    /// Whose it is, for kinds that are of a feature.
    pub(crate) feature: u32,
    /// Number of values, where the length does not say it.
    pub(crate) count: u32,
    /// One more number, as the kind says.
    pub(crate) aux: u32,
    /// Where it starts in the file; of one that is away, in the memory where it arrives.
    pub(crate) offset: u64,
    /// Its bytes without padding.
    pub(crate) length: u64,
}

/// Everything that is not in sections.
#[derive(Debug, Clone)]
pub(crate) struct Footer {
    /// What the manifest knows too; `length` and `footer_crc` are not stored in the footer itself.
    pub(crate) meta: SegmentMeta,
    /// How many steps there are.
    pub(crate) steps: u32,
    /// The sections, of the kinds that this reader knows.
    pub(crate) sections: Vec<Section>,
    /// The features that have columns, ascending, and their types.
    pub(crate) features: Vec<(u32, DataType)>,
    /// One checksum per block.
    pub(crate) checksums: Vec<u32>,
}

/// Why a footer was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The bytes make no sense.
    Damaged(&'static str),
    /// The bytes make sense to a newer FirnDB.
    Newer(String),
}

/// How many bytes are missing from `length` to a multiple of [`ALIGNMENT`].
pub(crate) fn padding(length: u64) -> usize {
    (length.wrapping_neg() % ALIGNMENT) as usize
}

/// The header of segment `number`.
pub(crate) fn header(number: u64) -> [u8; HEADER_BYTES as usize] {
    let mut bytes = [0; HEADER_BYTES as usize];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// The tail after a footer of `length` bytes.
pub(crate) fn tail(length: u64, crc: u64) -> [u8; TAIL_BYTES as usize] {
    let mut bytes = [0; TAIL_BYTES as usize];
    bytes[..8].copy_from_slice(&length.to_le_bytes());
    bytes[8..16].copy_from_slice(&crc.to_le_bytes());
    bytes[16..].copy_from_slice(&MAGIC);
    bytes
}

/// The footer's length and CRC-64 that a tail tells, if it is one.
pub(crate) fn read_tail(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut reader = Reader { bytes };
    let (length, crc) = (reader.u64()?, reader.u64()?);
    (reader.bytes == MAGIC).then_some((length, crc))
}

impl Footer {
    /// The footer as bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let meta = &self.meta;
        let mut to = Vec::with_capacity(128 + self.sections.len() * 40 + self.checksums.len() * 4);
        put(&mut to, &[VERSION, 0]);
        put(&mut to, &[meta.number]);
        put(&mut to, &[meta.rows, meta.tombstones, meta.entities, meta.ordinal_min, meta.ordinal_max, self.steps]);
        put(&mut to, &[meta.event_time_min, meta.event_time_max, meta.ingest_time_min, meta.ingest_time_max]);
        put(&mut to, &[meta.sequence_min, meta.sequence_max]);
        put(&mut to, &[meta.lead_max]);
        put(&mut to, &[self.sections.len() as u32]);
        for section in &self.sections {
            put(&mut to, &[section.kind as u16, u16::from(section.away)]);
            put(&mut to, &[u32::from(section.required) * REQUIRED, section.feature, section.count, section.aux, 0]);
            put(&mut to, &[section.offset, section.length]);
        }
        let fields = self.features.iter().map(|(feature, of)| Field::new(feature.to_string(), of.clone(), true));
        let schema = Schema::new(fields.collect::<Vec<_>>());
        // Arrow numbers dictionaries for messages of its own; here nothing refers to the numbers.
        let mut dictionaries = DictionaryTracker::new(false);
        let schema = IpcSchemaEncoder::new().with_dictionary_tracker(&mut dictionaries).schema_to_fb(&schema);
        put(&mut to, &[schema.finished_data().len() as u32]);
        to.extend_from_slice(schema.finished_data());
        put(&mut to, &[self.checksums.len() as u32]);
        put(&mut to, &self.checksums);
        to
    }

    /// The footer in `bytes`, whose checksum has been checked, of a file whose header and sections end at `covered`.
    pub(crate) fn decode(bytes: &[u8], covered: u64) -> Result<Self, Refused> {
        let mut reader = Reader { bytes };
        let version = reader.u32().ok_or(SHORT)?;
        if version != VERSION {
            return Err(Refused::Newer(format!("format version {version}; this FirnDB reads version {VERSION}")));
        }
        let _zero = reader.u32().ok_or(SHORT)?;
        let (meta, steps) = decode_meta(&mut reader).ok_or(SHORT)?;
        let count = reader.u32().ok_or(SHORT)?;
        let mut sections = Vec::new();
        for _ in 0..count {
            sections.extend(decode_section(&mut reader, covered)?);
        }
        let schema_length = reader.u32().ok_or(SHORT)?;
        let schema = reader.take(schema_length as usize).ok_or(SHORT)?;
        let features = decode_features(schema)?;
        let blocks = reader.u32().ok_or(SHORT)?;
        let checksums = reader.take(blocks as usize * 4).ok_or(SHORT)?;
        let checksums = checksums.chunks_exact(4).map(|crc| crc.try_into().map_or(0, u32::from_le_bytes)).collect();
        if !reader.bytes.is_empty() {
            return Err(Refused::Damaged("the footer is too long"));
        }
        Ok(Self { meta, steps, sections, features, checksums })
    }

    /// The section of `kind`, of `feature` where the kind is of a feature (0 otherwise).
    pub(crate) fn section(&self, kind: SectionKind, feature: u32) -> Option<&Section> {
        // Sections of a feature are written together, in ascending order of features: see `sort_sections`.
        let found = self.sections.binary_search_by_key(&(feature, kind), |section| (section.feature, section.kind));
        found.ok().map(|at| &self.sections[at])
    }

    /// Sorts the sections for [`Footer::section`]; `false` if two are of the same kind and feature.
    pub(crate) fn sort_sections(&mut self) -> bool {
        let key = |section: &Section| (section.feature, section.kind);
        self.sections.sort_by_key(key);
        self.sections.is_sorted_by(|a, b| key(a) < key(b))
    }
}

const SHORT: Refused = Refused::Damaged("the footer is too short");

fn decode_meta(reader: &mut Reader<'_>) -> Option<(SegmentMeta, u32)> {
    let number = reader.u64()?;
    let (rows, tombstones, entities) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let (ordinal_min, ordinal_max, steps) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let (event_time_min, event_time_max) = (reader.i64()?, reader.i64()?);
    let (ingest_time_min, ingest_time_max) = (reader.i64()?, reader.i64()?);
    let (sequence_min, sequence_max) = (reader.u64()?, reader.u64()?);
    let lead_max = reader.i64()?;
    let meta = SegmentMeta {
        number,
        length: 0,
        footer_crc: 0,
        rows,
        tombstones,
        entities,
        ordinal_min,
        ordinal_max,
        event_time_min,
        event_time_max,
        ingest_time_min,
        ingest_time_max,
        sequence_min,
        sequence_max,
        lead_max,
    };
    Some((meta, steps))
}

/// A section that lies within the file; `None` if it may be skipped.
fn decode_section(reader: &mut Reader<'_>, covered: u64) -> Result<Option<Section>, Refused> {
    let mut numbers = || {
        let (kind, version, flags) = (reader.u16()?, reader.u16()?, reader.u32()?);
        let (feature, count, aux, _zero) = (reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?);
        Some((kind, version, flags, feature, count, aux, reader.u64()?, reader.u64()?))
    };
    let (number, version, flags, feature, count, aux, offset, length) = numbers().ok_or(SHORT)?;
    let required = flags & REQUIRED != 0;
    let away = version == AWAY_VERSION;
    let kind = SectionKind::from_number(number).filter(|kind| version == 0 || (away && kind.holds_cells()));
    let Some(kind) = kind else {
        if required {
            return Err(Refused::Newer(format!("a section of kind {number}, version {version}")));
        }
        return Ok(None);
    };
    let (least, most) = if away { (0, AWAY_BYTES_MAX) } else { (HEADER_BYTES, covered) };
    let end = offset.checked_add(length).filter(|&end| end <= most);
    if offset % ALIGNMENT != 0 || offset < least || end.is_none() {
        return Err(Refused::Damaged("a section lies outside of the file"));
    }
    Ok(Some(Section { kind, required, away, feature, count, aux, offset, length }))
}

/// What Arrow reads as a schema; `None` where it panics, which it does at types that it does not know, whatever stands
/// around them. Its list of types is its own, so nobody else can look first.
pub(crate) fn caught<T>(read: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(read)).ok()
}

fn decode_features(bytes: &[u8]) -> Result<Vec<(u32, DataType)>, Refused> {
    // The flatbuffer is copied to be aligned: its place in the footer follows the sections.
    let aligned = arrow_buffer::Buffer::from_slice_ref(bytes);
    let schema = root_as_schema(&aligned).ok().filter(|schema| schema.fields().is_some());
    let schema = schema.ok_or(Refused::Damaged("the schema is not one"))?;
    let schema =
        caught(|| fb_to_schema(schema)).ok_or(Refused::Damaged("the schema has a type that does not exist"))?;
    let features = schema.fields().iter().map(|field| Some((field.name().parse().ok()?, field.data_type().clone())));
    let features: Vec<(u32, DataType)> =
        features.collect::<Option<_>>().ok_or(Refused::Damaged("the schema names a feature that is no number"))?;
    if !features.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(Refused::Damaged("the schema's features are out of order"));
    }
    Ok(features)
}

/// Appends numbers.
fn put<T: ArrowNativeType>(to: &mut Vec<u8>, numbers: &[T]) {
    to.extend_from_slice(arrow_buffer::ToByteSlice::to_byte_slice(numbers));
}

/// Numbers from the front of bytes.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take(8)?.try_into().ok().map(i64::from_le_bytes)
    }
}
