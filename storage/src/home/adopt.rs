//! Adopting: how a follower gets its files. They are those of the root that stands, with the log after it, in a directory that is
//! a follower's and says so; from then on the follower keeps its own. Or they are those of a checkpoint, and stay. Nothing is written
//! to the bucket.
//!
//! A directory in which somebody writes is never taken, and one that is a follower's is served by nobody else: its commits are
//! copies, and others would be confused with those of the writer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, not_there};
use super::claim;
use super::kept::Kept;
use super::lineage::Lineage;
use super::restore::{FOLLOWER, LogFrom, clear, fetch};
use super::root::Root;
use super::standing::{Standing, root_that_stands, standing};
use crate::error::{Error, Kind, Result};
use crate::io::{Files, SHORT_BYTES, publish_in};
use crate::manifest::{Manifest, NamedFile};
use crate::objects::Objects;
use crate::wal;

/// So often a root is taken anew if its objects go away under the restore.
const ATTEMPTS: u32 = 8;

/// Whom this directory follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Followed {
    database: u64,
    /// The epochs up to the one whose log it goes on in.
    lineage: Lineage,
    /// The checkpoint that it stays at, if it does.
    #[serde(default)]
    checkpoint: Option<Checkpoint>,
}

/// Makes sure that `files` has a copy of the bucket's database: the one that it has, if that is the database `known`, or else that of
/// the root that stands, or of `checkpoint` if one is named.
pub(crate) fn adopt(
    objects: &dyn Objects,
    files: &Arc<dyn Files>,
    known: Option<u64>,
    checkpoint: Option<&str>,
) -> Result<()> {
    let followed = read(files)?;
    let there = followed.as_ref().and_then(|followed| followed.checkpoint.as_ref());
    if known.is_some() && followed.is_some() && there.map(|there| there.name.as_str()) != checkpoint {
        return Err(Error::precondition(
            "the data directory holds another copy of the database, at a checkpoint or not: give an empty directory for this one",
        ));
    }
    let at = checkpoint.map(|name| named(objects, name)).transpose()?;
    match (known, &followed) {
        (Some(known), Some(followed)) if followed.database == known => {
            if followed.checkpoint == at {
                return Ok(());
            }
            // An erase wrote it anew.
            clear(files)?;
        }
        (None, Some(_)) => {}
        (None, None) if is_empty(files)? => {}
        _ => {
            return Err(Error::precondition(
                "the data directory is not a follower's: it may hold commits that only it has; give --read-only an empty directory",
            ));
        }
    }
    if let Some(at) = at {
        return put_checkpoint(objects, files, &at.clone(), Some(at)).map(drop);
    }
    let mut failed = None;
    for _ in 0..ATTEMPTS {
        let root = root_that_stands(objects)?;
        match take(objects, files, &root) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            // What a root names goes away some time after it was replaced.
            Err(error) if error.kind() == Kind::Corrupt && !stands(objects, &root)? => failed = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(failed.unwrap_or_else(|| {
        Error::new(Kind::Unavailable, "the bucket's database was taken over while it was fetched; try again")
    }))
}

/// The checkpoints of the bucket's database, the oldest first.
pub(crate) fn checkpoints(objects: &dyn Objects) -> Result<Vec<Checkpoint>> {
    Ok(root_that_stands(objects)?.checkpoints)
}

/// The checkpoint `name` of the bucket's database.
pub(super) fn named(objects: &dyn Objects, name: &str) -> Result<Checkpoint> {
    let known = checkpoints(objects)?;
    known.iter().find(|one| one.name == name).cloned().ok_or_else(|| not_there(name, known.iter()))
}

/// Whether the checkpoint `name` of the bucket is no longer what `files` hold; an error if it is gone.
pub(crate) fn checkpoint_changed(objects: &dyn Objects, files: &Arc<dyn Files>, name: &str) -> Result<bool> {
    let there = read(files)?.and_then(|followed| followed.checkpoint);
    Ok(there.as_ref() != Some(&named(objects, name)?))
}

/// Puts the database as it is at `checkpoint` into `files`, which hold nothing: [`adopt`] takes it for what it has. What it is.
pub(crate) fn copy_checkpoint(objects: &dyn Objects, files: &Arc<dyn Files>, checkpoint: &Checkpoint) -> Result<Kept> {
    put_checkpoint(objects, files, checkpoint, None)
}

/// Puts the database as it is at `checkpoint` into `files`, which stay at that if they are to be `at` one.
fn put_checkpoint(
    objects: &dyn Objects,
    files: &Arc<dyn Files>,
    checkpoint: &Checkpoint,
    at: Option<Checkpoint>,
) -> Result<Kept> {
    let kept = Kept::read(objects, checkpoint)?;
    let root = &kept.root;
    write(files, &Followed { database: root.database, lineage: root.lineage.clone(), checkpoint: at })?;
    let state = fetch(objects, files, root, &root.manifest, LogFrom::Kept(&kept.log))?;
    Manifest::create(Arc::clone(files), state)?;
    Ok(kept)
}

/// Whether `root` is still the newest.
fn stands(objects: &dyn Objects, root: &Root) -> Result<bool> {
    Ok(match standing(objects)? {
        Standing::Root(newest, _) => (newest.epoch, newest.number) == (root.epoch, root.number),
        Standing::Claimed(_) => false,
    })
}

/// Puts the database of `root` into `files`; whether nobody had taken over when its log had been read. Only then is it the database.
fn take(objects: &dyn Objects, files: &Arc<dyn Files>, root: &Root) -> Result<bool> {
    let state = root.state(objects)?;
    note(files, root.database, &root.lineage)?;
    // Whoever follows gives no ingest times.
    let state = fetch(objects, files, root, &state, LogFrom::Objects)?;
    if claim::read(objects, root.epoch + 1)?.is_some() {
        return Ok(false);
    }
    Manifest::create(Arc::clone(files), state).map(|_| true)
}

/// Makes the copy in `files` none: the next [`adopt`] begins with what the bucket has.
pub(crate) fn forget(files: &Arc<dyn Files>) -> Result<()> {
    assert!(read(files)?.is_some(), "only a follower's copy is given up");
    clear(files)
}

/// Remembers that `files` follow the database in the last epoch of `lineage`.
pub(crate) fn note(files: &Arc<dyn Files>, database: u64, lineage: &Lineage) -> Result<()> {
    write(files, &Followed { database, lineage: lineage.clone(), checkpoint: None })
}

fn write(files: &Arc<dyn Files>, followed: &Followed) -> Result<()> {
    let bytes = serde_json::to_vec(followed).expect("it is plain data");
    publish_in(files, FOLLOWER, SHORT_BYTES, |file| file.append(&bytes))
}

/// Who wrote what a follower has.
pub(crate) fn followed_lineage(files: &Arc<dyn Files>) -> Result<Lineage> {
    read(files)?
        .map(|followed| followed.lineage)
        .ok_or_else(|| Error::corrupt(FOLLOWER, 0, "the follower's directory lost it; give an empty directory"))
}

/// Refuses a directory that follows, for whoever would write there.
pub(crate) fn refuse_followers(files: &Arc<dyn Files>) -> Result<()> {
    if read(files)?.is_none() {
        return Ok(());
    }
    Err(Error::precondition(
        "the data directory holds a follower's copy of a database that another process writes; serve it with --bucket and \
         --read-only, or give another directory",
    ))
}

fn read(files: &Arc<dyn Files>) -> Result<Option<Followed>> {
    if !files.list("")?.iter().any(|name| name == FOLLOWER) {
        return Ok(None);
    }
    serde_json::from_slice(&files.read(FOLLOWER)?).map(Some).map_err(|error| Error::corrupt(FOLLOWER, 0, error))
}

/// Whether `files` has nothing of a database.
fn is_empty(files: &Arc<dyn Files>) -> Result<bool> {
    let folders = ["manifest", wal::DIRECTORY].into_iter().chain(NamedFile::FOLDERS.map(|(folder, _)| folder));
    for folder in folders {
        if !files.list(folder)?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}
