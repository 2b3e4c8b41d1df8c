//! Views of whole published files: memory-mapped, or on the heap where maps are not wanted.
//!
//! A map is sound because the files under it never change: they are written once, synced and renamed into place, and
//! afterwards only ever unlinked, which leaves the pages of an open map alive. The one exception are files that come piece by piece
//! ([`Sparse`](super::Sparse)): their bytes change before they are first read, and never again. Before mapping, the length is checked against the one that the caller recorded, since touching a map
//! beyond the end of its file kills the process. Views are counted, and their number is bounded: the kernel's own
//! bound, met in the middle of something, fails allocations that nobody expects to fail.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_buffer::{Buffer, MutableBuffer};
use bytes::Bytes;
use memmap2::{Advice, Mmap};

use super::Access;
use super::failure::failed;
use crate::error::{Error, Kind, Result};

/// The count of open views, with its bound.
#[derive(Debug)]
pub(super) struct Maps {
    open: Arc<AtomicU64>,
    maps_max: u64,
}

impl Maps {
    /// No open views, and at most `maps_max` at a time.
    pub(super) fn new(maps_max: u64) -> Self {
        Self { open: Arc::new(AtomicU64::new(0)), maps_max }
    }

    /// How many views are open.
    pub(super) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Maps the open file `name`, whose length the caller has checked to be `length`.
    pub(super) fn map(&self, file: &File, name: &str, length: u64, access: Access) -> Result<Bytes> {
        let actual = file.metadata().map_err(|error| Error::io(name, "read the length of", &error))?.len();
        check_length(name, length, actual)?;
        if length == 0 {
            return self.hold(name, Buffer::from(MutableBuffer::new(0)));
        }
        let ticket = self.count(name)?;
        let map = map_read_only(file).map_err(|error| failed(name, "map", &error))?;
        if access == Access::Random {
            // Some kernels read megabytes around each page that is missing. One that takes no advice is only slower.
            let _ = map.advise(Advice::Random);
        }
        Ok(Bytes::from_owner(View { bytes: map, _ticket: ticket }))
    }

    /// A counted view of `buffer`, the content of `name`.
    pub(super) fn hold(&self, name: &str, buffer: Buffer) -> Result<Bytes> {
        let ticket = self.count(name)?;
        Ok(Bytes::from_owner(View { bytes: Heap(buffer), _ticket: ticket }))
    }

    /// Counts one more view of `name`, if the bound allows it.
    fn count(&self, name: &str) -> Result<Ticket> {
        let counted = self
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < self.maps_max).then_some(open + 1));
        match counted {
            Ok(_) => Ok(Ticket(Arc::clone(&self.open))),
            Err(open) => Err(Error::new(
                Kind::Exhausted,
                format!("could not map {name}: {open} files are mapped and maps-max is {}; raise it", self.maps_max),
            )),
        }
    }
}

/// Refuses a file whose length is not the recorded one: a shorter file would kill the process that maps it.
pub(super) fn check_length(name: &str, recorded: u64, actual: u64) -> Result<()> {
    if recorded == actual {
        return Ok(());
    }
    Err(Error::corrupt(name, recorded.min(actual), format!("it has {actual} bytes where {recorded} are recorded")))
}

/// A zeroed buffer of `length` bytes for the heap copy of `name`, aligned to at least 64 bytes.
pub(super) fn heap_buffer(name: &str, length: u64) -> Result<MutableBuffer> {
    let length = usize::try_from(length)
        .map_err(|_| Error::new(Kind::Exhausted, format!("file {name} is larger than the address space")))?;
    let buffer = MutableBuffer::from_len_zeroed(length);
    debug_assert_eq!(buffer.as_ptr().align_offset(64), 0);
    Ok(buffer)
}

#[expect(unsafe_code, reason = "mapping a file is unsafe by nature; this is the one place that does it")]
fn map_read_only(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the bytes of a map must not change while they are borrowed, and must stay backed by the file. The file
    // is a published one, or has its whole length and is read only where something has come, which is written once
    // (`coming.rs`): nothing in the engine writes to or shortens a file after it was renamed into place, the
    // data directory is locked against a second process and closed to other users (mode 0700), and an unlinked file
    // keeps its pages until the last map is gone. The caller has checked the length of this very file handle.
    unsafe { Mmap::map(file) }
}

/// A heap buffer as bytes.
struct Heap(Buffer);

impl AsRef<[u8]> for Heap {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// The bytes of one view, and its place in the count.
struct View<T> {
    bytes: T,
    _ticket: Ticket,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for View<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// One place in the count of open views, given back on drop.
struct Ticket(Arc<AtomicU64>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
