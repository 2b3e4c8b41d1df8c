//! A directory as a bucket: `file:///…`.
//!
//! Guarantees: an object is whole and durable before it has its name, a create is one step of the kernel (a hard link,
//! which fails if the name is taken), and the folder is synced before a write, a delete or a list returns, so that
//! nothing that was seen in a list is lost with the power. Any number of processes of one machine may use the
//! directory at once. What a crash leaves of unfinished writes has names that no object can have; it is never listed,
//! and is removed when the directory is opened an hour later or more.
//!
//! It is not for directories that several machines mount: NFS and SMB show each machine what it cached, and are
//! refused. Unlike in a cloud, an object cannot have the name of a folder that holds others.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use firn_storage::error::Result;
use firn_storage::objects::{Creation, Listed, ObjectName, Objects, check_folder, damaged, ends_early};
use parking_lot::Mutex;

use failure::{LINKING, failed, is_absent, poisoned};
use folder::{create_root, create_synced, entries, refuse_remote, sweep};
use temporary::Temporary;

mod failure;
mod folder;
mod temporary;

/// A directory of objects.
#[derive(Debug)]
pub struct Local {
    root: PathBuf,
    /// Folders that this process made durable.
    durable: Mutex<HashSet<String>>,
    /// Whether a folder could not be synced: what the disk holds is then unknown.
    poisoned: AtomicBool,
}

impl Local {
    /// Opens the directory `root`, creating it if need be, and removes what crashes left there.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        create_root(&root)?;
        refuse_remote(&root)?;
        sweep(&root)?;
        Ok(Self { root, durable: Mutex::default(), poisoned: AtomicBool::new(false) })
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }

    /// Writes `bytes` to a file beside the future object `name`, durably.
    fn stage(&self, name: &ObjectName, bytes: &[u8]) -> Result<Temporary> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(poisoned(name.as_str(), "an earlier sync of a folder failed"));
        }
        let folder = self.path(name.folder());
        if !self.durable.lock().contains(name.folder()) {
            create_synced(&self.root, name.folder())
                .map_err(|error| failed(name.as_str(), "create the folder of", &error))?;
            self.durable.lock().insert(name.folder().to_owned());
        }
        let staged = Temporary::write(&folder, bytes).inspect_err(|_| {
            // If somebody removed the folder, the next write creates it again.
            self.durable.lock().remove(name.folder());
        });
        staged.map_err(|error| failed(name.as_str(), "write", &error))
    }

    /// Makes the names in `folder` durable, if there is such a folder.
    fn sync(&self, folder: &str) -> Result<()> {
        let shown = if folder.is_empty() { "the bucket" } else { folder };
        let directory = match File::open(self.path(folder)) {
            Ok(directory) => directory,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(failed(shown, "sync", &error)),
        };
        directory.sync_all().map_err(|error| {
            // The kernel may have dropped what it could not write: a second try that succeeds proves nothing.
            self.poisoned.store(true, Ordering::Release);
            poisoned(shown, &error.to_string())
        })
    }

    /// The open file of `name` and what is known of it; none if there is no such object.
    fn open_file(&self, name: &ObjectName) -> Result<Option<(File, Metadata)>> {
        let opened = File::open(self.path(name.as_str()));
        let opened = opened.and_then(|file| file.metadata().map(|metadata| (file, metadata)));
        match opened {
            Ok((file, metadata)) if metadata.is_file() => Ok(Some((file, metadata))),
            // A folder is no object.
            Ok(_) => Ok(None),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(failed(name.as_str(), "open", &error)),
        }
    }

    /// The objects and folders in `folder`.
    fn list_one(&self, folder: &str, found: &mut Vec<Listed>, folders: &mut Vec<String>) -> Result<()> {
        let listing = |error: &io::Error| failed(if folder.is_empty() { "the bucket" } else { folder }, "list", error);
        for entry in entries(&self.path(folder)).map_err(|error| listing(&error))? {
            // A name that is not UTF-8 is not one of ours.
            let Ok(part) = entry.file_name().into_string() else { continue };
            let path = if folder.is_empty() { part } else { format!("{folder}/{part}") };
            let Ok(name) = ObjectName::new(path) else { continue };
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => found.push(Listed { name, length: metadata.len() }),
                Ok(metadata) if metadata.is_dir() => folders.push(name.as_str().to_owned()),
                Ok(_) => {}
                // It was deleted since its folder was read.
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(listing(&error)),
            }
        }
        Ok(())
    }
}

impl Objects for Local {
    fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Creation> {
        let staged = self.stage(name, &bytes)?;
        let path = self.path(name.as_str());
        let creation = match std::fs::hard_link(staged.path(), &path) {
            Ok(()) => Creation::Created,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !path.is_dir() => Creation::Found,
            Err(error) => return Err(failed(name.as_str(), LINKING, &error)),
        };
        drop(staged);
        // Also what another process created may not be durable yet, and whoever is told of it builds on it.
        self.sync(name.folder())?;
        Ok(creation)
    }

    fn put(&self, name: &ObjectName, bytes: Bytes) -> Result<()> {
        let staged = self.stage(name, &bytes)?;
        let renamed = staged.rename(&self.path(name.as_str()));
        renamed.map_err(|error| failed(name.as_str(), "write", &error))?;
        self.sync(name.folder())
    }

    fn get(&self, name: &ObjectName) -> Result<Option<Bytes>> {
        let Some((mut file, metadata)) = self.open_file(name)? else { return Ok(None) };
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(|error| failed(name.as_str(), "read", &error))?;
        if content.len() as u64 != metadata.len() {
            return Err(damaged(name, format!("{} bytes of {} were read", content.len(), metadata.len())));
        }
        Ok(Some(content.into()))
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Option<Bytes>> {
        assert!(range.start < range.end, "an empty range of {name} is read");
        let Some((file, metadata)) = self.open_file(name)? else { return Ok(None) };
        if range.end > metadata.len() {
            return Err(ends_early(name, &range, metadata.len()));
        }
        // A file that long was written through memory.
        let mut content = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut content, range.start).map_err(|error| failed(name.as_str(), "read", &error))?;
        Ok(Some(content.into()))
    }

    fn length(&self, name: &ObjectName) -> Result<Option<u64>> {
        Ok(self.open_file(name)?.map(|(_, metadata)| metadata.len()))
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        check_folder(folder)?;
        let (mut found, mut left) = (Vec::new(), vec![folder.to_owned()]);
        while let Some(folder) = left.pop() {
            self.list_one(&folder, &mut found, &mut left)?;
            self.sync(&folder)?;
        }
        found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        match std::fs::remove_file(self.path(name.as_str())) {
            Err(error) if !is_absent(&error) => return Err(failed(name.as_str(), "delete", &error)),
            // The delete of a process that crashed may not be durable yet.
            _ => {}
        }
        self.sync(name.folder())
    }
}
