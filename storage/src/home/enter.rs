//! Entering: a process claims the next epoch of a bucket, and gets the database to where that epoch begins.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

use super::claim::{self, Claim};
use super::coming;
use super::deletions::Deletions;
use super::frame::{self, Magic};
use super::kept::Pinned;
use super::lineage::{Epoch, Lineage};
use super::publish;
use super::published::Published;
use super::restore::restore;
use super::root::{self, Root};
use super::tail::Upload;
use super::{Home, Inhabitant, log_object, names, old_copy};
use crate::config::HomeOptions;
use crate::error::{Error, Kind, Result};
use crate::io::coming::Coming;
use crate::io::{Files, SHORT_BYTES, publish_in};
use crate::manifest::ManifestState;
use crate::objects::Objects;
use crate::poison::Poison;
use crate::time::{Micros, Sequence};

/// The local file that says which epochs this disk wrote.
pub(crate) const MARKER: &str = "home";
const FORMAT_MAGIC: Magic = *b"FIRNHOME";

/// What this disk wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    database: u64,
    /// The number and the nonce of each epoch that began on this disk.
    epochs: Vec<(u64, String)>,
    /// The epochs up to the last that served from this disk.
    lineage: Lineage,
    /// Whether what is here was taken from the bucket and has not served since: then it may be taken again.
    #[serde(default)]
    restored: bool,
}

impl Marker {
    /// Whether the epoch of `root` is one that began on this disk.
    fn wrote(&self, root: &Root) -> bool {
        self.database == root.database && self.epochs.contains(&(root.epoch, root.nonce.clone()))
    }
}

/// What the bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Format {
    format: u32,
    database: u64,
}

/// A claim that was made, and the root that it takes over from. The local files are those of this root, or newer.
#[derive(Debug)]
pub(crate) struct Entered {
    options: HomeOptions,
    claim: Claim,
    epoch: u64,
    /// With its manifest and its checkpoints.
    before: Option<(Root, ManifestState, Vec<Pinned>)>,
    /// The last commit that the bucket has: a disk that has fewer is an old copy.
    least: Sequence,
    marker: Marker,
}

/// Claims the next epoch of the bucket, and restores the database into `files` if it is not there. `database` is the number of
/// the one that is.
pub(crate) fn enter(options: HomeOptions, files: &Arc<Coming>, database: Option<u64>, now: Micros) -> Result<Entered> {
    let objects = Arc::clone(&options.objects);
    let marker = read_marker(files.as_ref())?;
    let database = database.filter(|_| !marker.restored);
    check_format(objects.as_ref(), database.filter(|_| !options.policy.discard_local))?;
    // A start that will be refused must not stop the one that serves.
    if let (Some(_), false, Some(root)) =
        (database, options.policy.discard_local, root::newest_before(objects.as_ref(), u64::MAX)?)
        && !marker.wrote(&root)
    {
        return Err(overtaken(&root, &marker));
    }
    let claim = Claim::new(&options.writer, now)?;
    let epoch = claim::claim(objects.as_ref(), &claim)?;
    let entered = take_over(options, files, database, (claim, epoch), marker);
    // Who claims a later epoch sweeps what is read here: what was found, or missed, counts only if nobody did until now.
    claim::check(objects.as_ref(), epoch)?;
    entered
}

/// Reads what the epoch of `claim` takes over, and restores it into `files` if it is not there.
fn take_over(
    options: HomeOptions,
    files: &Arc<Coming>,
    database: Option<u64>,
    (claim, epoch): (Claim, u64),
    mut marker: Marker,
) -> Result<Entered> {
    let objects = Arc::clone(&options.objects);
    let read = |root: Root| {
        let (state, pinned) = (root.state(objects.as_ref())?, Pinned::of_root(objects.as_ref(), &root)?);
        Ok::<_, Error>((root, state, pinned))
    };
    let before = root::newest_before(objects.as_ref(), epoch)?.map(read).transpose()?;
    if let Some((before, state, _)) = &before {
        claim::of_root(objects.as_ref(), before.epoch, &before.nonce)?;
        let ours = marker.wrote(before);
        match (database, ours, options.policy.discard_local) {
            (Some(_), true, _) => {}
            (Some(_), false, false) => return Err(overtaken(before, &marker)),
            (Some(_), _, true) | (None, ..) => {
                marker = Marker { database: before.database, restored: true, ..Marker::default() };
                // Before anything is here: a start that ends before its first root is followed by one that begins again.
                write_marker(&(Arc::clone(files) as _), &marker)?;
                restore(&objects, files, (before, state), options.policy.ice.requests_max)?;
            }
        }
    } else if options.policy.discard_local && database.is_some() {
        return Err(Error::precondition("the bucket has no database, so the local one is not discarded for it"));
    }
    let least = before.as_ref().map_or(Ok(0), |(root, ..)| log_object::last_commit(objects.as_ref(), root.epoch))?;
    Ok(Entered { options, claim, epoch, before, least, marker })
}

/// The error of a disk that another writer has overtaken.
fn overtaken(before: &Root, marker: &Marker) -> Error {
    let last = marker.epochs.last().map_or(0, |(epoch, _)| *epoch);
    Error::precondition(format!(
        "the bucket's database was written last in epoch {} by another process, and this disk holds epoch {last}: commits that only \
         this disk has would be lost or confused. Serve it without --bucket to export them; start with --discard-local to give the \
         local copy up",
        before.epoch
    ))
}

/// Notes that the database of this disk is opened without its bucket: from now on it may have commits of its own.
pub(crate) fn opened_alone(files: &Arc<dyn Files>) -> Result<()> {
    coming::refuse_incomplete(files.as_ref())?;
    let marker = read_marker(files.as_ref())?;
    if marker.restored { write_marker(files, &Marker { restored: false, ..marker }) } else { Ok(()) }
}

/// Who wrote the database of this disk, also where it is opened without its bucket.
pub(crate) fn known_lineage(files: &Arc<dyn Files>) -> Result<Lineage> {
    read_marker(files.as_ref()).map(|marker| marker.lineage)
}

fn write_marker(files: &Arc<dyn Files>, marker: &Marker) -> Result<()> {
    let bytes = serde_json::to_vec(marker).expect("a marker is plain data");
    publish_in(files, MARKER, SHORT_BYTES, |file| file.append(&bytes))
}

fn read_marker(files: &dyn Files) -> Result<Marker> {
    if !files.list("")?.iter().any(|name| name == MARKER) {
        return Ok(Marker::default());
    }
    serde_json::from_slice(&files.read(MARKER)?).map_err(|error| Error::corrupt(MARKER, 0, error))
}

/// Says in `objects`, which is empty, that it holds `database`.
pub(super) fn put_format(objects: &dyn Objects, database: u64) -> Result<()> {
    objects.put(&names::format(), format_of(database))
}

fn format_of(database: u64) -> Bytes {
    frame::encode(FORMAT_MAGIC, &Format { format: 1, database }, &[])
}

/// Refuses a bucket of another database, or of a later FirnDB.
fn check_format(objects: &dyn Objects, database: Option<u64>) -> Result<()> {
    let name = names::format();
    let Some(bytes) = objects.get(&name)? else { return Ok(()) };
    let (known, _): (Format, _) = frame::decode(&name, FORMAT_MAGIC, &bytes)?;
    if known.format != 1 {
        return Err(Error::new(
            Kind::Unsupported,
            format!("the bucket has format {}, which this FirnDB does not know", known.format),
        ));
    }
    match database.filter(|database| *database != known.database) {
        None => Ok(()),
        Some(_) => Err(Error::precondition(
            "the bucket belongs to another database than the local directory: give another bucket or prefix, or an empty directory",
        )),
    }
}

impl Entered {
    /// The home of the database whose manifest is `state`.
    pub(crate) fn home(
        self,
        state: &ManifestState,
        files: Arc<dyn Files>,
        poison: Arc<Poison>,
        first_number: u64,
    ) -> Result<Home> {
        let Self { options, claim, epoch, before: root, least, mut marker } = self;
        let mut published = Published { oldest: 1, ..Published::default() };
        let mut before = Lineage::default();
        if let Some((root, there, pinned)) = root {
            // What a root condemned is never named again. A disk that is not a copy wrote its manifest before any root of it.
            if first_number < there.next_number {
                return Err(old_copy(&format!(
                    "it gave files numbers below {first_number}, the bucket's root below {}",
                    there.next_number
                )));
            }
            published.files = there.files_in_bucket().intersection(&state.files_in_bucket()).copied().collect();
            let mut named = root::names(&root.lineage, &root.lists, &there);
            named.extend(Pinned::names_of(&pinned));
            published.named = Arc::new(named);
            published.pinned = pinned;
            published.lists = root.lists;
            published.condemned = root.condemned;
            before = root.lineage;
        }
        marker.database = state.database;
        marker.epochs.push((epoch, claim.nonce.clone()));
        // Before anything of this epoch is in the bucket: whoever finds its root there must find it here too.
        write_marker(&files, &marker)?;
        let upload = Upload::new(state.wal_first);
        let epoch = Epoch { epoch, first_number, begins_after: 0, database: None };
        Ok(Home {
            options,
            database: state.database,
            claim,
            epoch,
            before,
            lineage: OnceLock::new(),
            least,
            files,
            poison,
            upload,
            named: ArcSwap::new(Arc::clone(&published.named)),
            published: Mutex::new(published),
            newest: AtomicU64::new(0),
            litter: Mutex::default(),
            deletions: Deletions::default(),
            erasing: RwLock::default(),
            rewriting: Mutex::default(),
            let_go: Mutex::default(),
        })
    }
}

impl Home {
    /// Puts all that the local disk has into the bucket under the first root of this epoch. Only then may anything be served.
    pub(crate) fn settle(&self, database: &impl Inhabitant) -> Result<()> {
        self.put_once(&names::format(), format_of(self.database))?;
        self.publish(database)?;
        let marker = Marker { lineage: self.lineage().clone(), restored: false, ..read_marker(self.files.as_ref())? };
        write_marker(&self.files, &marker)?;
        let published = self.published.lock();
        publish::sweep(self.objects(), self.epoch(), &published)
    }
}
