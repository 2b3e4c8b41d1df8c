//! What is stored: entities, feature tables, their types, and batches proven against them.
//!
//! Nothing here does I/O or keeps state: a [`Catalog`](catalog::Catalog) is a value, a
//! [`Change`](declare::Change) makes the next one, and [`prove`](prove::prove) turns a client's batch into a
//! [`WriteBatch`](batch::WriteBatch) that the rest of the engine does not check again.

pub mod aggregate;
pub mod alter;
pub mod batch;
mod batch_codec;
mod beyond;
mod body;
pub mod cast;
pub mod catalog;
pub mod declare;
pub mod describe;
mod duration;
pub mod key;
pub mod listed;
pub mod micros;
pub mod names;
pub(crate) mod problems;
pub mod prove;
pub mod setting;
#[cfg(test)]
mod testing;
pub mod types;
pub mod value;

pub use body::Body;
