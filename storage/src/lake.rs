//! What a table's ice is to readers of lakes: which columns it has, and which of its files say them by their names of now.
//!
//! A file keeps the names and types that features had when it was frozen. One in which a feature of now has another name or type
//! is left out until its segment is frozen anew, so that no reader takes a value for another.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use firn_ice::ColumnSpec;
use firn_ice::delta::{File, Table as LakeTable};
use serde_json::json;

use crate::error::Result;
use crate::manifest::{IceEntry, ManifestState, SegmentEntry, TableManifest};
use crate::model::catalog::{Entity, Feature, Table};
use crate::read::plan::entity_of;
use crate::read::scan::ScanRequest;
use crate::versions::Versions;

/// The column of ordinals: no name that a feature can have.
const ORDINAL: &str = "_ordinal";
/// The column of commits.
const SEQUENCE: &str = "sequence";

/// A table as readers of lakes see it.
#[derive(Debug)]
pub(crate) struct Lake {
    pub(crate) table: LakeTable,
    pub(crate) files: Vec<File>,
}

/// The columns of ice of `table` with `features`: those of a history, with cells as they are stored, and the ordinal of each
/// row's entity.
pub(crate) fn columns(table: &Table, entity: &Entity, features: &[&Arc<Feature>]) -> Result<Vec<ColumnSpec>> {
    let asked = history_of(table, features).schema(table, entity)?;
    let beside = asked.fields().len() - features.len();
    let mut fields: Vec<Field> = asked.fields()[..beside].iter().map(|field| field.as_ref().clone()).collect();
    fields.extend(features.iter().map(|feature| Field::new(&feature.name, feature.stored_type(), true)));
    fields.push(Field::new(ORDINAL, DataType::UInt32, false));
    let column = |(place, field): (usize, &Field)| {
        let feature = place.checked_sub(beside).and_then(|place| features.get(place));
        // No lake has unsigned numbers, and no database has 2^63 commits.
        let is_sequence = feature.is_none() && field.name() == SEQUENCE;
        ColumnSpec {
            name: field.name().clone(),
            data_type: if is_sequence { DataType::Int64 } else { field.data_type().clone() },
            nullable: field.is_nullable(),
            field_id: feature.map(|feature| feature.id as i32),
            // Statistics are data: those of cells and keys would survive an erase.
            statistics: *field.name() == table.event_time || field.name() == ORDINAL,
        }
    };
    Ok(fields.iter().enumerate().map(column).collect())
}

/// The scan that answers these columns, but for the ordinal.
pub(crate) fn history_of(table: &Table, features: &[&Arc<Feature>]) -> ScanRequest {
    ScanRequest {
        table: table.name.clone(),
        columns: Some(features.iter().map(|feature| feature.name.clone()).collect()),
        history: true,
        parts: 1,
        ..ScanRequest::default()
    }
}

/// The table `id` of `state` as readers of lakes see it; none if it is not there any more.
pub(crate) fn lake(state: &ManifestState, id: u32, versions: &Versions) -> Result<Option<Lake>> {
    let (catalog, kept) = (versions.newest(), state.tables.get(&id));
    let (Some(table), Some(kept)) = (catalog.table_by_id(id), kept) else { return Ok(None) };
    let entity = entity_of(catalog, table)?;
    let mut files = Vec::new();
    for entry in &kept.segments {
        if let Some(ice) = &entry.ice
            && says_the_same(table, versions.at(ice.schema_version)?.table_by_id(id).map(Arc::as_ref))
        {
            files.push(file_of(entry, ice));
        }
    }
    files.sort();
    let columns = columns(table, &entity, &table.features.iter().collect::<Vec<_>>())?;
    let facts = json!({"table": id, "sequence": kept.flushed, "complete_before": complete_before(kept)});
    let table = LakeTable {
        id: (state.database, u64::from(id)),
        name: table.name.clone(),
        event_time: table.event_time.clone(),
        columns,
        facts,
        at: state.ingest_time,
    };
    Ok(Some(Lake { table, files }))
}

fn file_of(entry: &SegmentEntry, ice: &IceEntry) -> File {
    let meta = &entry.meta;
    File {
        path: ice.file_name(),
        bytes: ice.length,
        rows: u64::from(meta.rows),
        event_times: (meta.event_time_min, meta.event_time_max),
    }
}

/// Whether every feature of `now` has the name and type that it had `then`, and no other had its name.
fn says_the_same(now: &Table, then: Option<&Table>) -> bool {
    let Some(then) = then else { return false };
    now.features.iter().all(|feature| {
        let same_id = then.features.iter().find(|known| known.id == feature.id);
        match same_id {
            Some(known) => known.name == feature.name && known.stored_type() == feature.stored_type(),
            None => then.features.iter().all(|known| known.name != feature.name),
        }
    })
}

/// The event time before which all rows up to the last flushed commit are frozen; null if none is open.
fn complete_before(kept: &TableManifest) -> Option<i64> {
    kept.segments.iter().filter(|entry| entry.ice.is_none()).map(|entry| entry.meta.event_time_min).min()
}
