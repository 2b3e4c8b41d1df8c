//! The names of objects: folders and a file, `/` between them, as every store can hold them.
//!
//! A name that parses means the same object in every store, in a URL and on a disk: letters, digits, `-`, `_`, `.` and
//! `=` only, no part that begins with a dot, no empty part, 512 bytes at most. It says nothing of what the object is.

use std::fmt;

use crate::error::{Error, Result};

/// Bytes of a name at most. S3 takes 1,024 with the prefix that the operator chose.
const NAME_BYTES_MAX: usize = 512;

/// Bytes of one part at most: what the names of temporary files need is left to filesystems, which take 255.
const PART_BYTES_MAX: usize = 200;

/// The name of an object, below the prefix that the operator chose.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// The name that `text` is; an error that says which rule it breaks.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let wrong = |what: &str| Err(Error::invalid(format!("{text:?} can name no object: {what}")));
        if text.is_empty() || text.len() > NAME_BYTES_MAX {
            return wrong(&format!("it has {} bytes, and 1 to {NAME_BYTES_MAX} are allowed", text.len()));
        }
        for part in text.split('/') {
            if part.is_empty() {
                return wrong("a part between slashes is empty");
            }
            if part.len() > PART_BYTES_MAX {
                return wrong(&format!("a part has {} bytes, and {PART_BYTES_MAX} are allowed", part.len()));
            }
            if part.starts_with('.') {
                return wrong("a part begins with a dot");
            }
            if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte)) {
                return wrong("only letters, digits, '-', '_', '.', '=' and '/' are allowed");
            }
        }
        Ok(Self(text))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder that the object lies in, `""` at the top.
    pub fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::borrow::Borrow<str> for ObjectName {
    fn borrow(&self) -> &str {
        &self.0
    }
}
