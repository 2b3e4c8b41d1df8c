//! The catalog as JSON answers: full declarations, which `create_*` takes back, and short lists.

use serde_json::{Value, json};

use super::aggregate::{aggregate_declaration, output_declarations};
use super::catalog::{Catalog, Entity, Feature, MaxAge, Table};
use super::key::KeyColumn;
use super::types::print_type;
use super::value::print_duration;
use crate::error::Result;

/// The full declaration of an entity.
pub fn describe_entity(catalog: &Catalog, name: &str) -> Result<Value> {
    let mut answer = entity_declaration(catalog.entity(name)?);
    answer["schema_version"] = json!(catalog.schema_version);
    Ok(answer)
}

/// The full declaration of a table.
pub fn describe_table(catalog: &Catalog, name: &str) -> Result<Value> {
    let table = catalog.table(name)?;
    let mut answer = table_declaration(table, catalog.entity_of(table));
    answer["schema_version"] = json!(catalog.schema_version);
    answer["sealed"] = json!(table.sealed);
    if !table.aggregates.is_empty() {
        let outputs = table.aggregates.iter().flat_map(|aggregate| output_declarations(table, aggregate));
        answer["outputs"] = outputs.collect();
    }
    Ok(answer)
}

/// All entities with their full declarations.
pub fn list_entities(catalog: &Catalog) -> Value {
    let entities: Vec<Value> = catalog.entities.iter().map(|entity| entity_declaration(entity)).collect();
    json!({ "entities": entities, "schema_version": catalog.schema_version })
}

/// All tables, each with what tells them apart; [`describe_table`] has the rest.
pub fn list_tables(catalog: &Catalog) -> Value {
    let short = |table: &Table| {
        json!({
            "table": table.name,
            "entity": catalog.entity_of(table).name,
            "feature_count": table.features.len(),
            "description": table.description,
            "tags": table.tags,
            "sealed": table.sealed,
        })
    };
    let tables: Vec<Value> = catalog.tables.iter().map(|table| short(table)).collect();
    json!({ "tables": tables, "schema_version": catalog.schema_version })
}

/// What `create_entity` would take to make `entity`.
pub(super) fn entity_declaration(entity: &Entity) -> Value {
    let by: Vec<&str> = entity.key.iter().take(entity.bucket_by).map(|column| column.name.as_str()).collect();
    json!({ "entity": entity.name, "key": key_columns(&entity.key), "bucket_by": by, "buckets": entity.buckets })
}

/// What `create_table` would take to make `table`.
pub(super) fn table_declaration(table: &Table, entity: &Entity) -> Value {
    let limit = |micros: Option<i64>| micros.map_or_else(|| "none".to_owned(), print_duration);
    let mut answer = json!({
        "table": table.name,
        "entity": entity.name,
        "event_time": table.event_time,
        "row_id": key_columns(&table.row_id),
        "features": table.features.iter().map(|feature| feature_declaration(feature)).collect::<Vec<_>>(),
        "max_age": limit(table.max_age),
        "max_future_skew": limit(table.max_future_skew),
        "retention": { "keep_events": limit(table.keep_events), "keep_knowledge": limit(table.keep_knowledge) },
        "hot_window": limit(table.hot_window),
        "event_time_rounding": if table.rounding_floor { "floor" } else { "none" },
        "float_rounding": if table.floats_exact { "none" } else { "nearest" },
        "owner": table.owner,
        "description": table.description,
        "tags": table.tags,
    });
    if !table.aggregates.is_empty() {
        let aggregates = table.aggregates.iter().map(|aggregate| aggregate_declaration(table, aggregate));
        answer["aggregates"] = aggregates.collect();
    }
    answer
}

fn key_columns(columns: &[KeyColumn]) -> Value {
    columns.iter().map(|column| json!({ "name": column.name, "type": print_type(&column.data_type) })).collect()
}

fn feature_declaration(feature: &Feature) -> Value {
    let max_age = match feature.max_age {
        MaxAge::Table => Value::Null,
        MaxAge::Unlimited => json!("none"),
        MaxAge::Micros(micros) => json!(print_duration(micros)),
    };
    json!({
        "name": feature.name,
        "type": print_type(&feature.data_type),
        "max_age": max_age,
        "default": feature.default,
        "description": feature.description,
        "tags": feature.tags,
    })
}

/// How two declarations differ, field by field, for a message.
pub(super) fn differences(declared: &Value, standing: &Value) -> Vec<String> {
    let (Some(declared), Some(standing)) = (declared.as_object(), standing.as_object()) else { return Vec::new() };
    let mut found = Vec::new();
    for (field, new) in declared {
        let old = standing.get(field).unwrap_or(&Value::Null);
        if new == old {
            continue;
        }
        match (new.as_array(), old.as_array()) {
            (Some(new), Some(old)) if field == "features" => feature_differences(new, old, &mut found),
            _ => found.push(format!("{field} is {old}, not {new}")),
        }
    }
    found
}

fn feature_differences(new: &[Value], old: &[Value], found: &mut Vec<String>) {
    let before = found.len();
    let named = |list: &[Value], name: &Value| list.iter().find(|feature| feature["name"] == *name).cloned();
    for feature in new {
        match named(old, &feature["name"]) {
            None => found.push(format!("it has no feature {}", feature["name"])),
            Some(standing) if standing != *feature => {
                let inner = differences(feature, &standing).join(", ");
                found.push(format!("of feature {} {inner}", feature["name"]));
            }
            Some(_) => {}
        }
    }
    for feature in old.iter().filter(|feature| named(new, &feature["name"]).is_none()) {
        found.push(format!("it also has the feature {}", feature["name"]));
    }
    if found.len() == before {
        found.push("the features are in another order".to_owned());
    }
    found.truncate(20);
}
