//! DoAction: JSON in, JSON out. Which there are says the table of calls, which ListActions answers and errors name.

use arrow_flight::{Action, ActionType};
use firn_client::wire::{Blocked, Erase, Producers, ProducersOf, Receipts, TableName};
use firn_flight_sql::service::FlightSql;
use firn_storage::database::{Database, EraseRequest};
use firn_storage::home::Checkpoint;
use firn_storage::model::declare::Change;
use firn_storage::model::describe;
use serde_json::{Map, Value, json};
use tonic::Status;

use super::convert;
use super::resources::Pool;
use super::resources::granted::{Entry, Granted};
use crate::access::{Call, Method};
use crate::refusal::{from_command, from_error, invalid, unimplemented};

/// What ListActions answers.
pub(super) fn list() -> impl Iterator<Item = ActionType> {
    let native = Call::actions().map(|call| (call.name, call.help));
    let all = native.chain(FlightSql::actions());
    all.map(|(name, help)| ActionType { r#type: name.to_owned(), description: help.to_owned() })
}

/// Answers an action.
pub(super) async fn answer(entry: &Entry, action: Action) -> Result<arrow_flight::Result, Status> {
    entry.resources.check_command_size(&action.body)?;
    let name = action.r#type.as_str();
    if !Call::actions().any(|call| call.name == name) {
        let known: Vec<_> = Call::actions().map(|call| call.name).collect();
        let known = known.join(", ");
        return Err(unimplemented(format!("there is no action `{name}`; the actions are {known}")));
    }
    let granted = entry.authorize(Method::DoAction, name)?;
    let body = match action.body.is_empty() {
        true => Value::Object(Map::new()),
        false => serde_json::from_slice(&action.body)
            .map_err(|error| invalid(format!("the body of `{name}` is not JSON: {error}")))?,
    };
    let answer = dispatch(entry, &granted, name, body).await?;
    tracing::debug!(caller = %entry.caller, action = name, "answered");
    Ok(arrow_flight::Result { body: answer.to_string().into() })
}

async fn dispatch(entry: &Entry, granted: &Granted, name: &str, body: Value) -> Result<Value, Status> {
    let named = |field, body| TableName::decode(name, field, body).map_err(|error| from_command(&error));
    match name {
        "create_entity" | "create_table" | "alter_table" | "drop_table" | "drop_entity" | "seal_table" => {
            let change = Change::parse(name, &body).map_err(|error| from_error(&error))?;
            tracing::info!(caller = %entry.caller, action = name, subject = change.subject(), "changing the schema");
            let catalog = granted.catalog();
            granted.engine(Pool::Waiters, move |database| change.answer(&*database.change(&catalog, &change)?)).await
        }
        "list_entities" => {
            named(None, body)?;
            Ok(describe::list_entities(&granted.catalog()))
        }
        "list_tables" => {
            named(None, body)?;
            Ok(describe::list_tables(&granted.catalog()))
        }
        "describe_entity" => {
            let entity = required(name, "entity", named(Some("entity"), body)?)?;
            describe::describe_entity(&granted.catalog(), &entity).map_err(|error| from_error(&error))
        }
        "describe_table" => {
            let table = required(name, "table", named(Some("table"), body)?)?;
            describe::describe_table(&granted.catalog(), &table).map_err(|error| from_error(&error))
        }
        "flush" | "compact" | "freeze" => {
            let table = named(Some("table"), body)?.name;
            let catalog = granted.catalog();
            let work = match name {
                "flush" => Database::flush,
                "compact" => Database::compact,
                _ => Database::freeze,
            };
            let work = granted.engine(Pool::Waiters, move |database| {
                work(database, &catalog, table.as_deref())?;
                Ok(json!({ "read_position": database.position().to_string() }))
            });
            work.await
        }
        "create_checkpoint" | "list_checkpoints" | "drop_checkpoint" => checkpoints(entry, granted, name, body).await,
        "status" => {
            named(None, body)?;
            granted.engine(Pool::Waiters, |database| Ok(database.status())).await
        }
        "producers" => producers(granted, body),
        "erase" => erase(entry, granted, body).await,
        "receipts" => receipts(granted, body).await,
        "blocked" => blocked(granted, body).await,
        "unblock" => unblock(entry, granted, body).await,
        _ => unreachable!("`{name}` is in the table of calls"),
    }
}

async fn checkpoints(entry: &Entry, granted: &Granted, action: &str, body: Value) -> Result<Value, Status> {
    if action == "list_checkpoints" {
        TableName::decode(action, None, body).map_err(|error| from_command(&error))?;
        let list = |database: &Database| {
            let checkpoints = database.checkpoints()?;
            let told: Vec<_> = checkpoints.iter().map(told).collect();
            Ok(json!({ "checkpoints": told }))
        };
        return granted.engine(Pool::Waiters, list).await;
    }
    let field = "checkpoint";
    let named = TableName::decode(action, Some(field), body).map_err(|error| from_command(&error))?;
    let name = required(action, field, named)?;
    let catalog = granted.catalog();
    let creates = action == "create_checkpoint";
    tracing::info!(caller = %entry.caller, action, checkpoint = name, "changing the checkpoints");
    let change = move |database: &Database| match creates {
        true => database.create_checkpoint(&catalog, &name).map(|checkpoint| told(&checkpoint)),
        false => database.drop_checkpoint(&name).map(|()| json!({ "checkpoint": name })),
    };
    granted.engine(Pool::Waiters, change).await
}

/// What is said of a checkpoint.
fn told(checkpoint: &Checkpoint) -> Value {
    json!({
        "checkpoint": checkpoint.name,
        "created_at": checkpoint.at,
        "read_position": checkpoint.position().to_string(),
    })
}

async fn erase(entry: &Entry, granted: &Granted, body: Value) -> Result<Value, Status> {
    let erase = Erase::decode(body).map_err(|error| from_command(&error))?;
    let catalog = granted.catalog();
    let keys = convert::erase_keys(&catalog, &erase.entity, &erase.entities)?;
    tracing::info!(caller = %entry.caller, entity = erase.entity, block = erase.block, "erasing");
    let request = EraseRequest { entity: erase.entity, keys, block: erase.block };
    granted.engine(Pool::Waiters, move |database| database.erase(&catalog, &request)).await
}

async fn receipts(granted: &Granted, body: Value) -> Result<Value, Status> {
    let Receipts { entity, last } = Receipts::decode(body).map_err(|error| from_command(&error))?;
    let catalog = granted.catalog();
    granted.engine(Pool::Waiters, move |database| database.receipts(&catalog, &entity, last as usize)).await
}

async fn blocked(granted: &Granted, body: Value) -> Result<Value, Status> {
    let asked = Blocked::decode("blocked", body, false).map_err(|error| from_command(&error))?;
    let catalog = granted.catalog();
    let keys = convert::erase_keys(&catalog, &asked.entity, &asked.entities)?;
    granted.engine(Pool::Waiters, move |database| database.blocked(&catalog, &asked.entity, &keys)).await
}

async fn unblock(entry: &Entry, granted: &Granted, body: Value) -> Result<Value, Status> {
    let asked = Blocked::decode("unblock", body, true).map_err(|error| from_command(&error))?;
    let catalog = granted.catalog();
    let keys = convert::erase_keys(&catalog, &asked.entity, &asked.entities)?;
    tracing::info!(caller = %entry.caller, entity = asked.entity, "unblocking");
    granted.engine(Pool::Waiters, move |database| database.unblock(&catalog, &asked.entity, &keys)).await
}

fn producers(granted: &Granted, body: Value) -> Result<Value, Status> {
    let ProducersOf { table, producer } = ProducersOf::decode(body).map_err(|error| from_command(&error))?;
    let (database, catalog) = (granted.database(), granted.catalog());
    let producers = match producer {
        None => database.producers(&catalog, &table),
        Some(name) => {
            database.producer(&catalog, &table, &name).map(|last| last.map(|last| (name, last)).into_iter().collect())
        }
    };
    let producers = producers.map_err(|error| from_error(&error))?;
    Ok(json!(Producers { table, producers }))
}

fn required(action: &str, field: &str, named: TableName) -> Result<String, Status> {
    named.name.ok_or_else(|| invalid(format!("{action}: the field `{field}` is missing")))
}
