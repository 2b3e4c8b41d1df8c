"""Requests that must be refused, each with the code that it must be refused with.

The exact messages are in ``bad_requests.txt``; ``FIRN_RECORD=1 pytest tests/test_bad_requests.py`` writes it anew, and
the difference is to be read like code.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight
import raw

Call = Callable[[flight.FlightClient], Any]

INVALID, NOT_FOUND, EXISTS = "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS"
PRECONDITION, EXHAUSTED, UNIMPLEMENTED = "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED"

TIME = pa.timestamp("us", "UTC")
MOMENT = datetime.datetime(2024, 5, 1, tzinfo=datetime.timezone.utc)
KEYS = pa.record_batch({"origin": ["EWR"]})
SPINE = KEYS.append_column("t", pa.array([MOMENT], TIME))
ROW = SPINE.rename_columns(["origin", "observed"]).append_column("temp", pa.array([1.0]))


def set_up(client: flight.FlightClient) -> None:
    """`weather` is sealed and holds a row; `flights` has a row id and is still unsealed."""
    raw.action(client, "create_entity", {"entity": "airport", "key": [{"name": "origin", "type": "utf8"}]})
    key = [{"name": "carrier", "type": "utf8"}, {"name": "number", "type": "int32"}]
    raw.action(client, "create_entity", {"entity": "line", "key": key})
    features = [{"name": "temp", "type": "float64"}, {"name": "gusts", "type": "int32"},
                {"name": "note", "type": "utf8"}]  # fmt: skip
    table = {"table": "weather", "entity": "airport", "event_time": "observed", "features": features}
    raw.action(client, "create_table", table)
    raw.action(client, "create_table", {"table": "flights", "entity": "line", "event_time": "departed",
               "row_id": [{"name": "leg", "type": "int64"}],
               "features": [{"name": "delay", "type": "float32"}]})  # fmt: skip
    raw.put(client, {"write": {"table": "weather"}}, [ROW])


def sound(client: flight.FlightClient) -> None:
    """The connection still works."""
    assert raw.table(raw.exchange(client, {"lookup": {"features": ["weather.temp"]}}, [KEYS])).to_pylist() == [
        {"temp": 1.0}
    ]


def look(batch: Any = KEYS, **body: Any) -> Call:
    command = {"lookup": {"features": ["weather.temp"], **body}}
    return lambda client: raw.exchange(client, command, [batch])


def join(batch: Any = SPINE, **body: Any) -> Call:
    command = {"join": {"features": ["weather.temp"], **body}}
    return lambda client: raw.exchange(client, command, [batch])


def exchange(command: Any, batch: Any = KEYS) -> Call:
    return lambda client: raw.exchange(client, command, [batch])


def put(command: Any, batch: Any = ROW, metadata: Any = None) -> Call:
    return lambda client: raw.put(client, command, [batch], None if metadata is None else [metadata])


def write(batch: Any, **body: Any) -> Call:
    return put({"write": {"table": "weather", **body}}, batch)


def get(ticket: Any) -> Call:
    return lambda client: raw.get(client, ticket)


def info(command: Any) -> Call:
    return lambda client: client.get_flight_info(raw.descriptor(command))


def act(name: str, body: Any) -> Call:
    return lambda client: raw.action(client, name, body)


def row(**columns: Any) -> pa.RecordBatch:
    """ROW with columns added or replaced, or left out where they are None."""
    given = dict(zip(ROW.schema.names, ROW.columns)) | columns
    return pa.record_batch({name: column for name, column in given.items() if column is not None})


def leg(**columns: Any) -> pa.RecordBatch:
    given = {"carrier": pa.array(["UA"]), "number": pa.array([1], pa.int32()), "departed": pa.array([MOMENT], TIME),
             "leg": pa.array([7]), "delay": pa.array([1.0], pa.float32())} | columns  # fmt: skip
    return pa.record_batch({name: column for name, column in given.items() if column is not None})


def times(*moments: datetime.datetime) -> pa.Array:
    return pa.array(moments, TIME)


def twice() -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([*ROW.columns, ROW.column(2)], names=[*ROW.schema.names, "temp"])


def loaded(*learned: datetime.datetime) -> pa.RecordBatch:
    rows = pa.Table.from_batches([leg()] * len(learned)).combine_chunks().to_batches()[0]
    return rows.append_column("learned", times(*learned))


def path(*parts: str) -> Call:
    def call(client: flight.FlightClient) -> None:
        writer, _ = client.do_put(flight.FlightDescriptor.for_path(*parts), ROW.schema)
        with writer:
            writer.write_batch(ROW)

    return call


FUTURE = datetime.datetime(2200, 1, 1, tzinfo=datetime.timezone.utc)
LATER = MOMENT + datetime.timedelta(seconds=1)
HUGE = pa.record_batch({"origin": ["EWR"], "observed": times(MOMENT), "note": ["x" * (65 << 20)]})
TEMP = {"name": "temp", "type": "float64"}
FEATURES = {"features": [TEMP]}
TABLE = {"table": "x", "entity": "airport", "event_time": "at", **FEATURES}
LOOKUP = {"features": ["weather.temp"]}
HISTORY = {"write": {"table": "flights", "ingest_time": "learned"}}
STEP = {"write": {"table": "weather", "producer": "p"}}

BAD: list[tuple[str, str, Call]] = [
    # Commands
    ("a command that is no JSON", INVALID, exchange(b"hello")),
    ("a command that is cut off", INVALID, exchange(b'{"lookup":')),
    ("an empty command", INVALID, exchange({})),
    ("two verbs", INVALID, exchange({"lookup": LOOKUP, "join": LOOKUP})),
    ("an unknown verb", INVALID, exchange({"fetch": LOOKUP})),
    ("a verb without a body", INVALID, exchange({"lookup": 5})),
    ("a write as an exchange", INVALID, exchange({"write": {"table": "weather"}})),
    ("a scan as an exchange", INVALID, exchange({"scan": {"table": "weather"}})),
    ("a lookup as a put", INVALID, put({"lookup": LOOKUP})),
    ("a join as a ticket", INVALID, get({"join": {**LOOKUP, "as_of": "latest"}})),
    ("a write as a ticket", INVALID, get({"write": {"table": "weather"}})),
    ("a lookup as a flight, without entities", INVALID, info({"lookup": LOOKUP})),
    # Features
    ("no features", INVALID, exchange({"lookup": {}})),
    ("an empty list of features", INVALID, exchange({"lookup": {"features": []}})),
    ("features that are no list", INVALID, exchange({"lookup": {"features": "weather.temp"}})),
    ("a feature without its table", INVALID, exchange({"lookup": {"features": ["temp"]}})),
    ("a feature that is a number", INVALID, exchange({"lookup": {"features": [5]}})),
    ("a feature of an unknown table", NOT_FOUND, exchange({"lookup": {"features": ["wether.temp"]}})),
    ("an unknown feature", NOT_FOUND, exchange({"lookup": {"features": ["weather.tmp"]}})),
    ("several unknown names", INVALID,
     exchange({"lookup": {"features": ["weather.tmp", "weather.wind", "wether.temp"]}}, pa.record_batch({"x": [1]}))),
    ("a null among keys", INVALID, exchange({"lookup": {"features": ["weather.temp"]}}, pa.record_batch({"origin": ["EWR", None]}))),
    ("a word for null keys", INVALID, look(null_keys="drop")),
    ("a max age of a read that is no duration", INVALID, look(max_age="long")),
    ("one name for all features", INVALID, look(features=[{"feature": "weather.*", "as": "x"}])),
    ("a name and a prefix", INVALID, look(features=[{"feature": "weather.temp", "as": "x", "prefix": "y"}])),
    ("the same name twice", INVALID, look(features=["weather.temp", "weather.temp"])),
    ("a name that the spine has", INVALID, join(SPINE.append_column("temp", pa.array([1.0])), as_of="latest")),
    ("a misspelt field of a feature", INVALID, look(features=[{"feature": "weather.temp", "az": "x"}])),
    ("an entity through a feature", UNIMPLEMENTED,
     look(features=[{"feature": "weather.temp", "entity": {"origin": {"feature": "flights.delay"}}}])),
    ("an unknown key column", INVALID, look(features=[{"feature": "weather.temp", "entity": {"dest": "origin"}}])),
    ("an unknown source of a key column", INVALID,
     look(features=[{"feature": "weather.temp", "entity": {"origin": "dest"}}])),
    # Options of reads
    ("a misspelt option", INVALID, look(asof="latest")),
    ("an option of another type", INVALID, look(status="yes")),
    ("a join without as_of", INVALID, join()),
    ("a stored spine", UNIMPLEMENTED, join(as_of="latest", spine={"table": "flights"})),
    ("a bound that is a number", INVALID, look(as_of=5)),
    ("a bound of two kinds", INVALID, look(SPINE, as_of={"us": 5, "column": "t"})),
    ("a bound of no kind", INVALID, look(as_of={"exclusive": True})),
    ("a bound that is no time", INVALID, look(as_of="yesterday")),
    ("an exclusive known_at", INVALID, look(SPINE, known_at={"column": "t", "exclusive": True})),
    ("a bound column that is missing", INVALID, look(as_of={"column": "t"})),
    ("a bound column that is no timestamp", INVALID, look(as_of={"column": "origin"})),
    ("a null bound", INVALID, look(SPINE.set_column(1, "t", pa.array([None], TIME)), as_of={"column": "t"})),
    ("a known_at that is still to come", INVALID, look(known_at="2200-01-01T00:00:00Z")),
    ("a known_at on an unsealed table", PRECONDITION,
     exchange({"lookup": {"features": ["flights.delay"], "known_at": {"us": 5}}}, leg())),
    ("an unknown position", INVALID, look(position="somewhere")),
    ("an unknown position to wait for", INVALID, look(at_least="somewhere")),
    ("a wait for nothing", INVALID, look(wait="5s")),
    ("a wait that is no duration", INVALID, look(at_least="somewhere", wait="soon")),
    ("a schema version to come", INVALID, look(schema_version=999)),
    ("a schema version of zero", INVALID, look(schema_version=0)),
    ("a schema version before the table", NOT_FOUND, look(schema_version=1)),
    ("a clock that is no number", INVALID, look(clock="noon")),
    ("messages of no size", INVALID, look(max_message_bytes=0)),
    ("errors elsewhere", INVALID, look(errors="loud")),
    # Requests
    ("a missing key column", INVALID, look(pa.record_batch({"dest": ["EWR"]}))),
    ("a key of another type", INVALID, look(pa.record_batch({"origin": [5]}))),
    ("a null key", INVALID, look(pa.record_batch({"origin": ["EWR", None]}))),
    ("a key that does not fit", INVALID,
     exchange({"lookup": {"features": ["flights.delay"]}}, pa.record_batch({"carrier": ["UA"], "number": [1 << 40]}))),
    ("a column twice", INVALID, look(pa.RecordBatch.from_arrays([KEYS.column(0)] * 2, names=["origin", "origin"]))),
    ("a ticket without entities", INVALID, get({"lookup": LOOKUP})),
    ("entities of two lengths", INVALID,
     get({"lookup": {"features": ["flights.delay"], "entities": {"carrier": ["UA", "DL"], "number": [1]}}})),
    ("entities without a key column", INVALID,
     get({"lookup": {"features": ["flights.delay"], "entities": {"carrier": ["UA"]}}})),
    ("entities of another type", INVALID, get({"lookup": {**LOOKUP, "entities": {"origin": [5]}}})),
    ("an entity that is null", INVALID, get({"lookup": {**LOOKUP, "entities": {"origin": [None]}}})),
    ("entities that are no lists", INVALID, get({"lookup": {**LOOKUP, "entities": {"origin": "EWR"}}})),
    # Scans
    ("a scan of an unknown table", NOT_FOUND, info({"scan": {"table": "wether"}})),
    ("a scan of no table", INVALID, info({"scan": {}})),
    ("a scan of an unknown column", NOT_FOUND, info({"scan": {"table": "weather", "columns": ["tmp"]}})),
    ("a scan row by row", INVALID, info({"scan": {"table": "weather", "as_of": {"column": "t"}}})),
    ("a history with statuses", INVALID, info({"scan": {"table": "weather", "history": True, "status": True}})),
    ("a scan from no time", INVALID, info({"scan": {"table": "weather", "from": "then"}})),
    ("a part of no scan", INVALID, get({"scan": {"table": "weather", "part": {"part": 2, "parts": 2}}})),
    ("the schema of an unknown table", NOT_FOUND,
     lambda client: client.get_schema(flight.FlightDescriptor.for_path("wether"))),
    # Writes
    ("a write to an unknown table", NOT_FOUND, put({"write": {"table": "wether"}})),
    ("a write to an unknown path", NOT_FOUND, path("wether")),
    ("a path of two parts", INVALID, path("weather", "temp")),
    ("a write to no table", INVALID, put({"write": {}})),
    ("a misspelt option of a write", INVALID, write(ROW, null="absent")),
    ("nulls of a third kind", INVALID, write(ROW, nulls="maybe")),
    ("bad rows of a third kind", INVALID, write(ROW, bad_rows="ignore")),
    ("nulls of a delete", INVALID, put({"delete": {"table": "weather", "nulls": "absent"}}, SPINE)),
    ("an unknown column", INVALID, write(row(humidity=pa.array([1.0])))),
    ("a column with a taken name", INVALID, write(row(sequence=pa.array([1])))),
    ("no event time", INVALID, write(row(observed=None))),
    ("no key", INVALID, write(row(origin=None))),
    ("a null event time", INVALID, write(row(observed=pa.array([None], TIME)))),
    ("a key that is null", INVALID, write(row(origin=pa.array([None], pa.utf8())))),
    ("one bad row among good ones", INVALID, write(pa.concat_batches([ROW, row(observed=pa.array([None], TIME))]))),
    ("a feature of another type", INVALID, write(row(temp=pa.array(["warm"])))),
    ("a float for an integer", INVALID, write(row(gusts=pa.array([1.5])))),
    ("an integer that does not fit", INVALID, write(row(gusts=pa.array([1 << 40])))),
    ("an event time that is no time", INVALID, write(row(observed=pa.array([5])))),
    ("an event time between microseconds", INVALID,
     write(row(observed=pa.array([1_700_000_000_000_000_001], pa.timestamp("ns", "UTC"))))),
    ("an event time to come", INVALID, write(row(observed=times(FUTURE)))),
    ("a feature twice", INVALID, write(twice())),
    ("no row id", INVALID, put({"write": {"table": "flights"}}, leg(leg=None))),
    ("a null row id", INVALID, put({"write": {"table": "flights"}}, leg(leg=pa.array([None], pa.int64())))),
    ("a delete with a feature", INVALID, put({"delete": {"table": "weather"}})),
    ("a delete with a row id", INVALID, put({"delete": {"table": "flights"}}, leg(delay=None))),
    ("a retract of an unknown feature", NOT_FOUND,
     put({"retract": {"table": "weather", "features": ["tmp"]}}, row(temp=None))),
    ("a retract of no features", INVALID, put({"retract": {"table": "weather", "features": []}}, row(temp=None))),
    ("a batch over the limit", EXHAUSTED, write(HUGE)),
    # Producers
    ("a producer without a number", INVALID, put(STEP)),
    ("a number without a producer", INVALID, put({"write": {"table": "weather"}}, metadata={"producer_seq": 1})),
    ("a number that goes back", INVALID, put(STEP, metadata={"producer_seq": 1, "previous": 2})),
    ("a number without itself", INVALID, put(STEP, metadata={"previous": 2})),
    ("a misspelt number", INVALID, put(STEP, metadata={"producer_seq": 1, "prev": None})),
    ("a producer out of step", PRECONDITION, put(STEP, metadata={"producer_seq": 9, "previous": 8})),
    # History loads
    ("a history load of a sealed table", PRECONDITION,
     put({"write": {"table": "weather", "ingest_time": "learned"}}, ROW.append_column("learned", times(MOMENT)))),
    ("a history load without ingest times", INVALID, put(HISTORY, leg())),
    ("ingest times that decrease", INVALID, put(HISTORY, loaded(LATER, MOMENT))),
    ("an ingest time to come", INVALID, put(HISTORY, loaded(FUTURE))),
    # Actions
    ("an unknown action", UNIMPLEMENTED, act("create_view", {})),
    ("an action that is no JSON", INVALID, act("list_tables", b"all of them")),
    ("an action on a list", INVALID, act("list_tables", [1])),
    ("a misspelt field of an action", INVALID, act("flush", {"tabel": "weather"})),
    ("an entity that exists", EXISTS, act("create_entity", {"entity": "airport", "key": [{"name": "o", "type": "utf8"}]})),
    ("an entity without a key", INVALID, act("create_entity", {"entity": "x", "key": []})),
    ("an entity with a bad name", INVALID, act("create_entity", {"entity": "X", "key": [{"name": "o", "type": "utf8"}]})),
    ("a key with an unknown type", INVALID, act("create_entity", {"entity": "x", "key": [{"name": "o", "type": "text"}]})),
    ("a key that is a float", INVALID, act("create_entity", {"entity": "x", "key": [{"name": "o", "type": "float64"}]})),
    ("buckets by a later key column", INVALID,
     act("create_entity", {"entity": "x", "key": [{"name": "a", "type": "utf8"}, {"name": "b", "type": "utf8"}],
                           "bucket_by": ["b"]})),
    ("no buckets", INVALID, act("create_entity", {"entity": "x", "key": [{"name": "o", "type": "utf8"}], "buckets": 0})),
    ("a table that exists", EXISTS, act("create_table", {**TABLE, "table": "weather"})),
    ("another table of the same name", EXISTS, act("create_table", {**TABLE, "table": "weather", "if_not_exists": True})),
    ("a table of an unknown entity", NOT_FOUND, act("create_table", {**TABLE, "entity": "city"})),
    ("a table without an event time", INVALID, act("create_table", {"table": "x", "entity": "airport", **FEATURES})),
    ("a table with a bad name", INVALID, act("create_table", {**TABLE, "table": "x__y"})),
    ("a feature with a taken name", INVALID, act("create_table", {**TABLE, "features": [{**TEMP, "name": "kind"}]})),
    ("a feature named like the key", INVALID, act("create_table", {**TABLE, "features": [{**TEMP, "name": "origin"}]})),
    ("a feature declared twice", INVALID, act("create_table", {**TABLE, "features": [TEMP, TEMP]})),
    ("a feature of an unknown type", INVALID, act("create_table", {**TABLE, "features": [{"name": "t", "type": "real"}]})),
    ("a default that does not fit", INVALID, act("create_table", {**TABLE, "features": [{**TEMP, "default": "warm"}]})),
    ("a max age that is no duration", INVALID, act("create_table", {**TABLE, "max_age": "long"})),
    ("a misspelt field of a table", INVALID, act("create_table", {**TABLE, "ttl": "5s"})),
    ("a change of an unknown table", NOT_FOUND, act("alter_table", {"table": "wether", "retire": ["temp"]})),
    ("a rename of an unknown feature", NOT_FOUND, act("alter_table", {"table": "weather", "rename": {"tmp": "t"}})),
    ("a retired unknown feature", NOT_FOUND, act("alter_table", {"table": "weather", "retire": ["tmp"]})),
    ("a feature made narrower", INVALID, act("alter_table", {"table": "weather", "widen": [{"name": "temp", "type": "int8"}]})),
    ("a feature added again", EXISTS, act("alter_table", {"table": "weather", "add": [TEMP]})),
    ("an unknown setting", INVALID, act("alter_table", {"table": "weather", "set": {"colour": "red"}})),
    ("a drop of an unknown table", NOT_FOUND, act("drop_table", {"table": "wether"})),
    ("a drop of an entity in use", PRECONDITION, act("drop_entity", {"entity": "airport"})),
    ("a drop of an unknown entity", NOT_FOUND, act("drop_entity", {"entity": "city"})),
    ("a seal of an unknown table", NOT_FOUND, act("seal_table", {"table": "wether"})),
    ("a description of an unknown table", NOT_FOUND, act("describe_table", {"table": "wether"})),
    ("a flush of an unknown table", NOT_FOUND, act("flush", {"table": "wether"})),
    ("an erase of an unknown entity", NOT_FOUND, act("erase", {"entity": "city", "entities": {"origin": ["EWR"]}})),
    ("an erase of nothing", INVALID, act("erase", {"entity": "airport"})),
    ("an erase by another column", INVALID, act("erase", {"entity": "airport", "entities": {"dest": ["EWR"]}})),
    ("an erase by a later key column", INVALID, act("erase", {"entity": "line", "entities": {"number": [1]}})),
]  # fmt: skip
