//! One log file being written: records go to a buffer, the buffer to the file, and a sync makes them durable.
//!
//! A file gets its name only once its header is durable, so a file of that name always has one. This type does not
//! remember failures; whoever holds it must stop writing after one.

use super::names::{DIRECTORY, file_name};
use super::reader::Stored;
use super::record::{
    END, FileHeader, Link, RECORD_HEADER_BYTES, Record, RecordHeader, chain_on, chain_start, padded, padding,
    payload_checksum,
};
use crate::error::Result;
use crate::io::{Append, Files, SHORT_BYTES, TEMPORARY};
use crate::time::Sequence;

/// Payloads from here on go to the file without a copy.
const DIRECT_BYTES: usize = 256 << 10;

/// A buffer of this length is written out before the group is complete.
const BUFFER_BYTES: usize = 1 << 20;

/// A log file that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    file: Box<dyn Append>,
    name: String,
    buffer: Vec<u8>,
    number: u64,
    length: u64,
    group_start: u64,
    chain: u64,
    last: Sequence,
}

impl Writer {
    /// Begins the file `number` under a temporary name, its header written but not synced. Sequences go on after
    /// `last`.
    pub(super) fn begin(files: &dyn Files, header: &FileHeader, last: Sequence) -> Result<Self> {
        let name = file_name(header.number);
        let file = files.create(&format!("{name}{TEMPORARY}"))?;
        let buffer = header.encode().to_vec();
        let length = buffer.len() as u64;
        let (number, chain) = (header.number, chain_start(header.number));
        Ok(Self { file, name, buffer, number, length, group_start: 0, chain, last })
    }

    /// Syncs what was written so far.
    pub(super) fn sync(&mut self) -> Result<()> {
        self.write_out()?;
        self.file.sync()?;
        self.group_start = self.length;
        Ok(())
    }

    /// Gives the synced file its name, durably. The file stays open.
    pub(super) fn publish(&self, files: &dyn Files) -> Result<()> {
        assert!(self.is_synced(), "a log file is synced before it gets its name");
        files.rename(&format!("{}{TEMPORARY}", self.name), &self.name)?;
        files.sync_directory(DIRECTORY)
    }

    /// Removes the file that was begun and never published.
    pub(super) fn discard(self, files: &dyn Files) {
        let temporary = format!("{}{TEMPORARY}", self.name);
        drop(self);
        // What cannot be removed now is swept at the next open.
        let _ = files.remove(&temporary);
    }

    /// Adds `record` to the group that the next sync makes durable.
    pub(super) fn append(&mut self, record: &Record<'_>) -> Result<()> {
        let header = self.header(record);
        let bytes = header.encode();
        self.advance(&header, &bytes);
        self.buffer.extend_from_slice(&bytes);
        if record.payload.len() >= DIRECT_BYTES {
            self.write_out()?;
            append_short(self.file.as_mut(), record.payload)?;
        } else {
            self.buffer.extend_from_slice(record.payload);
        }
        self.buffer.extend_from_slice(padding(record.payload.len()));
        self.write_out_if_full()
    }

    /// Adds a record that was read back at the same offset of the same file, as it is.
    pub(super) fn copy(&mut self, stored: &Stored<'_>) -> Result<()> {
        assert_eq!(
            (stored.header.number, stored.header.offset),
            (self.number, self.length),
            "records keep their place"
        );
        self.advance(&stored.header, &stored.raw[..RECORD_HEADER_BYTES]);
        self.buffer.extend_from_slice(stored.raw);
        self.write_out_if_full()
    }

    /// Adds the record that closes the file.
    pub(super) fn end(&mut self) -> Result<()> {
        self.append(&self.end_record())
    }

    /// What the next file will remember of this one once it is closed.
    pub(super) fn link(&self) -> Link {
        let end = self.header(&self.end_record());
        let length = self.length + end.record_bytes() as u64;
        Link { number: self.number, length, chain: chain_on(self.chain, &end.encode()) }
    }

    /// Whether nothing waits for a sync.
    pub(super) fn is_synced(&self) -> bool {
        self.group_start == self.length
    }

    /// The number of the file.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The length of the file, with what is still in the buffer.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The greatest sequence so far.
    pub(super) fn last(&self) -> Sequence {
        self.last
    }

    fn end_record(&self) -> Record<'static> {
        Record { kind: END, first: self.last + 1, last: self.last, ingest_time: 0, payload: &[] }
    }

    /// The header of `record` if it is appended now.
    fn header(&self, record: &Record<'_>) -> RecordHeader {
        RecordHeader {
            number: self.number,
            offset: self.length,
            group_start: self.group_start,
            first: record.first,
            last: record.last,
            ingest_time: record.ingest_time,
            payload_checksum: payload_checksum(record.payload),
            payload_length: u32::try_from(record.payload.len()).expect("the caller keeps RECORD_BYTES_MAX"),
            kind: record.kind,
        }
    }

    fn advance(&mut self, header: &RecordHeader, bytes: &[u8]) {
        self.length += (RECORD_HEADER_BYTES + padded(header.payload_length as usize)) as u64;
        self.chain = chain_on(self.chain, bytes);
        self.last = self.last.max(header.last);
    }

    fn write_out_if_full(&mut self) -> Result<()> {
        if self.buffer.len() < BUFFER_BYTES { Ok(()) } else { self.write_out() }
    }

    fn write_out(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            append_short(self.file.as_mut(), &self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// Appends `bytes` in short pieces: the log is never mapped.
fn append_short(file: &mut dyn Append, bytes: &[u8]) -> Result<()> {
    bytes.chunks(SHORT_BYTES).try_for_each(|piece| file.append(piece))
}

/// Begins the file of `header`, syncs its header, and discards it if that fails.
pub(super) fn begin_synced(files: &dyn Files, header: &FileHeader, last: Sequence) -> Result<Writer> {
    let mut writer = Writer::begin(files, header, last)?;
    if let Err(error) = writer.sync() {
        writer.discard(files);
        return Err(error);
    }
    Ok(writer)
}
