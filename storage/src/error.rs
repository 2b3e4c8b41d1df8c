//! The one error of the storage engine: rich inside, few kinds outside.
//!
//! Each [`Kind`] says what a caller must do. A bad request is `Invalid` and names what, where and how to mend it;
//! bytes from disk that do not check are `Corrupt` and name the file and the offset; our own bugs are `assert!`s,
//! never errors; after a failed fsync every write is `Poisoned` until the database is opened again.

use std::fmt;

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
    /// The request is right, but the state forbids it (unsealed table, producer out of step, schema moved).
    Precondition,
    /// The bound lies before the horizon, or the position after what is published.
    OutOfRange,
    /// Whoever asks may not.
    Denied,
    /// What is asked is not served, whatever the state; the message says what serves instead.
    Unsupported,
    /// A configured limit was met; send less, or later, or raise the limit that the message names.
    Exhausted,
    /// Whoever asked for it, or may, ended it.
    Cancelled,
    /// What is asked lies in the bucket, and whoever asked would not wait for that.
    Away,
    /// Not now (waiting for a position timed out, the database is closing); try again.
    Unavailable,
    /// Bytes on disk do not check. Run `firn verify`, then `firn repair`.
    Corrupt,
    /// An fsync failed: what the disk holds is unknown. Open the database again.
    Poisoned,
    /// The operating system refused a file operation.
    Io,
    /// The server met a fault of its own, which its log says.
    Defect,
}

/// An error of the storage engine.
#[derive(Clone)]
pub struct Error {
    kind: Kind,
    message: String,
    place: Option<Box<Place>>,
    subject: Subject,
}

/// What of a request an error is about, for programs; the message says it for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The column or feature at fault, the first if they are several.
    pub column: Option<Box<str>>,
    /// The first row at fault, counted from 0.
    pub row: Option<u64>,
}

/// Bytes that do not check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, from the data directory.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

/// The result of a storage operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` whose `message` says what, where and how to mend it.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), place: None, subject: Subject::default() }
    }

    /// A bad request.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// A name that does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// A state that forbids the request.
    pub fn precondition(message: impl Into<String>) -> Self {
        Self::new(Kind::Precondition, message)
    }

    /// A bound before the horizon, or a position not yet published.
    pub fn out_of_range(message: impl Into<String>) -> Self {
        Self::new(Kind::OutOfRange, message)
    }

    /// A configured limit was met.
    pub fn exhausted(message: impl Into<String>) -> Self {
        Self::new(Kind::Exhausted, message)
    }

    /// Bytes of `file` at `offset` that do not check.
    pub fn corrupt(file: &str, offset: u64, what: impl fmt::Display) -> Self {
        let mend = "run `firn verify` to see all damage and `firn repair` to keep what is whole";
        let message = format!("file {file} is damaged at offset {offset}: {what}; {mend}");
        let place = Place { file: file.to_owned(), offset, what: what.to_string() };
        Self { place: Some(Box::new(place)), ..Self::new(Kind::Corrupt, message) }
    }

    /// A failed operating-system call on `file`.
    pub fn io(file: &str, doing: &str, error: &std::io::Error) -> Self {
        Self::new(Kind::Io, format!("could not {doing} {file}: {error}"))
    }

    /// What went wrong, for deciding what to do.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The message for a person.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The bytes that the error is about, if it is about bytes on disk.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_deref()
    }

    /// What of the request the error is about.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The same error, about a column; the one that was said first stays.
    #[must_use]
    pub fn of_column(mut self, column: &str) -> Self {
        self.subject.column.get_or_insert_with(|| column.into());
        self
    }

    /// The same error, about a row; the one that was said first stays.
    #[must_use]
    pub fn of_row(mut self, row: usize) -> Self {
        self.subject.row.get_or_insert(row as u64);
        self
    }

    /// The same error in other words.
    #[must_use]
    pub fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// The same error with `place` put before its message.
    #[must_use]
    pub fn at(self, place: impl fmt::Display) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Error {}

impl From<arrow_schema::ArrowError> for Error {
    /// Arrow refuses only what a caller sent: engine-made arrays are proven before they reach a kernel.
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self::invalid(error.to_string())
    }
}
