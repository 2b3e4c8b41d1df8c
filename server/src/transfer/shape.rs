//! The columns that a table takes, as the server declares them.

use arrow_schema::DataType;
use firn_client::Client;
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

fn columns(declared: &Value) -> Result<Vec<Column>> {
    let column = |column: &Value| {
        let data_type = parse_type(column["type"].as_str().unwrap_or_default()).map_err(|error| error.to_string())?;
        Ok(Column { name: column["name"].as_str().unwrap_or_default().to_owned(), data_type })
    };
    declared.as_array().into_iter().flatten().map(column).collect()
}
