//! The catalog: every entity, feature table and feature that is declared, at one schema version.
//!
//! A catalog is a value. A change makes a new one ([`Change::apply`](super::declare::Change::apply)), so that a reader
//! keeps the one it began with. It is stored as JSON, in the WAL and in manifests, under a type's printed name. Ids are
//! never used twice, names may be.

use std::sync::Arc;

use arrow_array::{ArrayRef, new_null_array};
use arrow_schema::DataType;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::aggregate::declared::{Aggregate, Output};
use super::key::KeyColumn;
use super::listed::{Listed, Named};
use super::names::BUCKETS_MAX;
use super::problems::{Unknown, meant};
use super::types::{as_text, stored_type};
use super::value::one_from_json;
use crate::error::{Error, Kind, Result};

/// Everything that is declared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Catalog {
    /// Grows by one with every change.
    pub schema_version: u64,
    /// In the order of their creation.
    pub entities: Listed<Entity>,
    /// In the order of their creation.
    pub tables: Listed<Table>,
    /// The id that the next entity or table gets.
    pub next_id: u32,
}

impl Catalog {
    /// The entity called `name`.
    pub fn entity(&self, name: &str) -> Result<&Arc<Entity>> {
        self.entities.named(name).ok_or_else(|| {
            let name = meant(name, self.entities.iter().map(|entity| entity.name.as_str()));
            Error::not_found(format!(
                "there is no entity {name}; list_entities names those there are, create_entity declares one"
            ))
        })
    }

    /// The table called `name`.
    pub fn table(&self, name: &str) -> Result<&Arc<Table>> {
        Ok(self.find_table(name)?)
    }

    /// [`Catalog::table`], to be said together with what else is wrong.
    pub(crate) fn find_table(&self, name: &str) -> Result<&Arc<Table>, Unknown> {
        self.tables.named(name).ok_or_else(|| {
            let name = meant(name, self.tables.iter().map(|table| table.name.as_str()));
            let hint = "list_tables names those there are, create_table declares one";
            Unknown::new(Kind::NotFound, format!("there is no table {name}"), hint.to_owned())
        })
    }

    /// The table with `id`, unless it was dropped.
    pub fn table_by_id(&self, id: u32) -> Option<&Arc<Table>> {
        self.tables.with_id(id)
    }

    /// The entity with `id`, unless it was dropped.
    pub fn entity_by_id(&self, id: u32) -> Option<&Arc<Entity>> {
        self.entities.with_id(id)
    }

    /// The entity of `table`.
    pub fn entity_of(&self, table: &Table) -> &Arc<Entity> {
        self.entity_by_id(table.entity).expect("an entity is dropped only when no table is left")
    }

    /// The tables of `entity`.
    pub fn tables_of(&self, entity: u32) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.iter().filter(move |table| table.entity == entity)
    }
}

/// A catalog as it was stored, before it is believed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    schema_version: u64,
    entities: Listed<Entity>,
    tables: Listed<Table>,
    next_id: u32,
}

impl TryFrom<Stored> for Catalog {
    type Error = Error;

    /// Checks what the rest of the engine takes for granted.
    fn try_from(stored: Stored) -> Result<Self> {
        let Stored { schema_version, entities, tables, next_id } = stored;
        let catalog = Self { schema_version, entities, tables, next_id };
        catalog.entities.iter().try_for_each(|entity| entity.check())?;
        catalog.tables.iter().try_for_each(|table| table.check(&catalog))?;
        Ok(catalog)
    }
}

/// A kind of thing that features describe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entity {
    /// Never used again.
    pub id: u32,
    /// The name.
    pub name: String,
    /// The key columns.
    pub key: Vec<KeyColumn>,
    /// So many leading key columns decide the bucket.
    pub bucket_by: usize,
    /// The number of buckets.
    pub buckets: u32,
}

impl Named for Entity {
    fn id(&self) -> u32 {
        self.id
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for Table {
    fn id(&self) -> u32 {
        self.id
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Entity {
    /// Checks what the rest of the engine takes for granted of an entity that was stored.
    pub(crate) fn check(&self) -> Result<()> {
        self.key.iter().try_for_each(|column| column.key_type().map(|_| ()))?;
        let placed = (1..=self.key.len()).contains(&self.bucket_by) && (1..=BUCKETS_MAX).contains(&self.buckets);
        if placed { Ok(()) } else { Err(Error::invalid(format!("entity `{}` is not placed by its key", self.name))) }
    }
}

/// A feature table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Never used again.
    pub id: u32,
    /// The name.
    pub name: String,
    /// The id of its entity.
    pub entity: u32,
    /// The event-time column.
    pub event_time: String,
    /// The row id columns; empty if it has none.
    pub row_id: Vec<KeyColumn>,
    /// The live features in the order of their declaration.
    #[serde(with = "shared_list")]
    pub features: Vec<Arc<Feature>>,
    /// Features that are no longer read or written, whose bytes are still there.
    #[serde(with = "shared_list")]
    pub retired: Vec<Arc<Feature>>,
    /// Features whose bytes are to be removed.
    pub purged: Vec<u32>,
    /// What is reckoned over windows of its events, in the order of their declaration.
    #[serde(with = "shared_list", default, skip_serializing_if = "Vec::is_empty")]
    pub aggregates: Vec<Arc<Aggregate>>,
    /// Max age in microseconds; `None` is unlimited.
    pub max_age: Option<i64>,
    /// How far after its own ingest time an event time may be, in microseconds; `None` is any.
    pub max_future_skew: Option<i64>,
    /// How long events are kept, in microseconds; `None` is for ever.
    pub keep_events: Option<i64>,
    /// How long past knowledge is kept, in microseconds; `None` is for ever.
    pub keep_knowledge: Option<i64>,
    /// Frozen segments whose last event is older than this, in microseconds, leave the local disk also while there is room; `None` is
    /// any age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hot_window: Option<i64>,
    /// Whether nanosecond event times are rounded down to microseconds.
    pub rounding_floor: bool,
    /// Whether a float that a narrower type does not hold exactly is refused instead of rounded to the nearest.
    #[serde(default)]
    pub floats_exact: bool,
    /// Who answers for it.
    pub owner: String,
    /// What it is.
    pub description: String,
    /// Free words.
    pub tags: Vec<String>,
    /// Whether history can no longer be loaded.
    pub sealed: bool,
    /// The id that the next feature gets.
    pub next_feature: u32,
    /// The schema version of the last change to what a write is proven against.
    pub shape: u64,
}

impl Table {
    /// Checks what the rest of the engine takes for granted of a table that was stored, in `catalog`.
    pub(crate) fn check(&self, catalog: &Catalog) -> Result<()> {
        self.row_id.iter().try_for_each(|column| column.key_type().map(|_| ()))?;
        if catalog.entity_by_id(self.entity).is_none() {
            return Err(Error::invalid(format!("table `{}` has no entity", self.name)));
        }
        for feature in self.features.iter().chain(&self.retired) {
            feature.default.as_ref().map(|value| one_from_json(value, &feature.stored_type())).transpose()?;
        }
        self.aggregates.iter().try_for_each(|aggregate| aggregate.check(self))
    }

    /// The live feature called `name`.
    pub fn feature(&self, name: &str) -> Result<&Arc<Feature>> {
        Ok(self.find_feature(name)?)
    }

    /// [`Table::feature`], to be said together with what else is wrong.
    pub(crate) fn find_feature(&self, name: &str) -> Result<&Arc<Feature>, Unknown> {
        let found = self.features.iter().find(|feature| feature.name == name);
        found.ok_or_else(|| {
            let meant = meant(name, self.features.iter().map(|feature| feature.name.as_str()));
            let said = format!("table `{}` has no feature {meant}", self.name);
            let hint = format!("the features of `{}` are {}", self.name, self.feature_names());
            Unknown::new(Kind::NotFound, said, hint).of_column(name)
        })
    }

    /// What can be read of its aggregates: each with its window.
    pub fn outputs(&self) -> impl Iterator<Item = (&Arc<Aggregate>, &Output)> {
        self.aggregates.iter().flat_map(|aggregate| aggregate.outputs.iter().map(move |output| (aggregate, output)))
    }

    /// The live or retired feature with `id`.
    pub fn feature_by_id(&self, id: u32) -> Option<&Arc<Feature>> {
        self.features.iter().chain(&self.retired).find(|feature| feature.id == id)
    }

    /// The max age of `feature` in microseconds; `None` is unlimited.
    pub fn max_age_of(&self, feature: &Feature) -> Option<i64> {
        match feature.max_age {
            MaxAge::Table => self.max_age,
            own => own.micros(),
        }
    }

    /// The names of the live features for a message.
    pub(crate) fn feature_names(&self) -> String {
        listed(self.features.iter().map(|feature| feature.name.as_str()))
    }
}

/// Names for a message: the first twenty and how many more there are.
pub(crate) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = names.len();
    if count == 0 {
        return "none".to_owned();
    }
    let mut first: Vec<String> = names.take(20).map(|name| format!("`{name}`")).collect();
    if count > first.len() {
        first.push(format!("and {} more", count - first.len()));
    }
    first.join(", ")
}

/// Where a feature's max age comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MaxAge {
    /// The table's.
    Table,
    /// No value is ever too old.
    Unlimited,
    /// So many microseconds.
    Micros(i64),
}

impl MaxAge {
    /// The microseconds that it says, if it says any.
    pub(crate) fn micros(self) -> Option<i64> {
        match self {
            Self::Micros(micros) => Some(micros),
            Self::Table | Self::Unlimited => None,
        }
    }
}

/// One named, typed column of a feature table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Never used again within its table.
    pub id: u32,
    /// The name.
    pub name: String,
    /// The declared type, which readers get.
    #[serde(rename = "type", with = "as_text")]
    pub data_type: DataType,
    /// How old a winning cell may be.
    pub max_age: MaxAge,
    /// What deleted, expired and never answer, as JSON; `None` is null.
    pub default: Option<Value>,
    /// What it is.
    pub description: String,
    /// Free words such as `pii`.
    pub tags: Vec<String>,
}

impl Feature {
    /// The type in which cells are stored and answered inside the engine; see [`stored_type`].
    pub fn stored_type(&self) -> DataType {
        stored_type(&self.data_type)
    }

    /// The default as one row of the stored type; null if there is none.
    pub fn default_array(&self) -> ArrayRef {
        let stored = self.stored_type();
        match &self.default {
            None => new_null_array(&stored, 1),
            Some(value) => one_from_json(value, &stored).expect("a default is checked against its type when declared"),
        }
    }
}

/// Lists of shared values as plain lists.
pub(crate) mod shared_list {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<T: Serialize, S: Serializer>(list: &[Arc<T>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(AsRef::as_ref))
    }

    pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Arc<T>>, D::Error> {
        Ok(Vec::<T>::deserialize(deserializer)?.into_iter().map(Arc::new).collect())
    }
}
