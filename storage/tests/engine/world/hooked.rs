//! A door to files that lets a test do something, or fail, where the engine creates or removes a file.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use firn_storage::error::{Error, Result};
use firn_storage::io::{Access, Append, Files, Sparse};

/// What is about to be done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    Create,
    Remove,
}

type Hook = dyn Fn(Doing, &str) -> Result<(), Error> + Send + Sync;

/// The door.
struct Hooked {
    files: Arc<dyn Files>,
    hook: Box<Hook>,
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

/// `files`, with `hook` before each file that is created or removed.
pub fn hooked(
    files: Arc<dyn Files>,
    hook: impl Fn(Doing, &str) -> Result<(), Error> + Send + Sync + 'static,
) -> Arc<dyn Files> {
    Arc::new(Hooked { files, hook: Box::new(hook) })
}

impl Files for Hooked {
    fn create(&self, name: &str) -> Result<Box<dyn Append>> {
        (self.hook)(Doing::Create, name)?;
        self.files.create(name)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.files.read(name)
    }

    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<()> {
        self.files.read_at(name, offset, into)
    }

    fn map(&self, name: &str, length: u64, access: Access) -> Result<Bytes> {
        self.files.map(name, length, access)
    }

    fn length(&self, name: &str) -> Result<u64> {
        self.files.length(name)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<()> {
        (self.hook)(Doing::Remove, name)?;
        self.files.remove(name)
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        self.files.list(directory)
    }

    fn create_directory(&self, directory: &str) -> Result<()> {
        self.files.create_directory(directory)
    }

    fn sync_directory(&self, directory: &str) -> Result<()> {
        self.files.sync_directory(directory)
    }

    fn maps_open(&self) -> u64 {
        self.files.maps_open()
    }

    fn create_sparse(&self, name: &str, length: u64) -> Result<Box<dyn Sparse>> {
        (self.hook)(Doing::Create, name)?;
        self.files.create_sparse(name, length)
    }
}
