//! Publishing: the files that the manifest names go up, then the lists of the tables that changed, then a root that names all
//! of it. Only what a root that is there condemned is ever deleted, and only by who has just looked that nobody took over.
//!
//! Files that a merge removes before the next root are never sent: what is not in a root yet, the log has. What a checkpoint needs is
//! named with it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::checkpoint::Checkpoint;
use super::kept::{Change, Kept, KeptLog, Pinned};
use super::published::Published;
use super::root::{self, Condemned, ListEntry, Root};
use super::{Home, Inhabitant, names};
use crate::error::{Error, Kind, Result};
use crate::io::Access;
use crate::manifest::{ManifestState, NamedFile};
use crate::objects::{ObjectName, Objects};
use crate::time::Micros;

/// A manifest is read anew so often while files that it names go away under the upload.
const ATTEMPTS: u32 = 16;

impl Home {
    /// Publishes what the local manifest says. The log up to there goes up first, so that the root is one moment of all tables.
    pub(crate) fn publish(&self, database: &impl Inhabitant) -> Result<()> {
        self.publish_with(database, self.options.policy.garbage_age, &Change::None)
    }

    /// [`Home::publish`], and takes a checkpoint of that moment, which is there when this returns.
    /// Its object has this `number`, which no other has.
    pub(crate) fn create_checkpoint(&self, database: &impl Inhabitant, name: &str, number: u64) -> Result<()> {
        self.publish_with(database, self.options.policy.garbage_age, &Change::Create(name, number))
    }

    /// The checkpoints, the oldest first.
    pub(crate) fn pinned(&self) -> Vec<Pinned> {
        self.published.lock().pinned.clone()
    }

    /// [`Home::publish`] without a checkpoint that was there. What only it needed goes as everything does that no root names.
    pub(crate) fn drop_checkpoint(&self, database: &impl Inhabitant, name: &str) -> Result<()> {
        self.publish_with(database, self.options.policy.garbage_age, &Change::Drop(name))
    }

    /// [`Home::publish`] with `rewritten` in the place of the checkpoints of these names, and deletes all that no root names any more,
    /// however young: for bytes that must be gone. An error if some of it is still there.
    pub(crate) fn publish_and_purge(
        &self,
        database: &impl Inhabitant,
        rewritten: &BTreeMap<String, Pinned>,
    ) -> Result<()> {
        self.publish_with(database, Duration::ZERO, &Change::Replace(rewritten))?;
        let published = self.published.lock();
        let left = published.condemned.len() + self.log_before(published.replay) + self.clear_litter();
        if left == 0 {
            return Ok(());
        }
        Err(Error::new(
            Kind::Unavailable,
            format!(
                "{left} objects that may hold what was erased could not be deleted from the bucket yet; erase again"
            ),
        ))
    }

    fn publish_with(&self, database: &impl Inhabitant, garbage_age: Duration, change: &Change<'_>) -> Result<()> {
        self.clear_litter();
        let mut published = self.published.lock();
        change.check(&published.pinned, self.options.policy.checkpoints_max)?;
        for _ in 0..ATTEMPTS {
            let state = database.listed();
            self.pump(database.ceiling())?;
            match self.send_files(&mut published, &state) {
                Ok(()) => return self.send_root(&mut published, state, database, (garbage_age, change)),
                // A file that a newer manifest does not name any more is gone.
                Err(error) if !Arc::ptr_eq(&state, &database.listed()) => {
                    tracing::debug!(%error, "the manifest changed while its files went up");
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(
            Kind::Unavailable,
            "the manifest changed faster than its files went up; the next root will have them",
        ))
    }

    fn send_files(&self, published: &mut Published, state: &ManifestState) -> Result<()> {
        let named: BTreeSet<NamedFile> = state.files_in_bucket().difference(&published.files).copied().collect();
        for file in named {
            let local = file.name();
            let bytes = self.files.map(&local, self.files.length(&local)?, Access::Ordered)?;
            let object = names::data(self.lineage(), file);
            published.unnamed.insert(object.clone());
            self.objects().put(&object, bytes)?;
            published.files.insert(file);
        }
        Ok(())
    }

    fn send_root(
        &self,
        published: &mut Published,
        state: Arc<ManifestState>,
        database: &impl Inhabitant,
        (garbage_age, change): (Duration, &Change<'_>),
    ) -> Result<()> {
        published.tried += 1;
        let number = published.tried;
        published.unnamed.extend(self.take_let_go());
        let lists = self.send_lists(published, &state, number)?;
        let (replay, logs) = self.replay_from(state.wal_first);
        let mut root = Root {
            database: self.database,
            epoch: self.epoch(),
            number,
            nonce: self.claim.nonce.clone(),
            lineage: self.lineage().clone(),
            replay,
            // The objects of the log that say it may go with this root.
            ceiling: database.ceiling().max(self.promised()),
            manifest: state.without_tables(),
            lists,
            checkpoints: Vec::new(),
            condemned: Vec::new(),
        };
        let mut named = root::names(&root.lineage, &root.lists, &state);
        let pinned = self.change_checkpoints(published, &root, &state, (database.now(), change))?;
        named.extend(Pinned::names_of(&pinned));
        root.checkpoints = pinned.iter().map(|one| one.checkpoint.clone()).collect();
        root.condemned = condemned(published, &named, database.now());
        self.put_once(&names::root(root.epoch, number), root::encode(&root))?;
        self.check()?;
        let named = Arc::new(named);
        self.named.store(Arc::clone(&named));
        let files = state.files_in_bucket();
        published.files.retain(|file| files.contains(file));
        let condemned = match Pinned::are_known(&pinned) {
            true => self.collect(published, &root, &logs, database.now(), garbage_age),
            false => root.condemned,
        };
        let mut logs = std::mem::take(&mut published.logs);
        if let Err(error) = self.export(&mut logs, &state, database) {
            tracing::warn!(%error, "the Delta logs could not be brought up to date; the next root does it");
        }
        *published = Published {
            tried: number,
            oldest: published.oldest,
            files: std::mem::take(&mut published.files),
            lists: root.lists,
            pinned,
            named,
            unnamed: BTreeSet::new(),
            condemned,
            replay,
            log_bytes: self.upload.bytes.load(Ordering::Relaxed),
            state: Some(state),
            logs,
            at: database.monotonic(),
        };
        self.newest.store(number, Ordering::Relaxed);
        Ok(())
    }

    /// Writes the lists of the tables that changed; where those of all tables are.
    fn send_lists(
        &self,
        published: &mut Published,
        state: &ManifestState,
        number: u64,
    ) -> Result<BTreeMap<u32, ListEntry>> {
        let mut lists = BTreeMap::new();
        for (&table, list) in &state.tables {
            let checksum = root::checksum(list);
            let known = published.lists.get(&table).filter(|known| known.checksum == checksum).cloned();
            let entry = known.unwrap_or(ListEntry { epoch: self.epoch(), number, checksum });
            if entry.number == number && entry.epoch == self.epoch() {
                published.unnamed.insert(names::list(entry.epoch, entry.number, table));
                root::write_list(self.objects(), table, &entry, list)?;
            }
            lists.insert(table, entry);
        }
        Ok(lists)
    }

    /// The checkpoints that `root`, whose manifest is `state`, is to name after `change`. One that is taken is written.
    fn change_checkpoints(
        &self,
        published: &mut Published,
        root: &Root,
        state: &ManifestState,
        (now, change): (Micros, &Change<'_>),
    ) -> Result<Vec<Pinned>> {
        let mut pinned = published.pinned.clone();
        match change {
            Change::None => {}
            Change::Create(name, number) => {
                let (log, sequence) = KeptLog::read(self.objects(), root)?;
                let (name, of, object) = ((*name).to_owned(), (root.database, root.epoch), (root.epoch, *number));
                let checkpoint = Checkpoint { name, at: now, sequence, log: of, erased: sequence, object };
                let root = Root { manifest: state.clone(), lists: BTreeMap::new(), ..root.clone() };
                let kept = Kept { root, log, sequence };
                published.unnamed.insert(checkpoint.object_name());
                kept.write(self.objects(), &checkpoint)?;
                pinned.push(Pinned { names: Some(kept.names(&checkpoint)), checkpoint });
            }
            Change::Drop(name) => pinned.retain(|one| one.checkpoint.name != *name),
            Change::Replace(by) => pinned.iter_mut().for_each(|one| {
                if let Some(by) = by.get(&one.checkpoint.name) {
                    *one = by.clone();
                }
            }),
        }
        Ok(pinned)
    }

    /// Deletes what `root`, which is there, lets go: the roots before it, the log before its replay, objects that were condemned
    /// long enough ago. What still waits, or could not be deleted now.
    fn collect(
        &self,
        published: &mut Published,
        root: &Root,
        logs: &[u64],
        now: Micros,
        garbage_age: Duration,
    ) -> Vec<Condemned> {
        let age = i64::try_from(garbage_age.as_micros()).unwrap_or(i64::MAX);
        let (old, young): (Vec<Condemned>, Vec<Condemned>) =
            root.condemned.iter().cloned().partition(|one| now.saturating_sub(one.at) >= age);
        // While an older root is there a follower may go by it, and takes the log to end where it is deleted.
        let mut roots = published.oldest..root.number;
        published.oldest =
            roots.find(|before| !self.delete(&names::root(self.epoch(), *before))).unwrap_or(root.number);
        let alone = published.oldest == root.number;
        if alone && logs.iter().all(|log| self.delete(&names::log(self.epoch(), *log))) {
            self.forget_before(root.replay);
        }
        let left = old.into_iter().filter(|one| ObjectName::new(&*one.name).is_ok_and(|name| !self.delete(&name)));
        young.into_iter().chain(left).collect()
    }

    /// Whether there is something to publish, and it is time.
    fn is_due(&self, database: &impl Inhabitant) -> bool {
        let published = self.published.lock();
        let sent = self.upload.bytes.load(Ordering::Relaxed) - published.log_bytes;
        let changed = !published.state.as_ref().is_some_and(|state| Arc::ptr_eq(state, &database.listed()));
        let since = database.monotonic() - published.at;
        let long = since >= i64::try_from(self.options.policy.publish_interval.as_micros()).unwrap_or(i64::MAX);
        changed && (sent >= self.options.policy.publish_bytes || long)
    }

    /// Publishes whenever it is time, until `stop` says so; then once more.
    pub(crate) fn publish_until(&self, database: &impl Inhabitant, pause: impl Fn(Duration), stop: impl Fn() -> bool) {
        // After a failure the next attempt waits, each time twice as long.
        let (mut rest, mut not_before) = (LOOK_INTERVAL, Micros::MIN);
        loop {
            let stopping = stop();
            if stopping || (database.monotonic() >= not_before && self.is_due(database)) {
                match self.publish(database) {
                    Ok(()) => rest = LOOK_INTERVAL,
                    Err(error) if error.kind() == Kind::Poisoned => return self.poison_on(&error),
                    Err(error) => {
                        tracing::warn!(%error, "no root could be published; the bucket has the log");
                        not_before = database.monotonic().saturating_add(rest.as_micros() as Micros);
                        rest = (rest * 2).min(FAILED_REST_MAX);
                    }
                }
            }
            if stopping {
                return;
            }
            pause(LOOK_INTERVAL);
        }
    }
}

/// What the next root, which names `named`, condemns: all that waits already, what the last root named, and what may be there
/// beside that.
fn condemned(published: &Published, named: &BTreeSet<ObjectName>, at: Micros) -> Vec<Condemned> {
    let named: HashSet<&str> = named.iter().map(ObjectName::as_str).collect();
    let waiting: HashSet<&str> = published.condemned.iter().map(|one| one.name.as_str()).collect();
    let left = published.named.union(&published.unnamed).map(ObjectName::as_str);
    let left = left.filter(|name| !waiting.contains(name));
    let left = left.map(|name| Condemned { name: name.to_owned(), at });
    let all = published.condemned.iter().cloned().chain(left);
    all.filter(|one| !named.contains(one.name.as_str())).collect()
}

/// How often it is looked whether it is time.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How long the next attempt waits after many that failed.
const FAILED_REST_MAX: Duration = Duration::from_secs(60);

/// Deletes what no root names of the epochs before `epoch`, whose first root is there: their log, roots, lists and files.
pub(super) fn sweep(objects: &dyn Objects, epoch: u64, published: &Published) -> Result<()> {
    let Published { pinned, named, condemned, .. } = published;
    if !Pinned::are_known(pinned) {
        return Ok(());
    }
    let waiting: HashSet<&str> = condemned.iter().map(|one| one.name.as_str()).collect();
    let of_dead = |name: &ObjectName| {
        let file = name.as_str().rsplit('/').next().unwrap_or_default();
        let of_log = names::log_of(name).map(|(epoch, _)| epoch);
        let of: Option<u64> = of_log.or_else(|| file.split('-').next()?.parse().ok());
        of.is_some_and(|of| of < epoch)
    };
    for folder in [names::LOG, names::ROOTS, names::LISTS, names::DATA, names::ICE, names::CHECKPOINTS] {
        for listed in objects.list(folder)? {
            let name = &listed.name;
            if of_dead(name) && !named.contains(name) && !waiting.contains(name.as_str()) {
                objects.delete(name)?;
            }
        }
    }
    Ok(())
}
