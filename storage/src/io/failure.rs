//! The errors of calls on files, by what the caller can do about them.

use crate::error::{Error, Kind};

/// What a missing file means depends on the caller; this is the plain error.
pub(super) fn missing(name: &str) -> Error {
    Error::new(Kind::Io, format!("file {name} does not exist"))
}

/// The error of a failed call on `name`, by what the caller can do about it.
pub(super) fn failed(name: &str, doing: &str, error: &std::io::Error) -> Error {
    let exhausted = |what: &str| Error::new(Kind::Exhausted, format!("could not {doing} {name}: {what} ({error})"));
    match error.raw_os_error() {
        Some(libc::ENOENT) => missing(name),
        Some(libc::ENOSPC | libc::EDQUOT) => exhausted("the disk is full"),
        Some(libc::EMFILE | libc::ENFILE) => exhausted("too many files are open, raise the limit of open files"),
        Some(libc::ENOMEM) => exhausted("the kernel has no memory or maps left, see vm.max_map_count"),
        _ => Error::io(name, doing, error),
    }
}

/// The error of a failed fsync of `name`.
pub(super) fn poisoned(name: &str, why: &str) -> Error {
    let message = format!("could not sync {name}: {why}; what the disk holds is unknown, open the database again");
    Error::new(Kind::Poisoned, message)
}
