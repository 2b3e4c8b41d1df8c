//! A small database with some of everything, on a simulated disk: what seeds are made of, and what mutated files are
//! put into. Made once per process; the same every time, but for the number that tells databases apart.

use std::sync::{Arc, OnceLock};

use arrow_array::builder::{Int64Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::types::{Float32Type, Int32Type};
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, FixedSizeBinaryArray, FixedSizeListArray, Float64Array, Int32Array,
    Int64Array, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field};
use firn_storage::config::Options;
use firn_storage::database::{Database, EraseRequest};
use firn_storage::error::Result;
use firn_storage::io::Files;
use firn_storage::io::simulated::Simulated;
use firn_storage::model::batch::{Producer, Verb, WriteRequest};
use firn_storage::model::declare::Change;
use firn_storage::read::ScanRequest;
use firn_storage::time::{Clock, ManualClock};
use serde_json::{Value, json};

/// Now, in µs: every commit of the sample is ingested at or just after it.
pub(crate) const NOW: i64 = 1_000_000_000;

/// The sample as its disk was at two moments.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Everything is in the log.
    pub(crate) young: Simulated,
    /// Most is in segments, dictionaries and packs; some is in the log.
    pub(crate) old: Simulated,
}

/// The sample.
pub(crate) fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(make)
}

/// How a database on `disk` is opened: nothing runs by itself.
pub(crate) fn options(disk: &Simulated) -> Options {
    let mut options = Options::new("unused");
    options.files = Some(Arc::new(disk.clone()) as Arc<dyn Files>);
    options.clock = Some(Arc::new(ManualClock::at(NOW)) as Arc<dyn Clock>);
    options.background = false;
    options.reader_threads = 1;
    options
}

fn make() -> Sample {
    let disk = Simulated::new();
    let database = Database::open(options(&disk)).expect("an empty disk");
    declare(&database);
    fill(&database, 0);
    database.close().expect("a healthy disk");
    let young = disk.copy();

    let database = Database::open(options(&disk)).expect("it was closed");
    // So many versions that some get a file of their own.
    for version in 0..8 {
        let described = json!({"table": "flights", "set": {"description": format!("version {version}")}});
        change(&database, "alter_table", &described);
    }
    // Nobody is erased, but somebody may never come.
    let gone: ArrayRef = Arc::new(StringArray::from(vec!["GONE"]));
    let erase = EraseRequest { entity: "airport".to_owned(), keys: vec![("origin".to_owned(), gone)], block: true };
    database.erase(&database.catalog(), &erase).expect("a healthy disk");
    database.compact(&database.catalog(), None).expect("a healthy disk");
    fill(&database, 40);
    database.flush(&database.catalog(), None).expect("a healthy disk");
    fill(&database, 80);
    database.close().expect("a healthy disk");
    Sample { young, old: disk }
}

/// Applies a declaration.
fn change(database: &Database, action: &str, body: &Value) {
    let change = Change::parse(action, body).expect("the declarations of the sample are right");
    database.change(&database.catalog(), &change).expect("the declarations of the sample can be applied");
}

/// The declaration of the table `weather`.
pub(crate) fn weather() -> Value {
    json!({"table": "weather", "entity": "airport", "event_time": "observed", "max_future_skew": "none",
        "max_age": "6h", "features": [
            {"name": "temp", "type": "float64", "max_age": "3h", "default": -1.5, "description": "°F", "tags": ["x"]},
            {"name": "sky", "type": "utf8"},
            {"name": "dry", "type": "bool"},
            {"name": "words", "type": "list<utf8>"},
            {"name": "vector", "type": "fixed_size_list<float32>[3]"}]})
}

fn declare(database: &Database) {
    let key = json!([{"name": "origin", "type": "utf8"}]);
    change(database, "create_entity", &json!({"entity": "airport", "key": key, "buckets": 2}));
    change(database, "create_table", &weather());
    let flights = json!({"table": "flights", "entity": "airport", "event_time": "at",
        "row_id": [{"name": "flight", "type": "int64"}], "max_future_skew": "none",
        "features": [{"name": "delay", "type": "int32"}, {"name": "pair", "type": "struct<a: int64, b: utf8>"},
            {"name": "counts", "type": "map<utf8, int64>"}, {"name": "code", "type": "fixed_size_binary[4]"},
            {"name": "word", "type": "dictionary<values=utf8, indices=int32>"}]});
    change(database, "create_table", &flights);
    change(database, "alter_table", &json!({"table": "flights", "widen": [{"name": "delay", "type": "int64"}]}));
}

/// Writes, deletes and retracts around event time `from`.
fn fill(database: &Database, from: i64) {
    let write = |table: &str, verb: Verb, batch: &RecordBatch| {
        let proven = database
            .prove(&database.catalog(), &request(table, verb), batch)
            .expect("the rows of the sample are right");
        let mut write = proven.batch;
        let producer = Producer { name: "p".to_owned(), seq: from.unsigned_abs() + 1, previous: None };
        write.producer = (from == 0 && table == "flights").then_some(producer);
        // The producer's later numbers follow none that is stored, so only its first batch has one.
        database.write(write).expect("the rows of the sample can be written");
    };
    write("weather", Verb::Write, &weather_rows(from, 12));
    write("weather", Verb::Write, &weather_rows(from + 7, 5).project(&[0, 1, 3]).expect("some of its columns"));
    write("weather", Verb::Delete, &weather_rows(from + 9, 1).project(&[0, 1]).expect("some of its columns"));
    let retract = Verb::Retract { features: vec!["sky".to_owned()] };
    write("weather", retract, &weather_rows(from + 3, 2).project(&[0, 1]).expect("some of its columns"));
    let flights = flight_rows(from, 9);
    write("flights", Verb::Write, &flights);
    let identities = flights.slice(2, 2).project(&[0, 1, 2]).expect("some of its columns");
    write("flights", Verb::Retract { features: Vec::new() }, &identities);
}

/// A request to do `verb` to `table`.
pub(crate) fn request(table: &str, verb: Verb) -> WriteRequest {
    let table = table.to_owned();
    WriteRequest { table, verb, nulls_absent: false, ingest_time: None, report_bad_rows: false }
}

/// `count` rows of `weather`.
pub(crate) fn weather_rows(from: i64, count: i64) -> RecordBatch {
    let every = |third: i64| move |row: i64| (row % 3 != third).then_some(row);
    let rows = || from..from + count;
    let mut words = ListBuilder::new(StringBuilder::new());
    for row in rows() {
        (0..row % 3).for_each(|word| words.values().append_value("w".repeat(word as usize)));
        words.append(row % 5 != 0);
    }
    let vectors =
        rows().map(|row| (row % 4 != 0).then(|| (0..3).map(|at| Some((row + at) as f32)).collect::<Vec<_>>()));
    let columns: [(&str, ArrayRef); 7] = [
        ("origin", Arc::new(StringArray::from_iter_values(rows().map(airport)))),
        ("observed", times(rows())),
        ("temp", Arc::new(rows().map(every(0)).map(|row| row.map(|row| row as f64 / 4.0)).collect::<Float64Array>())),
        (
            "sky",
            Arc::new(
                rows().map(every(1)).map(|row| row.map(|row| "sky ".repeat(row as usize % 4))).collect::<StringArray>(),
            ),
        ),
        ("dry", Arc::new(rows().map(every(2)).map(|row| row.map(|row| row % 2 == 0)).collect::<BooleanArray>())),
        ("words", Arc::new(words.finish())),
        ("vector", Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 3))),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

/// `count` rows of `flights`.
pub(crate) fn flight_rows(from: i64, count: i64) -> RecordBatch {
    let rows = || from..from + count;
    let numbers: ArrayRef = Arc::new(rows().map(|row| (row % 3 != 0).then_some(row)).collect::<Int64Array>());
    let texts: ArrayRef =
        Arc::new(rows().map(|row| (row % 4 != 1).then(|| "b".repeat(row as usize % 4))).collect::<StringArray>());
    let pair = StructArray::from(vec![
        (Arc::new(Field::new("a", DataType::Int64, true)), numbers),
        (Arc::new(Field::new("b", DataType::Utf8, true)), texts),
    ]);
    let mut counts = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for row in rows() {
        (0..row % 3).for_each(|entry| {
            counts.keys().append_value(format!("key {entry}"));
            counts.values().append_value(row);
        });
        counts.append(row % 5 != 0).expect("as many keys as values");
    }
    let codes = rows().map(|row| (row as i32).to_le_bytes());
    let words: DictionaryArray<Int32Type> =
        rows().map(|row| ["some", "words"].get(row as usize % 3).copied()).collect();
    let columns: [(&str, ArrayRef); 8] = [
        ("origin", Arc::new(StringArray::from_iter_values(rows().map(airport)))),
        ("at", times(rows())),
        ("flight", Arc::new(Int64Array::from_iter_values(rows().map(|row| row % 4)))),
        ("delay", Arc::new(Int32Array::from_iter_values(rows().map(|row| row as i32 - 5)))),
        ("pair", Arc::new(pair)),
        ("counts", Arc::new(counts.finish())),
        ("code", Arc::new(FixedSizeBinaryArray::try_from_iter(codes).expect("codes of one width"))),
        ("word", Arc::new(words)),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn airport(row: i64) -> String {
    ["EWR", "JFK", "LGA", "", "a rather long name of an airport"][row as usize % 5].to_owned()
}

fn times(rows: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(rows.map(|row| row / 2 * 1000)).with_timezone("UTC"))
}

/// Every row of every table, with its history and as of the latest: what an opened database says of itself.
pub(crate) fn everything(database: &Database) -> Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    let catalog = database.catalog();
    for table in &catalog.tables {
        for history in [true, false] {
            let scan = database.scan(
                &database.catalog(),
                &ScanRequest {
                    table: table.name.clone(),
                    history,
                    clock: Some(NOW),
                    parts: 1,
                    event_time: true,
                    ..ScanRequest::default()
                },
            )?;
            for part in 0..scan.parts() {
                for batch in scan.open(part)? {
                    batches.push(batch?);
                }
            }
        }
    }
    Ok(batches)
}
