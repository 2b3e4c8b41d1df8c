//! The secret of a database, and the hash of keys under it.
//!
//! What stays of an erased key is a hash. Keys are often small numbers or names, so a hash that anybody can compute could be
//! tried out until it fits; without the secret this one cannot. The secret is random, made with the database, and lies in the
//! manifest, which only the owner of the directory can read. It is never shown.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use siphasher::sip128::SipHasher24;

use crate::error::{Error, Result};

/// 128 random bits.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Secret([u8; 16]);

impl Secret {
    /// A new one, from the operating system.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 16];
        let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        match filled {
            Ok(16) => Ok(Self(bytes)),
            Ok(_) => Err(Error::exhausted("the operating system has no random numbers")),
            Err(error) => Err(Error::exhausted(format!("the operating system gave no random numbers: {error}"))),
        }
    }

    /// The hash of `bytes`.
    pub fn hash(&self, bytes: &[u8]) -> u128 {
        SipHasher24::new_with_key(&self.0).hash(bytes).as_u128()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{:032x}", u128::from_be_bytes(self.0)))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(Self(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_its_text_and_hides_in_debug() {
        let secret = Secret::random().unwrap();
        let text = serde_json::to_string(&secret).unwrap();
        assert_eq!(serde_json::from_str::<Secret>(&text).unwrap(), secret);
        assert!(!format!("{secret:?}").contains(&text[1..33]));
        assert_ne!(secret.hash(b"JFK"), Secret::random().unwrap().hash(b"JFK"), "each database hashes its own way");
        assert_ne!(secret.hash(b"JFK"), secret.hash(b"JFL"));
    }
}
