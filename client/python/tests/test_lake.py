"""The history of a table in the bucket, read by engines that know no FirnDB."""

from __future__ import annotations

import datetime
import pathlib
import random
import re
from collections.abc import Callable
from typing import Any

import deltalake
import duckdb
import firndb
import polars
import pyarrow as pa
import pytest
from server import PROJECT, Server

START = datetime.datetime(2024, 5, 1, tzinfo=datetime.timezone.utc)
TIME = pa.timestamp("us", "UTC")


def moment(minutes: int) -> datetime.datetime:
    return START + datetime.timedelta(minutes=minutes)


def rule() -> str:
    """The rule of time as SQL, as the documentation has it."""
    page = (PROJECT / "docs" / "storage-tiers.md").read_text()
    return page.split("```sql\n", 1)[1].split("```", 1)[0]


@pytest.fixture
def lake(fresh: Callable[..., Server], tmp_path: pathlib.Path) -> tuple[Server, pathlib.Path]:
    bucket = tmp_path / "bucket"
    return fresh("--bucket", f"file://{bucket}", "--hot-bytes-max", "0"), bucket


def write(client: firndb.Client, chance: random.Random, rows: int) -> None:
    """Rows, some of them corrections of others and some without one of the features."""
    for _ in range(rows):
        cells: dict[str, Any] = {"x": [chance.random()], "n": [chance.randrange(100)]}
        if chance.random() < 0.3:
            del cells[chance.choice(["x", "n"])]
        key, at = chance.randrange(5), moment(chance.randrange(30))
        client.write("t", pa.table({"k": [key], "moment": pa.array([at], TIME), **cells}))
        if chance.random() < 0.1:
            client.delete("t", pa.table({"k": [chance.randrange(5)], "moment": pa.array([moment(chance.randrange(30))], TIME)}))
        if chance.random() < 0.1:
            client.retract("t", pa.table({"k": [key], "moment": pa.array([at], TIME)}))


def test_plain_readers_reproduce_the_rule_of_time(lake: tuple[Server, pathlib.Path]) -> None:
    server, bucket = lake
    chance = random.Random(7)
    with firndb.connect(server.url) as client:
        client.create_entity("e", {"k": "int64"})
        client.create_table("t", entity="e", event_time="moment", features={"x": "float64", "n": "uint32"})
        known = []
        for _ in range(3):
            write(client, chance, 60)
            client.freeze("t")
            write(client, chance, 10)
            known.append(now(client))
        client.freeze("t")
        known.append(now(client))
        (table,) = (bucket / "ice").iterdir()
        whole = deltalake.DeltaTable(str(table)).to_pyarrow_table()
        history = client.scan("t", history=True, to="pyarrow")
        assert whole.num_rows == history.num_rows
        assert polars.scan_delta(str(table)).select(polars.len()).collect().item() == history.num_rows
        check_rule(client, whole, known)
        # A column that comes later is null in the files before it; one of another name leaves them out.
        client.alter_table("t", add={"y": "utf8"})
        client.write("t", pa.table({"k": [1], "moment": pa.array([moment(3)], TIME), "y": ["later"]}))
        client.freeze("t")
        later = deltalake.DeltaTable(str(table)).to_pyarrow_table()
        assert later.num_rows == history.num_rows + 1 and later["y"].drop_null().to_pylist() == ["later"]
        client.erase("e", {"k": [2]})
        client.freeze("t")
        kept = deltalake.DeltaTable(str(table)).to_pyarrow_table()
        assert 2 in later["k"].to_pylist() and 2 not in kept["k"].to_pylist()


def now(client: firndb.Client) -> datetime.datetime:
    """The last moment that is known now."""
    return datetime.datetime.fromtimestamp(client.status()["clock"] / 1e6, datetime.timezone.utc)


def check_rule(client: firndb.Client, whole: pa.Table, known: list[datetime.datetime]) -> None:
    """Asks the engine and DuckDB for each feature at many moments, of the world and of what was known."""
    keys = list(range(6))
    differ = 0
    for feature in ["x", "n"]:
        query = re.sub(r"\bx\b", feature, rule())
        for minutes in range(-1, 32):
            for knowledge in known:
                bounds = {"as_of": moment(minutes), "known_at": knowledge}
                engine = client.lookup(f"t.{feature}", {"k": keys}, to="dict", **bounds)[feature]
                with duckdb.connect() as database:
                    database.register("ice", whole)
                    answered = dict(database.execute(query, {"t": moment(minutes), "s": knowledge}).fetchall())
                assert [answered.get(key) for key in keys] == engine, (feature, minutes, knowledge)
                differ += sum(value is not None for value in engine)
    assert differ > 500, "the questions were about something"
