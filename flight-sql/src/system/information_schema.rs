//! `information_schema`: what is declared, in the words of the standard (ISO/IEC 9075-11), and comments.

use arrow_schema::DataType::{self, Int64, Utf8};
use datafusion::scalar::ScalarValue;
use firn_storage::model::catalog::Table;

use super::{Here, Rows, SystemTable, tables};
use crate::listing::{columns_of, maybe, number, said, text};
use crate::names::{CATALOG, INFORMATION_SCHEMA, SCHEMA, SYSTEM_SCHEMAS};
use crate::types;

/// The tables.
pub(super) const TABLES: &[SystemTable] = &[
    SystemTable {
        schema: INFORMATION_SCHEMA,
        name: "schemata",
        columns: &[("catalog_name", Utf8), ("schema_name", Utf8), ("schema_owner", Utf8)],
        rows: schemata,
    },
    SystemTable {
        schema: INFORMATION_SCHEMA,
        name: "tables",
        columns: &[
            ("table_catalog", Utf8),
            ("table_schema", Utf8),
            ("table_name", Utf8),
            ("table_type", Utf8),
            ("is_insertable_into", Utf8),
            ("table_comment", Utf8),
        ],
        rows: all_tables,
    },
    SystemTable {
        schema: INFORMATION_SCHEMA,
        name: "columns",
        columns: &[
            ("table_catalog", Utf8),
            ("table_schema", Utf8),
            ("table_name", Utf8),
            ("column_name", Utf8),
            ("ordinal_position", Int64),
            ("column_default", Utf8),
            ("is_nullable", Utf8),
            ("data_type", Utf8),
            ("numeric_precision", Int64),
            ("numeric_precision_radix", Int64),
            ("numeric_scale", Int64),
            ("datetime_precision", Int64),
            ("column_comment", Utf8),
        ],
        rows: columns,
    },
    SystemTable {
        schema: INFORMATION_SCHEMA,
        name: "table_constraints",
        columns: &[
            ("constraint_catalog", Utf8),
            ("constraint_schema", Utf8),
            ("constraint_name", Utf8),
            ("table_catalog", Utf8),
            ("table_schema", Utf8),
            ("table_name", Utf8),
            ("constraint_type", Utf8),
        ],
        rows: constraints,
    },
    SystemTable {
        schema: INFORMATION_SCHEMA,
        name: "key_column_usage",
        columns: &[
            ("constraint_catalog", Utf8),
            ("constraint_schema", Utf8),
            ("constraint_name", Utf8),
            ("table_catalog", Utf8),
            ("table_schema", Utf8),
            ("table_name", Utf8),
            ("column_name", Utf8),
            ("ordinal_position", Int64),
        ],
        rows: key_columns,
    },
];

fn schemata(_here: &Here<'_>) -> Rows {
    [SCHEMA].into_iter().chain(SYSTEM_SCHEMAS).map(|schema| vec![text(CATALOG), text(schema), maybe(None)]).collect()
}

fn all_tables(here: &Here<'_>) -> Rows {
    let ours = here.catalog.tables.iter().map(|table| {
        vec![text(CATALOG), text(SCHEMA), text(&table.name), text("BASE TABLE"), text("YES"), said(&table.description)]
    });
    let system = tables()
        .map(|table| vec![text(CATALOG), text(table.schema), text(table.name), text("VIEW"), text("NO"), maybe(None)]);
    ours.chain(system).collect()
}

/// How many digits numbers and times of a type have: precision, radix, scale, precision of times.
fn digits(data_type: &DataType) -> [Option<i64>; 4] {
    match data_type {
        DataType::Int8 | DataType::UInt8 => [Some(8), Some(2), Some(0), None],
        DataType::Int16 | DataType::UInt16 => [Some(16), Some(2), Some(0), None],
        DataType::Int32 | DataType::UInt32 => [Some(32), Some(2), Some(0), None],
        DataType::Int64 | DataType::UInt64 => [Some(64), Some(2), Some(0), None],
        DataType::Float16 => [Some(11), Some(2), None, None],
        DataType::Float32 => [Some(24), Some(2), None, None],
        DataType::Float64 => [Some(53), Some(2), None, None],
        DataType::Decimal128(precision, scale) => [Some((*precision).into()), Some(10), Some((*scale).into()), None],
        DataType::Time64(_) | DataType::Timestamp(..) | DataType::Duration(_) => [None, None, None, Some(6)],
        _ => [None; 4],
    }
}

fn columns(here: &Here<'_>) -> Rows {
    let of_table = |table: &Table| -> Rows {
        let columns = columns_of(here.catalog, table);
        let row = |(place, column): (i64, &crate::listing::Column<'_>)| {
            let [precision, radix, scale, of_time] = digits(&column.data_type).map(number);
            let nullable = if column.feature.is_some() { "YES" } else { "NO" };
            vec![
                text(CATALOG),
                text(SCHEMA),
                text(&table.name),
                text(column.name),
                number(Some(place)),
                maybe(column.default()),
                text(nullable),
                text(types::name(&column.data_type)),
                precision,
                radix,
                scale,
                of_time,
                said(column.comment()),
            ]
        };
        (1..).zip(&columns).map(row).collect()
    };
    here.catalog.tables.iter().flat_map(|table| of_table(table)).collect()
}

/// What a constraint is called, and where it is.
fn of_constraint(here: &Here<'_>, table: &Table) -> Vec<ScalarValue> {
    let name = text(&here.catalog.entity_of(table).name);
    vec![text(CATALOG), text(SCHEMA), name, text(CATALOG), text(SCHEMA), text(&table.name)]
}

fn constraints(here: &Here<'_>) -> Rows {
    let row = |table: &Table| [of_constraint(here, table), vec![text("PRIMARY KEY")]].concat();
    here.catalog.tables.iter().map(|table| row(table)).collect()
}

fn key_columns(here: &Here<'_>) -> Rows {
    let of_table = |table: &Table| -> Rows {
        let key = (1..).zip(&here.catalog.entity_of(table).key);
        let row = |(place, key): (i64, &firn_storage::model::key::KeyColumn)| {
            [of_constraint(here, table), vec![text(&key.name), number(Some(place))]].concat()
        };
        key.map(row).collect()
    };
    here.catalog.tables.iter().flat_map(|table| of_table(table)).collect()
}
