//! Where reads find the state behind names.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::model::catalog::{Entity, Table};
use crate::time::Micros;
use crate::view::{EntityState, TableState};

/// The state of an open database, as plans and moments need it.
pub(crate) trait States: std::fmt::Debug {
    fn table_state(&self, table: &Table) -> Result<Arc<TableState>>;
    fn entity_state(&self, entity: &Entity) -> Result<Arc<EntityState>>;
    /// Which opening of the database this is.
    fn opening(&self) -> u64;
    /// Whether the history of the table is complete.
    fn is_sealed(&self, table: u32) -> bool;
    /// Up to here no node gives an ingest time that serves the database after this one.
    fn promised(&self) -> Micros;
    /// Sees to it that no such node gives an ingest time at or below `bound`, waiting for it no longer than `wait`.
    fn promise(&self, bound: Micros, wait: Duration) -> Result<()>;
}
