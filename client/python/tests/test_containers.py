"""One rule for every container: the declared type decides, and a value goes in exactly or not at all."""

from __future__ import annotations

import datetime
import decimal
import math
from typing import Any

import firndb
import numpy
import pandas
import polars
import pyarrow as pa
import pytest

NOON = datetime.datetime(2025, 6, 1, 12, tzinfo=datetime.timezone.utc)
HOUR = datetime.timedelta(hours=1)


def create(client: firndb.Client, name: str, features: dict[str, str], **options: Any) -> None:
    client.create_entity(name, {"k": "int64"})
    client.create_table(name, entity=name, event_time="at", features=features, **options)


@pytest.mark.parametrize("missing", [numpy.nan, None, pandas.NaT, pandas.NA], ids=repr)
@pytest.mark.parametrize("kind", ["timestamp[us, UTC]", "utf8", "int64", "bool", "float64", "list<int64>", "struct<a: int64>"])
def test_a_column_without_any_value_is_nulls_of_any_type(client: firndb.Client, name: str, kind: str, missing: Any) -> None:
    create(client, name, {"x": kind})
    client.write(name, pandas.DataFrame({"k": [1, 2], "at": [NOON] * 2, "x": [missing] * 2}))
    assert client.lookup(f"{name}.x", {"k": [1, 2]})["x"] == [None, None]


EMPTY = {
    "pandas filtered": pandas.DataFrame({"k": [1], "at": [NOON], "x": [1]}).query("x > 1"),
    "pandas of []": pandas.DataFrame({"k": [], "at": [], "x": []}),
    "pandas columns=": pandas.DataFrame(columns=["k", "at", "x"]),
    "polars of []": polars.DataFrame({"k": [], "at": [], "x": []}),
    "dict of []": {"k": [], "at": [], "x": []},
}


@pytest.mark.parametrize("data", EMPTY.values(), ids=EMPTY)
def test_a_frame_without_rows_is_nothing_to_do(client: firndb.Client, name: str, data: Any) -> None:
    create(client, name, {"x": "int64"})
    assert client.write(name, data).rows == 0
    spine = {"k": data["k"], "at": data["at"]} if isinstance(data, dict) else data[["k", "at"]]
    joined = client.join(spine, f"{name}.x", as_of="at", to="arrow")
    assert (joined.num_rows, joined.column_names) == (0, ["k", "at", "x"])
    assert client.lookup(f"{name}.x", spine, to="arrow").num_rows == 0


def test_no_rows_at_all_are_nothing_to_write_and_no_spine(client: firndb.Client, name: str) -> None:
    create(client, name, {"x": "int64"})
    assert client.write(name, []).rows == 0
    with pytest.raises(firndb.Invalid, match="the spine is empty"):
        client.join([], f"{name}.x", as_of="at")


#: Declared type, values as a user has them, and what comes back; "refused" if nothing may go in.
VALUES: list[tuple[str, list[Any], Any]] = [
    ("decimal128(10, 2)", [decimal.Decimal("1.5"), None], [decimal.Decimal("1.50"), None]),
    ("decimal128(10, 2)", [12, 7], [decimal.Decimal("12.00"), decimal.Decimal("7.00")]),
    ("decimal128(10, 2)", [decimal.Decimal("1.505")], "refused"),
    ("int64", [3.0, None], [3, None]), ("int64", [1.5], "refused"), ("int64", [2**53 + 1], [2**53 + 1]),
    ("float64", [1, 2], [1.0, 2.0]), ("float64", [2**53 + 1], "refused"),
    ("float32", [0.1], [float(numpy.float32(0.1))]), ("float32", [3], [3.0]), ("float32", [1e39], "refused"),
    ("list<float32>", [[0.1, 0.5]], [[float(numpy.float32(0.1)), 0.5]]), ("list<float32>", [[1e39]], "refused"),
    ("list<float32>", [[1, 2]], [[1.0, 2.0]]),
    ("timestamp[us, UTC]", [datetime.date(2025, 6, 2)], [datetime.datetime(2025, 6, 2, tzinfo=datetime.timezone.utc)]),
    ("timestamp[us, UTC]", ["2025-06-02 02:00:00+0200"], [datetime.datetime(2025, 6, 2, tzinfo=datetime.timezone.utc)]),
    ("date32", [datetime.date(2025, 6, 2)], [datetime.date(2025, 6, 2)]), ("date32", ["2025-06-02"], [datetime.date(2025, 6, 2)]),
    ("bool", [1, 0], [True, False]), ("bool", [2], "refused"), ("utf8", ["a", None], ["a", None]), ("int64", ["1"], "refused"),
]


@pytest.mark.parametrize("container", ["dict", "rows", "pandas", "pandas object", "polars", "numpy"])
@pytest.mark.parametrize(("kind", "values", "want"), VALUES, ids=str)
def test_a_value_means_the_same_in_every_container(
    client: firndb.Client, name: str, kind: str, values: list[Any], want: Any, container: str
) -> None:
    create(client, name, {"x": kind})
    columns = {"k": list(range(len(values))), "at": [NOON] * len(values), "x": values}
    given: Any = columns
    if container == "rows":
        given = [dict(zip(columns, row)) for row in zip(*columns.values())]
    elif container.startswith("pandas"):
        given = pandas.DataFrame(columns)
        if container == "pandas object":
            given["x"] = pandas.Series(values, dtype=object)
    elif container == "polars":
        given = polars.DataFrame(columns)
    elif container == "numpy":
        if isinstance(values[0], (list, decimal.Decimal, datetime.date)) or None in values:
            pytest.skip("numpy has no such type")
        given = {**columns, "x": numpy.array(values)}
    try:
        client.write(name, given)
    except firndb.Invalid as error:
        assert want == "refused" and "column `x`" in error.message, error.message
        return
    assert want != "refused"
    assert client.lookup(f"{name}.x", {"k": columns["k"]})["x"] == want


def test_a_dict_is_a_map_or_a_struct_as_declared(client: firndb.Client, name: str) -> None:
    create(client, name, {"m": "map<utf8, float64>", "s": "struct<lat: float64, town: utf8>", "l": "list<struct<a: int64>>"})
    given = {"k": [1, 2], "at": [NOON] * 2, "m": [{"a": 1, "b": 2.5}, {}], "s": [{"lat": 1}, {"town": "y"}], "l": [[{"a": 1}, {}], None]}
    want = {"m": [[("a", 1.0), ("b", 2.5)], []], "s": [{"lat": 1.0, "town": None}, {"lat": None, "town": "y"}], "l": [[{"a": 1}, {"a": None}], None]}
    for data in (given, pandas.DataFrame(given)):
        client.write(name, data)
        assert client.lookup(f"{name}.*", {"k": [1, 2]}) == want
    with pytest.raises(firndb.Invalid, match="row 1, column `s`: the struct has no field `zip`; its fields are lat, town"):
        client.write(name, {"k": [1, 2], "at": [NOON] * 2, "s": [{"lat": 1.5}, {"zip": 3}]})
    with pytest.raises(firndb.Invalid, match="row 0, column `m`: 5 is no map"):
        client.write(name, {"k": [1], "at": [NOON], "m": [5]})


def test_nan_is_a_gap_where_no_float_is_declared(client: firndb.Client, name: str) -> None:
    create(client, name, {"n": "int64", "t": "utf8", "f": "float64"})
    client.write(name, {"k": [1, 2], "at": [NOON] * 2, "n": [1.0, math.nan], "t": ["a", math.nan], "f": [1.5, math.nan]})
    found = client.lookup(f"{name}.*", {"k": [1, 2]})
    assert (found["n"], found["t"]) == ([1, None], ["a", None])
    assert math.isnan(found["f"][1]), "where floats are declared it is a value"


def test_what_a_row_does_not_mention_is_not_written(client: firndb.Client, name: str) -> None:
    create(client, name, {"level": "int64", "guild": "utf8"})
    client.write(name, [{"k": 1, "at": NOON, "level": 1, "guild": "old"}, {"k": 2, "at": NOON, "level": 1, "guild": "old"}])
    events = [{"k": 1, "at": NOON + HOUR, "level": 2}, {"k": 2, "at": NOON + HOUR, "guild": "new"}, {"k": 2, "at": NOON + 2 * HOUR, "level": None}]
    assert client.write(name, events).rows == 3
    found = client.lookup(f"{name}.*", {"k": [1, 2]}, status=True)
    assert (found["level"], found["guild"]) == ([2, None], ["old", "new"])
    assert found["level__status"] == ["value", "null"], "None is a null that says so"
    with pytest.raises(firndb.Invalid, match="must mention the same columns"):
        client.write(name, events, producer=firndb.Producer("p", 1))
    bad = [{"k": 1, "at": NOON, "level": 2}, {"k": None, "at": NOON, "guild": "x"}, {"k": 3, "at": NOON, "level": 4}]
    written = client.write(name, bad, bad_rows="report")
    assert (written.rows, [(row.row, row.column) for row in written.bad_rows]) == (2, [(1, "k")])


def test_a_table_may_refuse_floats_that_are_not_exact(client: firndb.Client, name: str) -> None:
    create(client, name, {"x": "float32"}, float_rounding="none")
    client.write(name, {"k": [1], "at": [NOON], "x": [0.5]})
    with pytest.raises(firndb.Invalid, match="0.1 does not fit float32"):
        client.write(name, {"k": [1], "at": [NOON], "x": [0.1]})


def test_vectors_of_another_length_and_blocked_entities_are_bad_rows(client: firndb.Client, name: str) -> None:
    create(client, name, {"v": "fixed_size_list<float32>[2]"})
    client.erase(name, {"k": [9]}, block=True)
    data = {"k": [1, 2, 9], "at": [NOON] * 3, "v": [[1.0, 2.0], [1.0], [3.0, 4.0]]}
    written = client.write(name, data, bad_rows="report")
    assert written.rows == 1 and [(row.row, row.column) for row in written.bad_rows] == [(1, "v"), (2, "k")]
    wrong = pa.table({"k": [3], "at": pa.array([NOON]), "v": pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0, 3.0]), 3)})
    assert [row.column for row in client.write(name, wrong, bad_rows="report").bad_rows] == ["v"]


def test_a_date_is_its_midnight_wherever_a_time_stands(client: firndb.Client, name: str) -> None:
    create(client, name, {"x": "int64"})
    first, second = datetime.date(2025, 6, 1), datetime.date(2025, 6, 2)
    client.write(name, {"k": [1, 1], "at": [first, second], "x": [1, 2]})
    for as_of in (second, "2025-06-02", "2025-06-02 00:00:00", "2025-06-02T02:00:00+0200", numpy.datetime64("2025-06-02")):
        assert client.lookup(f"{name}.x", {"k": [1]}, as_of=as_of)["x"] == [2], as_of
    assert client.join({"k": [1, 1], "at": [first, second]}, f"{name}.x", as_of="at")["x"] == [1, 2]
