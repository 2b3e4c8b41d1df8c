//! Objects of the log: pieces of the local files of the log, byte for byte, so that a restored log is the one that was
//! written, with all of its own checks.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::frame::{self, Magic};
use super::names;
use crate::error::Result;
use crate::objects::{ObjectName, Objects, damaged};
use crate::time::{Micros, Sequence};

const MAGIC: Magic = *b"FIRN-LOG";

/// A piece of a file of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Piece {
    /// The number of the file.
    pub(super) file: u64,
    /// Where it begins there.
    pub(super) offset: u64,
    /// Its bytes.
    pub(super) length: u64,
}

/// What an object of the log says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogHeader {
    pub(super) database: u64,
    pub(super) epoch: u64,
    pub(super) number: u64,
    /// The nonce of the epoch's claim.
    pub(super) nonce: String,
    /// The checksum of the object before; 0 of the first.
    pub(super) chain: u64,
    /// The last commit that is whole with this object.
    pub(super) sequence: Sequence,
    /// A node that restores from here gives no ingest time at or below it.
    pub(super) ceiling: Micros,
    /// The pieces, in the order of the body.
    pub(super) pieces: Vec<Piece>,
}

/// The object with `header` and the bytes of its pieces, and the chain that the next one names.
pub(super) fn encode(header: &LogHeader, body: &[u8]) -> (Bytes, u64) {
    let whole: u64 = header.pieces.iter().map(|piece| piece.length).sum();
    assert_eq!(whole, body.len() as u64, "the body is the bytes of the pieces");
    let bytes = frame::encode(MAGIC, header, &[body]);
    let chain = chain_of(&bytes);
    (bytes, chain)
}

/// The checksum at the end of an object, by which the next one knows it.
fn chain_of(bytes: &Bytes) -> u64 {
    u64::from_le_bytes(*bytes.last_chunk().expect("a frame ends with its checksum"))
}

/// An object of the log as it was read.
#[derive(Debug)]
pub(super) struct LogObject {
    pub(super) header: LogHeader,
    pub(super) body: Bytes,
    pub(super) chain: u64,
}

impl LogObject {
    /// Refuses what another database or another writer than that of `nonce` put there.
    pub(super) fn check_writer(&self, database: u64, nonce: &str) -> Result<()> {
        match (self.header.database, self.header.nonce.as_str()) == (database, nonce) {
            true => Ok(()),
            false => Err(damaged(&self.name(), "it is of another database or another writer")),
        }
    }

    /// Refuses one that does not name the object of the checksum `chain` as the one before it.
    pub(super) fn check_chain(&self, chain: Option<u64>) -> Result<()> {
        match chain.is_none_or(|chain| self.header.chain == chain) {
            true => Ok(()),
            false => Err(damaged(&self.name(), "it does not follow the one before it")),
        }
    }

    fn name(&self) -> ObjectName {
        names::log(self.header.epoch, self.header.number)
    }

    /// The pieces with their bytes.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (Piece, &[u8])> {
        pieces_of(&self.header.pieces, &self.body)
    }
}

/// Each of `pieces` with its bytes, which `body` holds one after another.
pub(super) fn pieces_of<'a>(pieces: &'a [Piece], body: &'a [u8]) -> impl Iterator<Item = (Piece, &'a [u8])> {
    let mut at = 0;
    pieces.iter().map(move |piece| {
        let bytes = &body[at..at + piece.length as usize];
        at += bytes.len();
        (*piece, bytes)
    })
}

/// The object `number` of `epoch`, if it is there.
pub(super) fn read(objects: &dyn Objects, epoch: u64, number: u64) -> Result<Option<LogObject>> {
    let name = names::log(epoch, number);
    let Some(bytes) = objects.get(&name)? else { return Ok(None) };
    let (header, body): (LogHeader, Bytes) = frame::decode(&name, MAGIC, &bytes)?;
    let whole = header.pieces.iter().try_fold(0_u64, |sum, piece| sum.checked_add(piece.length));
    if (header.epoch, header.number) != (epoch, number) || whole != Some(body.len() as u64) {
        return Err(damaged(&name, "it does not say what its name and length are"));
    }
    Ok(Some(LogObject { header, body, chain: chain_of(&bytes) }))
}

/// The greatest number of an object of the log of `epoch`, if it has one.
fn greatest(objects: &dyn Objects, epoch: u64) -> Result<Option<u64>> {
    let listed = objects.list(&format!("{}/{epoch:010}", names::LOG))?;
    Ok(listed.iter().filter_map(|listed| names::log_of(&listed.name)).map(|(_, number)| number).max())
}

/// The last commit that the log of `epoch` has.
pub(super) fn last_commit(objects: &dyn Objects, epoch: u64) -> Result<Sequence> {
    let object = greatest(objects, epoch)?.map(|number| read(objects, epoch, number)).transpose()?.flatten();
    Ok(object.map_or(0, |object| object.header.sequence))
}

/// Every object of the log of `epoch` from `first` on, in order, up to the first number that is not there; each names the one
/// before.
pub(super) fn read_from(
    objects: &dyn Objects,
    epoch: u64,
    first: u64,
    mut visit: impl FnMut(LogObject) -> Result<()>,
) -> Result<()> {
    // Objects go up one after another, so a gap is damage, and not the end.
    let greatest = greatest(objects, epoch)?;
    let mut chain = None;
    for number in first.. {
        let Some(object) = read(objects, epoch, number)? else {
            if greatest.is_some_and(|greatest| greatest > number) {
                return Err(damaged(&names::log(epoch, number), "it is missing, and later ones are there"));
            }
            break;
        };
        object.check_chain(chain)?;
        chain = Some(object.chain);
        visit(object)?;
    }
    Ok(())
}
