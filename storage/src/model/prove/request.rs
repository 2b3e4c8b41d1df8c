//! What a client says about the batches that it sends.

/// What a batch is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Write rows.
    Write,
    /// End entities.
    Delete,
    /// Take back identities, or the named cells of them.
    Retract {
        /// The features whose cells are taken back; empty for whole rows.
        features: Vec<String>,
    },
}

/// What a client says about its batches.
#[derive(Debug, Clone)]
pub struct WriteRequest {
    /// The table.
    pub table: String,
    /// What to do.
    pub verb: Verb,
    /// Whether a null cell is absent rather than an explicit null.
    pub nulls_absent: bool,
    /// The column that brings the ingest times of a history load.
    pub ingest_time: Option<String>,
    /// Whether bad rows are left out and reported rather than refusing the batch.
    pub report_bad_rows: bool,
}
