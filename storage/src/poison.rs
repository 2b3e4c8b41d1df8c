//! The poison of a database: after a failed sync nobody knows what the disk holds, and after a thread of the engine panicked
//! nobody knows what memory holds, so nothing more is written.
//!
//! It is taken by the first failure and stays until the database is opened again. Reads go on. Whatever file it was,
//! [`Watched`], the door to files that notices, lets no failed sync pass unseen.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::error::{Error, Kind, Result};
use crate::io::{Access, Append, Files, Sparse};
use crate::published::Published;

/// Whether the database is poisoned, and why.
#[derive(Debug)]
pub struct Poison {
    first: OnceLock<Error>,
    published: Arc<Published>,
}

impl Poison {
    /// None yet, for the log whose commits are `published`.
    pub fn new(published: Arc<Published>) -> Self {
        Self { first: OnceLock::new(), published }
    }

    /// Why nothing is written any more, if that is so.
    pub fn get(&self) -> Option<&Error> {
        self.first.get()
    }

    /// Refuses to write once the database is poisoned.
    pub fn check(&self) -> Result<()> {
        self.get().cloned().map_or(Ok(()), Err)
    }

    /// Ends all writing because of `cause`. The first cause stays: what follows is only its echo.
    pub fn set(&self, cause: &Error) {
        let mend = "reads go on; mend what is wrong, then open the database again (start the server again)";
        let error = Error::new(Kind::Poisoned, format!("{cause}; {mend}"));
        if self.first.set(error.clone()).is_ok() {
            tracing::error!(%error, "the database is poisoned");
            self.published.fail(error);
        }
    }

    /// Takes the poison if `outcome` is a failed sync.
    fn note<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|error| {
            if error.kind() == Kind::Poisoned {
                self.set(error);
            }
        })
    }
}

/// A door to files that poisons the database as soon as a sync of any of them fails.
#[derive(Debug)]
pub struct Watched {
    files: Arc<dyn Files>,
    poison: Arc<Poison>,
}

impl Watched {
    /// Watches `files`.
    pub fn new(files: Arc<dyn Files>, poison: Arc<Poison>) -> Self {
        Self { files, poison }
    }
}

impl Files for Watched {
    fn create(&self, name: &str) -> Result<Box<dyn Append>> {
        let file = self.poison.note(self.files.create(name))?;
        Ok(Box::new(WatchedAppend { file, poison: Arc::clone(&self.poison) }))
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
        self.poison.note(self.files.rename(from, to))
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.poison.note(self.files.remove(name))
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        self.files.list(directory)
    }

    fn create_directory(&self, directory: &str) -> Result<()> {
        self.poison.note(self.files.create_directory(directory))
    }

    fn sync_directory(&self, directory: &str) -> Result<()> {
        self.poison.note(self.files.sync_directory(directory))
    }

    fn maps_open(&self) -> u64 {
        self.files.maps_open()
    }

    fn create_sparse(&self, name: &str, length: u64) -> Result<Box<dyn Sparse>> {
        let file = self.poison.note(self.files.create_sparse(name, length))?;
        Ok(Box::new(WatchedSparse { file, poison: Arc::clone(&self.poison) }))
    }
}

/// A file of [`Watched`] that comes piece by piece.
#[derive(Debug)]
struct WatchedSparse {
    file: Box<dyn Sparse>,
    poison: Arc<Poison>,
}

impl Sparse for WatchedSparse {
    fn view(&self) -> Bytes {
        self.file.view()
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.poison.note(self.file.put(offset, bytes))
    }

    fn sync(&self) -> Result<()> {
        self.poison.note(self.file.sync())
    }
}

/// A file of [`Watched`] that is being written.
#[derive(Debug)]
struct WatchedAppend {
    file: Box<dyn Append>,
    poison: Arc<Poison>,
}

impl Append for WatchedAppend {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.poison.note(self.file.append(bytes))
    }

    fn sync(&mut self) -> Result<()> {
        self.poison.note(self.file.sync())
    }
}
