//! Copying: the database of a bucket, as it is or as it is at a checkpoint, becomes a database of its own in another bucket.
//!
//! The copy has a number of its own and goes on after what it has, so positions of both are never confused; it takes those that
//! the other gave up to there. Nothing is written to the bucket that is read. The root comes last: before it there is no database.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::adopt::named;
use super::claim::{self, Claim};
use super::enter;
use super::fetched::restore_file;
use super::kept::{Kept, KeptLog};
use super::lineage::Epoch;
use super::log_object::{self, LogHeader};
use super::names;
use super::root::{self, Root};
use super::standing::root_that_stands;
use crate::error::{Error, Kind, Result};
use crate::io::{Access, Files};
use crate::manifest::ManifestState;
use crate::objects::{Creation, ObjectName, Objects};
use crate::position::random_database;
use crate::time::{Micros, Sequence};

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// The last commit that the copy has.
    pub sequence: Sequence,
    /// How many files.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

/// Copies the database in `from`, at `checkpoint` if one is named, into the empty bucket `to`. Each file is on the way in `files`, an empty
/// directory. `told` hears of each that is there. `writer` and `now` are for people who look who made the copy.
pub fn copy(
    (from, to): (&dyn Objects, &dyn Objects),
    checkpoint: Option<&str>,
    files: &Arc<dyn Files>,
    (writer, now): (&str, Micros),
    told: impl Fn(Copied),
) -> Result<Copied> {
    check_empty(to)?;
    let Kept { root: before, log, sequence } = source(from, checkpoint)?;
    let epoch = before.lineage.current().max(before.epoch);
    let first_number = before.manifest.next_number;
    let next = Epoch { epoch, first_number, begins_after: sequence, database: None };
    let lineage = before.lineage.copied(before.database, next);
    let database = random_database();
    let manifest = ManifestState { database, ..before.manifest };
    let claim = Claim::new(writer, now)?;
    if claim::put(to, epoch, &claim)? != Creation::Created {
        return Err(not_empty(&names::epoch(epoch)));
    }
    let mut copied = Copied { sequence, files: 0, bytes: 0 };
    for name in root::names(&lineage, &BTreeMap::new(), &manifest) {
        copied.bytes += copy_object((from, to), files, &name).map_err(|error| went_on(error, checkpoint))?;
        copied.files += 1;
        told(copied);
    }
    let nonce = claim.nonce;
    let (pieces, bytes) = log.into_parts();
    let ceiling = before.ceiling;
    let header = LogHeader { database, epoch, number: 1, nonce: nonce.clone(), chain: 0, sequence, ceiling, pieces };
    to.put(&names::log(epoch, 1), log_object::encode(&header, &bytes).0)?;
    enter::put_format(to, database)?;
    let root = Root {
        database,
        epoch,
        number: 1,
        nonce,
        lineage,
        replay: 1,
        ceiling,
        manifest,
        lists: BTreeMap::new(),
        checkpoints: Vec::new(),
        condemned: Vec::new(),
    };
    to.put(&names::root(epoch, 1), root::encode(&root))?;
    Ok(copied)
}

/// What is to be copied.
fn source(from: &dyn Objects, checkpoint: Option<&str>) -> Result<Kept> {
    if let Some(name) = checkpoint {
        return Kept::read(from, &named(from, name)?);
    }
    let root = root_that_stands(from)?;
    let (log, sequence) = KeptLog::read(from, &root).map_err(|error| went_on(error, None))?;
    let root = Root { manifest: root.state(from)?, lists: BTreeMap::new(), ..root };
    Ok(Kept { root, log, sequence })
}

/// What a writer that goes on lets go is missing, which is no damage.
fn went_on(error: Error, checkpoint: Option<&str>) -> Error {
    match (error.kind(), checkpoint) {
        (Kind::Corrupt, None) => Error::new(
            Kind::Unavailable,
            format!("the database may have gone on while it was copied; create a checkpoint and copy that ({error})"),
        ),
        _ => error,
    }
}

fn copy_object((from, to): (&dyn Objects, &dyn Objects), files: &Arc<dyn Files>, name: &ObjectName) -> Result<u64> {
    const ON_THE_WAY: &str = "copied";
    let length = restore_file(from, files, name, ON_THE_WAY)?;
    to.put(name, files.map(ON_THE_WAY, length, Access::Ordered)?)?;
    files.remove(ON_THE_WAY)?;
    Ok(length)
}

fn check_empty(to: &dyn Objects) -> Result<()> {
    if to.length(&names::format())?.is_some() {
        return Err(not_empty(&names::format()));
    }
    let folders = [names::EPOCHS, names::LOG, names::DATA, names::ICE, names::LISTS, names::CHECKPOINTS, names::ROOTS];
    for folder in folders {
        if let Some(there) = to.list(folder)?.first() {
            return Err(not_empty(&there.name));
        }
    }
    Ok(())
}

fn not_empty(there: &ObjectName) -> Error {
    Error::precondition(format!(
        "the bucket to copy to has {there}: give an empty one, or another prefix; what an interrupted copy left may be deleted"
    ))
}
