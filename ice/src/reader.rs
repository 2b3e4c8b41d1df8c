//! Reading a file of ice by position: which bytes are needed is known before one is fetched, and every page is checked before
//! it is decoded.

use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, new_empty_array};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::column::field_id;
use crate::error::{Result, damaged};
use crate::lake::from_lake;
use crate::meta::{Meta, checksum};
use crate::pages::Page;

/// A file that is read.
#[derive(Debug)]
pub struct Reader {
    metadata: ArrowReaderMetadata,
    /// Of each row group, of each leaf.
    pages: Vec<Vec<Vec<Checked>>>,
    /// The first row of each row group, and the number of rows at the end.
    firsts: Vec<u64>,
    /// The number of each column.
    ids: Vec<Option<i32>>,
    /// Which column each leaf is of.
    roots: Vec<usize>,
}

#[derive(Debug)]
struct Checked {
    page: Page,
    checksum: u32,
}

impl Reader {
    /// Reads the file that `meta` describes.
    ///
    /// # Errors
    /// `Damaged` if the description makes no sense.
    pub fn new(meta: Meta) -> Result<Self> {
        let mut sums = meta.checksums.iter();
        let mut pages = Vec::new();
        for of_group in meta.pages()? {
            let mut group = Vec::with_capacity(of_group.len());
            for of_leaf in of_group {
                let checked = |page| sums.next().map(|sum| Checked { page, checksum: *sum });
                let leaf: Option<Vec<Checked>> = of_leaf.into_iter().map(checked).collect();
                group.push(leaf.ok_or_else(|| damaged("its description lacks checksums"))?);
            }
            pages.push(group);
        }
        let mut firsts = vec![0];
        for group in meta.metadata.row_groups() {
            firsts.push(firsts[firsts.len() - 1] + group.num_rows() as u64);
        }
        let metadata =
            ArrowReaderMetadata::try_new(Arc::new(meta.metadata), ArrowReaderOptions::new()).map_err(damaged)?;
        let ids = metadata.schema().fields().iter().map(|field| field_id(field)).collect();
        let description = metadata.metadata().file_metadata().schema_descr();
        let roots = (0..description.num_columns()).map(|leaf| description.get_column_root_idx(leaf)).collect();
        Ok(Self { metadata, pages, firsts, ids, roots })
    }

    /// How many rows the file has.
    pub fn rows(&self) -> u64 {
        self.firsts[self.firsts.len() - 1]
    }

    /// The column whose number is `id`.
    pub fn column_of(&self, id: i32) -> Option<usize> {
        self.ids.iter().position(|known| *known == Some(id))
    }

    /// `rows`, ascending and apart, by row group: those of each, which can be decoded each by themselves.
    pub fn by_group(&self, rows: &[Range<u64>]) -> Vec<(usize, Vec<Range<u64>>)> {
        let mut groups: Vec<(usize, Vec<Range<u64>>)> = Vec::new();
        for range in rows {
            let mut start = range.start;
            while start < range.end {
                let group = self.firsts.partition_point(|first| *first <= start) - 1;
                let end = range.end.min(self.firsts.get(group + 1).copied().unwrap_or(range.end));
                if groups.last().is_none_or(|(last, _)| *last != group) {
                    groups.push((group, Vec::new()));
                }
                groups.last_mut().expect("it was just pushed").1.push(start..end);
                start = end;
            }
        }
        groups
    }

    /// The bytes that hold `columns` of `rows`, which are ascending and apart: one range a page, ascending.
    pub fn ranges(&self, columns: &[usize], rows: &[Range<u64>]) -> Vec<Range<u64>> {
        let groups = self.by_group(rows);
        let groups = groups.iter().flat_map(|(group, rows)| self.needed(*group, columns, rows));
        let mut ranges: Vec<Range<u64>> = groups.map(|of| of.page.bytes.clone()).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        ranges
    }

    /// The pages of the row group `group` that hold `columns` of `rows`, all of which lie in it.
    fn needed<'a>(
        &'a self,
        group: usize,
        columns: &'a [usize],
        rows: &'a [Range<u64>],
    ) -> impl Iterator<Item = &'a Checked> {
        let leaves = self.pages[group].iter().zip(&self.roots).filter(|(_, root)| columns.contains(root));
        let holds = |page: &Page| {
            let after = rows.partition_point(|range| range.end <= page.rows.start);
            page.rows.is_empty() || rows.get(after).is_some_and(|range| range.start < page.rows.end)
        };
        leaves.flat_map(move |(pages, _)| pages.iter().filter(move |of| holds(&of.page)))
    }

    /// The cells of `columns`, which are of `types`, in `rows` of the row group `group`, one after another. `bytes` gives what
    /// [`Reader::ranges`] asked for.
    ///
    /// # Errors
    /// `Damaged` for bytes that are not those that were written.
    pub fn decode(
        &self,
        group: usize,
        (columns, types): (&[usize], &[DataType]),
        rows: &[Range<u64>],
        bytes: &dyn Fn(&Range<u64>) -> Bytes,
    ) -> Result<Vec<ArrayRef>> {
        let mut pages = Vec::new();
        for of in self.needed(group, columns, rows) {
            let page = bytes(&of.page.bytes);
            if checksum(&page) != of.checksum {
                return Err(damaged(format!("the page at byte {} does not match its checksum", of.page.bytes.start)));
            }
            pages.push((of.page.bytes.start, page));
        }
        pages.sort_unstable_by_key(|(start, _)| *start);
        let length = pages.last().map_or(0, |(start, page)| start + page.len() as u64);
        let input = Fetched { pages: pages.into(), length };
        let count: u64 = rows.iter().map(|range| range.end - range.start).sum();
        let description = self.metadata.metadata().file_metadata().schema_descr();
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(input, self.metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(ProjectionMask::roots(description, columns.iter().copied()))
            .with_row_selection(selection(rows, self.firsts[group]))
            .with_batch_size(usize::try_from(count).unwrap_or(usize::MAX))
            .build()
            .map_err(damaged)?;
        let batches = reader.collect::<Result<Vec<RecordBatch>, _>>().map_err(damaged)?;
        let mut order: Vec<usize> = columns.to_vec();
        order.sort_unstable();
        let column = |(column, data_type): (&usize, &DataType)| {
            let place = order.binary_search(column).map_err(|_| damaged("it lacks a column"))?;
            let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(place).as_ref()).collect();
            if arrays.is_empty() {
                return Ok(new_empty_array(data_type));
            }
            from_lake(&concat(&arrays).map_err(damaged)?, data_type)
        };
        columns.iter().zip(types).map(column).collect()
    }
}

/// `rows` of a row group that begins at `first`, as the decoder wants them.
fn selection(rows: &[Range<u64>], first: u64) -> RowSelection {
    let mut selectors = Vec::with_capacity(rows.len() * 2);
    let mut at = first;
    for range in rows {
        if range.start > at {
            selectors.push(RowSelector::skip((range.start - at) as usize));
        }
        selectors.push(RowSelector::select((range.end - range.start) as usize));
        at = range.end;
    }
    RowSelection::from(selectors)
}

/// Pages that were fetched, by where they begin.
struct Fetched {
    pages: Arc<[(u64, Bytes)]>,
    length: u64,
}

impl Fetched {
    /// The bytes from `start` to the end of its page.
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let after = self.pages.partition_point(|(page, _)| *page <= start);
        let (page, bytes) =
            after.checked_sub(1).map(|at| &self.pages[at]).ok_or(ParquetError::EOF(start.to_string()))?;
        let skipped = usize::try_from(start - page).ok().filter(|skipped| *skipped <= bytes.len());
        Ok(bytes.slice(skipped.ok_or(ParquetError::EOF(start.to_string()))?..))
    }
}

impl Length for Fetched {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Fetched {
    type T = Cursor<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        self.from(start).map(Cursor::new)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF(format!("{length} bytes at {start}, which were not asked for")));
        }
        Ok(bytes.slice(..length))
    }
}
