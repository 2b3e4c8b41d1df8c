//! The frame of an object of ours: what kind it is, a header as JSON, a body, and a checksum over all of it.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::checksum::checksum64;
use crate::error::Result;
use crate::objects::{ObjectName, damaged};

/// The kind of an object, its first bytes.
pub(super) type Magic = [u8; 8];

/// The version of all frames and headers.
const FORMAT: u32 = 0;
/// Magic, format, length of the header.
const START_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 8;

/// `header` and `body` in a frame.
pub(super) fn encode(magic: Magic, header: &impl Serialize, body: &[&[u8]]) -> Bytes {
    let header = serde_json::to_vec(header).expect("a header is plain data");
    let length = u32::try_from(header.len()).expect("headers are bounded far below");
    let mut bytes = Vec::with_capacity(
        START_BYTES + header.len() + body.iter().map(|part| part.len()).sum::<usize>() + CHECKSUM_BYTES,
    );
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&header);
    body.iter().for_each(|part| bytes.extend_from_slice(part));
    let checksum = checksum64(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.into()
}

/// The header and the body in the frame of the object `name`.
pub(super) fn decode<T: DeserializeOwned>(name: &ObjectName, magic: Magic, bytes: &Bytes) -> Result<(T, Bytes)> {
    let checked = bytes.len().checked_sub(CHECKSUM_BYTES).filter(|checked| *checked >= START_BYTES);
    let Some(checked) = checked else { return Err(damaged(name, "it is shorter than its frame")) };
    if checksum64(&bytes[..checked]).to_le_bytes() != bytes[checked..] {
        return Err(damaged(name, "its checksum does not match"));
    }
    if bytes[..8] != magic {
        return Err(damaged(name, "it is an object of another kind"));
    }
    let number = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().expect("the start is there"));
    if number(8) != FORMAT {
        return Err(damaged(name, format!("it has format {}, which this FirnDB does not know", number(8))));
    }
    let end = START_BYTES + number(12) as usize;
    if end > checked {
        return Err(damaged(name, "its header is longer than it is"));
    }
    let header = serde_json::from_slice(&bytes[START_BYTES..end]).map_err(|error| damaged(name, error))?;
    Ok((header, bytes.slice(end..checked)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back_and_no_flipped_bit_does() {
        let name = ObjectName::new("a").unwrap();
        let bytes = encode(*b"FIRNTEST", &vec![1, 2, 3], &[b"ab", b"c"]);
        let (header, body): (Vec<u32>, Bytes) = decode(&name, *b"FIRNTEST", &bytes).unwrap();
        assert_eq!((header, body.as_ref()), (vec![1, 2, 3], b"abc".as_slice()));
        assert!(decode::<Vec<u32>>(&name, *b"FIRNELSE", &bytes).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<Vec<u32>>(&name, *b"FIRNTEST", &flipped.into()).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(decode::<Vec<u32>>(&name, *b"FIRNTEST", &bytes.slice(..end)).is_err(), "cut at {end}");
        }
    }
}
