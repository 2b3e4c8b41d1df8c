//! Tests of the door: what gets through, and every word with which something is refused.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::{
    Array, BinaryArray, Float64Array, Int32Array, Int64Array, NullArray, StringArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use serde_json::json;

use super::*;
use crate::error::Kind;
use crate::model::declare::tests::apply;

const NOW: Micros = 1_000_000_000_000_000;

/// `weather` by `origin`, `trips` with a row id, `floored` with rounding and no bound on the future.
fn catalog() -> Catalog {
    let mut catalog = apply(
        &Catalog::default(),
        "create_entity",
        &json!({"entity": "airport", "key": [{"name": "origin", "type": "utf8"}]}),
    );
    catalog = apply(&catalog, "create_entity", &json!({"entity": "user", "key": [{"name": "user", "type": "uint64"}]}));
    let features = json!([{"name": "temp", "type": "float64"}, {"name": "wind", "type": "int32"}]);
    for table in [
        json!({"table": "weather", "entity": "airport", "event_time": "observed", "features": features}),
        json!({"table": "trips", "entity": "user", "event_time": "at", "features": features,
            "row_id": [{"name": "trip", "type": "utf8"}, {"name": "leg", "type": "int16"}]}),
        json!({"table": "floored", "entity": "airport", "event_time": "observed", "features": features,
            "event_time_rounding": "floor", "max_future_skew": "none"}),
    ] {
        catalog = apply(&catalog, "create_table", &table);
    }
    catalog
}

fn request(table: &str) -> WriteRequest {
    WriteRequest {
        table: table.to_owned(),
        verb: Verb::Write,
        nulls_absent: false,
        ingest_time: None,
        report_bad_rows: false,
    }
}

fn array(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(name, array)| (*name, array.clone(), true)))
        .expect("a batch")
}

fn texts(values: &[&str]) -> ArrayRef {
    array(StringArray::from(values.to_vec()))
}

fn times(values: &[i64]) -> ArrayRef {
    array(TimestampMicrosecondArray::from(values.to_vec()).with_timezone("UTC"))
}

fn weather(rows: usize) -> Vec<(&'static str, ArrayRef)> {
    let origins: Vec<String> = (0..rows).map(|row| format!("A{row}")).collect();
    let at: Vec<i64> = (0..rows as i64).collect();
    vec![("origin", array(StringArray::from(origins))), ("observed", times(&at))]
}

fn trips() -> Vec<(&'static str, ArrayRef)> {
    vec![
        ("user", array(UInt64Array::from(vec![1, 2]))),
        ("at", times(&[1, 2])),
        ("trip", texts(&["a", "b"])),
        ("leg", array(Int32Array::from(vec![1, 2]))),
    ]
}

fn with(
    mut columns: Vec<(&'static str, ArrayRef)>,
    name: &'static str,
    array: ArrayRef,
) -> Vec<(&'static str, ArrayRef)> {
    columns.retain(|(standing, _)| *standing != name);
    columns.push((name, array));
    columns
}

fn without(mut columns: Vec<(&'static str, ArrayRef)>, name: &str) -> Vec<(&'static str, ArrayRef)> {
    columns.retain(|(standing, _)| *standing != name);
    columns
}

fn proven(request: &WriteRequest, columns: &[(&str, ArrayRef)]) -> Proven {
    prove(&catalog(), request, &batch(columns), NOW).unwrap_or_else(|error| panic!("{error}"))
}

fn written(request: &WriteRequest, columns: &[(&str, ArrayRef)]) -> WriteBatch {
    proven(request, columns).batch
}

fn values(batch: &WriteBatch) -> Vec<(u32, Vec<Option<String>>)> {
    let text =
        |array: &ArrayRef, row: usize| arrow_cast::display::array_value_to_string(array, row).expect("it has text");
    let column = |column: &Column| {
        let array = column.values().expect("in memory");
        let cell = |row| column.position(row as u32).expect("in memory").map(|row| text(array, row as usize));
        (column.feature(), (0..batch.rows()).map(cell).collect())
    };
    batch.columns.iter().map(column).collect()
}

#[test]
fn a_plain_write_is_taken_without_a_copy() {
    let temp = array(Float64Array::from(vec![Some(1.5), None]));
    let at = times(&[5, 6]);
    let columns = [
        ("wind", array(Int32Array::from(vec![3, 4]))),
        ("temp", temp.clone()),
        ("origin", texts(&["EWR", "JFK"])),
        ("observed", at.clone()),
    ];
    let batch = written(&request("weather"), &columns);
    assert_eq!(
        (batch.rows(), batch.kind, &batch.event_times[..], &batch.places[..]),
        (2, RowKind::Write, &[5, 6][..], &[0, 1][..])
    );
    assert_eq!(batch.keys.get(1), b"JFK\0\0");
    assert!(batch.row_ids.is_none() && batch.ingest_times.is_none() && batch.producer.is_none());
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(values(&batch), [(1, vec![some("1.5"), some("")]), (2, vec![some("3"), some("4")])]);
    let cells = batch.columns[0].values().expect("in memory").as_primitive::<Float64Type>();
    assert_eq!(cells.values().as_ptr(), temp.as_primitive::<Float64Type>().values().as_ptr());
    let sent = at.as_primitive::<arrow_array::types::TimestampMicrosecondType>();
    assert_eq!(batch.event_times.as_ptr(), sent.values().as_ptr());
}

#[test]
fn nulls_are_cells_or_absent_as_asked() {
    let columns = with(
        with(weather(2), "temp", array(Float64Array::from(vec![Some(1.5), None]))),
        "wind",
        array(NullArray::new(2)),
    );
    let batch = written(&request("weather"), &columns);
    assert!(batch.columns.len() == 2 && batch.columns.iter().all(Column::is_dense));
    let batch = written(&WriteRequest { nulls_absent: true, ..request("weather") }, &columns);
    assert_eq!(values(&batch), [(1, vec![Some("1.5".to_owned()), None])]);
    let full = with(weather(2), "temp", array(Float64Array::from(vec![1.5, 2.5])));
    assert!(written(&WriteRequest { nulls_absent: true, ..request("weather") }, &full).columns[0].is_dense());
}

#[test]
fn zero_rows_are_a_batch() {
    let proven = proven(&request("weather"), &weather(0));
    assert_eq!((proven.batch.rows(), proven.bad_row_count), (0, 0));
}

#[test]
fn casts_at_the_door() {
    let columns = with(
        with(weather(2), "wind", array(Int64Array::from(vec![1, 2]))),
        "observed",
        array(TimestampSecondArray::from(vec![1, -1])),
    );
    let batch = written(&request("weather"), &columns);
    assert_eq!(batch.event_times[..], [1_000_000, -1_000_000]);
    assert_eq!(batch.columns[0].values().expect("in memory").as_primitive::<Int32Type>().values()[..], [1, 2]);
    let nanos = with(weather(2), "observed", array(TimestampNanosecondArray::from(vec![1_999, -1])));
    assert_eq!(written(&request("floored"), &nanos).event_times[..], [1, -1]);
}

#[test]
fn row_ids_are_encoded_and_may_be_missing_in_a_retract() {
    let batch = written(&request("trips"), &trips());
    let ids = batch.row_ids.expect("the table has row ids");
    assert_eq!(ids.value(0), [b"a\0\0".as_slice(), &[0x80, 0, 0, 0, 0, 0, 0, 1]].concat());
    let retract = WriteRequest { verb: Verb::Retract { features: vec![] }, ..request("trips") };
    let null = with(
        with(trips(), "trip", array(StringArray::from(vec![None, Some("b")]))),
        "leg",
        array(Int32Array::from(vec![None, Some(2)])),
    );
    let batch = written(&retract, &null);
    let ids = batch.row_ids.expect("the table has row ids");
    assert_eq!((batch.kind, ids.value(0), ids.value(1).len(), ids.null_count()), (RowKind::Retract, &[][..], 11, 0));
    let bare = without(without(trips(), "trip"), "leg");
    let ids = written(&retract, &bare).row_ids.expect("the table has row ids");
    assert!(ids.iter().all(|id| id == Some(&[][..])));
    let delete = WriteRequest { verb: Verb::Delete, ..request("trips") };
    let batch = written(&delete, &bare);
    assert_eq!((batch.kind, batch.row_ids.is_none(), batch.columns.len()), (RowKind::Delete, true, 0));
    let named = WriteRequest {
        verb: Verb::Retract { features: vec!["wind".to_owned(), "temp".to_owned(), "wind".to_owned()] },
        ..request("trips")
    };
    let batch = written(&named, &trips());
    assert_eq!((batch.kind, batch.retracted), (RowKind::RetractCells, vec![1, 2]));
}

#[test]
fn history_brings_its_ingest_times() {
    let history = WriteRequest { ingest_time: Some("landed".to_owned()), ..request("weather") };
    let columns = with(weather(3), "landed", times(&[5, 5, 7]));
    let batch = written(&history, &columns);
    assert_eq!(batch.ingest_times.expect("they were sent")[..], [5, 5, 7]);
    // The event time may be the ingest time.
    let same = WriteRequest { ingest_time: Some("observed".to_owned()), ..request("weather") };
    assert_eq!(written(&same, &weather(3)).ingest_times.expect("they were sent")[..], [0, 1, 2]);
    let sealed = apply(&catalog(), "seal_table", &json!({"table": "weather"}));
    // The log refuses it, not the door: a repetition of what was written before the sealing is a duplicate.
    assert!(prove(&sealed, &history, &batch_of(&columns), NOW).is_ok());
    // An event may be at most the skew after its own ingest time.
    let late = with(with(weather(2), "observed", times(&[300_000_005, 300_000_006])), "landed", times(&[5, 5]));
    let error = refused(&history, &late);
    assert!(
        error.message().contains("1 bad row, so")
            && error.message().contains("row 1, column `observed`: the event time"),
        "{error}"
    );
}

fn batch_of(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    batch(columns)
}

fn refused(request: &WriteRequest, columns: &[(&str, ArrayRef)]) -> Error {
    prove(&catalog(), request, &batch(columns), NOW).expect_err("it is refused")
}

#[test]
fn wrong_columns_refuse_the_batch() {
    let write = |table: &str| request(table);
    let delete = |table: &str| WriteRequest { verb: Verb::Delete, ..request(table) };
    let retract = |features: &[&str]| {
        let features = features.iter().map(|name| (*name).to_owned()).collect();
        WriteRequest { verb: Verb::Retract { features }, ..request("trips") }
    };
    let history = WriteRequest { ingest_time: Some("landed".to_owned()), ..request("weather") };
    let temp = || array(Float64Array::from(vec![1.0, 2.0]));
    let bare = || without(without(trips(), "trip"), "leg");
    let mut twice = weather(2);
    twice.push(("origin", texts(&["a", "b"])));
    let cases: Vec<(WriteRequest, Vec<(&str, ArrayRef)>, &str)> = vec![
        (
            write("weather"),
            with(weather(2), "tmp", temp()),
            "table `weather`: there is no column `tmp`; the columns are `origin`, `observed` and the features `temp`, `wind`",
        ),
        (write("weather"), twice, "table `weather`: the batch has two columns called `origin`"),
        (write("weather"), without(weather(2), "origin"), "the batch lacks the column `origin`, a key column"),
        (write("weather"), without(weather(2), "observed"), "the batch lacks the column `observed`, the event time"),
        (write("trips"), without(trips(), "leg"), "the batch lacks the column `leg`, a row id column"),
        (retract(&[]), without(trips(), "leg"), "the batch lacks the column `leg`, a row id column"),
        (
            history.clone(),
            weather(2),
            "the batch lacks the column `landed`, which the request names as the ingest time",
        ),
        (history, with(weather(2), "landed", temp()), "column `landed`: has type float64; it needs a timestamp type"),
        (delete("trips"), trips(), "a delete carries no row id, so leave out the column `trip`"),
        (
            delete("weather"),
            with(weather(2), "temp", temp()),
            "a delete carries no cells, so leave out the column `temp`",
        ),
        (retract(&[]), with(trips(), "temp", temp()), "a retract carries no cells, so leave out the column `temp`"),
        (
            retract(&["temp"]),
            bare(),
            "a retract that names features takes back cells of one identity, so it needs the row id column `trip`",
        ),
        (
            retract(&["x"]),
            trips(),
            "table `trips`: retract.features: there is no feature `x`; the features are `temp`, `wind`",
        ),
        (
            write("weather"),
            with(weather(2), "temp", texts(&["a", "b"])),
            "column `temp`: has type utf8, but is declared as float64; cast it before sending",
        ),
        (
            write("weather"),
            with(weather(2), "observed", array(Int64Array::from(vec![1, 2]))),
            "column `observed`: has type int64; it needs a timestamp type",
        ),
        (
            write("weather"),
            with(weather(2), "origin", array(Int64Array::from(vec![1, 2]))),
            "column `origin`: has type int64, but is declared as utf8",
        ),
        (
            write("nothing"),
            weather(2),
            "there is no table `nothing`; list_tables names those there are, create_table declares one",
        ),
    ];
    for (request, columns, expected) in cases {
        // A record batch may hold two columns of one name; `batch` keeps them.
        let error = refused(&request, &columns);
        assert!(error.message().contains(expected), "{expected}: {error}");
    }
}

/// One bad row each: the request, the columns, and the row, column and reason that are reported.
fn bad_cases() -> Vec<(WriteRequest, Vec<(&'static str, ArrayRef)>, u32, &'static str, &'static str)> {
    let write = |table: &str| request(table);
    let retract = |features: &[&str]| {
        let features = features.iter().map(|name| (*name).to_owned()).collect();
        WriteRequest { verb: Verb::Retract { features }, ..request("trips") }
    };
    let delete = WriteRequest { verb: Verb::Delete, ..request("weather") };
    let history = WriteRequest { ingest_time: Some("landed".to_owned()), ..request("floored") };
    let zero = "\0".repeat(2100);
    let null_time = array(TimestampMicrosecondArray::from(vec![Some(1), None]));
    let half_null = with(trips(), "leg", array(Int32Array::from(vec![None, Some(2)])));
    let all_null = with(half_null.clone(), "trip", array(StringArray::from(vec![None, Some("b")])));
    vec![
        (
            write("weather"),
            with(weather(2), "origin", array(StringArray::from(vec![Some("a"), None]))),
            1,
            "origin",
            "a key is never null",
        ),
        (
            write("weather"),
            with(weather(2), "origin", texts(&["a", &"x".repeat(4095)])),
            1,
            "origin",
            "the key has 4097 bytes, at most 4096",
        ),
        (
            write("weather"),
            with(weather(2), "origin", texts(&["a", &zero])),
            1,
            "origin",
            "the key has 4202 bytes, at most 4096",
        ),
        (
            write("trips"),
            with(trips(), "user", array(UInt64Array::from(vec![1, u64::MAX]))),
            1,
            "user",
            "18446744073709551615 is too large: integer keys go up to",
        ),
        (
            write("trips"),
            with(trips(), "user", array(Int64Array::from(vec![-1, 2]))),
            0,
            "user",
            "-1 does not fit uint64",
        ),
        (write("weather"), with(weather(2), "observed", null_time), 1, "observed", "an event time is never null"),
        (
            write("weather"),
            with(weather(2), "observed", array(TimestampNanosecondArray::from(vec![1_000, 1_001]))),
            1,
            "observed",
            "is not whole microseconds; round it, or declare",
        ),
        (
            write("weather"),
            with(weather(2), "observed", array(TimestampSecondArray::from(vec![1, i64::MIN]))),
            1,
            "observed",
            "is outside the years 1 to 9999",
        ),
        (
            write("weather"),
            with(weather(2), "observed", times(&[1, i64::MIN])),
            1,
            "observed",
            "-9223372036854775808 µs from 1970 is outside the years 1 to 9999",
        ),
        (
            write("weather"),
            with(weather(2), "observed", times(&[NOW + 300_000_000, NOW + 300_000_001])),
            1,
            "observed",
            "is more than 5m after the ingest time",
        ),
        (
            delete,
            with(weather(2), "observed", times(&[0, NOW * 2])),
            1,
            "observed",
            "is more than 5m after the ingest time",
        ),
        (
            write("trips"),
            with(trips(), "trip", array(StringArray::from(vec![Some("a"), None]))),
            1,
            "trip",
            "a row id is never null in a write",
        ),
        (retract(&[]), half_null, 0, "leg", "either every column of a row id is null or none"),
        (
            write("trips"),
            with(trips(), "leg", array(Int32Array::from(vec![1, 70_000]))),
            1,
            "leg",
            "70000 does not fit int16",
        ),
        (
            write("trips"),
            with(trips(), "trip", texts(&["a", &"x".repeat(5000)])),
            1,
            "leg",
            "the row id has 5010 bytes, at most 4096",
        ),
        (
            write("weather"),
            with(weather(2), "wind", array(Int64Array::from(vec![1, 1 << 40]))),
            1,
            "wind",
            "1099511627776 does not fit int32",
        ),
        (
            history.clone(),
            with(weather(2), "landed", array(TimestampMicrosecondArray::from(vec![Some(1), None]))),
            1,
            "landed",
            "an ingest time is never null",
        ),
        (history.clone(), with(weather(2), "landed", times(&[1, NOW + 1])), 1, "landed", "lies in the future"),
        (
            history.clone(),
            with(weather(2), "landed", times(&[5, 4])),
            1,
            "landed",
            "1970-01-01T00:00:00.000004Z is earlier than an ingest time before it",
        ),
        (
            history,
            with(weather(2), "landed", array(TimestampNanosecondArray::from(vec![1_000, 1_001]))),
            1,
            "landed",
            "is not whole microseconds; round it",
        ),
        (
            retract(&["temp"]),
            with(all_null, "user", array(UInt64Array::from(vec![1, 2]))),
            0,
            "trip",
            "a retract that names features needs a row id",
        ),
    ]
}

#[test]
fn a_bad_row_refuses_the_batch_or_is_reported() {
    for (request, columns, row, column, reason) in bad_cases() {
        let error = refused(&request, &columns);
        assert_eq!(error.kind(), Kind::Invalid);
        let place = format!("row {row}, column `{column}`: ");
        assert!(error.message().contains(&place) && error.message().contains(reason), "{reason}: {error}");
        assert!(error.message().contains("so that nothing of the batch is applied"), "{error}");

        let proven = proven(&WriteRequest { report_bad_rows: true, ..request }, &columns);
        let bad = &proven.bad_rows[0];
        assert!((bad.row, bad.column.as_str()) == (row, column) && bad.reason.contains(reason), "{reason}: {bad:?}");
        let good = proven.batch;
        assert_eq!((good.rows(), good.keys.len(), &good.places[..]), (1, 1, &[1 - row][..]));
        assert!(good.columns.iter().all(|column| column.values().expect("in memory").len() == 1));
        assert!(
            good.row_ids.is_none_or(|ids| ids.len() == 1) && good.ingest_times.is_none_or(|times| times.len() == 1)
        );
    }
}

#[test]
fn reports_are_counted_and_cut() {
    let rows = 3000;
    let wind = array(Int64Array::from_iter_values((0..rows).map(|row| if row % 3 == 0 { 1 << 40 } else { row })));
    let temp = array(BinaryArray::from(vec![b"x".as_slice(); rows as usize]));
    let observed = array(TimestampMicrosecondArray::from_iter((0..rows).map(|row| (row % 3 != 0).then_some(row))));
    let columns = with(with(weather(rows as usize), "observed", observed), "wind", wind);
    let proven = proven(&WriteRequest { report_bad_rows: true, ..request("weather") }, &columns);
    assert_eq!((proven.bad_row_count, proven.bad_rows.len()), (2000, BAD_ROWS_REPORTED_MAX));
    let first: Vec<_> = proven.bad_rows.iter().take(3).map(|bad| (bad.row, bad.column.as_str())).collect();
    assert_eq!(first, [(0, "observed"), (0, "wind"), (3, "observed")]);
    assert!(proven.bad_rows.windows(2).all(|pair| pair[0].row <= pair[1].row));
    let good = proven.batch;
    assert_eq!((good.rows(), &good.places[..4]), (2000, &[1, 2, 4, 5][..]));
    assert_eq!(good.keys.get(2), b"A4\0\0");
    assert_eq!(good.event_times[..4], [1, 2, 4, 5]);
    let error = refused(&request("weather"), &columns);
    assert!(error.message().contains("2000 bad rows, so"), "{error}");
    assert!(error.message().ends_with("; and 1900 more"), "{error}");
    assert_eq!(error.message().matches("column `").count(), BAD_ROWS_LISTED_MAX);
    // A column of the wrong type is no matter of rows.
    assert!(refused(&request("weather"), &with(columns, "temp", temp)).message().contains("declared as float64"));
}

#[test]
fn when_all_rows_are_bad_the_batch_is_empty() {
    let columns = with(weather(2), "origin", array(NullArray::new(2)));
    let proven = proven(&WriteRequest { report_bad_rows: true, ..request("weather") }, &columns);
    assert!(proven.batch.is_empty());
    assert_eq!((proven.bad_row_count, proven.bad_rows[1].reason.as_str()), (2, "a key is never null"));
}

#[test]
fn what_is_bad_does_not_spoil_the_order_of_history() {
    let history = WriteRequest { ingest_time: Some("landed".to_owned()), report_bad_rows: true, ..request("floored") };
    let columns = with(weather(5), "landed", times(&[5, NOW + 1, 6, 4, 6]));
    let proven = proven(&history, &columns);
    assert_eq!(proven.bad_rows.iter().map(|bad| bad.row).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(proven.batch.ingest_times.expect("they were sent")[..], [5, 6, 6]);
}
