//! The root that stands: the newest, of a writer whom nobody has overtaken. Whoever only reads goes by it.

use super::claim::{self, Claim};
use super::root::{self, Root};
use crate::error::{Error, Kind, Result};
use crate::objects::Objects;

/// So often it is looked anew while roots replace each other.
const ATTEMPTS: u32 = 8;

/// What the newest epoch of a bucket has come to.
#[derive(Debug)]
pub(super) enum Standing {
    /// A root, and the claim of who wrote it. Nobody had claimed a later epoch when the root was there already, so every later writer
    /// knows it.
    Root(Box<Root>, Claim),
    /// Somebody claimed a later epoch and has written no root yet. The last root may be one that the new writer does not know.
    Claimed(Claim),
}

/// Looks what stands in the bucket.
pub(super) fn standing(objects: &dyn Objects) -> Result<Standing> {
    let none = || Error::precondition("the bucket has no database yet: start the one that writes it first");
    for _ in 0..ATTEMPTS {
        let root = root::newest_before(objects, u64::MAX)?.ok_or_else(none)?;
        let claim = claim::of_root(objects, root.epoch, &root.nonce)?;
        let Some(later) = claim::read(objects, root.epoch + 1)? else {
            return Ok(Standing::Root(Box::new(root), claim));
        };
        // The root of who claimed it may have come since.
        if root::newest_before(objects, u64::MAX)?.is_none_or(|newest| newest.epoch == root.epoch) {
            return Ok(Standing::Claimed(later));
        }
    }
    Err(Error::new(Kind::Unavailable, "roots of the bucket replace each other faster than they are read"))
}

/// The root that stands; an error while somebody has claimed the bucket and not begun.
pub(super) fn root_that_stands(objects: &dyn Objects) -> Result<Root> {
    match standing(objects)? {
        Standing::Root(root, _) => Ok(*root),
        Standing::Claimed(claim) => Err(not_begun(&claim)),
    }
}

/// The error of a bucket that `claim` was made on, without a root so far.
pub(crate) fn not_begun(claim: &Claim) -> Error {
    Error::new(
        Kind::Unavailable,
        format!("{} has claimed the bucket and has not begun to write: wait for it, or start it again", claim.writer),
    )
}
