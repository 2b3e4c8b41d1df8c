"""SQL through ADBC, pyarrow, pandas and polars: clients that know nothing of FirnDB."""

from __future__ import annotations

import pathlib
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import adbc_driver_flightsql.dbapi as flightsql
import firndb
import pyarrow as pa
import pytest
from adbc_driver_manager import Error as AdbcError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


def connect(server: Any, *, session: bool = False, **headers: str) -> Any:
    options = {f"adbc.flight.sql.rpc.call_header.firn.{name}": value for name, value in headers.items()}
    if session:
        options["adbc.flight.sql.rpc.with_cookie_middleware"] = "true"
    return flightsql.connect(server.url.replace("http://", "grpc://"), db_kwargs=options, autocommit=True)


@pytest.fixture
def cursor(server: Any) -> Iterator[Any]:
    with connect(server) as connection, connection.cursor() as opened:
        yield opened


@pytest.fixture
def rows(client: firndb.Client, name: str) -> str:
    """A table with one entity that changed, and one that did not."""
    client.create_entity(f"{name}_e", {"k": "int64"})
    features = {"x": "utf8", "y": "float64"}
    client.create_table(name, entity=f"{name}_e", event_time="at", features=features)
    client.seal_table(name)
    for rows in (
        {"k": [1], "at": [at(10)], "x": ["a"], "y": [1.5]},
        {"k": [1], "at": [at(20)], "x": ["b"], "y": [2.5]},
        {"k": [1, 2], "at": [at(12), at(11)], "x": ["c", "z"], "y": [3.5, None]},
    ):
        client.write(name, rows)
    return name


def answer(cursor: Any, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    cursor.execute(statement, parameters)
    return cursor.fetchall()


def test_a_statement_without_tables(cursor: Any) -> None:
    assert answer(cursor, "SELECT 1 AS one, 'x' AS text, NULL AS nothing") == [(1, "x", None)]


def test_latest_rows_filters_and_aggregates(cursor: Any, rows: str) -> None:
    assert answer(cursor, f"SELECT k, x, y FROM {rows} ORDER BY k") == [(1, "b", 2.5), (2, "z", None)]
    assert answer(cursor, f"SELECT x FROM {rows} WHERE k = 1") == [("b",)]
    assert answer(cursor, f"SELECT x FROM {rows} WHERE k IN (2, 7)") == [("z",)]
    assert answer(cursor, f"SELECT count(*), max(y) FROM firn.public.{rows}") == [(2, 2.5)]
    assert answer(cursor, f"SELECT at FROM {rows} WHERE k = 1") == [(at(20),)]
    assert answer(cursor, f"SELECT count(*) FROM {rows} WHERE k = NULL") == [(0,)]
    assert answer(cursor, f"SELECT x FROM {rows} ORDER BY k LIMIT 1") == [("b",)]


def test_moments(cursor: Any, rows: str) -> None:
    at_15 = "to_timestamp_micros(15)"
    assert answer(cursor, f"SELECT x FROM as_of('{rows}', {at_15}) WHERE k = 1") == [("c",)]
    assert answer(cursor, f"SELECT x FROM {rows} FOR VALID_TIME AS OF {at_15} WHERE k = 1") == [("c",)]
    assert answer(cursor, f"SELECT x FROM as_of('{rows}', to_timestamp_micros(10)) WHERE k = 1") == [("a",)]
    exclusive = f"SELECT x FROM as_of('{rows}', to_timestamp_micros(10), exclusive => true) WHERE k = 1"
    assert answer(cursor, exclusive) == []
    known = answer(cursor, f"SELECT at, ingest_time FROM history('{rows}') WHERE k = 1 ORDER BY sequence")
    assert [row[0] for row in known] == [at(10), at(20), at(12)]
    second = known[1][1]
    two = f"SELECT x FROM as_of('{rows}', {at_15}, ?) WHERE k = 1"
    assert answer(cursor, two, (second,)) == [("a",)]
    assert answer(cursor, f"SELECT x FROM {rows} FOR SYSTEM_TIME AS OF ? t WHERE k = 1", (known[0][1],)) == [("a",)]
    assert answer(cursor, f"SELECT count(*) FROM history('{rows}', {at_15})") == [(1,)]
    changed = answer(cursor, f"SELECT k, x FROM changes('{rows}', ?, ?) ORDER BY k", (second, known[2][1]))
    assert changed == [(1, "c"), (2, "z")]
    assert answer(cursor, f"SELECT x FROM {rows} WHERE at <= {at_15} AND k = 1") == []


def test_as_of_joins(cursor: Any, rows: str) -> None:
    spine = "(VALUES (1, 9), (1, 10), (1, 15), (1, 25), (7, 25), (NULL, 25)) AS s(k, t)"
    spine = f"(SELECT k, to_timestamp_micros(t) AS ts FROM {spine}) s"
    join = f"SELECT s.k, w.x, w.at FROM {spine} ASOF JOIN {rows} w MATCH_CONDITION (s.ts {{}} w.at) ON s.k = w.k"
    expected = [(1, None, None), (1, "a", at(10)), (1, "c", at(12)), (1, "b", at(20)), (7, None, None), (None, None, None)]
    assert answer(cursor, join.format(">=")) == expected
    strict = [row[1] for row in answer(cursor, join.format(">"))]
    assert strict == [None, None, "c", "b", None, None]
    inner = f"SELECT w.k, x FROM {spine} ASOF JOIN {rows} w ON s.k = w.k AND s.ts >= w.at"
    assert answer(cursor, inner) == [(1, "a"), (1, "c"), (1, "b")]
    using = f"SELECT k, x FROM {spine} ASOF JOIN {rows} w MATCH_CONDITION (s.ts >= w.at) USING (k) WHERE x <> 'b'"
    assert answer(cursor, using) == [(1, "a"), (1, "c")]
    left = f"SELECT count(*) FROM {spine} ASOF LEFT JOIN {rows} w ON s.k = w.k AND s.ts >= w.at WHERE s.k = 1"
    assert answer(cursor, left) == [(4,)]


def test_parameters(cursor: Any, rows: str) -> None:
    assert answer(cursor, f"SELECT x FROM {rows} WHERE k = ?", (2,)) == [("z",)]
    assert answer(cursor, f"SELECT x FROM {rows} WHERE k = $1 OR k = $2 ORDER BY k", (2, 1)) == [("b",), ("z",)]
    assert answer(cursor, f"SELECT k FROM {rows} ORDER BY k LIMIT ?", (1,)) == [(1,)]
    assert answer(cursor, "SELECT ? + 1", (41,)) == [(42,)]
    with pytest.raises(AdbcError, match="no BIGINT"):
        answer(cursor, f"SELECT x FROM {rows} WHERE k = ?", (1.5,))


def test_headers_bound_a_connection(server: Any, rows: str) -> None:
    with connect(server, as_of=at(15).isoformat()) as connection, connection.cursor() as cursor:
        assert answer(cursor, f"SELECT x FROM {rows} WHERE k = 1") == [("c",)]
        assert answer(cursor, f"SELECT x FROM as_of('{rows}', to_timestamp_micros(50)) WHERE k = 1") == [("c",)]
        assert answer(cursor, f"SELECT count(*) FROM history('{rows}')") == [(3,)]
        more = pa.table({"k": [9], "at": [at(10)]})
        with pytest.raises(AdbcError, match="stands in the past"):
            cursor.adbc_ingest(rows, more, mode="append")
        with pytest.raises(AdbcError, match="stands in the past"):
            cursor.execute(f"INSERT INTO {rows} (k, at) VALUES (9, '1970-01-01')")


def test_frames(server: Any, rows: str) -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    with connect(server) as connection:
        frame = pandas.read_sql(f"SELECT k, y FROM {rows} ORDER BY k", connection)
        assert frame["k"].tolist() == [1, 2]
        frame = polars.read_database(f"SELECT k, x FROM {rows} ORDER BY k", connection)
        assert frame.rows() == [(1, "b"), (2, "z")]


def test_the_statement_that_is_shown_declares_the_same_again(cursor: Any, name: str) -> None:
    cursor.execute(
        f"CREATE TABLE {name} (origin VARCHAR, hour INT, observed TIMESTAMP NOT NULL, sensor VARCHAR NOT NULL, "
        "temp DOUBLE DEFAULT 0.5 COMMENT 'it''s °F' OPTIONS (max_age = '3h', tags = 'a,b'), price DECIMAL(12, 3), "
        "parts REAL[4], sky STRUCT<a INT, b VARCHAR[]>, cold BOOLEAN DEFAULT true, PRIMARY KEY (origin, hour)) "
        f"WITH (event_time = 'observed', entity = '{name}_key', row_id = 'sensor', bucket_by = 'origin', buckets = 8, "
        "max_age = '6h', max_future_skew = '5m', keep_events = '400d', hot_window = '90d', owner = 'ops', comment = 'what it was', tags = 'x,y')"
    )
    [(shown,)] = answer(cursor, f"SHOW CREATE TABLE {name}")
    assert "DEFAULT 0.5 COMMENT 'it''s °F' OPTIONS (max_age = '3h', tags = 'a,b')" in shown
    assert "hot_window = '90d'" in shown
    described = answer(cursor, f"DESCRIBE {name}")
    cursor.execute(f"DROP TABLE {name}")
    cursor.execute(f"CALL drop_entity('{name}_key')")
    cursor.execute(shown)
    assert answer(cursor, f"SHOW CREATE TABLE {name}") == [(shown,)]
    assert answer(cursor, f"DESCRIBE {name}") == described


def test_a_session_stands_in_the_past(server: Any, rows: str) -> None:
    with connect(server, session=True) as connection, connection.cursor() as cursor:
        assert answer(cursor, f"SELECT x FROM {rows} WHERE k = 1") == [("b",)]
        cursor.execute(f"SET firn.as_of = '{at(15).isoformat()}'")
        assert answer(cursor, f"SELECT x FROM {rows} WHERE k = 1") == [("c",)]
        assert answer(cursor, "SHOW firn.as_of") == [(at(15).isoformat(timespec="microseconds").replace("+00:00", "Z"),)]
        with pytest.raises(flightsql.Error, match="stands in the past"):
            cursor.execute(f"INSERT INTO {rows} (k, at, x) VALUES (9, '2020-01-01', 'x')")
        # An update goes another way over the wire, of which this driver reads no headers.
        cursor.adbc_statement.set_sql_query("SET firn.as_of = NULL")
        with pytest.raises(AdbcError, match="execute, not execute_update"):
            cursor.adbc_statement.execute_update()
        cursor.execute("RESET firn.as_of")
        assert answer(cursor, f"SELECT x FROM {rows} WHERE k = 1") == [("b",)]


def test_a_client_without_cookies_is_told_that_it_has_no_session(server: Any) -> None:
    with connect(server) as connection, connection.cursor() as cursor:
        with pytest.raises(flightsql.Error, match="with_cookie_middleware=true"):
            cursor.execute("SET firn.as_of = '2020-01-01'")


def test_sessions_outlive_the_server(fresh: Any) -> None:
    with fresh() as server, connect(server, session=True) as connection, connection.cursor() as cursor:
        cursor.execute("SET firn.as_of = '2020-01-01'")
        server.stop()
        server.start()
        assert answer(cursor, "SHOW firn.as_of") == [("2020-01-01T00:00:00.000000Z",)]


def test_explanations_are_in_words(cursor: Any, rows: str) -> None:
    def plan(statement: str) -> str:
        return "\n".join(line for (line,) in answer(cursor, statement))

    assert f"lookup of 2 keys in {rows}" in plan(f"EXPLAIN SELECT x FROM {rows} WHERE k IN (1, 2)")
    joined = f"SELECT o.x FROM (VALUES (1), (2)) v(k) JOIN {rows} o ON o.k = v.k"
    assert f"inner lookup join with {rows} on k, 1 features" in plan(f"EXPLAIN {joined}")
    told = plan(f"EXPLAIN ANALYZE {joined}")
    assert "answered 2 rows" in told and "output_rows=2" in told


def test_the_catalog(server: Any, rows: str) -> None:
    with connect(server) as connection:
        assert connection.adbc_get_info()["vendor_name"] == "FirnDB"
        tables = connection.adbc_get_objects(depth="all", table_name_filter=rows).read_all().to_pylist()
        assert [table["catalog_name"] for table in tables] == ["firn"]
        schemas = {schema["db_schema_name"]: schema for schema in tables[0]["catalog_db_schemas"]}
        assert sorted(schemas) == ["firn_system", "information_schema", "public"]
        schema = schemas["public"]
        columns = [column["column_name"] for column in schema["db_schema_tables"][0]["table_columns"]]
        assert columns == ["k", "at", "x", "y"]
        types = [column["xdbc_type_name"] for column in schema["db_schema_tables"][0]["table_columns"]]
        assert types[:3] == ["BIGINT", "TIMESTAMP WITH TIME ZONE", "VARCHAR"]
        described = connection.adbc_get_table_schema(rows)
        assert described.field("at").type == pa.timestamp("us", "UTC")
        with connection.cursor() as cursor:
            assert cursor.adbc_execute_schema(f"SELECT * FROM {rows}").names == columns


@pytest.mark.parametrize(
    ("statement", "part"),
    [
        ("SELECT * FROM wether", "there is no table"),
        ("SELECT * FROM other.public.t", "no catalog"),
        ("SELECT nope FROM {rows}", "nope"),
        ("SELEC 1", "cannot be read"),
        ("SELECT * FROM (SELECT * FROM {rows}) t FOR SYSTEM_TIME AS OF '2020-01-01'", "after the tables inside it"),
        ("WITH w AS (SELECT * FROM {rows}) SELECT * FROM w FOR SYSTEM_TIME AS OF '2020-01-01'", "no feature table"),
        ("SELECT * FROM {rows} FOR SYSTEM_TIME AS OF NULL", "NULL"),
        ("SELECT * FROM {rows} FOR SYSTEM_TIME AS OF '2999-01-01'", "what will be known"),
        ("SELECT * FROM {rows} FOR SYSTEM_TIME AS OF 5", "no moment"),
        ("SELECT * FROM as_of('{rows}')", "`at` is missing"),
        ("SELECT * FROM {rows} a ASOF JOIN {rows} b MATCH_CONDITION (a.at <= b.at) ON a.k = b.k", "future"),
        ("SELECT * FROM {rows} a ASOF JOIN {rows} b MATCH_CONDITION (a.at >= b.at) ON a.x = b.x", "another condition"),
        ("SELECT * FROM range(5)", "no table function"),
    ],
)
def test_bad_statements(cursor: Any, rows: str, statement: str, part: str) -> None:
    with pytest.raises(AdbcError) as caught:
        answer(cursor, statement.format(rows=rows))
    assert part in str(caught.value)


def test_rows_are_written_and_tables_declared(server: Any, name: str) -> None:
    with connect(server) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {name} (k BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, x VARCHAR, y DOUBLE)")
        cursor.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", [(1, at(10), "a", 1.5), (2, at(10), None, None)])
        assert cursor.rowcount == 2
        cursor.execute(f"INSERT INTO {name} (k, at, y) VALUES (1, '1970-01-01T00:00:00.000020Z', 2)")
        assert answer(cursor, f"SELECT k, x, y FROM {name} ORDER BY k") == [(1, "a", 2.0), (2, None, None)]
        cursor.execute(f"DELETE FROM {name} WHERE k = ?", (2,))
        assert answer(cursor, f"SELECT k FROM {name}") == [(1,)]
        cursor.execute(f"ALTER TABLE {name} ADD COLUMN z BIGINT DEFAULT 7")
        assert answer(cursor, f"SELECT z FROM {name}") == [(7,)]
        cursor.execute(f"DROP TABLE {name}")
        cursor.execute(f"DROP TABLE IF EXISTS {name}")
        with pytest.raises(AdbcError, match="no table"):
            answer(cursor, f"SELECT * FROM {name}")


def test_bulk_ingest(server: Any, name: str) -> None:
    roles = {"k": "key", "at": "event_time"}
    types = {"k": pa.int64(), "at": pa.timestamp("us", "UTC"), "x": pa.string()}
    fields = [pa.field(column, kind, metadata={"firn.role": roles.get(column, "")}) for column, kind in types.items()]
    batch = pa.table({"k": [1, 2, 3], "at": [at(10)] * 3, "x": ["a", "b", None]}, schema=pa.schema(fields))
    with connect(server) as connection, connection.cursor() as cursor:
        plain = batch.replace_schema_metadata(None).cast(pa.schema(list(types.items())))
        with pytest.raises(AdbcError, match="CREATE TABLE"):
            cursor.adbc_ingest(name, plain, mode="create")
        assert cursor.adbc_ingest(name, batch, mode="create") == 3
        with pytest.raises(AdbcError, match="already"):
            cursor.adbc_ingest(name, batch, mode="create")
        assert cursor.adbc_ingest(name, plain, mode="append") == 3
        assert cursor.adbc_ingest(name, plain, mode="create_append") == 3
        assert cursor.adbc_ingest(name, batch.slice(0, 1), mode="replace") == 1
        assert answer(cursor, f"SELECT k, x FROM {name}") == [(1, "a")]


def test_the_page_runs_as_it_is_written(fresh: Any) -> None:
    page = (pathlib.Path(__file__).parents[3] / "docs" / "sql.md").read_text()
    statements = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    assert len(statements) > 10
    with fresh() as server, connect(server, session=True) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            if cursor.description:
                assert cursor.fetchall(), statement


def test_a_statement_that_is_dropped_ends(server: Any, rows: str) -> None:
    with connect(server) as connection, connection.cursor() as cursor:
        values = ", ".join(f"({number})" for number in range(300))
        cursor.execute(f"SELECT count(*) FROM (VALUES {values}) a, (VALUES {values}) b, (VALUES {values}) c, (VALUES {values}) d, {rows} e")
        reader = cursor.fetch_record_batch()
        timer = threading.Timer(0.3, cursor.adbc_cancel)
        timer.start()
        with pytest.raises((AdbcError, OSError, pa.ArrowException)):
            reader.read_all()
        assert answer(cursor, "SELECT 1") == [(1,)]
