//! Checkpoints: states of the database that stay, by name, whatever is merged, forgotten or dropped since. Here is what roots say of
//! them; `kept.rs` is what they are.

use serde::{Deserialize, Serialize};

use super::names;
use crate::error::{Error, Result};
use crate::objects::ObjectName;
use crate::position::{Log, Position};
use crate::time::{Micros, Sequence};

/// The longest name.
const NAME_BYTES_MAX: usize = 64;

/// A checkpoint, as roots name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// What people call it.
    pub name: String,
    /// When it was taken, µs.
    pub at: Micros,
    /// The last commit that it has.
    pub sequence: Sequence,
    /// Whose commit that is: a database and the epoch that created it.
    pub(super) log: (u64, u64),
    /// Nothing is in it that was erased up to this commit.
    pub(crate) erased: Sequence,
    /// Which object it is: the epoch of who wrote that, and its number. An erase writes it anew.
    pub(super) object: (u64, u64),
}

impl Checkpoint {
    /// The position at which it was created: the database answers there as the checkpoint does.
    pub fn position(&self) -> Position {
        let (database, epoch) = self.log;
        Position::new(Log { database, epoch }, self.sequence)
    }

    /// The object that it is.
    pub(super) fn object_name(&self) -> ObjectName {
        names::checkpoint(self.object.0, self.object.1)
    }
}

/// The error of a name that no checkpoint of `known` has.
pub(super) fn not_there<'a>(name: &str, known: impl Iterator<Item = &'a Checkpoint>) -> Error {
    let known: Vec<_> = known.map(|checkpoint| checkpoint.name.as_str()).collect();
    let known = if known.is_empty() { "there is none".to_owned() } else { format!("there are {}", known.join(", ")) };
    Error::not_found(format!("there is no checkpoint {name:?}: {known}"))
}

/// Refuses what is no name.
pub(super) fn check_name(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    match !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed) {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "a checkpoint is named by 1 to {NAME_BYTES_MAX} letters, digits, _, - and ., and not {name:?}"
        ))),
    }
}
