//! `firndb._native`: what the Python client of FirnDB is built on.
//!
//! The Rust client does the talking, without the interpreter's lock while it waits, and Arrow data goes both ways over the
//! PyCapsule interface without a copy. Everything that a user sees is in the package `firndb` beside it.

mod call;
mod column;
mod connection;
mod error;
mod exchange;
mod from_python;
mod runtime;
mod table;
mod to_python;
mod writer;

/// The module that Python imports.
#[pyo3::pymodule(name = "_native", gil_used = true)]
mod native {
    #[pymodule_export]
    use super::call::Call;
    #[pymodule_export]
    use super::column::Column;
    #[pymodule_export]
    use super::connection::Connection;
    #[pymodule_export]
    use super::exchange::{Exchange, Reader};
    #[pymodule_export]
    use super::table::{Batches, Table};
    #[pymodule_export]
    use super::writer::Writer;
}
