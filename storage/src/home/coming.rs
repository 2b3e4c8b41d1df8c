//! Files of a restored database that are still in its bucket.
//!
//! A database on an empty disk serves at once: it knows all of its files, and what a read needs of them comes when it is asked for
//! ([`crate::io::coming`]); a thread brings the rest. Until then a list in the directory says which object each file comes from,
//! so that a process that ends goes on where it was, and that nobody takes the directory for whole.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fetched::restore_file;
use super::names;
use super::root::{self, Root};
use crate::error::{Error, Result};
use crate::io::coming::{Coming, Source};
use crate::io::{Files, SHORT_BYTES, publish_in};
use crate::manifest::{ManifestState, NamedFile};
use crate::objects::{ObjectName, Objects};
use crate::parallel;

/// The local file that says which files are still to come.
const LIST: &str = "coming";

/// Requests of some MiB each that are in flight for what nobody waits for, at most.
const FINISH_THREADS: usize = 8;

/// A file, and the object that it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    file: String,
    object: String,
    length: u64,
}

/// Lets the files of `state`, which `root` names, come into `files`, where there are none; those that are read whole are there
/// afterwards. So many requests are in flight.
pub(super) fn begin(
    objects: &Arc<dyn Objects>,
    files: &Arc<Coming>,
    root: &Root,
    state: &ManifestState,
    threads: usize,
) -> Result<()> {
    let door: Arc<dyn Files> = Arc::clone(files) as _;
    let (lengths, mut listed) = (state.files_of_blocks(), Vec::new());
    for file in state.files() {
        let object = names::data(&root.lineage, file);
        match lengths.get(&file).copied() {
            Some(length) => listed.push(Listed { file: file.name(), object: object.to_string(), length }),
            None => drop(restore_file(objects.as_ref(), &door, &object, &file.name())?),
        }
    }
    listed.sort_unstable_by(|one, other| one.file.cmp(&other.file));
    let bytes = serde_json::to_vec(&listed).expect("a list is plain data");
    publish_in(&door, LIST, SHORT_BYTES, |file| file.append(&bytes))?;
    expect(objects, files, listed, threads)
}

/// Lets what is still to come of the files of `state`, after the process that began it ended.
pub(crate) fn go_on(
    objects: &Arc<dyn Objects>,
    files: &Arc<Coming>,
    state: &ManifestState,
    threads: usize,
) -> Result<()> {
    let mut listed = read(files.as_ref())?;
    if listed.is_empty() {
        return Ok(());
    }
    let named: HashSet<String> = state.files().into_iter().map(NamedFile::name).collect();
    let here = here(files.as_ref())?;
    listed.retain(|listed| named.contains(&listed.file) && !here.contains(&listed.file));
    expect(objects, files, listed, threads)
}

/// The names of all files that are here or on their way.
fn here(files: &dyn Files) -> Result<HashSet<String>> {
    let mut names = HashSet::new();
    for (folder, _) in NamedFile::FOLDERS {
        names.extend(files.list(folder)?.into_iter().map(|name| format!("{folder}/{name}")));
    }
    Ok(names)
}

fn is_listed(files: &dyn Files) -> Result<bool> {
    Ok(files.list("")?.iter().any(|name| name == LIST))
}

fn expect(objects: &Arc<dyn Objects>, files: &Arc<Coming>, listed: Vec<Listed>, threads: usize) -> Result<()> {
    files.set_listed(true);
    parallel::map(listed, threads, |Listed { file, object, length }| {
        let objects = Arc::clone(objects);
        let object = ObjectName::new(object).map_err(|error| Error::corrupt(LIST, 0, error))?;
        let source: Source =
            Box::new(move |range| objects.get_range(&object, range)?.ok_or_else(|| root::gone(&object)));
        files.expect(&file, length, source)
    })?;
    forget_if_whole(files)
}

fn read(files: &dyn Files) -> Result<Vec<Listed>> {
    if !is_listed(files)? {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&files.read(LIST)?).map_err(|error| Error::corrupt(LIST, 0, error))
}

/// Forgets what was still to come.
pub(super) fn forget(files: &dyn Files) -> Result<()> {
    if is_listed(files)? { files.remove(LIST) } else { Ok(()) }
}

/// Refuses a directory of which files are still in the bucket.
pub(crate) fn refuse_incomplete(files: &dyn Files) -> Result<()> {
    let listed = read(files)?;
    if listed.is_empty() {
        return Ok(());
    }
    let here = here(files)?;
    let left = listed.iter().filter(|listed| !here.contains(&listed.file)).count();
    if left == 0 {
        return Ok(());
    }
    Err(Error::precondition(format!(
        "{left} files of the database are still in its bucket, because it was stopped while it was restored: start it with --bucket \
         until `firn status` says that nothing is left to restore"
    )))
}

/// Brings one of the files that are still to come; whether there was one.
pub(crate) fn bring_once(files: &Coming, threads: usize) -> Result<bool> {
    let mut left = files.left();
    // What latest reads need first, and of segments the newest; what failed comes after the others.
    left.sort_by_key(|(name, failed)| {
        let (folder, file) = name.split_once('/').unwrap_or(("", name));
        (*failed, folder.to_owned(), Reverse(file.to_owned()))
    });
    if let Some((name, _)) = left.first() {
        return files.finish(name, threads.min(FINISH_THREADS)).map(|()| true);
    }
    forget_if_whole(files)?;
    Ok(false)
}

/// Removes the list if nothing is left to come.
fn forget_if_whole(files: &Coming) -> Result<()> {
    if files.is_listed() && files.left().is_empty() {
        forget(files)?;
        files.set_listed(false);
        tracing::info!("all files of the database are here");
    }
    Ok(())
}
