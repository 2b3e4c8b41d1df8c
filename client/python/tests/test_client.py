"""What firndb adds to the wire: typed errors, progress bars, declarations in Python's words, and no dependencies."""

from __future__ import annotations

import datetime
import pathlib
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import firndb
import numpy
import pyarrow as pa
import pytest
from server import Server

MOMENT = datetime.datetime(2024, 5, 1, tzinfo=datetime.timezone.utc)
TIME = pa.timestamp("us", "UTC")


def create(client: firndb.Client, table: str, **options: Any) -> None:
    client.create_entity(table, {"k": "int64"})
    client.create_table(table, entity=table, event_time="at", features={"x": "float64"}, **options)


def rows(count: int, first: int = 0) -> pa.Table:
    keys = numpy.arange(first, first + count)
    return pa.table({"k": keys, "at": pa.array([MOMENT] * count, TIME), "x": keys.astype("float64")})


# Errors


def test_every_code_of_grpc_has_its_class() -> None:
    kinds = [getattr(firndb, name) for name in firndb.__all__]
    kinds = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, firndb.FirnError)]
    assert len({kind.code for kind in kinds}) == len(kinds) == 15
    for kind in kinds[1:]:
        found = firndb.errors.from_code(kind.code, "what and why", "x", 3)
        assert isinstance(found, kind) and (found.message, found.column, found.row) == ("what and why", "x", 3)
    assert issubclass(firndb.Invalid, ValueError) and issubclass(firndb.NotFound, LookupError)
    assert issubclass(firndb.DeadlineExceeded, TimeoutError)


def test_errors_of_state_and_time(server: Server, client: firndb.Client, name: str) -> None:
    create(client, name)
    client.write(name, rows(1))
    position = client.status()["read_position"]
    database, _, sequence = position.rpartition("-")
    ahead = f"{database}-{int(sequence, 16) + 1_000_000:x}"
    with pytest.raises(firndb.OutOfRange, match="at_least"):
        client.lookup(f"{name}.x", {"k": [0]}, position=ahead)
    with pytest.raises(firndb.Unavailable):
        client.lookup(f"{name}.x", {"k": [0]}, at_least=ahead, wait="10ms")
    with pytest.raises(firndb.Unimplemented, match="there is no action"):
        client.action("create_view")
    with pytest.raises(firndb.Invalid, match="`ftp` in ftp://localhost is not spoken here"):
        firndb.connect("ftp://localhost")


def test_a_server_that_does_not_answer_in_time(fresh: Callable[..., Server]) -> None:
    server = fresh()
    with firndb.connect(server.url, timeout=1) as client:
        assert client.status()
        with server.paused(), pytest.raises(firndb.DeadlineExceeded):
            client.status()
        assert client.status()


# Where a stream ends from both sides at once, gRPC aborts the process: hence a process of its own.
REFUSED = """
    import sys, firndb, pyarrow as pa
    with firndb.connect(sys.argv[1]) as client:
        small, large = pa.table({"k": range(10)}), pa.table({"k": range(101)})
        for number in range(1500):
            try:
                if number % 3:
                    client.join(large, "t.x", as_of="latest")
                else:
                    list(client.lookups("t.x").pipeline([small, large, small]))
            except firndb.Exhausted as error:
                assert "message-rows-max" in str(error), error
            else:
                raise AssertionError("nothing was refused")
    print("alive")
"""


def test_a_refusal_while_requests_go_out_leaves_the_process_alive(fresh: Callable[..., Server]) -> None:
    server = fresh("--message-rows-max", "100")
    with firndb.connect(server.url) as client:
        create(client, "t")
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(REFUSED), server.url], capture_output=True, text=True, timeout=120
    )
    assert ran.stdout == "alive\n", ran.stderr[-4000:]


DEAD = """
    import sys, firndb, pyarrow as pa
    spine = pa.table({"k": range(1000)})

    def batches():
        for _ in range(100_000):
            yield spine.to_batches()[0]

    with firndb.connect(sys.argv[1]) as client:
        answer = client.join(
            pa.RecordBatchReader.from_batches(spine.schema, batches()), "t.x", as_of="latest", to="reader"
        )
        answer.read_next_batch()
        print("reading", flush=True)
        try:
            for _ in answer:
                pass
        except firndb.Unavailable:
            print("unavailable", flush=True)
"""


def test_a_server_that_dies_while_requests_go_out_is_unavailable(fresh: Callable[..., Server]) -> None:
    server = fresh()
    with firndb.connect(server.url) as client:
        create(client, "t")
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(DEAD), server.url], stdout=subprocess.PIPE, text=True
        ) as joining:
            assert joining.stdout is not None and joining.stdout.readline() == "reading\n"
            server.kill()
            assert joining.communicate(timeout=60)[0] == "unavailable\n"
        server.start()


def test_damage_on_the_disk_is_data_loss(fresh: Callable[..., Server]) -> None:
    server = fresh("--background=false")
    with firndb.connect(server.url) as client:
        create(client, "t")
        client.write("t", rows(400_000))
        client.flush()
    server.stop()
    segment = next((server.directory / "data/segments").iterdir())
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    server.start()
    with firndb.connect(server.url) as client:
        with pytest.raises(firndb.DataLoss, match="firn verify"):
            client.scan("t")
        client.write("t", rows(1, 500_000))
        assert client.lookup("t.x", {"k": [500_000]}) == {"x": [500_000.0]}, "the rest goes on"


# Progress


def progress_of(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_a_bar_that_was_asked_for_counts_every_row(
    client: firndb.Client, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    create(client, name)
    client.write(name, rows(100_000), progress=True)
    shown = progress_of(capsys)
    assert re.search(r"\rwrite: 100%.*100k/100k .* rows/s\] *\n", shown), shown
    client.join(pa.table({"k": numpy.arange(100_000)}), f"{name}.x", as_of="latest", progress=True)
    shown = progress_of(capsys)
    assert re.search(r"\rjoin: 100%.*100k/100k .* rows/s\] *\n", shown), shown


def test_bars_show_by_themselves_for_long_work_on_a_terminal_only(
    client: firndb.Client, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    create(client, name)
    client.write(name, rows(100_000))
    assert progress_of(capsys) == "", "standard error is no terminal here"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    client.write(name, rows(10))
    assert progress_of(capsys) == "", "ten rows are not long work"
    client.write(name, rows(100_000), progress=False)
    assert progress_of(capsys) == "", "no bar was wanted"
    client.write(name, rows(100_000))
    assert "write:" in progress_of(capsys)


def test_a_bar_that_cannot_be_shown_is_an_error_only_if_it_was_asked_for(
    client: firndb.Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(client, name)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    client.write(name, rows(100_000))
    with pytest.raises(firndb.Invalid, match="firndb\\[progress\\]"):
        client.write(name, rows(1), progress=True)


# Declarations


def test_retention_is_declared_and_changed_in_words_of_time(client: firndb.Client, name: str) -> None:
    ninety = datetime.timedelta(days=90)
    create(client, name, keep_events=datetime.timedelta(days=30), keep_knowledge="7d", max_future_skew="none", hot_window=ninety)
    declared = client.describe_table(name)
    assert declared["retention"] == {"keep_events": "30d", "keep_knowledge": "7d"}
    assert declared["max_future_skew"] == "none"
    assert declared["hot_window"] == "90d"
    changed = client.alter_table(name, set={"retention": {"keep_events": datetime.timedelta(days=60)}, "hot_window": "none"})
    assert changed["hot_window"] == "none"
    assert changed["retention"]["keep_events"] == "60d"
    assert client.describe_entity(name)["key"] == [{"name": "k", "type": "int64"}]


# Threads and dependencies


def test_threads_share_a_client(client: firndb.Client, name: str) -> None:
    create(client, name)
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for number in range(first, first + 1000, 100):
                client.write(name, rows(100, number))
                assert client.lookup(f"{name}.x", {"k": [number + 99]}) == {"x": [number + 99.0]}
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(1000 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and client.scan(name).num_rows == 8000


WITH_PYTHON_ALONE = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numpy", "pandas", "polars", "pyarrow", "tqdm"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from datetime import datetime
import firndb
url, table = sys.argv[1:]
with firndb.connect(url) as client:
    data = {"k": [1, 2], "at": [datetime(2024, 5, 1)] * 2, "x": [0.5, None]}
    print(client.write(table, data).rows, client.write(table, [dict(zip(data, row)) for row in zip(*data.values())]).rows)
    print(client.lookup(f"{table}.x", {"k": [2, 1]}, as_of=datetime(2024, 5, 2)))
    print(client.join({"k": [1], "t": [datetime(2024, 5, 2)]}, f"{table}.x", as_of="t")["x"])
    print(client.scan(table)["k"])
    try:
        client.scan(table, to="pandas")
    except firndb.Invalid as error:
        print(error)
"""


def test_everything_but_other_kinds_of_data_works_with_python_alone(client: firndb.Client, server: Server, name: str) -> None:
    create(client, name)
    command = [sys.executable, "-c", WITH_PYTHON_ALONE, server.url, name]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    missing = "to='pandas' needs pandas, which is not installed: pip install pandas"
    assert ran.stdout.splitlines()[:3] == ["2 2", "{'x': [None, 0.5]}", "[0.5]"], ran.stderr
    assert sorted(ran.stdout.splitlines()[3]) == sorted("[1, 2]") and ran.stdout.splitlines()[4:] == [missing]


def test_nothing_is_needed_beside_the_package_and_nothing_is_imported_before_it_is_used() -> None:
    text = (pathlib.Path(firndb.__file__).parents[1] / "pyproject.toml").read_text()
    assert "\ndependencies = []\n" in text
    code = "import sys, firndb; print({name.partition('.')[0] for name in sys.modules} & {'numpy', 'pandas', 'polars', 'pyarrow'})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stdout == "set()\n", ran.stdout + ran.stderr


def test_rows_without_an_optional_key_keep_their_place(client: firndb.Client, name: str) -> None:
    create(client, name)
    client.create_entity(f"{name}_pair", {"k": "int64", "part": "utf8"})
    client.create_table(f"{name}_pair", entity=f"{name}_pair", event_time="at", features={"y": "int64"})
    client.write(name, {"k": [1, 2], "at": [MOMENT, MOMENT], "x": [10, 20]})
    client.write(f"{name}_pair", {"k": [1], "part": ["a"], "at": [MOMENT], "y": [30]})
    spine = pa.table({"k": pa.array([1, None, 2, None]), "part": ["a", "a", None, None], "at": [MOMENT] * 4})
    features = [f"{name}.x", f"{name}_pair.y"]
    with pytest.raises(firndb.Invalid, match="row 1: column \"k\", the key column k of entity"):
        client.join(spine, features, as_of="at", null_keys="refuse")
    kept = client.join(spine, features, as_of="at", status=True)
    assert kept["x"].to_pylist() == [10, None, 20, None]
    assert kept["x__status"].to_pylist() == ["value", "never", "value", "never"]
    assert kept["y"].to_pylist() == [30, None, None, None]
    assert kept["k"].to_pylist() == [1, None, 2, None], "the spine comes back as it was"
    many = pa.table({"k": pa.array([None if row % 3 else row % 2 + 1 for row in range(30_000)]), "at": [MOMENT] * 30_000})
    wide = client.join(many, f"{name}.x", as_of="at")["x"].to_pylist()
    assert wide == [None if row % 3 else (row % 2 + 1) * 10 for row in range(30_000)]
    none = client.lookup(f"{name}.x", pa.table({"k": pa.array([None], pa.int64())}), null_keys="keep")
    assert none["x"].to_pylist() == [None]


def test_a_read_may_have_another_max_age(client: firndb.Client, name: str) -> None:
    client.create_entity(name, {"k": "int64"})
    client.create_table(name, entity=name, event_time="at", features={"x": "int64"}, max_age="1h")
    client.write(name, {"k": [1], "at": [MOMENT], "x": [10]})
    later = MOMENT + datetime.timedelta(hours=2)
    read = lambda **options: client.lookup(f"{name}.x", {"k": [1]}, as_of=later, **options)["x"]  # noqa: E731
    assert (read(), read(max_age="3h"), read(max_age="none"), read(max_age=datetime.timedelta(minutes=1))) == ([None], [10], [10], [None])


def test_what_features_say_of_themselves_can_be_altered(client: firndb.Client, name: str) -> None:
    create(client, name)
    client.write(name, {"k": [1], "at": [MOMENT], "x": [1.5]})
    read = lambda: client.lookup(f"{name}.x", {"k": [1, 2]})["x"]  # noqa: E731
    assert read() == [1.5, None]
    before = client.describe_table(name)["schema_version"]
    client.alter_table(name, set_features={"x": {"default": 0.5, "max_age": datetime.timedelta(hours=1)}})
    assert read() == [0.5, 0.5], "it is older than an hour"
    client.alter_table(name, set_features={"x": {"max_age": None, "tags": ["pii"]}})
    assert read() == [1.5, 0.5]
    assert client.lookup(f"{name}.x", {"k": [1, 2]}, schema_version=before)["x"] == [1.5, None]
    with pytest.raises(firndb.NotFound, match="has no feature `y`"):
        client.alter_table(name, set_features={"y": {"default": 1}})
