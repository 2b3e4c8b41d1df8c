//! Replay: every record of the log in order, then a last file that is certainly durable.
//!
//! Only one flaw is forgiven: bytes at the end of the last file that do not check, if no record after them says that
//! they were synced. They are what a crash leaves of a group that was never acknowledged. Everything else is damage.
//!
//! The last file is copied record by record while it is replayed, and the copy is synced and takes its name before
//! the log serves: what was read may have been only in the cache, left by a process whose fsync had failed.

use super::names::{DIRECTORY, file_name, file_numbers};
use super::reader::{Damage, Next, Reader, Stored};
use super::record::{FileHeader, Link, Record};
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::io::{Files, sweep};
use crate::time::Sequence;

/// Hands every record from the file `first_number` on to `apply`; the last file, ready for more.
pub(super) fn recover(
    files: &dyn Files,
    first_number: u64,
    apply: &mut dyn FnMut(u64, Record<'_>) -> Result<()>,
) -> Result<Writer> {
    sweep(files, DIRECTORY)?;
    let mut numbers = file_numbers(files)?;
    numbers.retain(|&number| number >= first_number);
    let Some((&tail, closed)) = numbers.split_last().filter(|_| numbers.first() == Some(&first_number)) else {
        return Err(Error::corrupt(&file_name(first_number), 0, "the file is missing"));
    };
    let mut before = Before { link: None, last: 0 };
    for &number in closed {
        before = replay_closed(files, number, before, apply)?;
    }
    let mut reader = open(files, tail, before)?;
    let mut writer = Writer::begin(files, reader.header(), before.last)?;
    match replay_tail(&mut reader, &mut writer, apply).and_then(|()| writer.sync()) {
        Ok(()) => writer.publish(files).map(|()| writer),
        Err(error) => {
            writer.discard(files);
            Err(error)
        }
    }
}

/// How the log stands where a file begins.
#[derive(Debug, Clone, Copy)]
struct Before {
    /// The end of the file before; `None` where that one is no longer needed.
    link: Option<Link>,
    /// The greatest sequence.
    last: Sequence,
}

/// Replays a file that is not the last one.
fn replay_closed(
    files: &dyn Files,
    number: u64,
    before: Before,
    apply: &mut dyn FnMut(u64, Record<'_>) -> Result<()>,
) -> Result<Before> {
    let mut reader = open(files, number, before)?;
    loop {
        match reader.next()? {
            Next::Record(stored) => apply_stored(&stored, apply)?,
            Next::End => {}
            Next::Finished => break,
            Next::Damage(damage) => return Err(corrupt(&reader, &damage)),
        }
    }
    if !reader.ended() {
        return Err(Error::corrupt(reader.name(), reader.offset(), NOT_CLOSED));
    }
    Ok(Before { link: Some(reader.link()), last: reader.last() })
}

/// Replays the last file and copies its records. An end record is not copied: the log goes on after it.
fn replay_tail(
    reader: &mut Reader<'_>,
    writer: &mut Writer,
    apply: &mut dyn FnMut(u64, Record<'_>) -> Result<()>,
) -> Result<()> {
    loop {
        match reader.next()? {
            Next::Record(stored) => {
                writer.copy(&stored)?;
                apply_stored(&stored, apply)?;
            }
            Next::End => {}
            Next::Finished => return Ok(()),
            Next::Damage(damage) => {
                if !is_torn(reader, &damage)? {
                    return Err(corrupt(reader, &damage));
                }
                let (file, offset, bytes) = (reader.name(), damage.offset, reader.length() - damage.offset);
                tracing::warn!(file, offset, bytes, "dropped the torn end of the log: {}", damage.what);
                return Ok(());
            }
        }
    }
}

/// Applies a record; an error says where it stands.
fn apply_stored(stored: &Stored<'_>, apply: &mut dyn FnMut(u64, Record<'_>) -> Result<()>) -> Result<()> {
    let (file, offset) = (file_name(stored.header.number), stored.header.offset);
    apply(stored.header.number, stored.record()).map_err(|error| error.at(format!("file {file}, offset {offset}")))
}

/// Opens the file `number` and checks that it follows the file before it.
fn open<'a>(files: &'a dyn Files, number: u64, before: Before) -> Result<Reader<'a>> {
    let reader = Reader::open(files, number, before.last)?
        .map_err(|damage| Error::corrupt(&file_name(number), damage.offset, &damage.what))?;
    match before.link.and_then(|link| broken_link(reader.header(), &link)) {
        None => Ok(reader),
        Some(what) => Err(Error::corrupt(reader.name(), 0, what)),
    }
}

fn corrupt(reader: &Reader<'_>, damage: &Damage) -> Error {
    Error::corrupt(reader.name(), damage.offset, &damage.what)
}

/// What is wrong with a file that is not the last one and has no end record.
pub(super) const NOT_CLOSED: &str = "the file stops before the record that closes it, but there are later files";

/// Whether `damage` in the last file is what a crash left of a group that was never acknowledged.
pub(super) fn is_torn(reader: &mut Reader<'_>, damage: &Damage) -> Result<bool> {
    Ok(damage.torn && !reader.was_synced(damage.offset)?)
}

/// Why a file with `header` does not follow the file that ends as `link` says; `None` if it does.
pub(super) fn broken_link(header: &FileHeader, link: &Link) -> Option<String> {
    match header.previous {
        Some(previous) if previous == *link => None,
        Some(previous) if previous.number == link.number => {
            Some(format!("the file before it, {}, is not as it was when it was closed", file_name(link.number)))
        }
        Some(previous) => Some(format!("the file before it, {}, is missing", file_name(previous.number))),
        None => Some(format!("it begins a log, but {} comes before it", file_name(link.number))),
    }
}
