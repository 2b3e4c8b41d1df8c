//! What was erased of one entity, in a file of its own: written when it changed, so that the manifest which names it
//! does not carry a hash for each key that was ever erased.

use std::sync::Arc;

use super::{Erasures, ErasuresEntry, Secret};
use crate::annex::{self, AnnexMeta};
use crate::block_list::BlockList;
use crate::blocks::FileKind;
use crate::error::{Error, Result};
use crate::io::Files;
use crate::model::key::KeyColumn;

const DIRECTORY: &str = "erasures";
const KIND: FileKind = FileKind { letters: *b"ERAS", format: 0 };

/// The name of the file `number` of erasures.
pub fn file_name(number: u64) -> String {
    format!("{DIRECTORY}/{number:020}.erasures")
}

/// The blocks of the file of erasures that `meta` describes.
pub(crate) fn block_list(files: &dyn Files, meta: &AnnexMeta) -> Result<BlockList> {
    annex::block_list(files, &file_name(meta.number), meta)
}

impl Erasures {
    /// Writes them to the file `number`.
    pub(crate) fn write(&self, files: &Arc<dyn Files>, number: u64) -> Result<AnnexMeta> {
        files.create_directory(DIRECTORY)?;
        annex::write(files, KIND, &file_name(number), number, &self.entry())
    }

    /// Reads those of an entity with these key columns.
    pub(crate) fn read(files: &Arc<dyn Files>, meta: &AnnexMeta, secret: Secret, key: &[KeyColumn]) -> Result<Self> {
        let name = file_name(meta.number);
        let entry: ErasuresEntry = annex::read(files, KIND, &name, meta)?;
        Self::from_entry(&entry, secret, key).map_err(|error| Error::corrupt(&name, 0, error))
    }
}
