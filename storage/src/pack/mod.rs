//! The latest pack: the winners of each entity as one row.
