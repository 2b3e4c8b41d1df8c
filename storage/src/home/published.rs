//! What the bucket has, as far as roots go.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use firn_ice::delta::State;

use super::kept::Pinned;
use super::root::{Condemned, ListEntry};
use crate::manifest::{ManifestState, NamedFile};
use crate::objects::ObjectName;
use crate::time::Micros;

/// What the Delta logs of tables say, as far as it is known.
pub(super) type Logs = BTreeMap<u32, Log>;

/// What a Delta log says.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) state: State,
    /// From this version on a checkpoint is due.
    pub(super) due: u64,
}

/// What the bucket has, as far as roots go.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// The last number of a root that was tried.
    pub(super) tried: u64,
    /// The first root of this epoch that may still be there.
    pub(super) oldest: u64,
    /// The files that are there.
    pub(super) files: HashSet<NamedFile>,
    pub(super) lists: BTreeMap<u32, ListEntry>,
    /// The checkpoints, and what they need.
    pub(super) pinned: Vec<Pinned>,
    /// Everything that the last root names, itself and through its checkpoints.
    pub(super) named: Arc<BTreeSet<ObjectName>>,
    /// What may be there beside that: put for a root that failed, or let go before any root named it. A root that failed may be there all
    /// the same, so it goes only after the next one.
    pub(super) unnamed: BTreeSet<ObjectName>,
    pub(super) condemned: Vec<Condemned>,
    /// The first object of the log that the last root needs.
    pub(super) replay: u64,
    /// How many bytes of the log had gone up at the last root.
    pub(super) log_bytes: u64,
    /// The manifest of the last root.
    pub(super) state: Option<Arc<ManifestState>>,
    /// What the Delta logs say.
    pub(super) logs: Logs,
    /// When, by the monotonic clock.
    pub(super) at: Micros,
}
