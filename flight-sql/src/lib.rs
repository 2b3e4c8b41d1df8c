//! SQL over time: statements over the feature tables of FirnDB, planned by DataFusion, run by the engine, spoken over Arrow
//! Flight SQL.
//!
//! This crate owns statements, and DataFusion plans the queries among them. A statement goes through `text` (tokens, parser,
//! gate), gets its names from `scope` and its relations from `relation`, is planned once (`query`), pinned to one moment
//! (`moment`), planned again over the engine (`physical`, `scan`, `as_of_join`), and run on its lane (`lanes`, `memory`).
//! It is not the server: who may do what is decided behind [`door`].

pub mod answer;
mod as_of_join;
mod combinations;
pub mod door;
mod error;
pub mod lanes;
pub mod limits;
pub mod memory;
pub mod moment;
mod parameters;
mod physical;
mod query;
mod relation;
mod scan;
mod scope;
pub mod service;
pub mod sql;
mod statement;
mod table;
mod text;
mod time;
mod told;
mod types;
