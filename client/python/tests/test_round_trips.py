"""What goes in comes out, in the kind of what was given, with every value, null and type as it was."""

from __future__ import annotations

import datetime
import decimal
import math
import pathlib
import subprocess
import sys
from typing import Any

import firndb
import numpy
import pandas
import polars
import pyarrow as pa
import pytest

UTC = datetime.timezone.utc
MOMENT = datetime.datetime(2024, 5, 1, tzinfo=UTC)
TIME = pa.timestamp("us", "UTC")

# Every family of types: two values and a null of each.
TYPES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "bool": (pa.bool_(), [True, False]),
    "int8": (pa.int8(), [-128, 127]),
    "int64": (pa.int64(), [-(2**63), 2**63 - 1]),
    "uint64": (pa.uint64(), [0, 2**64 - 1]),
    "float16": (pa.float16(), [numpy.float16(0.5), numpy.float16(-2.0)]),
    "float32": (pa.float32(), [0.1, -0.0]),
    "float64": (pa.float64(), [math.pi, float("inf")]),
    "utf8": (pa.utf8(), ["", "München ❄ 🏔"]),
    "large_utf8": (pa.large_utf8(), ["a", "b"]),
    "binary": (pa.binary(), [b"", b"\x00\xff"]),
    "fixed_binary": (pa.binary(3), [b"abc", b"\x00\x01\x02"]),
    "date": (pa.date32(), [datetime.date(1969, 12, 31), datetime.date(2024, 2, 29)]),
    "time": (pa.time64("us"), [datetime.time(0, 0), datetime.time(23, 59, 59, 999_999)]),
    "timestamp_us": (TIME, [MOMENT, datetime.datetime(1901, 1, 1, tzinfo=UTC)]),
    "timestamp_ms": (pa.timestamp("ms"), [datetime.datetime(2024, 5, 1), datetime.datetime(1969, 1, 1)]),
    "duration": (pa.duration("us"), [datetime.timedelta(days=-1), datetime.timedelta(microseconds=1)]),
    "decimal": (pa.decimal128(38, 2), [decimal.Decimal("123456789012345678901234567890.12"), decimal.Decimal("-0.01")]),
    "embedding": (pa.list_(pa.float32(), 4), [[1.0, 2.0, 3.0, 4.0], [0.0, -1.0, 0.5, 2.5]]),
    "list": (pa.list_(pa.utf8()), [[], ["a", None, "b"]]),
    "struct": (pa.struct([("a", pa.int64()), ("b", pa.utf8())]), [{"a": 1, "b": None}, {"a": None, "b": "x"}]),
    "map": (pa.map_(pa.utf8(), pa.int64()), [[], [("a", 1), ("b", None)]]),
    "dictionary": (pa.dictionary(pa.int32(), pa.utf8()), ["red", "green"]),
}


def column(kind: str) -> pa.Array:
    data_type, values = TYPES[kind]
    if pa.types.is_dictionary(data_type):
        return pa.array([*values, None], data_type.value_type).cast(data_type)
    return pa.array([*values, None], data_type)


def create(client: firndb.Client, table: str, features: Any) -> None:
    client.create_entity(table, {"k": "int64"})
    client.create_table(table, entity=table, event_time="at", features=features)


def test_every_type_comes_back_as_declared(client: firndb.Client, name: str) -> None:
    create(client, name, {f"f_{kind}": data_type for kind, (data_type, _) in TYPES.items()})
    columns = {f"f_{kind}": column(kind) for kind in TYPES}
    table = pa.table({"k": pa.array([1, 2, 3]), "at": pa.array([MOMENT] * 3, TIME), **columns})
    client.write(name, table)
    for flushed in (False, True):
        if flushed:
            client.flush(name)
        found = client.lookup(f"{name}.*", pa.table({"k": [1, 2, 3, 4]}))
        for feature, given in columns.items():
            assert found.schema.field(feature).type == given.type, feature
            assert found[feature].to_pylist() == [*given.to_pylist(), None], feature
    scanned = client.scan(name).sort_by("k")
    assert scanned["f_embedding"].to_pylist() == columns["f_embedding"].to_pylist()


def test_wide_and_lossless_casts_at_the_door(client: firndb.Client, name: str) -> None:
    create(client, name, {"i": "int64", "s": "utf8", "n": "float64"})
    batch = pa.table({
        "k": pa.array([1], pa.int16()), "at": pa.array([MOMENT], pa.timestamp("s", "Europe/Berlin")),
        "i": pa.array([7], pa.int8()), "s": pa.array(["x"]).cast(pa.string_view()), "n": pa.nulls(1),
    })  # fmt: skip
    client.write(name, batch)
    assert client.lookup(f"{name}.*", {"k": [1]}) == {"i": [7], "s": ["x"], "n": [None]}


def test_pandas_in_pandas_out(client: firndb.Client, name: str) -> None:
    create(client, name, {"i": "int64", "x": "float64", "s": "utf8", "b": "bool", "t": "timestamp[us, UTC]"})
    frame = pandas.DataFrame({
        "k": [1, 2, 3],
        "at": pandas.to_datetime(["2024-05-01"] * 3, utc=True),
        "i": pandas.array([2**53 + 1, None, 3], dtype="Int64"),
        "x": [0.5, float("nan"), 1.5],
        "s": ["a", None, "c"],
        "b": pandas.array([True, None, False], dtype="boolean"),
        "t": pandas.to_datetime(["2024-05-01T01:02:03.000004", None, "1900-01-01"], format="ISO8601", utc=True),
    })  # fmt: skip
    assert client.write(name, frame).rows == 3
    entities = pandas.DataFrame({"k": [3, 1, 2]}, index=["c", "a", "b"])
    found = client.lookup(f"{name}.*", entities)
    assert list(found.index) == ["c", "a", "b"]
    frame["t"] = frame["t"].astype("datetime64[us, UTC]")
    expected = frame.set_index(pandas.Index(["a", "b", "c"])).loc[["c", "a", "b"], ["i", "x", "s", "b", "t"]]
    pandas.testing.assert_frame_equal(found, expected, check_dtype=False)
    assert found["i"].dtype == "Int64" and found.loc["a", "i"] == 2**53 + 1
    joined = client.join(entities.assign(note="kept"), [f"{name}.i"], as_of="latest")
    assert list(joined.columns) == ["k", "note", "i"] and list(joined.index) == ["c", "a", "b"]


def test_polars_in_polars_out(client: firndb.Client, name: str) -> None:
    create(client, name, {"i": "int64", "s": "utf8", "v": "fixed_size_list<float32>[2]"})
    frame = polars.DataFrame({
        "k": [1, 2], "at": [MOMENT, MOMENT], "i": [2**62 + 1, None], "s": ["a", "ü"],
        "v": polars.Series([[1.0, 2.0], [3.0, 4.0]], dtype=polars.Array(polars.Float32, 2)),
    })  # fmt: skip
    client.write(name, frame.lazy())
    found = client.lookup(f"{name}.*", polars.DataFrame({"k": [2, 1]}))
    assert isinstance(found, polars.DataFrame)
    assert found.rows() == frame.select("i", "s", "v").reverse().rows()
    joined = client.join(polars.DataFrame({"k": [1], "note": ["kept"]}), f"{name}.i", as_of="latest")
    assert joined.rows() == [(1, "kept", 2**62 + 1)]


def test_every_kind_can_be_asked_for(client: firndb.Client, name: str) -> None:
    create(client, name, {"x": "float64"})
    client.write(name, [{"k": 1, "at": MOMENT, "x": 1.5}, {"k": 2, "at": MOMENT, "x": None}])
    kinds = {"arrow": pa.Table, "pyarrow": pa.Table, "numpy": dict, "pandas": pandas.DataFrame, "polars": polars.DataFrame, "dict": dict,
             "reader": pa.RecordBatchReader}  # fmt: skip
    for kind, expected in kinds.items():
        assert isinstance(client.lookup(f"{name}.x", {"k": [1]}, to=kind), expected)
        assert isinstance(client.join({"k": [1]}, f"{name}.x", as_of="latest", to=kind), expected)
        assert isinstance(client.scan(name, to=kind), expected)
    with pytest.raises(firndb.Invalid, match="pyarrow, pandas, polars, numpy, dict, reader"):
        client.scan(name, to="csv")


def test_times_and_durations_in_every_form(client: firndb.Client, name: str) -> None:
    client.create_entity(name, {"k": "int64"})
    hour = datetime.timedelta(hours=1)
    client.create_table(name, entity=name, event_time="at", features={"x": "int64"}, max_age=hour)
    client.write(name, {"k": [1], "at": [MOMENT], "x": [1]})
    micros = 1_714_521_600_000_000
    for form in (MOMENT, MOMENT.replace(tzinfo=None), micros, "2024-05-01T00:00:00Z", pandas.Timestamp(MOMENT),
                 numpy.datetime64("2024-05-01T00:00:00", "ns"), pandas.Timestamp("2024-05-01T00:00:00.000000999Z")):  # fmt: skip
        assert client.lookup(f"{name}.x", {"k": [1]}, as_of=form) == {"x": [1]}, form
        if getattr(form, "nanosecond", 0) == 0:
            before = client.lookup(f"{name}.x", {"k": [1]}, as_of=firndb.before(form), status=True)
            assert before == {"x": [None], "x__status": ["never"]}, form
    later = client.lookup(f"{name}.x", {"k": [1]}, as_of=MOMENT + hour, status=True, event_times=True)
    assert later == {"x": [1], "x__status": ["value"], "x__event_time": [MOMENT]}
    too_late = client.lookup(f"{name}.x", {"k": [1]}, as_of=micros + 3_600_000_001, status=True)
    assert too_late == {"x": [None], "x__status": ["expired"]}


def test_a_join_without_as_of_never_leaves(client: firndb.Client) -> None:
    with pytest.raises(firndb.Invalid, match="the label leaks") as caught:
        client.join({"k": [1]}, ["no.such"])
    assert "as_of=\"decided_at\"" in caught.value.message and "as_of=\"latest\"" in caught.value.message


def test_errors_have_their_types(client: firndb.Client, name: str) -> None:
    create(client, name, {"x": "float64"})
    with pytest.raises(firndb.NotFound):
        client.describe_table("nothing")
    with pytest.raises(firndb.AlreadyExists):
        client.create_entity(name, {"k": "utf8"})
    with pytest.raises(firndb.Invalid) as caught:
        client.write(name, {"k": [1], "at": [MOMENT], "y": [1.0]})
    assert "`y`" in caught.value.message and "gRPC" not in caught.value.message
    with pytest.raises(firndb.Unavailable), firndb.connect("grpc://127.0.0.1:1") as nobody:
        nobody.status()
    with pytest.raises(firndb.Precondition):
        client.lookup(f"{name}.x", {"k": [1]}, known_at=MOMENT)
    with pytest.raises(firndb.Precondition):
        client.drop_entity(name)


def test_a_long_write_says_what_was_applied_before_the_bad_row(client: firndb.Client, name: str) -> None:
    create(client, name, {"x": "float64"})
    keys = [*range(250), None, *range(251, 300)]
    data = {"k": keys, "at": [MOMENT] * 300, "x": [1.0] * 300}
    with pytest.raises(firndb.Invalid) as caught:
        client.write(name, data, batch_rows=100)
    assert caught.value.written.rows == 200
    assert "row 200 of the data" in caught.value.message
    written = client.write(name, data, batch_rows=100, bad_rows="report")
    assert (written.batches, written.rows, written.bad_row_count) == (3, 299, 1)
    assert [(bad.row, bad.column) for bad in written.bad_rows] == [(250, "k")]


def test_a_producer_is_applied_exactly_once(client: firndb.Client, name: str) -> None:
    create(client, name, {"x": "float64"})
    batch = {"k": [1], "at": [MOMENT], "x": [1.0]}
    first = firndb.Producer("loader", 1)
    assert client.write(name, batch, producer=first).duplicates == 0
    assert client.write(name, batch, producer=first).duplicates == 1
    assert client.write(name, batch, producer=firndb.Producer("loader", 2, previous=1)).duplicates == 0
    with pytest.raises(firndb.Precondition, match="2"):
        client.write(name, batch, producer=firndb.Producer("loader", 9, previous=8))


def test_a_session_of_lookups_outlives_a_refused_request(client: firndb.Client, name: str) -> None:
    create(client, name, {"x": "int64"})
    client.write(name, {"k": list(range(1000)), "at": [MOMENT] * 1000, "x": list(range(1000))})
    with client.lookups(f"{name}.x") as lookups:
        assert lookups.get({"k": [5]}) == {"x": [5]}
        with pytest.raises(firndb.Invalid, match="null"):
            lookups.get({"k": pa.array([None], pa.int64())})
        assert lookups.get({"k": [6]}, details=True).data == {"x": [6]}
        requests = ({"k": [k, k + 1]} for k in range(0, 900, 3))
        assert [answer["x"] for answer in lookups.pipeline(requests)] == [[k, k + 1] for k in range(0, 900, 3)]
        for answer in lookups.pipeline({"k": [k]} for k in range(100)):
            with pytest.raises(firndb.Invalid, match="pipeline"):
                lookups.get({"k": [1]})
            break
        assert lookups.get({"k": [7]}) == {"x": [7]}

        def broken() -> Any:
            yield {"k": [1]}
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            list(lookups.pipeline(broken()))
        assert lookups.get({"k": [8]}) == {"x": [8]}
    with pytest.raises(firndb.Invalid, match="closed"):
        lookups.get({"k": [9]})


def test_the_callers_own_mistake_in_an_iterable_is_raised_as_it_is(client: firndb.Client, name: str) -> None:
    create(client, name, {"x": "int64"})

    def batches() -> Any:
        yield pa.RecordBatch.from_pydict({"k": [1], "at": pa.array([MOMENT], TIME), "x": [1]})
        raise ZeroDivisionError

    def keys() -> Any:
        yield pa.RecordBatch.from_pydict({"k": [1]})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        client.write(name, batches())
    with pytest.raises(ZeroDivisionError):
        client.join(keys(), f"{name}.x", as_of="latest").read_all()


def test_other_names_and_other_entities(client: firndb.Client, name: str) -> None:
    create(client, name, {"x": "int64", "y": "int64"})
    client.write(name, {"k": [1, 2], "at": [MOMENT] * 2, "x": [1, 2], "y": [10, 20]})
    features = [f"{name}.x", firndb.select(f"{name}.x", as_="other_x", entity={"k": "other"}),
                firndb.select(f"{name}.*", prefix="my_")]  # fmt: skip
    assert client.lookup(features, {"k": [1], "other": [2]}) == {"x": [1], "other_x": [2], "my_x": [1], "my_y": [10]}


def test_declarations_scans_and_upkeep(client: firndb.Client, name: str) -> None:
    client.create_entity(name, [("user", pa.utf8()), ("item", pa.int64())], bucket_by=["user"], buckets=4)
    features = [firndb.Feature("x", pa.float64(), max_age="3h", default=0.5, description="what", tags=["pii"]),
                firndb.Feature("n", "int64", default=2**60)]  # fmt: skip
    declared = client.create_table(
        name, entity=name, event_time="at", features=features, max_age=datetime.timedelta(days=2), owner="me"
    )
    assert declared == client.create_table(
        name, entity=name, event_time="at", features=features, max_age="2d", owner="me", if_not_exists=True
    )
    assert declared["sealed"] is False and declared["schema_version"] >= 1
    assert name in str(client.list_tables()) and name in str(client.list_entities())
    rows = [{"user": user, "item": item, "at": MOMENT, "x": float(item)} for user in "ab" for item in (1, 2)]
    written = client.write(name, rows)
    assert client.lookup(f"{name}.n", {"user": ["a"], "item": [1]}, as_of=MOMENT) == {"n": [2**60]}
    client.alter_table(name, add={"z": "utf8"}, rename={"x": "width"}, set={"max_age": "8h"})
    assert client.scan(name, as_of=MOMENT, to="polars").sort("user", "item")["width"].to_list() == [1.0, 2.0, 1.0, 2.0]
    client.delete(name, {"user": ["a"], "item": [1], "at": [MOMENT]})
    history = client.scan(name, history=True)
    assert sorted(history["kind"].to_pylist()) == ["delete", "write", "write", "write", "write"]
    assert client.scan(name, as_of=MOMENT, position=written.read_position).num_rows == 4
    receipt = client.erase(name, {"user": ["b"]})
    assert isinstance(receipt, dict)
    left = client.scan(name, as_of=MOMENT, to="dict")
    assert (left["user"], left["item"]) == (["a"], [2])
    assert client.status() and client.describe_table(name)["sealed"] is True
    client.drop_table(name)
    client.drop_entity(name)
    with pytest.raises(firndb.NotFound):
        client.describe_table(name)


def test_files_are_short_and_say_what_they_are() -> None:
    for file in (pathlib.Path(firndb.__file__).parent).glob("*.py"):
        text = file.read_text()
        assert text.startswith('"""'), file
        assert text.count("\n") <= 400, file


@pytest.mark.parametrize("kind", ["pandas", "polars", "dict"])
def test_every_type_survives_a_way_out_and_back(client: firndb.Client, name: str, kind: str) -> None:
    """From one table into pandas, polars or plain Python, and from there into another table."""
    features = {f"f_{each}": data_type for each, (data_type, _) in TYPES.items()}
    for table in (name, f"{name}_copy"):
        create(client, table, features)
    columns = {f"f_{each}": column(each) for each in TYPES}
    spine = pa.table({"k": [1, 2, 3], "at": pa.array([MOMENT] * 3, TIME)})
    client.write(name, pa.table({**dict(zip(spine.column_names, spine.columns)), **columns}))
    client.write(f"{name}_copy", client.join(spine, f"{name}.*", as_of="latest", to=kind))
    copied = client.lookup(f"{name}_copy.*", pa.table({"k": [1, 2, 3]}))
    for feature, given in columns.items():
        assert copied[feature].to_pylist() == given.to_pylist(), feature


def test_plain_python_values_take_the_declared_types(client: firndb.Client, name: str) -> None:
    create(client, name, {"x": "float64", "n": "int8", "d": "decimal128(10, 2)", "m": "map<utf8, int64>",
                          "v": "fixed_size_list<float32>[2]"})  # fmt: skip
    client.write(name, {"k": [1], "at": [MOMENT], "x": [1], "n": [2], "d": [decimal.Decimal("1.5")], "m": [[("a", 1)]]})
    client.write(name, [{"k": 2, "at": MOMENT, "x": 3}, {"k": 3, "at": MOMENT, "n": 4, "v": [1, 0.1]}])
    found = client.lookup(f"{name}.*", {"k": [1, 2, 3]})
    assert (found["x"], found["n"]) == ([1.0, 3.0, None], [2, None, 4])
    assert (found["d"][0], found["m"][0]) == (decimal.Decimal("1.50"), [("a", 1)])
    assert found["v"][2] == [1.0, float(numpy.float32(0.1))]
    client.write(name, {"k": [4], "at": [MOMENT], "x": [math.nan]})
    assert math.isnan(client.lookup(f"{name}.x", {"k": [4]})["x"][0]), "in plain Python NaN is a value, not a null"
    with pytest.raises(firndb.Invalid, match="row 0, column `n`: 1.5 does not fit int8"):
        client.write(name, {"k": [1], "at": [MOMENT], "n": [1.5]})
    with pytest.raises(firndb.Invalid, match="row 0, column `m`: .* does not fit map<utf8, int64>"):
        client.write(name, {"k": [1], "at": [MOMENT], "m": [[("a", 1.5)]]})
    client.write(name, {"k": [1], "at": [MOMENT], "x": numpy.array([1])})
    with pytest.raises(firndb.Invalid, match="row 0, column `x`: 9007199254740993 does not fit float64"):
        client.write(name, {"k": [1], "at": [MOMENT], "x": numpy.array([2**53 + 1])})
