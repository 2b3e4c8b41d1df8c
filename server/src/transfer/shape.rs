//! The columns that a table takes, as the server declares them.

use std::sync::Arc;

use arrow_schema::DataType;
use firn_client::Client;
use firn_storage::model::catalog::Catalog;
use firn_storage::model::declare::Change;
use firn_storage::model::types::parse_type;
use serde_json::Value;

use super::Result;

/// A named, typed column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its name in the table.
    pub(crate) name: String,
    /// Its declared type.
    pub(crate) data_type: DataType,
}

/// A table as far as a file is concerned.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// The name of the table.
    pub(crate) table: String,
    /// The key columns of its entity.
    pub(crate) keys: Vec<Column>,
    /// The event-time column.
    pub(crate) event_time: Column,
    /// The row id columns.
    pub(crate) row_id: Vec<Column>,
    /// The features.
    pub(crate) features: Vec<Column>,
    /// Whether history can no longer be loaded.
    pub(crate) sealed: bool,
    /// The table and its entity, for proving rows.
    pub(crate) catalog: Arc<Catalog>,
}

impl Shape {
    /// Asks the server for the declaration of `table`.
    pub(crate) async fn ask(client: &Client, table: &str) -> Result<Self> {
        let told = |error: firn_client::Error| error.to_string();
        let declared = client.describe_table(table).await.map_err(told)?;
        let entities = client.list_entities().await.map_err(told)?;
        let entity =
            entities["entities"].as_array().into_iter().flatten().find(|entity| entity["entity"] == declared["entity"]);
        let keys = entity.map(|entity| columns(&entity["key"])).transpose()?.unwrap_or_default();
        let event_time = declared["event_time"].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            table: table.to_owned(),
            keys,
            event_time: Column { name: event_time, data_type: time() },
            row_id: columns(&declared["row_id"])?,
            features: columns(&declared["features"])?,
            sealed: declared["sealed"].as_bool().unwrap_or_default(),
            catalog: Arc::new(catalog(entity, &declared)?),
        })
    }

    /// All columns that a write may have, and whether it must.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&Column, bool)> {
        let needed = self.keys.iter().chain([&self.event_time]).chain(&self.row_id);
        needed.map(|column| (column, true)).chain(self.features.iter().map(|column| (column, false)))
    }
}

/// The type of times.
pub(crate) fn time() -> DataType {
    DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, Some("UTC".into()))
}

/// The schema of one table, declared again from its description.
fn catalog(entity: Option<&Value>, table: &Value) -> Result<Catalog> {
    let mut table = table.clone();
    for told in ["schema_version", "sealed"] {
        table.as_object_mut().map(|fields| fields.remove(told));
    }
    let entity = entity.ok_or("the server describes a table without its entity")?;
    let mut catalog = Catalog::default();
    for (action, body) in [("create_entity", entity), ("create_table", &table)] {
        let change = Change::parse(action, body).and_then(|change| change.apply(&catalog));
        let next = change.map_err(|error| error.at("the server's description of the table").to_string())?;
        catalog = next.unwrap_or(catalog);
    }
    Ok(catalog)
}

fn columns(declared: &Value) -> Result<Vec<Column>> {
    let column = |column: &Value| {
        let data_type = parse_type(column["type"].as_str().unwrap_or_default()).map_err(|error| error.to_string())?;
        Ok(Column { name: column["name"].as_str().unwrap_or_default().to_owned(), data_type })
    };
    declared.as_array().into_iter().flatten().map(column).collect()
}
