"""Files that others write: `firn import` takes them as they are or says what is wrong, and `firn export` changes no value."""

from __future__ import annotations

import decimal
import pathlib
import random
import subprocess

import firndb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from server import Server

NOON = "2025-06-01T12:00:00Z"
REFUSED = 3


class Firn:
    """The program, which speaks to the server of the tests."""

    def __init__(self, program: pathlib.Path, url: str, folder: pathlib.Path) -> None:
        self.program, self.url, self.folder = program, url, folder

    def __call__(self, *words: object, code: int = 0) -> str:
        """What it said of a command, which ends with ``code``."""
        command = [str(self.program), *map(str, words), "--server", self.url]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120)
        said = run.stdout + run.stderr
        assert run.returncode == code, said
        assert "panicked" not in said
        return said

    def csv(self, text: str) -> pathlib.Path:
        path = self.folder / "given.csv"
        path.write_text(text)
        return path


@pytest.fixture
def firn(program: pathlib.Path, server: Server, tmp_path: pathlib.Path) -> Firn:
    return Firn(program, server.url, tmp_path)


def create(client: firndb.Client, name: str, features: dict[str, str]) -> None:
    client.create_entity(name, {"k": "utf8"}, if_not_exists=True)
    client.create_table(name, entity=name, event_time="at", features=features)


@pytest.mark.parametrize(("kind", "text", "fits"), [
    ("decimal128(10, 2)", "1.50", True), ("decimal128(10, 2)", "1.505", False), ("decimal128(10, 2)", "-1.999", False),
    ("float32", "0.5", True), ("float32", "1e39", False), ("float64", "1e400", False), ("float64", "-inf", True),
    ("int64", "3.0", True), ("int64", "3.5", False), ("int8", "128", False), ("date32[day]", "2025-07-01", True),
    ("date32[day]", "2025-07-01T23:00:00", False), ("date32[day]", "2025-02-30", False),
    ("timestamp[us, UTC]", "2025-06-01T12:00:00.1234567Z", False), ("timestamp[s]", "2024-01-01T00:00:00.9Z", False),
    ("timestamp[us, UTC]", "2025-06-01 14:00:00+0200", True), ("time64[us]", "12:34:56.1234567", False), ("bool", "maybe", False),
])  # fmt: skip
def test_text_of_csv_is_its_value_exactly_or_refused(client: firndb.Client, name: str, firn: Firn, kind: str, text: str, fits: bool) -> None:
    create(client, name, {"x": kind})
    said = firn("import", name, firn.csv(f"k,at,x\na,{NOON},{text}\n"), code=0 if fits else 1)
    assert fits or (f'given.csv, line 2: column x: "{text}" is no {kind.replace("[day]", "")}' in said and "nothing was imported" in said)
    assert client.scan(name, history=True).num_rows == fits


def test_an_event_time_of_csv_is_not_cut(client: firndb.Client, name: str, firn: Firn) -> None:
    create(client, name, {"x": "int64"})
    assert "is no timestamp" in firn("import", name, firn.csv("k,at,x\na,2025-06-01T12:00:00.1234567Z,1\n"), code=1)
    firn("import", name, firn.csv("k,at,x\na,2025-06-01,1\nb,2025-06-01 12:00,2\n"))
    assert client.lookup(f"{name}.x", {"k": ["a", "b"]})["x"] == [1, 2]


def test_a_line_of_another_length_is_a_bad_row(client: firndb.Client, name: str, firn: Firn) -> None:
    create(client, name, {"x": "int64"})
    rows = [f"{row},{NOON},{row}" if row != 700 else "700" for row in range(1000)]
    given, bad = firn.csv("k,at,x\n" + "\n".join(rows) + "\n"), firn.folder / "bad.csv"
    assert "line 702: the line has 1 fields, the header has 3" in firn("import", name, given, code=1)
    assert client.scan(name, history=True).num_rows == 0, "a file that is to be mended has changed nothing"
    firn("import", name, given, "--bad-rows", bad, code=REFUSED)
    assert client.scan(name, history=True).num_rows == 999
    assert bad.read_text().splitlines()[1].startswith(f"{given},702,check,,")


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "zstd", "lz4"])
def test_parquet_of_every_codec_is_read_and_its_checksums_are_checked(client: firndb.Client, name: str, firn: Firn, codec: str) -> None:
    create(client, name, {"x": "int64"})
    table = pa.table({"k": [str(row) for row in range(5000)], "at": pa.array([0] * 5000, pa.timestamp("us")), "x": range(5000)})
    path = firn.folder / "given.parquet"
    pq.write_table(table, path, compression=codec, write_page_checksum=True)
    assert "5,000 rows" in firn("import", name, path)
    whole = path.read_bytes()
    # A byte of a page, whose values are plain where nothing packs them.
    path.write_bytes(whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:])
    firn("import", name, path, code=1)


def test_hostile_arrow_is_refused_and_never_a_panic(client: firndb.Client, name: str, firn: Firn) -> None:
    create(client, name, {"x": "duration[us]"})

    def stream(unit: str) -> bytearray:
        out = pa.BufferOutputStream()
        table = pa.table({"k": ["a"], "at": pa.array([0], pa.timestamp("us")), "x": pa.array([5], pa.duration(unit))})
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
        return bytearray(out.getvalue().to_pybytes())

    micro, nano = stream("us"), stream("ns")
    places = [place for place, pair in enumerate(zip(micro, nano)) if pair == (2, 3)]
    nano[places[0]] = 8
    path = firn.folder / "given.arrows"
    path.write_bytes(nano)
    assert "given.arrows" in firn("import", name, path, code=1)
    # Any damage is an error or other rows.
    dice = random.Random(7)
    ends = set()
    for _ in range(60):
        damaged = bytearray(micro)
        for _ in range(dice.randint(1, 3)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged[: dice.choice([len(damaged), dice.randrange(len(damaged))])])
        run = subprocess.run([str(firn.program), "import", name, str(path), "--server", firn.url], capture_output=True, text=True, timeout=60)
        assert run.returncode in (0, 1) and "panicked" not in run.stderr, run.stderr
        ends.add(run.returncode)
    assert 1 in ends


def test_arrow_files_and_streams_with_dictionaries_are_read(client: firndb.Client, name: str, firn: Firn) -> None:
    create(client, name, {"x": "utf8"})
    words = pa.array(["a", "b", "a"]).dictionary_encode()
    table = pa.table({"k": ["1", "2", "3"], "at": pa.array([0] * 3, pa.timestamp("us")), "x": words})
    for number, (ending, new) in enumerate([("arrow", pa.ipc.new_file), ("arrows", pa.ipc.new_stream)]):
        for compression in (None, "zstd", "lz4"):
            path = firn.folder / f"given{number}{compression}.{ending}"
            with new(str(path), table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
                writer.write_table(table)
                writer.write_table(table)
            assert "6 rows" in firn("import", name, path)
    assert client.lookup(f"{name}.x", {"k": ["1", "2", "3"]})["x"] == ["a", "b", "a"]


@pytest.mark.parametrize(("kind", "value"), [
    ("timestamp[us, America/New_York]", pa.array([-3_000_000_000_000_000], pa.timestamp("us", "America/New_York"))),
    ("timestamp[us, Europe/Paris]", pa.array([-3_000_000_000_000_000], pa.timestamp("us", "Europe/Paris"))),
    ("decimal128(10, 2)", pa.array([decimal.Decimal("1.50")], pa.decimal128(10, 2))),
    ("float64", pa.array([0.1 + 0.2])), ("float32", pa.array([0.1], pa.float32())),
    ("time64[us]", pa.array([1], pa.time64("us"))), ("date32", pa.array([-1], pa.date32())), ("utf8", pa.array(['a "b",\nc'])),
])  # fmt: skip
def test_what_goes_out_as_csv_comes_back_as_it_was(client: firndb.Client, name: str, firn: Firn, kind: str, value: pa.Array) -> None:
    copy = f"{name}_copy"
    create(client, name, {"x": kind})
    client.create_table(copy, entity=name, event_time="at", features={"x": kind})
    client.write(name, pa.table({"k": ["a"], "at": pa.array([0], pa.timestamp("us")), "x": value}))
    path = firn.folder / "out.csv"
    firn("export", name, "--to", path, "--history")
    firn("import", copy, path, "--history")
    first, again = (client.scan(table, history=True)["x"].cast(value.type) for table in (name, copy))
    assert first.equals(again) and first.to_pylist() == value.to_pylist()


@pytest.mark.parametrize("kind", ["binary_view", "binary", "list<int64>", "struct<a: int64>"])
def test_what_csv_cannot_hold_is_refused(client: firndb.Client, name: str, firn: Firn, kind: str) -> None:
    create(client, name, {"x": kind})
    said = firn("export", name, "--to", firn.folder / "out.csv", code=1)
    assert f"column x: values of {kind} do not go into CSV; use Parquet or Arrow" in said
    said = firn("import", name, firn.csv(f"k,at,x\na,{NOON},b\n"), code=1)
    assert f"column x: values of {kind} cannot be read from CSV; use Parquet or Arrow" in said


def test_numbers_are_times_in_the_unit_that_is_said(client: firndb.Client, name: str, firn: Firn) -> None:
    create(client, name, {"seen": "timestamp[us, UTC]"})
    path = firn.folder / "given.parquet"
    pq.write_table(pa.table({"k": ["a"], "at": [1_700_000_000], "seen": [1_700_000_001]}), path)
    assert "column at has type int64, and is a time; say its unit with --time-unit" in firn("import", name, path, code=1)
    firn("import", name, path, "--time-unit", "s")
    assert client.lookup(f"{name}.seen", {"k": ["a"]})["seen"][0].timestamp() == 1_700_000_001


def test_a_value_for_all_rows_has_the_declared_type(client: firndb.Client, name: str, firn: Firn) -> None:
    create(client, name, {"pair": "utf8", "rate": "decimal128(10, 4)"})
    firn("import", name, firn.csv(f"k,at\na,{NOON}\nb,{NOON}\n"), "--set", "pair=EURUSD", "--set", "rate=1.25")
    assert client.lookup(f"{name}.*", {"k": ["a", "b"]}) == {"pair": ["EURUSD"] * 2, "rate": [decimal.Decimal("1.2500")] * 2}
    assert "--set rate" in firn("import", name, firn.csv(f"k,at\nc,{NOON}\n"), "--set", "rate=1.23456", code=1)
    assert "has no column raet" in firn("import", name, firn.csv(f"k,at\nc,{NOON}\n"), "--set", "raet=1", code=1)
