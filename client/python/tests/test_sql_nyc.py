"""The story of `firn demo` in SQL alone: a year of flights, a training set by as-of joins, and the winners that leak."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import duckdb
import firndb
import pyarrow as pa
import pyarrow.compute as compute
import pytest
import test_nyc
from flight_sql import answer, connect
from server import Server
from test_nyc import FLIGHT, WEATHER, read, same

# A flight is predicted three hours before it should leave.
SPINE = "SELECT tailnum, origin, decided_at FROM decisions"
ROWS, LEAKED = 334_264, 8_456


@pytest.fixture(scope="module")
def server(program: Any) -> Iterator[Server]:
    """The three tables, as the demo loads them, and what is to be predicted as a fourth."""
    with Server(program) as started:
        with firndb.connect(started.url) as client:
            test_nyc.load(client)
        with connect(started) as connection, connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE planes (tailnum VARCHAR PRIMARY KEY, since TIMESTAMP NOT NULL, year BIGINT DEFAULT 0, type VARCHAR, "
                "manufacturer VARCHAR, model VARCHAR, engines BIGINT, seats BIGINT, speed BIGINT DEFAULT 0, engine VARCHAR) "
                "WITH (entity = 'plane', event_time = 'since')"
            )
            planes = read("planes")
            known = pa.array([datetime(2013, 1, 1, tzinfo=UTC)] * planes.num_rows, pa.timestamp("us", "UTC"))
            assert cursor.adbc_ingest("planes", planes.append_column("since", known), mode="append") == 3_322
            cursor.execute("CALL seal_table('planes')")
            assert cursor.adbc_ingest("decisions", decisions(), mode="create") == ROWS
            cursor.execute("CALL seal_table('decisions')")
        yield started


def decisions() -> pa.Table:
    """What is to be predicted, with the roles that a table is made of; `n` is its place in the data."""
    table = spine().append_column("n", pa.array(range(ROWS)))
    roles = {"n": "key", "decided_at": "event_time"}
    fields = [field.with_metadata({"firn.role": roles.get(field.name, "feature")}) for field in table.schema]
    return table.cast(pa.schema(fields))


def spine() -> pa.Table:
    flights = read("flights").filter(compute.field("tailnum").is_valid())
    decided = compute.subtract(flights["sched_dep"], pa.scalar(test_nyc.THREE_HOURS, pa.duration("us")))
    return flights.select(["tailnum", "origin"]).append_column("decided_at", decided)


@pytest.fixture
def cursor(server: Server) -> Iterator[Any]:
    with connect(server) as connection, connection.cursor() as opened:
        yield opened


def ask(cursor: Any, statement: str) -> pa.Table:
    cursor.execute(statement)
    return cursor.fetch_arrow_table()


def test_what_is_there(cursor: Any) -> None:
    tables = ("weather", "flights", "planes", "decisions")
    counts = ", ".join(f"(SELECT count(*) FROM history('{table}')) AS {table}" for table in tables)
    assert answer(cursor, f"SELECT {counts}") == [(26_115, 336_776 - 9_430, 3_322, ROWS)]
    assert [row[0] for row in answer(cursor, "SHOW TABLES")] == ["weather", "flights", "planes", "decisions"]


def test_one_plane_now_and_on_the_first_of_july(cursor: Any) -> None:
    """The plane of the story: its newest landed flight, and the one that was known to have landed half a year before."""
    july = "TIMESTAMP '2013-07-01'"
    columns = "sched_dep, arr_delay, p.model, p.seats"
    plane = "LEFT JOIN planes p ON f.tailnum = p.tailnum WHERE f.tailnum = 'N14228'"
    (now,) = answer(cursor, f"SELECT {columns} FROM flights f {plane}")
    (then,) = answer(cursor, f"SELECT {columns} FROM as_of('flights', {july}, {july}) f {plane}")
    flights = read("flights").filter(compute.field("landed").is_valid()).filter(compute.field("tailnum") == "N14228")
    for found, until in [(now, None), (then, datetime(2013, 7, 1, tzinfo=UTC))]:
        seen = flights if until is None else flights.filter(compute.field("landed") <= until)
        newest = max(seen.to_pylist(), key=lambda flight: (flight["sched_dep"], flight["flight"]))
        assert found == (newest["sched_dep"], newest["arr_delay"], "737-824", 149)


def test_the_weather_of_the_training_set_equals_duckdb(cursor: Any) -> None:
    columns = ", ".join(f"w.{name}" for name in WEATHER)
    started = time.monotonic()
    found = ask(
        cursor,
        f"SELECT n, {columns} FROM decisions d ASOF JOIN weather w MATCH_CONDITION (d.decided_at >= w.observed) "
        "ON d.origin = w.origin",
    )
    print(f"\n{ROWS} rows with {len(WEATHER)} features by SQL in {time.monotonic() - started:.2f} s")
    assert found.num_rows == ROWS
    with duckdb.connect() as database:
        database.register("numbered", spine().append_column("n", pa.array(range(ROWS))))
        database.register("weather", read("weather"))
        expected = database.sql(
            f"SELECT n, {columns.replace('w.', '')} FROM numbered ASOF LEFT JOIN weather "
            "ON numbered.origin = weather.origin AND numbered.decided_at >= weather.observed ORDER BY n"
        ).to_arrow_table()
    same(found.sort_by("n"), expected, WEATHER)


LOOSE = "ASOF JOIN flights f MATCH_CONDITION (d.decided_at >= f.sched_dep) ON d.tailnum = f.tailnum"


def test_the_flights_of_the_training_set_equal_duckdb(cursor: Any) -> None:
    """Of flights that left at one time the one of the greater number counts: their row id decides."""
    columns = ", ".join([*FLIGHT, "sched_dep"])
    found = ask(cursor, f"SELECT n, {columns} FROM decisions d {LOOSE}").sort_by("n")
    with duckdb.connect() as database:
        database.register("numbered", spine().append_column("n", pa.array(range(ROWS))))
        database.register("flights", read("flights"))
        expected = database.sql(
            "WITH landed AS (SELECT * FROM flights WHERE landed IS NOT NULL "
            "QUALIFY row_number() OVER (PARTITION BY tailnum, sched_dep ORDER BY flight DESC) = 1) "
            f"SELECT n, {columns} FROM numbered ASOF LEFT JOIN landed "
            "ON numbered.tailnum = landed.tailnum AND numbered.decided_at >= landed.sched_dep ORDER BY n"
        ).to_arrow_table()
    same(found, expected, [*FLIGHT, "sched_dep"])


def test_the_strict_join_equals_the_native_one(server: Server, cursor: Any) -> None:
    columns = ", ".join(FLIGHT)
    found = ask(cursor, f"SELECT n, {columns} FROM decisions d {LOOSE} AND d.decided_at >= f.ingest_time").sort_by("n")
    with firndb.connect(server.url) as client:
        features = [f"flights.{name}" for name in FLIGHT]
        expected = client.join(spine(), features, as_of="decided_at", known_at="decided_at")
    same(found, expected, FLIGHT)


def leaked(loose: str = "flights", strict: str = "flights") -> str:
    """How many rows of the training set saw a flight that had not landed when they were decided."""
    return (
        "SELECT count(*) AS leaked FROM decisions d "
        f"ASOF JOIN {loose} f MATCH_CONDITION (d.decided_at >= f.sched_dep) ON d.tailnum = f.tailnum "
        f"ASOF JOIN {strict} l MATCH_CONDITION (d.decided_at >= l.sched_dep) ON d.tailnum = l.tailnum "
        "AND d.decided_at >= l.ingest_time WHERE f.sched_dep IS DISTINCT FROM l.sched_dep"
    )


def test_the_leaked_winners_in_one_statement(cursor: Any) -> None:
    started = time.monotonic()
    assert answer(cursor, leaked()) == [(LEAKED,)]
    print(f"\n{LEAKED} leaked winners of {ROWS} rows in {time.monotonic() - started:.2f} s")


def test_the_same_over_a_subquery_and_a_common_table_expression(cursor: Any) -> None:
    spine = f"WITH spine AS ({SPINE} WHERE tailnum <> '') "
    statement = leaked().replace("FROM decisions d", "FROM spine d")
    assert answer(cursor, spine + statement) == [(LEAKED,)]
    assert answer(cursor, leaked().replace("FROM decisions d", f"FROM ({SPINE}) d")) == [(LEAKED,)]


def test_by_month(cursor: Any) -> None:
    """What a person would ask next: parts of the whole, which add up to it."""
    statement = leaked().replace("SELECT count(*) AS leaked", "SELECT date_trunc('month', d.decided_at) AS month, count(*) AS leaked")
    months = answer(cursor, statement + " GROUP BY month ORDER BY month")
    # The evening of the last day in New York is the next year in UTC.
    assert len(months) == 13 and sum(count for _, count in months) == LEAKED
    january = leaked() + " AND d.decided_at < '2013-02-01'"
    assert answer(cursor, january) == [(months[0][1],)]


def test_a_bound_on_the_whole_statement(server: Server, cursor: Any) -> None:
    """A notebook that stands in July sees no flight that landed later, on either side."""
    july = datetime(2013, 7, 1, tzinfo=UTC)
    expected = answer(cursor, leaked() + " AND d.decided_at <= '2013-07-01'")
    with connect(server, as_of=july.isoformat()) as connection, connection.cursor() as past:
        # The decisions are rows too, and those after the bound are not there yet.
        (asked,) = answer(past, "SELECT count(*), max(decided_at) FROM decisions")
        assert 0 < asked[0] < ROWS and asked[1] <= july
        assert answer(past, leaked()) == expected
    assert 0 < expected[0][0] < LEAKED


def test_answers_stay_fixed_over_flush_and_compaction(cursor: Any) -> None:
    statements = [
        leaked(),
        "SELECT sum(w.temp), sum(w.wind_speed), count(w.wind_gust), count(f.arr_delay) FROM decisions d "
        "ASOF JOIN weather w MATCH_CONDITION (d.decided_at >= w.observed) ON d.origin = w.origin "
        "ASOF JOIN flights f MATCH_CONDITION (d.decided_at >= f.sched_dep) ON d.tailnum = f.tailnum",
        "SELECT count(*), sum(arr_delay), max(sched_dep) FROM flights FOR SYSTEM_TIME AS OF '2013-07-01'",
    ]
    before = [answer(cursor, statement) for statement in statements]
    assert before[0] == [(LEAKED,)]
    for upkeep in ("CALL flush()", "CALL compact()"):
        cursor.execute(upkeep)
        after = [answer(cursor, statement) for statement in statements]
        for left, right in zip(before, after, strict=True):
            assert left[0] == pytest.approx(right[0], rel=1e-12) if isinstance(left[0][0], float) else left == right


@pytest.mark.skipif("FIRN_SQL_TIMES" not in os.environ, reason="for a person who measures: FIRN_SQL_TIMES=1")
def test_times(cursor: Any) -> None:
    for statement in (leaked(), "SELECT avg(arr_delay) FROM flights", "SELECT arr_delay FROM flights WHERE tailnum = 'N14228'"):
        taken = []
        for _ in range(5):
            started = time.monotonic()
            answer(cursor, statement)
            taken.append(time.monotonic() - started)
        print(f"\n{min(taken):.4f} s: {statement}")
