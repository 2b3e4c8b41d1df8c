//! The errors of calls on files, by what the caller can do about them.

use std::io;

use firn_storage::error::{Error, Kind};
use rustix::io::Errno;

/// Whether there is nothing under a name, perhaps since a part of it is a file.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What is being done where a hard link is made.
pub(super) const LINKING: &str = "create";

/// The error of a failed call on `name`, by what the caller can do about it.
pub(super) fn failed(name: &str, doing: &str, error: &io::Error) -> Error {
    let message = |why: &str| format!("could not {doing} object {name}: {why}{error}");
    let exhausted = |why: &str| Error::new(Kind::Exhausted, message(why));
    match error.kind() {
        _ if doing == LINKING && matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::OPNOTSUPP)) => {
            let why = "the filesystem has no hard links, with which an object is created in one step: ";
            Error::new(Kind::Unsupported, message(why))
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => exhausted("the disk is full: "),
        io::ErrorKind::PermissionDenied => Error::new(Kind::Denied, message("")),
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            let why = "an object cannot have the name of a folder, nor a folder that of an object: ";
            Error::new(Kind::Precondition, message(why))
        }
        _ if matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE)) => {
            exhausted("too many files are open, raise the limit of open files: ")
        }
        _ => Error::new(Kind::Io, message("")),
    }
}

/// The error of a folder that could not be synced.
pub(super) fn poisoned(name: &str, why: &str) -> Error {
    let message = format!("could not sync {name}: {why}; what the disk holds is unknown, open the bucket again");
    Error::new(Kind::Poisoned, message)
}
