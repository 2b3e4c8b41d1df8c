//! A directory within another door, as a door of its own.

use std::sync::Arc;

use bytes::Bytes;

use super::{Access, Append, Comes, Files, Sparse};
use crate::error::Result;

/// What lies under a directory of other files. It has no directories that those do not have.
#[derive(Debug)]
pub(crate) struct Under {
    files: Arc<dyn Files>,
    directory: &'static str,
}

impl Under {
    /// The door to `directory` of `files`.
    pub(crate) fn new(files: Arc<dyn Files>, directory: &'static str) -> Self {
        Self { files, directory }
    }

    fn path(&self, name: &str) -> String {
        let separator = if name.is_empty() { "" } else { "/" };
        format!("{}{separator}{name}", self.directory)
    }
}

impl Files for Under {
    fn create(&self, name: &str) -> Result<Box<dyn Append>> {
        self.files.create(&self.path(name))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.files.read(&self.path(name))
    }

    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<()> {
        self.files.read_at(&self.path(name), offset, into)
    }

    fn map(&self, name: &str, length: u64, access: Access) -> Result<Bytes> {
        self.files.map(&self.path(name), length, access)
    }

    fn length(&self, name: &str) -> Result<u64> {
        self.files.length(&self.path(name))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.files.rename(&self.path(from), &self.path(to))
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.files.remove(&self.path(name))
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        self.files.list(&self.path(directory))
    }

    fn create_directory(&self, directory: &str) -> Result<()> {
        self.files.create_directory(&self.path(directory))
    }

    fn sync_directory(&self, directory: &str) -> Result<()> {
        self.files.sync_directory(&self.path(directory))
    }

    fn maps_open(&self) -> u64 {
        self.files.maps_open()
    }

    fn create_sparse(&self, name: &str, length: u64) -> Result<Box<dyn Sparse>> {
        self.files.create_sparse(&self.path(name), length)
    }

    fn coming(&self, name: &str) -> Option<Arc<dyn Comes>> {
        self.files.coming(&self.path(name))
    }
}
