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
mod explain;
mod functions;
pub mod lanes;
pub mod limits;
mod listing;
pub mod memory;
pub mod moment;
mod names;
mod parameters;
mod parts;
mod physical;
mod query;
mod relation;
mod running;
mod scan;
mod scope;
pub mod service;
pub mod session;
pub mod setting;
mod shape;
pub mod sql;
mod statement;
mod system;
mod table;
mod text;
mod time;
mod told;
mod types;
mod words;
