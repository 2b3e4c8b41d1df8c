//! From the wire's words to the engine's: bounds, feature references, requests.
//!
//! A nanosecond text bound is floored where it is inclusive and rounded up where it is exclusive, so that it means
//! the same set of microsecond event times.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use firn_client::wire;
use firn_storage::config::Level;
use firn_storage::database::Database;
use firn_storage::error::Result as EngineResult;
use firn_storage::model::catalog::{Catalog, MaxAge};
use firn_storage::model::prove::{Verb, WriteRequest};
use firn_storage::model::value::{from_json, parse_duration, parse_time_text};
use firn_storage::position::Position;
use firn_storage::read::{Bound, FeatureReference, PointRequest, ScanRequest};
use firn_storage::time::Micros;
use tonic::Status;

use crate::config::Limits;
use crate::refusal::{from_error, invalid};

/// A lookup or a join as the engine asks for it.
pub(super) fn point_request(
    features: &[wire::FeatureReference],
    as_of: &wire::Bound,
    known_at: &wire::Bound,
    options: &wire::ReadOptions,
) -> Result<PointRequest, Status> {
    let max_age = match options.max_age.as_deref() {
        None => None,
        Some("none") => Some(MaxAge::Unlimited),
        Some(text) => Some(MaxAge::Micros(parse_duration(text).map_err(|error| from_error(&error.at("max_age")))?)),
    };
    Ok(PointRequest {
        features: features.iter().map(feature).collect(),
        as_of: bound("as_of", as_of)?,
        known_at: bound("known_at", known_at)?,
        position: options.position.clone(),
        durable: options.durable,
        schema_version: options.schema_version,
        clock: options.clock,
        status: options.status,
        event_times: options.event_times,
        keep_null_keys: options.keep_null_keys,
        max_age,
        standing: None,
    })
}

fn feature(reference: &wire::FeatureReference) -> FeatureReference {
    FeatureReference {
        table: reference.table.clone(),
        feature: reference.feature.clone(),
        rename: reference.rename.clone(),
        prefix: reference.prefix.clone(),
        entity: reference.entity.clone(),
    }
}

/// A scan as the engine asks for it.
pub(super) fn scan_request(scan: &wire::Scan, parts: usize) -> Result<ScanRequest, Status> {
    // Both ends of `[from, to)` are compared with whole microseconds: rounding up keeps what lies at or after them.
    let end = |name: &str, end: &Option<wire::Time>| end.as_ref().map(|end| time(name, end, true)).transpose();
    Ok(ScanRequest {
        table: scan.table.clone(),
        columns: scan.columns.clone(),
        as_of: bound("as_of", &scan.as_of)?,
        known_at: bound("known_at", &scan.known_at)?,
        history: scan.history,
        from: end("from", &scan.from)?,
        to: end("to", &scan.to)?,
        position: scan.position.clone(),
        durable: scan.durable,
        schema_version: scan.schema_version,
        clock: scan.clock,
        parts,
        ..ScanRequest::default()
    })
}

/// A write stream as the engine asks for it.
pub(crate) fn write_request(put: &wire::Put) -> WriteRequest {
    WriteRequest {
        table: put.table.clone(),
        verb: match &put.verb {
            wire::Verb::Write => Verb::Write,
            wire::Verb::Delete => Verb::Delete,
            wire::Verb::Retract { features } => Verb::Retract { features: features.clone().unwrap_or_default() },
        },
        nulls_absent: put.nulls_absent,
        ingest_time: put.ingest_time.clone(),
        report_bad_rows: put.report_bad_rows,
    }
}

/// What a write stream is to be acknowledged for.
pub(super) fn level(level: wire::Level) -> Level {
    match level {
        wire::Level::Local => Level::Local,
        wire::Level::Object => Level::Object,
    }
}

/// What an acknowledgement says of it.
pub(super) fn told(level: Level) -> wire::Level {
    match level {
        Level::Local => wire::Level::Local,
        Level::Object => wire::Level::Object,
    }
}

fn bound(name: &str, bound: &wire::Bound) -> Result<Bound, Status> {
    Ok(match bound {
        wire::Bound::Latest => Bound::Latest,
        wire::Bound::Time { time: at, exclusive } => {
            Bound::Time { micros: time(name, at, *exclusive)?, exclusive: *exclusive }
        }
        wire::Bound::Column { column, exclusive } => Bound::Column { name: column.clone(), exclusive: *exclusive },
    })
}

fn time(name: &str, time: &wire::Time, round_up: bool) -> Result<Micros, Status> {
    match time {
        wire::Time::Micros(micros) => Ok(*micros),
        wire::Time::Text(text) => parse_time_text(text, round_up).map_err(|error| from_error(&error.at(name))),
    }
}

/// What a read waits for before it is answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct AtLeast {
    position: Position,
    /// Whether it must be in the bucket, not only published.
    durable: bool,
    /// How long.
    wait: Duration,
}

impl AtLeast {
    /// Whether it has come.
    pub(super) fn is_there(&self, database: &Database) -> bool {
        let at_once = Self { wait: Duration::ZERO, ..*self };
        at_once.wait(database).is_ok()
    }

    /// Waits for it.
    pub(super) fn wait(&self, database: &Database) -> EngineResult<()> {
        match self.durable {
            false => database.wait_for(&self.position, self.wait),
            true => database.wait_for_durable(&self.position, self.wait),
        }
    }
}

/// What `at_least` asks to wait for, and how long.
pub(super) fn at_least(
    database: &Database,
    options: &wire::ReadOptions,
    limits: &Limits,
) -> Result<Option<AtLeast>, Status> {
    let Some(position) = &options.at_least else { return Ok(None) };
    let wait = match &options.wait {
        None => Duration::ZERO,
        Some(text) => {
            let micros = parse_duration(text).map_err(|error| from_error(&error.at("wait")))?;
            Duration::from_micros(micros.unsigned_abs())
        }
    };
    if wait > limits.wait_max {
        let most = limits.wait_max;
        return Err(invalid(format!("wait: the longest wait of this server is {most:?} (wait-max)")));
    }
    let position = database.parse_position(position).map_err(|error| from_error(&error.at("at_least")))?;
    Ok(Some(AtLeast { position, durable: options.durable, wait }))
}

/// The columns of a request that hold keys, with their types: what `features` need under the names that they use.
fn key_columns(catalog: &Catalog, features: &[wire::FeatureReference]) -> Result<Vec<(String, DataType)>, Status> {
    let mut columns: Vec<(String, DataType)> = Vec::new();
    for reference in features {
        let table = catalog.table(&reference.table).map_err(|error| from_error(&error))?;
        let Some(entity) = catalog.entity_by_id(table.entity) else { continue };
        for key in &entity.key {
            let mapped = reference.entity.iter().find(|(name, _)| *name == key.name);
            let column = mapped.map_or(&key.name, |(_, column)| column);
            match columns.iter().find(|(name, _)| name == column) {
                None => columns.push((column.clone(), key.data_type.clone())),
                Some((_, known)) if *known == key.data_type => {}
                Some(_) => {
                    return Err(invalid(format!("entities: `{column}` would need two types; map them to two columns")));
                }
            }
        }
    }
    Ok(columns)
}

/// The schema of a request that has no more than its keys.
pub(super) fn request_schema(catalog: &Catalog, features: &[wire::FeatureReference]) -> Result<Schema, Status> {
    let columns = key_columns(catalog, features)?;
    let fields = columns.into_iter().map(|(name, data_type)| Field::new(name, data_type, true));
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}

/// The schema of a spine that has no more than its keys and its own bounds.
pub(super) fn spine_schema(catalog: &Catalog, join: &wire::Join) -> Result<Schema, Status> {
    let mut columns = key_columns(catalog, &join.features)?;
    for bound in [&join.as_of, &join.known_at] {
        if let wire::Bound::Column { column, .. } = bound
            && columns.iter().all(|(name, _)| name != column)
        {
            columns.push((column.clone(), DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))));
        }
    }
    let fields = columns.into_iter().map(|(name, data_type)| Field::new(name, data_type, true));
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}

/// The request batch of a one-shot lookup.
pub(super) fn entities_batch(
    catalog: &Catalog,
    features: &[wire::FeatureReference],
    entities: &wire::KeyValues,
) -> Result<RecordBatch, Status> {
    let wanted = key_columns(catalog, features)?;
    let known: HashSet<_> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    if let Some((unknown, _)) = entities.iter().find(|(name, _)| !known.contains(name.as_str())) {
        let names: Vec<_> = wanted.iter().map(|(name, _)| format!("`{name}`")).collect();
        let names = names.join(", ");
        return Err(invalid(format!("entities: no feature asks for `{unknown}`; the key columns are {names}")));
    }
    let mut fields = Vec::with_capacity(wanted.len());
    let mut arrays = Vec::with_capacity(wanted.len());
    for (name, data_type) in wanted {
        let Some((_, values)) = entities.iter().find(|(given, _)| *given == name) else {
            return Err(invalid(format!("entities: the key column `{name}` is missing")));
        };
        let array = from_json(&values.iter().collect::<Vec<_>>(), &data_type)
            .map_err(|error| from_error(&error.at(format!("entities.{name}"))))?;
        fields.push(Field::new(name, data_type, true));
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| invalid(format!("entities: {error}")))
}

/// Keys of an erase as arrays: the leading key columns of the entity, in its order.
pub(super) fn erase_keys(
    catalog: &Catalog,
    entity_name: &str,
    entities: &wire::KeyValues,
) -> Result<Vec<(String, arrow_array::ArrayRef)>, Status> {
    let entity = catalog.entity(entity_name).map_err(|error| from_error(&error))?;
    let mut keys = Vec::with_capacity(entities.len());
    for (name, values) in entities {
        let Some(column) = entity.key.iter().find(|column| column.name == *name) else {
            let names: Vec<_> = entity.key.iter().map(|column| format!("`{}`", column.name)).collect();
            let (entity, names) = (entity_name, names.join(", "));
            return Err(invalid(format!("entities: `{entity}` has no key column `{name}`; it has {names}")));
        };
        let array = from_json(&values.iter().collect::<Vec<_>>(), &column.data_type);
        keys.push((name.clone(), array.map_err(|error| from_error(&error.at(format!("entities.{name}"))))?));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_are_floored_where_inclusive_and_rounded_up_where_exclusive() {
        let text = |text: &str| wire::Time::Text(text.to_owned());
        for (spelled, floor, ceiling) in [
            ("1970-01-01T00:00:00.000001500Z", 1, 2),
            ("1970-01-01T00:00:00.000001Z", 1, 1),
            ("1969-12-31T23:59:59.999998500Z", -2, -1),
            ("1970-01-01T01:00:00+01:00", 0, 0),
            ("1970-01-01T00:00:00", 0, 0),
        ] {
            assert_eq!(time("as_of", &text(spelled), false).unwrap(), floor, "{spelled}");
            assert_eq!(time("as_of", &text(spelled), true).unwrap(), ceiling, "{spelled}");
        }
        assert!(time("as_of", &text("yesterday"), false).unwrap_err().message().starts_with("as_of: `yesterday`"));
    }
}
