//! Older schema versions, in files of their own: the manifest holds only the newest.
//!
//! Each file holds consecutive versions. A new one takes in those before it that are not much longer, as files of a
//! dictionary do, so that there are O(log n) of them and a version is written again O(log n) times.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{VersionEntry, Versions};
use crate::annex::{self, AnnexMeta};
use crate::block_list::BlockList;
use crate::blocks::FileKind;
use crate::error::{Error, Result};
use crate::io::Files;
use crate::model::catalog::shared_list;

const DIRECTORY: &str = "versions";
const KIND: FileKind = FileKind { letters: *b"VERS", format: 0 };

/// What the manifest remembers of a file of versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionFile {
    /// The first version in it.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// The file.
    pub file: AnnexMeta,
}

/// The name of the file `number` of versions.
pub fn file_name(number: u64) -> String {
    format!("{DIRECTORY}/{number:020}.versions")
}

/// Serialized like a list of plain entries.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Document {
    #[serde(with = "shared_list")]
    entries: Vec<Arc<VersionEntry>>,
}

impl VersionFile {
    /// The name of the file.
    pub fn name(&self) -> String {
        file_name(self.file.number)
    }

    fn count(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// Its versions.
    pub(crate) fn read(&self, files: &Arc<dyn Files>) -> Result<Vec<Arc<VersionEntry>>> {
        let Document { entries } = annex::read(files, KIND, &self.name(), &self.file)?;
        let ends = entries.first().zip(entries.last()).map(|(first, last)| (first.schema_version, last.schema_version));
        if ends != Some((self.first, self.last)) {
            return Err(Error::corrupt(&self.name(), 0, "it holds other versions than the manifest says"));
        }
        Ok(entries)
    }

    /// Its blocks.
    pub(crate) fn block_list(&self, files: &dyn Files) -> Result<BlockList> {
        annex::block_list(files, &self.name(), &self.file)
    }
}

/// Columns that the versions in a manifest may declare together, about, before they get a file.
const COLUMNS_MAX: usize = 32;

/// Whether `newest` should go to a file, but for the last of them.
pub(crate) fn is_heavy(newest: &[Arc<VersionEntry>]) -> bool {
    let columns = |entry: &Arc<VersionEntry>| -> usize {
        1 + entry.tables.iter().map(|table| table.features.len() + table.retired.len()).sum::<usize>()
    };
    newest.len() > 1 && newest.iter().map(columns).sum::<usize>() > COLUMNS_MAX
}

/// Moves all but the last of the versions `newest` to the file `number`, listed in `listed`.
pub(crate) fn put_aside(
    files: &Arc<dyn Files>,
    versions: &Versions,
    (listed, newest): (&mut Vec<VersionFile>, &mut Vec<Arc<VersionEntry>>),
    number: u64,
) -> Result<()> {
    let last = newest[newest.len() - 1].schema_version - 1;
    let mut first = newest[0].schema_version;
    let mut kept = listed.len();
    while let Some(before) = kept.checked_sub(1).map(|at| &listed[at]) {
        assert_eq!(before.last + 1, first, "files of versions follow one another");
        if before.count() >= 2 * (last + 1 - first) {
            break;
        }
        first = before.first;
        kept -= 1;
    }
    let entries: Vec<Arc<VersionEntry>> =
        versions.after(first - 1).take((last + 1 - first) as usize).cloned().collect();
    assert_eq!(entries.last().map(|entry| entry.schema_version), Some(last), "all versions are known");
    files.create_directory(DIRECTORY)?;
    let file = annex::write(files, KIND, &file_name(number), number, &Document { entries })?;
    listed.truncate(kept);
    listed.push(VersionFile { first, last, file });
    newest.drain(..newest.len() - 1);
    Ok(())
}
