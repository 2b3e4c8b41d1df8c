//! The door: what a caller may do is decided by the server, which implements this; nothing here reaches a database but through
//! what it grants.

use std::fmt::Debug;
use std::sync::Arc;

use firn_storage::database::Database;
use firn_storage::error::Result;
use firn_storage::model::catalog::Catalog;

use crate::moment::Bounds;
use crate::session::Session;

/// What a statement needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Need {
    /// Names and types of what is declared.
    Describe,
    /// Features as they are or were.
    Read,
    /// Every row.
    History,
    /// Rows that are written.
    Write,
    /// Entities that end, and rows that are taken back.
    Delete,
    /// New tables and entities.
    Create,
    /// Changes of what is declared.
    Alter,
    /// Tables that go.
    Drop,
    /// Entities that are removed from everything.
    Erase,
    /// Upkeep.
    Operate,
}

/// A caller, as the server let it in.
pub trait Door: Debug + Send + Sync + 'static {
    /// The database for something that needs `need`, or why not.
    fn grant(&self, need: Need) -> Result<Database>;

    /// The schema that a request within `bounds` asks for, as far as the caller sees it.
    fn catalog(&self, bounds: &Bounds) -> Result<Arc<Catalog>>;
}

/// A request: who makes it, and within which bounds.
#[derive(Debug, Clone)]
pub struct Caller {
    /// What it may do.
    pub door: Arc<dyn Door>,
    /// The end of its world, that of the session included.
    pub bounds: Bounds,
    /// The session that it belongs to.
    pub session: Arc<Session>,
    /// What columns of tables that ingest makes are for.
    pub ingest: IngestRoles,
    /// Whether the client is one of Java: its driver writes all times in milliseconds, whatever it is told, and it alone reads
    /// the headers of the answer to an update.
    pub is_java: bool,
}

/// What columns of tables that ingest makes are for, as headers say it.
#[derive(Debug, Clone, Default)]
pub struct IngestRoles {
    /// The key columns, separated by commas.
    pub key: Option<String>,
    /// The event time.
    pub event_time: Option<String>,
}
