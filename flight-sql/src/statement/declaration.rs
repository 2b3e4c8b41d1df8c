//! SHOW CREATE TABLE: the statement that declares a table, which declares the same again where it is run.

use firn_storage::error::Result;
use firn_storage::model::catalog::{Catalog, MaxAge, Table};
use firn_storage::model::describe::{describe_entity, describe_table};
use firn_storage::model::value::print_duration;
use serde_json::Value;
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

use crate::error::unsupported;
use crate::listing::{Column, columns_of};
use crate::types;
use crate::words::in_words_of_sql;

/// The statement that declares the table `name`.
pub(super) fn of(catalog: &Catalog, name: &str) -> Result<String> {
    let table = catalog.table(name).map_err(in_words_of_sql)?;
    let entity = catalog.entity_of(table);
    let described = describe_table(catalog, name)?;
    let columns = columns_of(catalog, table);
    let mut lines = columns.iter().map(|column| line(table, column)).collect::<Result<Vec<_>>>()?;
    let key: Vec<String> = entity.key.iter().map(|key| quoted(&key.name)).collect();
    lines.push(format!("  PRIMARY KEY ({})", key.join(", ")));
    let entity = describe_entity(catalog, &entity.name)?;
    let retention = &described["retention"];
    let options = [
        ("event_time", &described["event_time"]),
        ("entity", &described["entity"]),
        ("bucket_by", &entity["bucket_by"]),
        ("buckets", &entity["buckets"]),
        ("row_id", &described["row_id"]),
        ("max_age", &described["max_age"]),
        ("max_future_skew", &described["max_future_skew"]),
        ("keep_events", &retention["keep_events"]),
        ("keep_knowledge", &retention["keep_knowledge"]),
        ("hot_window", &described["hot_window"]),
        ("event_time_rounding", &described["event_time_rounding"]),
        ("float_rounding", &described["float_rounding"]),
        ("owner", &described["owner"]),
        ("comment", &described["description"]),
        ("tags", &described["tags"]),
    ];
    let options = options.into_iter().filter_map(|(name, value)| Some(format!("  {name} = {}", option(value)?)));
    Ok(format!(
        "CREATE TABLE {} (\n{}\n) WITH (\n{}\n)",
        quoted(name),
        lines.join(",\n"),
        options.collect::<Vec<_>>().join(",\n")
    ))
}

/// The declaration of a column.
fn line(table: &Table, column: &Column<'_>) -> Result<String> {
    let name = quoted(column.name);
    let mut line = format!("  {name} {}", type_of(column)?);
    let Some(feature) = column.feature else {
        return Ok(line + if column.role == "key" { "" } else { " NOT NULL" });
    };
    match &feature.default {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => line += &format!(" DEFAULT {}", literal(text)),
        Some(plain @ (Value::Number(_) | Value::Bool(_))) => line += &format!(" DEFAULT {plain}"),
        Some(other) => {
            return Err(unsupported(format!(
                "the default of {}.{} is {other}, which SQL cannot write: the action describe_table says it",
                table.name, column.name
            )));
        }
    }
    if !feature.description.is_empty() {
        line += &format!(" COMMENT {}", literal(&feature.description));
    }
    let mut options = Vec::new();
    match feature.max_age {
        MaxAge::Table => {}
        MaxAge::Unlimited => options.push("max_age = 'none'".to_owned()),
        MaxAge::Micros(micros) => options.push(format!("max_age = '{}'", print_duration(micros))),
    }
    if !feature.tags.is_empty() {
        options.push(format!("tags = {}", literal(&feature.tags.join(","))));
    }
    if !options.is_empty() {
        line += &format!(" OPTIONS ({})", options.join(", "));
    }
    Ok(line)
}

/// The name of the type of a column, if it means just that type.
fn type_of(column: &Column<'_>) -> Result<String> {
    let name = types::name(&column.data_type);
    let read = Parser::new(&GenericDialect {}).try_with_sql(&name).and_then(|mut parser| parser.parse_data_type());
    match read.map(|read| types::data_type(&read)) {
        Ok(Ok(read)) if read == column.data_type => Ok(name),
        _ => Err(unsupported(format!(
            "the column `{}` is {}, which has no name in SQL: the action describe_table says it",
            column.name, column.data_type
        ))),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The value of an option; none where it says nothing.
fn option(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.is_empty() || text == "none" => None,
        Value::String(text) => Some(literal(text)),
        Value::Array(words) if words.is_empty() => None,
        Value::Array(words) => {
            let words = words.iter().filter_map(|word| word.as_str().or_else(|| word["name"].as_str()));
            Some(literal(&words.collect::<Vec<_>>().join(",")))
        }
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
