//! Errors as Python has them: the classes of `firndb.errors`, chosen by the code.

use firn_client::{Error, Kind};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Why a call has no outcome.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server said so, or this client.
    Firn(Error),
    /// An exception of Python's own: the caller's, or an interrupt.
    Python(PyErr),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Firn(error)
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl Failure {
    /// The exception to raise.
    pub(crate) fn raise(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Python(error) => error,
            Self::Firn(error) => raise(py, &error),
        }
    }
}

/// The exception for an error of the client.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    static FROM_CODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = FROM_CODE
        .import(py, "firndb.errors", "from_code")
        .and_then(|from_code| from_code.call1((error.kind().name(), error.message(), error.column(), error.row())));
    made.map_or_else(|failed| failed, PyErr::from_value)
}

/// A request that is wrong as it stands and never left.
pub(crate) fn invalid(py: Python<'_>, message: impl Into<String>) -> PyErr {
    raise(py, &Error::new(Kind::Invalid, message))
}
