"""Every vector of the time rule, asked through every door, by pyarrow alone and by firndb.

Times are seconds since 1970, so that ages are seconds too. Each row is its own acknowledged write; ``S`` is the read
position of an acknowledgement, or a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import firndb
import pyarrow as pa
import pytest
import raw
from server import Server

SECOND = 1_000_000
ABSENT = "absent"
NEVER, NULL = (None, "never"), (None, "null")


def value(cell: str) -> tuple[str, str]:
    return (cell, "value")


def expired(default: Any = None) -> tuple[Any, str]:
    return (default, "expired")


def deleted(default: Any = None) -> tuple[Any, str]:
    return (default, "deleted")


@dataclasses.dataclass(frozen=True)
class Row:
    event: int
    verb: str = "write"
    cells: tuple[tuple[str, Any], ...] = ()
    row_id: str | None = None
    features: tuple[str, ...] = ()
    ingest: int | None = None


def write(event: int, row_id: str | None = None, ingest: int | None = None, **cells: Any) -> Row:
    return Row(event, "write", tuple(cells.items()), row_id, ingest=ingest)


def delete(event: int) -> Row:
    return Row(event, "delete")


def retract(event: int, *features: str, row_id: str | None = None) -> Row:
    return Row(event, "retract", row_id=row_id, features=features)


@dataclasses.dataclass(frozen=True)
class Ask:
    """``T`` in seconds or open; ``S`` the number of an acknowledgement, or ``known`` a time in seconds."""

    answer: dict[str, tuple[Any, str]]
    T: int | None = None
    S: int | None = None
    known: int | None = None
    exclusive: bool = False


def ask(answer: Any, T: int | None = None, **bounds: Any) -> Ask:
    return Ask(answer if isinstance(answer, dict) else {"x": answer}, T, **bounds)


# name, options of the table, rows in the order of their sequences, questions
VECTORS: list[tuple[str, dict[str, Any], list[Row], list[Ask]]] = [
    ("an older row than the bound", {}, [write(10, x="a"), write(20, x="b")], [ask(value("a"), 15)]),
    ("a late row", {}, [write(10, x="a"), write(20, x="b"), write(12, x="c")],
     [ask(value("c"), 15), ask(value("a"), 15, S=2), ask(value("b"))]),
    ("a correction", {}, [write(10, x="a"), write(10, x="b")],
     [ask(value("b"), 10), ask(value("a"), 10, S=1), ask(NEVER, 10, exclusive=True)]),
    ("an explicit null", {}, [write(10, x="a"), write(20, x=None)], [ask(NULL, 30)]),
    ("an absent cell", {}, [write(10, x="a"), write(20)], [ask(value("a"), 30)]),
    ("a delete under an absent cell", {}, [write(10, x="a"), delete(20), write(30)], [ask(deleted(), 40)]),
    ("a row at the time of a delete", {}, [write(10, y="z"), delete(20), write(20, x="a")],
     [ask({"x": value("a"), "y": deleted()}, 20)]),
    ("a retract", {}, [write(10, x="a"), write(20, x="b"), retract(20)],
     [ask(value("a"), 25), ask(value("b"), 25, S=2)]),
    ("a retracted delete", {}, [write(10, x="a"), delete(20), retract(20)], [ask(value("a"), 25)]),
    ("a write after a retract", {}, [write(20, x="a"), retract(20), write(20, x="b")], [ask(value("b"), 25)]),
    ("max age", {"max_age": "5s"}, [write(10, x="a")], [ask(value("a"), 15), ask(expired(), 16)]),
    ("a null of max age", {"max_age": "5s", "default": "0"}, [write(10, x=None)],
     [ask(NULL, 15), ask(expired("0"), 16)]),
    ("expired below a later row", {"max_age": "5s"}, [write(10, x="a"), write(20, x="b")], [ask(expired(), 18)]),
    ("age from the knowledge bound", {"max_age": "5s"}, [write(10, x="a", ingest=10)],
     [ask(value("a"), known=12), ask(expired(), known=16)]),
    ("row ids decide, not arrival", {"row_id": True}, [write(10, "r2", x="b"), write(10, "r1", x="a")],
     [ask(value("b"), 10)]),
    ("a delete among row ids", {"row_id": True},
     [write(10, "r1", x="a"), write(10, "r2", x="b"), delete(10), write(10, "r1", x="c")],
     [ask(value("c"), 10), ask(deleted(), 10, S=3)]),
    ("a delete taken back among row ids", {"row_id": True}, [write(10, "r1", x="a"), delete(10), retract(10)],
     [ask(value("a"), 10)]),
    ("a retracted cell", {}, [write(10, x="a", y="b"), retract(10, "x"), write(10, x="c")],
     [ask({"x": value("c"), "y": value("b")}, 10), ask({"x": NEVER, "y": value("b")}, 10, S=2)]),
    ("a retract of cells spares a delete", {}, [write(10, x="a"), delete(20), retract(20, "x")], [ask(deleted(), 25)]),
    ("a partial correction", {}, [write(10, x="a", y="b"), write(10, x="c")],
     [ask({"x": value("c"), "y": value("b")}, 10)]),
]  # fmt: skip


def batch_of(row: Row, rowed: bool) -> pa.RecordBatch:
    """One row as a batch, with only the columns that it has."""
    columns: dict[str, pa.Array] = {"k": pa.array([1], pa.int64()), "at": pa.array([row.event * SECOND], TIME)}
    if rowed and row.verb != "delete":
        columns["r"] = pa.array([row.row_id], pa.utf8())
    for feature, cell in row.cells:
        columns[feature] = pa.array([cell], pa.utf8())
    if row.ingest is not None:
        columns["learned"] = pa.array([row.ingest * SECOND], TIME)
    return pa.RecordBatch.from_pydict(columns)


TIME = pa.timestamp("us", "UTC")


class Raw:
    """pyarrow.flight alone."""

    def __init__(self, url: str) -> None:
        self.client = raw.connect(url)

    def create(self, table: str, options: dict[str, Any]) -> None:
        raw.action(self.client, "create_entity", {"entity": table, "key": [{"name": "k", "type": "int64"}]})
        features = [{"name": each, "type": "utf8"} for each in ("x", "y")]
        if "default" in options:
            features[0]["default"] = options["default"]
        declaration = {"table": table, "entity": table, "event_time": "at", "features": features}
        if "max_age" in options:
            declaration["max_age"] = options["max_age"]
        if "row_id" in options:
            declaration["row_id"] = [{"name": "r", "type": "utf8"}]
        raw.action(self.client, "create_table", declaration)

    def put(self, table: str, row: Row, rowed: bool) -> str:
        body: dict[str, Any] = {"table": table}
        if row.features:
            body["features"] = list(row.features)
        if row.ingest is not None:
            body["ingest_time"] = "learned"
        (acknowledgement,) = raw.put(self.client, {row.verb: body}, [batch_of(row, rowed)])
        assert (acknowledgement["batches"], acknowledgement["rows"]) == (1, 1)
        return acknowledgement["read_position"]

    def seal(self, table: str) -> None:
        raw.action(self.client, "seal_table", {"table": table})

    def answers(self, table: str, features: list[str], asked: Ask, position: str | None) -> Iterator[pa.Table]:
        body: dict[str, Any] = {"features": [f"{table}.{each}" for each in features], "status": True}
        if position is not None:
            body["position"] = position
        if asked.known is not None:
            body["known_at"] = {"us": asked.known * SECOND}
        keys = pa.RecordBatch.from_pydict({"k": pa.array([1], pa.int64())})
        moment = [None if asked.T is None else asked.T * SECOND]
        spine = keys.append_column("t", pa.array(moment, TIME))
        if asked.T is None:
            yield raw.table(raw.exchange(self.client, {"lookup": body}, [keys]))
            yield raw.table(raw.get(self.client, {"lookup": {**body, "entities": {"k": [1]}}}))
            yield raw.table(raw.exchange(self.client, {"join": {**body, "as_of": "latest"}}, [spine]))
        else:
            constant = {"time": {"us": asked.T * SECOND}, "exclusive": asked.exclusive}
            column = {"column": "t", "exclusive": asked.exclusive}
            for as_of in (constant, column):
                yield raw.table(raw.exchange(self.client, {"lookup": {**body, "as_of": as_of}}, [spine]))
                yield raw.table(raw.exchange(self.client, {"join": {**body, "as_of": as_of}}, [spine]))
            yield raw.table(raw.get(self.client, {"lookup": {**body, "as_of": constant, "entities": {"k": [1]}}}))

    def close(self) -> None:
        self.client.close()


class Package:
    """The package firndb."""

    def __init__(self, url: str) -> None:
        self.client = firndb.connect(url)

    def create(self, table: str, options: dict[str, Any]) -> None:
        self.client.create_entity(table, {"k": pa.int64()})
        features = [firndb.Feature("x", pa.utf8(), default=options.get("default")), firndb.Feature("y", "utf8")]
        row_id = {"r": pa.utf8()} if "row_id" in options else None
        self.client.create_table(
            table, entity=table, event_time="at", features=features, max_age=options.get("max_age"), row_id=row_id
        )

    def put(self, table: str, row: Row, rowed: bool) -> str:
        options: dict[str, Any] = {}
        if row.features:
            options["features"] = row.features
        if row.ingest is not None:
            options["ingest_time"] = "learned"
        written = getattr(self.client, row.verb)(table, batch_of(row, rowed), **options)
        assert (written.batches, written.rows) == (1, 1)
        return written.read_position

    def seal(self, table: str) -> None:
        self.client.seal_table(table)

    def answers(self, table: str, features: list[str], asked: Ask, position: str | None) -> Iterator[pa.Table]:
        named = [f"{table}.{each}" for each in features]
        options: dict[str, Any] = {"status": True, "position": position, "to": "arrow"}
        if asked.known is not None:
            options["known_at"] = asked.known * SECOND
        session_options = {name: given for name, given in options.items() if name != "to"}
        spine: dict[str, Any] = {"k": [1]}
        bounds: list[Any] = ["latest"]
        if asked.T is not None:
            spine["t"] = pa.array([asked.T * SECOND], TIME)
            bounds = [asked.T * SECOND, "t"]
        for bound in bounds:
            as_of = firndb.before(bound) if asked.exclusive else bound
            yield self.client.lookup(named, spine, as_of=as_of, **options)
            yield self.client.join(spine, named, as_of=as_of, **options)
            with self.client.lookups(named, as_of=as_of, **session_options) as lookups:
                yield lookups.get(spine, to="arrow")

    def close(self) -> None:
        self.client.close()


@pytest.mark.parametrize("driver", [Raw, Package])
@pytest.mark.parametrize(("title", "options", "rows", "questions"), VECTORS, ids=[vector[0] for vector in VECTORS])
def test_vector(server: Server, name: str, driver: Any, title: str, options: Any, rows: Any, questions: Any) -> None:
    doors = driver(server.url)
    doors.create(name, options)
    positions = [doors.put(name, row, "row_id" in options) for row in rows]
    if any(row.ingest is not None for row in rows):
        doors.seal(name)
    for asked in questions:
        position = None if asked.S is None else positions[asked.S - 1]
        features = list(asked.answer)
        for answer in doors.answers(name, features, asked, position):
            (found,) = answer.select([column for each in features for column in (each, f"{each}__status")]).to_pylist()
            expected = {}
            for feature, (cell, status) in asked.answer.items():
                expected |= {feature: cell, f"{feature}__status": status}
            assert found == expected, asked
    doors.close()


def test_the_table_of_vectors_is_complete() -> None:
    """As many vectors as the design has lines."""
    assert len(VECTORS) == 20
    assert sum(len(questions) for _, _, _, questions in VECTORS) == 30


