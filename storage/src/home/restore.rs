//! Restoring: the files that a root names and the log after it, put on an empty disk as they were on the one that was lost. The
//! manifest comes last, so that what was interrupted begins again.

use std::sync::Arc;

use super::log_object;
use super::names;
use super::root::{self, Root};
use crate::error::{Error, Kind, Result};
use crate::ingest_clock::write_ceiling;
use crate::io::{Append, Files, HUGE_BYTES, publish_in};
use crate::manifest::{Manifest, ManifestState, NamedFile};
use crate::objects::{ObjectName, Objects, damaged};
use crate::time::Micros;
use crate::wal;

/// The local file that says that a directory follows.
pub(super) const FOLLOWER: &str = "follower";

/// Puts the database of `root`, whose manifest is `state`, into `files`, in which there is none.
pub(super) fn restore(objects: &dyn Objects, files: &Arc<dyn Files>, root: &Root, state: &ManifestState) -> Result<()> {
    // Whoever writes here does not follow.
    if files.list("")?.iter().any(|name| name == FOLLOWER) {
        files.remove(FOLLOWER)?;
    }
    let (state, ceiling) = fetch(objects, files, root, state)?;
    // No ingest time at or below one that was given, or promised, is given again.
    write_ceiling(files, ceiling)?;
    Manifest::create(Arc::clone(files), state).map(drop)
}

/// Puts all of it there but the manifest, which it answers with the ceiling: the cells of what is frozen stay where they are.
pub(super) fn fetch(
    objects: &dyn Objects,
    files: &Arc<dyn Files>,
    root: &Root,
    state: &ManifestState,
) -> Result<(ManifestState, Micros)> {
    clear(files)?;
    for (folder, _) in NamedFile::FOLDERS {
        files.create_directory(folder)?;
    }
    let mut bytes_restored = 0_u64;
    let mut state = state.clone();
    for ice in state.tables.values_mut().flat_map(|table| &mut table.segments).filter_map(|entry| entry.ice.as_mut()) {
        ice.hot = false;
    }
    for file in state.files() {
        bytes_restored += restore_file(objects, files, &names::data(&root.lineage, file), &file.name())?;
    }
    let ceiling = restore_log(objects, files, root, state.wal_first)?;
    tracing::info!(epoch = root.epoch, root = root.number, bytes_restored, "the database was restored from its bucket");
    Ok((state, ceiling))
}

/// Puts the `object` under `name` into `files`, piece by piece; how many bytes it has.
fn restore_file(objects: &dyn Objects, files: &Arc<dyn Files>, object: &ObjectName, name: &str) -> Result<u64> {
    let gone = || root::gone(object);
    let length = objects.length(object)?.ok_or_else(gone)?;
    publish_in(files, name, HUGE_BYTES, |into| {
        let mut next = 0;
        while next < length {
            let end = length.min(next + PIECE_BYTES_MAX);
            into.append(&objects.get_range(object, next..end)?.ok_or_else(gone)?)?;
            next = end;
        }
        Ok(())
    })?;
    Ok(length)
}

/// So much of a file is in memory at once.
const PIECE_BYTES_MAX: u64 = 8 << 20;

/// Puts the files of the log from `first` on into `files`; the last ceiling that the log says.
fn restore_log(objects: &dyn Objects, files: &Arc<dyn Files>, root: &Root, first: u64) -> Result<Micros> {
    files.create_directory(wal::DIRECTORY)?;
    let mut ceiling = root.ceiling;
    let mut writing: Option<Writing> = None;
    log_object::read_from(objects, root.epoch, root.replay, |object| {
        object.check_writer(root.database, &root.nonce)?;
        ceiling = ceiling.max(object.header.ceiling);
        for (piece, bytes) in object.pieces().filter(|(piece, _)| piece.file >= first) {
            if writing.as_ref().is_none_or(|writing| writing.number != piece.file) {
                if let Some(done) = writing.take() {
                    done.publish(files)?;
                }
                writing = Some(Writing::begin(files, piece.file)?);
            }
            let into = writing.as_mut().expect("it was begun");
            if into.length != piece.offset {
                let name = names::log(root.epoch, object.header.number);
                return Err(damaged(&name, "its pieces do not follow what is before them"));
            }
            into.file.append(bytes)?;
            into.length += bytes.len() as u64;
        }
        Ok(())
    })?;
    match writing {
        Some(last) => last.publish(files)?,
        None => {
            let what = format!(
                "the log of epoch {} has nothing from object {} on, which its root needs",
                root.epoch, root.replay
            );
            return Err(Error::new(Kind::Corrupt, what));
        }
    }
    Ok(ceiling)
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

/// Removes what is left of a database: its manifest first, so that it is none any more.
pub(super) fn clear(files: &Arc<dyn Files>) -> Result<()> {
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
