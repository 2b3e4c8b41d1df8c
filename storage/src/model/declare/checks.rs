//! What every table must keep, however it came to be: declared, or altered.

use crate::error::{Error, Result};
use crate::model::aggregate::declared::OUTPUTS_MAX;
use crate::model::catalog::{Entity, Table};
use crate::model::names::{DESCRIPTION_BYTES_MAX, FEATURES_MAX, OWNER_BYTES_MAX, check_length, check_tags};

/// Checks what a table decides by itself.
pub(in crate::model) fn check_table(table: &Table) -> Result<()> {
    let what = format!("table `{}`", table.name);
    if table.features.len() > FEATURES_MAX {
        let count = table.features.len();
        return Err(Error::invalid(format!(
            "{what} has {count} features, at most {FEATURES_MAX} are allowed; use several tables"
        )));
    }
    let outputs = table.outputs().count();
    if outputs > OUTPUTS_MAX {
        return Err(Error::invalid(format!(
            "{what} has {outputs} windows of aggregates, at most {OUTPUTS_MAX} are allowed; use several tables"
        )));
    }
    check_length(&format!("the owner of {what}"), &table.owner, OWNER_BYTES_MAX)?;
    check_length(&format!("the description of {what}"), &table.description, DESCRIPTION_BYTES_MAX)?;
    check_tags(&what, &table.tags)
}

/// Refuses two columns of one name, whatever their roles.
pub(in crate::model) fn check_columns(table: &Table, entity: &Entity) -> Result<()> {
    let key = entity.key.iter().map(|column| (column.name.as_str(), "a key column of the entity"));
    let row_id = table.row_id.iter().map(|column| (column.name.as_str(), "a row id column"));
    let features = table.features.iter().map(|feature| (feature.name.as_str(), "a feature"));
    let outputs = table.outputs().map(|(_, output)| (output.name.as_str(), "an answer of an aggregate"));
    let mut roles: hashbrown::HashMap<&str, &str> = hashbrown::HashMap::new();
    for (name, role) in
        key.chain([(table.event_time.as_str(), "the event-time column")]).chain(row_id).chain(features).chain(outputs)
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
