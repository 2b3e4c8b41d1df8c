//! Checksums of everything on disk.

use crc_fast::{CrcAlgorithm, checksum as crc};

/// CRC-32C of `bytes`.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// CRC-64/NVME of `bytes`.
pub fn checksum64(bytes: &[u8]) -> u64 {
    crc(CrcAlgorithm::Crc64Nvme, bytes)
}
