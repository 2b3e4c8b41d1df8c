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
fn row_ids_are_encoded_and_may_be_null_in_a_retract() {
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
    let untyped = with(with(trips(), "trip", array(NullArray::new(2))), "leg", array(NullArray::new(2)));
    let ids = written(&retract, &untyped).row_ids.expect("the table has row ids");
    assert!(ids.iter().all(|id| id == Some(&[][..])));
    let bare = without(without(trips(), "trip"), "leg");
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
            "table `weather`: there is no column `tmp` (did you mean `temp`?); the columns are `origin`, `observed` and the features `temp`, `wind`",
        ),
        (write("weather"), twice, "table `weather`: the batch has two columns called `origin`"),
        (write("weather"), without(weather(2), "origin"), "the batch lacks the column `origin`, a key column"),
        (write("weather"), without(weather(2), "observed"), "the batch lacks the column `observed`, the event time"),
        (write("trips"), without(trips(), "leg"), "the batch lacks the column `leg`, a row id column"),
        (retract(&[]), without(trips(), "leg"), "the batch lacks the column `leg`, a row id column; where it is null"),
        (
            retract(&[]),
            bare(),
            "the batch lacks the column `trip`, a row id column; where it is null a retract takes back a delete",
        ),
        (
            history.clone(),
            weather(2),
            "the batch lacks the column `landed`, which the request names as the ingest time",
        ),
        (
            history,
            with(weather(2), "landed", temp()),
            "column `landed`: has type float64; it needs timestamps of any unit",
        ),
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
            "the batch lacks the column `trip`, a row id column; a retract that names features takes back cells of one identity",
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
            "column `observed`: has type int64; it needs timestamps of any unit",
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

#[test]
fn all_that_is_wrong_with_the_columns_is_said_at_once() {
    let columns = without(
        without(with(with(weather(2), "tmp", texts(&["a", "b"])), "town", texts(&["a", "b"])), "origin"),
        "observed",
    );
    assert_eq!(
        refused(&request("weather"), &columns).message(),
        "table `weather`: the batch lacks the column `origin`, a key column; the batch lacks the column `observed`, the event \
         time; there is no column `tmp` (did you mean `temp`?), `town`; the columns are `origin`, `observed` and the features \
         `temp`, `wind`"
    );
}

#[test]
fn event_times_are_timestamps_dates_or_text() {
    let dates = array(arrow_array::Date32Array::from(vec![1, 2]));
    let day = 86_400_000_000;
    assert_eq!(written(&request("weather"), &with(weather(2), "observed", dates)).event_times[..], [day, 2 * day]);
    let spelled = texts(&["1970-01-02", "1970-01-03 02:00:00+02:00"]);
    assert_eq!(written(&request("weather"), &with(weather(2), "observed", spelled)).event_times[..], [day, 2 * day]);
    let words: arrow_array::DictionaryArray<arrow_array::types::Int8Type> =
        vec!["1970-01-02", "1970-01-02"].into_iter().collect();
    assert_eq!(written(&request("weather"), &with(weather(2), "observed", array(words))).event_times[..], [day, day]);
    let report = WriteRequest { report_bad_rows: true, ..request("weather") };
    let wrong = with(weather(3), "observed", texts(&["yesterday", "1970-01-02T00:00:00.0000001Z", "1970-01-02"]));
    let reasons: Vec<String> = proven(&report, &wrong).bad_rows.into_iter().map(|bad| bad.reason).collect();
    assert_eq!(
        reasons,
        [
            "`yesterday` is no time; write ISO 8601, such as 2026-01-31T12:00:00Z",
            "1970-01-02T00:00:00.0000001Z is not whole microseconds; round it, or declare the table with \"event_time_rounding\": \"floor\"",
        ]
    );
    let nothing = [
        ("origin", array(Float64Array::from(Vec::<f64>::new()))),
        ("observed", array(Int64Array::from(Vec::<i64>::new()))),
    ];
    assert!(written(&request("weather"), &nothing).is_empty(), "what has no rows has no wrong types");
    let floored = with(weather(1), "observed", texts(&["1970-01-02T00:00:00.0000019Z"]));
    assert_eq!(written(&request("floored"), &floored).event_times[..], [day + 1]);
}

#[test]
fn floats_are_rounded_unless_the_table_says_otherwise() {
    let mut catalog = catalog();
    let feature = json!([{"name": "score", "type": "float32"}, {"name": "parts", "type": "list<float32>"}]);
    for (table, rounding) in [("nearly", "nearest"), ("exactly", "none")] {
        let body = json!({"table": table, "entity": "airport", "event_time": "observed", "features": feature, "float_rounding": rounding});
        catalog = apply(&catalog, "create_table", &body);
    }
    let score = array(Float64Array::from(vec![0.1, 0.5, 1e39]));
    let columns = with(weather(3), "score", score);
    let bad = |table: &str| {
        let request = WriteRequest { report_bad_rows: true, ..request(table) };
        let proven = prove(&catalog, &request, &batch(&columns), NOW).expect("good rows are taken");
        proven.bad_rows.into_iter().map(|bad| (bad.row, bad.reason)).collect::<Vec<_>>()
    };
    let infinite = || (2, "1e39 does not fit float32".to_owned());
    assert_eq!(bad("nearly"), [infinite()]);
    assert_eq!(bad("exactly"), [(0, "0.1 does not fit float32".to_owned()), infinite()]);
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
            "trip",
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

#[test]
fn a_row_with_several_bad_columns_is_reported_once_for_each() {
    let reported = |request: &WriteRequest, columns: &[(&str, ArrayRef)]| {
        let proven = proven(&WriteRequest { report_bad_rows: true, ..request.clone() }, columns);
        let bad = proven.bad_rows.iter().map(|bad| (bad.row, bad.column.clone())).collect::<Vec<_>>();
        assert_eq!(proven.bad_row_count, bad.len() as u64);
        bad
    };
    let at = |row: u32, column: &str| (row, column.to_owned());
    // The key is null and the event lies in the future; a cell does not fit either.
    let columns = with(weather(2), "origin", array(StringArray::from(vec![Some("a"), None])));
    let columns = with(columns, "observed", times(&[0, NOW * 2]));
    let columns = with(columns, "wind", array(Int64Array::from(vec![1, 1 << 40])));
    assert_eq!(reported(&request("weather"), &columns), [at(1, "origin"), at(1, "observed"), at(1, "wind")]);
    let history = WriteRequest { ingest_time: Some("landed".to_owned()), ..request("weather") };
    let columns = with(columns, "landed", times(&[5, NOW + 1]));
    let expected = [at(1, "origin"), at(1, "landed"), at(1, "observed"), at(1, "wind")];
    assert_eq!(reported(&history, &columns), expected);
    // Without an ingest time nothing is said of how far the event lies after it.
    let unknown = array(TimestampMicrosecondArray::from(vec![Some(5), None]));
    let unknown = with(with(weather(2), "observed", times(&[0, NOW])), "landed", unknown);
    assert_eq!(reported(&history, &unknown), [at(1, "landed")]);
    // One column that is wrong in two ways, or in two roles, is one entry.
    let same = WriteRequest { ingest_time: Some("observed".to_owned()), ..request("weather") };
    let nulls = array(TimestampMicrosecondArray::from(vec![Some(1), None]));
    assert_eq!(reported(&same, &with(weather(2), "observed", nulls)), [at(1, "observed")]);
    assert_eq!(
        reported(&request("weather"), &with(weather(2), "observed", times(&[0, i64::MAX]))),
        [at(1, "observed")]
    );
    // Both columns of a row id, each for itself.
    let ids = with(trips(), "trip", array(StringArray::from(vec![Some("a"), None])));
    let ids = with(ids, "leg", array(Int32Array::from(vec![Some(1), None])));
    assert_eq!(reported(&request("trips"), &ids), [at(1, "trip"), at(1, "leg")]);
}

#[test]
fn a_value_beyond_its_own_type_is_a_bad_row() {
    let types = [
        ("amount", "decimal128(4, 2)"),
        ("opens", "time32[s]"),
        ("born", "date64[ms]"),
        ("seen", "timestamp[us, UTC]"),
        ("slots", "list<time64[us]>"),
    ];
    let features: Vec<_> = types.iter().map(|(name, spelled)| json!({"name": name, "type": spelled})).collect();
    let declared = json!({"table": "shops", "entity": "airport", "event_time": "observed", "features": features});
    let catalog = apply(&catalog(), "create_table", &declared);
    let slots = array(arrow_array::Time64MicrosecondArray::from(vec![1, 86_400_000_000, 2]));
    let item = Arc::new(arrow_schema::Field::new("item", slots.data_type().clone(), true));
    let offsets = arrow_buffer::OffsetBuffer::new(vec![0, 2, 3].into());
    let amounts = arrow_array::Decimal128Array::from(vec![10_000, 9_999]);
    let columns = [
        ("amount", array(amounts.with_data_type(arrow_schema::DataType::Decimal128(4, 2))), "100.00 does not fit"),
        ("opens", array(arrow_array::Time32SecondArray::from(vec![86_400, 86_399])), "86400 does not fit"),
        ("born", array(arrow_array::Date64Array::from(vec![1, 0])), "1970-01-01T00:00:00.001 does not fit date64[ms]"),
        ("seen", times(&[i64::MAX, 0]), "9223372036854775807 does not fit"),
        ("slots", array(arrow_array::ListArray::new(item, offsets, slots, None)), "a value inside it does not fit"),
    ];
    let mut all = weather(2);
    all.extend(columns.iter().map(|(name, array, _)| (*name, array.clone())));
    let report = WriteRequest { report_bad_rows: true, ..request("shops") };
    let proven = prove(&catalog, &report, &batch(&all), NOW).expect("the other row is good");
    assert_eq!((proven.bad_rows.len(), proven.batch.rows()), (columns.len(), 1));
    for (bad, (name, _, reason)) in proven.bad_rows.iter().zip(&columns) {
        assert!(bad.row == 0 && bad.column == *name && bad.reason.starts_with(reason), "{bad:?}");
    }
}

#[test]
fn a_uint64_is_a_key_and_a_row_id_up_to_its_greatest() {
    let user = array(UInt64Array::from(vec![1 << 63, u64::MAX]));
    let columns = with(trips(), "user", user.clone());
    let batch = written(&request("trips"), &columns);
    let entity = catalog().entity("user").expect("declared").key.clone();
    let decoded = crate::model::key::decode(&entity, batch.keys.iter()).expect("decodes");
    assert_eq!(decoded[0].as_ref(), user.as_ref());
    // A table of before, whose row ids have their highest bit flipped, would put the larger ones first.
    let declared = json!({"table": "calls", "entity": "user", "event_time": "at", "features": [],
        "row_id": [{"name": "call", "type": "uint64"}]});
    let catalog = apply(&catalog(), "create_table", &declared);
    let mut before = Catalog::clone(&catalog);
    let mut table = Table::clone(before.table("calls").expect("it was declared"));
    table.row_id[0].unsigned = false;
    assert!(before.tables.put(Arc::new(table)));
    let calls = with(without(without(trips(), "trip"), "leg"), "call", array(UInt64Array::from(vec![1, 1 << 63])));
    let taken = prove(&catalog, &request("calls"), &batch_of(&calls), NOW).expect("taken").batch;
    let ids = taken.row_ids.expect("the table has row ids");
    assert!(ids.value(0) < ids.value(1));
    let error = prove(&before, &request("calls"), &batch_of(&calls), NOW).expect_err("out of order");
    assert!(error.message().contains("row 1, column `call`: 9223372036854775808 is too large"), "{error}");
}
