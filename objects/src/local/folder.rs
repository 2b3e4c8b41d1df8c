//! The folders of a directory of objects: created durably, walked, swept.
//!
//! Folders are created when an object needs them and never removed: to remove one that another process is about to
//! write to would fail that write. Links are not followed.

use std::fs::{DirBuilder, DirEntry, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use firn_storage::error::{Error, Kind, Result};
use firn_storage::objects::ObjectName;

use super::failure::is_absent;
use super::temporary::is_temporary;

/// Mode of the directories that we create: the owner's alone.
const DIRECTORY_MODE: u32 = 0o700;

/// How old a temporary file is at least before it is taken for a leftover: no write takes that long.
const LEFTOVER_AGE_MIN: Duration = Duration::from_secs(3600);

/// Filesystems that show each machine what it cached, by the magic numbers of `statfs`.
const CACHING_FILESYSTEMS: [(u64, &str); 3] = [(0x6969, "NFS"), (0xff53_4d42, "CIFS"), (0xfe53_4d42, "SMB2")];

/// Creates the directory of the bucket and its missing parents, each synced into its parent.
pub(super) fn create_root(root: &Path) -> Result<()> {
    let failed =
        |error: &io::Error| Error::io(&root.display().to_string(), "create the directory of the bucket", error);
    let mut absent = Vec::new();
    for path in root.ancestors() {
        if path.as_os_str().is_empty() || path.exists() {
            break;
        }
        absent.push(path);
    }
    for path in absent.into_iter().rev() {
        create_one(path).map_err(|error| failed(&error))?;
    }
    if !root.is_dir() {
        return Err(Error::invalid(format!("the bucket {} is no directory", root.display())));
    }
    Ok(())
}

/// Creates `folder` of `root` and its parents, durably.
pub(super) fn create_synced(root: &Path, folder: &str) -> io::Result<()> {
    let mut path = root.to_path_buf();
    for part in folder.split('/').filter(|part| !part.is_empty()) {
        path = path.join(part);
        create_one(&path)?;
    }
    Ok(())
}

/// Creates the directory `path` unless it is there, and makes its name durable, which that of a directory that another
/// process just created may not be.
fn create_one(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other?,
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(path)?.sync_all()?;
    File::open(parent)?.sync_all()
}

/// Refuses a directory on a filesystem whose reads may be old.
pub(super) fn refuse_remote(root: &Path) -> Result<()> {
    let Ok(statistics) = rustix::fs::statfs(root) else { return Ok(()) };
    // The magic number is a word whose sign and width differ between platforms; all known ones fit 32 bits.
    let magic = statistics.f_type as u64 & 0xffff_ffff;
    let Some((_, name)) = CACHING_FILESYSTEMS.iter().find(|(known, _)| *known == magic) else { return Ok(()) };
    let message = format!(
        "the bucket {} lies on {name}, where one machine may not see what another wrote: two servers would both \
         believe that it is theirs; use a directory of this machine, or an object store",
        root.display()
    );
    Err(Error::new(Kind::Unsupported, message))
}

/// What is in the directory `path`; nothing if there is none.
pub(super) fn entries(path: &Path) -> io::Result<Vec<DirEntry>> {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.collect(),
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Removes what crashes left of unfinished writes in `root`, at any depth.
pub(super) fn sweep(root: &Path) -> Result<()> {
    let now = SystemTime::now();
    let mut left = vec![root.to_path_buf()];
    while let Some(path) = left.pop() {
        let failed = |error: &io::Error| Error::io(&path.display().to_string(), "sweep", error);
        for entry in entries(&path).map_err(|error| failed(&error))? {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Ok(metadata) = entry.metadata() else { continue };
            // A directory that begins with a dot, or with another name that no object has, is not ours.
            if metadata.is_dir() && ObjectName::new(name.as_str()).is_ok() {
                left.push(entry.path());
            }
            let age = metadata.modified().ok().and_then(|modified| now.duration_since(modified).ok());
            if metadata.is_file() && is_temporary(&name) && age.is_some_and(|age| age >= LEFTOVER_AGE_MIN) {
                match std::fs::remove_file(entry.path()) {
                    Err(error) if !is_absent(&error) => return Err(failed(&error)),
                    // Another process that opened the bucket may have been first.
                    _ => tracing::info!(file = %entry.path().display(), "removed what a crash left of a write"),
                }
            }
        }
    }
    Ok(())
}
