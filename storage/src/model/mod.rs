//! What is stored: entities, feature tables, their types, and batches proven against them.

pub mod key;
