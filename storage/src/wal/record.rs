//! The bytes of the log: file header, record header, and what may stand in them.
//!
//! This file alone knows the offsets. A file is a header of [`FILE_HEADER_BYTES`], then records, each at a multiple
//! of 8 bytes: a header of [`RECORD_HEADER_BYTES`], the payload, zeros up to the next multiple of 8. All numbers are
//! little-endian. A header's checksum covers where the record stands (file number and offset), so a record that a
//! disk wrote to the wrong place does not pass; the payload's checksum covers the zeros after it too.

use std::fmt;

use crate::checksum::{Digest64, checksum, checksum64};
use crate::time::{Micros, Sequence};

/// The greatest payload of one record in bytes.
pub const RECORD_BYTES_MAX: usize = 256 << 20;

/// Length of a file's header; its first record follows.
pub(super) const FILE_HEADER_BYTES: usize = 64;

/// Length of a record's header; its payload follows.
pub(super) const RECORD_HEADER_BYTES: usize = 72;

/// Records start at multiples of this.
pub(super) const ALIGNMENT: usize = 8;

/// The kind of the record that closes a file.
pub(super) const END: u8 = 0;

const FILE_MAGIC: [u8; 8] = *b"FIRN-WAL";
const RECORD_MAGIC: [u8; 4] = *b"FREC";
const FORMAT_VERSION: u32 = 0;

const _: () = assert!(FILE_HEADER_BYTES.is_multiple_of(ALIGNMENT) && RECORD_HEADER_BYTES.is_multiple_of(ALIGNMENT));
const _: () = assert!(RECORD_BYTES_MAX <= u32::MAX as usize);

/// One durable step of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What the payload is; 0 is taken.
    pub kind: u8,
    /// The first sequence of the commit.
    pub first: Sequence,
    /// The last sequence of the commit; `first - 1` for a record that is no commit.
    pub last: Sequence,
    /// The ingest time of the commit.
    pub ingest_time: Micros,
    /// What is to be done again on replay.
    pub payload: &'a [u8],
}

/// The end of a log file, as the next one remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) length: u64,
    pub(super) chain: u64,
}

/// The header of a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) number: u64,
    /// The file before this one; `None` in the first file of a database.
    pub(super) previous: Option<Link>,
}

/// Why a file header is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileDefect {
    /// It does not check.
    Damaged(&'static str),
    /// It checks, but a later FirnDB wrote it.
    Version(u32),
}

impl FileHeader {
    pub(super) fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let previous = self.previous.unwrap_or(Link { number: 0, length: 0, chain: 0 });
        let mut bytes = [0; FILE_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&FILE_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&previous.number.to_le_bytes());
        bytes[32..40].copy_from_slice(&previous.length.to_le_bytes());
        bytes[40..48].copy_from_slice(&previous.chain.to_le_bytes());
        let check = checksum(&bytes[..60]);
        bytes[60..64].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// The header of the file `number`. Magic, version and checksum stand at these offsets in every version.
    pub(super) fn decode(bytes: &[u8; FILE_HEADER_BYTES], number: u64) -> Result<Self, FileDefect> {
        if bytes[0..8] != FILE_MAGIC {
            return Err(FileDefect::Damaged("it does not begin as a log file does"));
        }
        if checksum(&bytes[..60]) != u32_at(bytes, 60) {
            return Err(FileDefect::Damaged("the checksum of the file header does not match"));
        }
        if u32_at(bytes, 8) != FORMAT_VERSION {
            return Err(FileDefect::Version(u32_at(bytes, 8)));
        }
        if u64_at(bytes, 16) != number {
            return Err(FileDefect::Damaged("the file header belongs to another file"));
        }
        let link = Link { number: u64_at(bytes, 24), length: u64_at(bytes, 32), chain: u64_at(bytes, 40) };
        Ok(Self { number, previous: (link.length != 0).then_some(link) })
    }
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    /// The file that it stands in.
    pub(super) number: u64,
    /// Where it stands.
    pub(super) offset: u64,
    /// Where its group of records begins: everything before was synced when this record was written.
    pub(super) group_start: u64,
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    pub(super) ingest_time: Micros,
    pub(super) payload_checksum: u64,
    pub(super) payload_length: u32,
    pub(super) kind: u8,
}

impl RecordHeader {
    pub(super) fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&RECORD_MAGIC);
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.group_start.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.last.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.ingest_time.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.payload_checksum.to_le_bytes());
        bytes[64..68].copy_from_slice(&self.payload_length.to_le_bytes());
        bytes[68] = self.kind;
        let check = checksum(&bytes[8..]);
        bytes[4..8].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// The header at `offset` of file `number`; `None` if what stands there is no header of that place.
    pub(super) fn decode(bytes: &[u8; RECORD_HEADER_BYTES], number: u64, offset: u64) -> Option<Self> {
        if bytes[0..4] != RECORD_MAGIC || checksum(&bytes[8..]) != u32_at(bytes, 4) {
            return None;
        }
        let header = Self {
            number: u64_at(bytes, 8),
            offset: u64_at(bytes, 16),
            group_start: u64_at(bytes, 24),
            first: u64_at(bytes, 32),
            last: u64_at(bytes, 40),
            ingest_time: u64_at(bytes, 48).cast_signed(),
            payload_checksum: u64_at(bytes, 56),
            payload_length: u32_at(bytes, 64),
            kind: bytes[68],
        };
        let here = header.number == number && header.offset == offset && header.group_start <= offset;
        (here && header.payload_length as usize <= RECORD_BYTES_MAX).then_some(header)
    }

    /// The length of the whole record in its file.
    pub(super) fn record_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + padded(self.payload_length as usize)
    }
}

/// `length` rounded up to where the next record may start.
pub(super) fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}

/// The checksum of `payload` and the zeros after it.
pub(super) fn payload_checksum(payload: &[u8]) -> u64 {
    let mut digest = Digest64::default();
    digest.update(payload);
    digest.update(padding(payload.len()));
    digest.finish()
}

/// The zeros after a payload of `length` bytes.
pub(super) fn padding(length: usize) -> &'static [u8] {
    const ZEROS: [u8; ALIGNMENT] = [0; ALIGNMENT];
    &ZEROS[..padded(length) - length]
}

/// The chain checksum of a file without records.
pub(super) fn chain_start(number: u64) -> u64 {
    checksum64(&number.to_le_bytes())
}

/// The chain checksum after one more record: it covers every header, and through them every payload.
pub(super) fn chain_on(chain: u64, header: &[u8]) -> u64 {
    let mut digest = Digest64::default();
    digest.update(&chain.to_le_bytes());
    digest.update(header);
    digest.finish()
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let field = bytes[offset..].first_chunk().expect("headers have a fixed length and fields lie inside");
    u32::from_le_bytes(*field)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let field = bytes[offset..].first_chunk().expect("headers have a fixed length and fields lie inside");
    u64::from_le_bytes(*field)
}

impl fmt::Display for FileDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => f.write_str(what),
            Self::Version(version) => write!(f, "it has log format {version}, which this FirnDB does not know"),
        }
    }
}
