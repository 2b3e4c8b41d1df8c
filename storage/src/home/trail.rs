//! The trail of a writer in its bucket, as a follower goes along it: objects of the log, one after another, from root to root and
//! from epoch to epoch. It only reads.
//!
//! Two rules make it right. An object of the log counts only if the claim of the next epoch was not there *after* the object was: then
//! every later writer knows it too, and what the follower has is never lost. And commits are taken only one after another, by their
//! sequences: whatever was deleted meanwhile, a gap is noticed ([`Step::Behind`]), and what is met twice is passed over.

use std::sync::Arc;

use super::claim::{self, Claim};
use super::lineage::Lineage;
use super::log_object::{self, LogObject};
use super::names;
use super::root::Root;
use super::standing::{Standing, standing};
use crate::error::{Error, Kind, Result};
use crate::objects::Objects;
use crate::time::Sequence;
use crate::wal::{OwnedRecord, Stream};

/// A place on the trail.
#[derive(Debug)]
pub(crate) struct Trail {
    objects: Arc<dyn Objects>,
    database: u64,
    /// The root that it goes by; none before the first step.
    by: Option<By>,
    /// The number of the next object of the log.
    next: u64,
    /// Files of the log before this one are not needed. A later root may need fewer, but the stream stands in one of them yet.
    first_file: u64,
    /// The checksum of the object before, if it was read.
    chain: Option<u64>,
    stream: Stream,
}

/// What is to be known of a root.
#[derive(Debug)]
struct By {
    epoch: u64,
    number: u64,
    nonce: String,
    /// The commits up to this one are in the files that it names.
    through: Sequence,
    writer: String,
}

/// What the next step of the trail is.
#[derive(Debug)]
pub(crate) enum Step {
    /// Commits that follow, perhaps none; there may be more.
    Records(Vec<OwnedRecord>),
    /// The writer went on in another epoch, which is the last of these.
    Turned(Lineage),
    /// There is nothing newer.
    Whole,
    /// Somebody claimed the next epoch, and has written no root yet.
    Claimed(Claim),
    /// What follows is no longer in the log: only the files of the newest root have it.
    Behind(String),
}

impl Trail {
    /// The trail of `database` in the bucket `objects`.
    pub(crate) fn new(objects: Arc<dyn Objects>, database: u64) -> Self {
        Self { objects, database, by: None, next: 0, first_file: 0, chain: None, stream: Stream::default() }
    }

    /// The number of the root that it goes by.
    pub(crate) fn root(&self) -> u64 {
        self.by.as_ref().map_or(0, |by| by.number)
    }

    /// Who writes, as far as it is known.
    pub(crate) fn writer(&self) -> Option<&str> {
        self.by.as_ref().map(|by| by.writer.as_str())
    }

    /// Takes a step for a follower that has the commits up to `known` of the epochs `lineage`. After an error it may be taken again.
    pub(crate) fn step(&mut self, lineage: &Lineage, known: Sequence) -> Result<Step> {
        let Some(by) = &self.by else { return self.look(lineage, known) };
        let Some(object) = log_object::read(self.objects.as_ref(), by.epoch, self.next)? else {
            return self.end(lineage, known);
        };
        let (stream, records) = self.read(by, &object)?;
        if claim::read(self.objects.as_ref(), by.epoch + 1)?.is_some() {
            return self.look(lineage, known);
        }
        let mut last = known;
        let mut following = Vec::new();
        for record in records.into_iter().filter(|record| record.last > known) {
            if record.first != last + 1 {
                return Ok(Step::Behind(format!("commit {} follows {last} in the bucket's log", record.first)));
            }
            last = record.last;
            following.push(record);
        }
        (self.stream, self.chain, self.next) = (stream, Some(object.chain), self.next + 1);
        Ok(Step::Records(following))
    }

    /// The records that are whole with `object`, and what is held of the next one.
    fn read(&self, by: &By, object: &LogObject) -> Result<(Stream, Vec<OwnedRecord>)> {
        object.check_writer(self.database, &by.nonce)?;
        object.check_chain(self.chain)?;
        let (mut stream, mut records) = (self.stream.clone(), Vec::new());
        for (piece, bytes) in object.pieces().filter(|(piece, _)| piece.file >= self.first_file) {
            stream.take(piece.file, piece.offset, bytes, |record| {
                records.push(record);
                Ok(())
            })?;
        }
        Ok((stream, records))
    }

    /// There is no next object of the log: either there is nothing newer, or the writer went on elsewhere.
    fn end(&mut self, lineage: &Lineage, known: Sequence) -> Result<Step> {
        let Some(By { epoch, number, through, .. }) = self.by.as_ref() else { return self.look(lineage, known) };
        let there = |number| Ok::<_, Error>(self.objects.length(&names::root(*epoch, number))?.is_some());
        // A root that replaced this one may have let the object go that was looked for.
        if claim::read(self.objects.as_ref(), epoch + 1)?.is_some() || there(number + 1)? || !there(*number)? {
            return self.look(lineage, known);
        }
        if *through > known {
            return Ok(Step::Behind(format!(
                "the bucket's files have the commits up to {through}, its log none after {known}"
            )));
        }
        Ok(Step::Whole)
    }

    /// Goes on by the root that stands.
    fn look(&mut self, lineage: &Lineage, known: Sequence) -> Result<Step> {
        let (root, claim) = match standing(self.objects.as_ref())? {
            Standing::Root(root, claim) => (root, claim),
            Standing::Claimed(claim) => return Ok(Step::Claimed(claim)),
        };
        if root.database != self.database {
            return Err(Error::precondition(
                "the bucket belongs to another database than the one that was followed: give an empty directory to follow it",
            ));
        }
        let epoch = lineage.current();
        if root.epoch < epoch {
            let what = format!("the bucket went back from epoch {epoch} to {}: it is not what it was", root.epoch);
            return Err(Error::new(Kind::Corrupt, what));
        }
        if let Some(after) = root.lineage.after(epoch).filter(|after| after.begins_after < known) {
            let (last, next) = (after.begins_after, after.epoch);
            return Ok(Step::Behind(format!("epoch {next} begins after commit {last}, and this node has {known}")));
        }
        let same = self.by.as_ref().is_some_and(|by| by.epoch == root.epoch);
        if !same || root.replay > self.next {
            (self.next, self.first_file) = (root.replay, root.manifest.wal_first);
            (self.chain, self.stream) = (None, Stream::default());
        }
        let turned = (root.epoch > epoch).then(|| root.lineage.clone());
        self.by = Some(By::new(*root, claim));
        Ok(turned.map_or_else(|| Step::Records(Vec::new()), Step::Turned))
    }
}

impl By {
    fn new(root: Root, claim: Claim) -> Self {
        let versions = root.manifest.versions.last().map_or(0, |version| version.sequence);
        Self {
            epoch: root.epoch,
            number: root.number,
            nonce: root.nonce,
            through: root.manifest.sequence.max(versions),
            writer: claim.writer,
        }
    }
}
