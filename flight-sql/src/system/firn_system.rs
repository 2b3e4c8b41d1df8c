//! `firn_system`: entities and features with all that is declared of them, settings of the session, queries that run.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_schema::DataType::{self, Boolean, Int64, Utf8};
use arrow_schema::TimeUnit;
use datafusion::scalar::ScalarValue;
use firn_storage::model::catalog::{Entity, Table};

use super::{Here, Rows, SystemTable};
use crate::listing::{Column, columns_of, maybe, number, said, text};
use crate::names::{FIRN_SYSTEM, QUERIES};
use crate::running::Run;
use crate::setting::Setting;
use crate::types;

/// The tables.
pub(super) const TABLES: &[SystemTable] = &[
    SystemTable {
        schema: FIRN_SYSTEM,
        name: "entities",
        columns: &[("entity", Utf8), ("key", Utf8), ("bucket_by", Utf8), ("buckets", Int64)],
        rows: entities,
    },
    SystemTable {
        schema: FIRN_SYSTEM,
        name: "features",
        columns: &[
            ("table_name", Utf8),
            ("feature", Utf8),
            ("entity", Utf8),
            ("data_type", Utf8),
            ("default", Utf8),
            ("max_age", Utf8),
            ("tags", Utf8),
            ("comment", Utf8),
            ("owner", Utf8),
            ("sealed", Boolean),
        ],
        rows: features,
    },
    SystemTable {
        schema: FIRN_SYSTEM,
        name: "settings",
        columns: &[("name", Utf8), ("value", Utf8), ("comment", Utf8)],
        rows: settings,
    },
    SystemTable {
        schema: FIRN_SYSTEM,
        name: QUERIES,
        columns: &[
            ("statement", Utf8),
            ("began_at", DataType::Timestamp(TimeUnit::Microsecond, None)),
            ("rows", Int64),
        ],
        rows: queries,
    },
];

fn entities(here: &Here<'_>) -> Rows {
    let row = |entity: &Entity| {
        let key = entity.key.iter().map(|key| format!("{} {}", key.name, types::name(&key.data_type)));
        let by = entity.key.iter().take(entity.bucket_by).map(|key| key.name.as_str());
        vec![
            text(&entity.name),
            text(key.collect::<Vec<_>>().join(", ")),
            text(by.collect::<Vec<_>>().join(", ")),
            number(Some(entity.buckets.into())),
        ]
    };
    here.catalog.entities.iter().map(|entity| row(entity)).collect()
}

fn features(here: &Here<'_>) -> Rows {
    let row = |table: &Table, column: &Column<'_>| {
        vec![
            text(&table.name),
            text(column.name),
            text(&here.catalog.entity_of(table).name),
            text(types::name(&column.data_type)),
            maybe(column.default()),
            maybe(column.max_age(table)),
            said(&column.tags()),
            said(column.comment()),
            said(&table.owner),
            ScalarValue::Boolean(Some(table.sealed)),
        ]
    };
    let of_table = |table: &Table| -> Rows {
        let columns = columns_of(here.catalog, table);
        columns.iter().filter(|column| column.feature.is_some()).map(|column| row(table, column)).collect()
    };
    here.catalog.tables.iter().flat_map(|table| of_table(table)).collect()
}

fn settings(here: &Here<'_>) -> Rows {
    let row = |setting: Setting| vec![text(setting.name()), maybe(here.bounds.told(setting)), text(setting.help())];
    Setting::ALL.into_iter().map(row).collect()
}

fn queries(here: &Here<'_>) -> Rows {
    let row = |run: &Arc<Run>| {
        vec![
            text(&run.text),
            ScalarValue::TimestampMicrosecond(Some(run.began_at), None),
            number(i64::try_from(run.rows.load(Ordering::Relaxed)).ok()),
        ]
    };
    here.running.all().iter().map(row).collect()
}
