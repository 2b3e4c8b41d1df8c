//! The home of a database in a bucket: what makes a node disposable.
//!
//! A writer claims an *epoch* ([`claim`]) and takes over from the newest root ([`enter`]). Its log goes up as it is written
//! ([`upload`]); its files follow, and a *root* that names them ([`publish`]). A node that lost its disk gets both back
//! ([`restore`]), and opens them as any node opens its own disk. What a write was acknowledged for, the local disk or the
//! bucket, its acknowledgement says. Source: the protocol of the project's notes on object storage, which was checked on a
//! model; `claim` says the rule that all of it rests on.
//!
//! A follower takes the files of the newest root too ([`adopt`](mod@adopt)), goes along the log ([`trail`]), and writes nothing.
//!
//! Without a bucket nothing of this is there.

mod adopt;
mod ceiling;
mod checkpoint;
mod claim;
pub(crate) mod coming;
mod copy;
mod deleting;
mod deletions;
mod delta;
mod enter;
mod fetched;
mod frame;
mod ice;
mod kept;
mod lineage;
mod log_object;
mod names;
mod publish;
mod published;
mod restore;
mod rewrite;
mod root;
mod standing;
mod tail;
mod trail;
mod upload;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

pub(crate) use adopt::{
    adopt, checkpoint_changed, checkpoints, copy_checkpoint, followed_lineage, forget, note, refuse_followers,
};
pub use checkpoint::Checkpoint;
pub use claim::{Claim, is_claimed};
pub use copy::{Copied, copy};
pub(crate) use deletions::Deleted;
pub(crate) use enter::{Entered, enter, known_lineage, opened_alone};
pub(crate) use ice::ice_name;
pub(crate) use kept::Pinned;
pub use lineage::{Epoch, Lineage};
pub(crate) use restore::{beside, clear_beside};
pub(crate) use rewrite::Purged;
pub(crate) use standing::not_begun;
pub use tail::LogTail;
pub(crate) use trail::{Step, Trail};

use crate::config::{HomeOptions, IcePolicy, Level};
use crate::error::{Error, Kind, Result};
use crate::io::Files;
use crate::lake::Lake;
use crate::manifest::ManifestState;
use crate::objects::{Creation, ObjectName, Objects};
use crate::poison::Poison;
use crate::time::{Micros, Sequence};
use deletions::Deletions;
use published::Published;
use tail::Upload;

/// The home of a database that is open.
#[derive(Debug)]
pub struct Home {
    options: HomeOptions,
    database: u64,
    claim: Claim,
    epoch: Epoch,
    /// The epochs before this one.
    before: Lineage,
    /// All of them, once it is known where this one begins.
    lineage: OnceLock<Lineage>,
    /// The last commit that the bucket had when this process began.
    least: Sequence,
    files: Arc<dyn Files>,
    poison: Arc<Poison>,
    upload: Upload,
    published: Mutex<Published>,
    /// Everything that the newest root names, for those who must not wait while another is published.
    named: ArcSwap<BTreeSet<ObjectName>>,
    /// The number of the newest root.
    newest: AtomicU64,
    /// Objects that were put and that nothing names.
    litter: Mutex<Vec<ObjectName>>,
    deletions: Deletions,
    /// Held by erases from their commit until their bytes are gone, and alone while a checkpoint is taken: else it would hold them.
    pub(crate) erasing: RwLock<()>,
    /// Held by who writes checkpoints anew.
    pub(crate) rewriting: Mutex<()>,
    /// Ice that the manifest has ceased to name, and what Delta logs no longer need, for the next root to condemn.
    let_go: Mutex<Vec<ObjectName>>,
}

/// The error of a disk that has less than the bucket, as `what` says.
fn old_copy(what: &str) -> Error {
    Error::precondition(format!(
        "the bucket is ahead of this disk, which is an old copy: {what}; start on an empty directory to take what the bucket has"
    ))
}

/// What the home asks of the database that is in it.
pub(crate) trait Inhabitant {
    /// The manifest of now.
    fn listed(&self) -> Arc<ManifestState>;
    /// No ingest time at or below it will be given.
    fn ceiling(&self) -> Micros;
    /// The clock of the log.
    fn now(&self) -> Micros;
    /// A clock that never jumps.
    fn monotonic(&self) -> Micros;
    /// A table of `state` as readers of lakes see it, if it is there.
    fn lake(&self, state: &ManifestState, table: u32) -> Result<Option<Lake>>;
}

impl Home {
    /// What writes are acknowledged for.
    pub fn acknowledge(&self) -> Level {
        self.options.policy.acknowledge
    }

    /// Who wrote the database, and who does now.
    pub fn lineage(&self) -> &Lineage {
        self.lineage.get().expect("nothing is sent before the log was recovered")
    }

    /// The epoch of this process.
    pub fn epoch(&self) -> u64 {
        self.epoch.epoch
    }

    /// Says where this epoch begins: after the commit `sequence`, the last that was recovered. A disk that has less than the
    /// bucket is an old copy, and refused.
    pub(crate) fn begin(&self, sequence: Sequence) -> Result<()> {
        if sequence < self.least {
            return Err(old_copy(&format!("it ends at commit {sequence}, the bucket's log at {}", self.least)));
        }
        let epoch = Epoch { begins_after: sequence, ..self.epoch };
        self.lineage.set(self.before.then(epoch)).expect("a log is recovered once");
        Ok(())
    }

    /// Sends what waits without a pause.
    pub(crate) fn wake(&self) {
        self.upload.bell.ring();
    }

    /// The bucket, for who reads it.
    pub(crate) fn bucket(&self) -> Arc<dyn Objects> {
        Arc::clone(&self.options.objects)
    }

    /// How ice is read.
    pub(crate) fn ice_policy(&self) -> &IcePolicy {
        &self.options.policy.ice
    }

    fn objects(&self) -> &dyn Objects {
        self.options.objects.as_ref()
    }

    /// Makes sure that nobody took over; else nothing is written or served any more.
    fn check(&self) -> Result<()> {
        claim::check(self.objects(), self.epoch()).inspect_err(|error| self.poison_on(error))
    }

    /// Ends all writing if `error` says that this writer must stop.
    fn poison_on(&self, error: &Error) {
        if error.kind() == Kind::Poisoned {
            self.poison.set(error);
        }
    }

    /// Writes an object of this epoch, which nobody else may write and which never changes.
    fn put_once(&self, name: &ObjectName, bytes: Bytes) -> Result<()> {
        if self.objects().put_new(name, bytes.clone())? == Creation::Created {
            return Ok(());
        }
        match self.objects().get(name)? {
            Some(there) if there == bytes => Ok(()),
            Some(_) => {
                let error = Error::new(
                    Kind::Poisoned,
                    format!("object {name} was written by somebody else; this process stops"),
                );
                self.poison_on(&error);
                Err(error)
            }
            None => {
                Err(Error::new(Kind::Unavailable, format!("object {name} was said to be there and is not; try again")))
            }
        }
    }
}
