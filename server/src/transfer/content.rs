//! The bytes of a file that is being read, from wherever it lies.
//!
//! Of a file in a bucket ranges are asked for as they are needed, each twice as long as the one that it follows on, and
//! kept up to a limit, so that both who reads on and who jumps between columns ask for few bytes twice.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::Result;
use super::location::{Location, Object};

/// The first range at a place.
const RANGE_BYTES_FIRST: u64 = 256 << 10;

/// The longest range at a place.
const RANGE_BYTES_MAX: u64 = 8 << 20;

/// The longest range at each of very many places.
const RANGE_BYTES_MIN: u64 = 16 << 10;

/// What is kept of a file.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// The bytes of a file, from a position on. Its clones share what is kept.
#[derive(Debug, Clone)]
pub(super) struct Content {
    holder: Arc<Holder>,
    length: u64,
    position: u64,
}

/// What the bytes are asked of.
#[derive(Debug)]
enum Holder {
    File(File),
    Object(Arc<Object>, Mutex<Kept>),
}

/// The ranges that are kept, the one that was used last at the end.
#[derive(Debug)]
struct Kept {
    ranges: VecDeque<(u64, Bytes)>,
    /// No range is longer.
    range_bytes_max: u64,
}

impl Content {
    /// Of the file at `location`.
    pub(super) fn open(location: &Location) -> Result<Self> {
        let failed = |error: io::Error| format!("could not open it: {error}");
        let (holder, length) = match location {
            Location::Path(path) => {
                let file = File::open(path).map_err(failed)?;
                let length = file.metadata().map_err(failed)?.len();
                (Holder::File(file), length)
            }
            Location::Object(object) => {
                let length = object.found().map_err(|error| format!("could not open it: {error}"))?.length;
                let kept = Kept { ranges: VecDeque::new(), range_bytes_max: RANGE_BYTES_MAX };
                (Holder::Object(Arc::clone(object), Mutex::new(kept)), length)
            }
        };
        Ok(Self { holder: Arc::new(holder), length, position: 0 })
    }

    /// How many bytes there are.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Says that it is read at `count` places by turns: ranges are so short that one of each is kept.
    pub(super) fn read_at_places(&self, count: usize) {
        if let Holder::Object(_, kept) = &*self.holder {
            let each = KEPT_BYTES_MAX / count.max(1) as u64;
            kept.lock().range_bytes_max = each.clamp(RANGE_BYTES_MIN, RANGE_BYTES_MAX);
        }
    }

    /// The same, from another position on.
    fn at_position(&self, position: u64) -> Self {
        Self { position, ..self.clone() }
    }
}

impl Read for Content {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match &*self.holder {
            Holder::File(file) => file.read_at(into, self.position)?,
            Holder::Object(..) if self.position >= self.length => 0,
            Holder::Object(object, kept) => kept.lock().read_at(object, self.position, into)?,
        };
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Content {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

impl Length for Content {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Content {
    type T = BufReader<Self>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::new(self.at_position(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        // The length is what the file says, and no memory is taken on its word.
        if start.checked_add(length as u64).is_none_or(|end| end > self.length) {
            let what = format!("{length} bytes at {start} are beyond its end");
            return Err(ParquetError::EOF(what));
        }
        let mut bytes = vec![0; length];
        self.at_position(start).read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

impl Kept {
    /// Reads what is at `position` of `object`, which is before its end.
    fn read_at(&mut self, object: &Object, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let end = |(start, bytes): &(u64, Bytes)| start + bytes.len() as u64;
        let holds = |range: &(u64, Bytes)| range.0 <= position && position < end(range);
        let (start, bytes) = match self.ranges.iter().rposition(holds) {
            Some(place) => self.ranges.remove(place).expect("it was found there"),
            None => {
                let before = self.ranges.iter().rfind(|range| end(range) == position);
                let length = before.map_or(RANGE_BYTES_FIRST, |(_, bytes)| 2 * bytes.len() as u64);
                fetch(object, position, length.min(self.range_bytes_max))?
            }
        };
        let rest = &bytes[(position - start) as usize..];
        let read = rest.len().min(into.len());
        into[..read].copy_from_slice(&rest[..read]);
        self.ranges.push_back((start, bytes));
        let mut bytes: u64 = self.ranges.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        while bytes > KEPT_BYTES_MAX {
            bytes -= self.ranges.pop_front().map_or(0, |(_, bytes)| bytes.len() as u64);
        }
        Ok(read)
    }
}

/// A range of `length` bytes with `position` in it: one that would go beyond the end begins before it instead, since what is
/// at the end is mostly read backwards.
fn fetch(object: &Object, position: u64, length: u64) -> io::Result<(u64, Bytes)> {
    let found = object.found().map_err(io::Error::other)?;
    let start = position.min(found.length.saturating_sub(length));
    let end = found.length.min(start + length);
    let bytes = object.file().read(found, start..end).map_err(|error| io::Error::other(error.to_string()))?;
    Ok((start, bytes))
}
