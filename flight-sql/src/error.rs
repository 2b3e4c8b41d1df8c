//! Errors: the engine's kinds serve here too, and DataFusion's are sorted into them.
//!
//! What DataFusion refuses is almost always the statement. Its internal errors are defects, which a client learns no more of
//! than that there is one.

use datafusion::error::DataFusionError;
use firn_storage::error::{Error, Kind};

use crate::words::in_our_words;

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

/// An error that came out of DataFusion while a statement was planned: what it calls internal then, such as types that do not
/// fit together, is what the statement says.
pub(crate) fn planned(error: &DataFusionError) -> Error {
    let mut inner = error;
    while let DataFusionError::Context(_, within) | DataFusionError::Diagnostic(_, within) = inner {
        inner = within;
    }
    match inner {
        DataFusionError::Internal(said) => {
            tracing::info!("a statement could not be planned: {said}");
            invalid(in_our_words(said))
        }
        _ => from_datafusion(error),
    }
}

/// An error that came out of DataFusion.
pub(crate) fn from_datafusion(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(ours) => ours.clone(),
            None => match inner.downcast_ref::<DataFusionError>() {
                Some(error) => from_datafusion(error),
                // A pattern is what the statement says.
                None if inner.to_string().contains("regex parse error") => invalid(inner.to_string()),
                None => defect(&inner.to_string()),
            },
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_datafusion(inner),
        DataFusionError::Shared(inner) => from_datafusion(inner),
        DataFusionError::Collection(errors) => errors.first().map_or_else(|| defect("no error"), from_datafusion),
        DataFusionError::ArrowError(inner, _) => match &**inner {
            arrow_schema::ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
                Some(error) => from_datafusion(error),
                None => invalid(in_our_words(&inner.to_string())),
            },
            inner => invalid(in_our_words(&inner.to_string())),
        },
        DataFusionError::SQL(inner, _) => invalid(inner.to_string()),
        DataFusionError::NotImplemented(said) => unsupported(in_our_words(said)),
        DataFusionError::Plan(said) | DataFusionError::Execution(said) | DataFusionError::Configuration(said) => {
            invalid(in_our_words(said))
        }
        DataFusionError::SchemaError(inner, _) => invalid(in_our_words(&inner.to_string())),
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
