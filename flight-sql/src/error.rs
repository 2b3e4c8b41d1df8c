//! Errors: the engine's kinds serve here too, and DataFusion's are sorted into them.
//!
//! What DataFusion refuses is almost always the statement. Its internal errors are defects, which a client learns no more of
//! than that there is one.

use datafusion::error::DataFusionError;
use firn_storage::error::{Error, Kind};

/// A statement that is wrong as it stands.
pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::invalid(message)
}

/// A statement that is never served.
pub(crate) fn unsupported(message: impl Into<String>) -> Error {
    Error::new(Kind::Unsupported, message)
}

/// An error of ours on its way through DataFusion.
pub(crate) fn through(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// An error that came out of DataFusion.
pub(crate) fn from_datafusion(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(ours) => ours.clone(),
            None => match inner.downcast_ref::<DataFusionError>() {
                Some(error) => from_datafusion(error),
                None => defect(&inner.to_string()),
            },
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_datafusion(inner),
        DataFusionError::Shared(inner) => from_datafusion(inner),
        DataFusionError::Collection(errors) => errors.first().map_or_else(|| defect("no error"), from_datafusion),
        DataFusionError::ArrowError(inner, _) => match &**inner {
            arrow_schema::ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
                Some(error) => from_datafusion(error),
                None => invalid(inner.to_string()),
            },
            inner => invalid(inner.to_string()),
        },
        DataFusionError::SQL(inner, _) => invalid(inner.to_string()),
        DataFusionError::NotImplemented(said) => unsupported(said.as_str()),
        DataFusionError::Plan(said) | DataFusionError::Execution(said) | DataFusionError::Configuration(said) => {
            invalid(said.as_str())
        }
        DataFusionError::SchemaError(inner, _) => invalid(inner.to_string()),
        DataFusionError::ResourcesExhausted(said) => Error::exhausted(said.as_str()),
        DataFusionError::IoError(inner) => Error::new(Kind::Io, format!("a file of the query failed: {inner}")),
        other => defect(&other.to_string()),
    }
}

/// A fault of ours, said in full to the log alone.
pub(crate) fn defect(said: &str) -> Error {
    tracing::error!("a statement met a defect: {said}");
    Error::new(Kind::Defect, "the statement met a defect of the server; its log says more")
}
