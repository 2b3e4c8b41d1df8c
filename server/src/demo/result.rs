//! How the demo ends.

/// The result of the demo, with an error for a person.
pub type Result<T, E = String> = std::result::Result<T, E>;
