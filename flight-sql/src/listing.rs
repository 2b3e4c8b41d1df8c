//! Rows of what is declared or runs, as batches.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, new_empty_array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;
use firn_storage::error::Result;
use firn_storage::model::catalog::{Catalog, Feature, MaxAge, Table};
use firn_storage::model::key::KeyColumn;
use firn_storage::model::value::print_duration;

use crate::error::from_datafusion;
use firn_storage::model::types::time_type;

/// The columns of a listing.
pub(crate) fn schema_of(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// `rows`, each with a cell for each column of `schema`.
pub(crate) fn listing(schema: SchemaRef, rows: Vec<Vec<ScalarValue>>) -> Result<RecordBatch> {
    let mut columns: Vec<Vec<ScalarValue>> = schema.fields().iter().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        assert_eq!(row.len(), columns.len(), "a row has a cell for each column");
        for (column, cell) in columns.iter_mut().zip(row) {
            column.push(cell);
        }
    }
    let arrays = columns.into_iter().zip(schema.fields()).map(|(cells, field)| match cells.is_empty() {
        true => Ok(new_empty_array(field.data_type())),
        false => ScalarValue::iter_to_array(cells).map_err(|error| from_datafusion(&error)),
    });
    let arrays: Vec<ArrayRef> = arrays.collect::<Result<_>>()?;
    Ok(RecordBatch::try_new(schema, arrays)?)
}

/// A cell of text.
pub(crate) fn text(text: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(text.into()))
}

/// A cell of text, or none.
pub(crate) fn maybe(text: Option<String>) -> ScalarValue {
    ScalarValue::Utf8(text)
}

/// A cell of text that says nothing if it is empty.
pub(crate) fn said(text: &str) -> ScalarValue {
    maybe((!text.is_empty()).then(|| text.to_owned()))
}

/// A cell of a number, or none.
pub(crate) fn number(number: Option<i64>) -> ScalarValue {
    ScalarValue::Int64(number)
}

/// A column of a table, and what is told of it.
pub(crate) struct Column<'a> {
    pub(crate) name: &'a str,
    pub(crate) data_type: DataType,
    /// What it is for.
    pub(crate) role: &'static str,
    pub(crate) feature: Option<&'a Feature>,
}

/// The columns of a table, in the order in which they are declared: key, event time, row id, features.
pub(crate) fn columns_of<'a>(catalog: &'a Catalog, table: &'a Table) -> Vec<Column<'a>> {
    let plain = |name: &'a str, data_type, role| Column { name, data_type, role, feature: None };
    let of_keys = |keys: &'a [KeyColumn], role: &'static str| {
        keys.iter().map(move |key| plain(&key.name, key.data_type.clone(), role))
    };
    let keys = of_keys(&catalog.entity_of(table).key, "key");
    let features = table.features.iter().map(|feature| Column {
        name: &feature.name,
        data_type: feature.data_type.clone(),
        role: "feature",
        feature: Some(feature),
    });
    let event_time = plain(&table.event_time, time_type(), "event time");
    keys.chain([event_time]).chain(of_keys(&table.row_id, "row id")).chain(features).collect()
}

impl Column<'_> {
    /// The default of a feature.
    pub(crate) fn default(&self) -> Option<String> {
        self.feature?.default.as_ref().map(ToString::to_string)
    }

    /// How old a value of a feature of `table` may be.
    pub(crate) fn max_age(&self, table: &Table) -> Option<String> {
        let feature = self.feature?;
        match feature.max_age {
            MaxAge::Unlimited => Some("none".to_owned()),
            _ => table.max_age_of(feature).map(print_duration),
        }
    }

    /// The tags of a feature.
    pub(crate) fn tags(&self) -> String {
        self.feature.map_or_else(String::new, |feature| feature.tags.join(", "))
    }

    /// What a feature is, in words.
    pub(crate) fn comment(&self) -> &str {
        self.feature.map_or("", |feature| &feature.description)
    }
}
