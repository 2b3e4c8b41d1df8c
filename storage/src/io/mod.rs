//! The one door to files.
//!
//! Everything that the engine keeps goes through [`Files`]: names are relative to the data directory, use `/`, and
//! hold only internal numbers. Files are append-only until they are synced and renamed into place, and never change
//! afterwards. [`Disk`](disk::Disk) is the real directory; [`Simulated`](simulated::Simulated) keeps what a crash
//! would keep and fails the calls that a test names.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;

pub(crate) mod coming;
pub mod disk;
mod failure;
mod map;
pub(crate) mod region;
pub mod simulated;
mod sparse;
pub(crate) mod under;

/// How the content of a mapped file will be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// What lies behind is likely to be read next.
    Ordered,
    /// Here and there: what lies around would only drive out what is needed.
    Random,
}

/// A directory of write-once files.
pub trait Files: Send + Sync + Debug {
    /// Creates `name`, which must not exist, for appending.
    fn create(&self, name: &str) -> Result<Box<dyn Append>>;
    /// The whole content of `name`, on the heap.
    fn read(&self, name: &str) -> Result<Vec<u8>>;
    /// The content of `name` by position, for readers larger than memory (the WAL, `verify`): bytes
    /// `offset .. offset + into.len()`, or an error if the file is shorter.
    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<()>;
    /// The content of the published file `name`, memory-mapped, or on the heap if the door was opened without maps.
    /// The file must have exactly `length` bytes. The start is aligned to at least 64 bytes.
    fn map(&self, name: &str, length: u64, access: Access) -> Result<Bytes>;
    /// The length of `name` in bytes.
    fn length(&self, name: &str) -> Result<u64>;
    /// Renames `from` to `to`, replacing it. Durable after [`Files::sync_directory`].
    fn rename(&self, from: &str, to: &str) -> Result<()>;
    /// Removes `name`. Readers that hold a map keep it.
    fn remove(&self, name: &str) -> Result<()>;
    /// The names of the files in `directory` (not the paths, not its directories), sorted; empty if there is no such
    /// directory.
    fn list(&self, directory: &str) -> Result<Vec<String>>;
    /// Creates `directory` and its parents, durably.
    fn create_directory(&self, directory: &str) -> Result<()>;
    /// Makes the names in `directory` durable.
    fn sync_directory(&self, directory: &str) -> Result<()>;
    /// How many maps are open now.
    fn maps_open(&self) -> u64;
    /// Creates `name`, which must not exist, of `length` bytes that come in any order.
    fn create_sparse(&self, name: &str, length: u64) -> Result<Box<dyn Sparse>>;
    /// The file `name`, if not all of its bytes are here yet: who maps it waits for those that it reads.
    fn coming(&self, _name: &str) -> Option<Arc<dyn Comes>> {
        None
    }
}

/// A file whose bytes come in any order, and are read meanwhile where they have come.
pub trait Sparse: Send + Sync + Debug {
    /// All of it, to be read where something is known to have come.
    fn view(&self) -> Bytes;
    /// Puts `bytes` at `offset`, where nothing has come yet.
    fn put(&self, offset: u64, bytes: &[u8]) -> Result<()>;
    /// Makes the content durable. After an error the content on disk is unknown: [`Kind::Poisoned`](crate::error::Kind).
    fn sync(&self) -> Result<()>;
}

/// A file that comes piece by piece.
pub trait Comes: Send + Sync + Debug {
    /// Returns once the bytes `range` are here; brings them if nobody does.
    fn wait(&self, range: Range<u64>) -> Result<()>;
}

/// A file that is being written.
pub trait Append: Send + Debug {
    /// Appends all of `bytes`.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;
    /// Makes the content durable. After an error the content on disk is unknown: [`Kind::Poisoned`](crate::error::Kind).
    fn sync(&mut self) -> Result<()>;
}

/// The folder part of `name`, `""` for a file at the root.
pub fn directory_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// Publishes `name` whole or not at all: a temporary file is written by `fill`, synced, renamed, and the name synced.
pub fn publish(files: &Arc<dyn Files>, name: &str, fill: impl FnOnce(&mut dyn Append) -> Result<()>) -> Result<()> {
    publish_in(files, name, HUGE_BYTES, fill)
}

/// [`publish`] for a file that is written `write_bytes` at a time.
pub fn publish_in(
    files: &Arc<dyn Files>,
    name: &str,
    write_bytes: usize,
    fill: impl FnOnce(&mut dyn Append) -> Result<()>,
) -> Result<()> {
    stage(files, name, write_bytes, fill)?.publish()
}

/// Writes a file whole and durable under a temporary name, `write_bytes` at a time. After an error it is not there.
pub fn stage(
    files: &Arc<dyn Files>,
    name: &str,
    write_bytes: usize,
    fill: impl FnOnce(&mut dyn Append) -> Result<()>,
) -> Result<StagedFile> {
    let temporary = format!("{name}{TEMPORARY}");
    let created = files.create(&temporary).or_else(|error| {
        // One that an earlier failure left is in the way.
        files.remove(&temporary).map_err(|_| error)?;
        files.create(&temporary)
    });
    let mut file = EvenWrites { file: created?, write_bytes, pending: Vec::new() };
    let written = fill(&mut file).and_then(|()| file.sync());
    drop(file);
    let staged = StagedFile { files: Arc::clone(files), temporary, name: name.to_owned() };
    match written {
        Ok(()) => Ok(staged),
        Err(error) => {
            staged.discard();
            Err(error)
        }
    }
}

/// A file that is durable, but not yet under its name.
#[derive(Debug)]
pub struct StagedFile {
    files: Arc<dyn Files>,
    temporary: String,
    name: String,
}

impl StagedFile {
    /// Gives the file its name, durably. After an error it may have it.
    pub fn publish(self) -> Result<()> {
        if let Err(error) = self.files.rename(&self.temporary, &self.name) {
            self.discard();
            return Err(error);
        }
        self.files.sync_directory(directory_of(&self.name))
    }

    fn discard(self) {
        // What cannot be removed now is swept at the next open, or when the file is written again.
        let _ = self.files.remove(&self.temporary);
    }
}

/// How much of a published file is written at once: a huge page. A kernel whose page cache has large folios keeps what
/// is written so in huge pages and maps it by them, which makes a random read of a large file cheaper by a fifth.
pub const HUGE_BYTES: usize = 2 << 20;

/// How much is written at once of what is soon written again or never mapped. The kernel fills a folio without a pause,
/// so that whoever waits for the core waits for a huge page, but hardly for this.
pub const SHORT_BYTES: usize = 64 << 10;

/// A file that is written in pieces of one length.
#[derive(Debug)]
struct EvenWrites {
    file: Box<dyn Append>,
    write_bytes: usize,
    pending: Vec<u8>,
}

impl Append for EvenWrites {
    fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        while self.pending.len() + bytes.len() >= self.write_bytes {
            let (now, later) = bytes.split_at(self.write_bytes - self.pending.len());
            if self.pending.is_empty() {
                self.file.append(now)?;
            } else {
                self.pending.extend_from_slice(now);
                self.file.append(&self.pending)?;
                self.pending.clear();
            }
            bytes = later;
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        if !self.pending.is_empty() {
            self.file.append(&self.pending)?;
            self.pending.clear();
        }
        self.file.sync()
    }
}

/// The end of the names of files that are not yet published.
pub const TEMPORARY: &str = ".tmp";

/// Removes what a crash left of unpublished files in `directory`.
pub fn sweep(files: &dyn Files, directory: &str) -> Result<()> {
    for name in files.list(directory)?.iter().filter(|name| name.ends_with(TEMPORARY)) {
        let separator = if directory.is_empty() { "" } else { "/" };
        files.remove(&format!("{directory}{separator}{name}"))?;
    }
    Ok(())
}

/// Where files that do not check are kept.
pub const DAMAGED: &str = "damaged";

/// How much is copied at once.
const CHUNK_BYTES: u64 = 1 << 20;

/// A name in [`DAMAGED`] that is still free for what was `name`.
fn aside(files: &dyn Files, name: &str) -> Result<String> {
    files.create_directory(DAMAGED)?;
    sweep(files, DAMAGED)?;
    let taken = files.list(DAMAGED)?;
    let file = name.rsplit_once('/').map_or(name, |(_, file)| file);
    let (stem, ending) = file.split_once('.').map_or((file, String::new()), |(stem, end)| (stem, format!(".{end}")));
    let free = (1_u64..).map(|attempt| format!("{stem}.{attempt}{ending}")).find(|name| !taken.contains(name));
    Ok(format!("{DAMAGED}/{}", free.expect("the attempts do not end")))
}

/// Copies `name` to [`DAMAGED`], durably; where to.
pub fn copy_aside(files: &Arc<dyn Files>, name: &str) -> Result<String> {
    let to = aside(files.as_ref(), name)?;
    let length = files.length(name)?;
    publish(files, &to, |file| copy_bytes(files.as_ref(), name, 0, length, file))?;
    Ok(to)
}

/// Moves `name` to [`DAMAGED`], durably; where to. Its bytes are not read, so that a medium that refuses them does not
/// matter.
pub fn move_aside(files: &dyn Files, name: &str) -> Result<String> {
    let to = aside(files, name)?;
    files.rename(name, &to)?;
    files.sync_directory(DAMAGED)?;
    files.sync_directory(directory_of(name))?;
    Ok(to)
}

/// Appends the bytes of `name` from `offset` to `end` to `file`.
pub fn copy_bytes(files: &dyn Files, name: &str, mut offset: u64, end: u64, file: &mut dyn Append) -> Result<()> {
    let mut bytes = Vec::new();
    while offset < end {
        bytes.resize(CHUNK_BYTES.min(end - offset) as usize, 0);
        files.read_at(name, offset, &mut bytes)?;
        file.append(&bytes)?;
        offset += bytes.len() as u64;
    }
    Ok(())
}
