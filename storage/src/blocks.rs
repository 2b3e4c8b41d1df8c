//! Files of checked blocks: the frame around dictionaries and packs.
//!
//! ```text
//! head         64 bytes: magic, kind, format, file number
//! sections     each starts at a multiple of 64
//! description  JSON: what the sections are and where
//! checksums    CRC-32C (u32) of each 64 KiB block of all the above; the last block may be shorter
//! foot         40 bytes: offset of the description, length of all before the checksums, file number, kind and
//!              format, CRC-64 of checksums and foot
//! ```
//!
//! All numbers are little-endian. The manifest records the length and the CRC-64, so a chain of checksums leads from
//! it to every byte. Opening reads head, description, checksums and foot; any other block is checked when it is first
//! touched, once per open. This module knows the frame, not what is in it.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;

use crate::checksum::{checksum, checksum64};
use crate::error::{Error, Result};
use crate::io::{Access, Append, Comes, Files};

/// Bytes that one checksum covers.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;
/// Every section starts at a multiple of this.
pub(crate) const ALIGN_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"FIRNDB\r\n";
const HEAD_BYTES: usize = 64;
/// Bytes of the foot.
pub(crate) const FOOT_BYTES: usize = 40;

/// What a framed file holds, and in which format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileKind {
    /// Four letters that tell the kinds apart.
    pub(crate) letters: [u8; 4],
    /// The format of the sections.
    pub(crate) format: u32,
}

/// What the manifest must remember of a framed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The number in the file's name.
    pub(crate) number: u64,
    /// The length of the file in bytes.
    pub(crate) length: u64,
    /// The CRC-64 of its checksums and foot.
    pub(crate) crc: u64,
}

/// Writes a framed file.
#[derive(Debug)]
pub(crate) struct BlockWriter<'a> {
    file: &'a mut dyn Append,
    kind: FileKind,
    number: u64,
    block: Vec<u8>,
    checksums: Vec<u8>,
    position: u64,
}

impl<'a> BlockWriter<'a> {
    /// Starts the file with its head.
    pub(crate) fn new(file: &'a mut dyn Append, kind: FileKind, number: u64) -> Result<Self> {
        let block = Vec::with_capacity(BLOCK_BYTES);
        let mut writer = Self { file, kind, number, block, checksums: Vec::new(), position: 0 };
        writer.append(&head(kind, number))?;
        Ok(writer)
    }

    /// Where the next byte goes.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Appends `bytes`.
    pub(crate) fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.position += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK_BYTES {
                self.end_block()?;
            }
        }
        Ok(())
    }

    /// Pads with zeros so that a section can start, and says where it does.
    pub(crate) fn align(&mut self) -> Result<u64> {
        let over = (self.position % ALIGN_BYTES as u64) as usize;
        if over != 0 {
            self.append(&[0; ALIGN_BYTES][over..])?;
        }
        Ok(self.position)
    }

    /// Ends the file with its description, checksums and foot. Syncing and publishing are the caller's.
    pub(crate) fn finish(mut self, description: &[u8]) -> Result<Frame> {
        let description_offset = self.align()?;
        self.append(description)?;
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let mut tail = std::mem::take(&mut self.checksums);
        tail.extend_from_slice(&description_offset.to_le_bytes());
        tail.extend_from_slice(&self.position.to_le_bytes());
        tail.extend_from_slice(&self.number.to_le_bytes());
        tail.extend_from_slice(&self.kind.letters);
        tail.extend_from_slice(&self.kind.format.to_le_bytes());
        let crc = checksum64(&tail);
        tail.extend_from_slice(&crc.to_le_bytes());
        self.file.append(&tail)?;
        Ok(Frame { number: self.number, length: self.position + tail.len() as u64, crc })
    }

    fn end_block(&mut self) -> Result<()> {
        self.checksums.extend_from_slice(&checksum(&self.block).to_le_bytes());
        self.file.append(&self.block)?;
        self.block.clear();
        Ok(())
    }
}

fn head(kind: FileKind, number: u64) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&kind.letters);
    head[12..16].copy_from_slice(&kind.format.to_le_bytes());
    head[16..24].copy_from_slice(&number.to_le_bytes());
    head
}

/// A published framed file whose blocks are checked when they are first touched.
#[derive(Debug)]
pub(crate) struct Blocks {
    name: String,
    bytes: Bytes,
    body_bytes: usize,
    description_offset: usize,
    checksums: Vec<u32>,
    /// One bit per block: whether it has been checked. Two threads may check a block twice, never not at all.
    checked: Vec<AtomicU64>,
    /// How many blocks have not been checked: once 0, a touch costs one load.
    unchecked: AtomicUsize,
    /// Brings blocks that are not here yet.
    coming: Option<Arc<dyn Comes>>,
}

impl Blocks {
    /// Opens the file that `frame` describes.
    pub(crate) fn open(files: &Arc<dyn Files>, name: String, kind: FileKind, frame: Frame) -> Result<Self> {
        let coming = files.coming(&name);
        let bytes = files.map(&name, frame.length, Access::Random)?;
        let wait = |range: Range<usize>| {
            coming.iter().try_for_each(|coming| coming.wait(range.start as u64..range.end as u64))
        };
        let damaged = |offset: usize, what: &str| Error::corrupt(&name, offset as u64, what);
        let foot_at = (bytes.len().checked_sub(FOOT_BYTES))
            .filter(|&at| at >= HEAD_BYTES)
            .ok_or_else(|| damaged(0, "the file is shorter than its head and foot"))?;
        wait(foot_at..bytes.len())?;
        let foot = &bytes[foot_at..];
        let body_bytes = usize::try_from(number_at(foot, 8))
            .ok()
            .filter(|&body| body >= HEAD_BYTES && body <= foot_at)
            .filter(|&body| body.div_ceil(BLOCK_BYTES) * 4 == foot_at - body)
            .ok_or_else(|| damaged(foot_at + 8, "the foot's length does not fit the file"))?;
        wait(body_bytes..foot_at)?;
        let crc = number_at(foot, 32);
        if crc != frame.crc || crc != checksum64(&bytes[body_bytes..foot_at + 32]) {
            return Err(damaged(body_bytes, "checksums and foot do not match their CRC-64"));
        }
        let stated = FileKind {
            letters: [foot[24], foot[25], foot[26], foot[27]],
            format: u32::from_le_bytes([foot[28], foot[29], foot[30], foot[31]]),
        };
        if stated != kind || number_at(foot, 16) != frame.number {
            return Err(damaged(foot_at + 16, "the foot names another file, kind or format"));
        }
        let description_offset = usize::try_from(number_at(foot, 0))
            .ok()
            .filter(|&offset| offset >= HEAD_BYTES && offset <= body_bytes)
            .ok_or_else(|| damaged(foot_at, "the description lies outside the file"))?;
        let list = bytes[body_bytes..foot_at].chunks_exact(4);
        let checksums: Vec<u32> = list.map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
        let checked = (0..checksums.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let unchecked = AtomicUsize::new(checksums.len());
        let blocks = Self { name, bytes, body_bytes, description_offset, checksums, checked, unchecked, coming };
        if blocks.range(0, HEAD_BYTES)? != head(kind, frame.number) {
            return Err(blocks.damaged(0, "the head names another file, kind or format"));
        }
        Ok(blocks)
    }

    /// An error about the byte at `offset`.
    #[cold]
    pub(crate) fn damaged(&self, offset: usize, what: impl std::fmt::Display) -> Error {
        Error::corrupt(&self.name, offset as u64, what)
    }

    /// The description.
    pub(crate) fn description(&self) -> Result<&[u8]> {
        self.range(self.description_offset, self.body_bytes - self.description_offset)
    }

    /// Where the sections end.
    pub(crate) fn sections_end(&self) -> usize {
        self.description_offset
    }

    /// Where the description starts: the place to name if it makes no sense.
    pub(crate) fn description_offset(&self) -> usize {
        self.description_offset
    }

    /// The `length` bytes at `offset`, their blocks checked.
    #[inline]
    pub(crate) fn range(&self, offset: usize, length: usize) -> Result<&[u8]> {
        let end = match offset.checked_add(length) {
            Some(end) if end <= self.body_bytes => end,
            _ => return Err(self.damaged(offset, "a range lies outside the file")),
        };
        if self.unchecked.load(Ordering::Acquire) != 0 {
            let last = end.saturating_sub(1).max(offset) / BLOCK_BYTES;
            for block in offset / BLOCK_BYTES..=last {
                if !self.is_checked(block) {
                    self.wait(block..=last)?;
                    self.check(block)?;
                }
            }
        }
        Ok(&self.bytes[offset..end])
    }

    /// [`Blocks::range`] without copying, for arrays that outlive this borrow.
    pub(crate) fn shared(&self, offset: usize, length: usize) -> Result<Bytes> {
        self.range(offset, length)?;
        Ok(self.bytes.slice(offset..offset + length))
    }

    /// Checks every block that has not been touched yet.
    pub(crate) fn check_all(&self) -> Result<()> {
        for block in 0..self.checksums.len() {
            self.wait(block..=block)?;
            self.check(block)?;
        }
        Ok(())
    }

    /// How many bytes the file has.
    pub(crate) fn length(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    fn is_checked(&self, block: usize) -> bool {
        // Pairs with the release in `check`: bytes of a file that is on its way may have come just before.
        self.checked.get(block / 64).is_some_and(|bits| bits.load(Ordering::Acquire) >> (block % 64) & 1 == 1)
    }

    /// Returns once the bytes of `blocks` are here.
    #[cold]
    fn wait(&self, blocks: RangeInclusive<usize>) -> Result<()> {
        let Some(coming) = &self.coming else { return Ok(()) };
        let end = ((blocks.end() + 1) * BLOCK_BYTES).min(self.body_bytes);
        coming.wait((blocks.start() * BLOCK_BYTES) as u64..end as u64)
    }

    #[cold]
    fn check(&self, block: usize) -> Result<()> {
        let start = block * BLOCK_BYTES;
        let end = (start + BLOCK_BYTES).min(self.body_bytes);
        let expected = match self.checksums.get(block) {
            Some(&expected) => expected,
            // An empty range at the very end of the last block touches nothing.
            None if start == self.body_bytes => return Ok(()),
            None => return Err(self.damaged(start, "a range lies outside the file")),
        };
        if checksum(&self.bytes[start..end]) != expected {
            return Err(self.damaged(start, format!("the block of {} bytes does not match its CRC", end - start)));
        }
        let before = self.checked[block / 64].fetch_or(1 << (block % 64), Ordering::Release);
        if before >> (block % 64) & 1 == 0 {
            self.unchecked.fetch_sub(1, Ordering::Release);
        }
        Ok(())
    }
}

/// The little-endian u64 at `at`, which the caller knows to be inside.
#[inline]
pub(crate) fn number_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
