//! Everything that can be asked of the server, and the right that it needs: one table.
//!
//! What is not in it is not served. ListActions answers the part of it that is about actions.

use super::Right;

/// A method of Flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Rows in, acknowledgements out.
    DoPut,
    /// Requests in, answers out.
    DoExchange,
    /// A ticket's answer.
    DoGet,
    /// What there is to read, and tickets.
    GetFlightInfo,
    /// The columns of what is read or written.
    GetSchema,
    /// Every table.
    ListFlights,
    /// Declarations and upkeep.
    DoAction,
    /// Statements of SQL, by whatever method of Flight they come.
    Sql,
}

/// Something that can be asked.
#[derive(Debug)]
pub struct Call {
    /// By which method.
    pub method: Method,
    /// The command or action.
    pub name: &'static str,
    /// What the caller must hold.
    pub needs: Right,
    /// What it does.
    pub help: &'static str,
}

const fn call(method: Method, name: &'static str, needs: Right, help: &'static str) -> Call {
    Call { method, name, needs, help }
}

use Method::{DoAction, DoExchange, DoGet, DoPut, GetFlightInfo, GetSchema, ListFlights, Sql};
use Right::{Alter, Create, Delete, Describe, Drop, Erase, History, Operate, Read, Write};

/// Every call. A scan of history is a call of its own.
// A table is read by its rows, which rustfmt would take apart.
#[rustfmt::skip]
pub static CALLS: &[Call] = &[
    call(DoPut, "write", Write, "Writes rows"),
    call(DoPut, "delete", Delete, "Ends entities"),
    call(DoPut, "retract", Delete, "Takes rows back"),
    call(DoExchange, "lookup", Read, "Features of entities"),
    call(DoExchange, "join", Read, "A spine with its features"),
    call(DoGet, "lookup", Read, "Features of the entities in a ticket"),
    call(DoGet, "scan", Read, "The entities of a table"),
    call(DoGet, "history", History, "Every row of a table"),
    call(GetFlightInfo, "lookup", Read, "The ticket of a lookup"),
    call(GetFlightInfo, "scan", Read, "The tickets of a scan"),
    call(GetFlightInfo, "history", History, "The tickets of a scan of history"),
    call(GetSchema, "lookup", Describe, "The columns of a lookup's answer"),
    call(GetSchema, "join", Describe, "The columns that a join's spine needs, and its features"),
    call(GetSchema, "scan", Describe, "The columns of a scan"),
    call(GetSchema, "history", Describe, "The columns of a scan of history"),
    call(GetSchema, "write", Describe, "The columns that a write takes"),
    call(GetSchema, "delete", Describe, "The columns that a delete takes"),
    call(GetSchema, "retract", Describe, "The columns that a retract takes"),
    call(ListFlights, "flights", Describe, "Every table"),
    call(Sql, "describe", Describe, "What there is to query"),
    call(Sql, "read", Read, "Queries of features as they are or were"),
    call(Sql, "history", History, "Queries of every row"),
    call(Sql, "write", Write, "INSERT and bulk ingest"),
    call(Sql, "delete", Delete, "DELETE"),
    call(Sql, "create", Create, "CREATE TABLE"),
    call(Sql, "alter", Alter, "ALTER TABLE and COMMENT"),
    call(Sql, "drop", Drop, "DROP TABLE"),
    call(Sql, "erase", Erase, "CALL erase"),
    call(Sql, "operate", Operate, "CALL flush and compact"),
    call(DoAction, "create_entity", Create, "Declares an entity: {\"entity\",\"key\":[{\"name\",\"type\"}],\"bucket_by\",\"buckets\"}"),
    call(DoAction, "list_entities", Describe, "All entities with their declarations: {}"),
    call(DoAction, "describe_entity", Describe, "The declaration of an entity: {\"entity\"}"),
    call(DoAction, "drop_entity", Drop, "Removes an entity without tables: {\"entity\"}"),
    call(DoAction, "create_table", Create, "Declares a feature table: {\"table\",\"entity\",\"event_time\",\"features\":[…],…}"),
    call(DoAction, "alter_table", Alter, "Changes a table: {\"table\",\"add\",\"widen\",\"rename\",\"retire\",\"purge\",\"add_aggregates\",\"retire_aggregates\",\"set_features\",\"set\"}"),
    call(DoAction, "seal_table", Alter, "Ends the loading of history: {\"table\"}"),
    call(DoAction, "list_tables", Describe, "All tables: {}"),
    call(DoAction, "describe_table", Describe, "The declaration of a table: {\"table\"}"),
    call(DoAction, "drop_table", Drop, "Removes a table and its rows: {\"table\"}"),
    call(DoAction, "flush", Operate, "Writes memtables to segments: {\"table\"} or {} for all"),
    call(DoAction, "compact", Operate, "Merges segments and builds latest packs: {\"table\"} or {} for all"),
    call(DoAction, "freeze", Operate, "Puts segments into the bucket as Parquet: {\"table\"} or {} for all"),
    call(DoAction, "create_checkpoint", Operate, "Keeps the database as it is now in the bucket: {\"checkpoint\"}"),
    call(DoAction, "list_checkpoints", Operate, "All checkpoints: {}"),
    call(DoAction, "drop_checkpoint", Operate, "Lets a checkpoint go: {\"checkpoint\"}"),
    call(DoAction, "status", Operate, "What the database holds and does: {}"),
    call(DoAction, "producers", Write, "The last number of each producer, or of one: {\"table\",\"producer\"}"),
    call(DoAction, "erase", Erase, "Removes entities at all bounds, physically: {\"entity\",\"entities\":{…},\"block\"}"),
    call(DoAction, "receipts", Erase, "What erases found, and when the bytes went from where: {\"entity\",\"last\"}"),
    call(DoAction, "blocked", Erase, "How many entities an erase has blocked, and which of some: {\"entity\",\"entities\":{…}}"),
    call(DoAction, "unblock", Erase, "Takes rows again of entities that an erase has blocked: {\"entity\",\"entities\":{…}}"),
];

impl Call {
    /// The call of `name` by `method`.
    pub fn find(method: Method, name: &str) -> Option<&'static Self> {
        CALLS.iter().find(|call| call.method == method && call.name == name)
    }

    /// Every action.
    pub fn actions() -> impl Iterator<Item = &'static Self> {
        CALLS.iter().filter(|call| call.method == DoAction)
    }
}
