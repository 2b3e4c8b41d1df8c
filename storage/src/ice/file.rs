//! One file of ice: its description in memory, its cells in the bucket.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arrow_array::{Array, ArrayRef};
use arrow_buffer::Buffer;
use arrow_schema::DataType;
use bytes::Bytes;

use super::fetch::Fetch;
use crate::error::{Error, Result};
use crate::objects::{ObjectName, damaged};
use crate::parallel;

/// A file of ice.
#[derive(Debug)]
pub(crate) struct IceFile {
    name: ObjectName,
    /// The bytes that describe it, which are not read before a cell is asked for.
    description: Buffer,
    reader: OnceLock<firn_ice::Reader>,
    fetch: Arc<Fetch>,
    /// Bytes of its cells in memory.
    resident: AtomicU64,
}

impl IceFile {
    /// The object `name`, which `description` describes.
    pub(crate) fn new(name: ObjectName, description: Buffer, fetch: Arc<Fetch>) -> Self {
        Self { name, description, reader: OnceLock::new(), fetch, resident: AtomicU64::new(0) }
    }

    /// The error for content that does not make sense.
    pub(crate) fn damaged(&self, what: &str) -> Error {
        damaged(&self.name, what)
    }

    /// Counts bytes that came and stay as long as the file is open.
    pub(crate) fn came(&self, bytes: u64) {
        self.resident.fetch_add(bytes, Ordering::Relaxed);
        self.fetch.came(bytes);
    }

    /// Bytes of its cells in memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.resident.load(Ordering::Relaxed)
    }

    fn reader(&self) -> Result<&firn_ice::Reader> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        let description = Bytes::copy_from_slice(&self.description);
        let meta = firn_ice::Meta::decode(&description).map_err(|error| self.damaged(&error.to_string()))?;
        let reader = firn_ice::Reader::new(meta).map_err(|error| self.damaged(&error.to_string()))?;
        Ok(self.reader.get_or_init(|| reader))
    }
}

impl Drop for IceFile {
    fn drop(&mut self) {
        self.fetch.went(*self.resident.get_mut());
    }
}

/// Cells that are wanted of one file.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) file: &'a Arc<IceFile>,
    /// Features, and the types of their cells.
    pub(crate) features: Vec<u32>,
    pub(crate) types: Vec<DataType>,
    /// Rows, ascending and apart.
    pub(crate) rows: Vec<Range<u64>>,
}

/// Brings the cells of all of `wanted`: everything that is needed is asked for at once. Of each row group they go to `arrive` as
/// they are decoded, on several threads, with the place of what wanted them among `wanted` and their rows.
pub(crate) fn ask(
    wanted: &[Wanted<'_>],
    arrive: impl Fn(usize, &[Range<u64>], &[ArrayRef]) -> Result<()> + Sync,
) -> Result<()> {
    let Some(first) = wanted.first() else { return Ok(()) };
    let fetch = &first.file.fetch;
    let policy = fetch.policy();
    let mut needed = Vec::with_capacity(wanted.len());
    for of in wanted {
        let reader = of.file.reader()?;
        let columns = of.features.iter().map(|feature| of.file.column(reader, *feature)).collect::<Result<Vec<_>>>()?;
        let ranges = reader.ranges(&columns, &of.rows);
        needed.push((reader, columns, firn_ice::merge_ranges(&ranges, policy.gap_bytes, policy.request_bytes_max)));
    }
    let requests = wanted.iter().zip(&needed);
    let requests = requests.flat_map(|(of, (.., ranges))| ranges.iter().map(|range| (&of.file.name, range.clone())));
    let mut came = fetch.all(requests.collect())?.into_iter();
    let pieces: Vec<Pieces> = needed
        .iter()
        .map(|(.., ranges)| Pieces { ranges: ranges.clone(), bytes: came.by_ref().take(ranges.len()).collect() })
        .collect();
    // Row groups are decoded each by itself.
    let mut work = Vec::new();
    for (place, (of, (reader, ..))) in wanted.iter().zip(&needed).enumerate() {
        work.extend(reader.by_group(&of.rows).into_iter().map(|(group, rows)| (place, group, rows)));
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    parallel::map(work, threads, |(place, group, rows)| {
        let (of, (reader, columns, _), pieces) = (&wanted[place], &needed[place], &pieces[place]);
        let cells = reader.decode(group, (columns, &of.types), &rows, &|range| pieces.get(range));
        let cells = cells.map_err(|error| of.file.damaged(&error.to_string()))?;
        let count: u64 = rows.iter().map(|range| range.end - range.start).sum();
        if cells.iter().any(|column| column.len() as u64 != count) {
            return Err(of.file.damaged("it has fewer rows than its segment"));
        }
        arrive(place, &rows, &cells)
    })
    .map(drop)
}

impl IceFile {
    fn column(&self, reader: &firn_ice::Reader, feature: u32) -> Result<usize> {
        let known = reader.column_of(feature as i32);
        known.ok_or_else(|| self.damaged(&format!("it has no column of feature {feature}")))
    }
}

/// Pieces of a file that were fetched.
struct Pieces {
    /// Ascending.
    ranges: Vec<Range<u64>>,
    bytes: Vec<Bytes>,
}

impl Pieces {
    /// The bytes `range`, which lie within one piece.
    fn get(&self, range: &Range<u64>) -> Bytes {
        let after = self.ranges.partition_point(|piece| piece.start <= range.start);
        let at = after.checked_sub(1).expect("only what was asked for is decoded");
        let start = self.ranges[at].start;
        self.bytes[at].slice((range.start - start) as usize..(range.end - start) as usize)
    }
}
