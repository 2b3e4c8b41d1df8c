//! Restoring: the files that a root names and the log after it, put on an empty disk as they were on the one that was lost. The
//! manifest comes last, so that what was interrupted begins again.

use std::sync::Arc;

use super::coming;
use super::fetched::restore_file;
use super::kept::KeptLog;
use super::log_object::{self, Piece};
use super::names;
use super::root::Root;
use crate::error::{Error, Kind, Result};
use crate::ingest_clock::write_ceiling;
use crate::io::coming::Coming;
use crate::io::under::Under;
use crate::io::{Append, Files};
use crate::manifest::{Manifest, ManifestState, NamedFile};
use crate::objects::Objects;
use crate::time::Micros;
use crate::wal;

/// The local file that says that a directory follows.
pub(super) const FOLLOWER: &str = "follower";

/// Puts the database of `root`, whose manifest is `state`, into `files`, in which there is none. Most of its files come later.
pub(super) fn restore(
    objects: &Arc<dyn Objects>,
    files: &Arc<Coming>,
    (root, state): (&Root, &ManifestState),
    threads: usize,
) -> Result<()> {
    let door: Arc<dyn Files> = Arc::clone(files) as _;
    // Whoever writes here does not follow.
    if door.list("")?.iter().any(|name| name == FOLLOWER) {
        door.remove(FOLLOWER)?;
    }
    let state = prepare(&door, state)?;
    coming::begin(objects, files, root, &state, threads)?;
    let ceiling = restore_log(objects.as_ref(), &door, root, state.wal_first)?;
    // No ingest time at or below one that was given, or promised, is given again.
    write_ceiling(&door, ceiling)?;
    tracing::info!(
        epoch = root.epoch,
        root = root.number,
        bytes_left = files.bytes_left(),
        "the database comes from its bucket"
    );
    Manifest::create(door, state).map(drop)
}

/// Makes room for the database of `state`; what it is without the ice that was on another disk.
fn prepare(files: &Arc<dyn Files>, state: &ManifestState) -> Result<ManifestState> {
    clear(files)?;
    for (folder, _) in NamedFile::FOLDERS {
        files.create_directory(folder)?;
    }
    let mut state = state.clone();
    for ice in state.tables.values_mut().flat_map(|table| &mut table.segments).filter_map(|entry| entry.ice.as_mut()) {
        (ice.hot, ice.thawed) = (false, false);
    }
    Ok(state)
}

/// Where the log after the files of a root is.
#[derive(Debug, Clone, Copy)]
pub(super) enum LogFrom<'a> {
    /// In the objects of its epoch's log, up to the end of that.
    Objects,
    /// In the checkpoint that holds the root.
    Kept(&'a KeptLog),
}

/// Puts all of it there but the manifest, which it answers: the cells of what is frozen stay where they are.
pub(super) fn fetch(
    objects: &dyn Objects,
    files: &Arc<dyn Files>,
    root: &Root,
    state: &ManifestState,
    log: LogFrom<'_>,
) -> Result<ManifestState> {
    let state = prepare(files, state)?;
    let mut bytes_restored = 0_u64;
    for file in state.files() {
        bytes_restored += restore_file(objects, files, &names::data(&root.lineage, file), &file.name())?;
    }
    match log {
        LogFrom::Objects => drop(restore_log(objects, files, root, state.wal_first)?),
        LogFrom::Kept(log) => {
            let mut restored = RestoredLog::new(files, state.wal_first)?;
            log.pieces().try_for_each(|(piece, bytes)| restored.append(piece, bytes))?;
            restored.finish(root)?;
        }
    }
    tracing::info!(epoch = root.epoch, root = root.number, bytes_restored, "the database was fetched from its bucket");
    Ok(state)
}

/// Puts the files of the log from `first` on into `files`; the last ceiling that the log says.
fn restore_log(objects: &dyn Objects, files: &Arc<dyn Files>, root: &Root, first: u64) -> Result<Micros> {
    let mut ceiling = root.ceiling;
    let mut restored = RestoredLog::new(files, first)?;
    log_object::read_from(objects, root.epoch, root.replay, |object| {
        object.check_writer(root.database, &root.nonce)?;
        ceiling = ceiling.max(object.header.ceiling);
        object.pieces().try_for_each(|(piece, bytes)| restored.append(piece, bytes))
    })?;
    restored.finish(root)?;
    Ok(ceiling)
}

/// The files of a log that come back, piece by piece.
struct RestoredLog<'a> {
    files: &'a Arc<dyn Files>,
    /// Files before it are not needed.
    first: u64,
    writing: Option<Writing>,
}

impl<'a> RestoredLog<'a> {
    fn new(files: &'a Arc<dyn Files>, first: u64) -> Result<Self> {
        files.create_directory(wal::DIRECTORY)?;
        Ok(Self { files, first, writing: None })
    }

    fn append(&mut self, piece: Piece, bytes: &[u8]) -> Result<()> {
        if piece.file < self.first {
            return Ok(());
        }
        if self.writing.as_ref().is_none_or(|writing| writing.number != piece.file) {
            if let Some(done) = self.writing.take() {
                done.publish(self.files)?;
            }
            self.writing = Some(Writing::begin(self.files, piece.file)?);
        }
        let into = self.writing.as_mut().expect("it was begun");
        if into.length != piece.offset {
            let what = format!("pieces of file {} of the log in the bucket do not follow each other", piece.file);
            return Err(Error::new(Kind::Corrupt, what));
        }
        into.file.append(bytes)?;
        into.length += bytes.len() as u64;
        Ok(())
    }

    fn finish(self, root: &Root) -> Result<()> {
        let last = self.writing.ok_or_else(|| {
            let Root { epoch, replay, .. } = root;
            let what = format!("the log of epoch {epoch} has nothing from object {replay} on, which its root needs");
            Error::new(Kind::Corrupt, what)
        })?;
        last.publish(self.files)
    }
}

/// A file of the log that is being written.
struct Writing {
    number: u64,
    length: u64,
    file: Box<dyn Append>,
}

impl Writing {
    fn begin(files: &Arc<dyn Files>, number: u64) -> Result<Self> {
        Ok(Self {
            number,
            length: 0,
            file: files.create(&format!("{}{}", wal::file_name(number), crate::io::TEMPORARY))?,
        })
    }

    fn publish(mut self, files: &Arc<dyn Files>) -> Result<()> {
        self.file.sync()?;
        let name = wal::file_name(self.number);
        files.rename(&format!("{name}{}", crate::io::TEMPORARY), &name)?;
        files.sync_directory(wal::DIRECTORY)
    }
}

/// Where a checkpoint is opened beside the database of `files`: a door to a directory in which there is nothing.
pub(crate) fn beside(files: &Arc<dyn Files>) -> Result<Arc<dyn Files>> {
    files.create_directory(BESIDE)?;
    clear_beside(files)
}

/// Removes what is left in [`beside`].
pub(crate) fn clear_beside(files: &Arc<dyn Files>) -> Result<Arc<dyn Files>> {
    let beside: Arc<dyn Files> = Arc::new(Under::new(Arc::clone(files), BESIDE));
    clear(&beside)?;
    beside.list("")?.iter().try_for_each(|name| beside.remove(name))?;
    Ok(beside)
}

/// Its directory.
const BESIDE: &str = "purging";

/// Removes what is left of a database: its manifest first, so that it is none any more.
pub(super) fn clear(files: &Arc<dyn Files>) -> Result<()> {
    coming::forget(files.as_ref())?;
    let folders = ["manifest", wal::DIRECTORY].into_iter().chain(NamedFile::FOLDERS.map(|(folder, _)| folder));
    for folder in folders {
        let names = files.list(folder)?;
        for name in &names {
            files.remove(&format!("{folder}/{name}"))?;
        }
        if !names.is_empty() {
            files.sync_directory(folder)?;
        }
    }
    Ok(())
}
