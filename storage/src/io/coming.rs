//! Files that come piece by piece while others already read them.
//!
//! [`Coming`] is a door to the files of another, some of which are not here yet: each has its name and its whole length from the
//! start, and a reader that needs bytes of it waits for the pieces that hold them, or brings these itself. Whoever maps such a file
//! asks [`Files::coming`] before it touches a byte, which is what checksums of a block are for. A file gets its name in the
//! directory beneath when all of it is there and durable, so that a crash leaves no file in part.
//!
//! Where the bytes come from is for others to know.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::{Access, Append, Comes, Files, Sparse, TEMPORARY, directory_of};
use crate::error::{Error, Kind, Result};
use crate::parallel;

/// Bytes that come at least when one of them is waited for.
const PIECE_BYTES: u64 = 256 << 10;
/// Pieces that come together at most.
const RUN_PIECES_MAX: u64 = 32;

/// Gives bytes of a file that is on its way.
pub(crate) type Source = Box<dyn Fn(Range<u64>) -> Result<Bytes> + Send + Sync>;

/// A door to files of which some are on their way.
#[derive(Debug)]
pub(crate) struct Coming {
    files: Arc<dyn Files>,
    /// By name.
    on_the_way: Mutex<BTreeMap<String, Arc<ComingFile>>>,
    /// Whether somebody listed them.
    listed: AtomicBool,
}

impl Coming {
    /// Those of `files`, all of which are there.
    pub(crate) fn new(files: Arc<dyn Files>) -> Self {
        Self { files, on_the_way: Mutex::default(), listed: AtomicBool::new(false) }
    }

    /// The file `name` of `length` bytes comes from `source`. Its end is brought at once, since that is what a file is opened by: one
    /// of a single piece is there afterwards.
    pub(crate) fn expect(&self, name: &str, length: u64, source: Source) -> Result<()> {
        let temporary = format!("{name}{TEMPORARY}");
        let created = self.files.create_sparse(&temporary, length).or_else(|error| {
            // One that an earlier process left is in the way.
            self.files.remove(&temporary).map_err(|_| error)?;
            self.files.create_sparse(&temporary, length)
        });
        let sparse = created?;
        let file = Arc::new(ComingFile::new(name, length, sparse, source));
        file.wait(length.saturating_sub(1)..length)?;
        let before = self.on_the_way.lock().insert(name.to_owned(), file);
        assert!(before.is_none(), "{name} comes once");
        if length <= PIECE_BYTES { self.finish(name, 1) } else { Ok(()) }
    }

    /// Names of the files that are on their way, and how often each could not be finished.
    pub(crate) fn left(&self) -> Vec<(String, u64)> {
        let on_the_way = self.on_the_way.lock();
        on_the_way.iter().map(|(name, file)| (name.clone(), file.failed.load(Ordering::Relaxed))).collect()
    }

    /// Whether there is a list of what was on its way.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Relaxed)
    }

    /// Notes whether there is a list of what was on its way.
    pub(crate) fn set_listed(&self, listed: bool) {
        self.listed.store(listed, Ordering::Relaxed);
    }

    /// How many bytes are still to come.
    pub(crate) fn bytes_left(&self) -> u64 {
        self.on_the_way.lock().values().map(|file| file.bytes_left()).sum()
    }

    /// Brings the rest of the file `name` on so many threads, and gives it its name. It may be there already, or unwanted.
    pub(crate) fn finish(&self, name: &str, threads: usize) -> Result<()> {
        let Some(file) = self.find(name) else { return Ok(()) };
        let finished = self.finish_file(&file, threads);
        file.failed.fetch_add(u64::from(finished.is_err()), Ordering::Relaxed);
        finished
    }

    fn finish_file(&self, file: &Arc<ComingFile>, threads: usize) -> Result<()> {
        let end = file.pieces();
        let runs = (0..end).step_by(RUN_PIECES_MAX as usize).map(|first| first..end.min(first + RUN_PIECES_MAX));
        parallel::map(runs.collect(), threads, |run| file.bring(run))?;
        file.sparse.sync()?;
        let name = &file.name;
        let temporary = format!("{name}{TEMPORARY}");
        {
            // Nobody may remove it in between.
            let mut on_the_way = self.on_the_way.lock();
            if !on_the_way.get(name).is_some_and(|there| Arc::ptr_eq(there, file)) {
                return Ok(());
            }
            self.files.rename(&temporary, name)?;
            on_the_way.remove(name);
        }
        self.files.sync_directory(directory_of(name))
    }

    fn find(&self, name: &str) -> Option<Arc<ComingFile>> {
        self.on_the_way.lock().get(name).cloned()
    }
}

impl Files for Coming {
    fn create(&self, name: &str) -> Result<Box<dyn Append>> {
        self.files.create(name)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let Some(file) = self.find(name) else { return self.files.read(name) };
        file.wait(0..file.length)?;
        Ok(file.sparse.view().to_vec())
    }

    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<()> {
        let Some(file) = self.find(name) else { return self.files.read_at(name, offset, into) };
        let end = offset.checked_add(into.len() as u64).filter(|end| *end <= file.length);
        let end = end.ok_or_else(|| Error::new(Kind::Io, format!("could not read {name}: it is shorter")))?;
        file.wait(offset..end)?;
        into.copy_from_slice(&file.sparse.view()[offset as usize..end as usize]);
        Ok(())
    }

    fn map(&self, name: &str, length: u64, access: Access) -> Result<Bytes> {
        match self.find(name) {
            None => self.files.map(name, length, access),
            Some(file) if file.length == length => Ok(file.sparse.view()),
            Some(file) => {
                let what = format!("it has {} bytes where {length} are recorded", file.length);
                Err(Error::corrupt(name, length.min(file.length), what))
            }
        }
    }

    fn length(&self, name: &str) -> Result<u64> {
        self.find(name).map_or_else(|| self.files.length(name), |file| Ok(file.length))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        assert!(self.find(from).is_none(), "what is named last has come");
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<()> {
        match self.on_the_way.lock().remove(name) {
            None => self.files.remove(name),
            Some(_) => self.files.remove(&format!("{name}{TEMPORARY}")),
        }
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        let mut names = self.files.list(directory)?;
        let on_the_way = self.on_the_way.lock();
        let here = on_the_way.keys().filter(|name| directory_of(name) == directory);
        for name in here.map(|name| name.rsplit('/').next().unwrap_or(name)) {
            names.retain(|there| there.strip_suffix(TEMPORARY) != Some(name));
            names.push(name.to_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_directory(&self, directory: &str) -> Result<()> {
        self.files.create_directory(directory)
    }

    fn sync_directory(&self, directory: &str) -> Result<()> {
        self.files.sync_directory(directory)
    }

    fn maps_open(&self) -> u64 {
        self.files.maps_open()
    }

    fn create_sparse(&self, name: &str, length: u64) -> Result<Box<dyn Sparse>> {
        self.files.create_sparse(name, length)
    }

    fn coming(&self, name: &str) -> Option<Arc<dyn Comes>> {
        self.find(name).map(|file| file as Arc<dyn Comes>)
    }
}

/// A file that is on its way.
struct ComingFile {
    name: String,
    length: u64,
    sparse: Box<dyn Sparse>,
    source: Source,
    /// A bit per piece that is here.
    here: Box<[AtomicU64]>,
    /// Pieces that somebody brings.
    brought: Mutex<HashSet<u64>>,
    arrived: Condvar,
    /// How often it could not be finished.
    failed: AtomicU64,
}

impl fmt::Debug for ComingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComingFile").field("name", &self.name).field("length", &self.length).finish_non_exhaustive()
    }
}

impl Comes for ComingFile {
    fn wait(&self, range: Range<u64>) -> Result<()> {
        assert!(range.end <= self.length, "only bytes of the file are waited for");
        if range.is_empty() {
            return Ok(());
        }
        self.bring(range.start / PIECE_BYTES..range.end.div_ceil(PIECE_BYTES))
    }
}

impl ComingFile {
    fn new(name: &str, length: u64, sparse: Box<dyn Sparse>, source: Source) -> Self {
        let here = (0..length.div_ceil(PIECE_BYTES).div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self {
            name: name.to_owned(),
            length,
            sparse,
            source,
            here,
            brought: Mutex::default(),
            arrived: Condvar::new(),
            failed: AtomicU64::new(0),
        }
    }

    fn pieces(&self) -> u64 {
        self.length.div_ceil(PIECE_BYTES)
    }

    fn has(&self, piece: u64) -> bool {
        // Pairs with the release in `bring`: who sees the bit sees the bytes.
        self.here[(piece / 64) as usize].load(Ordering::Acquire) >> (piece % 64) & 1 == 1
    }

    fn bytes_left(&self) -> u64 {
        let left = (0..self.pieces()).filter(|piece| !self.has(*piece));
        left.map(|piece| self.range(&(piece..piece + 1))).map(|range| range.end - range.start).sum()
    }

    /// The bytes of `pieces`.
    fn range(&self, pieces: &Range<u64>) -> Range<u64> {
        pieces.start * PIECE_BYTES..self.length.min(pieces.end * PIECE_BYTES)
    }

    /// Returns once `pieces` are here.
    fn bring(&self, pieces: Range<u64>) -> Result<()> {
        let mut next = pieces.start;
        while next < pieces.end {
            let Some(turn) = self.claim(next..pieces.end) else {
                next += 1;
                continue;
            };
            next = turn.pieces.end;
            turn.bring()?;
        }
        Ok(())
    }

    /// The turn to bring the first of `pieces`, and those after it that nobody brings; none if the first is here.
    fn claim(&self, pieces: Range<u64>) -> Option<Turn<'_>> {
        let mut brought = self.brought.lock();
        while !self.has(pieces.start) && brought.contains(&pieces.start) {
            self.arrived.wait(&mut brought);
        }
        let most = pieces.end.min(pieces.start + RUN_PIECES_MAX);
        let claimed =
            (pieces.start..most).take_while(|piece| !self.has(*piece) && brought.insert(*piece)).count() as u64;
        (claimed > 0).then(|| Turn { file: self, pieces: pieces.start..pieces.start + claimed })
    }
}

/// The turn of who brings pieces. However it ends, another may try, or see that they are there.
struct Turn<'a> {
    file: &'a ComingFile,
    pieces: Range<u64>,
}

impl Turn<'_> {
    fn bring(self) -> Result<()> {
        let file = self.file;
        let range = file.range(&self.pieces);
        let bytes = (file.source)(range.clone())?;
        if bytes.len() as u64 != range.end - range.start {
            let what = format!("{} bytes came where {} were asked for", bytes.len(), range.end - range.start);
            return Err(Error::corrupt(&file.name, range.start, what));
        }
        file.sparse.put(range.start, &bytes)?;
        for piece in self.pieces.clone() {
            file.here[(piece / 64) as usize].fetch_or(1 << (piece % 64), Ordering::Release);
        }
        Ok(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut brought = self.file.brought.lock();
        for piece in self.pieces.clone() {
            brought.remove(&piece);
        }
        drop(brought);
        self.file.arrived.notify_all();
    }
}

#[cfg(test)]
mod tests;
