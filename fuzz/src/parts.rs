//! Several byte strings as one input: each after its length as u32, little-endian. Any bytes can be split; what is
//! missing is shorter.

/// The parts of `bytes`, at most `most`.
pub fn split(mut bytes: &[u8], most: usize) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while parts.len() < most
        && let Some((length, rest)) = bytes.split_first_chunk::<4>()
    {
        let (part, after) = rest.split_at(rest.len().min(u32::from_le_bytes(*length) as usize));
        parts.push(part);
        bytes = after;
    }
    parts
}

/// What [`split`] takes apart.
pub fn join<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts.iter().map(AsRef::as_ref) {
        let length = u32::try_from(part.len()).expect("an input is short");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}
