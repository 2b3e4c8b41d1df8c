//! `alter_table`: add, widen, rename, retire and purge features, and set what the table says of itself.
//!
//! Names in `rename`, `widen` and `retire` are those before the change; `add` and the new names of `rename` are those
//! after it, so that a name given up may be taken in the same change. A retired feature keeps its bytes until it is
//! purged; its name is free at once. Widening never changes a stored value.

use std::sync::Arc;

use arrow_schema::DataType;
use serde_json::Value;

use super::body::Body;
use super::catalog::{Catalog, Feature, Table};
use super::declare::fields::{parse_feature, parse_limit, parse_retention};
use super::declare::{check_columns, check_table};
use super::names::{MAX_FUTURE_SKEW_DEFAULT, RETIRED_MAX, check_column_name};
use super::types::{can_widen, parse_type, print_type, stored_type};
use super::value::one_from_json;
use crate::error::{Error, Kind, Result};

/// A change of one feature table.
#[derive(Debug, Clone)]
pub struct Alteration {
    /// The table.
    pub table: String,
    add: Vec<Feature>,
    widen: Vec<(String, DataType)>,
    rename: Vec<(String, String)>,
    retire: Vec<String>,
    purge: bool,
    set: Option<Value>,
}

const SETTABLE: [&str; 6] = ["max_age", "max_future_skew", "retention", "owner", "description", "tags"];

impl Alteration {
    pub(super) fn parse(body: &Value) -> Result<Self> {
        let body = Body::new("alter_table", body, &["table", "add", "widen", "rename", "retire", "purge", "set"])?;
        let add = body.list("add")?.iter().map(|value| parse_feature(value, 0)).collect::<Result<Vec<_>>>()?;
        let widen = body.list("widen")?.iter().map(|value| {
            let body = Body::new("widen", value, &["name", "type"])?;
            let name = body.text("name")?.to_owned();
            let to = body.text("type").and_then(parse_type).map_err(|error| error.at(format!("widen `{name}`")))?;
            Ok((name, to))
        });
        let rename = match body.get("rename") {
            None => Vec::new(),
            Some(Value::Object(pairs)) => pairs.iter().map(parse_rename).collect::<Result<_>>()?,
            Some(_) => return Err(body.wrong("rename", "an object of old names and new names")),
        };
        let set = body.get("set").cloned();
        if let Some(set) = &set {
            // The values are read against the table; that they can be read is checked here.
            set_on(&mut Table::unnamed(), set)?;
        }
        let widen = widen.collect::<Result<Vec<_>>>()?;
        let (retire, purge) = (body.texts("retire")?, body.flag("purge")?);
        if purge && retire.is_empty() {
            return Err(Error::invalid("purge removes the bytes of the features in `retire`, which names none"));
        }
        Ok(Self { table: body.text("table")?.to_owned(), add, widen, rename, retire, purge, set })
    }

    pub(super) fn apply(&self, catalog: &mut Catalog) -> Result<bool> {
        let standing = catalog.table(&self.table)?.clone();
        let entity = catalog.entity_of(&standing).clone();
        let mut table = Table::clone(&standing);
        // Each name is looked up before any is changed.
        let widened = self.widen.iter().map(|(name, to)| Ok((widened(&standing, name, to)?, to)));
        let widened = widened.collect::<Result<Vec<_>>>()?;
        let renamed = self.rename.iter().map(|(from, to)| Ok((standing.feature(from)?.id, to)));
        let renamed = renamed.collect::<Result<Vec<_>>>()?;
        for (id, to) in widened {
            change_feature(&mut table, id, |feature| feature.data_type = to.clone());
        }
        for (id, to) in renamed {
            change_feature(&mut table, id, |feature| feature.name.clone_from(to));
        }
        self.retire_from(&standing, &mut table)?;
        for feature in &self.add {
            if table.features.iter().any(|known| known.name == feature.name) {
                let (table, name) = (&table.name, &feature.name);
                return Err(Error::new(
                    Kind::AlreadyExists,
                    format!("table `{table}` has a feature `{name}`; give the new one another name, or leave it out"),
                ));
            }
            let id = table.next_feature;
            table.next_feature =
                id.checked_add(1).ok_or_else(|| Error::exhausted("all 2^32 ids of features are used up"))?;
            table.features.push(Arc::new(Feature { id, ..feature.clone() }));
        }
        if let Some(set) = &self.set {
            set_on(&mut table, set)?;
        }
        check_table(&table)?;
        check_columns(&table, &entity)?;
        if table == *standing {
            return Ok(false);
        }
        let proven_anew = table.features != standing.features || table.max_future_skew != standing.max_future_skew;
        if proven_anew {
            table.shape = catalog.schema_version;
        }
        if let Some(slot) = catalog.tables.iter_mut().find(|slot| slot.id == standing.id) {
            *slot = Arc::new(table);
        }
        Ok(true)
    }

    fn retire_from(&self, standing: &Table, table: &mut Table) -> Result<()> {
        for name in &self.retire {
            let live = standing.features.iter().find(|feature| feature.name == *name);
            let gone: Vec<u32> =
                standing.retired.iter().filter(|feature| feature.name == *name).map(|feature| feature.id).collect();
            if self.rename.iter().any(|(from, _)| from == name) || self.widen.iter().any(|(widened, _)| widened == name)
            {
                return Err(Error::invalid(format!("feature `{name}` cannot be retired and changed at once")));
            }
            match live {
                Some(feature) => {
                    table.features.retain(|kept| kept.id != feature.id);
                    if self.purge {
                        table.purged.push(feature.id);
                    } else {
                        table.retired.push(feature.clone());
                    }
                }
                // A feature that was retired before may still be purged.
                None if self.purge && !gone.is_empty() => {
                    table.retired.retain(|kept| !gone.contains(&kept.id));
                    table.purged.extend(gone);
                }
                None => {
                    return Err(standing.feature(name).err().unwrap_or_else(|| Error::invalid("nothing to retire")));
                }
            }
        }
        let mut names: Vec<&String> = self.retire.iter().collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::invalid(format!("feature `{}` is retired twice", twice[0])));
        }
        if table.retired.len() > RETIRED_MAX {
            return Err(Error::exhausted(format!(
                "more than {RETIRED_MAX} features are retired; purge them with \"purge\": true"
            )));
        }
        Ok(())
    }
}

fn parse_rename((from, to): (&String, &Value)) -> Result<(String, String)> {
    let to = to.as_str().ok_or_else(|| Error::invalid(format!("rename gives `{from}` a new name, a string")))?;
    check_column_name("feature", to)?;
    Ok((from.clone(), to.to_owned()))
}

fn change_feature(table: &mut Table, id: u32, change: impl FnOnce(&mut Feature)) {
    if let Some(feature) = table.features.iter_mut().find(|feature| feature.id == id) {
        change(Arc::make_mut(feature));
    }
}

/// The id of the feature called `name`, which may become `to`.
fn widened(table: &Table, name: &str, to: &DataType) -> Result<u32> {
    let feature = table.feature(name)?;
    if feature.data_type != *to && !can_widen(&feature.data_type, to) {
        return Err(Error::invalid(format!(
            "table `{}`: feature `{name}` cannot be widened from {} to {}: not every value would be kept; add a new feature",
            table.name,
            print_type(&feature.data_type),
            print_type(to)
        )));
    }
    if let Some(default) = &feature.default {
        one_from_json(default, &stored_type(to))
            .map_err(|error| error.at(format!("table `{}`: default of feature `{name}`", table.name)))?;
    }
    Ok(feature.id)
}

/// Changes what `set` names; null sets a field back to what it is when not declared.
fn set_on(table: &mut Table, set: &Value) -> Result<()> {
    let body = Body::new("set", set, &SETTABLE)?;
    if body.has("max_age") {
        table.max_age = parse_limit(&body, "max_age", None)?;
    }
    if body.has("max_future_skew") {
        table.max_future_skew = parse_limit(&body, "max_future_skew", Some(MAX_FUTURE_SKEW_DEFAULT))?;
    }
    if body.has("retention") {
        let standing =
            if body.get("retention").is_none() { (None, None) } else { (table.keep_events, table.keep_knowledge) };
        (table.keep_events, table.keep_knowledge) = parse_retention(&body, standing)?;
    }
    if body.has("owner") {
        table.owner = body.optional_text("owner")?;
    }
    if body.has("description") {
        table.description = body.optional_text("description")?;
    }
    if body.has("tags") {
        table.tags = body.texts("tags")?;
    }
    Ok(())
}

impl Table {
    /// A table with nothing in it, to try settings on.
    fn unnamed() -> Self {
        Self {
            id: 0,
            name: String::new(),
            entity: 0,
            event_time: String::new(),
            row_id: Vec::new(),
            features: Vec::new(),
            retired: Vec::new(),
            purged: Vec::new(),
            max_age: None,
            max_future_skew: None,
            keep_events: None,
            keep_knowledge: None,
            rounding_floor: false,
            owner: String::new(),
            description: String::new(),
            tags: Vec::new(),
            sealed: false,
            next_feature: 1,
            shape: 0,
        }
    }
}

#[cfg(test)]
mod tests;
