"""Every call ends: in time, in a child that was forked, and when it is cancelled."""

from __future__ import annotations

import asyncio
import datetime
import importlib.util
import inspect
import multiprocessing
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import firndb
import firndb.aio
import numpy
import pyarrow as pa
import pytest
from server import Server
from stall import Proxy

MOMENT = datetime.datetime(2024, 5, 1, tzinfo=datetime.timezone.utc)


def create(client: firndb.Client, table: str, rows: int = 10) -> None:
    client.create_entity(table, {"k": "int64"})
    client.create_table(table, entity=table, event_time="at", features={"x": "float64"})
    client.write(table, {"k": list(range(rows)), "at": [MOMENT] * rows, "x": [float(k) for k in range(rows)]})


# Time-outs


def batches() -> Iterator[pa.RecordBatch]:
    for first in range(5000, 6000, 100):
        yield pa.RecordBatch.from_pydict({"k": list(range(first, first + 100)), "at": [MOMENT] * 100, "x": [0.5] * 100})


CALLS: dict[str, Callable[[firndb.Client, firndb.Lookups, str], Any]] = {
    "status": lambda client, session, table: client.status(),
    "describe": lambda client, session, table: client.describe_table(table),
    "lookup": lambda client, session, table: client.lookup(f"{table}.x", {"k": [1]}),
    "session": lambda client, session, table: session.get({"k": [1]}),
    "pipeline": lambda client, session, table: list(session.pipeline([{"k": [1]}] * 10)),
    "join": lambda client, session, table: client.join({"k": [1], "at": [MOMENT]}, f"{table}.x", as_of="at"),
    "join of batches": lambda client, session, table: client.join(batches(), firndb.select(f"{table}.x", as_="y"), as_of="at"),
    "write": lambda client, session, table: client.write(table, {"k": [1], "at": [MOMENT], "x": [7.0]}),
    "write of arrow": lambda client, session, table: client.write(table, next(batches())),
    "write of a producer": lambda client, session, table: client.write(
        table, {"k": [1], "at": [MOMENT], "x": [7.0]}, producer=firndb.Producer("p", 1)
    ),
    "scan": lambda client, session, table: client.scan(table),
    "scan by a reader": lambda client, session, table: client.scan(table, to="reader").read_all(),
    "erase": lambda client, session, table: client.erase(table, {"k": [99]}),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_to_a_server_that_stalls_ends_in_time_and_leaves_the_client_usable(server: Server, name: str, call: str) -> None:
    # An erase writes the files of all tables anew, which takes its time on a busy machine.
    timeout = 4 if call == "erase" else 1
    with Proxy(server.port) as proxy, firndb.connect(proxy.url, timeout=timeout) as client:
        create(client, name)
        with client.lookups(f"{name}.x") as session:
            CALLS[call](client, session, name)
            assert session.get({"k": [2]}) == {"x": [2.0]}
            proxy.stall()
            started = time.monotonic()
            with pytest.raises(firndb.DeadlineExceeded, match="timeout"):
                CALLS[call](client, session, name)
            assert timeout - 0.1 <= time.monotonic() - started <= timeout + 0.1
            proxy.flow()
            assert client.lookup(f"{name}.x", {"k": [2]}) == {"x": [2.0]}
            assert session.get({"k": [2]}) == {"x": [2.0]}
            CALLS[call](client, session, name)


def test_a_call_has_its_own_timeout_before_that_of_the_connection(server: Server, name: str) -> None:
    with Proxy(server.port) as proxy, firndb.connect(proxy.url, timeout=60) as client:
        create(client, name)
        proxy.stall()
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            client.lookup(f"{name}.x", {"k": [1]}, timeout=0.3)
        assert 0.27 <= time.monotonic() - started <= 0.4
        proxy.flow()
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(firndb.Invalid, match="is not a time"):
            firndb.connect(server.url).status(timeout=wrong)


def test_who_does_not_answer_at_all_is_unavailable_or_too_late() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:
        port = silent.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(firndb.DeadlineExceeded):
            firndb.connect(f"localhost:{port}", timeout=0.5).status()
        assert 0.45 <= time.monotonic() - started <= 0.6
    with pytest.raises(firndb.Unavailable, match=f"no server answers at grpc://127.0.0.1:{port}: .*refused"):
        firndb.connect(f"grpc://127.0.0.1:{port}").status()


def test_a_server_that_is_full_ends_a_call_in_time(fresh: Callable[..., Server], name: str) -> None:
    server = fresh("--streams-per-connection-max", "1")
    with firndb.connect(server.url, timeout=1) as client:
        create(client, "t")
        session = client.lookups("t.x")
        assert session.get({"k": [1]}) == {"x": [1.0]}
        started = time.monotonic()
        with pytest.raises((firndb.DeadlineExceeded, firndb.Exhausted)):
            client.lookup("t.x", {"k": [1]})
        assert time.monotonic() - started <= 1.1
        session.close()
        assert client.lookup("t.x", {"k": [1]}) == {"x": [1.0]}


INTERRUPTED = """
    import signal, sys, firndb
    # A test that was begun in the background of a shell hears no interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    client = firndb.connect(sys.argv[1])
    print("asking", flush=True)
    try:
        client.status()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def test_an_interrupt_ends_a_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), f"127.0.0.1:{silent.getsockname()[1]}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
            assert waiting.stdout is not None and waiting.stdout.readline() == "asking\n"
            time.sleep(0.3)
            waiting.send_signal(signal.SIGINT)
            assert waiting.communicate(timeout=5)[0] == "interrupted\n"


# TLS


@pytest.mark.skipif(importlib.util.find_spec("trustme") is None, reason="needs trustme")
def test_a_client_speaks_tls_and_says_who_it_is(server: Server, name: str, tmp_path: pathlib.Path) -> None:
    import trustme

    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    trusted = authority.cert_pem.bytes()
    with Proxy(server.port, context) as proxy:
        url = f"grpc+tls://localhost:{proxy.port}"
        with firndb.connect(url, tls_authorities=trusted, token="t", headers={"x-team": "a"}, timeout=10) as client:
            create(client, name)
            assert client.lookup(f"{name}.x", {"k": [1]}) == {"x": [1.0]}
        with pytest.raises(firndb.Unavailable, match="no server answers at .*certificate"):
            firndb.connect(url, tls_authorities=stranger.cert_pem.bytes(), timeout=10).status()
        with pytest.raises(firndb.FirnError):
            firndb.connect(f"grpc://localhost:{proxy.port}", timeout=2).status()
    mine = authority.issue_cert("client@example.org")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    (tmp_path / "key.pem").write_bytes(mine.private_key_pem.bytes())
    certificate = b"".join(part.bytes() for part in mine.cert_chain_pems)
    with Proxy(server.port, context) as proxy:
        known = {"tls_certificate": certificate, "tls_key": tmp_path / "key.pem", "tls_server_name": "localhost"}
        with firndb.connect(f"grpc+tls://127.0.0.1:{proxy.port}", tls_authorities=trusted, timeout=10, **known) as client:
            assert client.lookup(f"{name}.x", {"k": [2]}) == {"x": [2.0]}
        with pytest.raises(firndb.FirnError):
            firndb.connect(f"grpc+tls://localhost:{proxy.port}", tls_authorities=trusted, timeout=3).status()
    with pytest.raises(firndb.Invalid, match="give both `tls_certificate` and `tls_key`"):
        firndb.connect(url, tls_certificate=certificate)
    with pytest.raises(firndb.Invalid, match="`tls_authorities` cannot be read: .*nowhere"):
        firndb.connect(url, tls_authorities=tmp_path / "nowhere")


# Forks


def test_a_client_made_before_a_fork_works_in_the_child_and_in_the_parent(client: firndb.Client, name: str) -> None:
    create(client, name)
    session = client.lookups(f"{name}.x")
    busy = threading.Event()

    def work() -> None:
        while not busy.is_set():
            client.lookup(f"{name}.x", {"k": [3]})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            assert session.get({"k": [1]}) == {"x": [1.0]}
            child = os.fork()
            if child == 0:
                try:
                    signal.alarm(20)
                    assert client.lookup(f"{name}.x", {"k": [2]}) == {"x": [2.0]}
                    assert session.get({"k": [4]}) == {"x": [4.0]}
                    assert client.write(name, {"k": [100], "at": [MOMENT], "x": [1.0]}).rows == 1
                    del session
                    os._exit(0)
                finally:
                    os._exit(1)
            assert os.waitpid(child, 0)[1] == 0
            assert session.get({"k": [1]}) == {"x": [1.0]}
    finally:
        busy.set()
        for thread in threads:
            thread.join()
    assert client.lookup(f"{name}.x", {"k": [100]}) == {"x": [1.0]}


def looked_up(client: firndb.Client, table: str, key: int) -> Any:
    return client.lookup(f"{table}.x", {"k": [key]})["x"][0]


def looked_up_anew(url: str, table: str, key: int) -> Any:
    with firndb.connect(url) as client:
        return looked_up(client, table, key)


SHARED: list[firndb.Client] = []


def looked_up_shared(table: str, key: int) -> Any:
    return looked_up(SHARED[0], table, key)


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_of_multiprocessing_look_up(server: Server, client: firndb.Client, name: str, method: str) -> None:
    create(client, name)
    SHARED[:] = [client]
    with multiprocessing.get_context(method).Pool(4) as pool:
        if method == "fork":
            found = pool.starmap(looked_up_shared, [(name, key) for key in range(10)])
        else:
            found = pool.starmap(looked_up_anew, [(server.url, name, key) for key in range(10)])
    assert found == [float(key) for key in range(10)]


PRELOADED = """
    import json, os, firndb
    url, table = os.environ["FIRN_URL"], os.environ["FIRN_TABLE"]
    client = firndb.connect(url)
    client.status()

    def application(environment, start):
        start("200 OK", [("Content-Type", "application/json")])
        key = int(environment["PATH_INFO"].strip("/"))
        return [json.dumps([os.getpid(), client.lookup(f"{table}.x", {"k": [key]})["x"][0]]).encode()]
"""


@pytest.mark.skipif(importlib.util.find_spec("gunicorn") is None, reason="needs gunicorn")
def test_gunicorn_preloads_a_client(server: Server, client: firndb.Client, name: str, tmp_path: pathlib.Path) -> None:
    import urllib.request

    create(client, name)
    (tmp_path / "service.py").write_text(textwrap.dedent(PRELOADED))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind", f"127.0.0.1:{port}", "service:application"]
    environment = {**os.environ, "FIRN_URL": server.url, "FIRN_TABLE": name}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE) as service:
        try:
            deadline, answers = time.monotonic() + 20, []
            while len(answers) < 20:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{len(answers) % 10}", timeout=5) as answer:
                        answers.append(__import__("json").loads(answer.read()))
                except OSError:
                    assert time.monotonic() < deadline, service.stderr
                    time.sleep(0.1)
            assert [value for _, value in answers] == [float(number % 10) for number in range(20)]
            assert service.pid not in {process for process, _ in answers}
        finally:
            service.terminate()


# Event loops


def test_a_thousand_lookups_at_once_share_a_connection(server: Server, client: firndb.Client, name: str) -> None:
    create(client, name, 1000)
    connections = server.metric("firn_connections")

    async def all_at_once() -> list[Any]:
        async with firndb.aio.connect(server.url) as asking:
            found = await asyncio.gather(*(asking.lookup(f"{name}.x", {"k": [k]}) for k in range(1000)))
            assert server.metric("firn_connections") == connections + 1
            return found

    assert asyncio.run(all_at_once()) == [{"x": [float(k)]} for k in range(1000)]


def open_calls(server: Server) -> float:
    lines = [line for line in server.metrics().splitlines() if line.startswith("firn_open_calls{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_a_call_that_is_cancelled_leaves_no_stream_open(server: Server, client: firndb.Client, name: str) -> None:
    create(client, name)
    quiet = open_calls(server)

    async def cancelled() -> None:
        with Proxy(server.port) as proxy:
            async with firndb.aio.connect(proxy.url) as asking:
                session = asking.lookups(f"{name}.x")
                assert await session.get({"k": [1]}) == {"x": [1.0]}
                proxy.stall()
                lookups = [asking.lookup(f"{name}.x", {"k": [1]}) for _ in range(20)]
                calls = [*lookups, session.get({"k": [1]}), asking.scan(name), asking.write(name, next(batches()))]
                tasks = [asyncio.ensure_future(call) for call in calls]
                await asyncio.sleep(0.2)
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended
                proxy.flow()
                assert await session.get({"k": [1]}) == {"x": [1.0]}
                await session.close()
                deadline = time.monotonic() + 5
                while open_calls(server) > quiet:
                    assert time.monotonic() < deadline, "a stream is open"
                    await asyncio.sleep(0.05)

    asyncio.run(cancelled())


def test_event_loops_do_everything_that_threads_do(server: Server, name: str) -> None:
    async def work() -> None:
        async with firndb.aio.connect(server.url, timeout=10) as client:
            await client.create_entity(name, {"k": "int64"})
            await client.create_table(name, entity=name, event_time="at", features={"x": "float64"})
            assert (await client.write(name, batches())).rows == 1000
            assert (await client.scan(name, to="pyarrow")).num_rows == 1000
            spine = pa.table({"k": [1, 2], "at": [MOMENT] * 2, "other": ["a", "b"]})
            joined = await client.join(spine, f"{name}.x", as_of="at")
            assert joined.column_names == ["k", "at", "other", "x"]
            whole = await client.join(batches(), firndb.select(f"{name}.x", as_="y"), as_of="at", to="pyarrow")
            assert whole.num_rows == 1000
            async with client.lookups(f"{name}.x") as session:
                assert await asyncio.gather(*(session.get({"k": [5000 + k]}) for k in range(10))) == [{"x": [0.5]}] * 10
                with pytest.raises(firndb.Invalid):
                    await session.get({"k": [None]})
                assert await session.get({"k": [5001]}) == {"x": [0.5]}
            with pytest.raises(firndb.NotFound):
                await client.describe_table("nowhere")
            with pytest.raises(firndb.Invalid, match="to=\"reader\" waits"):
                await client.scan(name, to="reader")
            assert (await client.erase(name, {"k": [5001]}))["entities"] == 1
            assert name in {table["table"] for table in (await client.list_tables())["tables"]}

    asyncio.run(work())


def test_both_clients_have_the_same_names_and_signatures() -> None:
    for one, other in ((firndb.Client, firndb.aio.Client), (firndb.connect, firndb.aio.connect)):
        assert inspect.signature(one).parameters.keys() == inspect.signature(other).parameters.keys()
    for name, method in inspect.getmembers(firndb.Client, inspect.isfunction):
        if not name.startswith("__"):
            other = getattr(firndb.aio.Client, name)
            assert str(inspect.signature(method)).partition(" -> ")[0] == str(inspect.signature(other)).partition(" -> ")[0], name
            assert inspect.iscoroutinefunction(other) == (name not in ("lookups", "close")), name


def test_the_asynchronous_client_is_made_from_the_synchronous_one() -> None:
    tool = pathlib.Path(__file__).parents[1] / "tools" / "make_aio.py"
    spec = importlib.util.spec_from_file_location("make_aio", tool)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    for source, target in made.WRITTEN.items():
        text = made.asynchronous((made.PACKAGE / source).read_text())
        assert (made.PACKAGE / "aio" / target).read_text() == text, f"run tools/make_aio.py: {target} is older than {source}"
