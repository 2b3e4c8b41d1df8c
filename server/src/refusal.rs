//! Errors on the wire: the only mapping from the engine's kinds to gRPC codes.
//!
//! Beside the message goes what of the request it is about, as gRPC's `ErrorInfo`: for programs in any language.
//!
//! A message travels in an HTTP/2 header, percent-encoded, and clients refuse headers beyond 8 KiB; so it is cut at
//! [`MESSAGE_BYTES_MAX`] encoded bytes and then says how long it was.

use std::collections::HashMap;

use firn_client::wire::{AnswerError, CommandError};
use firn_storage::error::{Error, Kind, Subject};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The greatest length of a status message after percent-encoding.
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// The status of an engine's error.
pub fn from_error(error: &Error) -> Status {
    let code = match error.kind() {
        Kind::Invalid => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::Precondition => Code::FailedPrecondition,
        Kind::OutOfRange => Code::OutOfRange,
        Kind::Exhausted => Code::ResourceExhausted,
        Kind::Unavailable | Kind::Poisoned => Code::Unavailable,
        Kind::Denied => Code::PermissionDenied,
        Kind::Cancelled => Code::Cancelled,
        Kind::Unsupported => Code::Unimplemented,
        Kind::Corrupt => Code::DataLoss,
        Kind::Io | Kind::Defect => Code::Internal,
        _ => Code::Internal,
    };
    if matches!(error.kind(), Kind::Corrupt | Kind::Poisoned | Kind::Io) {
        tracing::error!(kind = ?error.kind(), "{error}");
    }
    about(code, error.message(), error.subject())
}

/// The engine's error of a status of ours, on its way through what speaks of errors of the engine.
pub fn to_error(status: &Status) -> Error {
    let kind = match status.code() {
        Code::InvalidArgument => Kind::Invalid,
        Code::NotFound => Kind::NotFound,
        Code::AlreadyExists => Kind::AlreadyExists,
        Code::FailedPrecondition => Kind::Precondition,
        Code::OutOfRange => Kind::OutOfRange,
        Code::ResourceExhausted => Kind::Exhausted,
        Code::PermissionDenied => Kind::Denied,
        Code::Cancelled => Kind::Cancelled,
        Code::Unimplemented => Kind::Unsupported,
        Code::DataLoss => Kind::Corrupt,
        Code::Internal => Kind::Defect,
        _ => Kind::Unavailable,
    };
    Error::new(kind, status.message())
}

/// Whose errors these are.
const DOMAIN: &str = "firndb";

/// A status with what of the request it is about.
fn about(code: Code, message: &str, subject: &Subject) -> Status {
    let column = subject.column.as_deref().map(|column| ("column".to_owned(), cut(column)));
    let row = subject.row.map(|row| ("row".to_owned(), row.to_string()));
    let metadata: HashMap<_, _> = column.into_iter().chain(row).collect();
    if metadata.is_empty() {
        return new(code, message);
    }
    let details = ErrorDetails::with_error_info(name(code), DOMAIN, metadata);
    Status::with_error_details(code, cut(message), details)
}

/// The same status with `place` before its message.
pub fn at(status: &Status, place: &str) -> Status {
    let message = cut(&format!("{place}: {}", status.message()));
    Status::with_details(status.code(), message, status.details().to_vec().into())
}

/// The status of a command that could not be read.
pub fn from_command(error: &CommandError) -> Status {
    new(if error.reserved { Code::Unimplemented } else { Code::InvalidArgument }, &error.message)
}

/// A bad request: what, where, how to mend it.
pub fn invalid(message: impl AsRef<str>) -> Status {
    new(Code::InvalidArgument, message.as_ref())
}

/// A configured limit was met; the message names it.
pub fn exhausted(message: impl AsRef<str>) -> Status {
    new(Code::ResourceExhausted, message.as_ref())
}

/// The caller may not do this.
pub fn denied(message: impl AsRef<str>) -> Status {
    new(Code::PermissionDenied, message.as_ref())
}

/// Not now.
pub fn unavailable(message: impl AsRef<str>) -> Status {
    new(Code::Unavailable, message.as_ref())
}

/// A form that is known but not served.
pub fn unimplemented(message: impl AsRef<str>) -> Status {
    new(Code::Unimplemented, message.as_ref())
}

/// A status whose message fits a header.
pub fn new(code: Code, message: &str) -> Status {
    Status::new(code, cut(message))
}

/// The status as an error in band. The band has no header limit, but the message is the same as the status's.
pub fn in_band(status: &Status) -> AnswerError {
    let info = status.get_details_error_info().map(|info| info.metadata).unwrap_or_default();
    AnswerError {
        code: name(status.code()).to_owned(),
        message: status.message().to_owned(),
        column: info.get("column").cloned(),
        row: info.get("row").and_then(|row| row.parse().ok()),
    }
}

/// The code as gRPC spells it.
pub fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// What an encoded character takes: printable ASCII but for a few takes one byte, everything else three per byte.
fn encoded_bytes(character: char) -> usize {
    match character {
        ' ' | '"' | '#' | '<' | '>' | '`' | '?' | '{' | '}' | '%' => 3,
        '!'..='~' => 1,
        _ => 3 * character.len_utf8(),
    }
}

fn cut(message: &str) -> String {
    let total: usize = message.chars().map(encoded_bytes).sum();
    if total <= MESSAGE_BYTES_MAX {
        return message.to_owned();
    }
    let note = format!(" ... (cut; {} bytes in all)", message.len());
    let mut room = MESSAGE_BYTES_MAX - note.chars().map(encoded_bytes).sum::<usize>();
    let fitting = message.chars().take_while(|character| {
        let bytes = encoded_bytes(*character);
        let fits = bytes <= room;
        room = room.saturating_sub(bytes);
        fits
    });
    fitting.collect::<String>() + &note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_and_says_the_total() {
        for long in ["x".repeat(5000), "ü\n\"".repeat(3000), " ".repeat(1400)] {
            let status = invalid(&long);
            let encoded: usize = status.message().chars().map(encoded_bytes).sum();
            assert!(encoded <= MESSAGE_BYTES_MAX, "{encoded}");
            assert!(status.message().ends_with(&format!("(cut; {} bytes in all)", long.len())));
        }
        assert_eq!(invalid("x".repeat(4096)).message().len(), 4096);
    }

    #[test]
    fn what_an_error_is_about_goes_with_it() {
        let status = at(&from_error(&Error::invalid("wrong").of_column("temp").of_row(3)), "batch 0");
        let info = status.get_details_error_info().expect("it has a subject");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_ARGUMENT", "firndb"));
        assert_eq!((info.metadata["column"].as_str(), info.metadata["row"].as_str()), ("temp", "3"));
        let answer = in_band(&status);
        assert_eq!(
            (answer.message.as_str(), answer.column.as_deref(), answer.row),
            ("batch 0: wrong", Some("temp"), Some(3))
        );
        assert_eq!(from_error(&Error::invalid("wrong")).details(), b"");
    }

    #[test]
    fn kinds_have_their_codes() {
        assert_eq!(from_error(&Error::precondition("x")).code(), Code::FailedPrecondition);
        assert_eq!(from_error(&Error::corrupt("f", 1, "x")).code(), Code::DataLoss);
        let reserved = CommandError { reserved: true, message: String::new() };
        assert_eq!(from_command(&reserved).code(), Code::Unimplemented);
        assert_eq!(in_band(&exhausted("x")).code, "RESOURCE_EXHAUSTED");
    }
}
