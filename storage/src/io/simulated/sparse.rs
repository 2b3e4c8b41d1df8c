//! A file of the disk in memory whose bytes come in any order.

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Simulated, Writer, poisoned};
use crate::error::Result;
use crate::io::region::Region;
use crate::io::{Append, Sparse};

impl Simulated {
    /// Creates `name`, of `length` bytes that come later.
    pub(super) fn create_sparse_file(&self, name: &str, length: u64) -> Result<Box<dyn Sparse>> {
        let writer = self.create_writer(name)?;
        writer.file.lock().bytes.resize(length as usize, 0);
        Ok(Box::new(SparseFile { writer: Mutex::new(writer), view: Region::new(length)?, length }))
    }
}

#[derive(Debug)]
struct SparseFile {
    writer: Mutex<Writer>,
    view: Region,
    length: u64,
}

impl Sparse for SparseFile {
    fn view(&self) -> Bytes {
        self.view.bytes().slice(..self.length as usize)
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let writer = self.writer.lock();
        writer.disk.tell(&writer.name, "write");
        let (_disk, fault) = writer.disk.enter();
        if let Some(fault) = fault {
            return Err(fault.error(&writer.name, "write"));
        }
        writer.file.lock().bytes[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        self.view.put_piece(offset as usize, bytes);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        if writer.poisoned {
            return Err(poisoned(&writer.name));
        }
        writer.sync()?;
        // Everything that came is there before the file gets its name.
        writer.file.lock().appending = false;
        Ok(())
    }
}
