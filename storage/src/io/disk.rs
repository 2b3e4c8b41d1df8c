//! The real directory.
//!
//! Guarantees: one process at a time (an exclusive lock on the file `lock`), a directory in which no other user may
//! write (made with mode 0700), files of mode 0600, created only where there is none, names made durable by syncing their directory. A failed
//! fsync is [`Kind::Poisoned`]: the kernel may have dropped the pages that it could not write, so a second try that
//! succeeds proves nothing. A full disk or too many open files is [`Kind::Exhausted`], anything else [`Kind::Io`];
//! every message names the file.

#![expect(clippy::disallowed_methods, reason = "this is the door to files")]

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use arrow_buffer::Buffer;
use bytes::Bytes;

use super::failure::{failed, poisoned};
use super::map::{Maps, check_length, heap_buffer};
use super::region::Region;
use super::sparse::{SparseFile, View};
use super::{Access, Append, Files, Sparse};
use crate::error::{Error, Kind, Result};

#[cfg(test)]
mod tests;

/// The name of the lock file in the data directory.
const LOCK: &str = "lock";

/// Mode of the directories that we create: the owner's alone.
const DIRECTORY_MODE: u32 = 0o700;

/// Mode of the files that we create: the owner's alone.
const FILE_MODE: u32 = 0o600;

/// Filesystems over a network or a user process, by the magic numbers of `statfs`: a lost server turns a page fault
/// into a killed process, so their files are read to the heap.
const REMOTE_FILESYSTEMS: [(u64, &str); 6] = [
    (0x6969, "NFS"),
    (0x6573_5546, "FUSE"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "CephFS"),
];

/// A directory of the operating system, held by this process alone until it is dropped.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    map: bool,
    maps: Maps,
    /// Held for its lock.
    _lock: File,
}

impl Disk {
    /// Opens the data directory `root`, creating it if need be. With `map`, published files are memory-mapped, at
    /// most `maps_max` at a time; without, they are read to the heap.
    pub fn open(root: impl Into<PathBuf>, map: bool, maps_max: u64) -> Result<Self> {
        let root = root.into();
        create_root(&root)?;
        check_root(&root)?;
        let lock = lock(&root)?;
        let map = map && !is_remote(&root);
        Ok(Self { root, map, maps: Maps::new(maps_max), _lock: lock })
    }

    /// The path of `name`.
    fn path(&self, name: &str) -> PathBuf {
        let inside = name.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        assert!(name.is_empty() || inside, "file names are relative to the data directory: {name:?}");
        self.root.join(name)
    }

    /// Opens `name` for reading.
    fn open_file(&self, name: &str) -> Result<File> {
        File::open(self.path(name)).map_err(|error| failed(name, "open", &error))
    }
}

impl Files for Disk {
    fn create(&self, name: &str) -> Result<Box<dyn Append>> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(self.path(name))
            .map_err(|error| failed(name, "create", &error))?;
        Ok(Box::new(DiskAppend { file, name: name.to_owned(), poisoned: false }))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        self.open_file(name)?.read_to_end(&mut content).map_err(|error| failed(name, "read", &error))?;
        Ok(content)
    }

    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<()> {
        self.open_file(name)?.read_exact_at(into, offset).map_err(|error| failed(name, "read", &error))
    }

    fn map(&self, name: &str, length: u64, access: Access) -> Result<Bytes> {
        let mut file = self.open_file(name)?;
        if self.map {
            return self.maps.map(&file, name, length, access);
        }
        let actual = file.metadata().map_err(|error| failed(name, "read the length of", &error))?.len();
        check_length(name, length, actual)?;
        let mut buffer = heap_buffer(name, length)?;
        file.read_exact(buffer.as_slice_mut()).map_err(|error| failed(name, "read", &error))?;
        self.maps.hold(name, Buffer::from(buffer))
    }

    fn length(&self, name: &str) -> Result<u64> {
        let metadata = std::fs::metadata(self.path(name));
        Ok(metadata.map_err(|error| failed(name, "read the length of", &error))?.len())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let renamed = std::fs::rename(self.path(from), self.path(to));
        renamed.map_err(|error| failed(from, &format!("rename to {to} the file"), &error))
    }

    fn remove(&self, name: &str) -> Result<()> {
        std::fs::remove_file(self.path(name)).map_err(|error| failed(name, "remove", &error))
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.path(directory)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(directory, "list", &error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| failed(directory, "list", &error))?;
            let kind = entry.file_type().map_err(|error| failed(directory, "list", &error))?;
            // A name that is not UTF-8 is not one of ours.
            if let (true, Ok(name)) = (kind.is_file(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_directory(&self, directory: &str) -> Result<()> {
        let mut path = self.path("");
        for part in directory.split('/').filter(|part| !part.is_empty()) {
            let parent = path.clone();
            path = path.join(part);
            // The parent is synced even if the directory is there: a crash may have come between the two steps.
            create_one(&path).map_err(|error| failed(directory, "create the directory", &error))?;
            sync_path(&path).and_then(|()| sync_path(&parent))?;
        }
        Ok(())
    }

    fn sync_directory(&self, directory: &str) -> Result<()> {
        sync_path(&self.path(directory))
    }

    fn maps_open(&self) -> u64 {
        self.maps.open()
    }

    fn create_sparse(&self, name: &str, length: u64) -> Result<Box<dyn Sparse>> {
        let mut options = OpenOptions::new();
        let created = options.read(true).write(true).create_new(true).mode(FILE_MODE).open(self.path(name));
        let file = created.map_err(|error| failed(name, "create", &error))?;
        file.set_len(length).map_err(|error| failed(name, "lengthen", &error))?;
        let view = match self.map {
            true => View::Mapped(self.maps.map(&file, name, length, Access::Ordered)?),
            false => View::Copied(Region::new(length)?),
        };
        Ok(Box::new(SparseFile { file, name: name.to_owned(), view, poisoned: AtomicBool::new(false) }))
    }
}

/// A file of [`Disk`] that is being written.
#[derive(Debug)]
struct DiskAppend {
    file: File,
    name: String,
    poisoned: bool,
}

impl Append for DiskAppend {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.poisoned {
            return Err(poisoned(&self.name, "an earlier fsync failed"));
        }
        self.file.write_all(bytes).map_err(|error| failed(&self.name, "write", &error))
    }

    fn sync(&mut self) -> Result<()> {
        if self.poisoned {
            return Err(poisoned(&self.name, "an earlier fsync failed"));
        }
        self.file.sync_data().map_err(|error| {
            self.poisoned = true;
            poisoned(&self.name, &error.to_string())
        })
    }
}

/// Creates the data directory and its missing parents, each synced into its parent.
fn create_root(root: &Path) -> Result<()> {
    let name = root.display().to_string();
    let mut absent = Vec::new();
    for path in root.ancestors() {
        if path.as_os_str().is_empty() || path.exists() {
            break;
        }
        absent.push(path);
    }
    for path in absent.into_iter().rev() {
        create_one(path).map_err(|error| failed(&name, "create the directory", &error))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_path(path).and_then(|()| sync_path(parent))?;
    }
    Ok(())
}

/// Refuses a data directory in which others may write, for they could put another database there, and warns of one that
/// they may look into: its files are the owner's alone, but not their names.
fn check_root(root: &Path) -> Result<()> {
    let name = root.display().to_string();
    let mode = std::fs::metadata(root).map_err(|error| failed(&name, "look at", &error))?.permissions().mode();
    let shown = format!("the data directory {name} has mode {:04o}", mode & 0o7777);
    if mode & 0o022 != 0 {
        let message = format!("{shown}: other users may write in it; close it to them with `chmod 700 {name}`");
        return Err(Error::new(Kind::Precondition, message));
    }
    if mode & 0o055 != 0 {
        tracing::warn!("{shown}: other users may look into it; close it to them with `chmod 700 {name}`");
    }
    Ok(())
}

/// Creates the directory `path` unless it is there.
fn create_one(path: &Path) -> std::io::Result<()> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}

/// Makes the names in the directory at `path` durable.
fn sync_path(path: &Path) -> Result<()> {
    let name = path.display().to_string();
    let directory = File::open(path).map_err(|error| failed(&name, "open the directory", &error))?;
    directory.sync_all().map_err(|error| poisoned(&name, &error.to_string()))
}

/// Takes the data directory for this process alone. The kernel drops the lock with the process, however it ends.
fn lock(root: &Path) -> Result<File> {
    let path = root.join(LOCK);
    let name = path.display().to_string();
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(&path);
    let mut file = file.map_err(|error| failed(&name, "open", &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(locked(root, &mut file)),
        Err(TryLockError::Error(error)) => return Err(failed(&name, "lock", &error)),
    }
    // The process id is there for the error message of the next one; the lock does not depend on it.
    let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    written.map_err(|error| failed(&name, "write", &error))?;
    Ok(file)
}

/// The error for a data directory that another process holds.
fn locked(root: &Path, lock: &mut File) -> Error {
    let mut holder = String::new();
    // Without a readable process id the message just says less.
    let _ = lock.take(32).read_to_string(&mut holder);
    let holder = holder.trim();
    let process = if holder.is_empty() { String::new() } else { format!(" (process {holder})") };
    let root = root.display();
    let message = format!("the data directory {root} is open in another FirnDB{process}; stop that one first");
    Error::new(Kind::Unavailable, message)
}

/// Whether `root` lies on a filesystem whose maps can kill the process; says so in the log.
fn is_remote(root: &Path) -> bool {
    let Ok(statistics) = rustix::fs::statfs(root) else { return false };
    // The magic number is a word whose sign and width differ between platforms; all known ones fit 32 bits.
    let magic = statistics.f_type as u64 & 0xffff_ffff;
    let Some((_, name)) = REMOTE_FILESYSTEMS.iter().find(|(known, _)| *known == magic) else { return false };
    tracing::warn!(root = %root.display(), filesystem = name, "files are read to the heap, not mapped");
    true
}
