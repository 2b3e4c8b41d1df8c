//! SHOW and DESCRIBE: what is declared and set, as rows.

use arrow_array::{BooleanArray, RecordBatch, StringArray};
use arrow_schema::DataType;
use arrow_select::filter::filter_record_batch;
use datafusion::arrow::compute::kernels::comparison::like;
use datafusion::scalar::ScalarValue;
use firn_storage::error::Result;
use firn_storage::model::catalog::{Catalog, Table};
use sqlparser::ast::{
    ShowCreateObject, ShowStatementFilter, ShowStatementFilterPosition, ShowStatementIn, ShowStatementOptions,
    Statement,
};

use super::step::table_name;
use super::{declaration, set};
use crate::error::{invalid, unsupported};
use crate::listing::{Column, columns_of, listing, maybe, said, schema_of, text};
use crate::moment::Bounds;
use crate::types;
use crate::words::in_words_of_sql;

/// The rows that `statement` answers; none if it shows nothing.
pub(crate) fn show(statement: &Statement, catalog: &Catalog, bounds: &Bounds) -> Result<Option<RecordBatch>> {
    match statement {
        Statement::ShowVariable { variable } => set::shown(variable, bounds).map(Some),
        Statement::ShowCreate { obj_type: ShowCreateObject::Table, obj_name } => {
            let text_of = declaration::of(catalog, &table_name(obj_name)?)?;
            rows(&["statement"], vec![vec![text(text_of)]], None).map(Some)
        }
        Statement::ShowTables {
            terse: false,
            history: false,
            extended: false,
            full: false,
            external: false,
            show_options,
        } => {
            in_our_schema(show_options)?;
            tables(catalog, pattern(show_options)?).map(Some)
        }
        Statement::ShowColumns { extended: false, full: false, show_options } => {
            let named = match &show_options.show_in {
                Some(ShowStatementIn { clause: _, parent_type: None, parent_name: Some(name) }) => table_name(name)?,
                _ => return Err(invalid("SHOW COLUMNS names its table: SHOW COLUMNS FROM t")),
            };
            columns(catalog, catalog.table(&named).map_err(in_words_of_sql)?, pattern(show_options)?).map(Some)
        }
        Statement::ExplainTable { describe_alias: _, hive_format: None, has_table_keyword: _, table_name: name } => {
            columns(catalog, catalog.table(&table_name(name)?).map_err(in_words_of_sql)?, None).map(Some)
        }
        _ => Ok(None),
    }
}

/// Refuses to show what is in another schema.
fn in_our_schema(options: &ShowStatementOptions) -> Result<()> {
    let named = options.show_in.as_ref().and_then(|within| within.parent_name.as_ref()).map(ToString::to_string);
    match named.as_deref().map(str::to_lowercase).as_deref() {
        None | Some("public" | "firn" | "firn.public") => Ok(()),
        Some(other) => Err(invalid(format!(
            "SHOW TABLES shows those of public, not of `{other}`: query information_schema.tables for all"
        ))),
    }
}

/// The pattern behind LIKE.
fn pattern(options: &ShowStatementOptions) -> Result<Option<&str>> {
    let ShowStatementOptions { show_in: _, starts_with: None, limit: None, limit_from: None, filter_position } =
        options
    else {
        return Err(unsupported("SHOW has LIKE 'pattern' and nothing more: query information_schema for more"));
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

/// The rows of a listing of text whose first column is like `pattern`.
pub(super) fn rows(columns: &[&str], rows: Vec<Vec<ScalarValue>>, pattern: Option<&str>) -> Result<RecordBatch> {
    let columns: Vec<(&str, DataType)> = columns.iter().map(|name| (*name, DataType::Utf8)).collect();
    let all = listing(schema_of(&columns), rows)?;
    let Some(pattern) = pattern else { return Ok(all) };
    let pattern = StringArray::new_scalar(pattern);
    let chosen: BooleanArray = like(all.column(0), &pattern)?;
    Ok(filter_record_batch(&all, &chosen)?)
}

fn tables(catalog: &Catalog, pattern: Option<&str>) -> Result<RecordBatch> {
    let row = |table: &Table| {
        vec![
            text(&table.name),
            text(&catalog.entity_of(table).name),
            text(&table.event_time),
            said(&table.owner),
            said(&table.description),
        ]
    };
    let listed = catalog.tables.iter().map(|table| row(table)).collect();
    rows(&["table_name", "entity", "event_time", "owner", "comment"], listed, pattern)
}

fn columns(catalog: &Catalog, table: &Table, pattern: Option<&str>) -> Result<RecordBatch> {
    let row = |column: &Column<'_>| {
        vec![
            text(column.name),
            text(types::name(&column.data_type)),
            text(column.role),
            maybe(column.default()),
            maybe(column.max_age(table)),
            said(&column.tags()),
            said(column.comment()),
        ]
    };
    let listed = columns_of(catalog, table).iter().map(row).collect();
    rows(&["column_name", "data_type", "role", "column_default", "max_age", "tags", "comment"], listed, pattern)
}
