//! What a read found in one bucket of one table: the rows that win, in the chunks that they are in. Places, not yet cells.

use std::sync::Arc;

use crate::run::Chunk;
use crate::time::Micros;

/// One row of a request: where its answer goes and which entity it asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) place: u32,
    pub(crate) ordinal: u32,
}

/// A row of the request and the row of a chunk that wins for all features at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pick {
    pub(crate) place: u32,
    pub(crate) row: u32,
}

/// A chunk that winners are in.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) chunk: Arc<Chunk>,
    /// The rows of it that win for every feature.
    pub(crate) picks: Vec<Pick>,
    /// The event time of each pick, if event times were asked for.
    pub(crate) event_times: Vec<Micros>,
}

/// The winners of one bucket for some rows of a request.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// The chunks that winners are in.
    pub(crate) sources: Vec<Source>,
    /// What was decided feature by feature, for the rows that are picks of no source: by feature, or empty if there is
    /// no such row.
    pub(crate) features: Vec<FeatureWinners>,
}

/// The winners of one feature for rows whose features were decided one by one.
#[derive(Debug, Clone, Default)]
pub(crate) struct FeatureWinners {
    /// By source; those at the end in which none won may be missing.
    pub(crate) won: Vec<Won>,
    /// The places of rows without a winner whose entity was deleted.
    pub(crate) deleted: Vec<u32>,
}

/// The cells of one feature that won in one source.
#[derive(Debug, Clone, Default)]
pub(crate) struct Won {
    pub(crate) picks: Vec<Pick>,
    /// The event time of each pick, if event times were asked for.
    pub(crate) event_times: Vec<Micros>,
}
