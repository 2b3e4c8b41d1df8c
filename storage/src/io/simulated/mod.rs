//! A disk in memory that keeps what a crash would keep and fails the calls that a test names.
//!
//! It is stricter than a real one. Bytes are pending until their file is synced, names until their directory is
//! synced, and [`Simulated::crash`] keeps of both only what the worst disk would. It panics where the engine breaks
//! the write-once contract: renaming a file that is not synced, mapping a file that is still open for appending,
//! writing through a handle whose sync failed. Clones share one disk. It is not fast, and nothing but tests uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::failure::{failed, missing};
use super::map::{Maps, check_length, heap_buffer};
use super::{Access, Append, Files, Sparse, directory_of};
use crate::error::{Error, Kind, Result};

mod crash;
mod sparse;
#[cfg(test)]
mod tests;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full; an append leaves the first half of its bytes.
    NoSpace,
    /// The device refuses.
    Io,
    /// No more files can be opened.
    TooManyFiles,
    /// On a sync: the pending bytes are gone, though they can be read until they leave the cache. Elsewhere as `Io`.
    SyncLost,
}

/// A disk in memory.
#[derive(Debug, Clone)]
pub struct Simulated {
    disk: Arc<Mutex<Disk>>,
    maps: Arc<Maps>,
    watch: Arc<Mutex<Option<Watch>>>,
}

/// What a test does at each call, on the thread that makes it: it is told the file and what is done to it.
#[derive(Clone)]
struct Watch(Arc<dyn Fn(&str, &str) + Send + Sync>);

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

/// What is on the disk, and what is on its way there.
#[derive(Debug, Default)]
struct Disk {
    /// The names as running processes see them.
    names: BTreeMap<String, Shared>,
    /// The names as they are after a crash, before any pending change.
    durable: BTreeMap<String, Shared>,
    /// Changes of names since their directory was synced, in order.
    pending: Vec<Change>,
    /// Directories; always durable.
    directories: BTreeSet<String>,
    /// Calls so far.
    calls: u64,
    /// The calls that will fail.
    plan: Option<PlannedFault>,
    /// Folders in which no file can be created.
    full: BTreeSet<String>,
}

/// The content of a file, under all its names.
type Shared = Arc<Mutex<Content>>;

/// The bytes of one file.
#[derive(Debug, Default, Clone)]
struct Content {
    bytes: Vec<u8>,
    /// Bytes up to here were synced, except for those that were lost.
    synced: usize,
    /// Bytes that a failed sync dropped.
    lost: Vec<Range<usize>>,
    /// Whether its writer is still open.
    appending: bool,
}

/// A change of names in one directory.
#[derive(Debug, Clone)]
struct Change {
    directory: String,
    /// The name that goes away.
    unlinked: Option<String>,
    /// The name that comes, with its file.
    linked: Option<(String, Shared)>,
}

/// Which calls fail, and how.
#[derive(Debug, Clone, Copy)]
struct PlannedFault {
    call: u64,
    fault: Fault,
    sticky: bool,
}

impl Default for Simulated {
    fn default() -> Self {
        Self::new()
    }
}

impl Simulated {
    /// An empty disk.
    pub fn new() -> Self {
        Self::of(Disk::default())
    }

    fn of(disk: Disk) -> Self {
        Self { disk: Arc::new(Mutex::new(disk)), maps: Arc::new(Maps::new(u64::MAX)), watch: Arc::default() }
    }

    /// How many file calls there were.
    pub fn calls(&self) -> u64 {
        self.disk.lock().calls
    }

    /// Lets the `call`-th file call from now (the next one is 1) fail.
    pub fn fail_call(&self, call: u64, fault: Fault) {
        self.plan(call, fault, false);
    }

    /// Lets all file calls fail from the `call`-th from now on, until [`Simulated::heal`].
    pub fn fail_from(&self, call: u64, fault: Fault) {
        self.plan(call, fault, true);
    }

    fn plan(&self, call: u64, fault: Fault, sticky: bool) {
        assert!(call > 0, "the next call is call 1");
        let mut disk = self.disk.lock();
        disk.plan = Some(PlannedFault { call: disk.calls + call, fault, sticky });
    }

    /// Lets every file that is created in `directory` fail as on a full disk, until [`Simulated::heal`].
    pub fn fill(&self, directory: &str) {
        self.disk.lock().full.insert(directory.to_owned());
    }

    /// Calls `watch` before each call but those of directories, with that name and what is done, until [`Simulated::heal`]. It
    /// may use the database, or panic.
    pub fn watch(&self, watch: impl Fn(&str, &str) + Send + Sync + 'static) {
        *self.watch.lock() = Some(Watch(Arc::new(watch)));
    }

    /// No call fails from now on.
    pub fn heal(&self) {
        *self.watch.lock() = None;
        let mut disk = self.disk.lock();
        disk.plan = None;
        disk.full.clear();
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.disk.lock().names.keys().cloned().collect()
    }

    /// The content of `name`, without counting as a call.
    pub fn content(&self, name: &str) -> Vec<u8> {
        self.existing(name).lock().bytes.clone()
    }

    /// Flips one bit of the byte at `offset` of `name`.
    pub fn flip(&self, name: &str, offset: usize) {
        self.existing(name).lock().bytes[offset] ^= 1 << (offset % 8);
    }

    /// Cuts `name` to `length` bytes.
    pub fn truncate(&self, name: &str, length: usize) {
        let file = self.existing(name);
        let mut content = file.lock();
        assert!(length <= content.bytes.len(), "{name} is shorter than {length}");
        content.bytes.truncate(length);
        content.synced = content.synced.min(length);
    }

    /// Puts a durable file there, as an operator or another program might.
    pub fn plant(&self, name: &str, bytes: &[u8]) {
        let content = Content { bytes: bytes.to_vec(), synced: bytes.len(), ..Content::default() };
        let file = Arc::new(Mutex::new(content));
        let mut disk = self.disk.lock();
        disk.names.insert(name.to_owned(), Arc::clone(&file));
        disk.durable.insert(name.to_owned(), file);
    }

    fn existing(&self, name: &str) -> Shared {
        Arc::clone(self.disk.lock().names.get(name).unwrap_or_else(|| panic!("{name} does not exist")))
    }

    /// Counts a call; the fault that the plan has for it, if any.
    fn enter(&self) -> (MutexGuard<'_, Disk>, Option<Fault>) {
        let mut disk = self.disk.lock();
        disk.calls += 1;
        let now = disk.calls;
        let due = disk.plan.filter(|plan| if plan.sticky { plan.call <= now } else { plan.call == now });
        (disk, due.map(|plan| plan.fault))
    }

    /// Tells the watch of a call.
    fn tell(&self, name: &str, doing: &str) {
        let watch = self.watch.lock().clone();
        if let Some(Watch(watch)) = watch {
            watch(name, doing);
        }
    }

    /// Counts a call that fails as planned.
    fn call(&self, name: &str, doing: &str) -> Result<MutexGuard<'_, Disk>> {
        self.tell(name, doing);
        let (disk, fault) = self.enter();
        match fault {
            None => Ok(disk),
            Some(fault) => Err(fault.error(name, doing)),
        }
    }
}

impl Fault {
    /// The error of a call that fails so, the same as the real disk's.
    fn error(self, name: &str, doing: &str) -> Error {
        let code = match self {
            Fault::NoSpace => libc::ENOSPC,
            Fault::TooManyFiles => libc::EMFILE,
            Fault::Io | Fault::SyncLost => libc::EIO,
        };
        failed(name, doing, &std::io::Error::from_raw_os_error(code))
    }
}

impl Disk {
    fn file(&self, name: &str) -> Result<&Shared> {
        self.names.get(name).ok_or_else(|| missing(name))
    }

    /// Changes names now, and on the disk once the directory is synced.
    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, Shared>) {
        if let Some(name) = &self.unlinked {
            names.remove(name);
        }
        if let Some((name, file)) = &self.linked {
            names.insert(name.clone(), Arc::clone(file));
        }
    }
}

impl Simulated {
    fn create_writer(&self, name: &str) -> Result<Writer> {
        let mut disk = self.call(name, "create")?;
        let directory = directory_of(name).to_owned();
        if !directory.is_empty() && !disk.directories.contains(&directory) {
            return Err(missing(&directory));
        }
        if disk.full.contains(&directory) {
            return Err(Fault::NoSpace.error(name, "create"));
        }
        if disk.names.contains_key(name) {
            return Err(Error::new(Kind::Io, format!("could not create {name}: it exists")));
        }
        let file = Arc::new(Mutex::new(Content { appending: true, ..Content::default() }));
        let linked = Some((name.to_owned(), Arc::clone(&file)));
        disk.change(Change { directory, unlinked: None, linked });
        Ok(Writer { disk: self.clone(), name: name.to_owned(), file, poisoned: false })
    }
}

impl Files for Simulated {
    fn create(&self, name: &str) -> Result<Box<dyn Append>> {
        Ok(Box::new(self.create_writer(name)?))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        Ok(self.call(name, "read")?.file(name)?.lock().bytes.clone())
    }

    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<()> {
        let disk = self.call(name, "read")?;
        let content = disk.file(name)?.lock();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = start.checked_add(into.len()).and_then(|end| content.bytes.get(start..end));
        let found = found.ok_or_else(|| Error::new(Kind::Io, format!("could not read {name}: it is shorter")))?;
        into.copy_from_slice(found);
        Ok(())
    }

    fn map(&self, name: &str, length: u64, _access: Access) -> Result<Bytes> {
        let disk = self.call(name, "map")?;
        let content = disk.file(name)?.lock();
        assert!(!content.appending, "{name} is mapped while it is open for appending");
        check_length(name, length, content.bytes.len() as u64)?;
        let mut buffer = heap_buffer(name, length)?;
        buffer.as_slice_mut().copy_from_slice(&content.bytes);
        self.maps.hold(name, buffer.into())
    }

    fn length(&self, name: &str) -> Result<u64> {
        Ok(self.call(name, "read the length of")?.file(name)?.lock().bytes.len() as u64)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut disk = self.call(from, "rename")?;
        let file = Arc::clone(disk.file(from)?);
        {
            let content = file.lock();
            let synced = content.synced == content.bytes.len() && content.lost.is_empty();
            assert!(synced, "{from} is renamed to {to} before it is synced");
        }
        let (source, target) = (directory_of(from).to_owned(), directory_of(to).to_owned());
        let (unlinked, linked) = (Some(from.to_owned()), Some((to.to_owned(), file)));
        if source == target {
            disk.change(Change { directory: source, unlinked, linked });
        } else {
            // Two directories are not promised to change together.
            disk.change(Change { directory: target, unlinked: None, linked });
            disk.change(Change { directory: source, unlinked, linked: None });
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        let mut disk = self.call(name, "remove")?;
        disk.file(name)?;
        let directory = directory_of(name).to_owned();
        disk.change(Change { directory, unlinked: Some(name.to_owned()), linked: None });
        Ok(())
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        let disk = self.call(directory, "list")?;
        let inside = disk.names.keys().filter(|name| directory_of(name) == directory);
        Ok(inside.map(|name| name.rsplit('/').next().unwrap_or(name).to_owned()).collect())
    }

    fn create_directory(&self, directory: &str) -> Result<()> {
        let mut disk = self.call(directory, "create the directory")?;
        let mut path = String::new();
        for part in directory.split('/').filter(|part| !part.is_empty()) {
            let separator = if path.is_empty() { "" } else { "/" };
            path = format!("{path}{separator}{part}");
            disk.directories.insert(path.clone());
        }
        Ok(())
    }

    fn sync_directory(&self, directory: &str) -> Result<()> {
        let (mut disk, fault) = self.enter();
        if fault.is_some() {
            return Err(poisoned(directory));
        }
        let Disk { pending, durable, .. } = &mut *disk;
        pending.retain(|change| {
            let here = change.directory == directory;
            if here {
                change.apply(durable);
            }
            !here
        });
        Ok(())
    }

    fn maps_open(&self) -> u64 {
        self.maps.open()
    }

    fn create_sparse(&self, name: &str, length: u64) -> Result<Box<dyn Sparse>> {
        self.create_sparse_file(name, length)
    }
}

fn poisoned(name: &str) -> Error {
    Error::new(Kind::Poisoned, format!("could not sync {name}: simulated; open the database again"))
}

/// A file that is being written.
#[derive(Debug)]
struct Writer {
    disk: Simulated,
    name: String,
    file: Shared,
    poisoned: bool,
}

impl Append for Writer {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        assert!(!self.poisoned, "{} is written after its sync failed", self.name);
        self.disk.tell(&self.name, "write");
        let (_disk, fault) = self.disk.enter();
        let mut content = self.file.lock();
        let Some(fault) = fault else {
            content.bytes.extend_from_slice(bytes);
            return Ok(());
        };
        content.bytes.extend_from_slice(&bytes[..bytes.len() / 2]);
        Err(fault.error(&self.name, "write"))
    }

    fn sync(&mut self) -> Result<()> {
        assert!(!self.poisoned, "{} is synced after its sync failed", self.name);
        self.disk.tell(&self.name, "sync");
        let (_disk, fault) = self.disk.enter();
        let mut content = self.file.lock();
        let pending = content.synced..content.bytes.len();
        content.synced = content.bytes.len();
        if fault.is_some() {
            self.poisoned = true;
            if !pending.is_empty() {
                content.lost.push(pending);
            }
            return Err(poisoned(&self.name));
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.file.lock().appending = false;
    }
}
