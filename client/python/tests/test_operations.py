"""What docs/operations.md says is so: its tables are complete and right, and its recipes work."""

from __future__ import annotations

import datetime
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import firndb
import numpy
import pyarrow as pa
import pytest
from server import PROJECT, Server, free_port

PAGE = (PROJECT / "docs/operations.md").read_text()
TIME = pa.timestamp("us", "UTC")
MOMENT = datetime.datetime(2024, 5, 1, tzinfo=datetime.timezone.utc)
Start = Callable[..., Server]


def section(heading: str) -> str:
    """The text under a heading, up to the next one of its level."""
    level = heading.partition(" ")[0]
    start = PAGE.index(f"\n{heading}\n") + len(heading)
    end = re.search(rf"^#{{1,{len(level)}}} ", PAGE[start + 2 :], re.MULTILINE)
    return PAGE[start : start + 2 + end.start()] if end else PAGE[start:]


def table(text: str) -> list[list[str]]:
    """The rows of the tables in `text`, without heads."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if row[0].startswith("`") or "`" in row[-1]]


def create(client: firndb.Client) -> None:
    client.create_entity("e", {"k": "int64"})
    client.create_table("t", entity="e", event_time="at", features={"x": "float64"})


def rows(count: int, first: int = 0) -> pa.Table:
    keys = numpy.arange(first, first + count)
    return pa.table({"k": keys, "at": pa.array([MOMENT] * count, TIME), "x": keys.astype("float64")})


# The tables


def test_every_setting_is_in_the_table_with_its_default(program: pathlib.Path) -> None:
    shown = subprocess.run([program, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    option = re.compile(r"--([a-z-]+)(?: |\[=)<\w+>\]? (.*?) \[default: (.*?)\] \[env: FIRN_([A-Z_]+)\]")
    settings: dict[str, dict[str, str]] = {}
    for group in re.split(r"\n(?=[A-Z][A-Za-z ]+:\n)", shown)[2:]:
        heading, _, options = group.partition(":\n")
        found = option.findall(" ".join(options.split()))
        assert all(name.replace("-", "_").upper() == variable for name, _, _, variable in found)
        settings[heading] = {name: default for name, _, default, _ in found}
    assert sum(map(len, settings.values())) == shown.count("[env: FIRN_") or "[env:\n" in shown
    for heading, expected in settings.items():
        documented = {row[0].strip("`"): row[1].strip("`") for row in table(section(f"### {heading}"))}
        assert documented == expected, heading
    assert set(re.findall(r"^### (.*)$", section("## Settings"), re.MULTILINE)) == set(settings)


def test_every_metric_is_in_the_table_with_its_type(fresh: Start, tmp_path: pathlib.Path) -> None:
    bucket = ["--bucket", f"file://{tmp_path}/bucket"]
    server = fresh(*bucket)
    follower = fresh(*bucket, "--read-only")
    with firndb.connect(server.url) as client:
        create(client)
        client.write("t", rows(1))
        client.lookup("t.x", {"k": [0]})
        with pytest.raises(firndb.NotFound):
            client.describe_table("nothing")
    found = dict(re.findall(r"^# TYPE (\w+) (\w+)$", server.metrics() + follower.metrics(), re.MULTILINE))
    documented = {row[0].strip("`"): re.split("[,; ]", row[1])[0] for row in table(section("## Metrics"))}
    assert documented == found


def test_every_fixed_limit_is_in_the_table_with_its_value() -> None:
    documented = {}
    for _, most, where in table(section("## Limits that are not settings")):
        name, file = re.findall(r"`([^`]+)`", where)
        documented[name, file] = int(re.match(r"[\d,]+", most)[0].replace(",", ""))  # type: ignore[index]
    constant = re.compile(r"const (\w+_MAX): \w+ = ([\d_ <]+);")
    for (name, file), value in documented.items():
        constants = dict(constant.findall((PROJECT / file).read_text()))
        assert value == eval(constants[name]), name
    for file in ("names.rs", "key/mod.rs", "types/mod.rs", "aggregate/declared.rs"):
        path = f"storage/src/model/{file}"
        for name, _ in constant.findall((PROJECT / path).read_text()):
            assert (name, path) in documented, f"{name} of {path} is not in the table"


# Settings


def said(server: Server) -> int:
    """The limit of a command, as its error says it."""
    with firndb.connect(server.url) as client, pytest.raises(firndb.Exhausted) as caught:
        client.lookup(["t.x"] * 2000, {"k": [0]})
    return int(re.search(r"it may have (\d+)", caught.value.message)[1])  # type: ignore[index]


def test_flags_win_over_variables_and_variables_over_the_file(fresh: Start, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "firn.toml"
    file.write_text('command_bytes_max = "4KiB"\n')
    environment = {**os.environ, "FIRN_COMMAND_BYTES_MAX": "2KiB"}
    assert said(fresh("--config", str(file))) == 4096
    assert said(fresh("--config", str(file), env=environment)) == 2048
    assert said(fresh("--config", str(file), "--command-bytes-max", "1KiB", env=environment)) == 1024


@pytest.mark.parametrize(
    ("flags", "text", "message"),
    [
        (["--listen", "0.0.0.0:0"], "", "--insecure"),
        (["--wal-age-max", "90"], "", 'such as "90s"'),
        (["--message-bytes-max", "9TiB"], "", "out of range"),
        ([], "wal_age = '9s'", "unknown setting `wal_age`"),
        ([], "wal_age_max = 9.5", "wal_age_max"),
    ],
)
def test_a_wrong_setting_is_refused_at_the_start(
    program: pathlib.Path, tmp_path: pathlib.Path, flags: list[str], text: str, message: str
) -> None:
    file = tmp_path / "firn.toml"
    file.write_text(text)
    command = [program, "serve", "--data", tmp_path / "data", "--metrics", "off", "--config", file, *flags]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ran.returncode != 0 and message in ran.stderr, ran.stderr
    assert not (tmp_path / "data").exists()


def test_insecure_is_a_flag(program: pathlib.Path, tmp_path: pathlib.Path) -> None:
    command = [program, "serve", "--data", tmp_path, "--metrics", "off", "--insecure", "--listen", f"0.0.0.0:{free_port()}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None and "serving Arrow Flight" in process.stderr.readline()
    process.terminate()
    assert process.wait(timeout=30) == 0


# Recipes


def page(server: Server, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_and_readiness(fresh: Start) -> None:
    server = fresh()
    assert page(server, "/health") == (200, "ok\n")
    assert page(server, "/ready") == (200, "ready\n")
    assert page(server, "/nothing")[0] == 404
    assert server.stop() == 0


def test_a_kill_loses_nothing_that_was_acknowledged(fresh: Start) -> None:
    server = fresh()
    with firndb.connect(server.url) as client:
        create(client)
        for first in range(0, 1000, 100):
            client.write("t", rows(100, first))
    server.kill()
    server.start()
    with firndb.connect(server.url) as client:
        assert sorted(client.scan("t")["k"].to_pylist()) == list(range(1000))


def test_a_backup_of_one_moment_is_restored(fresh: Start, program: pathlib.Path, tmp_path: pathlib.Path) -> None:
    server = fresh("--flush-bytes-max", "64KiB")
    with firndb.connect(server.url) as client:
        create(client)
        for first in range(0, 20_000, 1000):
            client.write("t", rows(1000, first))
        before = client.lookup("t.x", {"k": [0, 19_999]}, details=True)
        # As a snapshot of the filesystem would be: nothing is written between the first and the last byte.
        with server.paused():
            shutil.copytree(server.directory / "data", tmp_path / "copy")
        client.write("t", rows(1, 20_000))
    restored = fresh()
    restored.stop()
    shutil.rmtree(restored.directory / "data")
    shutil.copytree(tmp_path / "copy", restored.directory / "data")
    restored.start()
    with firndb.connect(restored.url) as client:
        assert client.scan("t").num_rows == 20_000
        assert client.lookup("t.x", {"k": [0, 19_999]}, **before.fixed()) == before.data
        client.write("t", rows(1, 20_000))


def test_two_servers_do_not_share_a_directory(fresh: Start, program: pathlib.Path) -> None:
    server = fresh()
    command = [program, "serve", "--data", server.directory / "data", "--listen", "127.0.0.1:0", "--metrics", "off"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ran.returncode != 0 and "is open in another FirnDB" in ran.stderr and str(server.process.pid) in ran.stderr  # type: ignore[union-attr]


def files_of_at_most(length: int) -> Callable[[], None]:
    """A disk on which no file grows beyond `length`: for a log that is the same as a full one."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (length, resource.RLIM_INFINITY))

    return limit


def test_a_log_that_cannot_be_written_stops_writes_and_nothing_else(fresh: Start) -> None:
    server = fresh("--background=false", preexec_fn=files_of_at_most(1 << 20))
    with firndb.connect(server.url) as client:
        create(client)
        acknowledged = 0
        with pytest.raises(firndb.Unavailable, match="takes no more writes since: could not write wal/"):
            while True:
                client.write("t", rows(1000, acknowledged))
                acknowledged += 1000
        with pytest.raises(firndb.Unavailable, match="start the server again") as caught:
            client.write("t", rows(1))
        assert caught.value.message.count("start the server again") == 1
        assert acknowledged > 0 and client.scan("t").num_rows == acknowledged, "reads go on"
        assert client.lookup("t.x", {"k": [acknowledged - 1]}) == {"x": [acknowledged - 1.0]}
        assert server.metric("firn_engine_poisoned") == 1
    server.stop()
    server.start()
    with firndb.connect(server.url) as client:
        assert client.scan("t").num_rows == acknowledged
        client.write("t", rows(1000, acknowledged))
        assert client.scan("t").num_rows == acknowledged + 1000
        assert server.metric("firn_engine_poisoned") == 0


def test_the_limit_of_open_files_is_raised(fresh: Start) -> None:
    server = fresh(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096)))
    limits = pathlib.Path(f"/proc/{server.process.pid}/limits").read_text()  # type: ignore[union-attr]
    assert re.search(r"Max open files +4096 +4096", limits), limits


def test_the_age_of_the_log_is_measured(fresh: Start) -> None:
    server = fresh()
    with firndb.connect(server.url) as client:
        create(client)
        assert server.metric("firn_engine_wal_age_micros") == 0
        client.write("t", rows(1))
        time.sleep(0.01)
        assert server.metric("firn_engine_wal_age_micros") > 0
        client.flush()
        assert server.metric("firn_engine_wal_age_micros") == 0
        assert server.metric("firn_engine_maps") > 0
