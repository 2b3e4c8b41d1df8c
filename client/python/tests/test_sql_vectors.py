"""The vectors of SQL over two times: small tables, what is asked of them, and what must be answered.

Each is asked twice, with its values as literals and as parameters, over rows in memory and in segments. What needs no
parameter and no session is in `flight-sql/tests/sql` too, where statements stand as they are written; here is what only a
client brings: values of every unit, sessions, headers.

A time `e(n)` is n seconds after 1970; `w.t(n)` is when the n-th write was learned.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import flight_sql
import pyarrow as pa
import pyarrow.flight as flight
import pytest
import raw
from adbc_driver_manager import Error as AdbcError
from flight_sql import answer, connect, refusal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECONDS = pa.timestamp("us", "UTC")
_names = itertools.count()


def e(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def literal(value: Any) -> str:
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return "NULL" if value is None else str(value)


class World:
    """A table of one database, and the way in which it is asked."""

    def __init__(self, server: Any, connection: Any, flushed: bool, bound: bool) -> None:
        self.server, self.connection, self.flushed, self.bound = server, connection, flushed, bound
        self.cursor = connection.cursor()
        self.name = f"v{next(_names)}"
        self.known: list[datetime] = []

    def declare(self, columns: str = "x VARCHAR, y VARCHAR", key: str = "k BIGINT PRIMARY KEY", options: str = "") -> None:
        self.cursor.execute(f"CREATE TABLE {self.name} ({key}, at TIMESTAMP NOT NULL, {columns}) {options}")
        self.cursor.execute(f"CALL seal_table('{self.name}')")

    def written(self, text: str, values: tuple[Any, ...]) -> tuple[str, Any]:
        """The statement, and its parameters; `{w}` is the table, and each `{}` a value."""
        said = ["?" if self.bound else literal(value) for value in values]
        return text.format(*said, w=self.name), values if self.bound and values else None

    def ask(self, text: str, *values: Any) -> list[Any]:
        """The rows that are answered, sorted; of one column its values."""
        rows = answer(self.cursor, *self.written(text, values))
        return sorted((row[0] if len(row) == 1 else row for row in rows), key=repr)

    def refuse(self, text: str, *values: Any) -> tuple[str, str]:
        return refusal(self.connection, *self.written(text, values))

    def write(self, text: str, *values: Any) -> int:
        """Runs a statement that writes; how many rows."""
        self.cursor.execute(*self.written(text, values))
        count = self.cursor.rowcount
        self.settle()
        latest = answer(self.cursor, f"SELECT max(ingest_time) FROM history('{self.name}')")[0][0]
        if latest is not None:
            self.known.append(latest)
        return count

    def settle(self) -> None:
        if self.flushed:
            self.cursor.execute(f"CALL flush('{self.name}')")

    def rows(self, *rows: tuple[Any, ...]) -> World:
        """Writes rows of entity 1, each by itself: an event time and what is written at it."""
        for at, cells in rows:
            cells = {"x": cells} if isinstance(cells, str) else cells
            names, marks = ", ".join(["k", "at", *cells]), ", ".join(["{}"] * (len(cells) + 2))
            assert self.write(f"INSERT INTO {{w}} ({names}) VALUES ({marks})", 1, e(at), *cells.values()) == 1
        return self

    def t(self, number: int) -> datetime:
        return self.known[number - 1]

    def other(self, **options: Any) -> Any:
        """A connection of its own."""
        return connect(self.server, **options)


@pytest.fixture(scope="module")
def connection(server: Any) -> Iterator[Any]:
    with connect(server) as opened:
        yield opened


@pytest.fixture(params=["literals", "parameters"])
def bound(request: Any) -> bool:
    return bool(request.param == "parameters")


@pytest.fixture(params=["memory", "flushed"])
def flushed(request: Any) -> bool:
    return bool(request.param == "flushed")


@pytest.fixture
def world(server: Any, connection: Any, flushed: bool, bound: bool) -> Iterator[World]:
    opened = World(server, connection, flushed, bound)
    yield opened
    opened.cursor.close()


@pytest.fixture
def w(world: World) -> World:
    world.declare()
    return world


@pytest.fixture
def b(server: Any, connection: Any) -> Iterator[World]:
    """A table that is asked with parameters alone."""
    opened = World(server, connection, False, True)
    opened.declare()
    yield opened
    opened.cursor.close()


A_THEN_B = [(10, "a"), (20, "b")]
LATE = [*A_THEN_B, (12, "c")]


def test_1_latest(w: World) -> None:
    w.rows(*A_THEN_B)
    assert w.ask("SELECT x FROM {w}") == ["b"]


def test_2_clauses_in_both_orders(w: World) -> None:
    w.rows(*A_THEN_B)
    assert w.ask("SELECT x FROM {w} FOR VALID_TIME AS OF {}", e(15)) == ["a"]
    assert w.ask("SELECT x FROM {w} FOR SYSTEM_TIME AS OF {}", w.t(1)) == ["a"]
    assert w.ask("SELECT x FROM {w} FOR SYSTEM_TIME AS OF {} FOR VALID_TIME AS OF {} v", w.t(1), e(25)) == ["a"]
    assert w.ask("SELECT x FROM {w} FOR VALID_TIME AS OF {} FOR SYSTEM_TIME AS OF {} AS v", e(25), w.t(1)) == ["a"]


def test_3_the_function(w: World) -> None:
    w.rows(*LATE)
    assert w.ask("SELECT x FROM as_of('{w}', {})", e(15)) == ["c"]
    assert w.ask("SELECT x FROM as_of('{w}', {}, {})", e(15), w.t(2)) == ["a"]
    assert w.ask("SELECT x FROM as_of('{w}', NULL, {})", w.t(2)) == ["b"]
    assert w.ask("SELECT x FROM as_of('{w}', known_at => {}, at => {})", w.t(2), e(15)) == ["a"]


def test_4_inclusive_unless_it_is_said(w: World) -> None:
    w.rows((10, "a"))
    assert w.ask("SELECT x FROM as_of('{w}', {})", e(10)) == ["a"]
    assert w.ask("SELECT x FROM as_of('{w}', {}, exclusive => true)", e(10)) == []
    assert w.ask("SELECT x FROM as_of('{w}', {}, exclusive => false)", e(10)) == ["a"]
    assert w.ask("SELECT x FROM as_of('{w}', {})", e(9)) == []


def test_5_every_row_and_what_changed(w: World) -> None:
    w.rows(*LATE)
    assert w.ask("SELECT count(*) FROM history('{w}')") == [3]
    assert w.ask("SELECT count(*) FROM changes('{w}', {}, {})", w.t(1), w.t(3)) == [2]
    assert w.ask("SELECT count(*) FROM changes('{w}', {}, {})", w.t(3), w.t(3)) == [0]
    code, message = w.refuse("SELECT * FROM changes('{w}', {}, {})", w.t(3), w.t(1))
    assert (code, "changes(" in message) == ("INVALID_ARGUMENT", True), message


def test_6_a_range_of_event_time(w: World) -> None:
    w.rows(*LATE)
    assert w.ask("SELECT x FROM history('{w}', {}, {})", e(10), e(20)) == ["a", "c"]
    assert w.ask("SELECT x FROM history('{w}', {})", e(11)) == ["b", "c"]
    assert w.ask("SELECT at FROM {w}") == [e(20)]


def test_7_a_filter_is_no_bound(w: World) -> None:
    w.rows(*LATE)
    assert w.ask("SELECT x FROM {w} WHERE at <= {}", e(15)) == []
    assert w.ask("SELECT x FROM {w} WHERE at <= {} AND k = {}", e(25), 1) == ["b"]


def test_8_an_entity_that_ended(w: World) -> None:
    w.rows((10, "a"))
    assert w.write("DELETE FROM {w} WHERE k = {} AND at = {}", 1, e(20)) == 1
    assert w.ask("SELECT count(*) FROM {w}") == [0]
    assert w.ask("SELECT count(*) FROM as_of('{w}', {})", e(15)) == [1]
    assert w.ask("SELECT count(*) FROM {w} FOR SYSTEM_TIME AS OF {}", w.t(1)) == [1]


def test_9_ages(world: World) -> None:
    world.declare("x VARCHAR DEFAULT 'z', y VARCHAR", options="WITH (max_age = '5s')")
    world.rows((10, "a"))
    assert world.ask("SELECT x FROM as_of('{w}', {})", e(15)) == ["a"]
    assert world.ask("SELECT x, y, at FROM as_of('{w}', {})", e(16)) == [("z", None, e(10))]
    told = "SELECT x__status, x__event_time, y__status FROM as_of('{w}', {}, status => true, event_times => true)"
    assert world.ask(told, e(15)) == [("value", e(10), "never")]
    assert world.ask(told, e(16)) == [("expired", e(10), "never")]


def test_10_each_feature_by_itself(w: World) -> None:
    w.rows((10, {"x": "a", "y": "b"}), (20, {"x": "c"}))
    assert w.ask("SELECT x, y FROM {w}") == [("c", "b")]


def test_11_what_is_not_named_is_absent(w: World) -> None:
    w.rows((10, {"x": "a", "y": "b"}), (20, {"x": "c"}))
    w.write("INSERT INTO {w} (k, at, x) VALUES ({}, {}, {})", 1, e(20), "d")
    assert w.ask("SELECT x, y FROM {w}") == [("d", "b")]
    assert w.ask("SELECT count(*) FROM history('{w}')") == [3]


def test_12_null_is_a_value_and_default_is_not(w: World) -> None:
    w.rows((10, {"x": "a", "y": "b"}), (20, {"x": "c"}))
    w.write("INSERT INTO {w} (k, at, x, y) VALUES ({}, {}, {}, DEFAULT)", 1, e(20), "d")
    assert w.ask("SELECT x, y FROM {w}") == [("d", "b")]
    w.write("INSERT INTO {w} (k, at, x, y) VALUES ({}, {}, {}, {})", 1, e(20), "d", None)
    assert w.ask("SELECT x, y FROM {w}") == [("d", None)]


def test_13_the_clock_of_a_write(w: World) -> None:
    w.rows((10, "a"))
    before = datetime.now(UTC)
    w.write("INSERT INTO {w} (k, x) VALUES ({}, {})", 1, "b")
    ((at, x),) = w.ask("SELECT at, x FROM {w}")
    assert (before - timedelta(seconds=1) < at < datetime.now(UTC) + timedelta(seconds=1), x) == (True, "b")
    code, message = w.refuse("INSERT INTO {w} (k, x) SELECT k, x FROM {w} WHERE k = {}", 1)
    assert (code, "`at`" in message) == ("INVALID_ARGUMENT", True), message
    assert w.ask("SELECT count(*) FROM history('{w}')") == [2]


def test_14_delete_from_now_on(w: World) -> None:
    w.rows(*A_THEN_B)
    assert w.write("DELETE FROM {w} WHERE k = {}", 1) == 1
    assert w.ask("SELECT x FROM {w}") == []
    assert w.ask("SELECT x FROM as_of('{w}', {})", e(50)) == ["b"]


def test_15_delete_from_a_time_on(w: World) -> None:
    w.rows(*A_THEN_B)
    w.write("DELETE FROM {w} WHERE k = {} AND at = {}", 1, e(15))
    assert w.ask("SELECT x FROM {w}") == ["b"]
    assert w.ask("SELECT x FROM as_of('{w}', {})", e(17)) == []
    assert w.ask("SELECT x FROM as_of('{w}', {})", e(12)) == ["a"]


def test_16_a_row_is_taken_back(w: World) -> None:
    w.rows(*A_THEN_B)
    w.write("DELETE FROM history('{w}') WHERE k = {} AND at = {}", 1, e(20))
    assert w.ask("SELECT x FROM {w}") == ["a"]
    assert w.ask("SELECT x FROM {w} FOR SYSTEM_TIME AS OF {}", w.t(2)) == ["b"]


@pytest.mark.parametrize(
    ("filter_", "values"),
    [("x = {}", ["a"]), ("k = {} AND x = {}", [1, "a"]), ("k > {}", [0]), ("k = {} OR k = {}", [1, 2]), ("{}", [False]),
     ("k = {} LIMIT 1", [1]), ("k IN (SELECT {})", [1]), ("k = {}", [None]), ("k = {}", [1.5]), ("k = {}", ["one"])],
)  # fmt: skip
def test_17_a_delete_names_entities(w: World, filter_: str, values: list[Any]) -> None:
    w.rows(*A_THEN_B)
    assert w.refuse(f"DELETE FROM {{w}} WHERE {filter_}", *values)[0] in ("INVALID_ARGUMENT", "UNIMPLEMENTED")
    assert w.ask("SELECT kind, x FROM history('{w}')") == [("write", "a"), ("write", "b")]


SPINE = "(VALUES (1, CAST({} AS TIMESTAMP), 1), (2, CAST({} AS TIMESTAMP), 1), (3, CAST({} AS TIMESTAMP), 1), " \
    "(4, CAST({} AS TIMESTAMP), 1)) AS s (n, ts, k)"  # fmt: skip
MOMENTS = (e(9), e(10), e(15), e(25))


def test_18_an_as_of_join_keeps_the_left(w: World) -> None:
    w.rows(*A_THEN_B)
    join = f"SELECT n, x FROM {SPINE} ASOF JOIN {{w}} w MATCH_CONDITION (s.ts %s w.at) ON s.k = w.k"
    assert w.ask(join % ">=", *MOMENTS) == [(1, None), (2, "a"), (3, "a"), (4, "b")]
    assert w.ask(join % ">", *MOMENTS) == [(1, None), (2, None), (3, "a"), (4, "b")]
    using = join.replace("ON s.k = w.k", "USING (k)") % ">="
    assert w.ask(using + " WHERE k = {} AND n < {}", *MOMENTS, 1, 3) == [(1, None), (2, "a")]


def test_18_a_bound_on_the_right(w: World) -> None:
    w.rows(*LATE)
    join = f"SELECT n, x FROM {SPINE} ASOF JOIN {{w}} FOR SYSTEM_TIME AS OF {{}} w MATCH_CONDITION (s.ts >= w.at) ON s.k = w.k"
    assert w.ask(join, *MOMENTS, w.t(2)) == [(1, None), (2, "a"), (3, "a"), (4, "b")]
    assert w.ask(join, *MOMENTS, w.t(3)) == [(1, None), (2, "a"), (3, "c"), (4, "b")]


def test_19_what_matches_nothing_stays(world: World) -> None:
    world.declare("x VARCHAR, y VARCHAR DEFAULT 'z'")
    world.rows((10, {"x": "a", "y": "p"}))
    spine = "(VALUES (1, CAST({} AS BIGINT), CAST({} AS TIMESTAMP)), (2, {}, {}), (3, {}, {}), (4, {}, {})) AS s (n, k, ts)"
    join = f"SELECT n, w.x, w.y, w.at FROM {spine} ASOF JOIN {{w}} w MATCH_CONDITION (s.ts >= w.at) ON s.k = w.k"
    values = (7, e(25), None, e(25), 1, None, 1, e(25))
    expected = [(1, None, "z", None), (2, None, "z", None), (3, None, "z", None), (4, "a", "p", e(10))]
    assert world.ask(join, *values) == expected
    assert world.ask(join.replace("SELECT n, w.x, w.y, w.at", "SELECT n, w.k"), *values) == [
        (1, None), (2, None), (3, None), (4, 1)
    ]  # fmt: skip


def test_20_an_inner_as_of_join(w: World) -> None:
    w.rows(*A_THEN_B)
    join = f"SELECT n, x FROM {SPINE} ASOF JOIN {{w}} w ON s.k = w.k AND s.ts >= w.at"
    assert w.ask(join, *MOMENTS) == [(2, "a"), (3, "a"), (4, "b")]
    assert "inner" in str(w.ask(f"EXPLAIN {join}", *MOMENTS)).lower()


def test_21_a_filter_comes_after_the_match(w: World) -> None:
    w.rows(*A_THEN_B)
    join = f"SELECT n, x FROM {SPINE} ASOF JOIN {{w}} w MATCH_CONDITION (s.ts >= w.at) ON s.k = w.k WHERE w.x <> {{}}"
    assert w.ask(join, *MOMENTS, "b") == [(2, "a"), (3, "a")]


def test_22_as_if_known_then(world: World) -> None:
    """What is learned later is not in a row of the past."""
    world.cursor.execute(f"CREATE TABLE {world.name} (k BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, x VARCHAR)")
    loaded = pa.record_batch({
        "k": [1, 1, 1], "x": ["a", "b", "c"],
        "at": pa.array([e(10), e(20), e(12)], MICROSECONDS), "learned": pa.array([e(11), e(21), e(30)], MICROSECONDS),
    })  # fmt: skip
    with raw.connect(world.server.url) as client:
        raw.put(client, {"write": {"table": world.name, "ingest_time": "learned"}}, [loaded])
    world.settle()
    world.cursor.execute(f"CALL seal_table('{world.name}')")
    spine = SPINE.replace("(4,", "(4, CAST({} AS TIMESTAMP), 1), (5,")
    moments = (e(10), e(15), e(20), e(25), e(40))
    join = f"SELECT n, x FROM {spine} ASOF JOIN {{w}} w MATCH_CONDITION (s.ts >= w.at) ON s.k = w.k"
    assert world.ask(join, *moments) == [(1, "a"), (2, "c"), (3, "b"), (4, "b"), (5, "b")]
    strict = join + " AND s.ts >= w.ingest_time"
    assert world.ask(strict, *moments) == [(1, None), (2, "a"), (3, "a"), (4, "b"), (5, "b")]
    inner = f"SELECT n, x FROM {spine} ASOF JOIN {{w}} w ON s.k = w.k AND s.ts >= w.at AND s.ts >= w.ingest_time"
    assert world.ask(inner, *moments) == [(2, "a"), (3, "a"), (4, "b"), (5, "b")]


def test_23_each_feature_has_its_own_newest(w: World) -> None:
    w.rows((10, {"x": "a", "y": "b"}), (20, {"x": "c"}))
    join = f"SELECT n, x, y FROM {SPINE} ASOF JOIN {{w}} w MATCH_CONDITION (s.ts >= w.at) ON s.k = w.k WHERE n = {{}}"
    assert w.ask(join, *MOMENTS, 4) == [(4, "c", "b")]


def test_24_an_entity_that_ended_has_no_features(w: World) -> None:
    w.rows((10, "a"))
    w.write("DELETE FROM {w} WHERE k = {} AND at = {}", 1, e(20))
    join = f"SELECT n, x FROM {SPINE} ASOF JOIN {{w}} w MATCH_CONDITION (s.ts >= w.at) ON s.k = w.k WHERE n > {{}}"
    assert w.ask(join, *MOMENTS, 2) == [(3, "a"), (4, None)]
    assert w.ask(f"SELECT n, x FROM {SPINE} LEFT JOIN {{w}} w ON s.k = w.k", *MOMENTS) == [(n, None) for n in range(1, 5)]


def test_25_all_key_columns_are_compared(world: World) -> None:
    world.declare("x VARCHAR, PRIMARY KEY (k, m)", key="k BIGINT, m VARCHAR")
    world.write("INSERT INTO {w} (k, m, at, x) VALUES ({}, {}, {}, {})", 1, "m", e(10), "a")
    join = f"SELECT n, x FROM {SPINE} ASOF JOIN {{w}} w MATCH_CONDITION (s.ts >= w.at) ON s.k = w.k"
    code, message = world.refuse(join, *MOMENTS)
    assert (code, "w.m" in message) == ("INVALID_ARGUMENT", True), message
    assert world.ask(join + " AND w.m = {}", *MOMENTS, "m") == [(1, None), (2, "a"), (3, "a"), (4, "a")]


def test_26_one_moment_for_all_tables(w: World) -> None:
    other = World(w.server, w.connection, w.flushed, w.bound)
    other.declare(options=f"WITH (entity = '{w.name}')")
    other.rows((10, "p"))
    w.rows((10, "a"))
    then = w.t(1)
    other.rows((20, "q"))
    w.rows((20, "b"))
    join = f"SELECT w.x, o.x FROM {w.name} w JOIN {other.name} o ON w.k = o.k"
    with w.other(session=True) as connection, connection.cursor() as cursor:
        assert answer(cursor, join) == [("b", "q")]
        answer(cursor, *w.written("SET firn.known_at = {}", (then,)))
        assert answer(cursor, join) == [("a", "p")]
        assert answer(cursor, "SHOW firn.known_at") == [(then.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),)]
        with connection.cursor() as second:
            assert answer(second, join) == [("a", "p")]
        answer(cursor, "RESET firn.known_at")
        assert answer(cursor, join) == [("b", "q")]
        assert answer(cursor, "SHOW firn.known_at") == [(None,)]


def test_27_a_session_stands_in_the_past(w: World) -> None:
    w.rows(*LATE)
    with w.other(session=True) as connection, connection.cursor() as cursor:
        answer(cursor, *w.written("SET firn.as_of = {}", (e(15),)))
        assert answer(cursor, f"SELECT x FROM {w.name}") == [("c",)]
        assert answer(cursor, *w.written(f"SELECT x FROM as_of('{w.name}', {{}})", (e(50),))) == [("c",)]
        assert answer(cursor, *w.written(f"SELECT x FROM as_of('{w.name}', {{}})", (e(11),))) == [("a",)]
        for change in (f"INSERT INTO {w.name} (k, at) VALUES (2, '1970-01-01')", f"DELETE FROM {w.name} WHERE k = 1",
                       f"ALTER TABLE {w.name} ADD COLUMN z BIGINT", f"DROP TABLE {w.name}"):  # fmt: skip
            code, message = refusal(connection, change)
            assert (code, "firn.as_of" in message) == ("FAILED_PRECONDITION", True), (change, message)
        answer(cursor, "RESET ALL")
        assert answer(cursor, f"SELECT x FROM {w.name}") == [("b",)]
    assert w.ask("SELECT count(*) FROM history('{w}')") == [3]


def test_27_headers_are_the_end_of_the_world_too(w: World) -> None:
    w.rows(*LATE)
    for headers, expected in [
        ({"as_of": e(15).isoformat()}, "c"),
        ({"known_at": w.t(1).isoformat()}, "a"),
        ({"as_of": e(15).isoformat(), "known_at": w.t(2).isoformat()}, "a"),
    ]:
        with w.other(**headers) as connection, connection.cursor() as cursor:
            assert answer(cursor, f"SELECT x FROM {w.name}") == [(expected,)], headers
            assert answer(cursor, *w.written(f"SELECT x FROM as_of('{w.name}', {{}})", (e(50),))) == [(expected,)], headers
            assert answer(cursor, f"SELECT count(*) FROM history('{w.name}')")[0][0] < 4


def test_27_a_header_and_a_session_together(w: World) -> None:
    """Of two bounds the earlier counts."""
    w.rows(*LATE)
    with w.other(session=True, as_of=e(15).isoformat()) as connection, connection.cursor() as cursor:
        answer(cursor, *w.written("SET firn.as_of = {}", (e(50),)))
        assert answer(cursor, f"SELECT x FROM {w.name}") == [("c",)]
        answer(cursor, *w.written("SET firn.as_of = {}", (e(11),)))
        assert answer(cursor, f"SELECT x FROM {w.name}") == [("a",)]


def test_27_a_position_and_a_clock(world: World) -> None:
    world.declare("x VARCHAR DEFAULT 'z', y VARCHAR", options="WITH (max_age = '5s')")
    with raw.connect(world.server.url) as client:
        row = pa.record_batch({"k": [1], "at": pa.array([e(10)], MICROSECONDS), "x": ["a"]})
        position = raw.put(client, {"write": {"table": world.name}}, [row])[-1]["read_position"]
    world.rows((20, "b"))
    with world.other(session=True) as connection, connection.cursor() as cursor:
        answer(cursor, *world.written("SET firn.position = {}", (position,)))
        answer(cursor, *world.written("SET firn.clock = {}", (e(15),)))
        assert answer(cursor, f"SELECT x FROM {world.name}") == [("a",)]
        answer(cursor, *world.written("SET firn.clock = {}", (e(16),)))
        assert answer(cursor, f"SELECT x FROM {world.name}") == [("z",)]
        assert answer(cursor, "SHOW firn.position") == [(position,)]
        assert refusal(connection, f"INSERT INTO {world.name} (k) VALUES (2)")[0] == "FAILED_PRECONDITION"


def test_27_a_version_of_the_schema(w: World) -> None:
    w.rows((10, "a"))
    with raw.connect(w.server.url) as client:
        version = raw.action(client, "describe_table", {"table": w.name})["schema_version"]
    w.cursor.execute(f"ALTER TABLE {w.name} RENAME COLUMN x TO z")
    with w.other(session=True) as connection, connection.cursor() as cursor:
        assert answer(cursor, f"SELECT z FROM {w.name}") == [("a",)]
        answer(cursor, *w.written("SET firn.schema_version = {}", (version,)))
        assert answer(cursor, f"SELECT x FROM {w.name}") == [("a",)]
        assert refusal(connection, f"SELECT z FROM {w.name}")[0] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("setting", ["as_of", "known_at", "clock"])
def test_28_nobody_would_remember_it(w: World, setting: str) -> None:
    for change in (f"SET firn.{setting} = {{}}", f"SET firn.{setting} TO {{}}"):
        code, message = w.refuse(change, e(15))
        assert code == "FAILED_PRECONDITION", message
        assert flight_sql.COOKIES in message and "firn.as_of" in message, message
    assert answer(w.cursor, "SHOW firn.as_of") == [(None,)]


def test_28_options_of_a_session(w: World) -> None:
    """What ADBC calls options of a session are the same settings."""
    w.rows(*LATE)
    with w.other(session=True) as connection, connection.cursor() as cursor:
        prefix = "adbc.flight.sql.session.option."
        connection.adbc_connection.set_options(**{f"{prefix}firn.as_of": e(15).isoformat()})
        assert answer(cursor, f"SELECT x FROM {w.name}") == [("c",)]
        assert connection.adbc_connection.get_option(f"{prefix}firn.as_of") == "1970-01-01T00:00:15.000000Z"
        answer(cursor, "SET firn.as_of = NULL")
        assert answer(cursor, f"SELECT x FROM {w.name}") == [("b",)]


class Cookies(flight.ClientMiddlewareFactory):  # type: ignore[misc]
    """Reads what cookie each answer brings, and sends none by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""

    def start_call(self, info: Any) -> flight.ClientMiddleware:
        factory = self

        class Middleware(flight.ClientMiddleware):  # type: ignore[misc]
            def received_headers(self, headers: dict[str, list[str]]) -> None:
                factory.last = headers.get("set-cookie", [factory.last])[0]

        return Middleware()


def test_28_a_client_that_lost_the_cookie_of_an_action(w: World) -> None:
    """Found by CI: the driver in Go loses one now and then, and its next query read the present."""
    w.rows(*LATE)
    cookies = Cookies()
    with flight.FlightClient(w.server.url, middleware=[cookies]) as client:
        ask = flight_sql.query(f"SELECT x FROM {w.name}")
        flight_sql.run(client, ask)
        options = flight.FlightCallOptions(headers=[(b"cookie", cookies.last.encode())])
        value = flight_sql.field(1, flight_sql.field(1, "firn.as_of") + flight_sql.field(2, flight_sql.field(1, e(15).isoformat())))
        list(client.do_action(flight.Action("SetSessionOptions", value), options))
        told = cookies.last
        for _ in range(2):
            answered = flight_sql.run(client, ask, options)
            assert answered is not None and answered["x"].to_pylist() == ["c"]
            assert cookies.last == told, "it is told again"
        heard = flight.FlightCallOptions(headers=[(b"cookie", told.encode())])
        answered = flight_sql.run(client, ask, heard)
        assert answered is not None and answered["x"].to_pylist() == ["c"]


@pytest.fixture(scope="module", params=["memory", "flushed"])
def loaded(server: Any, connection: Any, request: Any) -> Iterator[World]:
    """Rows that were learned on two days of 2020, so that a date says a moment between them."""
    world = World(server, connection, request.param == "flushed", True)
    world.cursor.execute(f"CREATE TABLE {world.name} (k BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, x VARCHAR)")
    days = [datetime(2020, 1, day, 12, tzinfo=UTC) for day in (1, 2)]
    rows = pa.record_batch({"k": [1, 1], "at": pa.array(days, MICROSECONDS), "x": ["a", "b"]})
    with raw.connect(server.url) as client:
        raw.put(client, {"write": {"table": world.name, "ingest_time": "at"}}, [rows])
    world.settle()
    world.cursor.execute(f"CALL seal_table('{world.name}')")
    yield world
    world.cursor.close()


def one(value: pa.Array) -> pa.RecordBatch:
    """One value as the parameters of a statement."""
    return pa.record_batch([value], ["0"])


BETWEEN = datetime(2020, 1, 2)
UNITS = [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Europe/Berlin", "+05:30")]
BINDS = [
    *((str(unit), pa.array([BETWEEN.replace(tzinfo=UTC if unit.tz else None)], unit)) for unit in UNITS),
    ("date32", pa.array([BETWEEN.date()], pa.date32())),
    ("date64", pa.array([BETWEEN.date()], pa.date64())),
    ("text", pa.array(["2020-01-02"])),
    ("text with a zone", pa.array(["2020-01-02T01:00:00+01:00"])),
    ("large text", pa.array(["2020-01-02 00:00:00"], pa.large_string())),
    ("text view", pa.array(["2020-01-02T00:00:00Z"], pa.string_view())),
]


@pytest.mark.parametrize("value", [value for _, value in BINDS], ids=[name for name, _ in BINDS])
def test_29_a_moment_is_bound_in_any_unit(loaded: World, value: pa.Array) -> None:
    for relation in (
        "{w} FOR SYSTEM_TIME AS OF ?", "{w} FOR VALID_TIME AS OF $1", "as_of('{w}', NULL, ?)", "as_of('{w}', ?)",
        "history('{w}', NULL, ?)", "history('{w}', known_at => ?)", "changes('{w}', '2020-01-01', ?)",
    ):  # fmt: skip
        statement = f"SELECT x FROM {relation.format(w=loaded.name)}"
        assert answer(loaded.cursor, statement, one(value)) == [("a",)], statement
    after = f"SELECT x FROM changes('{loaded.name}', ?, '2020-01-03')"
    assert answer(loaded.cursor, after, one(value)) == [("b",)]
    join = f"ASOF JOIN {loaded.name} w MATCH_CONDITION (s.ts >= w.at) ON s.k = w.k"
    assert answer(loaded.cursor, f"SELECT x FROM (SELECT 1 AS k, ? AS ts) s {join}", one(value)) == [("a",)]


NO_MOMENTS = [
    pa.nulls(1), pa.nulls(1, pa.string()), pa.nulls(1, MICROSECONDS), pa.array([5]), pa.array([1.5]), pa.array([True]),
    pa.array(["tomorrow"]), pa.array([""]), pa.array([b"2020-01-02"]), pa.array([5], pa.duration("us")),
    pa.array([5], pa.time64("us")), pa.array([["2020-01-02"]]),
]  # fmt: skip


@pytest.mark.parametrize("value", NO_MOMENTS, ids=[f"{array.type}-{array[0]}" for array in NO_MOMENTS])
@pytest.mark.parametrize(
    "relation",
    ["{w} FOR SYSTEM_TIME AS OF ?", "{w} FOR VALID_TIME AS OF ?", "as_of('{w}', ?)", "as_of('{w}', NULL, ?)",
     "changes('{w}', ?, '2020-01-03')", "changes('{w}', '2020-01-01', ?)", "history('{w}', ?)"],
)  # fmt: skip
def test_29_what_is_no_moment_is_refused(b: World, relation: str, value: pa.Array) -> None:
    code, message = refusal(b.connection, f"SELECT x FROM {relation.format(w=b.name)}", one(value))
    assert code == "INVALID_ARGUMENT", message
    if value.null_count:
        assert "NULL" in message and "leave" in message, message


def test_29_what_will_be_known_is_refused(loaded: World) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    for relation in ("{w} FOR SYSTEM_TIME AS OF ?", "as_of('{w}', NULL, ?)", "changes('{w}', '2020-01-01', ?)"):
        code, message = refusal(loaded.connection, f"SELECT x FROM {relation.format(w=loaded.name)}", (later,))
        assert (code, "clock" in message) == ("INVALID_ARGUMENT", True), message
    assert answer(loaded.cursor, f"SELECT x FROM {loaded.name} FOR VALID_TIME AS OF ?", (later,)) == [("b",)]


def test_29_nanoseconds_are_cut_to_what_they_bound(loaded: World) -> None:
    """Down where the moment counts, up where it does not: a row is never seen that the bound leaves out."""
    noon = int(datetime(2020, 1, 2, 12, tzinfo=UTC).timestamp()) * 1_000_000_000

    def ask(relation: str, nanos: int) -> str:
        value = one(pa.array([nanos], pa.timestamp("ns", "UTC")))
        return str(answer(loaded.cursor, f"SELECT x FROM {relation.format(w=loaded.name)}", value)[0][0])

    assert ask("as_of('{w}', ?)", noon - 1) == "a"
    assert ask("as_of('{w}', ?)", noon + 999) == "b"
    assert ask("as_of('{w}', ?, exclusive => true)", noon) == "a"
    assert ask("as_of('{w}', ?, exclusive => true)", noon + 1) == "b"
    assert ask("{w} FOR SYSTEM_TIME AS OF ?", noon - 1) == "a"
    assert ask("{w} FOR SYSTEM_TIME AS OF ?", noon + 1) == "b"


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_29_event_times_are_written_in_any_unit(b: World, unit: pa.DataType) -> None:
    zone = UTC if unit.tz else None
    times = pa.array([(BETWEEN + timedelta(days=day)).replace(tzinfo=zone) for day in (0, 1)], unit)
    b.cursor.executemany(f"INSERT INTO {b.name} (k, at) VALUES (?, ?)", pa.record_batch([pa.array([1, 2]), times], ["0", "1"]))
    expected = [(1, BETWEEN.replace(tzinfo=UTC)), (2, BETWEEN.replace(tzinfo=UTC) + timedelta(days=1))]
    assert b.ask("SELECT k, at FROM {w}") == expected
    assert answer(b.cursor, f"SELECT k FROM {b.name} WHERE at = ?", one(times.slice(1))) == [(2,)]


def test_29_an_event_time_between_microseconds_is_refused(b: World) -> None:
    rows = pa.record_batch([pa.array([1]), pa.array([1], pa.timestamp("ns", "UTC"))], ["0", "1"])
    code, message = refusal(b.connection, f"INSERT INTO {b.name} (k, at) VALUES (?, ?)", rows)
    assert (code, "`at`" in message) == ("INVALID_ARGUMENT", True), message
    assert b.ask("SELECT count(*) FROM history('{w}')") == [0]


@pytest.mark.parametrize(
    ("relation", "said"),
    [("(SELECT * FROM {w}) t FOR SYSTEM_TIME AS OF {}", "`t`"), ("(SELECT * FROM {w}) AS t FOR VALID_TIME AS OF {}", "`t`"),
     ("c FOR SYSTEM_TIME AS OF {}", "`c`"), ("c FOR VALID_TIME AS OF {}", "`c`"),
     ("history('{w}') FOR SYSTEM_TIME AS OF {}", "known_at =>"), ("as_of('{w}', NULL) FOR VALID_TIME AS OF {}", "known_at =>"),
     ("information_schema.tables FOR SYSTEM_TIME AS OF {}", "`information_schema.tables`")],
)  # fmt: skip
def test_30_what_is_no_table_has_no_past(w: World, relation: str, said: str) -> None:
    w.rows(*A_THEN_B)
    code, message = w.refuse(f"WITH c AS (SELECT * FROM {{w}}) SELECT * FROM {relation}", e(5))
    assert code == "INVALID_ARGUMENT", message
    assert said in message, message


@pytest.mark.parametrize("clause", ["TABLESAMPLE (10)", "WHERE k = {} FOR UPDATE", "WHERE k = {} FETCH FIRST 1 ROW ONLY",
                                    "VERSION AS OF {}"])  # fmt: skip
def test_31_what_other_engines_would_drop(w: World, clause: str) -> None:
    w.rows(*A_THEN_B)
    code, message = w.refuse(f"SELECT * FROM {{w}} {clause}", *[1] * clause.count("{}"))
    assert (code, "is not served" in message) == ("INVALID_ARGUMENT", True), message
    with flight.FlightClient(w.server.url) as client, pytest.raises(NotImplementedError):
        flight_sql.run(client, flight_sql.query(f"SELECT * FROM {w.name} {clause.replace('{}', '1')}"))


def test_32_filters_by_keys_are_lookups(w: World) -> None:
    for k in (1, 2, 3):
        w.write("INSERT INTO {w} (k, at, x) VALUES ({}, {}, {})", k, e(10), "a")
    for filter_, values, expected in [
        ("k IN ({}, {}, {})", (1, 1, 2), [1, 2]),
        ("k = {} OR k = {}", (1, 2), [1, 2]),
        ("k IN ({}) AND x = {}", (1, "a"), [1]),
        ("k = {} AND x = {}", (1, "b"), []),
        ("k = {}", (None,), []),
        ("k IN ({}, {})", (None, 2), [2]),
        ("k = {} OR k = {}", (3, None), [3]),
        ("k IN ({}) OR {}", (2, None), [2]),
    ]:
        statement = f"SELECT k FROM {{w}} WHERE {filter_}"
        assert w.ask(statement, *values) == expected, filter_
        if None not in values:
            assert "lookup" in str(w.ask(f"EXPLAIN {statement}", *values)).lower(), filter_


def test_33_an_order_inside_a_limit(w: World) -> None:
    for k in (2, 3, 1):
        w.write("INSERT INTO {w} (k, at, x) VALUES ({}, {}, {})", k, e(10), "a")
    ordered = "SELECT a.k FROM (SELECT k FROM {w} ORDER BY k DESC) a LIMIT {}"
    assert answer(w.cursor, *w.written(ordered, (1,))) == [(3,)]
    assert answer(w.cursor, *w.written(ordered + " OFFSET {}", (1, 1))) == [(2,)]


def test_34_two_moments_in_one_expression(w: World) -> None:
    """What differs in its moment alone is another read."""
    w.rows(*A_THEN_B)
    then = "(SELECT x FROM as_of('{w}', {}))"
    now = "(SELECT x FROM {w})"
    assert w.ask(f"SELECT {now} = {then}", e(15)) == [False]
    assert w.ask(f"SELECT {then} || {then}", e(25), e(15)) == ["ba"]
    assert w.ask(f"SELECT CASE WHEN {now} = 'b' THEN {then} END", e(15)) == ["a"]
    assert w.ask(f"SELECT k FROM {{w}} WHERE {then} = 'a' AND {then} = 'b'", e(15), e(25)) == [1]
    known = "(SELECT x FROM {w} FOR SYSTEM_TIME AS OF {})"
    assert w.ask(f"SELECT {known} || {known} || {now}", w.t(1), w.t(2)) == ["abb"]
    keys = "k IN (SELECT k FROM as_of('{w}', {}))"
    assert w.ask(f"SELECT k FROM {{w}} WHERE {keys} OR {keys}", e(5), e(15)) == [1]
    assert w.ask(f"SELECT k FROM {{w}} WHERE {keys} AND {keys}", e(15), e(5)) == []
    rows = "(SELECT count(*) FROM history('{w}', {}, {}))"
    assert w.ask(f"SELECT {rows} * 10 + {rows}", e(10), e(21), e(10), e(11)) == [21]
    both = "SELECT x FROM {w} UNION ALL SELECT x FROM as_of('{w}', {}) UNION ALL SELECT x FROM as_of('{w}', {})"
    assert w.ask(both, e(15), e(5)) == ["a", "b"]


def test_34_two_tables_in_one_expression(w: World) -> None:
    other = World(w.server, w.connection, w.flushed, w.bound)
    other.declare(options=f"WITH (entity = '{w.name}')")
    w.rows(*A_THEN_B)
    other.rows((10, "q"))
    counts = [f"(SELECT count(*) FROM history('{name}'))" for name in (w.name, other.name)]
    assert w.ask(f"SELECT {counts[0]} * 10 + {counts[1]}") == [21]


OPERATORS = {
    "boolean": ["{boolean} AND {boolean}", "{boolean} OR {boolean}", "NOT {boolean}", "{boolean} IS NULL", "{boolean} IS NOT TRUE",
                "{boolean} IS DISTINCT FROM {boolean}", "{boolean} IS NOT DISTINCT FROM {boolean}",
                "{number} = {number}", "{number} <> {number}", "{number} < {number}", "{number} >= {number}",
                "{number} BETWEEN {number} AND {number}", "{number} NOT BETWEEN {number} AND {number}",
                "{number} IN ({number}, {number})", "{number} NOT IN ({number})", "{text} LIKE {text}",
                "{text} NOT LIKE {text}", "{text} = {text}", "{number} IS DISTINCT FROM {number}", "{text} IS NOT NULL"],
    "number": ["{number} + {number}", "{number} - {number}", "{number} * {number}", "-{number}", "{number} % 7",
               "CASE WHEN {boolean} THEN {number} ELSE {number} END", "CAST({number} AS BIGINT)", "abs({number})"],
    "text": ["{text} || {text}", "CAST({number} AS VARCHAR)", "CASE {number} WHEN {number} THEN {text} END"],
}  # fmt: skip
LEAVES = {"boolean": ["true", "false", "NULL"], "number": ["0", "1", "2", "3"], "text": ["'a'", "'b'", "'1'", "'%'"]}


def test_35_operators_bind_as_they_do_elsewhere(connection: Any) -> None:
    """Expressions without parentheses are worth the same in DuckDB, which reads them as PostgreSQL does."""
    chance = random.Random(20261127)

    def expression(kind: str, depth: int) -> str:
        if depth == 0 or chance.random() < 0.15:
            return chance.choice(LEAVES[kind])
        written = chance.choice(OPERATORS[kind])
        while (found := re.search(r"\{(\w+)\}", written)) is not None:
            written = written[: found.start()] + expression(found[1], depth - 1) + written[found.end() :]
        return written.replace("--", "- -")

    differ, same = [], 0
    with duckdb.connect() as duck, connection.cursor() as cursor:
        for _ in range(1_000):
            statement = f"SELECT {expression(chance.choice(['boolean', 'number', 'text']), 3)} AS worth"
            if " DISTINCT FROM " in statement and statement.count(" IS ") > 1:
                continue  # Engines do not agree on the order of IS behind IS.
            try:
                expected = duck.execute(statement).fetchall()
            except duckdb.Error:
                continue  # Read so, its types do not fit.
            try:
                found = answer(cursor, statement)
            except AdbcError as error:
                found = [(str(error),)]
            same += found == expected
            if found != expected:
                differ.append(f"{statement}\n    {found[0][0]!r}, but {expected[0][0]!r} elsewhere")
    assert same > 300
    assert not differ, f"{len(differ)} of {same + len(differ)}:\n" + "\n".join(sorted(differ, key=len)[:10])


def test_36_what_looks_like_a_parameter(w: World) -> None:
    """Colons and question marks stand in literals of maps, in slices and in text too."""
    w.rows((10, "a"))
    assert w.ask("SELECT MAP {{'a': x}} = MAP {{'a': {}}} FROM {w}", "a") == [True]
    assert w.ask("SELECT {{'a': x}}['a'] || ':x ?' || {} FROM {w}", "$1") == ["a:x ?$1"]
    assert w.ask("SELECT array_to_string([x, y, 'c'][1:k], ',') || {} FROM {w} -- ? :x $9", "z") == ["az"]


def test_parameters_of_every_kind_stand_where_literals_do(w: World) -> None:
    """One statement with all its values bound, also those that select, group, order and cut."""
    w.rows(*LATE)
    statement = (
        "SELECT {} || x AS said, count(*) AS n FROM history('{w}', {}, {}) h WHERE x <> {} AND k IN ({}, {}) "
        "GROUP BY x HAVING count(*) >= {} ORDER BY x DESC LIMIT {} OFFSET {}"
    )
    values = ("x", e(10), e(21), "z", 1, 2, 1, 2, 1)
    assert answer(w.cursor, *w.written(statement, values)) == [("xb", 1), ("xa", 1)]


def test_a_statement_runs_for_each_row_of_its_values(b: World) -> None:
    b.rows(*LATE)
    values = pa.record_batch([pa.array([e(11), e(15), e(25)], MICROSECONDS)], ["0"])
    assert answer(b.cursor, f"SELECT x FROM as_of('{b.name}', ?)", values) == [("a",), ("c",), ("b",)]


def test_the_same_parameter_twice(b: World) -> None:
    b.rows(*LATE)
    statement = f"SELECT $2 || x FROM as_of('{b.name}', $1) WHERE at <= $1 AND x <> $2 AND k = $3"
    assert answer(b.cursor, statement, (e(15), "y", 1)) == [("yc",)]


def test_31_a_refusal_is_heard_with_values_too(b: World) -> None:
    """A prepared statement is refused as INVALID_ARGUMENT: after UNIMPLEMENTED ADBC goes on, and hides what was said."""
    with b.connection.cursor() as cursor, pytest.raises(AdbcError) as caught:
        cursor.execute(f"SELECT * FROM {b.name} WHERE k = ? FOR UPDATE", (1,))
    assert "FOR UPDATE" in str(caught.value)


def test_a_ticket_is_answered_after_a_restart(fresh: Any) -> None:
    """A ticket says all that its answer is of, so a server that was restarted answers it the same."""
    with fresh() as server, connect(server) as connection:
        w = World(server, connection, False, False)
        w.declare()
        w.rows(*A_THEN_B)
        with flight.FlightClient(server.url) as client:
            command = flight_sql.query(f"SELECT x FROM {w.name} WHERE k = 1")
            handle = flight_sql.prepare(client, f"SELECT x FROM as_of('{w.name}', $1)")
            value = pa.record_batch([pa.array([e(15)], MICROSECONDS)], ["0"])
            bound = flight_sql.put(client, flight_sql.message("CommandPreparedStatementQuery", flight_sql.field(1, handle)), [value])
            (_, bound), *_ = flight_sql.fields(bound)
            (endpoint,) = flight_sql.info(client, command).endpoints
        w.rows((30, "c"))
        server.stop()
        server.start()
        with flight.FlightClient(server.url) as client:
            assert flight_sql.get(client, endpoint.ticket.ticket)["x"].to_pylist() == ["b"]
            prepared = flight_sql.message("CommandPreparedStatementQuery", flight_sql.field(1, bound))
            assert flight_sql.run(client, prepared)["x"].to_pylist() == ["a"]
