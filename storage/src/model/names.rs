//! The rule for names and the limits of declarations, in one place and by name.

use crate::error::{Error, Result};

/// The most features of a table.
pub const FEATURES_MAX: usize = 4096;
/// The most retired features of a table that are not yet purged.
pub const RETIRED_MAX: usize = 65_536;
/// The most feature tables.
pub const TABLES_MAX: usize = 4096;
/// The most entities.
pub const ENTITIES_MAX: usize = 1024;
/// The most columns of a key, and of a row id.
pub const KEY_COLUMNS_MAX: usize = 16;
/// The most buckets of an entity.
pub const BUCKETS_MAX: u32 = 1024;
/// The buckets of an entity that does not say.
pub const BUCKETS_DEFAULT: u32 = 8;
/// The most tags of a table, and of a feature.
pub const TAGS_MAX: usize = 32;
/// The longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 128;
/// The longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 4096;
/// The longest owner, in bytes.
pub const OWNER_BYTES_MAX: usize = 256;
/// The longest default, in bytes of JSON.
pub const DEFAULT_BYTES_MAX: usize = 65_536;
/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 63;
/// The max future skew of a table that does not say: 5 minutes.
pub const MAX_FUTURE_SKEW_DEFAULT: i64 = 300_000_000;

/// Names that the columns of every history answer have.
pub const TAKEN_NAMES: [&str; 5] = ["ingest_time", "sequence", "kind", "row", "features"];

/// As much of a name as a message shows.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

/// Refuses a name that does not keep the rule; `what` it names goes into the message.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    let follows = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if starts && follows && name.len() <= NAME_BYTES_MAX && !name.contains("__") {
        return Ok(());
    }
    let shown = shown(name);
    Err(Error::invalid(format!(
        "`{shown}` is no {what} name: a name is 1 to {NAME_BYTES_MAX} lower-case letters, digits and `_`, begins with a letter \
         and has no `__`"
    )))
}

/// What the names of the system's own tables, entities and producers start with.
pub const SYSTEM_PREFIX: &str = "firn_";

/// Refuses a name for a table or an entity that does not keep the rule or belongs to the system.
pub fn check_thing_name(what: &str, name: &str) -> Result<()> {
    check_name(what, name)?;
    check_not_the_systems(what, name)
}

/// Refuses a name of a producer that belongs to the system. Otherwise it is any text.
pub fn check_producer_name(name: &str) -> Result<()> {
    check_not_the_systems("producer", name)
}

fn check_not_the_systems(what: &str, name: &str) -> Result<()> {
    if !name.starts_with(SYSTEM_PREFIX) {
        return Ok(());
    }
    let shown = shown(name);
    Err(Error::invalid(format!(
        "`{shown}` is no {what} name: those that start with `{SYSTEM_PREFIX}` are kept for the database's own; choose another"
    )))
}

/// Refuses a name for a column, of whatever role, that does not keep the rule or is taken.
pub fn check_column_name(what: &str, name: &str) -> Result<()> {
    check_name(what, name)?;
    if TAKEN_NAMES.contains(&name) {
        return Err(Error::invalid(format!(
            "`{name}` is no {what} name: it is a column of every history; choose another name"
        )));
    }
    Ok(())
}

/// Refuses text that is longer than `bytes_max`.
pub(crate) fn check_length(what: &str, text: &str, bytes_max: usize) -> Result<()> {
    if text.len() <= bytes_max {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} has {} bytes, at most {bytes_max} are allowed", text.len())))
}

/// Refuses too many or too long tags.
pub(crate) fn check_tags(what: &str, tags: &[String]) -> Result<()> {
    if tags.len() > TAGS_MAX {
        return Err(Error::invalid(format!("{what} has {} tags, at most {TAGS_MAX} are allowed", tags.len())));
    }
    tags.iter().try_for_each(|tag| check_length(&format!("a tag of {what}"), tag, TAG_BYTES_MAX))
}
