//! The write-ahead log: one per database, in files `wal/{number}.wal`.
//!
//! Guarantees. A record is there after a crash once [`Wal::commit`] has returned, whole, at its place, after all
//! records before it; one that was not committed is there whole or not at all. Replay gives exactly the committed
//! records, then perhaps some of the last group that was being committed, and nothing else: damage anywhere but in
//! that group is an error that names file and offset. After a failure nothing more is written until the log is
//! recovered, because after a failed fsync nobody knows what the disk holds.
//!
//! How. Records of a group are written together and made durable by one sync. Each names its place and where its
//! group begins, which is how far the file was durable when it was written: so a later record proves that what is
//! before its group was once whole, and damage there is no torn write. A file is closed by an end record, and the
//! next one remembers its length and a checksum over all its headers, so that no file can go missing or be swapped.
//! A file's name is durable before any record in it is.
//!
//! It is not a queue, and it does not know what is in a payload. It has one writer and no lock.

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::io::{Files, sweep};

mod names;
mod reader;
mod record;
mod repair;
mod replay;
mod stream;
mod survey;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use names::{DIRECTORY, file_name, file_numbers};
pub use record::{RECORD_BYTES_MAX, Record};
pub use repair::{Repair, losses, repair};
pub use stream::{OwnedRecord, Stream};
pub use survey::{Finding, verify};

use record::{END, FILE_HEADER_BYTES, FileHeader};
use writer::{Writer, begin_synced};

/// The log of one database, open for writing.
#[derive(Debug)]
pub struct Wal {
    files: Arc<dyn Files>,
    writer: Writer,
    /// The failure after which nothing more is written.
    poisoned: Option<Error>,
    /// Whether a file that was begun and not published may still be there.
    littered: bool,
}

impl Wal {
    /// Begins the log of a new database with the file `number`. Do this before anything durable names the log: what
    /// an interrupted creation left is replaced, but a log that holds records is not.
    pub fn create(files: &Arc<dyn Files>, number: u64) -> Result<Self> {
        files.create_directory(DIRECTORY)?;
        crate::io::sweep(files.as_ref(), DIRECTORY)?;
        for old in file_numbers(files.as_ref())? {
            let name = file_name(old);
            if files.length(&name)? > FILE_HEADER_BYTES as u64 {
                return Err(Error::corrupt(
                    &name,
                    0,
                    "it holds records, but the database that it belongs to is missing",
                ));
            }
            files.remove(&name)?;
        }
        let writer = begin_synced(files.as_ref(), &FileHeader { number, previous: None }, 0)?;
        writer.publish(files.as_ref())?;
        Ok(Self::serve(files, writer))
    }

    /// Opens the log from the file `first_number` on: hands every record, with the number of its
    /// file, to `apply` in order, drops the torn end of
    /// the last group, writes the last file anew and syncs it, and goes on in it.
    pub fn recover(
        files: &Arc<dyn Files>,
        first_number: u64,
        apply: &mut dyn FnMut(u64, Record<'_>) -> Result<()>,
    ) -> Result<Self> {
        let writer = replay::recover(files.as_ref(), first_number, apply)?;
        let wal = Self::serve(files, writer);
        wal.remove_before(first_number)?;
        Ok(wal)
    }

    fn serve(files: &Arc<dyn Files>, writer: Writer) -> Self {
        Self { files: Arc::clone(files), writer, poisoned: None, littered: false }
    }

    /// Adds `record` to the group that the next commit makes durable. Sequences must increase. A payload beyond
    /// [`RECORD_BYTES_MAX`] is refused, and the log goes on.
    pub fn append(&mut self, record: &Record<'_>) -> Result<()> {
        assert!(record.kind != END, "record kind {END} closes a file");
        assert!(record.first > self.writer.last(), "sequences increase");
        assert!(record.last + 1 >= record.first, "a record's sequences are a range");
        self.check()?;
        if record.payload.len() > RECORD_BYTES_MAX {
            let length = record.payload.len();
            let message =
                format!("a log record of {length} bytes is beyond the limit of {RECORD_BYTES_MAX}; send less at once");
            return Err(Error::new(Kind::Exhausted, message));
        }
        let appended = self.writer.append(record);
        self.poison_on_error(appended)
    }

    /// Makes all appended records durable, with one sync. After an error none of the group is acknowledged, and
    /// nothing more is written until the log is recovered.
    pub fn commit(&mut self) -> Result<()> {
        self.check()?;
        if self.writer.is_synced() {
            return Ok(());
        }
        let synced = self.writer.sync();
        self.poison_on_error(synced)
    }

    /// Commits, closes the current file and goes on in the file `number`, which must be greater than all before it.
    /// If the new file cannot be made, the log goes on in the old one.
    pub fn rotate(&mut self, number: u64) -> Result<()> {
        assert!(number > self.writer.number(), "file numbers increase");
        self.commit()?;
        if self.littered {
            sweep(self.files.as_ref(), DIRECTORY)?;
            self.littered = false;
        }
        // Made first, so that a full disk is met while the old file can still be written.
        let header = FileHeader { number, previous: Some(self.writer.link()) };
        let next = match begin_synced(self.files.as_ref(), &header, self.writer.last()) {
            Ok(next) => next,
            Err(error) if error.kind() == Kind::Poisoned => return self.poison_on_error(Err(error)),
            Err(error) => {
                self.littered = true;
                return Err(error);
            }
        };
        // The old file is durably closed before the new name appears, or replay would find a gap.
        let closed = self.writer.end().and_then(|()| self.writer.sync());
        let switched = closed.and_then(|()| next.publish(self.files.as_ref()));
        self.poison_on_error(switched)?;
        assert_eq!(
            header.previous.map(|link| link.length),
            Some(self.writer.length()),
            "the link is to the closed file"
        );
        self.writer = next;
        Ok(())
    }

    /// The number of the current file.
    pub fn number(&self) -> u64 {
        self.writer.number()
    }

    /// The length of the current file in bytes, with what is not yet committed.
    pub fn bytes(&self) -> u64 {
        self.writer.length()
    }

    /// Removes the files before `number`, once nothing in them is needed any more and a durable manifest says so.
    pub fn remove_before(&self, number: u64) -> Result<()> {
        assert!(number <= self.writer.number(), "the current file stays");
        remove_before(&self.files, number)
    }

    /// Commits and closes the log, so that the next open can tell a torn end from damage.
    pub fn close(mut self) -> Result<()> {
        self.commit()?;
        let closed = self.writer.end().and_then(|()| self.writer.sync());
        self.poison_on_error(closed)
    }

    /// Refuses to go on after a failure.
    fn check(&self) -> Result<()> {
        self.poisoned.clone().map_or(Ok(()), Err)
    }

    fn poison_on_error(&mut self, outcome: Result<()>) -> Result<()> {
        outcome.map_err(|cause| {
            let message = format!("the log takes no more writes since: {cause}");
            let error = Error::new(Kind::Poisoned, message);
            self.poisoned = Some(error.clone());
            error
        })
    }
}

/// Removes the files before `number`, once nothing in them is needed any more and a durable manifest says so. For
/// callers beside the log's writer; `number` is at most that of the file it writes.
pub fn remove_before(files: &Arc<dyn Files>, number: u64) -> Result<()> {
    let old: Vec<u64> = file_numbers(files.as_ref())?.into_iter().filter(|&file| file < number).collect();
    if old.is_empty() {
        return Ok(());
    }
    for file in old {
        files.remove(&file_name(file))?;
    }
    files.sync_directory(DIRECTORY)
}
