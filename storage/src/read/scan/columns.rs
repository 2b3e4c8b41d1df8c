//! The columns of a scan's answer: which there are, in which order, and which of them are asked for. Nothing is read for a
//! column that is not.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::request::ScanRequest;
use crate::error::{Error, Result};
use crate::model::catalog::{Entity, Table};
use crate::model::types::time_type;
use crate::read::plan::{Named, event_time_name, refuse_collisions, status_name};

/// A column of a scan's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScanColumn {
    /// A key column, by its place in the entity key.
    Key(usize),
    /// The event time: in history that of the row, else that of the newest standing one.
    EventTime,
    /// A row id column, by its place in the row id.
    RowId(usize),
    /// When the row was ingested.
    IngestTime,
    /// The commit that the row came with.
    Sequence,
    /// Whether the row writes, deletes or retracts.
    Kind,
    /// The place of the row in its batch.
    Row,
    /// The names of the cells that the row wrote or took back.
    Features,
    /// The cells of a feature, by its place among those that are asked for.
    Cells(usize),
    /// Why each of these cells is what it is.
    Status(usize),
    /// When each of these cells became true.
    WonAt(usize),
}

/// The columns of a scan's answer, in their order.
#[derive(Debug, Clone)]
pub(super) struct ScanColumns {
    columns: Vec<ScanColumn>,
    schema: SchemaRef,
}

impl ScanColumns {
    /// Those that `request` asks for, of a table of which `features` are asked for.
    pub(super) fn new(request: &ScanRequest, table: &Table, entity: &Entity, features: &[Named]) -> Result<Self> {
        let mut all = beside(request, table, entity);
        for (place, feature) in features.iter().enumerate() {
            let name = feature.name();
            all.push((ScanColumn::Cells(place), Field::new(name, feature.data_type(table), true)));
            if request.status && !request.history {
                all.push((ScanColumn::Status(place), Field::new(status_name(name), DataType::Utf8, false)));
            }
            if request.event_times && !request.history {
                all.push((ScanColumn::WonAt(place), Field::new(event_time_name(name), time_type(), true)));
            }
        }
        if request.status || request.event_times {
            refuse_collisions(all.iter().map(|(_, field)| field))?;
        }
        if let Some(only) = &request.only {
            let known: HashSet<&String> = all.iter().map(|(_, field)| field.name()).collect();
            if let Some(unknown) = only.iter().find(|name| !known.contains(name)) {
                return Err(Error::invalid(format!("the scan of table {} has no column {unknown:?}", table.name)));
            }
            all.retain(|(_, field)| only.contains(field.name()));
        }
        let (columns, fields): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        Ok(Self { columns, schema: Arc::new(Schema::new(fields)) })
    }

    /// The columns.
    pub(super) fn iter(&self) -> impl Iterator<Item = ScanColumn> {
        self.columns.iter().copied()
    }

    /// Whether one of them is such a column.
    pub(super) fn any(&self, is: impl Fn(ScanColumn) -> bool) -> bool {
        self.iter().any(is)
    }

    /// The schema of every batch.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl ScanRequest {
    /// The columns that are answered of `table`, which belongs to `entity`.
    pub fn schema(&self, table: &Table, entity: &Entity) -> Result<SchemaRef> {
        ScanColumns::new(self, table, entity, &self.features(table)?).map(|columns| columns.schema)
    }
}

/// The columns before those of features.
fn beside(request: &ScanRequest, table: &Table, entity: &Entity) -> Vec<(ScanColumn, Field)> {
    let keys = entity.key.iter().enumerate();
    let keys = keys.map(|(place, key)| (ScanColumn::Key(place), Field::new(&key.name, key.data_type.clone(), false)));
    let mut columns: Vec<(ScanColumn, Field)> = keys.collect();
    if request.history || request.event_time {
        columns.push((ScanColumn::EventTime, Field::new(&table.event_time, time_type(), false)));
    }
    if request.history {
        let ids = table.row_id.iter().enumerate();
        columns.extend(
            ids.map(|(place, id)| (ScanColumn::RowId(place), Field::new(&id.name, id.data_type.clone(), true))),
        );
        columns.push((ScanColumn::IngestTime, Field::new("ingest_time", time_type(), false)));
        columns.push((ScanColumn::Sequence, Field::new("sequence", DataType::UInt64, false)));
        columns.push((ScanColumn::Kind, Field::new("kind", DataType::Utf8, false)));
        columns.push((ScanColumn::Row, Field::new("row", DataType::UInt32, false)));
        let item = Field::new("item", DataType::Utf8, false);
        columns.push((ScanColumn::Features, Field::new("features", DataType::List(Arc::new(item)), true)));
    }
    columns
}
