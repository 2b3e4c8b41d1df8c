"""The history of a table in the bucket, read by engines that know no FirnDB."""

from __future__ import annotations

import datetime
import decimal
import json
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


def test_every_type_is_read_by_all(lake: tuple[Server, pathlib.Path]) -> None:
    """Whatever encodings the trial chooses, each reader knows them."""
    server, bucket = lake
    chance = random.Random(3)
    rows = 500
    cells: dict[str, pa.Array] = {
        "a": pa.array([chance.randrange(2**64) for _ in range(rows)], pa.uint64()),
        "b": pa.array([chance.randrange(-(2**31), 2**31) for _ in range(rows)], pa.int32()),
        "c": pa.array([decimal.Decimal(chance.randrange(10**10)) / 100 for _ in range(rows)], pa.decimal128(12, 2)),
        "d": pa.array([chance.random() for _ in range(rows)], pa.float64()),
        "f": pa.array([chance.randrange(2**24) / 8 for _ in range(rows)], pa.float32()),
        "g": pa.array([f"text {chance.random()}" for _ in range(rows)], pa.utf8()),
        "h": pa.array([chance.randbytes(9) for _ in range(rows)], pa.binary(9)),
        "i": pa.array([chance.random() < 0.5 for _ in range(rows)], pa.bool_()),
        "j": pa.array([START.date() + datetime.timedelta(chance.randrange(9999)) for _ in range(rows)], pa.date32()),
        "l": pa.array([[chance.randrange(9) / 8] * 3 for _ in range(rows)], pa.list_(pa.float32(), 3)),
    }
    types = ["uint64", "int32", "decimal128(12, 2)", "float64", "float32", "utf8", "fixed_size_binary[9]", "bool", "date32"]
    features = dict(zip(cells, [*types, "fixed_size_list<float32>[3]"], strict=True))
    with firndb.connect(server.url) as client:
        client.create_entity("e", {"k": "int64"})
        client.create_table("t", entity="e", event_time="moment", features=features)
        keys = {"k": list(range(rows)), "moment": pa.array([START] * rows, TIME)}
        client.write("t", pa.table({**keys, **cells}))
        client.freeze("t")
    (table,) = (bucket / "ice").iterdir()
    expected = list(zip(*(column.to_pylist() for column in cells.values()), strict=True))
    read = [*cells, "sequence", "row", "kind", "features", "_ordinal"]
    frame = polars.scan_delta(str(table)).sort("k").select(read).collect()
    assert frame.select(list(cells)).rows() == expected
    assert frame["sequence"].dtype == frame["row"].dtype == polars.Int64
    with duckdb.connect() as database:
        found = database.execute(f"SELECT {', '.join(read)} FROM read_parquet('{table}/*.parquet') ORDER BY k").fetchall()
    assert [row[: len(cells)] for row in found] == expected
    whole = deltalake.DeltaTable(str(table)).to_pyarrow_table(columns=["k", *cells]).sort_by("k").drop_columns(["k"])
    assert [tuple(row.values()) for row in whole.to_pylist()] == expected


def test_a_long_log_is_read_from_its_checkpoint(fresh: Callable[..., Server], tmp_path: pathlib.Path) -> None:
    """The commits that a checkpoint stands for are gone, and nobody misses a row."""
    bucket = tmp_path / "bucket"
    server = fresh("--bucket", f"file://{bucket}", "--bucket-garbage-age", "0s")
    rows = 103
    with firndb.connect(server.url) as client:
        client.create_entity("e", {"k": "int64"})
        client.create_table("t", entity="e", event_time="moment", features={"x": "float64", "note": "utf8"})
        for row in range(rows):
            cells = {"k": [row % 5], "moment": pa.array([moment(row)], TIME), "x": [row / 3], "note": [f"note {row}"]}
            client.write("t", pa.table(cells))
            client.freeze("t")
        known = client.scan("t", history=True, to="pyarrow").select(["k", "moment", "x", "note"]).sort_by("moment")
    (table,) = (bucket / "ice").iterdir()
    log = table / "_delta_log"
    pointer = json.loads((log / "_last_checkpoint").read_text())
    assert pointer["version"] == 100 and pointer["numOfAddFiles"] == 101
    commits = [f"{version:020}.json" for version in range(100, rows)]
    assert sorted(name.name for name in log.iterdir()) == sorted([f"{100:020}.checkpoint.parquet", *commits, "_last_checkpoint"])
    assert known.num_rows == rows
    columns = known.column_names
    lake = deltalake.DeltaTable(str(table))
    assert lake.version() == rows - 1
    assert lake.to_pyarrow_table(columns=columns).sort_by("moment").to_pylist() == known.to_pylist()
    before = deltalake.DeltaTable(str(table), version=100)
    assert before.to_pyarrow_table(columns=columns).sort_by("moment").to_pylist() == known[:101].to_pylist()
    frame = polars.scan_delta(str(table)).select(columns).sort("moment").collect()
    assert frame.to_dicts() == known.to_pylist()
    # Its statistics are those of the commits, and readers that prune by them miss nothing.
    late = polars.scan_delta(str(table)).filter(polars.col("moment") >= moment(rows - 4)).sort("moment").collect()
    assert late["note"].to_list() == [f"note {row}" for row in range(rows - 4, rows)]
    statistics = pa.table(lake.get_add_actions(flatten=True))
    bounds = {name for name in statistics.column_names if name.startswith(("min.", "max."))}
    assert {name for name in bounds if statistics[name].null_count < 101} == {"min.moment", "max.moment"}


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
