//! What describes a file of ice: its Parquet footer with the indexes of pages, and a checksum of each page.
//!
//! Parquet's own writer leaves pages without checksums, and a flipped bit in a compressed page may read as another value: so
//! every page is checked before it is decoded.
//!
//! ```text
//! magic 8 · length of the footer u64 · footer · checksums u32 of each page, by row group, column and place
//! ```

use bytes::Bytes;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter};

use crate::error::{Result, damaged, unwritable};
use crate::pages::{Page, pages_of};

const MAGIC: &[u8; 8] = b"FIRN-ICE";
/// Bytes before the footer.
const HEAD_BYTES: usize = 16;

/// The footer of a file that was written.
#[derive(Debug)]
pub struct Footer(pub(crate) ParquetMetaData);

/// What describes a file.
#[derive(Debug, Clone)]
pub struct Meta {
    pub(crate) metadata: ParquetMetaData,
    /// Of each page of each row group: by row group, then leaf, then place.
    pub(crate) checksums: Vec<u32>,
}

/// The checksum of the bytes of a page.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

impl Meta {
    /// That of the `file` that ends with `footer`.
    ///
    /// # Errors
    /// `Damaged` if the file is another.
    pub fn new(footer: Footer, file: &[u8]) -> Result<Self> {
        let mut meta = Self { metadata: footer.0, checksums: Vec::new() };
        let sum = |page: &Page| file.get(page.bytes.start as usize..page.bytes.end as usize).map(checksum);
        let sums: Option<Vec<u32>> = meta.pages()?.iter().flatten().flatten().map(sum).collect();
        meta.checksums = sums.ok_or_else(|| damaged("it is shorter than its footer says"))?;
        Ok(meta)
    }

    /// The pages of each leaf of each row group.
    pub(crate) fn pages(&self) -> Result<Vec<Vec<Vec<Page>>>> {
        let mut first = 0;
        let mut groups = Vec::with_capacity(self.metadata.num_row_groups());
        for (group, of_group) in self.metadata.row_groups().iter().enumerate() {
            let pages = (0..of_group.num_columns()).map(|leaf| pages_of(&self.metadata, group, first, leaf));
            let pages: Option<Vec<Vec<Page>>> = pages.collect();
            groups.push(pages.ok_or_else(|| damaged("its footer does not say where pages are"))?);
            first += of_group.num_rows() as u64;
        }
        Ok(groups)
    }

    /// As bytes.
    ///
    /// # Errors
    /// `Unwritable` if the footer cannot be encoded, which no file does that a writer of ours wrote.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut footer = Vec::new();
        ParquetMetaDataWriter::new(&mut footer, &self.metadata).finish().map_err(unwritable)?;
        let mut bytes = Vec::with_capacity(HEAD_BYTES + footer.len() + self.checksums.len() * 4);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(footer.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&footer);
        self.checksums.iter().for_each(|sum| bytes.extend_from_slice(&sum.to_le_bytes()));
        Ok(bytes)
    }

    /// What [`Meta::encode`] made; the caller knows that the bytes are whole.
    ///
    /// # Errors
    /// `Damaged` for bytes that make no sense.
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or_else(|| damaged("its description is cut"))?;
        if head[..8] != MAGIC[..] {
            return Err(damaged("its description is none"));
        }
        let length = head[8..].try_into().map_or(0, u64::from_le_bytes) as usize;
        if length > rest.len() {
            return Err(damaged("its description is cut"));
        }
        let footer = bytes.slice(HEAD_BYTES..HEAD_BYTES + length);
        let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = reader.parse_and_finish(&footer).map_err(damaged)?;
        let sums = rest[length..].chunks_exact(4);
        let checksums = sums.map(|sum| u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]])).collect();
        Ok(Self { metadata, checksums })
    }
}
