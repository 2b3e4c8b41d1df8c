//! JSON: any text as every shape that crosses the wire, and as a request to a server.
//!
//! What is read is the same after it was written and read again, a declaration that was applied describes itself as
//! what declares it, and a server asked with the text (as a ticket, a descriptor, the body of an action) answers, or
//! refuses with a code that is not its own fault.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{Action, FlightDescriptor, Ticket};
use firn_client::wire::{Acknowledgement, Answer, Command, Erase, ProducerStep, TableName};
use firn_flight_sql::service::FlightSql;
use firn_server::access::Rights;
use firn_server::config::{Config, Limits};
use firn_server::metrics::Metrics;
use firn_server::service::{Firn, Resources};
use firn_storage::database::Database;
use firn_storage::model::catalog::Catalog;
use firn_storage::model::declare::Change;
use futures::{Stream, StreamExt};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Request, Response, Status};

use crate::Verdict;
use crate::sample::{options, sample, weather};

/// Actions that change nothing, so that one server serves all inputs.
const ACTIONS: [&str; 5] = ["list_entities", "describe_entity", "list_tables", "describe_table", "status"];
const CHANGES: [&str; 6] = ["create_entity", "create_table", "alter_table", "drop_table", "drop_entity", "seal_table"];

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let shapes = [
        round(bytes, Command::decode, Command::encode),
        round(bytes, Answer::decode, Answer::encode),
        round(bytes, Acknowledgement::decode, Acknowledgement::encode),
        round(bytes, ProducerStep::decode, ProducerStep::encode),
        serde_json::from_slice(bytes).is_ok_and(|body: Value| bodies(&body)),
    ];
    SERVED.with(|served| served.ask(bytes, shapes[0]));
    if shapes.contains(&true) { Verdict::Accepted } else { Verdict::Refused }
}

/// Whether `bytes` are read; then they are the same when they are written and read again.
fn round<T: PartialEq + std::fmt::Debug, E: std::fmt::Display>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> bool {
    match decode(bytes) {
        Ok(read) => {
            let again = decode(&encode(&read)).unwrap_or_else(|error| panic!("{read:?} is not read again: {error}"));
            assert_eq!(again, read);
            true
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains(": "), "the error names no place: {message}");
            false
        }
    }
}

/// Whether `body` is that of any action.
fn bodies(body: &Value) -> bool {
    let erase = round(body.to_string().as_bytes(), |bytes| Erase::decode(json(bytes)), |erase| bytes(&erase.encode()));
    let decode = |bytes: &[u8]| TableName::decode("flush", Some("table"), json(bytes));
    let table = round(body.to_string().as_bytes(), decode, |name| bytes(&name.encode()));
    let changes = with_catalog(|standing| CHANGES.iter().filter(|action| declares(action, body, standing)).count());
    changes > 0 || erase || table
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON was written")
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

thread_local! {
    static CATALOG: Arc<Catalog> = {
        let database = Database::open(options(&sample().old.copy())).expect("the sample opens");
        database.catalog()
    };
}

/// Gives the declarations of the sample to `use_it`.
pub(crate) fn with_catalog<T>(use_it: impl FnOnce(&Catalog) -> T) -> T {
    CATALOG.with(|catalog| use_it(catalog))
}

/// Whether `body` is a declaration that `action` takes.
fn declares(action: &str, body: &Value, standing: &Catalog) -> bool {
    let change = match Change::parse(action, body) {
        Ok(change) => change,
        Err(error) => {
            assert!(!error.message().is_empty());
            return false;
        }
    };
    let Ok(Some(next)) = change.apply(standing) else { return true };
    let stored = serde_json::to_vec(&next).expect("a catalog is plain data");
    let read: Catalog = serde_json::from_slice(&stored).expect("a catalog that was made can be read");
    assert_eq!(read, next);
    let mut described = change.answer(&next).expect("what was declared is described");
    if action.starts_with("create") {
        let fields = described.as_object_mut().expect("a declaration is an object");
        fields.retain(|field, _| field != "schema_version" && field != "sealed");
        let again = Change::parse(action, &described).unwrap_or_else(|error| panic!("{described}: {error:?}"));
        let again = again.apply(standing).expect("it could be applied").expect("it changes as much");
        assert_eq!(again, next, "{described}");
    }
    true
}

/// A server without a network.
struct Served {
    firn: Firn,
    runtime: tokio::runtime::Runtime,
    _serving: DropGuard,
}

thread_local! {
    static SERVED: Served = Served::new();
}

/// Limits small enough for small inputs to reach.
pub(crate) fn limits() -> Limits {
    Limits {
        decoded_bytes_max: 1 << 20,
        message_rows_max: 10_000,
        columns_max: 64,
        depth_max: 8,
        command_bytes_max: 16 << 10,
        wait_max: std::time::Duration::from_millis(1),
        ..Config::new("unused").limits
    }
}

impl Served {
    fn new() -> Self {
        let mut options = options(&sample().old.copy());
        // A bound a moment ahead waits for the clock, so it must move.
        options.clock = None;
        let database = Database::open(options.clone()).expect("the sample opens");
        let stopping = CancellationToken::new();
        let (limits, metrics) = (Arc::new(limits()), Arc::new(Metrics::new()));
        let sql = FlightSql::begin(firn_flight_sql::limits::Limits::default()).expect("SQL begins");
        let resources = Resources::new(database, sql, &options, Rights::all(), limits, metrics, stopping.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { firn: Firn::new(Arc::new(resources)), runtime, _serving: stopping.drop_guard() }
    }

    fn ask(&self, bytes: &[u8], command: bool) {
        let body = bytes.to_vec();
        self.runtime.block_on(async {
            drain(self.firn.do_get(Request::new(Ticket { ticket: body.clone().into() })).await).await;
            if command {
                let descriptor = || Request::new(FlightDescriptor::new_cmd(body.clone()));
                answered(self.firn.get_flight_info(descriptor()).await);
                answered(self.firn.get_schema(descriptor()).await);
                return;
            }
            for action in ACTIONS {
                let action = Action { r#type: action.to_owned(), body: body.clone().into() };
                drain(self.firn.do_action(Request::new(action)).await).await;
            }
        });
    }
}

/// Reads a stream to its end.
async fn drain<T>(answers: Result<Response<impl Stream<Item = Result<T, Status>> + Unpin>, Status>) {
    let Some(mut answers) = answered(answers) else { return };
    while let Some(answer) = answers.next().await {
        if answered(answer.map(Response::new)).is_none() {
            return;
        }
    }
}

/// The answer; a refusal must say why, and that it is not the server's fault.
fn answered<T>(answer: Result<Response<T>, Status>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer.into_inner()),
        Err(status) => {
            assert!(!matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss), "{status:?}");
            assert!(!status.message().is_empty(), "{status:?}");
            None
        }
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let features = json!(["weather.*",
        {"feature": "weather.temp", "as": "there", "entity": {"origin": {"column": "dest"}}},
        {"feature": "flights.delay", "prefix": "dest_", "entity": {"origin": "dest"}}]);
    let shapes = [
        json!({"lookup": {"features": ["weather.temp", "flights.delay"], "entities": {"origin": ["EWR", "JFK", null]}}}),
        json!({"lookup": {"features": ["weather.*"], "as_of": {"time": "1970-01-01T00:00:00.02Z", "exclusive": true},
            "known_at": {"us": 1_000_000_007}, "status": true, "event_times": true, "schema_version": 4, "clock": -5,
            "digest": true, "max_message_bytes": 1024, "entities": {"origin": ["EWR"]}}}),
        json!({"lookup": {"features": features, "position": "p", "at_least": "q", "wait": "100ms",
            "errors": "in_band"}}),
        json!({"join": {"features": ["weather.temp"], "as_of": {"column": "decided_at", "exclusive": true},
            "known_at": {"column": "decided_at"}}}),
        json!({"write": {"table": "weather", "nulls": "absent", "producer": "p", "ingest_time": "landed",
            "bad_rows": "report"}}),
        json!({"retract": {"table": "weather", "features": ["temp"]}}),
        json!({"scan": {"table": "weather", "columns": ["temp", "words"], "as_of": "1970-01-01T00:00:00.03Z",
            "known_at": {"us": 1_000_000_009}, "history": true, "from": {"us": 1}, "to": "1970-01-02T00:00:00Z",
            "schema_version": 3, "clock": 3, "max_message_bytes": 4096, "part": {"part": 1, "parts": 4}}}),
        json!({"scan": {"table": "flights"}}),
        json!({"entity": "airport", "entities": {"origin": ["EWR"]}, "block": true}),
        json!({"table": "weather"}),
        json!({"producer_seq": 7, "previous": 6}),
        json!({"batches": 3, "rows": 9, "read_position": "p", "duplicates": 0, "bad_row_count": 1,
            "bad_rows": [{"batch": 1, "row": 2, "column": "temp", "reason": "null"}]}),
        json!({"entity": "plane", "key": [{"name": "tail", "type": "utf8"}, {"name": "leg", "type": "int64"}],
            "bucket_by": ["tail"], "buckets": 8}),
        renamed(),
        json!({"table": "weather", "add": [{"name": "x", "type": "struct<a: int64, b: list<utf8>>"}],
            "widen": [{"name": "temp", "type": "float64"}], "rename": {"sky": "clouds"}, "retire": ["dry"],
            "purge": true, "set": {"max_age": "8h", "tags": ["pii"], "owner": "me"}}),
    ];
    let answer = Answer { request: 4, last: true, ..Answer::default() }.encode();
    shapes.iter().map(bytes).chain([answer]).collect()
}

/// A table with a feature of every type.
fn renamed() -> Value {
    let types = BTreeSet::from([
        "int8",
        "uint64",
        "float16",
        "decimal128(10, 2)",
        "date32",
        "time64[us]",
        "timestamp[us, UTC]",
        "duration[us]",
        "fixed_size_binary[4]",
        "large_utf8",
        "map<utf8, int64>",
        "dictionary<values=utf8, indices=int32>",
        "list<struct<a: int64>>",
        "binary",
        "timestamp[ns]",
    ]);
    let features = types.into_iter().enumerate();
    let mut declaration = weather();
    declaration["table"] = json!("all_types");
    declaration["features"] =
        features.map(|(place, of)| json!({"name": format!("f{place}"), "type": of, "default": null})).collect();
    declaration["row_id"] = json!([{"name": "id", "type": "date32"}]);
    declaration["hot_window"] = json!("7d");
    declaration["retention"] = json!({"keep_events": "30d", "keep_knowledge": "none"});
    declaration
}
