"""What people meet first: sessions that nothing spoils, errors that say where, joins that touch nothing, every target."""

from __future__ import annotations

import datetime
import decimal
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

NOON = datetime.datetime(2025, 6, 1, 12, tzinfo=datetime.timezone.utc)
PACKAGE = pathlib.Path(firndb.__file__).parent


def create(client: firndb.Client, name: str, features: dict[str, str] | None = None, key: str = "int64") -> None:
    client.create_entity(name, {"k": key})
    client.create_table(name, entity=name, event_time="at", features=features or {"x": "int64", "s": "utf8"})


def fill(client: firndb.Client, name: str) -> None:
    create(client, name)
    client.write(name, {"k": [1, 2], "at": [NOON] * 2, "x": [10, 20], "s": ["a", "b"]})


# Sessions

FIRST: dict[str, Any] = {
    "no rows": {"k": []},
    "a null": {"k": [None]},
    "text": {"k": ["1"]},
    "int8": {"k": numpy.array([1], "int8")},
    "uint64": {"k": numpy.array([1], "uint64")},
    "floats": {"k": [1.0]},
    "a category": pandas.DataFrame({"k": pandas.Categorical([1])}),
    "misnamed": {"key": [1]},
    "with a column more": {"k": [1], "why": ["x"]},
    "polars": polars.DataFrame({"k": [1]}),
    "arrow": pa.table({"k": pa.array([1], pa.int32())}),
}


@pytest.mark.parametrize("first", FIRST)
def test_no_first_request_spoils_those_after_it(client: firndb.Client, name: str, first: str) -> None:
    fill(client, name)
    with client.lookups(f"{name}.x", to="dict") as session:
        for entities in (FIRST[first], *FIRST.values()):
            try:
                alone: Any = client.lookup(f"{name}.x", entities, to="dict")
            except firndb.FirnError as error:
                alone = type(error)
            try:
                found: Any = session.get(entities)
            except firndb.FirnError as error:
                found = type(error)
            assert found == alone, "a key means the same in a session"
            assert session.get({"k": [2, 1, 3]}) == {"x": [20, 10, None]}
        assert list(session.pipeline([{"k": [1]}, {"k": [2.0]}, {"k": [2]}, {"k": []}] * 5)) == [
            {"x": [10]}, {"x": [20]}, {"x": [20]}, {"x": []},
        ] * 5  # fmt: skip


def test_the_columns_of_a_session_are_fixed_by_an_answer_alone(client: firndb.Client, name: str) -> None:
    fill(client, name)
    with client.lookups(f"{name}.x") as session:
        with pytest.raises(firndb.Invalid, match='the request has no column "k"') as caught:
            session.get({"key": [1]})
        assert caught.value.column == "k"
        assert session.get({"k": [1]}) == {"x": [10]}
        assert session.get({"noise": [None], "k": [2]}) == {"x": [20]}


# Errors


def test_an_error_says_its_column_and_its_row(client: firndb.Client, name: str) -> None:
    fill(client, name)
    many = list(range(10))
    cases = [
        (lambda: client.write(name, {"k": many, "at": [NOON] * 10, "x": [1.5 if k == 7 else 1.0 for k in many]}), "x", 7),
        (lambda: client.write(name, {"k": [1], "at": [NOON], "x": ["many"]}), "x", None),
        (lambda: client.write(name, {"k": [1], "at": [NOON], "xx": [1]}), "xx", None),
        (lambda: client.write(name, {"k": [1], "x": [1]}), "at", None),
        (lambda: client.lookup(f"{name}.y", {"k": [1]}), "y", None),
        (lambda: client.lookup(f"{name}.x", {"k": [1, 2, None]}), "k", 2),
        (lambda: client.lookup(f"{name}.x", {"k": [1, 2.5]}), "k", 1),
        (lambda: client.write(name, {"k": [1, 2], "at": [NOON] * 2, "x": [1, object()]}), "x", 1),
        (lambda: client.lookups(f"{name}.x").get({"k": [1, None]}), "k", 1),
        (lambda: client.join({"k": [1], "x": [1]}, f"{name}.x", as_of="latest"), "x", None),
    ]
    for number, (call, column, row) in enumerate(cases):
        with pytest.raises(firndb.FirnError) as caught:
            call()
        assert (caught.value.column, caught.value.row) == (column, row), (number, caught.value.message)


def test_the_mend_is_said_in_the_words_of_python(client: firndb.Client, name: str) -> None:
    fill(client, name)
    cases = [
        (lambda: client.write(name, {"k": [1, 2], "at": [NOON] * 2, "x": [1.5, 2]}), 'bad_rows="report" applies the good ones'),
        (lambda: client.lookup(f"{name}.x", {"user": [1]}), 'map another column with select(…, entity={"k": "your_column"})'),
        (lambda: client.join({"k": [1], "x": [1]}, f"{name}.x", as_of="latest"), "select(…, as_=…)"),
        (lambda: client.create_entity(name, {"k": "int64"}), "say if_not_exists=True"),
    ]
    for call, words in cases:
        with pytest.raises(firndb.FirnError) as caught:
            call()
        assert words in caught.value.message, caught.value.message


def test_values_that_no_column_holds_are_named(client: firndb.Client, name: str) -> None:
    create(client, name, {"x": "int64", "m": "map<utf8, int64>", "t": "timestamp[us, UTC]"})
    for value, words in [
        ([1, "a"], "row 1, column `x`: 'a' is a str, and row 0 has an int; a column has values of one kind"),
        ([1, {2}], r"row 1, column `x`: \{2\} is a set, which no feature can hold"),
        ([0.5, 2**60 + 1], "row 1, column `x`: among floats an integer this large is not exact"),
        (5, r"column `x` is a list of values, not a single one; write \[5\]"),
    ]:
        with pytest.raises(firndb.Invalid, match=words):
            client.write(name, {"k": [1, 2], "at": [NOON] * 2, "x": value})
    with pytest.raises(firndb.Invalid, match="the columns have different numbers of values: `k` has 2, `at` has 1"):
        client.write(name, {"k": [1, 2], "at": [NOON]})


# Writes


def test_a_frame_with_other_columns_is_written_by_names(client: firndb.Client, name: str) -> None:
    create(client, name)
    frame = pandas.DataFrame({"user": [1, 2], "at": [NOON] * 2, "amount": [3, 4], "note": [{"any": 1}, object()]})
    names = {"user": "k", "amount": "x"}
    assert client.write(name, frame, columns=["user", "at", "amount"], rename=names).rows == 2
    assert client.lookup(f"{name}.x", {"k": [1, 2]}) == {"x": [3, 4]}
    rows = frame[["user", "at"]].to_dict("records")
    assert client.retract(name, rows, rename={"user": "k"}).rows == 2
    with pytest.raises(firndb.Invalid, match="the data has no column `usr`; it has `user`, `at`, `amount`, `note`"):
        client.write(name, frame, columns=["usr"])


def test_large_values_go_in_and_come_out_by_default(client: firndb.Client, name: str) -> None:
    create(client, name)
    texts = [chr(97 + k) * (9 << 20) for k in range(12)]
    client.write(name, {"k": list(range(12)), "at": [NOON] * 12, "s": texts})
    assert client.lookup(f"{name}.s", {"k": list(range(12))})["s"] == texts
    assert client.join({"k": [3]}, f"{name}.s", as_of="latest")["s"] == [texts[3]]
    assert sorted(client.scan(name, ["s"], to="dict")["s"]) == texts
    client.drop_table(name)


def test_keys_of_any_number_are_erased(client: firndb.Client, name: str) -> None:
    create(client, name, {"x": "int64"})
    keys = numpy.arange(300_000)
    client.write(name, {"k": keys, "at": numpy.full(300_000, "2025-06-01", "datetime64[D]"), "x": keys})
    receipt = client.erase(name, {"k": keys})
    # It took several commands.
    kept = client.receipts(name)
    assert receipt["entities"] == sum(one["entities"] for one in kept) == 300_000 and len(kept) > 1
    assert receipt["tiers"]["disk"]["removed"] == sum(one["tiers"]["disk"]["removed"] for one in kept)
    assert client.scan(name, to="pyarrow").num_rows == 0


def test_what_an_erase_blocked_is_listed_and_unblocked(client: firndb.Client, name: str) -> None:
    fill(client, name)
    client.erase(name, {"k": [1, 7]}, block=True)
    assert client.blocked(name)["count"] == 2
    assert client.blocked(name, {"k": [1, 2, 7]})["blocked"] == [True, False, True]
    rows = {"k": [1, 2], "at": [NOON] * 2, "x": [11, 21]}
    written = client.write(name, rows, bad_rows="report")
    assert (written.rows, [bad.row for bad in written.bad_rows]) == (1, [0])
    assert client.unblock(name, {"k": [1, 2]})["unblocked"] == 1
    assert client.blocked(name, pandas.DataFrame({"k": [1, 7]}))["blocked"] == [False, True]
    assert client.write(name, rows).rows == 2
    with pytest.raises(firndb.Invalid, match="has no key column `j`"):
        client.unblock(name, {"j": [1]})


# Joins


def test_only_keys_and_times_travel_and_the_spine_comes_back_as_it_was(client: firndb.Client, name: str) -> None:
    fill(client, name)
    other = [object(), {1, 2}]
    frame = pandas.DataFrame({"k": [2, 1], "at": [NOON] * 2, "label": [1, 0], "other": other}, index=["one", "two"])
    joined = client.join(frame, f"{name}.*", as_of="at")
    assert list(joined["other"]) == other and list(joined.index) == ["one", "two"] and list(joined["x"]) == [20, 10]
    pandas.testing.assert_frame_equal(joined[frame.columns], frame)
    spine = {"k": [2], "at": [NOON], "other": other[:1]}
    assert client.join(spine, f"{name}.x", as_of="at") == {**spine, "x": [20]}
    table = pa.table({"k": [1], "at": [NOON], "big": pa.array(["x"], pa.large_string()), "d": pa.array([1], pa.decimal256(60, 2))})
    assert client.join(table, f"{name}.x", as_of="at").select(table.column_names).equals(table)
    categories = polars.DataFrame({"k": [1], "at": [NOON], "c": ["x"]}, schema_overrides={"c": polars.Categorical})
    assert client.join(categories, f"{name}.x", as_of="at").select(categories.columns).equals(categories)
    with pytest.raises(firndb.Invalid, match=r"the spine already has a column `x`; rename the feature with select\(…, as_=…\)"):
        client.join(table.append_column("x", [[1]]), f"{name}.x", as_of="at")
    mapped = client.join({"who": [1], "k": ["not a key"]}, firndb.select(f"{name}.x", entity={"k": "who"}), as_of="latest")
    assert mapped == {"who": [1], "k": ["not a key"], "x": [10]}
    renamed = client.join({"k": [1], "when": ["2025-06-01T12:00:00Z"]}, f"{name}.x", as_of=firndb.before("when"))
    assert renamed["x"] == [None]


# Targets


TYPES = {
    "i": ("int64", [1, 2, None]), "b": ("bool", [True, False, None]), "f": ("float64", [0.5, 1.5, None]),
    "s": ("utf8", ["a", "b", None]), "t": ("timestamp[us, UTC]", [NOON, NOON, None]), "d": ("date32", [NOON.date()] * 2 + [None]),
    "n": ("decimal128(10, 2)", [decimal.Decimal("1.50")] * 2 + [None]), "v": ("fixed_size_list<float32>[2]", [[1.0, 2.0]] * 2 + [None]),
    "l": ("list<int64>", [[1], [], None]), "m": ("map<utf8, int64>", [{"a": 1}, {}, None]), "u": ("uint8", [1, 2, None]),
}  # fmt: skip


@pytest.mark.parametrize("to", ["pandas", "polars", "pyarrow", "numpy"])
def test_the_types_of_an_answer_do_not_depend_on_its_rows(client: firndb.Client, name: str, to: str) -> None:
    create(client, name, {column: kind for column, (kind, _) in TYPES.items()})
    values = {column: list(values) for column, (_, values) in TYPES.items()}
    client.write(name, {"k": [1, 2, 3], "at": [NOON] * 3, **values})

    def types(keys: list[int]) -> list[str]:
        answer = client.lookup(f"{name}.*", {"k": keys}, to=to, status=True)
        if to == "pyarrow":
            return [str(kind) for kind in answer.schema.types]
        columns = answer.values() if to == "numpy" else (answer[column] for column in answer.columns)
        return [f"{type(column).__name__} {column.dtype}" for column in columns]

    assert types([1, 2]) == types([1, 2, 3]) == types([3]) == types([9]) == types([])


def test_numpy_answers_keep_every_value(client: firndb.Client, name: str) -> None:
    create(client, name, {column: kind for column, (kind, _) in TYPES.items()})
    client.write(name, {"k": [1, 2, 3], "at": [NOON] * 3, **{column: list(values) for column, (_, values) in TYPES.items()}})
    found = client.lookup(f"{name}.*", {"k": [1, 3]}, to="numpy")
    assert found["i"].tolist() == [1, None] and found["b"].tolist() == [True, None] and found["i"].dtype == numpy.int64
    assert found["f"][0] == 0.5 and numpy.isnan(found["f"][1]) and found["s"].tolist() == ["a", None]
    assert found["t"][0] == numpy.datetime64("2025-06-01T12:00:00", "us") and numpy.isnat(found["t"][1])
    assert found["v"].shape == (2, 2) and found["v"].dtype == numpy.float32 and numpy.isnan(found["v"][1]).all()
    assert found["l"].tolist() == [[1], None] and found["n"].tolist() == [decimal.Decimal("1.50"), None]


# Types of the package itself


@pytest.mark.parametrize("tool", [["mypy"], ["pyright"]], ids=["mypy", "pyright"])
def test_the_types_are_complete(tool: list[str]) -> None:
    ran = subprocess.run([sys.executable, "-m", *tool], cwd=PACKAGE.parent, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (PACKAGE / "py.typed").exists()

