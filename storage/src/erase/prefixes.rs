//! What an erase names, as a request says it and as the log keeps it.

use arrow_array::BinaryArray;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::model::key::Keys;
use crate::time::Sequence;

/// Stands for the commit of a prefix that is no longer blocked.
pub(super) const UNBLOCKED: Sequence = Sequence::MAX;

/// What a request does to entities, beside making their rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocking {
    /// Erases them; they may come again.
    Leaves,
    /// Erases them; later rows of them are refused.
    Blocks,
    /// Erases nothing: rows of them are taken again.
    Unblocks,
}

/// The entities that one request erases: encoded keys, or encodings of the leading key columns.
#[derive(Debug, Clone)]
pub struct ErasePrefixes {
    /// The entity's number.
    pub entity: u32,
    /// How many leading key columns each prefix has.
    pub columns: usize,
    /// The prefixes, sorted, each once.
    prefixes: Keys,
    /// What becomes of their later rows.
    pub blocking: Blocking,
}

/// The same in the log.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Logged {
    entity: u32,
    columns: usize,
    /// In base64.
    prefixes: Vec<String>,
    block: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unblock: bool,
}

impl ErasePrefixes {
    /// Those over `prefixes` of `columns` key columns each.
    pub fn new(entity: u32, columns: usize, prefixes: &Keys, blocking: Blocking) -> Self {
        let mut sorted: Vec<&[u8]> = prefixes.iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        let prefixes = Keys::from_binary(BinaryArray::from_iter_values(sorted));
        Self { entity, columns, prefixes, blocking }
    }

    /// The prefixes, sorted, each once.
    pub fn keys(&self) -> &Keys {
        &self.prefixes
    }

    /// Whether `prefix` is one of them.
    pub fn names(&self, prefix: &[u8]) -> bool {
        let (mut low, mut high) = (0, self.prefixes.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.prefixes.get(middle).cmp(prefix) {
                std::cmp::Ordering::Equal => return true,
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        false
    }

    /// They as the WAL keeps it.
    pub fn encode(&self) -> Vec<u8> {
        let prefixes = self.prefixes.iter().map(|prefix| STANDARD.encode(prefix)).collect();
        let (block, unblock) = (self.blocking == Blocking::Blocks, self.blocking == Blocking::Unblocks);
        let logged = Logged { entity: self.entity, columns: self.columns, prefixes, block, unblock };
        serde_json::to_vec(&logged).expect("they are plain data")
    }

    /// Reads what [`ErasePrefixes::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let wrong = |what: String| Error::new(Kind::Corrupt, format!("an erase record does not read: {what}"));
        let logged: Logged = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        let decode = |text: &String| STANDARD.decode(text).map_err(|error| wrong(format!("{text:?}: {error}")));
        let prefixes = logged.prefixes.iter().map(decode).collect::<Result<Vec<_>>>()?;
        let prefixes = Keys::from_binary(BinaryArray::from_iter_values(prefixes));
        let blocking = match (logged.block, logged.unblock) {
            (false, false) => Blocking::Leaves,
            (true, false) => Blocking::Blocks,
            (false, true) => Blocking::Unblocks,
            (true, true) => return Err(wrong("it blocks and unblocks".to_owned())),
        };
        Ok(Self::new(logged.entity, logged.columns, &prefixes, blocking))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_erased_reads_back_and_what_that_does_not_is_corrupt() {
        let prefixes = Keys::from_binary(BinaryArray::from_iter_values([&b"b"[..], b"\0\xff", b"b", b""]));
        for blocking in [Blocking::Leaves, Blocking::Unblocks, Blocking::Blocks] {
            let erased = ErasePrefixes::decode(&ErasePrefixes::new(3, 2, &prefixes, blocking).encode()).unwrap();
            assert_eq!((erased.entity, erased.columns, erased.blocking), (3, 2, blocking));
        }
        let erased = ErasePrefixes::decode(&ErasePrefixes::new(3, 2, &prefixes, Blocking::Blocks).encode()).unwrap();
        assert_eq!(erased.keys().iter().collect::<Vec<_>>(), [&b""[..], b"\0\xff", b"b"]);
        for (prefix, named) in [(&b""[..], true), (b"b", true), (b"\0\xff", true), (b"a", false), (b"bb", false)] {
            assert_eq!(erased.names(prefix), named, "{prefix:?}");
        }
        let misspelled = br#"{"entity":1,"columns":1,"prefixes":["YQ==","no base64!"],"block":false}"#;
        let error = ErasePrefixes::decode(misspelled).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.message().contains("no base64!"), "{error}");
    }
}
