"""A server with a bucket: writes that say whether they wait for it, and reads that answer only what it has."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable

import firndb
import flight_sql
import pytest
from server import Server


def row(value: int) -> dict[str, list[object]]:
    return {"k": [1], "at": ["2024-05-01T00:00:00Z"], "x": [value]}


@pytest.fixture
def lagging(fresh: Callable[..., Server], tmp_path: pathlib.Path) -> Server:
    """A server that sends to its bucket only what somebody waits for."""
    server = fresh("--bucket", f"file://{tmp_path}/bucket", "--bucket-upload-interval", "1h")
    with firndb.connect(server.url) as client:
        client.create_entity("thing", {"k": "int64"})
        client.create_table("t", entity="thing", event_time="at", features={"x": "int64"})
    return server


def test_what_was_acknowledged_for_the_bucket_and_what_was_durable_outlives_the_disk(lagging: Server) -> None:
    keys, asked = {"k": [1]}, {"durable": True, "details": True}
    with firndb.connect(lagging.url) as client:
        kept = client.write("t", row(1), acknowledge="object")
        assert (kept.acknowledged, kept.durable_position) == ("object", kept.read_position)
        ahead = client.write("t", row(2))
        assert (ahead.acknowledged, ahead.durable_position) == ("local", kept.read_position)
        assert client.write("t", row(3), acknowledge="local").acknowledged == "local"
        now = client.lookup("t.x", keys, details=True)
        assert (now.data, now.durable_position) == ({"x": [3]}, kept.read_position)
        durable = client.lookup("t.x", keys, **asked)
        assert (durable.data, durable.read_position) == ({"x": [1]}, kept.read_position)
        assert client.join({"k": [1]}, "t.x", as_of="latest", durable=True) == {"k": [1], "x": [1]}
        scanned = client.scan("t", ["x"], to="dict", **asked)
        assert (scanned.data, scanned.durable_position) == ({"k": [1], "x": [1]}, kept.read_position)
        with pytest.raises(firndb.OutOfRange, match="not yet in the bucket"):
            client.lookup("t.x", keys, position=ahead.read_position, durable=True)
    lagging.kill()
    shutil.rmtree(lagging.directory / "data")
    lagging.start()
    with firndb.connect(lagging.url) as client:
        assert client.lookup("t.x", keys, position=durable.read_position) == {"x": [1]}
        with pytest.raises(firndb.Invalid, match="lost with the disk"):
            client.lookup("t.x", keys, position=now.read_position)


def test_a_durable_read_waits_for_what_was_written(lagging: Server) -> None:
    with firndb.connect(lagging.url) as client:
        written = client.write("t", row(1))
        read = client.lookup("t.x", {"k": [1]}, durable=True, at_least=written.read_position, wait="30s", details=True)
        assert (read.data, read.durable_position) == ({"x": [1]}, written.read_position)


def test_deletes_and_retracts_say_it_too(lagging: Server) -> None:
    key = {"k": [1], "at": ["2024-05-01T00:00:00Z"]}
    with firndb.connect(lagging.url) as client:
        client.write("t", row(1), producer=firndb.Producer("p", 1), acknowledge="object")
        again = client.write("t", row(1), producer=firndb.Producer("p", 1), acknowledge="object")
        assert (again.duplicates, again.acknowledged) == (1, "object")
        assert client.retract("t", key, acknowledge="object").acknowledged == "object"
        assert client.delete("t", key, acknowledge="object").acknowledged == "object"
        assert client.lookup("t.x", {"k": [1]}, durable=True) == {"x": [None]}


def test_a_receipt_says_from_where_bytes_went_and_is_asked_for_again(lagging: Server) -> None:
    with firndb.connect(lagging.url) as client:
        client.write("t", row(1), acknowledge="object")
        receipt = client.erase("thing", {"k": [1]})
        assert set(receipt["tiers"]) == {"disk", "bucket", "ice", "checkpoints"}
        assert receipt["tiers"]["disk"]["removed"] > 0 and receipt["tiers"]["ice"]["removed"] == 0
        assert all(receipt["erased_at"] <= tier["gone_at"] <= receipt["purged_at"] for tier in receipt["tiers"].values())
        kept = client.receipts("thing", 1)
        assert kept == [{field: receipt[field] for field in ("entities", "erased_at", "purged_at", "tiers")}]
    lagging.kill()
    shutil.rmtree(lagging.directory / "data")
    lagging.start()
    with firndb.connect(lagging.url) as client:
        assert client.receipts("thing") == kept
        with pytest.raises(firndb.Invalid, match="1 to 10000"):
            client.receipts("thing", 0)


def test_what_needs_a_bucket_names_it(client: firndb.Client, name: str) -> None:
    client.create_entity(name, {"k": "int64"})
    client.create_table(name, entity=name, event_time="at", features={"x": "int64"})
    with pytest.raises(firndb.Precondition, match="--bucket"):
        client.write(name, row(1), acknowledge="object")
    with pytest.raises(firndb.Precondition, match="--bucket"):
        client.lookup(f"{name}.x", {"k": [1]}, durable=True)
    with pytest.raises(firndb.Invalid, match="write.acknowledge: expected"):
        client.write(name, row(1), acknowledge="disk")  # type: ignore[arg-type]
    assert client.write(name, row(1), acknowledge="local").acknowledged is None


def test_sql_reads_what_is_durable_too(lagging: Server) -> None:
    statement = "SELECT k, x FROM t"
    with firndb.connect(lagging.url) as client:
        client.write("t", row(1), acknowledge="object")
        ahead = client.write("t", row(2))
    with flight_sql.connect(lagging) as connection, connection.cursor() as cursor:
        assert flight_sql.answer(cursor, statement) == [(1, 2)]
    with flight_sql.connect(lagging, durable="true") as connection, connection.cursor() as cursor:
        assert flight_sql.answer(cursor, statement) == [(1, 1)]
        code, message = flight_sql.refusal(connection, "INSERT INTO t (k, x) VALUES (2, 2)")
        assert code == "FAILED_PRECONDITION" and "firn.durable" in message
    with flight_sql.connect(lagging, durable="true", position=str(ahead.read_position)) as connection:
        assert flight_sql.refusal(connection, statement)[0] == "OUT_OF_RANGE"
    with flight_sql.connect(lagging, session=True) as connection, connection.cursor() as cursor:
        flight_sql.answer(cursor, "SET firn.durable = true")
        assert flight_sql.answer(cursor, "SHOW firn.durable") == [("true",)]
        assert flight_sql.answer(cursor, statement) == [(1, 1)]
        flight_sql.answer(cursor, "RESET firn.durable")
        assert flight_sql.answer(cursor, statement) == [(1, 2)]
        assert "firn.durable" in flight_sql.refusal(connection, "SET firn.durable = 'perhaps'")[1]


def test_sql_without_a_bucket_names_it(server: Server) -> None:
    with flight_sql.connect(server, durable="true") as connection:
        code, message = flight_sql.refusal(connection, "SELECT 1")
        assert code == "FAILED_PRECONDITION" and "--bucket" in message
