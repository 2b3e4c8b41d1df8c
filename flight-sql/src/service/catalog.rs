//! What is declared, as Flight SQL asks for it: catalogs, schemas, tables, keys.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow_flight::sql::{Command, CommandGetPrimaryKeys};
use arrow_schema::{DataType, Field, Schema};
use firn_storage::error::Result;
use firn_storage::model::catalog::{Catalog, Table};

use crate::door::{Caller, Need};
use crate::error::invalid;
use crate::names::{CATALOG, SCHEMA, SYSTEM_SCHEMAS};
use crate::system;
use crate::table::{FeatureTable, Rows};
use crate::told::told_schema;
use crate::types;

/// The kind of a feature table.
const TABLE: &str = "TABLE";
/// What the standard calls it, and some clients ask for.
const BASE_TABLE: &str = "BASE TABLE";
/// The kind of a table that nobody writes.
const SYSTEM_TABLE: &str = "SYSTEM TABLE";

/// The answer of `command`; none if it is none about what is declared.
pub(super) fn answer(caller: &Caller, command: &Command) -> Result<Option<RecordBatch>> {
    let catalog = || {
        caller.door.grant(Need::Describe)?;
        caller.door.catalog(&caller.bounds)
    };
    Ok(Some(match command {
        Command::CommandGetCatalogs(asked) => {
            let mut builder = (*asked).into_builder();
            builder.append(CATALOG);
            builder.build().map_err(failed)?
        }
        Command::CommandGetDbSchemas(asked) => {
            let mut builder = asked.clone().into_builder();
            for schema in [SCHEMA].into_iter().chain(SYSTEM_SCHEMAS) {
                builder.append(CATALOG, schema);
            }
            builder.build().map_err(failed)?
        }
        Command::CommandGetTableTypes(_) => table_types()?,
        Command::CommandGetTables(asked) => {
            let catalog = catalog()?;
            let mut asked = asked.clone();
            if asked.table_types.iter().any(|asked| asked == BASE_TABLE) {
                asked.table_types.push(TABLE.to_owned());
            }
            let mut builder = asked.into_builder();
            for table in &*catalog.tables {
                let schema = described(&catalog, table);
                builder.append(CATALOG, SCHEMA, &table.name, TABLE, &schema).map_err(failed)?;
            }
            for table in system::tables() {
                let columns = table.columns();
                builder.append(CATALOG, table.schema, table.name, SYSTEM_TABLE, &columns).map_err(failed)?;
            }
            builder.build().map_err(failed)?
        }
        Command::CommandGetPrimaryKeys(asked) => primary_keys(&*catalog()?, asked)?,
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => RecordBatch::new_empty(Arc::new(foreign_keys())),
        _ => return Ok(None),
    }))
}

fn failed(error: impl std::fmt::Display) -> firn_storage::error::Error {
    invalid(format!("the catalog cannot be answered: {error}"))
}

fn table_types() -> Result<RecordBatch> {
    let schema = Schema::new(vec![Field::new("table_type", DataType::Utf8, false)]);
    Ok(RecordBatch::try_new(Arc::new(schema), vec![Arc::new(StringArray::from(vec![SYSTEM_TABLE, TABLE]))])?)
}

/// The columns of a table, with what is told of each.
fn described(catalog: &Catalog, table: &Arc<Table>) -> Schema {
    let read = FeatureTable::new(Arc::clone(catalog.entity_of(table)), Arc::clone(table), Rows::Latest);
    let told = told_schema(read.columns());
    let fields = told.fields().iter().map(|field| {
        let mut metadata = field.metadata().clone();
        let mut say = |what: &str, value: &str| {
            metadata.insert(format!("ARROW:FLIGHT:SQL:{what}"), value.to_owned());
        };
        say("CATALOG_NAME", CATALOG);
        say("SCHEMA_NAME", SCHEMA);
        say("TABLE_NAME", &table.name);
        // Tools write the digits of a decimal themselves.
        let digits = matches!(field.data_type(), DataType::Decimal128(..));
        say("TYPE_NAME", &if digits { "DECIMAL".to_owned() } else { types::name(field.data_type()) });
        say("IS_AUTO_INCREMENT", "0");
        say("IS_CASE_SENSITIVE", if field.data_type().is_string() { "1" } else { "0" });
        say("IS_READ_ONLY", "0");
        say("IS_SEARCHABLE", "1");
        let feature = table.features.iter().find(|feature| feature.name == *field.name());
        if let Some(feature) = feature.filter(|feature| !feature.description.is_empty()) {
            say("REMARKS", &feature.description);
        }
        Field::clone(field).with_metadata(metadata)
    });
    Schema::new(fields.collect::<Vec<_>>())
}

fn primary_keys(catalog: &Catalog, asked: &CommandGetPrimaryKeys) -> Result<RecordBatch> {
    let here = asked.catalog.as_deref().is_none_or(|name| name == CATALOG)
        && asked.db_schema.as_deref().is_none_or(|name| name == SCHEMA);
    let table = catalog.tables.iter().find(|table| here && table.name == asked.table);
    let keys = table.map_or(&[][..], |table| &catalog.entity_of(table).key);
    let text = |value: &dyn Fn(usize) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..keys.len()).map(value)))
    };
    let fields = vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ];
    let entity = table.map_or(String::new(), |table| catalog.entity_of(table).name.clone());
    let columns: Vec<ArrayRef> = vec![
        text(&|_| CATALOG.to_owned()),
        text(&|_| SCHEMA.to_owned()),
        text(&|_| asked.table.clone()),
        text(&|key| keys[key].name.clone()),
        text(&|_| entity.clone()),
        Arc::new(Int32Array::from_iter_values((1..).take(keys.len()))),
    ];
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn foreign_keys() -> Schema {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ])
}
