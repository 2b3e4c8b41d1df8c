//! Declarations: what makes and changes entities and feature tables, as plain values that anything may build.
//!
//! A [`Change`] says what is meant; JSON (`declare/json.rs`) is one way to write it. [`Change::apply`] is a pure function
//! from one catalog to the next and checks everything: names, types, limits, and what only the catalog knows. Neither
//! touches data: a change takes effect when its commit is durable.

use std::sync::Arc;

use serde_json::Value;

use super::aggregate::AggregateDeclaration;
use super::alter::Alteration;
use super::catalog::{Catalog, Entity, Table, listed};
use super::describe;
use super::key::{KeyColumn, KeyType};
use super::names::{BUCKETS_MAX, ENTITIES_MAX, KEY_COLUMNS_MAX, TABLES_MAX, check_column_name, check_thing_name};
use super::setting::Setting;
use super::types::print_type;
use crate::error::{Error, Kind, Result};

mod checks;
mod feature;
mod json;

pub(super) use checks::{check_columns, check_table};
pub use feature::FeatureDeclaration;

/// One change of the catalog.
#[derive(Debug, Clone)]
pub enum Change {
    /// Declares an entity.
    CreateEntity(Box<EntityDeclaration>),
    /// Declares a feature table.
    CreateTable(Box<TableDeclaration>),
    /// Changes a feature table.
    AlterTable(Box<Alteration>),
    /// Removes a feature table and its rows.
    DropTable {
        /// The table.
        table: String,
    },
    /// Removes an entity that no table has.
    DropEntity {
        /// The entity.
        entity: String,
    },
    /// Ends the loading of history into a table.
    Seal {
        /// The table.
        table: String,
    },
}

/// The declaration of an entity.
#[derive(Debug, Clone)]
pub struct EntityDeclaration {
    /// The name.
    pub name: String,
    /// The key columns.
    pub key: Vec<KeyColumn>,
    /// The leading key columns that decide the bucket; empty for all.
    pub bucket_by: Vec<String>,
    /// The number of buckets.
    pub buckets: u32,
    /// Whether an equal entity may already be there.
    pub if_not_exists: bool,
}

/// The declaration of a feature table.
#[derive(Debug, Clone)]
pub struct TableDeclaration {
    /// The name.
    pub name: String,
    /// The name of its entity.
    pub entity: String,
    /// The event-time column.
    pub event_time: String,
    /// The row id columns; empty if it has none.
    pub row_id: Vec<KeyColumn>,
    /// The features, in their order.
    pub features: Vec<FeatureDeclaration>,
    /// What is reckoned over windows of its events.
    pub aggregates: Vec<AggregateDeclaration>,
    /// Whether nanosecond event times are rounded down to microseconds.
    pub rounding_floor: bool,
    /// Whether a float that a narrower type does not hold exactly is refused instead of rounded to the nearest.
    pub floats_exact: bool,
    /// What else it says of itself.
    pub settings: Vec<Setting>,
    /// Whether an equal table may already be there.
    pub if_not_exists: bool,
}

impl Change {
    /// The name of the entity or table that changes.
    pub fn subject(&self) -> &str {
        match self {
            Self::CreateEntity(declaration) => &declaration.name,
            Self::CreateTable(declaration) => &declaration.name,
            Self::AlterTable(alteration) => &alteration.table,
            Self::DropTable { table } | Self::Seal { table } => table,
            Self::DropEntity { entity } => entity,
        }
    }

    /// Refuses a change of what is not in `catalog`, the schema as whoever asks sees it.
    pub fn check_seen(&self, catalog: &Catalog) -> Result<()> {
        match self {
            Self::CreateEntity(_) => Ok(()),
            Self::CreateTable(declaration) => catalog.entity(&declaration.entity).map(drop),
            Self::DropEntity { entity } => catalog.entity(entity).map(drop),
            Self::AlterTable(_) | Self::DropTable { .. } | Self::Seal { .. } => catalog.table(self.subject()).map(drop),
        }
    }

    /// The full declaration of what changed, as `catalog` now has it; what a drop or a seal answers is smaller.
    pub fn answer(&self, catalog: &Catalog) -> Result<Value> {
        match self {
            Self::CreateEntity(declaration) => describe::describe_entity(catalog, &declaration.name),
            Self::DropTable { table } => {
                Ok(serde_json::json!({ "table": table, "schema_version": catalog.schema_version }))
            }
            Self::DropEntity { entity } => {
                Ok(serde_json::json!({ "entity": entity, "schema_version": catalog.schema_version }))
            }
            _ => describe::describe_table(catalog, self.subject()),
        }
    }

    /// The catalog after the change; `None` if it changes nothing.
    pub fn apply(&self, catalog: &Catalog) -> Result<Option<Catalog>> {
        let mut next = catalog.clone();
        next.schema_version += 1;
        let changed = match self {
            Self::CreateEntity(declaration) => declaration.apply(&mut next)?,
            Self::CreateTable(declaration) => declaration.apply(&mut next)?,
            Self::AlterTable(alteration) => alteration.apply(&mut next)?,
            Self::DropTable { table } => {
                let id = next.table(table)?.id;
                next.tables.remove(id);
                true
            }
            Self::DropEntity { entity } => drop_entity(&mut next, entity)?,
            Self::Seal { table } => {
                let mut table = Table::clone(next.table(table)?);
                !std::mem::replace(&mut table.sealed, true) && next.tables.put(Arc::new(table))
            }
        };
        Ok(changed.then_some(next))
    }
}

/// Refuses a `bucket_by` that is not the first columns of the key.
fn check_leading(key: &[KeyColumn], by: &[String]) -> Result<()> {
    let misplaced =
        by.iter().enumerate().find(|(place, name)| key.get(*place).is_none_or(|column| column.name != **name));
    let Some((place, name)) = misplaced else { return Ok(()) };
    let shown: String = name.chars().take(80).collect();
    let what = match key.get(place) {
        _ if !key.iter().any(|column| column.name == *name) => "is no key column".to_owned(),
        Some(column) => format!("stands where `{}` is due", column.name),
        None => "is named twice".to_owned(),
    };
    let columns = listed(key.iter().map(|column| column.name.as_str()));
    Err(Error::invalid(format!("bucket_by: `{shown}` {what}; it names leading columns of the key, which is {columns}")))
}

fn drop_entity(catalog: &mut Catalog, name: &str) -> Result<bool> {
    let id = catalog.entity(name)?.id;
    let tables: Vec<&str> = catalog.tables_of(id).map(|table| table.name.as_str()).collect();
    if !tables.is_empty() {
        let tables = listed(tables.into_iter());
        return Err(Error::precondition(format!("entity `{name}` still has tables: {tables}; drop them first")));
    }
    catalog.entities.remove(id);
    Ok(true)
}

fn take_id(catalog: &mut Catalog) -> Result<u32> {
    let id = catalog.next_id;
    catalog.next_id =
        id.checked_add(1).ok_or_else(|| Error::exhausted("all 2^32 ids of tables and entities are used up"))?;
    Ok(id)
}

/// Refuses columns that no key or row id can have; `what` a column is goes into messages.
fn check_key_columns(field: &str, what: &str, columns: &[KeyColumn]) -> Result<()> {
    if columns.len() > KEY_COLUMNS_MAX {
        let count = columns.len();
        return Err(Error::invalid(format!("{field} has {count} columns, at most {KEY_COLUMNS_MAX} are allowed")));
    }
    for (place, column) in columns.iter().enumerate() {
        let name = &column.name;
        check_column_name(what, name)?;
        if KeyType::of(&column.data_type).is_none() {
            return Err(Error::invalid(format!(
                "{what} `{name}` cannot be {}; it can be an int, utf8, binary, fixed_size_binary, date32 or bool",
                print_type(&column.data_type)
            )));
        }
        if columns[..place].iter().any(|before| before.name == *name) {
            return Err(Error::invalid(format!("the {what} `{name}` is declared twice")));
        }
    }
    Ok(())
}

impl EntityDeclaration {
    /// The entity as declared, with the number that `id` is.
    fn entity(&self, id: u32) -> Result<Entity> {
        check_thing_name("entity", &self.name)?;
        check_key_columns("key", "key column", &self.key)?;
        if self.key.is_empty() {
            return Err(Error::invalid(format!("entity `{}` needs at least one key column", self.name)));
        }
        check_leading(&self.key, &self.bucket_by)?;
        if !(1..=BUCKETS_MAX).contains(&self.buckets) {
            let buckets = self.buckets;
            return Err(Error::invalid(format!("buckets is a whole number from 1 to {BUCKETS_MAX}, not {buckets}")));
        }
        let bucket_by = if self.bucket_by.is_empty() { self.key.len() } else { self.bucket_by.len() };
        Ok(Entity { id, name: self.name.clone(), key: self.key.clone(), bucket_by, buckets: self.buckets })
    }

    fn apply(&self, catalog: &mut Catalog) -> Result<bool> {
        let entity = self.entity(catalog.next_id)?;
        if let Ok(existing) = catalog.entity(&self.name) {
            let (declared, standing) = (describe::entity_declaration(&entity), describe::entity_declaration(existing));
            return already_there("entity", &self.name, self.if_not_exists, &declared, &standing);
        }
        if catalog.entities.len() >= ENTITIES_MAX {
            return Err(Error::exhausted(format!("there are {ENTITIES_MAX} entities, no more are allowed")));
        }
        take_id(catalog)?;
        Ok(catalog.entities.put(Arc::new(entity)))
    }
}

/// Whether something that already exists may be declared again: never a change, an error unless both are the same.
fn already_there(what: &str, name: &str, if_not_exists: bool, declared: &Value, standing: &Value) -> Result<bool> {
    let differences = describe::differences(declared, standing);
    match (if_not_exists, differences.is_empty()) {
        (true, true) => Ok(false),
        (true, false) => Err(Error::new(
            Kind::AlreadyExists,
            format!("{what} `{name}` exists and is declared differently: {}", differences.join("; ")),
        )),
        (false, _) => Err(Error::new(
            Kind::AlreadyExists,
            format!("{what} `{name}` exists; say \"if_not_exists\": true if the same declaration may be there"),
        )),
    }
}

impl TableDeclaration {
    /// The table as declared, of no entity yet.
    fn table(&self) -> Result<Table> {
        check_thing_name("table", &self.name)?;
        check_column_name("event-time column", &self.event_time)?;
        check_key_columns("row_id", "row id column", &self.row_id)?;
        let features = self.features.iter().zip(1..).map(|(declared, id)| declared.feature(id).map(Arc::new));
        let features = features.collect::<Result<Vec<_>>>()?;
        let mut table = Table {
            name: self.name.clone(),
            event_time: self.event_time.clone(),
            row_id: self.row_id.clone(),
            next_feature: features.len() as u32 + 1,
            features,
            rounding_floor: self.rounding_floor,
            floats_exact: self.floats_exact,
            ..Table::unnamed()
        };
        self.settings.iter().try_for_each(|setting| setting.set_on(&mut table))?;
        table.add_aggregates(&self.aggregates)?;
        check_table(&table)?;
        Ok(table)
    }

    fn apply(&self, catalog: &mut Catalog) -> Result<bool> {
        let declared = self.table()?;
        let entity = catalog.entity(&self.entity)?.clone();
        check_columns(&declared, &entity)?;
        let table = Table { id: catalog.next_id, entity: entity.id, shape: catalog.schema_version, ..declared };
        if let Ok(existing) = catalog.table(&self.name) {
            let standing_entity = catalog.entity_of(existing);
            let declared = describe::table_declaration(&table, &entity);
            let standing = describe::table_declaration(existing, standing_entity);
            return already_there("table", &self.name, self.if_not_exists, &declared, &standing);
        }
        if catalog.tables.len() >= TABLES_MAX {
            return Err(Error::exhausted(format!("there are {TABLES_MAX} tables, no more are allowed")));
        }
        take_id(catalog)?;
        Ok(catalog.tables.put(Arc::new(table)))
    }
}

#[cfg(test)]
pub(super) mod tests;
