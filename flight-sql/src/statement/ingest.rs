//! Bulk ingest: a stream of batches into a table, each written as it comes, into one that is there or is made for it.
//!
//! Arrow has no place for what a feature table must say: which columns are its key and its event time. They come as metadata
//! of the fields (`firn.role`: `key`, `event_time`, `row_id`) or as headers (`firn.ingest_key`, `firn.ingest_event_time`).

use arrow_array::RecordBatch;
use arrow_flight::sql::{CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption};
use arrow_schema::{DataType, Schema};
use firn_storage::error::{Error, Kind, Result};
use firn_storage::model::prove::Verb;
use firn_storage::model::types::print_type;
use futures::TryStreamExt;
use serde_json::{Value, json};

use super::step::{Step, declare, write, writing};
use crate::door::{Caller, Need};
use crate::error::{invalid, unsupported};
use crate::lanes::Batches;
use crate::names::{CATALOG, SCHEMA};
use crate::types;

/// What the fields of a table are for.
const ROLE: &str = "firn.role";

/// Writes `batches` as `command` says; how many rows.
pub(crate) async fn ingest(caller: &Caller, command: &CommandStatementIngest, mut batches: Batches) -> Result<u64> {
    let name = &command.table;
    if command.temporary {
        return Err(unsupported("temporary tables are not served: ingest into a feature table"));
    }
    let elsewhere = command.catalog.as_deref().is_some_and(|catalog| !["", CATALOG].contains(&catalog))
        || command.schema.as_deref().is_some_and(|schema| !["", SCHEMA].contains(&schema));
    if elsewhere {
        return Err(Error::not_found(format!(
            "all feature tables are in {CATALOG}.{SCHEMA}: leave catalog and schema out"
        )));
    }
    let mut next = batches.try_next().await?;
    let options = command.table_definition_options.unwrap_or_default();
    let schema = next.as_ref().map(RecordBatch::schema);
    make(caller, name, &options, schema.as_deref()).await?;
    let mut rows = 0;
    while let Some(batch) = next {
        if batch.num_rows() > 0 {
            let written = write(writing(caller, Need::Write)?, name, Verb::Write, batch).await;
            rows += written.map_err(|error| match rows {
                0 => error,
                _ => error.at(format!("after {rows} rows, which are written")),
            })?;
        }
        next = batches.try_next().await?;
    }
    Ok(rows)
}

/// Sees to it that the table is there, as the mode says.
async fn make(caller: &Caller, name: &str, options: &TableDefinitionOptions, schema: Option<&Schema>) -> Result<()> {
    // Who may not write learns nothing of what is there.
    let (_, catalog) = writing(caller, Need::Write)?;
    let there = catalog.table(name);
    match (there.is_ok(), options.if_exists(), options.if_not_exist()) {
        (true, TableExistsOption::Fail, _) => Err(Error::new(
            Kind::AlreadyExists,
            format!("there is a table `{name}` already: ingest with mode append, or drop it"),
        )),
        (true, TableExistsOption::Replace, _) => {
            let schema = schema.ok_or_else(|| invalid("nothing was sent to ingest"))?;
            let create = declarations(caller, name, schema)?;
            let dropping = Step::new("drop_table", &json!({ "table": name }), Need::Drop)?;
            declare(caller, &[vec![dropping], create].concat()).await
        }
        (true, TableExistsOption::Append | TableExistsOption::Unspecified, _) => Ok(()),
        (false, _, TableNotExistOption::Create) => {
            let schema = schema.ok_or_else(|| invalid("nothing was sent to ingest"))?;
            declare(caller, &declarations(caller, name, schema)?).await
        }
        (false, _, TableNotExistOption::Fail | TableNotExistOption::Unspecified) => there.map(drop),
    }
}

/// The declarations of a table of `schema`.
fn declarations(caller: &Caller, name: &str, schema: &Schema) -> Result<Vec<Step>> {
    let with_role = |role: &str| -> Vec<String> {
        let has = |field: &&arrow_schema::FieldRef| field.metadata().get(ROLE).is_some_and(|said| said == role);
        schema.fields().iter().filter(has).map(|field| field.name().clone()).collect()
    };
    let words = |header: &'_ Option<String>| -> Vec<String> {
        header.iter().flat_map(|text| text.split(',')).map(|word| word.trim().to_owned()).collect()
    };
    let (mut key, mut event_time, row_id) = (with_role("key"), with_role("event_time"), with_role("row_id"));
    if key.is_empty() {
        key = words(&caller.ingest.key);
    }
    if event_time.is_empty() {
        event_time = words(&caller.ingest.event_time);
    }
    let ([event_time], false) = (event_time.as_slice(), key.is_empty()) else {
        return Err(invalid(format!(
            "a new table says which columns are its key and which is its event time: as metadata of the fields \
             (firn.role: key, event_time, row_id), as headers firn.ingest_key and firn.ingest_event_time, or first\n{}",
            create_statement(name, schema)
        )));
    };
    let column = |name: &String| -> Result<Value> {
        let field = schema.field_with_name(name);
        let field = field.map_err(|_| invalid(format!("the rows have no column `{name}`, which a role names")))?;
        Ok(json!({ "name": name, "type": declared(field.data_type()) }))
    };
    let is_feature = |name: &String| name != event_time && !key.contains(name) && !row_id.contains(name);
    let features = schema.fields().iter().filter(|field| is_feature(field.name()));
    let features: Vec<Value> = features.map(|field| column(field.name())).collect::<Result<_>>()?;
    let keys: Vec<Value> = key.iter().map(column).collect::<Result<_>>()?;
    let row_ids: Vec<Value> = row_id.iter().map(column).collect::<Result<_>>()?;
    let entity = json!({ "entity": name, "key": keys, "if_not_exists": true });
    let table = json!({
        "table": name, "entity": name, "event_time": event_time, "row_id": row_ids, "features": features,
    });
    Ok(vec![Step::new("create_entity", &entity, Need::Create)?, Step::new("create_table", &table, Need::Create)?])
}

/// The type of a column as it is declared: without layouts that only carry values.
fn declared(data_type: &DataType) -> String {
    print_type(match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => &DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => &DataType::Binary,
        DataType::Dictionary(_, values) => values,
        other => other,
    })
}

/// The statement that declares a table of `schema`, with its key and its event time to be said.
fn create_statement(name: &str, schema: &Schema) -> String {
    let columns = schema.fields().iter().map(|field| format!("  {} {}", field.name(), types::name(field.data_type())));
    format!(
        "CREATE TABLE {name} (\n{},\n  PRIMARY KEY (…)\n) WITH (event_time = '…')",
        columns.collect::<Vec<_>>().join(",\n")
    )
}
