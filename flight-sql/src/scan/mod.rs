//! Scans of feature tables: what they are to DataFusion ([`source`]), which filters the engine takes ([`filters`]), and
//! their running ([`exec`]).

pub(crate) mod exec;
pub(crate) mod filters;
mod source;
