//! The checksummed blocks of a published file, read from the medium one at a time.
//!
//! This is for `verify` and the scrub: memory stays at one block however large the file, what the medium refuses to
//! read is an error and not a signal, and every damaged block is found, not only the first. It knows nothing of what
//! the blocks hold.

use crate::blocks::{BLOCK_BYTES, FOOT_BYTES, Frame, number_at};
use crate::checksum::{checksum, checksum64};
use crate::error::{Error, Result};
use crate::io::Files;

/// The blocks of a file, as the file lists them.
#[derive(Debug, Clone)]
pub(crate) struct BlockList {
    /// The name of the file.
    pub(crate) name: String,
    /// How many bytes from the start the blocks cover.
    pub(crate) covered: u64,
    /// A CRC-32C per block.
    pub(crate) checksums: Vec<u32>,
}

impl BlockList {
    /// The blocks of the dictionary or pack `name`, which the manifest describes by `frame`.
    pub(crate) fn framed(files: &dyn Files, name: String, frame: Frame) -> Result<Self> {
        check_length(files, &name, frame.length)?;
        let damaged = |offset: u64, what: &str| Error::corrupt(&name, offset, what);
        let too_short = || damaged(0, "the file is shorter than its foot");
        let foot_at = frame.length.checked_sub(FOOT_BYTES as u64).ok_or_else(too_short)?;
        let mut foot = vec![0; FOOT_BYTES];
        files.read_at(&name, foot_at, &mut foot)?;
        let covered = number_at(&foot, 8);
        let listed = foot_at.checked_sub(covered).filter(|&bytes| bytes == covered.div_ceil(BLOCK_BYTES as u64) * 4);
        let listed = listed.ok_or_else(|| damaged(foot_at + 8, "the foot's length does not fit the file"))?;
        let mut checked = vec![0; listed as usize];
        files.read_at(&name, covered, &mut checked)?;
        let checksums = checked.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
        checked.extend_from_slice(&foot[..FOOT_BYTES - 8]);
        let crc = number_at(&foot, FOOT_BYTES - 8);
        if crc != frame.crc || crc != checksum64(&checked) {
            return Err(damaged(covered, "checksums and foot do not match their CRC-64"));
        }
        Ok(Self { name, covered, checksums })
    }

    /// How many blocks there are.
    pub(crate) fn len(&self) -> usize {
        self.checksums.len()
    }

    /// Reads `block` into `buffer` and checks it; how many bytes it has.
    pub(crate) fn check(&self, files: &dyn Files, block: usize, buffer: &mut Vec<u8>) -> Result<u64> {
        let start = block as u64 * BLOCK_BYTES as u64;
        let length = (self.covered - start).min(BLOCK_BYTES as u64);
        buffer.resize(length as usize, 0);
        files.read_at(&self.name, start, buffer)?;
        if checksum(buffer) != self.checksums[block] {
            let what = format!("the block of {length} bytes does not match its CRC");
            return Err(Error::corrupt(&self.name, start, what));
        }
        Ok(length)
    }
}

/// Refuses a file that has another length than the manifest says.
pub(crate) fn check_length(files: &dyn Files, name: &str, recorded: u64) -> Result<()> {
    let actual = files.length(name)?;
    if actual == recorded {
        return Ok(());
    }
    let what = format!("it has {actual} bytes where {recorded} are recorded");
    Err(Error::corrupt(name, recorded.min(actual), what))
}
