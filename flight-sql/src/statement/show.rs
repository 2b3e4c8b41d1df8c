//! SHOW and DESCRIBE: what is declared, as rows.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::filter::filter_record_batch;
use datafusion::arrow::compute::kernels::comparison::like;
use firn_storage::error::Result;
use firn_storage::model::catalog::{Catalog, Feature, MaxAge, Table};
use firn_storage::model::value::print_duration;
use sqlparser::ast::{
    ShowStatementFilter, ShowStatementFilterPosition, ShowStatementIn, ShowStatementOptions, Statement,
};

use super::step::table_name;
use crate::error::{invalid, unsupported};
use crate::table::time_type;
use crate::types;

/// The rows that `statement` answers; none if it shows nothing.
pub(crate) fn show(statement: &Statement, catalog: &Catalog) -> Result<Option<RecordBatch>> {
    match statement {
        Statement::ShowTables {
            terse: false,
            history: false,
            extended: false,
            full: false,
            external: false,
            show_options,
        } => tables(catalog, pattern(show_options)?).map(Some),
        Statement::ShowColumns { extended: false, full: false, show_options } => {
            let named = match &show_options.show_in {
                Some(ShowStatementIn { clause: _, parent_type: None, parent_name: Some(name) }) => table_name(name)?,
                _ => return Err(invalid("SHOW COLUMNS names its table: SHOW COLUMNS FROM t")),
            };
            columns(catalog, catalog.table(&named)?, pattern(show_options)?).map(Some)
        }
        Statement::ExplainTable { describe_alias: _, hive_format: None, has_table_keyword: _, table_name: name } => {
            columns(catalog, catalog.table(&table_name(name)?)?, None).map(Some)
        }
        _ => Ok(None),
    }
}

/// The pattern behind LIKE.
fn pattern(options: &ShowStatementOptions) -> Result<Option<&str>> {
    let ShowStatementOptions { show_in: _, starts_with: None, limit: None, limit_from: None, filter_position } =
        options
    else {
        return Err(unsupported("SHOW has LIKE 'pattern' and nothing more: query firn's catalog for more"));
    };
    match filter_position {
        None => Ok(None),
        Some(
            ShowStatementFilterPosition::Suffix(ShowStatementFilter::Like(pattern))
            | ShowStatementFilterPosition::Infix(ShowStatementFilter::Like(pattern)),
        ) => Ok(Some(pattern)),
        Some(_) => Err(unsupported("SHOW is filtered by LIKE 'pattern' alone")),
    }
}

/// Columns of text by their names, the rows whose first is like `pattern`.
fn rows(named: Vec<(&str, Vec<Option<String>>)>, pattern: Option<&str>) -> Result<RecordBatch> {
    let fields: Vec<Field> = named.iter().map(|(name, _)| Field::new(*name, DataType::Utf8, true)).collect();
    let columns: Vec<ArrayRef> =
        named.into_iter().map(|(_, values)| Arc::new(StringArray::from(values)) as ArrayRef).collect();
    let all = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let Some(pattern) = pattern else { return Ok(all) };
    let pattern = StringArray::new_scalar(pattern);
    let chosen: BooleanArray = like(all.column(0), &pattern)?;
    Ok(filter_record_batch(&all, &chosen)?)
}

fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn tables(catalog: &Catalog, pattern: Option<&str>) -> Result<RecordBatch> {
    let of = |value: &dyn Fn(&Table) -> Option<String>| catalog.tables.iter().map(|table| value(table)).collect();
    rows(
        vec![
            ("table_name", of(&|table| Some(table.name.clone()))),
            ("entity", of(&|table| Some(catalog.entity_of(table).name.clone()))),
            ("event_time", of(&|table| Some(table.event_time.clone()))),
            ("owner", of(&|table| said(&table.owner))),
            ("comment", of(&|table| said(&table.description))),
        ],
        pattern,
    )
}

/// A column of a table, and what is told of it.
struct Column<'a> {
    name: &'a str,
    data_type: String,
    role: &'static str,
    feature: Option<&'a Feature>,
}

fn columns(catalog: &Catalog, table: &Table, pattern: Option<&str>) -> Result<RecordBatch> {
    let of_key = |role| {
        move |key: &'_ firn_storage::model::key::KeyColumn| (key.name.clone(), types::name(&key.data_type), role)
    };
    let keys: Vec<_> = catalog.entity_of(table).key.iter().map(of_key("key")).collect();
    let row_ids: Vec<_> = table.row_id.iter().map(of_key("row id")).collect();
    let event_time = (table.event_time.clone(), types::name(&time_type()), "event time");
    let named: Vec<_> = keys.into_iter().chain([event_time]).chain(row_ids).collect();
    let plain =
        named.iter().map(|(name, data_type, role)| Column { name, data_type: data_type.clone(), role, feature: None });
    let features = table.features.iter().map(|feature| Column {
        name: &feature.name,
        data_type: types::name(&feature.data_type),
        role: "feature",
        feature: Some(feature),
    });
    let all: Vec<Column<'_>> = plain.chain(features).collect();
    let of = |value: &dyn Fn(&Column<'_>) -> Option<String>| all.iter().map(value).collect();
    let of_feature = |value: &dyn Fn(&Feature) -> Option<String>| of(&|column| column.feature.and_then(value));
    let max_age = |feature: &Feature| match feature.max_age {
        MaxAge::Unlimited => Some("none".to_owned()),
        _ => table.max_age_of(feature).map(print_duration),
    };
    rows(
        vec![
            ("column_name", of(&|column| Some(column.name.to_owned()))),
            ("data_type", of(&|column| Some(column.data_type.clone()))),
            ("role", of(&|column| Some(column.role.to_owned()))),
            ("column_default", of_feature(&|feature| feature.default.as_ref().map(ToString::to_string))),
            ("max_age", of_feature(&max_age)),
            ("tags", of_feature(&|feature| said(&feature.tags.join(", ")))),
            ("comment", of_feature(&|feature| said(&feature.description))),
        ],
        pattern,
    )
}
