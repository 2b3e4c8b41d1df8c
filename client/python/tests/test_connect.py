"""What docs/connect.md says of Python's tools, beyond its blocks, which test_docs.py runs: ADBC, pandas, polars, SQLAlchemy, DuckDB."""

from __future__ import annotations

import pathlib
import re
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import duckdb
import pandas
import polars
import pyarrow as pa
import pytest
import sqlalchemy
from adbc_driver_manager import Error as AdbcError
from server import PROJECT, Server

HEADER = "adbc.flight.sql.rpc.call_header."
SESSION = "adbc.flight.sql.session.option"
COOKIES = {"adbc.flight.sql.rpc.with_cookie_middleware": "true"}
PAST = "2013-01-01T10:30:00Z"


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2013, 1, 1, hour, minute, tzinfo=UTC)


def connect(server: Server, options: dict[str, str] | None = None, **more: Any) -> Any:
    return flightsql.connect(server.url, db_kwargs=options or {}, autocommit=True, **more)


def answer(connection: Any, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


@pytest.fixture
def connection(server: Server) -> Iterator[Any]:
    with connect(server) as opened:
        yield opened


@pytest.fixture
def weather(connection: Any, name: str) -> str:
    """A table of two stations; what one of them saw, twice."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TABLE {name} (origin VARCHAR PRIMARY KEY, observed TIMESTAMP NOT NULL, temp DOUBLE COMMENT 'degrees', "
            "price DECIMAL(12, 3))"
        )
        cursor.execute(f"CALL seal_table('{name}')")
        rows = [("EWR", at(10), 39.0, None), ("EWR", at(11), 41.5, None), ("JFK", at(10), None, None)]
        cursor.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", rows)
        assert cursor.rowcount == 3
    return name


def test_partitions_are_read_by_another_connection(server: Server, connection: Any, weather: str) -> None:
    with connection.cursor() as cursor:
        partitions, schema = cursor.adbc_execute_partitions(f"SELECT origin, temp FROM {weather} ORDER BY origin")
    assert schema.names == ["origin", "temp"]
    rows = []
    with connect(server) as other, other.cursor() as cursor:
        for partition in partitions:
            cursor.adbc_read_partition(partition)
            rows += cursor.fetchall()
    assert rows == [("EWR", 41.5), ("JFK", None)]


def test_the_catalog_says_types(connection: Any, weather: str) -> None:
    found = connection.adbc_get_objects(depth="all", table_name_filter=weather).read_all().to_pylist()
    (schema,) = [one for one in found[0]["catalog_db_schemas"] if one["db_schema_name"] == "public"]
    columns = schema["db_schema_tables"][0]["table_columns"]
    told = [(column["column_name"], column["xdbc_type_name"]) for column in columns]
    assert told == [
        ("origin", "VARCHAR"),
        ("observed", "TIMESTAMP WITH TIME ZONE"),
        ("temp", "DOUBLE"),
        ("price", "DECIMAL"),
    ]
    assert connection.adbc_get_table_schema(weather).field("temp").type == pa.float64()
    assert "TABLE" in connection.adbc_get_table_types()
    assert (connection.adbc_current_catalog, connection.adbc_current_db_schema) == ("firn", "public")


def test_what_a_statement_takes_and_answers_is_told_before_it_runs(connection: Any, weather: str) -> None:
    with connection.cursor() as cursor:
        takes = cursor.adbc_prepare(f"SELECT temp FROM {weather} FOR VALID_TIME AS OF ? WHERE origin = ? LIMIT ?")
        assert takes.types == [pa.timestamp("us", "UTC"), pa.string(), pa.int64()]
        assert cursor.adbc_execute_schema(f"SELECT temp FROM {weather}").types == [pa.float64()]
        takes = cursor.adbc_prepare("SELECT CAST(? AS TIMESTAMP WITH TIME ZONE), CAST(? AS BIGINT)")
        assert takes.types == [pa.timestamp("us", "UTC"), pa.int64()]


def test_the_past_by_connection_by_statement_and_by_session(server: Server, connection: Any, weather: str) -> None:
    read = f"SELECT temp FROM {weather} WHERE origin = 'EWR'"
    with connect(server, {f"{HEADER}firn.as_of": PAST}) as past:
        assert answer(past, read) == [(39.0,)]
    with connection.cursor() as cursor:
        cursor.adbc_statement.set_options(**{f"{HEADER}firn.as_of": PAST})
        cursor.execute(read)
        assert cursor.fetchall() == [(39.0,)]
    assert answer(connection, read) == [(41.5,)]

    with connect(server, COOKIES) as session:
        session.adbc_connection.set_options(**{f"{SESSION}.firn.as_of": PAST})
        assert answer(session, read) == [(39.0,)]
        assert session.adbc_connection.get_option(f"{SESSION}.firn.as_of").startswith("2013-01-01T10:30:00")
        assert answer(connection, read) == [(41.5,)]
        session.adbc_connection.set_options(**{f"{SESSION}erase.firn.as_of": ""})
        assert answer(session, read) == [(41.5,)]
    with connect(server, COOKIES, conn_kwargs={f"{SESSION}.firn.as_of": PAST}) as session:
        assert answer(session, read) == [(39.0,)]


def test_a_session_refuses_what_it_cannot_hold(server: Server, connection: Any) -> None:
    with connect(server, COOKIES) as session:
        session.adbc_current_catalog, session.adbc_current_db_schema = "firn", "public"
        for option, value in (("catalog", "elsewhere"), ("firn.as_of", "yesterday"), ("nothing", "1")):
            with pytest.raises(AdbcError, match=option):
                session.adbc_connection.set_options(**{f"{SESSION}.{option}": value})
    with pytest.raises(AdbcError, match="keeps no session"):
        answer(connection, "SET firn.as_of = '2013-01-01'")


def test_errors_have_the_status_of_what_went_wrong(connection: Any, weather: str) -> None:
    status = adbc_driver_manager.AdbcStatusCode
    for statement, code in (
        ("SELEC 1", status.INVALID_ARGUMENT),
        ("SELECT * FROM wether", status.NOT_FOUND),
        # Not NOT_IMPLEMENTED, which the driver takes for a server that prepares nothing.
        (f"UPDATE {weather} SET temp = 1", status.INVALID_ARGUMENT),
        (f"CREATE TABLE {weather} (a BIGINT PRIMARY KEY, b TIMESTAMP NOT NULL)", status.ALREADY_EXISTS),
    ):
        with pytest.raises(AdbcError) as caught:
            answer(connection, statement)
        assert caught.value.status_code == code, statement


def test_a_statement_without_its_values_is_refused(connection: Any, weather: str) -> None:
    for statement in (f"SELECT origin FROM {weather} WHERE origin = ?", "SELECT ? + 1", f"INSERT INTO {weather} (origin) VALUES (?)"):
        with pytest.raises(AdbcError, match=r"parameter|value"):
            answer(connection, statement)


def test_what_cannot_be_rolled_back_is_said_at_connect(server: Server, weather: str) -> None:
    with pytest.warns(Warning, match="autocommit"), flightsql.connect(server.url) as opened:
        assert answer(opened, "SELECT 1") == [(1,)]
        opened.rollback()


def test_intervals_are_written_as_sql_writes_them(connection: Any, name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {name} (k BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, took INTERVAL)")
        cursor.execute(f"INSERT INTO {name} VALUES (1, '2013-01-01', INTERVAL '90' SECOND)")
    assert answer(connection, f"SELECT took FROM {name}")[0][0].total_seconds() == 90


def test_pandas(server: Server, connection: Any, weather: str) -> None:
    frame = pandas.read_sql(f"SELECT origin, observed, temp FROM {weather} ORDER BY origin", connection)
    assert frame["observed"].dtype == pandas.DatetimeTZDtype("us", "UTC") and frame["temp"].isna().tolist() == [False, True]
    frame = pandas.read_sql(f"SELECT price FROM {weather}", connection, dtype_backend="pyarrow")
    assert frame["price"].dtype == pandas.ArrowDtype(pa.decimal128(12, 3))
    more = pandas.DataFrame({"origin": ["LGA"], "observed": [at(9)], "temp": [1.5]})
    assert more.to_sql(weather, connection, if_exists="append", index=False) == 1
    assert pandas.read_sql(weather, connection)["origin"].nunique() == 3
    with pytest.raises(NotImplementedError):
        pandas.read_sql("SELECT 1", connection, params=["x"])
    with pytest.raises(Exception, match="create"):
        more.to_sql(f"{weather}_new", connection, index=False)


def test_polars(connection: Any, weather: str) -> None:
    frame = polars.read_database(f"SELECT * FROM {weather} ORDER BY origin", connection)
    assert frame.schema["observed"] == polars.Datetime("us", "UTC") and frame.schema["price"] == polars.Decimal(12, 3)
    batches = polars.read_database(f"SELECT origin FROM {weather}", connection, iter_batches=True, batch_size=1)
    assert sum(batch.height for batch in batches) == 2


def test_duckdb_joins_an_answer_with_its_own(connection: Any, weather: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT origin, temp FROM {weather}")
        answered = cursor.fetch_record_batch()
        joined = duckdb.sql("SELECT city, temp FROM answered JOIN (VALUES ('EWR', 'Newark')) c(origin, city) USING (origin)")
        assert joined.fetchall() == [("Newark", 41.5)]


@pytest.fixture
def engine(server: Server) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(f"adbc+flightsql://127.0.0.1:{server.port}/?tls=false", connect_args={"autocommit": True})


def test_sqlalchemy_reflects_a_table(engine: sqlalchemy.Engine, weather: str) -> None:
    about = sqlalchemy.inspect(engine)
    assert "public" in about.get_schema_names() and about.has_table(weather) and not about.has_table("nothing")
    types = {column["name"]: type(column["type"]) for column in about.get_columns(weather)}
    assert types == {
        "origin": sqlalchemy.String,
        "observed": sqlalchemy.DateTime,
        "temp": sqlalchemy.Float,
        "price": sqlalchemy.Numeric,
    }
    tables = sqlalchemy.text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    with engine.connect() as connection:
        assert weather in connection.execute(tables).scalars().all()
    assert about.get_pk_constraint(weather)["constrained_columns"] == [], "keys are found by now, and the page says that they are not"
    assert about.get_table_names() == [], "the dialect finds tables by now, and the page says that it does not"


def test_sqlalchemy_writes_and_reads(engine: sqlalchemy.Engine, weather: str) -> None:
    table = sqlalchemy.Table(weather, sqlalchemy.MetaData(), autoload_with=engine)
    rows = [{"origin": "LGA", "observed": at(10), "temp": 1.5}, {"origin": "BOS", "observed": at(10), "temp": None}]
    with warnings.catch_warnings(), engine.begin() as connection:
        warnings.simplefilter("error")
        assert connection.execute(table.insert(), rows).rowcount == 2
        warm = sqlalchemy.select(table.c.origin).where(table.c.temp > 1).order_by(table.c.temp.desc()).limit(2)
        assert connection.execute(warm).scalars().all() == ["EWR", "LGA"]
        text = sqlalchemy.text(f"SELECT temp FROM {weather} FOR VALID_TIME AS OF :moment WHERE origin = :origin")
        assert connection.execute(text, {"moment": at(10, 30), "origin": "EWR"}).scalar() == 39.0


def test_sqlalchemy_takes_nothing_back(engine: sqlalchemy.Engine, weather: str) -> None:
    with pytest.raises(KeyError), engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"INSERT INTO {weather} (origin, observed) VALUES ('LGA', '2013-01-01')"))
        raise KeyError
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text(f"SELECT count(*) FROM {weather}")).scalar() == 3


def test_every_block_of_the_page_is_run_by_some_test() -> None:
    page = (PROJECT / "docs" / "connect.md").read_text()
    runners = {
        "python": "client/python/tests/test_docs.py",
        "java": "server/tests/clients/java/src/test/java/ConnectPageTest.java",
        "go": "server/tests/clients/go/connect_page_test.go",
        "js": "server/tests/clients/node/connect-page.test.mjs",
        "sql": "server/tests/clients/go/connect_page_test.go",
    }
    languages = set(re.findall(r"^```(\w+)$", page, re.MULTILINE)) - {"text", "ini"}
    assert languages == set(runners)
    for language, runner in runners.items():
        assert f"```{language}" in pathlib.Path(PROJECT, runner).read_text(), runner
