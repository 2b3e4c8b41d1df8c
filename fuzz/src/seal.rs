//! Checksums made right again, so that a mutated file is read instead of refused at its first check.
//!
//! The offsets are those of `docs/format.md`, written down a second time: if they drift from the engine's, the seeds
//! are no longer accepted and the test says so. Only checksums and what says where the bytes belong (magic numbers,
//! file numbers, offsets, the link to the file before) are sealed; every other number stays as the mutation left it.

use firn_storage::checksum::{Digest64, checksum, checksum64};

const LOG_HEADER: usize = 64;
const RECORD_HEADER: usize = 72;
const SEGMENT_HEADER: usize = 64;
const SEGMENT_FORMAT: u64 = 1;
const SEGMENT_TAIL: usize = 24;
const BLOCK: usize = 64 * 1024;

/// How a log file ends, as the next one remembers it: length and chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogEnd {
    length: u64,
    chain: u64,
}

/// Seals the log file `number`, which follows one that ends as `before` says; how it ends itself.
pub(crate) fn log(bytes: &mut [u8], number: u64, before: Option<LogEnd>) -> LogEnd {
    let mut end = LogEnd { length: bytes.len() as u64, chain: checksum64(&number.to_le_bytes()) };
    let Some(header) = bytes.get_mut(..LOG_HEADER) else { return end };
    header[..8].copy_from_slice(b"FIRN-WAL");
    put(header, 16, number);
    if let Some(before) = before {
        put(header, 24, number - 1);
        put(header, 32, before.length);
        put(header, 40, before.chain);
    }
    let check = checksum(&header[..60]);
    header[60..64].copy_from_slice(&check.to_le_bytes());
    let mut offset = LOG_HEADER;
    while let Some(record) = bytes.get_mut(offset..).filter(|rest| rest.len() >= RECORD_HEADER) {
        record[..4].copy_from_slice(b"FREC");
        put(record, 8, number);
        put(record, 16, offset as u64);
        let payload = u32::from_le_bytes([record[64], record[65], record[66], record[67]]) as usize;
        let length = RECORD_HEADER + payload.next_multiple_of(8);
        let rest = record.get_mut(RECORD_HEADER..length).map(|rest| {
            // What follows the payload is zero, and the checksum covers it.
            rest[payload..].fill(0);
            checksum64(rest)
        });
        rest.into_iter().for_each(|check| put(record, 56, check));
        let check = checksum(&record[8..RECORD_HEADER]);
        record[4..8].copy_from_slice(&check.to_le_bytes());
        if rest.is_none() {
            break;
        }
        let mut chain = Digest64::default();
        chain.update(&end.chain.to_le_bytes());
        chain.update(&record[..RECORD_HEADER]);
        end.chain = chain.finish();
        offset += length;
    }
    end
}

/// Seals the segment file `number`: header, block checksums, footer checksum, tail.
pub(crate) fn segment(bytes: &mut [u8], number: u64) {
    let Some(tail) = bytes.len().checked_sub(SEGMENT_TAIL).filter(|tail| *tail > SEGMENT_HEADER) else { return };
    bytes[..8].copy_from_slice(b"firn-seg");
    put(bytes, 8, SEGMENT_FORMAT);
    put(bytes, 16, number);
    bytes[24..SEGMENT_HEADER].fill(0);
    bytes[tail + 16..].copy_from_slice(b"firn-seg");
    let length = u64::from_le_bytes(bytes[tail..tail + 8].try_into().expect("eight bytes"));
    let start = usize::try_from(length).ok().and_then(|length| tail.checked_sub(length));
    let Some(start) = start.filter(|start| *start >= SEGMENT_HEADER) else { return };
    if tail - start > 16 {
        put(bytes, start, SEGMENT_FORMAT);
        put(bytes, start + 8, number);
    }
    // The checksums of the blocks are what the footer ends with.
    let blocks: Vec<u32> = bytes[..start].chunks(BLOCK).map(checksum).collect();
    if let Some(list) = tail.checked_sub(blocks.len() * 4).filter(|list| *list > start + 16) {
        for (place, check) in blocks.into_iter().enumerate() {
            bytes[list + place * 4..][..4].copy_from_slice(&check.to_le_bytes());
        }
    }
    let check = checksum64(&bytes[start..tail]);
    put(bytes, tail + 8, check);
}

/// The file of manifest `number` that holds `payload`.
pub(crate) fn manifest(payload: &[u8], number: u64) -> Vec<u8> {
    let mut bytes = b"firnmanf\0\0\0\0".to_vec();
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    let mut check = Digest64::default();
    check.update(&bytes);
    check.update(payload);
    bytes.extend_from_slice(&check.finish().to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn put(bytes: &mut [u8], at: usize, number: u64) {
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

const BLOCKS_HEAD: usize = 64;
const BLOCKS_FOOT: usize = 40;

/// Seals the file of checked blocks `number` of the kind `letters` (a dictionary, a pack); its CRC-64, which the
/// manifest remembers.
pub(crate) fn blocks(bytes: &mut [u8], letters: [u8; 4], number: u64) -> u64 {
    let Some(foot) = bytes.len().checked_sub(BLOCKS_FOOT).filter(|foot| *foot >= BLOCKS_HEAD + 4) else { return 0 };
    // As many checksums as there are blocks before them.
    let body =
        (1..).map(|count| (count, foot.saturating_sub(count * 4))).find(|(count, body)| body.div_ceil(BLOCK) <= *count);
    let Some((_, body)) = body.filter(|(count, body)| body.div_ceil(BLOCK) == *count && *body >= BLOCKS_HEAD) else {
        return 0;
    };
    bytes[..8].copy_from_slice(b"FIRNDB\r\n");
    bytes[8..12].copy_from_slice(&letters);
    bytes[12..16].fill(0);
    put(bytes, 16, number);
    bytes[24..BLOCKS_HEAD].fill(0);
    let checks: Vec<u32> = bytes[..body].chunks(BLOCK).map(checksum).collect();
    for (place, check) in checks.into_iter().enumerate() {
        bytes[body + place * 4..][..4].copy_from_slice(&check.to_le_bytes());
    }
    put(bytes, foot + 8, body as u64);
    put(bytes, foot + 16, number);
    bytes[foot + 24..foot + 28].copy_from_slice(&letters);
    bytes[foot + 28..foot + 32].fill(0);
    let check = checksum64(&bytes[body..foot + 32]);
    put(bytes, foot + 32, check);
    check
}
