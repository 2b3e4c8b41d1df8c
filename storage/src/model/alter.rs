//! `alter_table`: add, widen, rename, retire and purge features, add and retire aggregates, and set what features and the table
//! say of themselves.
//!
//! Names in `rename`, `widen`, `retire` and `set_features` are those before the change; `add` and the new names of `rename` are those
//! after it, so that a name given up may be taken in the same change. A retired feature keeps its bytes until it is
//! purged; its name is free at once. Widening never changes a stored value.

use std::sync::Arc;

use arrow_schema::DataType;
use serde_json::Value;

use super::aggregate::AggregateDeclaration;
use super::catalog::{Catalog, Feature, MaxAge, Table};
use super::declare::{FeatureDeclaration, check_columns, check_table};
use super::names::{RETIRED_MAX, check_column_name};
use super::setting::Setting;
use super::types::{can_widen, print_type, stored_type};
use super::value::one_from_json;
use crate::error::{Error, Kind, Result};

/// A change of one feature table.
#[derive(Debug, Clone, Default)]
pub struct Alteration {
    /// The table.
    pub table: String,
    /// New features.
    pub add: Vec<FeatureDeclaration>,
    /// Features and their wider types.
    pub widen: Vec<(String, DataType)>,
    /// Features and their new names.
    pub rename: Vec<(String, String)>,
    /// Features that are no longer read or written.
    pub retire: Vec<String>,
    /// Whether their bytes are removed too.
    pub purge: bool,
    /// New aggregates.
    pub add_aggregates: Vec<AggregateDeclaration>,
    /// Aggregates that are no longer read.
    pub retire_aggregates: Vec<String>,
    /// What features say of themselves from now on.
    pub set_features: Vec<FeatureSettings>,
    /// What the table says of itself from now on.
    pub set: Vec<Setting>,
}

/// What a feature says of itself beside its type; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct FeatureSettings {
    /// The feature.
    pub name: String,
    /// How old a winning cell may be.
    pub max_age: Option<MaxAge>,
    /// What deleted, expired and never answer, as JSON; the inner `None` is null.
    pub default: Option<Option<Value>>,
    /// What it is.
    pub description: Option<String>,
    /// Free words.
    pub tags: Option<Vec<String>>,
}

impl FeatureSettings {
    /// `feature` with these settings.
    fn set_on(&self, feature: &Feature) -> Result<Feature> {
        let declared = FeatureDeclaration {
            name: feature.name.clone(),
            data_type: feature.data_type.clone(),
            max_age: self.max_age.unwrap_or(feature.max_age),
            default: self.default.clone().unwrap_or_else(|| feature.default.clone()),
            description: self.description.clone().unwrap_or_else(|| feature.description.clone()),
            tags: self.tags.clone().unwrap_or_else(|| feature.tags.clone()),
        };
        declared.feature(feature.id)
    }
}

impl Alteration {
    pub(super) fn apply(&self, catalog: &mut Catalog) -> Result<bool> {
        let standing = catalog.table(&self.table)?.clone();
        let entity = catalog.entity_of(&standing).clone();
        let mut table = Table::clone(&standing);
        if self.purge && self.retire.is_empty() {
            return Err(Error::invalid("purge removes the bytes of the features in `retire`, which names none"));
        }
        self.rename.iter().try_for_each(|(_, to)| check_column_name("feature", to))?;
        // Each name is looked up before any is changed.
        let widened = self.widen.iter().map(|(name, to)| Ok((widened(&standing, name, to)?, to)));
        let widened = widened.collect::<Result<Vec<_>>>()?;
        let is_output = |name: &str| standing.outputs().any(|(_, output)| output.name == name);
        let (outputs, renamed): (Vec<_>, Vec<_>) = self.rename.iter().partition(|(from, _)| is_output(from));
        let renamed = renamed.into_iter().map(|(from, to)| Ok((standing.feature(from)?.id, to)));
        let renamed = renamed.collect::<Result<Vec<_>>>()?;
        let set = self.set_features.iter().map(|settings| Ok((standing.feature(&settings.name)?.id, settings)));
        let set = set.collect::<Result<Vec<_>>>()?;
        for (id, to) in widened {
            change_feature(&mut table, id, |feature| feature.data_type = to.clone());
        }
        for (id, to) in renamed {
            change_feature(&mut table, id, |feature| feature.name.clone_from(to));
        }
        for (id, settings) in set {
            let place = table.features.iter().position(|feature| feature.id == id).expect("it was looked up");
            table.features[place] = Arc::new(settings.set_on(&table.features[place])?);
        }
        table.rename_outputs(&outputs);
        table.retire_aggregates(&self.retire_aggregates)?;
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
            table.features.push(Arc::new(feature.feature(id)?));
        }
        self.set.iter().try_for_each(|setting| setting.set_on(&mut table))?;
        table.aggregates.iter().try_for_each(|aggregate| aggregate.check(&table))?;
        table.add_aggregates(&self.add_aggregates)?;
        check_table(&table)?;
        check_columns(&table, &entity)?;
        if table == *standing {
            return Ok(false);
        }
        let proven_anew = table.features != standing.features || table.max_future_skew != standing.max_future_skew;
        if proven_anew {
            table.shape = catalog.schema_version;
        }
        Ok(catalog.tables.put(Arc::new(table)))
    }

    fn retire_from(&self, standing: &Table, table: &mut Table) -> Result<()> {
        for name in &self.retire {
            let live = standing.features.iter().find(|feature| feature.name == *name);
            let gone: Vec<u32> =
                standing.retired.iter().filter(|feature| feature.name == *name).map(|feature| feature.id).collect();
            let changed = self.rename.iter().map(|(from, _)| from).chain(self.widen.iter().map(|(widened, _)| widened));
            if changed.chain(self.set_features.iter().map(|settings| &settings.name)).any(|changed| changed == name) {
                return Err(Error::invalid(format!("feature `{name}` cannot be retired and changed at once")));
            }
            if let Some(reads) = live.and_then(|feature| table.aggregate_of(feature.id)) {
                return Err(Error::precondition(format!(
                    "feature `{name}` is read by the aggregate `{reads}`; retire that too, by \"retire_aggregates\""
                )));
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

#[cfg(test)]
mod tests;
