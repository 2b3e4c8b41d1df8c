//! The two checksums of the files: CRC-32C for small headers and blocks, CRC-64/NVME for payloads and whole files.
//!
//! They find damage, not forgery. Both run at memory speed on processors with carry-less multiplication.

use crc_fast::CrcAlgorithm;

/// The CRC-32C (Castagnoli) of `bytes`.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The CRC-64/NVME of `bytes`.
pub fn checksum64(bytes: &[u8]) -> u64 {
    crc_fast::crc64_nvme(bytes)
}

/// The CRC-64/NVME of bytes that come in pieces.
#[derive(Debug, Clone)]
pub struct Digest64(crc_fast::Digest);

impl Default for Digest64 {
    fn default() -> Self {
        Self(crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme))
    }
}

impl Digest64 {
    /// Adds the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all pieces so far.
    pub fn finish(&self) -> u64 {
        self.0.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the CRC catalogue: the files must be readable by any implementation of the standards.
    #[test]
    fn standard_check_values() {
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
        assert_eq!(checksum64(b"123456789"), 0xae8b_1486_0a79_9888);
    }

    #[test]
    fn pieces_equal_the_whole() {
        let bytes: Vec<u8> = (0..10_000u32).map(|i| (i * 7) as u8).collect();
        for cut in [0, 1, 7, 8, 63, 64, 255, 4096, 9999, 10_000] {
            let mut digest = Digest64::default();
            digest.update(&bytes[..cut]);
            digest.update(&bytes[cut..]);
            assert_eq!(digest.finish(), checksum64(&bytes), "cut at {cut}");
        }
    }
}
