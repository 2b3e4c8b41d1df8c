//! Claims: who may write. An epoch belongs to whoever created its claim, and claims are never deleted.
//!
//! Two writers contend for one kind of name only. After each write whose success matters a writer looks for the claim of
//! the next epoch ([`check`]): only its absence lets it acknowledge, serve or delete. Numbers are dense, since a skipped one
//! would blind every later look.

use serde::{Deserialize, Serialize};

use super::frame::{self, Magic};
use super::names;
use crate::error::{Error, Kind, Result};
use crate::objects::{Creation, Objects};
use crate::time::Micros;

const MAGIC: Magic = *b"FIRNCLAM";
/// So often the same number is tried again while the bucket says neither yes nor no.
const ATTEMPTS: u32 = 8;

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Tells it from every other: 128 random bits.
    pub nonce: String,
    /// Host and process of the writer, for people.
    pub writer: String,
    /// When, by the writer's clock, µs.
    pub at: Micros,
}

impl Claim {
    /// A claim of `writer` at `at`.
    pub fn new(writer: &str, at: Micros) -> Result<Self> {
        let mut bytes = [0; 16];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| Error::new(Kind::Io, format!("the system gave no random numbers: {error}")))?;
        let nonce = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { nonce, writer: writer.to_owned(), at })
    }
}

/// Claims the next epoch; its number.
pub(super) fn claim(objects: &dyn Objects, claim: &Claim) -> Result<u64> {
    let known = objects.list(names::EPOCHS)?;
    let mut epoch = known.iter().filter_map(|listed| names::epoch_of(&listed.name)).max().unwrap_or(0) + 1;
    let mut attempts = 0;
    loop {
        let put = put(objects, epoch, claim);
        // Whatever was answered, what is there decides.
        match read(objects, epoch)? {
            Some(there) if there == *claim => return Ok(epoch),
            Some(_) => epoch += 1,
            None => {
                attempts += 1;
                if attempts >= ATTEMPTS {
                    return Err(put.err().unwrap_or_else(|| {
                        let name = names::epoch(epoch);
                        Error::new(Kind::Unavailable, format!("object {name} was written and is not there; try again"))
                    }));
                }
            }
        }
    }
}

/// Whether anybody ever wrote a database into the bucket.
pub fn is_claimed(objects: &dyn Objects) -> Result<bool> {
    Ok(!objects.list(names::EPOCHS)?.is_empty())
}

/// Makes `claim` the one of `epoch`, if that has none.
pub(super) fn put(objects: &dyn Objects, epoch: u64, claim: &Claim) -> Result<Creation> {
    objects.put_new(&names::epoch(epoch), frame::encode(MAGIC, claim, &[]))
}

/// The claim of `epoch`, if somebody made one.
pub(super) fn read(objects: &dyn Objects, epoch: u64) -> Result<Option<Claim>> {
    let name = names::epoch(epoch);
    let Some(bytes) = objects.get(&name)? else { return Ok(None) };
    frame::decode(&name, MAGIC, &bytes).map(|(claim, _)| Some(claim))
}

/// The claim of a writer whose root of `epoch` is there, which is never deleted.
pub(super) fn of_root(objects: &dyn Objects, epoch: u64, nonce: &str) -> Result<Claim> {
    let claim = read(objects, epoch)?.filter(|claim| claim.nonce == nonce);
    claim.ok_or_else(|| {
        Error::new(
            Kind::Corrupt,
            format!(
                "the claim of epoch {epoch} is missing or another's: something deletes objects of the bucket, perhaps a lifecycle \
                 rule on {}/, which must never be touched",
                names::EPOCHS
            ),
        )
    })
}

/// An error that names who took over, if somebody did after `epoch`.
pub(super) fn check(objects: &dyn Objects, epoch: u64) -> Result<()> {
    let Some(Claim { writer, at, .. }) = read(objects, epoch + 1)? else { return Ok(()) };
    Err(Error::new(
        Kind::Poisoned,
        format!(
            "the database was taken over by {writer} (epoch {}, at {{\"us\":{at}}}): this process, of epoch {epoch}, writes and \
             serves no more; stop it",
            epoch + 1
        ),
    ))
}
