//! Editing the manifest, in one place, with the files that an edit adds and those that it lets go.
//!
//! The files that an edit adds are [`Outputs`]: they are written first, and remove themselves if the edit is never
//! tried. The edit makes the manifest durable, and only then is anything removed that it no longer names: the inputs
//! of a merge, an older pack, all that belongs to a dropped table. What the outputs were for may be shown once
//! [`Engine::edit_manifest`] has returned, and nothing may fail between: open files before.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::annex::AnnexMeta;
use crate::engine::Engine;
use crate::erase::Erasures;
use crate::error::Result;
use crate::home::ice_name;
use crate::manifest::{EntityManifest, ManifestState, NamedFile};
use crate::objects::ObjectName;
use crate::versions;
use crate::view::EntityState;

/// Files that are written for one edit of the manifest. Dropped before the edit is tried, they are removed.
#[derive(Debug)]
pub(crate) struct Outputs<'a> {
    engine: &'a Engine,
    files: Mutex<Vec<NamedFile>>,
}

impl Outputs<'_> {
    /// A number for a file of `kind` that will be written. The file is one of these from now on, so that none is
    /// forgotten however its writing ends.
    pub(crate) fn number(&self, kind: fn(u64) -> NamedFile) -> u64 {
        let number = self.engine.take_number();
        self.files.lock().push(kind(number));
        number
    }

    fn take(&self) -> Vec<NamedFile> {
        std::mem::take(&mut self.files.lock())
    }
}

impl Drop for Outputs<'_> {
    fn drop(&mut self) {
        let written = self.take();
        if !written.is_empty() {
            self.engine.retired.discard(&written);
        }
    }
}

/// What was erased of an entity, written if the manifest does not have it.
#[derive(Debug)]
pub(crate) struct WrittenErasures {
    erasures: Arc<Erasures>,
    /// The file, if there is a new one.
    file: Option<AnnexMeta>,
}

impl WrittenErasures {
    /// Writes the erasures of `entity`. The caller holds the flush lock, so that the newest are listed last.
    pub(crate) fn new(outputs: &Outputs<'_>, entity: &EntityState) -> Result<Self> {
        let erasures = entity.erasures.load_full();
        let is_listed = Arc::ptr_eq(&erasures, &entity.listed_erasures.load());
        let write = || erasures.write(&outputs.engine.files, outputs.number(NamedFile::Erasures));
        let file = (!is_listed).then(write).transpose()?;
        Ok(Self { erasures, file })
    }

    /// Lists them in the manifest.
    pub(crate) fn list(&self, kept: &mut EntityManifest) {
        kept.erasures = self.file.or(kept.erasures);
    }

    /// Remembers that the manifest has them.
    pub(crate) fn listed(self, entity: &EntityState) {
        entity.listed_erasures.store(self.erasures);
    }
}

/// The ice that `before` names and `after` does not.
fn ice_let_go(before: &ManifestState, after: &ManifestState) -> Vec<ObjectName> {
    let kept: HashSet<(u64, u64)> = after.ice().map(|(_, ice)| (ice.epoch, ice.number)).collect();
    let gone = before.ice().filter(|(_, ice)| !kept.contains(&(ice.epoch, ice.number)));
    gone.map(|(table, ice)| ice_name(table, ice)).collect()
}

impl Engine {
    /// Where the files of an edit are put down as they are written.
    pub(crate) fn outputs(&self) -> Outputs<'_> {
        Outputs { engine: self, files: Mutex::default() }
    }

    /// Makes what `change` makes of the manifest durable, then removes every file that it no longer names. Tables and
    /// entities that were dropped leave it with each edit, so that `change` cannot list them again. After an error the
    /// manifest is in memory what it was before.
    pub(crate) fn edit_manifest(&self, outputs: Outputs<'_>, change: impl FnOnce(&mut ManifestState)) -> Result<()> {
        self.poison.check()?;
        let mut manifest = self.manifest.lock();
        let mut state = ManifestState::clone(&manifest.state);
        change(&mut state);
        self.complete(&mut state, &outputs)?;
        let (before, named) = (manifest.state.files(), state.files());
        let ice = self.home.as_ref().map(|home| (home, ice_let_go(&manifest.state, &state)));
        if let Err(unwritten) = manifest.write(state) {
            if unwritten.may_be_there {
                self.retired.keep_until_durable(&outputs.take());
            }
            return Err(unwritten.error);
        }
        self.groups_most.store(manifest.state.groups_most(), Ordering::Relaxed);
        self.listed.store(Arc::clone(&manifest.state));
        // What an earlier failed edit left is known to be nobody's only while no later one can fail.
        let unsure = self.retired.take_unsure();
        drop(manifest);
        if let Some((home, ice)) = ice {
            home.let_go(ice);
        }
        let unlisted = outputs.take().into_iter().filter(|file| !named.contains(file));
        self.retired.remove(unsure.into_iter().chain(unlisted).chain(before.difference(&named).copied()));
        Ok(())
    }

    /// Fills in what every manifest says beside its change: what only the log and memory knew until now.
    fn complete(&self, state: &mut ManifestState, outputs: &Outputs<'_>) -> Result<()> {
        // A version that is staged but not yet durable waits for the next manifest.
        let published = self.published.sequence();
        let versions = self.versions.load();
        let known = state.versions.last().map_or(0, |entry| entry.schema_version);
        state.versions.extend(versions.after(known).take_while(|entry| entry.sequence <= published).cloned());
        if versions::is_heavy(&state.versions) {
            let number = outputs.number(NamedFile::Versions);
            versions::put_aside(&self.files, &versions, (&mut state.version_files, &mut state.versions), number)?;
        }
        state.next_number = self.next_number.load(Ordering::SeqCst);
        let registry = self.registry.load();
        state.tables.retain(|id, _| registry.tables.contains_key(id));
        state.entities.retain(|id, _| registry.entities.contains_key(id));
        state.wal_first = self.log_files.lock().first_needed(state, &|subject| self.exists(subject));
        Ok(())
    }

    /// Removes the files of the log that nothing needs any more, as the manifest says.
    pub(crate) fn remove_log_files(&self) -> Result<()> {
        let listed = self.listed.load_full();
        // What the bucket may lack stays.
        let first = self.home.as_ref().map_or(listed.wal_first, |home| listed.wal_first.min(home.first_file_missing()));
        // Held until they are gone: of two who look at once one would not find what the other removes.
        let mut log_files = self.log_files.lock();
        log_files.forget_before(first, &listed, &|subject| self.exists(subject));
        crate::wal::remove_before(&self.files, first)
    }

    /// The entities with erases that the log alone holds.
    pub(crate) fn unlisted_erases(&self) -> Vec<Arc<EntityState>> {
        let entities = self.log_files.lock().entities(&self.listed.load(), &|subject| self.exists(subject));
        entities.into_iter().filter_map(|id| self.entity(id)).collect()
    }

    /// [`Engine::forget_dropped`] after what dropped them is done: if files cannot go now, they go with the next edit.
    pub(crate) fn try_forget_dropped(&self) {
        if let Err(error) = self.forget_dropped() {
            tracing::warn!(%error, "files of what was dropped are still there");
        }
    }

    /// Lets the files of dropped tables and entities go, if the manifest still names any.
    pub(crate) fn forget_dropped(&self) -> Result<()> {
        let registry = self.registry.load_full();
        let listed = self.listed.load();
        let is_left = !listed.tables.keys().all(|id| registry.tables.contains_key(id))
            || !listed.entities.keys().all(|id| registry.entities.contains_key(id));
        if is_left { self.edit_manifest(self.outputs(), |_| {}) } else { Ok(()) }
    }
}
