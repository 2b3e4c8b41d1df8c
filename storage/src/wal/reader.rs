//! One log file being read: a record at a time, each checked, in memory bounded by the greatest record.
//!
//! The reader tells what it finds and where; whether a flaw may be forgiven is for replay and verify to say.

use super::names::file_name;
use super::record::{
    ALIGNMENT, END, FILE_HEADER_BYTES, FileDefect, FileHeader, Link, RECORD_HEADER_BYTES, Record, RecordHeader,
    chain_on, chain_start, payload_checksum,
};
use crate::error::{Error, Kind, Result};
use crate::io::Files;
use crate::time::Sequence;

/// How much is read at once where records are small.
const CHUNK_BYTES: u64 = 1 << 20;

/// A log file that is being read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    piece: Piece<'a>,
    header: FileHeader,
    /// Where the next record stands.
    offset: u64,
    chain: u64,
    /// The greatest sequence so far.
    last: Sequence,
    ended: bool,
}

/// What stands at the reader's place.
#[derive(Debug)]
pub(super) enum Next<'r> {
    /// A whole record.
    Record(Stored<'r>),
    /// The record that closes the file.
    End,
    /// The end of the file.
    Finished,
    /// Something that does not check. The reader stays before it.
    Damage(Damage),
}

/// A record as it stands in its file.
#[derive(Debug)]
pub(super) struct Stored<'r> {
    pub(super) header: RecordHeader,
    /// All its bytes: header, payload, padding.
    pub(super) raw: &'r [u8],
}

/// Bytes that do not check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) offset: u64,
    pub(super) what: String,
    /// Whether a crash in the middle of a write could have left it.
    pub(super) torn: bool,
}

impl Stored<'_> {
    /// The record that was appended.
    pub(super) fn record(&self) -> Record<'_> {
        let RecordHeader { kind, first, last, ingest_time, payload_length, .. } = self.header;
        let payload = &self.raw[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + payload_length as usize];
        Record { kind, first, last, ingest_time, payload }
    }
}

impl<'a> Reader<'a> {
    /// Opens the file `number`, whose sequences go on after `last`. A file header that does not check is damage;
    /// one of a later format is an error that repair must not touch.
    pub(super) fn open(files: &'a dyn Files, number: u64, last: Sequence) -> Result<Result<Self, Damage>> {
        let mut piece = Piece::open(files, number)?;
        let flawed = |what: String| Ok(Err(Damage { offset: 0, what, torn: false }));
        let Some(bytes) = piece.view(0, FILE_HEADER_BYTES)?.and_then(<[u8]>::first_chunk) else {
            return flawed("it is shorter than a file header".to_owned());
        };
        match FileHeader::decode(bytes, number) {
            Ok(header) => Ok(Ok(Self::after_header(piece, header, last))),
            Err(defect @ FileDefect::Damaged(_)) => flawed(defect.to_string()),
            Err(defect @ FileDefect::Version(_)) => {
                let name = &piece.name;
                Err(Error::new(
                    Kind::Precondition,
                    format!("file {name}: {defect}; open it with the FirnDB that wrote it"),
                ))
            }
        }
    }

    /// Reads the records of a file as if its header were `header`; `None` if it is too short to hold any.
    pub(super) fn with_header(files: &'a dyn Files, header: FileHeader, last: Sequence) -> Result<Option<Self>> {
        let piece = Piece::open(files, header.number)?;
        let long_enough = piece.length >= FILE_HEADER_BYTES as u64;
        Ok(long_enough.then(|| Self::after_header(piece, header, last)))
    }

    fn after_header(piece: Piece<'a>, header: FileHeader, last: Sequence) -> Self {
        let chain = chain_start(header.number);
        Self { piece, header, offset: FILE_HEADER_BYTES as u64, chain, last, ended: false }
    }

    /// The file's header.
    pub(super) fn header(&self) -> &FileHeader {
        &self.header
    }

    /// The file's name.
    pub(super) fn name(&self) -> &str {
        &self.piece.name
    }

    /// The file's length.
    pub(super) fn length(&self) -> u64 {
        self.piece.length
    }

    /// Where the next record stands.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The greatest sequence so far.
    pub(super) fn last(&self) -> Sequence {
        self.last
    }

    /// Whether the record that closes the file was read.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// What the next file should remember of what was read of this one.
    pub(super) fn link(&self) -> Link {
        Link { number: self.header.number, length: self.offset, chain: self.chain }
    }

    /// The first sequence of the first record, if there is one.
    pub(super) fn first_sequence(&mut self) -> Result<Option<Sequence>> {
        Ok(self.header_at(FILE_HEADER_BYTES as u64)?.map(|header| header.first))
    }

    /// Reads and checks what stands at the reader's place, and goes on after it.
    pub(super) fn next(&mut self) -> Result<Next<'_>> {
        let offset = self.offset;
        let damage = |what: String, torn| Ok(Next::Damage(Damage { offset, what, torn }));
        if offset == self.piece.length {
            return Ok(Next::Finished);
        }
        if self.ended {
            return damage("bytes follow the record that closes the file".to_owned(), false);
        }
        let Some(header) = self.header_at(offset)? else {
            return damage("no record begins where one should".to_owned(), true);
        };
        let Some(raw) = self.piece.view(offset, header.record_bytes())? else {
            return damage(format!("the record's {} bytes go beyond the end", header.payload_length), true);
        };
        // A payload and its padding are checked together: both are what was appended, or neither is.
        if checksum_of_rest(raw) != header.payload_checksum {
            return damage("the checksum of the record's payload does not match".to_owned(), true);
        }
        if header.first <= self.last || header.last.checked_add(1).is_none_or(|next| next < header.first) {
            let what = format!("sequences {} to {} come after {}", header.first, header.last, self.last);
            return damage(what, false);
        }
        self.offset += raw.len() as u64;
        self.chain = chain_on(self.chain, &raw[..RECORD_HEADER_BYTES]);
        self.last = self.last.max(header.last);
        if header.kind == END {
            self.ended = true;
            return Ok(Next::End);
        }
        Ok(Next::Record(Stored { header, raw }))
    }

    /// Where after `from` the next record header stands of a record that is `wanted`. Only the header need check.
    pub(super) fn find(&mut self, from: u64, wanted: impl Fn(&RecordHeader) -> bool) -> Result<Option<u64>> {
        let mut offset = from + ALIGNMENT as u64;
        while offset + RECORD_HEADER_BYTES as u64 <= self.piece.length {
            if self.header_at(offset)?.is_some_and(|header| wanted(&header)) {
                return Ok(Some(offset));
            }
            offset += ALIGNMENT as u64;
        }
        Ok(None)
    }

    /// Whether the bytes at `offset` were durable once: a record after them was written when they were synced.
    pub(super) fn was_synced(&mut self, offset: u64) -> Result<bool> {
        Ok(self.find(offset, |header| header.group_start > offset)?.is_some())
    }

    /// Goes on at `offset`, wherever the records before it went.
    pub(super) fn resume(&mut self, offset: u64) -> Result<()> {
        if let Some(header) = self.header_at(offset)? {
            self.last = header.first.saturating_sub(1);
        }
        self.offset = offset;
        self.ended = false;
        Ok(())
    }

    fn header_at(&mut self, offset: u64) -> Result<Option<RecordHeader>> {
        let number = self.header.number;
        let bytes = self.piece.view(offset, RECORD_HEADER_BYTES)?.and_then(<[u8]>::first_chunk);
        Ok(bytes.and_then(|bytes| RecordHeader::decode(bytes, number, offset)))
    }
}

/// The checksum of everything after the header of a record.
pub(super) fn checksum_of_rest(raw: &[u8]) -> u64 {
    payload_checksum(&raw[RECORD_HEADER_BYTES..])
}

/// A piece of a file in memory: around what was read last.
#[derive(Debug)]
struct Piece<'a> {
    files: &'a dyn Files,
    name: String,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Piece<'a> {
    fn open(files: &'a dyn Files, number: u64) -> Result<Self> {
        let name = file_name(number);
        let length = files.length(&name)?;
        Ok(Self { files, name, length, start: 0, bytes: Vec::new() })
    }

    /// The `count` bytes at `offset`; `None` if the file ends before.
    fn view(&mut self, offset: u64, count: usize) -> Result<Option<&[u8]>> {
        let wanted = count as u64;
        if offset.checked_add(wanted).is_none_or(|end| end > self.length) {
            return Ok(None);
        }
        let held = offset >= self.start && offset + wanted <= self.start + self.bytes.len() as u64;
        if !held {
            self.load(offset, wanted.max(CHUNK_BYTES.min(self.length - offset)))?;
        }
        let from = (offset - self.start) as usize;
        Ok(Some(&self.bytes[from..from + count]))
    }

    /// Reads the `count` bytes at `offset`, which the file has.
    fn load(&mut self, offset: u64, count: u64) -> Result<()> {
        if self.bytes.capacity() as u64 > 4 * CHUNK_BYTES.max(count) {
            // The memory of one great record is not kept for the small ones after it.
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(count as usize, 0);
        self.files.read_at(&self.name, offset, &mut bytes)?;
        self.bytes = bytes;
        self.start = offset;
        Ok(())
    }
}
