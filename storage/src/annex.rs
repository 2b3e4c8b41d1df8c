//! An annex: a document of what only grows, in a file of its own, so that the manifest which names it need not be
//! written with it each time.
//!
//! It is a file of checked blocks without sections, whose description is the document, as JSON. What is read was checked
//! whole. What a document means is for whoever has it written.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::block_list::BlockList;
use crate::blocks::{BlockWriter, Blocks, FileKind, Frame};
use crate::error::Result;
use crate::io::{Files, SHORT_BYTES, publish_in};

/// What the manifest remembers of an annex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnexMeta {
    /// The number in the file's name.
    pub number: u64,
    /// The length of the file in bytes.
    pub length: u64,
    /// The CRC-64 of its checksums and foot.
    pub crc: u64,
}

impl AnnexMeta {
    fn frame(&self) -> Frame {
        Frame { number: self.number, length: self.length, crc: self.crc }
    }
}

/// Writes and publishes `document` as the annex `name`, whose number is `number`.
pub(crate) fn write<T: Serialize>(
    files: &Arc<dyn Files>,
    kind: FileKind,
    name: &str,
    number: u64,
    document: &T,
) -> Result<AnnexMeta> {
    let document = serde_json::to_vec(document).expect("a document is plain data");
    let mut frame = None;
    publish_in(files, name, SHORT_BYTES, |file| {
        frame = Some(BlockWriter::new(file, kind, number)?.finish(&document)?);
        Ok(())
    })?;
    let frame = frame.expect("a published file was finished");
    Ok(AnnexMeta { number, length: frame.length, crc: frame.crc })
}

/// Reads the annex `name`, every byte checked.
pub(crate) fn read<T: DeserializeOwned>(
    files: &Arc<dyn Files>,
    kind: FileKind,
    name: &str,
    meta: &AnnexMeta,
) -> Result<T> {
    let blocks = Blocks::open(files, name.to_owned(), kind, meta.frame())?;
    blocks.check_all()?;
    serde_json::from_slice(blocks.description()?)
        .map_err(|error| blocks.damaged(blocks.description_offset(), format!("the document makes no sense: {error}")))
}

/// The blocks of the annex `name`.
pub(crate) fn block_list(files: &dyn Files, name: &str, meta: &AnnexMeta) -> Result<BlockList> {
    BlockList::framed(files, name.to_owned(), meta.frame())
}
