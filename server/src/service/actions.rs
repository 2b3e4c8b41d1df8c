//! DoAction: JSON in, JSON out. [`ACTIONS`] is the list that ListActions answers and that errors name.

use std::sync::Arc;

use arrow_flight::{Action, ActionType};
use firn_client::wire::{Erase, TableName};
use firn_storage::database::EraseRequest;
use firn_storage::model::declare::Change;
use firn_storage::model::describe;
use serde_json::{Map, Value, json};
use tonic::Status;

use super::convert;
use super::shared::{Pool, Shared};
use crate::status::{from_command, from_error, invalid, unimplemented};

/// Every action and what it does.
pub(super) const ACTIONS: &[(&str, &str)] = &[
    ("create_entity", "Declares an entity: {\"entity\",\"key\":[{\"name\",\"type\"}],\"bucket_by\",\"buckets\"}"),
    ("list_entities", "All entities with their declarations: {}"),
    ("describe_entity", "The declaration of an entity: {\"entity\"}"),
    ("drop_entity", "Removes an entity without tables: {\"entity\"}"),
    ("create_table", "Declares a feature table: {\"table\",\"entity\",\"event_time\",\"features\":[…],…}"),
    ("alter_table", "Changes a table: {\"table\",\"add\",\"widen\",\"rename\",\"retire\",\"purge\",\"set\"}"),
    ("seal_table", "Ends the loading of history: {\"table\"}"),
    ("list_tables", "All tables: {}"),
    ("describe_table", "The declaration of a table: {\"table\"}"),
    ("drop_table", "Removes a table and its rows: {\"table\"}"),
    ("flush", "Writes memtables to segments: {\"table\"} or {} for all"),
    ("compact", "Merges segments and builds latest packs: {\"table\"} or {} for all"),
    ("status", "What the database holds and does: {}"),
    ("erase", "Removes entities at all bounds, physically: {\"entity\",\"entities\":{…},\"block\"}"),
];

/// What ListActions answers.
pub(super) fn list() -> impl Iterator<Item = ActionType> {
    ACTIONS
        .iter()
        .map(|(name, description)| ActionType { r#type: (*name).to_owned(), description: (*description).to_owned() })
}

/// Answers an action.
pub(super) async fn answer(shared: &Arc<Shared>, action: Action) -> Result<arrow_flight::Result, Status> {
    shared.check_command_size(&action.body)?;
    let name = action.r#type.as_str();
    let body = match action.body.is_empty() {
        true => Value::Object(Map::new()),
        false => serde_json::from_slice(&action.body)
            .map_err(|error| invalid(format!("the body of `{name}` is not JSON: {error}")))?,
    };
    let answer = dispatch(shared, name, body).await?;
    tracing::debug!(action = name, "answered");
    Ok(arrow_flight::Result { body: answer.to_string().into() })
}

async fn dispatch(shared: &Arc<Shared>, name: &str, body: Value) -> Result<Value, Status> {
    let named = |field, body| TableName::decode(name, field, body).map_err(|error| from_command(&error));
    match name {
        "create_entity" | "create_table" | "alter_table" | "drop_table" | "drop_entity" | "seal_table" => {
            let change = Change::parse(name, &body).map_err(|error| from_error(&error))?;
            tracing::info!(action = name, subject = change.subject(), "changing the schema");
            shared.engine(Pool::Waiters, move |database| change.answer(&*database.change(&change)?)).await
        }
        "list_entities" => {
            named(None, body)?;
            Ok(describe::list_entities(&shared.database.catalog()))
        }
        "list_tables" => {
            named(None, body)?;
            Ok(describe::list_tables(&shared.database.catalog()))
        }
        "describe_entity" => {
            let entity = required(name, "entity", named(Some("entity"), body)?)?;
            describe::describe_entity(&shared.database.catalog(), &entity).map_err(|error| from_error(&error))
        }
        "describe_table" => {
            let table = required(name, "table", named(Some("table"), body)?)?;
            describe::describe_table(&shared.database.catalog(), &table).map_err(|error| from_error(&error))
        }
        "flush" | "compact" => {
            let table = named(Some("table"), body)?.name;
            let compact = name == "compact";
            let work = shared.engine(Pool::Waiters, move |database| {
                if compact {
                    database.compact(table.as_deref())?
                } else {
                    database.flush(table.as_deref())?
                }
                Ok(json!({ "read_position": database.position().to_string() }))
            });
            work.await
        }
        "status" => {
            named(None, body)?;
            shared.engine(Pool::Waiters, |database| Ok(database.status())).await
        }
        "erase" => erase(shared, body).await,
        _ => {
            let known: Vec<_> = ACTIONS.iter().map(|(name, _)| *name).collect();
            let known = known.join(", ");
            Err(unimplemented(format!("there is no action `{name}`; the actions are {known}")))
        }
    }
}

async fn erase(shared: &Arc<Shared>, body: Value) -> Result<Value, Status> {
    let erase = Erase::decode(body).map_err(|error| from_command(&error))?;
    let keys = convert::erase_keys(&shared.database.catalog(), &erase)?;
    tracing::info!(entity = erase.entity, block = erase.block, "erasing");
    let request = EraseRequest { entity: erase.entity, keys, block: erase.block };
    shared.engine(Pool::Waiters, move |database| database.erase(&request)).await
}

fn required(action: &str, field: &str, named: TableName) -> Result<String, Status> {
    named.name.ok_or_else(|| invalid(format!("{action}: the field `{field}` is missing")))
}
