"""New York flights 2013: joins equal DuckDB's and pandas' to the last value."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import duckdb
import firndb
import pandas
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as parquet
import pytest
from server import PROJECT, Server

THREE_HOURS = datetime.timedelta(hours=3)
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
FLIGHT = ["dep_delay", "arr_delay", "air_time"]


def read(name: str) -> pa.Table:
    return parquet.read_table(PROJECT / "data" / "nyc" / f"{name}.parquet").replace_schema_metadata(None)


@pytest.fixture(scope="module")
def spine() -> pa.Table:
    """All flights with a tail number, three hours before departure."""
    flights = read("flights").filter(compute.field("tailnum").is_valid())
    decided = compute.subtract(flights["sched_dep"], pa.scalar(THREE_HOURS, pa.duration("us")))
    return flights.select(["tailnum", "origin"]).append_column("decided_at", decided)


@pytest.fixture(scope="module")
def client(program: object) -> Iterator[firndb.Client]:
    with Server(program) as server, firndb.connect(server.url) as connected:  # type: ignore[arg-type]
        load(connected)
        yield connected


def load(client: firndb.Client) -> None:
    client.create_entity("airport", {"origin": "utf8"})
    client.create_entity("plane", {"tailnum": "utf8"})
    weather, flights = read("weather"), read("flights")
    features = {field.name: field.type for field in weather.schema if field.name not in ("origin", "observed")}
    client.create_table("weather", entity="airport", event_time="observed", features=features)
    client.create_table(
        "flights", entity="plane", event_time="sched_dep", row_id={"flight": "int32"},
        features={name: "float32" for name in FLIGHT},
    )  # fmt: skip
    weather = weather.append_column("learned", weather["observed"])
    written = client.write("weather", weather, ingest_time="learned")
    assert (written.rows, written.bad_row_count) == (26_115, 0)
    client.seal_table("weather")
    sent = flights.sort_by("landed").select(["tailnum", "sched_dep", "flight", "landed", *FLIGHT])
    written = client.write("flights", sent, ingest_time="landed", bad_rows="report")
    assert written.rows == 336_776 - 9_430
    assert written.bad_row_count == 9_430 + 2_512
    client.seal_table("flights")


def same(found: pa.Table, expected: pa.Table, columns: list[str]) -> None:
    """To the last value, nulls included."""
    assert found.num_rows == expected.num_rows
    for name in columns:
        left, right = found[name].combine_chunks(), expected[name].combine_chunks().cast(found[name].type)
        if not left.equals(right):
            differ = compute.fill_null(compute.not_equal(left, right), True)
            differ = compute.and_(differ, compute.invert(compute.and_(left.is_null(), right.is_null())))
            raise AssertionError(f"{name} differs in {compute.sum(differ).as_py()} rows")


def test_weather_equals_duckdb(client: firndb.Client, spine: pa.Table) -> None:
    found = client.join(spine, "weather.*", as_of="decided_at")
    weather = read("weather")
    numbered = spine.append_column("n", pa.array(range(spine.num_rows)))
    columns = ", ".join(WEATHER)
    with duckdb.connect() as database:
        database.register("numbered", numbered)
        database.register("weather", weather)
        expected = database.sql(
            f"SELECT n, {columns} FROM numbered ASOF LEFT JOIN weather "
            "ON numbered.origin = weather.origin AND numbered.decided_at >= weather.observed ORDER BY n"
        ).to_arrow_table()
    same(found, expected, WEATHER)


def test_weather_equals_pandas(client: firndb.Client, spine: pa.Table) -> None:
    frame = spine.to_pandas()
    found = client.join(frame, "weather.*", as_of="decided_at", known_at="decided_at")
    assert list(found.columns) == [*frame.columns, *WEATHER]
    left = frame.reset_index().sort_values("decided_at", kind="stable")
    right = read("weather").to_pandas().sort_values("observed", kind="stable")
    expected = pandas.merge_asof(left, right, left_on="decided_at", right_on="observed", by="origin")
    expected = expected.set_index("index").sort_index()
    for name in WEATHER:
        pandas.testing.assert_series_equal(
            found[name].astype("float64"), expected[name].astype("float64"), check_index=False, check_exact=True
        )


def flights_by_sql(spine: pa.Table, more: str) -> pa.Table:
    numbered = spine.append_column("n", pa.array(range(spine.num_rows)))
    winner = f"arg_max({{'row': l}}, (l.sched_dep, l.flight))"
    columns = ", ".join(f"winner.row.{name} AS {name}" for name in [*FLIGHT, "sched_dep"])
    with duckdb.connect() as database:
        database.register("numbered", numbered)
        landed = read("flights").filter(compute.field("landed").is_valid())
        database.register("l", landed)
        return database.sql(
            f"SELECT n, {columns} FROM (SELECT n, {winner} AS winner FROM numbered LEFT JOIN l "
            f"ON numbered.tailnum = l.tailnum AND l.sched_dep <= decided_at {more} GROUP BY n) ORDER BY n"
        ).to_arrow_table()


def test_flights_equal_sql_under_both_bounds(client: firndb.Client, spine: pa.Table) -> None:
    features = [f"flights.{name}" for name in FLIGHT]
    leaky = client.join(spine, features, as_of="decided_at", event_times=True)
    expected_leaky = flights_by_sql(spine, "")
    same(leaky, expected_leaky, FLIGHT)
    strict = client.join(spine, features, as_of="decided_at", known_at="decided_at", event_times=True)
    expected_strict = flights_by_sql(spine, "AND l.landed <= decided_at")
    same(strict, expected_strict, FLIGHT)
    times = [table["arr_delay__event_time"].combine_chunks() for table in (leaky, strict)]
    assert times[0].equals(expected_leaky["sched_dep"].combine_chunks().cast(times[0].type))
    assert times[1].equals(expected_strict["sched_dep"].combine_chunks().cast(times[1].type))
    keys = [time.cast(pa.int64()).fill_null(0) for time in times]
    assert compute.sum(compute.not_equal(*keys)).as_py() == 8_456


def test_flights_equal_pandas(client: firndb.Client, spine: pa.Table) -> None:
    frame = spine.to_pandas()
    found = client.join(frame, [f"flights.{name}" for name in FLIGHT], as_of="decided_at", to="pandas")
    left = frame.reset_index().sort_values("decided_at", kind="stable")
    landed = read("flights").filter(compute.field("landed").is_valid()).to_pandas()
    right = landed.sort_values(["sched_dep", "flight"], kind="stable")[["tailnum", "sched_dep", *FLIGHT]]
    expected = pandas.merge_asof(left, right, left_on="decided_at", right_on="sched_dep", by="tailnum")
    expected = expected.set_index("index").sort_index()
    for name in FLIGHT:
        pandas.testing.assert_series_equal(found[name], expected[name], check_index=False, check_exact=True)


def test_answers_stay_fixed_over_flush_and_compaction(client: firndb.Client, spine: pa.Table) -> None:
    part = spine.slice(0, 50_000)
    bounds = {"as_of": "decided_at", "known_at": "decided_at", "digest": True, "details": True}
    features = ["weather.*", *(f"flights.{name}" for name in FLIGHT)]
    before = client.join(part, features, **bounds)
    client.flush()
    client.compact()
    after = client.join(part, features, **bounds, **before.fixed())
    assert after.digest == before.digest and before.digest
    assert after.data.equals(before.data)


def test_a_stream_of_batches_is_answered_by_a_stream(client: firndb.Client, spine: pa.Table) -> None:
    reader = client.join(iter(spine.to_batches(max_chunksize=10_000)), "weather.temp", as_of="decided_at")
    assert isinstance(reader, pa.RecordBatchReader)
    whole = client.join(spine, "weather.temp", as_of="decided_at")
    assert reader.read_all().equals(whole)
