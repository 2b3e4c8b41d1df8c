//! What a checkpoint consists of: what a root is, its tables, and the log after its files, in one object, so that beside files it needs
//! nothing. The newest root names all checkpoints, and with each everything that it needs: nothing of it is condemned while it is there,
//! and nothing is copied. While a checkpoint cannot be read, so that nobody knows what it needs, nothing of the bucket is deleted.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, check_name, not_there};
use super::frame::{self, Magic};
use super::log_object::{self, Piece};
use super::root::{self, Root};
use crate::error::{Error, Kind, Result};
use crate::objects::{ObjectName, Objects, damaged};
use crate::time::Sequence;

const MAGIC: Magic = *b"FIRNCHKP";

/// A checkpoint that the newest root names, and what it needs.
#[derive(Debug, Clone)]
pub(crate) struct Pinned {
    pub(super) checkpoint: Checkpoint,
    /// All objects that it needs, itself too; none if it could not be read.
    pub(super) names: Option<BTreeSet<ObjectName>>,
}

impl Pinned {
    /// The checkpoint.
    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The same, which holds nothing that was erased up to the commit `erased`.
    pub(crate) fn without_erased(&self, erased: Sequence) -> Self {
        Self { checkpoint: Checkpoint { erased, ..self.checkpoint.clone() }, names: self.names.clone() }
    }

    /// All objects that any of `pinned` is known to need.
    pub(super) fn names_of<'a>(pinned: impl IntoIterator<Item = &'a Self>) -> impl Iterator<Item = ObjectName> {
        pinned.into_iter().filter_map(|one| one.names.as_ref()).flatten().cloned()
    }

    /// Whether it is known of all `pinned` what they need.
    pub(super) fn are_known(pinned: &[Self]) -> bool {
        pinned.iter().all(|one| one.names.is_some())
    }

    /// The checkpoints of `root`.
    pub(super) fn of_root(objects: &dyn Objects, root: &Root) -> Result<Vec<Self>> {
        root.checkpoints.iter().map(|checkpoint| Self::read(objects, checkpoint)).collect()
    }

    fn read(objects: &dyn Objects, checkpoint: &Checkpoint) -> Result<Self> {
        let checkpoint = checkpoint.clone();
        match Kept::read(objects, &checkpoint) {
            Ok(kept) => Ok(Self { names: Some(kept.names(&checkpoint)), checkpoint }),
            Err(error) if error.kind() == Kind::Corrupt => {
                let name = &checkpoint.name;
                tracing::error!(%error, name, "a checkpoint cannot be read: nothing of the bucket is deleted until it is dropped");
                Ok(Self { checkpoint, names: None })
            }
            Err(error) => Err(error),
        }
    }
}

/// What a checkpoint consists of.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// With the whole manifest, and no lists.
    pub(super) root: Root,
    /// The log after the files of the root.
    pub(super) log: KeptLog,
    /// The last commit that it has.
    pub(super) sequence: Sequence,
}

/// A log on its own: the pieces of its files, one after another, and their bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct KeptLog {
    pieces: Vec<Piece>,
    bytes: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    root: Root,
    pieces: Vec<Piece>,
    sequence: Sequence,
}

impl KeptLog {
    /// The log after the files of `root`, to its end, and the last commit that it has.
    pub(super) fn read(objects: &dyn Objects, root: &Root) -> Result<(Self, Sequence)> {
        let (mut pieces, mut bytes, mut sequence) = (Vec::new(), Vec::new(), root.manifest.sequence);
        log_object::read_from(objects, root.epoch, root.replay, |object| {
            object.check_writer(root.database, &root.nonce)?;
            pieces.extend_from_slice(&object.header.pieces);
            bytes.extend_from_slice(&object.body);
            sequence = sequence.max(object.header.sequence);
            Ok(())
        })?;
        Ok((Self { pieces, bytes: bytes.into() }, sequence))
    }

    /// The pieces, and their bytes one after another.
    pub(super) fn into_parts(self) -> (Vec<Piece>, Bytes) {
        (self.pieces, self.bytes)
    }

    /// A log of these pieces, which `bytes` holds one after another.
    pub(super) fn new(pieces: Vec<Piece>, bytes: Bytes) -> Self {
        let whole: u64 = pieces.iter().map(|piece| piece.length).sum();
        assert_eq!(whole, bytes.len() as u64, "the bytes are those of the pieces");
        Self { pieces, bytes }
    }

    /// Each piece with its bytes.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (Piece, &[u8])> {
        log_object::pieces_of(&self.pieces, &self.bytes)
    }
}

impl Kept {
    /// What is written as `checkpoint`.
    pub(super) fn write(&self, objects: &dyn Objects, checkpoint: &Checkpoint) -> Result<()> {
        let header = Header { root: self.root.clone(), pieces: self.log.pieces.clone(), sequence: self.sequence };
        objects.put(&checkpoint.object_name(), frame::encode(MAGIC, &header, &[&self.log.bytes]))
    }

    /// What was written as `checkpoint`.
    pub(super) fn read(objects: &dyn Objects, checkpoint: &Checkpoint) -> Result<Self> {
        let name = checkpoint.object_name();
        let bytes = objects.get(&name)?.ok_or_else(|| root::gone(&name))?;
        let (Header { root, pieces, sequence }, bytes): (Header, Bytes) = frame::decode(&name, MAGIC, &bytes)?;
        let whole = pieces.iter().try_fold(0_u64, |sum, piece| sum.checked_add(piece.length));
        match whole == Some(bytes.len() as u64) {
            true => Ok(Self { root, log: KeptLog { pieces, bytes }, sequence }),
            false => Err(damaged(&name, "its log is not as long as it says")),
        }
    }

    /// All objects that it needs, that of `checkpoint` too.
    pub(super) fn names(&self, checkpoint: &Checkpoint) -> BTreeSet<ObjectName> {
        let mut names = root::names(&self.root.lineage, &self.root.lists, &self.root.manifest);
        names.insert(checkpoint.object_name());
        names
    }
}

/// What becomes of the checkpoints with a root.
#[derive(Debug)]
pub(super) enum Change<'a> {
    /// They stay.
    None,
    /// One is taken, as the object of this number.
    Create(&'a str, u64),
    /// One goes.
    Drop(&'a str),
    /// These were written anew, by name.
    Replace(&'a BTreeMap<String, Pinned>),
}

impl Change<'_> {
    /// Refuses what cannot be done where `pinned` are there, of which there may be `checkpoints_max`.
    pub(super) fn check(&self, pinned: &[Pinned], checkpoints_max: usize) -> Result<()> {
        let is_there = |name: &str| pinned.iter().any(|one| one.checkpoint.name == name);
        match self {
            Self::Create(name, _) if is_there(name) => Err(Error::new(
                Kind::AlreadyExists,
                format!("there is a checkpoint {name:?} already: drop it first, or give another name"),
            )),
            Self::Create(name, _) => {
                check_name(name)?;
                match pinned.len() < checkpoints_max {
                    true => Ok(()),
                    false => Err(Error::exhausted(format!(
                        "there are bucket-checkpoints-max ({checkpoints_max}) checkpoints: drop one, or raise the limit"
                    ))),
                }
            }
            Self::Drop(name) if !is_there(name) => Err(not_there(name, pinned.iter().map(|one| &one.checkpoint))),
            Self::None | Self::Drop(_) | Self::Replace(_) => Ok(()),
        }
    }
}
