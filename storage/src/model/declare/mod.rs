//! Declarations: the JSON that makes and changes entities and feature tables.
//!
//! [`Change::parse`] takes a request apart and checks everything that the request alone decides; [`Change::apply`] is a
//! pure function from one catalog to the next and checks the rest. Neither touches data: a change takes effect when
//! its commit is durable. Unknown fields are errors that name the field and the ones there are.

use std::sync::Arc;

use serde_json::Value;

use super::alter::Alteration;
use super::body::Body;
use super::catalog::{Catalog, Entity, Table, listed};
use super::describe;
use super::key::KeyColumn;
use super::names::{
    BUCKETS_DEFAULT, BUCKETS_MAX, DESCRIPTION_BYTES_MAX, ENTITIES_MAX, FEATURES_MAX, MAX_FUTURE_SKEW_DEFAULT,
    OWNER_BYTES_MAX, TABLES_MAX, check_column_name, check_length, check_name, check_tags,
};
use crate::error::{Error, Kind, Result};

pub(super) mod fields;

use fields::{parse_feature, parse_key_columns, parse_limit, parse_retention};

/// One change of the catalog.
#[derive(Debug, Clone)]
pub enum Change {
    /// Declares an entity.
    CreateEntity(EntityDeclaration),
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
    /// So many leading key columns decide the bucket.
    pub bucket_by: usize,
    /// The number of buckets.
    pub buckets: u32,
    /// Whether an equal entity may already be there.
    pub if_not_exists: bool,
}

/// The declaration of a feature table.
#[derive(Debug, Clone)]
pub struct TableDeclaration {
    /// The table as it will be, without its ids.
    pub table: Table,
    /// The name of its entity.
    pub entity: String,
    /// Whether an equal table may already be there.
    pub if_not_exists: bool,
}

impl Change {
    /// The change that the action of that name asks for in `body`.
    pub fn parse(action: &str, body: &Value) -> Result<Self> {
        let named =
            |field: &str| -> Result<String> { Body::new(action, body, &[field])?.text(field).map(str::to_owned) };
        match action {
            "create_entity" => EntityDeclaration::parse(body).map(Self::CreateEntity),
            "create_table" => TableDeclaration::parse(body).map(Box::new).map(Self::CreateTable),
            "alter_table" => Alteration::parse(body).map(Box::new).map(Self::AlterTable),
            "drop_table" => Ok(Self::DropTable { table: named("table")? }),
            "drop_entity" => Ok(Self::DropEntity { entity: named("entity")? }),
            "seal_table" => Ok(Self::Seal { table: named("table")? }),
            _ => Err(Error::invalid(format!("`{action}` is no change of the schema"))),
        }
    }

    /// The name of the entity or table that changes.
    pub fn subject(&self) -> &str {
        match self {
            Self::CreateEntity(declaration) => &declaration.name,
            Self::CreateTable(declaration) => &declaration.table.name,
            Self::AlterTable(alteration) => &alteration.table,
            Self::DropTable { table } | Self::Seal { table } => table,
            Self::DropEntity { entity } => entity,
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
                next.tables.retain(|table| table.id != id);
                true
            }
            Self::DropEntity { entity } => drop_entity(&mut next, entity)?,
            Self::Seal { table } => {
                let id = next.table(table)?.id;
                let table = next.tables.iter_mut().find(|table| table.id == id).map(Arc::make_mut);
                table.is_some_and(|table| !std::mem::replace(&mut table.sealed, true))
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
    catalog.entities.retain(|entity| entity.id != id);
    Ok(true)
}

fn take_id(catalog: &mut Catalog) -> Result<u32> {
    let id = catalog.next_id;
    catalog.next_id =
        id.checked_add(1).ok_or_else(|| Error::exhausted("all 2^32 ids of tables and entities are used up"))?;
    Ok(id)
}

impl EntityDeclaration {
    fn parse(body: &Value) -> Result<Self> {
        let body = Body::new("create_entity", body, &["entity", "key", "bucket_by", "buckets", "if_not_exists"])?;
        let name = body.text("entity")?.to_owned();
        check_name("entity", &name)?;
        let key = parse_key_columns(&body, "key", "key column")?;
        if key.is_empty() {
            return Err(Error::invalid(format!("entity `{name}` needs at least one key column")));
        }
        let by = body.texts("bucket_by")?;
        check_leading(&key, &by)?;
        let bucket_by = if by.is_empty() { key.len() } else { by.len() };
        let buckets = match body.get("buckets") {
            None => BUCKETS_DEFAULT,
            Some(value) => {
                let buckets = value.as_u64().and_then(|buckets| u32::try_from(buckets).ok());
                let buckets = buckets.filter(|buckets| (1..=BUCKETS_MAX).contains(buckets));
                buckets.ok_or_else(|| {
                    Error::invalid(format!("buckets is a whole number from 1 to {BUCKETS_MAX}, not {value}"))
                })?
            }
        };
        Ok(Self { name, key, bucket_by, buckets, if_not_exists: body.flag("if_not_exists")? })
    }

    fn apply(&self, catalog: &mut Catalog) -> Result<bool> {
        let id = catalog.next_id;
        let (name, key) = (self.name.clone(), self.key.clone());
        let entity = Entity { id, name, key, bucket_by: self.bucket_by, buckets: self.buckets };
        if let Ok(existing) = catalog.entity(&self.name) {
            let (declared, standing) = (describe::entity_declaration(&entity), describe::entity_declaration(existing));
            return already_there("entity", &self.name, self.if_not_exists, &declared, &standing);
        }
        if catalog.entities.len() >= ENTITIES_MAX {
            return Err(Error::exhausted(format!("there are {ENTITIES_MAX} entities, no more are allowed")));
        }
        take_id(catalog)?;
        catalog.entities.push(Arc::new(entity));
        Ok(true)
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

const TABLE_FIELDS: [&str; 13] = [
    "table",
    "entity",
    "event_time",
    "row_id",
    "features",
    "max_age",
    "max_future_skew",
    "retention",
    "event_time_rounding",
    "owner",
    "description",
    "tags",
    "if_not_exists",
];

impl TableDeclaration {
    fn parse(body: &Value) -> Result<Self> {
        let body = Body::new("create_table", body, &TABLE_FIELDS)?;
        let name = body.text("table")?.to_owned();
        check_name("table", &name)?;
        let entity = body.text("entity")?.to_owned();
        let event_time = body.text("event_time")?.to_owned();
        check_column_name("event-time column", &event_time)?;
        let row_id = parse_key_columns(&body, "row_id", "row id column")?;
        let parsed = body.list("features")?.iter().enumerate();
        let features = parsed.map(|(place, value)| parse_feature(value, place as u32 + 1).map(Arc::new));
        let features = features.collect::<Result<Vec<_>>>()?;
        let rounding_floor = match body.get("event_time_rounding") {
            None => false,
            Some(value) if value.as_str() == Some("floor") => true,
            Some(value) if value.as_str() == Some("none") => false,
            Some(value) => {
                return Err(Error::invalid(format!("event_time_rounding is \"floor\" or \"none\", not {value}")));
            }
        };
        let (keep_events, keep_knowledge) = parse_retention(&body, (None, None))?;
        let table = Table {
            id: 0,
            name,
            entity: 0,
            event_time,
            row_id,
            next_feature: features.len() as u32 + 1,
            features,
            retired: Vec::new(),
            purged: Vec::new(),
            max_age: parse_limit(&body, "max_age", None)?,
            max_future_skew: parse_limit(&body, "max_future_skew", Some(MAX_FUTURE_SKEW_DEFAULT))?,
            keep_events,
            keep_knowledge,
            rounding_floor,
            owner: body.optional_text("owner")?,
            description: body.optional_text("description")?,
            tags: body.texts("tags")?,
            sealed: false,
            shape: 0,
        };
        check_table(&table)?;
        Ok(Self { table, entity, if_not_exists: body.flag("if_not_exists")? })
    }

    fn apply(&self, catalog: &mut Catalog) -> Result<bool> {
        let entity = catalog.entity(&self.entity)?.clone();
        check_columns(&self.table, &entity)?;
        let table =
            Table { id: catalog.next_id, entity: entity.id, shape: catalog.schema_version, ..self.table.clone() };
        if let Ok(existing) = catalog.table(&self.table.name) {
            let standing_entity = catalog.entity_of(existing);
            let declared = describe::table_declaration(&table, &entity);
            let standing = describe::table_declaration(existing, standing_entity);
            return already_there("table", &self.table.name, self.if_not_exists, &declared, &standing);
        }
        if catalog.tables.len() >= TABLES_MAX {
            return Err(Error::exhausted(format!("there are {TABLES_MAX} tables, no more are allowed")));
        }
        take_id(catalog)?;
        catalog.tables.push(Arc::new(table));
        Ok(true)
    }
}

/// Checks what a table's own declaration decides.
pub(super) fn check_table(table: &Table) -> Result<()> {
    let what = format!("table `{}`", table.name);
    if table.features.len() > FEATURES_MAX {
        let count = table.features.len();
        return Err(Error::invalid(format!(
            "{what} has {count} features, at most {FEATURES_MAX} are allowed; use several tables"
        )));
    }
    check_length(&format!("the owner of {what}"), &table.owner, OWNER_BYTES_MAX)?;
    check_length(&format!("the description of {what}"), &table.description, DESCRIPTION_BYTES_MAX)?;
    check_tags(&what, &table.tags)
}

/// Refuses two columns of one name, whatever their roles.
pub(super) fn check_columns(table: &Table, entity: &Entity) -> Result<()> {
    let key = entity.key.iter().map(|column| (column.name.as_str(), "a key column of the entity"));
    let row_id = table.row_id.iter().map(|column| (column.name.as_str(), "a row id column"));
    let features = table.features.iter().map(|feature| (feature.name.as_str(), "a feature"));
    let mut roles: hashbrown::HashMap<&str, &str> = hashbrown::HashMap::new();
    for (name, role) in key.chain([(table.event_time.as_str(), "the event-time column")]).chain(row_id).chain(features)
    {
        let Some(other) = roles.insert(name, role) else { continue };
        let both = if other == role { format!("{role} twice") } else { format!("{other} and {role}") };
        return Err(Error::invalid(format!(
            "in table `{}` the column `{name}` would be {both}; rename one",
            table.name
        )));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
