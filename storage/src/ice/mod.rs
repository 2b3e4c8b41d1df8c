//! Ice: the cells of segments that are in the bucket, as columns of Parquet files.
//!
//! [`IceFile`] is one such file, of which only the description is in memory; [`ask`] brings cells of many files at once, with
//! one wave of requests ([`Fetch`]). It knows objects and columns, but no segments: what is asked for, and where it goes, is
//! for others.

mod fetch;
mod file;
mod trial;

pub(crate) use fetch::Fetch;
pub(crate) use file::{IceFile, Wanted, ask};
pub(crate) use trial::Trial;
