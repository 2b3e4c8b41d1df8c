//! Declarations as JSON: each field taken by name and type, an unknown one an error that names it and those there are.
//!
//! Nothing here knows what a declaration means: what is wrong with a value that can be read is said when it is applied.

use std::sync::LazyLock;

use serde_json::Value;

use super::{Change, EntityDeclaration, FeatureDeclaration, TableDeclaration};
use crate::error::{Error, Result};
use crate::model::aggregate::AggregateDeclaration;
use crate::model::alter::{Alteration, FeatureSettings};
use crate::model::body::Body;
use crate::model::catalog::MaxAge;
use crate::model::key::KeyColumn;
use crate::model::names::{BUCKETS_DEFAULT, BUCKETS_MAX, MAX_FUTURE_SKEW_DEFAULT};
use crate::model::setting::Setting;
use crate::model::types::parse_type;
use crate::model::value::parse_duration;

/// The fields of an alteration.
const ALTERATIONS: [&str; 10] = [
    "table",
    "add",
    "widen",
    "rename",
    "retire",
    "purge",
    "add_aggregates",
    "retire_aggregates",
    "set_features",
    "set",
];

/// The fields of [`Setting`]s.
const SETTINGS: [&str; 7] = ["max_age", "max_future_skew", "retention", "hot_window", "owner", "description", "tags"];

static TABLE_FIELDS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut fields = vec!["table", "entity", "event_time", "row_id", "features", "aggregates"];
    fields.extend(&SETTINGS[..4]);
    fields.extend(["event_time_rounding", "float_rounding"]);
    fields.extend(&SETTINGS[4..]);
    fields.push("if_not_exists");
    fields
});

impl Change {
    /// The change that the action of that name asks for in `body`.
    pub fn parse(action: &str, body: &Value) -> Result<Self> {
        let named =
            |field: &str| -> Result<String> { Body::new(action, body, &[field])?.text(field).map(str::to_owned) };
        match action {
            "create_entity" => entity(body).map(Box::new).map(Self::CreateEntity),
            "create_table" => table(body).map(Box::new).map(Self::CreateTable),
            "alter_table" => alteration(body).map(Box::new).map(Self::AlterTable),
            "drop_table" => Ok(Self::DropTable { table: named("table")? }),
            "drop_entity" => Ok(Self::DropEntity { entity: named("entity")? }),
            "seal_table" => Ok(Self::Seal { table: named("table")? }),
            _ => Err(Error::invalid(format!("`{action}` is no change of the schema"))),
        }
    }
}

fn entity(body: &Value) -> Result<EntityDeclaration> {
    let body = Body::new("create_entity", body, &["entity", "key", "bucket_by", "buckets", "if_not_exists"])?;
    let buckets = match body.get("buckets") {
        None => BUCKETS_DEFAULT,
        Some(value) => value
            .as_u64()
            .and_then(|buckets| u32::try_from(buckets).ok())
            .ok_or_else(|| Error::invalid(format!("buckets is a whole number from 1 to {BUCKETS_MAX}, not {value}")))?,
    };
    Ok(EntityDeclaration {
        name: body.text("entity")?.to_owned(),
        key: key_columns(&body, "key", "key column")?,
        bucket_by: body.texts("bucket_by")?,
        buckets,
        if_not_exists: body.flag("if_not_exists")?,
    })
}

fn table(body: &Value) -> Result<TableDeclaration> {
    let body = Body::new("create_table", body, &TABLE_FIELDS)?;
    Ok(TableDeclaration {
        name: body.text("table")?.to_owned(),
        entity: body.text("entity")?.to_owned(),
        event_time: body.text("event_time")?.to_owned(),
        row_id: key_columns(&body, "row_id", "row id column")?,
        features: body.list("features")?.iter().map(feature).collect::<Result<_>>()?,
        aggregates: aggregates(&body, "aggregates")?,
        rounding_floor: either(&body, "event_time_rounding", ("none", "floor"))?,
        floats_exact: either(&body, "float_rounding", ("nearest", "none"))?,
        settings: settings(&body)?,
        if_not_exists: body.flag("if_not_exists")?,
    })
}

/// Whether `field` says the second of two words; the first is its default.
fn either(body: &Body<'_>, field: &str, (first, second): (&str, &str)) -> Result<bool> {
    match body.get(field) {
        None => Ok(false),
        Some(value) if value == first => Ok(false),
        Some(value) if value == second => Ok(true),
        Some(value) => Err(Error::invalid(format!("{field} is \"{second}\" or \"{first}\", not {value}"))),
    }
}

fn alteration(body: &Value) -> Result<Alteration> {
    let body = Body::new("alter_table", body, &ALTERATIONS)?;
    let widen = body.list("widen")?.iter().map(|value| {
        let body = Body::new("widen", value, &["name", "type"])?;
        let name = body.text("name")?.to_owned();
        let to = body.text("type").and_then(parse_type).map_err(|error| error.at(format!("feature `{name}`")))?;
        Ok((name, to))
    });
    let renamed = |(from, to): (&String, &Value)| match to.as_str() {
        Some(to) => Ok((from.clone(), to.to_owned())),
        None => Err(Error::invalid(format!("rename gives `{from}` a new name, a string"))),
    };
    let rename = match body.get("rename") {
        None => Vec::new(),
        Some(Value::Object(pairs)) => pairs.iter().map(renamed).collect::<Result<_>>()?,
        Some(_) => return Err(body.wrong("rename", "an object of old names and new names")),
    };
    let set = match body.get("set") {
        None => Vec::new(),
        Some(set) => settings(&Body::new("set", set, &SETTINGS)?)?,
    };
    Ok(Alteration {
        table: body.text("table")?.to_owned(),
        add: body.list("add")?.iter().map(feature).collect::<Result<_>>()?,
        widen: widen.collect::<Result<_>>()?,
        rename,
        retire: body.texts("retire")?,
        purge: body.flag("purge")?,
        add_aggregates: aggregates(&body, "add_aggregates")?,
        retire_aggregates: body.texts("retire_aggregates")?,
        set_features: body.list("set_features")?.iter().map(feature_settings).collect::<Result<_>>()?,
        set,
    })
}

fn aggregates(body: &Body<'_>, field: &str) -> Result<Vec<AggregateDeclaration>> {
    body.list(field)?.iter().map(AggregateDeclaration::parse).collect()
}

/// The columns of a key or of a row id.
fn key_columns(body: &Body<'_>, field: &str, what: &str) -> Result<Vec<KeyColumn>> {
    let column = |value: &Value| {
        let body = Body::new(what, value, &["name", "type"])?;
        let name = body.text("name")?;
        let data_type = body.text("type").and_then(parse_type);
        Ok(KeyColumn::new(name, data_type.map_err(|error| error.at(format!("{what} `{name}`")))?))
    };
    body.list(field)?.iter().map(column).collect()
}

fn feature(value: &Value) -> Result<FeatureDeclaration> {
    let body = Body::new("a feature", value, &["name", "type", "max_age", "default", "description", "tags"])?;
    let name = body.text("name")?.to_owned();
    let what = format!("feature `{name}`");
    let data_type = body.text("type").and_then(parse_type).map_err(|error| error.at(&what))?;
    Ok(FeatureDeclaration {
        data_type,
        max_age: max_age(&body, &what)?,
        default: body.get("default").cloned(),
        description: body.optional_text("description").map_err(|error| error.at(&what))?,
        tags: body.texts("tags").map_err(|error| error.at(&what))?,
        name,
    })
}

/// The max age of a feature; null is that of its table.
fn max_age(body: &Body<'_>, what: &str) -> Result<MaxAge> {
    match body.get("max_age").map(Value::as_str) {
        None => Ok(MaxAge::Table),
        Some(Some("none")) => Ok(MaxAge::Unlimited),
        Some(Some(text)) => {
            Ok(MaxAge::Micros(parse_duration(text).map_err(|error| error.at(format!("max_age of {what}")))?))
        }
        Some(None) => Err(body.wrong("max_age", "a duration such as \"90s\", or \"none\"").at(what)),
    }
}

/// What a feature says of itself from now on: the fields that are there; null is what it is when not declared.
fn feature_settings(value: &Value) -> Result<FeatureSettings> {
    let body = Body::new("a feature of set_features", value, &["name", "max_age", "default", "description", "tags"])?;
    let name = body.text("name")?.to_owned();
    let what = format!("feature `{name}`");
    let described = body.has("description").then(|| body.optional_text("description")).transpose();
    let tags = body.has("tags").then(|| body.texts("tags")).transpose();
    Ok(FeatureSettings {
        max_age: body.has("max_age").then(|| max_age(&body, &what)).transpose()?,
        default: body.has("default").then(|| body.get("default").cloned()),
        description: described.map_err(|error| error.at(&what))?,
        tags: tags.map_err(|error| error.at(&what))?,
        name,
    })
}

/// What a table says of itself, of the fields that are there; null is what it is when not declared.
fn settings(body: &Body<'_>) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    if body.has("max_age") {
        settings.push(Setting::MaxAge(limit(body, "max_age", None)?));
    }
    if body.has("max_future_skew") {
        settings.push(Setting::MaxFutureSkew(limit(body, "max_future_skew", Some(MAX_FUTURE_SKEW_DEFAULT))?));
    }
    match body.get("retention") {
        None if body.has("retention") => settings.extend([Setting::KeepEvents(None), Setting::KeepKnowledge(None)]),
        None => {}
        Some(value) => {
            let retention = Body::new("retention", value, &["keep_events", "keep_knowledge"])?;
            if retention.has("keep_events") {
                settings.push(Setting::KeepEvents(limit(&retention, "keep_events", None)?));
            }
            if retention.has("keep_knowledge") {
                settings.push(Setting::KeepKnowledge(limit(&retention, "keep_knowledge", None)?));
            }
        }
    }
    if body.has("hot_window") {
        settings.push(Setting::HotWindow(limit(body, "hot_window", None)?));
    }
    if body.has("owner") {
        settings.push(Setting::Owner(body.optional_text("owner")?));
    }
    if body.has("description") {
        settings.push(Setting::Description(body.optional_text("description")?));
    }
    if body.has("tags") {
        settings.push(Setting::Tags(body.texts("tags")?));
    }
    Ok(settings)
}

/// A duration or `"none"`; `missing` if the field is null.
fn limit(body: &Body<'_>, field: &str, missing: Option<i64>) -> Result<Option<i64>> {
    match body.get(field).map(Value::as_str) {
        None => Ok(missing),
        Some(Some("none")) => Ok(None),
        Some(Some(text)) => parse_duration(text).map(Some).map_err(|error| error.at(field)),
        Some(None) => Err(body.wrong(field, "a duration such as \"90s\", or \"none\"")),
    }
}
