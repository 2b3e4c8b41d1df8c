//! As-of joins on the engine: a node of a plan ([`node`]), what the optimizer may do with it ([`rule`]), and its running
//! ([`exec`]).
//!
//! The table on the right is no input of the node: its history is searched by the engine, for each batch of left rows.

pub(crate) mod exec;
pub(crate) mod lookup;
pub(crate) mod node;
pub(crate) mod rule;
