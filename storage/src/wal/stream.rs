//! Pieces of log files, one after another, as the records that stand in them. A record may lie in several pieces.
//!
//! Every record is checked as replay checks it, and at its place. It holds what it was given of a record that is not whole yet: at
//! most one record and one piece.

use super::names::file_name;
use super::reader::checksum_of_rest;
use super::record::{END, FILE_HEADER_BYTES, FileDefect, FileHeader, RECORD_HEADER_BYTES, Record, RecordHeader};
use crate::error::{Error, Kind, Result};

/// A record with its own bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    /// As in [`Record`].
    pub kind: u8,
    /// The first sequence of the commit.
    pub first: u64,
    /// The last sequence of the commit.
    pub last: u64,
    /// The ingest time of the commit.
    pub ingest_time: i64,
    /// What is to be done again.
    pub payload: Vec<u8>,
}

impl OwnedRecord {
    /// The record.
    pub fn as_record(&self) -> Record<'_> {
        let Self { kind, first, last, ingest_time, payload } = self;
        Record { kind: *kind, first: *first, last: *last, ingest_time: *ingest_time, payload }
    }
}

/// A log whose files come in pieces.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// The file of the piece before, if there was one.
    file: Option<u64>,
    /// Where what is held begins in it.
    offset: u64,
    held: Vec<u8>,
    /// Whether the record that closes the file was met.
    ended: bool,
}

impl Stream {
    /// Takes `bytes`, which begin at `offset` of the file `number`, and hands over each record that is whole with them.
    pub fn take(
        &mut self,
        number: u64,
        offset: u64,
        bytes: &[u8],
        mut visit: impl FnMut(OwnedRecord) -> Result<()>,
    ) -> Result<()> {
        let damage = |offset: u64, what: &str| Error::corrupt(&file_name(number), offset, what);
        if self.file != Some(number) {
            if self.file.is_some() && !(self.ended && self.held.is_empty()) {
                return Err(damage(offset, "the file before it in the bucket was not closed"));
            }
            *self = Self { file: Some(number), ..Self::default() };
        }
        if self.offset + self.held.len() as u64 != offset {
            return Err(damage(offset, "a piece of the file does not follow what is before it"));
        }
        self.held.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((length, record)) = next(number, self.offset + at as u64, &self.held[at..])? {
            if self.ended {
                return Err(damage(self.offset + at as u64, "bytes follow the record that closes the file"));
            }
            at += length;
            match record {
                Some(record) if record.kind == END => self.ended = true,
                Some(record) => visit(record)?,
                None => {}
            }
        }
        self.offset += at as u64;
        self.held.drain(..at);
        Ok(())
    }
}

/// What stands at `offset` of the file `number`, of which `bytes` are known from there on, and how long it is: the header of the
/// file, which is no record, or a record. `None` if it is not whole.
fn next(number: u64, offset: u64, bytes: &[u8]) -> Result<Option<(usize, Option<OwnedRecord>)>> {
    let damage = |what: &str| Err(Error::corrupt(&file_name(number), offset, what));
    if offset == 0 {
        let Some(header) = bytes.first_chunk::<FILE_HEADER_BYTES>() else { return Ok(None) };
        return match FileHeader::decode(header, number) {
            Ok(_) => Ok(Some((FILE_HEADER_BYTES, None))),
            Err(defect @ FileDefect::Damaged(_)) => damage(&defect.to_string()),
            Err(defect @ FileDefect::Version(_)) => {
                let what = format!("file {}: {defect}; follow with the FirnDB that writes it", file_name(number));
                Err(Error::new(Kind::Unsupported, what))
            }
        };
    }
    let Some(header) = bytes.first_chunk::<RECORD_HEADER_BYTES>() else { return Ok(None) };
    let Some(header) = RecordHeader::decode(header, number, offset) else {
        return damage("no record begins where one should");
    };
    let Some(raw) = bytes.get(..header.record_bytes()) else { return Ok(None) };
    if checksum_of_rest(raw) != header.payload_checksum {
        return damage("the checksum of the record's payload does not match");
    }
    let RecordHeader { kind, first, last, ingest_time, payload_length, .. } = header;
    let payload = raw[RECORD_HEADER_BYTES..][..payload_length as usize].to_vec();
    Ok(Some((raw.len(), Some(OwnedRecord { kind, first, last, ingest_time, payload }))))
}
