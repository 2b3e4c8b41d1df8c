//! What a caller sees of an error: a kind that says what to do, and the server's message.
//!
//! It does not matter how an error came: as the status of a call, in band inside an exchange, or from this side.

use std::fmt;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::wire::{AnswerError, CommandError};

/// What went wrong and what the caller must do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The request is wrong as it stands; mend it as the message says.
    Invalid,
    /// A table, entity or feature of that name does not exist.
    NotFound,
    /// The name is taken by something declared differently.
    AlreadyExists,
    /// The request is right, but the state forbids it.
    Precondition,
    /// The bound lies before the horizon, or the position after what is published.
    OutOfRange,
    /// A configured limit was met; send less, or later.
    Exhausted,
    /// Not now, or no server there; try again.
    Unavailable,
    /// Bytes on the server's disk do not check.
    DataLoss,
    /// No token, or one that the server does not know.
    Unauthenticated,
    /// The token does not allow this.
    PermissionDenied,
    /// A reserved form or an unknown action.
    Unimplemented,
    /// The call took longer than it was given.
    DeadlineExceeded,
    /// The call was cancelled.
    Cancelled,
    /// A bug of the server, or an answer that cannot be read.
    Internal,
}

/// Kinds beside the gRPC codes that carry them and the names of those codes.
const CODES: [(Kind, Code, &str); 14] = [
    (Kind::Invalid, Code::InvalidArgument, "INVALID_ARGUMENT"),
    (Kind::NotFound, Code::NotFound, "NOT_FOUND"),
    (Kind::AlreadyExists, Code::AlreadyExists, "ALREADY_EXISTS"),
    (Kind::Precondition, Code::FailedPrecondition, "FAILED_PRECONDITION"),
    (Kind::OutOfRange, Code::OutOfRange, "OUT_OF_RANGE"),
    (Kind::Exhausted, Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
    (Kind::Unavailable, Code::Unavailable, "UNAVAILABLE"),
    (Kind::DataLoss, Code::DataLoss, "DATA_LOSS"),
    (Kind::Unauthenticated, Code::Unauthenticated, "UNAUTHENTICATED"),
    (Kind::PermissionDenied, Code::PermissionDenied, "PERMISSION_DENIED"),
    (Kind::Unimplemented, Code::Unimplemented, "UNIMPLEMENTED"),
    (Kind::DeadlineExceeded, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (Kind::Cancelled, Code::Cancelled, "CANCELLED"),
    (Kind::Internal, Code::Internal, "INTERNAL"),
];

impl Kind {
    /// The kind of the code that gRPC spells `name`.
    pub fn from_name(name: &str) -> Self {
        CODES.iter().find(|(_, _, spelled)| *spelled == name).map_or(Self::Internal, |(kind, _, _)| *kind)
    }

    /// The code as gRPC spells it.
    pub fn name(self) -> &'static str {
        CODES.iter().find(|(kind, _, _)| *kind == self).map_or("INTERNAL", |(_, _, name)| *name)
    }
}

/// An error of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
    column: Option<String>,
    row: Option<u64>,
}

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` whose `message` says what, where and how to mend it.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), column: None, row: None }
    }

    /// The same error, of a column and a row of what was sent.
    #[must_use]
    pub fn at(self, column: Option<String>, row: Option<u64>) -> Self {
        Self { column, row, ..self }
    }

    /// A bad request that never left.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// An answer that this client cannot read.
    pub(crate) fn unreadable(what: impl fmt::Display) -> Self {
        Self::new(Kind::Internal, format!("the server's answer cannot be read: {what}"))
    }

    /// What went wrong, for deciding what to do.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The column of what was sent that is at fault, if it is one.
    pub fn column(&self) -> Option<&str> {
        self.column.as_deref()
    }

    /// The first row at fault, counted from 0, if it is a row.
    pub fn row(&self) -> Option<u64> {
        self.row
    }

    /// The message for a person.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let named = CODES.iter().find(|(_, code, _)| *code == status.code());
        // What the server says has no source; this is the connection's end, however HTTP/2 words it.
        let lost = std::error::Error::source(&status).is_some();
        let kind = if lost { Kind::Unavailable } else { named.map_or(Kind::Internal, |(kind, _, _)| *kind) };
        let about = status.get_details_error_info().map(|info| info.metadata).unwrap_or_default();
        let row = about.get("row").and_then(|row| row.parse().ok());
        Self::new(kind, status.message()).at(about.get("column").cloned(), row)
    }
}

impl From<AnswerError> for Error {
    fn from(error: AnswerError) -> Self {
        Self::new(Kind::from_name(&error.code), error.message).at(error.column, error.row)
    }
}

impl From<CommandError> for Error {
    fn from(error: CommandError) -> Self {
        Self::new(if error.reserved { Kind::Unimplemented } else { Kind::Invalid }, error.message)
    }
}
