"""Every limit of a request is refused with an error that names its setting, and the server goes on."""

from __future__ import annotations

import datetime
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import firndb
import numpy
import pyarrow as pa
import pyarrow.flight as flight
import pytest
import raw
from server import Server

TIME = pa.timestamp("us", "UTC")
MOMENT = datetime.datetime(2024, 5, 1, tzinfo=datetime.timezone.utc)
MIB = 1 << 20
Start = Callable[..., Server]


def create(client: firndb.Client, features: dict[str, Any] | None = None) -> None:
    client.create_entity("e", {"k": "int64"})
    client.create_table("t", entity="e", event_time="at", features=features or {"x": "float64", "s": "utf8"})
    client.write("t", rows(2, x=[1.0, 2.0]) if features is None else rows(2))


def rows(count: int, **features: Any) -> pa.Table:
    return pa.table({"k": numpy.arange(count), "at": pa.array([MOMENT] * count, TIME), **features})


def sound(client: firndb.Client) -> None:
    assert client.lookup("t.x", {"k": [0]}) == {"x": [1.0]}


@contextmanager
def refused(kind: type[firndb.FirnError], names: str) -> Iterator[None]:
    """The block is refused with an error of this kind that names the setting, however pyarrow wraps it."""
    with pytest.raises(kind) as caught, raw.translated():
        yield
    assert names in caught.value.message, caught.value.message


def alone(server: Server) -> flight.FlightClient:
    """A client with a connection of its own: gRPC shares one between clients of the same address otherwise."""
    return raw.connect(server.url, generic_options=[("grpc.use_local_subchannel_pool", 1)])


LOOKUP = {"lookup": {"features": ["t.x"]}}
KEYS = pa.record_batch({"k": [0]})


@pytest.mark.parametrize(
    ("flags", "setting", "data"),
    [
        (["--message-bytes-max", "1MiB"], "message-bytes-max", lambda: rows(1, s=["x" * 2 * MIB])),
        (["--message-rows-max", "100"], "message-rows-max", lambda: rows(101, x=[1.0] * 101)),
        (["--columns-max", "8"], "columns-max", lambda: rows(1, **{f"x{n}": [1.0] for n in range(8)})),
        (["--depth-max", "2"], "depth-max", lambda: rows(1, x=pa.array([[[[1]]]]))),
    ],
    ids=["bytes", "rows", "columns", "depth"],
)
def test_a_message_over_a_limit(fresh: Start, flags: list[str], setting: str, data: Callable[[], pa.Table]) -> None:
    server = fresh(*flags)
    with firndb.connect(server.url) as client:
        create(client)
        with refused(firndb.Exhausted, setting):
            client.write("t", data())
        with refused(firndb.Exhausted, setting):
            join = {"join": {"features": [{"feature": "t.x", "as": "found"}], "as_of": "latest"}}
            raw.exchange(alone(server), join, data().to_batches())
        sound(client)


def test_a_message_that_grows_when_it_is_decompressed(fresh: Start) -> None:
    server = fresh("--decoded-bytes-max", "1MiB", "--message-bytes-max", "1MiB")
    with firndb.connect(server.url) as client, raw.connect(server.url) as plain:
        create(client)
        batch = rows(1, s=["x" * 4 * MIB]).to_batches()[0]
        options = flight.FlightCallOptions(write_options=pa.ipc.IpcWriteOptions(compression="zstd"))
        with refused(firndb.Exhausted, "decoded-bytes-max"):
            writer, reader = plain.do_put(raw.descriptor({"write": {"table": "t"}}), batch.schema, options)
            with writer:
                writer.write_batch(batch)
                writer.done_writing()
                while reader.read() is not None:
                    pass
        sound(client)


def test_a_command_over_its_limit(fresh: Start) -> None:
    server = fresh("--command-bytes-max", "1KiB")
    with firndb.connect(server.url) as client:
        create(client)
        with refused(firndb.Exhausted, "command-bytes-max"):
            client.lookup(["t.x"] * 1000, {"k": [0]})
        with refused(firndb.Exhausted, "command-bytes-max"):
            client.create_table("u", entity="e", event_time="at", features={f"f{n}": "int8" for n in range(100)})
        sound(client)


def test_calls_beyond_those_that_are_served_at_once(fresh: Start) -> None:
    server = fresh("--requests-max", "3")
    with firndb.connect(server.url) as client:
        create(client)
        sessions = [client.lookups("t.x") for _ in range(3)]
        for session in sessions:
            assert session.get({"k": [0]}) == {"x": [1.0]}
        with refused(firndb.Exhausted, "requests-max"):
            client.lookup("t.x", {"k": [0]})
        with refused(firndb.Exhausted, "requests-max"):
            client.status()
        assert sessions[0].get({"k": [1]}) == {"x": [2.0]}
        for session in sessions:
            session.close()
        sound(client)


def test_streams_beyond_those_of_one_connection_wait(fresh: Start) -> None:
    server = fresh("--streams-per-connection-max", "2")
    with firndb.connect(server.url) as client:
        create(client)
    with alone(server) as crowded, alone(server) as free:
        held = [crowded.do_exchange(raw.descriptor(LOOKUP)) for _ in range(2)]
        for writer, reader in held:
            writer.begin(KEYS.schema)
            writer.write_batch(KEYS)
            assert reader.read_chunk().data.num_rows == 1
        with pytest.raises(flight.FlightTimedOutError):
            list(crowded.do_action(flight.Action("status", b"{}"), flight.FlightCallOptions(timeout=0.5)))
        assert raw.action(free, "status", {})["tables"]
        for writer, _ in held:
            writer.close()
        assert raw.action(crowded, "status", {})["tables"]


def test_a_snapshot_that_is_too_old_answers_no_more(fresh: Start) -> None:
    server = fresh("--snapshot-age-max", "1s")
    with firndb.connect(server.url) as client, raw.connect(server.url) as plain:
        create(client)
        writer, reader = plain.do_exchange(raw.descriptor({"join": {"features": ["t.x"], "as_of": "latest"}}))
        writer.begin(KEYS.schema)
        writer.write_batch(KEYS)
        position = json.loads(reader.read_chunk().app_metadata.to_pybytes())["read_position"]
        time.sleep(1.5)
        with refused(firndb.Unavailable, "snapshot-age-max"):
            reader.read_chunk()
        client.write("t", rows(1, x=[7.0]))
        assert client.join({"k": [0]}, "t.x", as_of="latest", position=position)["x"] == [1.0]


def test_a_scan_whose_snapshot_is_too_old_ends(fresh: Start) -> None:
    server = fresh("--snapshot-age-max", "1s")
    with firndb.connect(server.url) as client, alone(server) as plain:
        client.create_entity("e", {"k": "int64"})
        client.create_table("t", entity="e", event_time="at", features={"v": "fixed_size_list<float32>[1024]"})
        # Far more than the server reads ahead and the connection holds.
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(numpy.ones(1024 * 32768, numpy.float32)), 1024)
        client.write("t", rows(32768, v=vectors), batch_rows=2048)
        client.flush()
        reader = plain.do_get(flight.Ticket(json.dumps({"scan": {"table": "t", "history": True}}).encode()))
        assert reader.read_chunk().data.num_rows > 0
        time.sleep(1.5)
        with refused(firndb.Unavailable, "snapshot-age-max"):
            raw.messages(reader)
        assert client.scan("t").num_rows == 32768


def test_writes_beyond_the_memory_for_rows(fresh: Start) -> None:
    """Above the budget a write waits for a flush; if none makes room in time it is refused, and later ones are not."""
    server = fresh("--memory-bytes-max", "4MiB", "--flush-bytes-max", "4MiB", "--stall-wait-max", "0s")
    with firndb.connect(server.url) as client:
        create(client)
        with refused(firndb.Exhausted, "memory-bytes-max"):
            for _ in range(200):
                client.write("t", rows(8192, s=["x" * 100] * 8192))
        assert server.metric("firn_engine_stalls_total") > 0
        sound(client)
        for _ in range(600):
            try:
                client.write("t", rows(1, x=[1.0]))
                break
            except firndb.Exhausted:
                time.sleep(0.05)
        else:
            pytest.fail("no flush made room")
        sound(client)


def test_a_wait_beyond_the_longest(fresh: Start) -> None:
    server = fresh("--wait-max", "2s")
    with firndb.connect(server.url) as client:
        create(client)
        position = client.status()["read_position"]
        with refused(firndb.Invalid, "wait-max"):
            client.lookup("t.x", {"k": [0]}, at_least=position, wait="3s")
        assert client.lookup("t.x", {"k": [0]}, at_least=position, wait="2s") == {"x": [1.0]}


def test_producers_beyond_those_that_a_table_remembers(fresh: Start) -> None:
    server = fresh("--producers-max", "2")
    with firndb.connect(server.url) as client:
        create(client)
        for name in ("a", "b"):
            client.write("t", rows(1, x=[1.0]), producer=firndb.Producer(name, 1))
        with refused(firndb.Exhausted, "producers-max"):
            client.write("t", rows(1, x=[1.0]), producer=firndb.Producer("c", 1))
        client.write("t", rows(1, x=[1.0]), producer=firndb.Producer("a", 2, previous=1))
        sound(client)


def test_connections_that_say_nothing_lose_their_place(fresh: Start) -> None:
    """Both kinds: one that never greets, and one that greets and never answers a ping."""
    limits = ["--connections-max", "4", "--keepalive-interval", "1s", "--keepalive-timeout", "1s"]
    server = fresh(*limits)
    with alone(server) as client:
        raw.action(client, "create_entity", {"entity": "e", "key": [{"name": "k", "type": "int64"}]})
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(10)]
    for one in silent[::2]:
        one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    try:
        with alone(server) as client:
            assert raw.action(client, "list_entities", {})["entities"]
    finally:
        for one in silent:
            one.close()


def test_requests_that_wait_for_a_position_keep_nobody_else_waiting(fresh: Start) -> None:
    server = fresh("--waiters-max", "2")
    with firndb.connect(server.url) as client, raw.connect(server.url) as plain:
        create(client)
        database, _, sequence = client.status()["read_position"].rpartition("-")
        ahead = f"{database}-{int(sequence, 16) + 1_000_000:x}"
        command = {"lookup": {"features": ["t.x"], "at_least": ahead, "wait": "60s"}}
        waiting = [plain.do_exchange(raw.descriptor(command)) for _ in range(3)]
        for writer, _ in waiting:
            writer.begin(KEYS.schema)
            writer.write_batch(KEYS)
        with ThreadPoolExecutor(3) as pool:
            answers = [pool.submit(reader.read_chunk) for _, reader in waiting]
            done, still = wait(answers, timeout=30, return_when=FIRST_COMPLETED)
            (third,) = done
            with refused(firndb.Exhausted, "waiters-max"):
                third.result()
            assert client.join({"k": [0, 1]}, "t.x", as_of="latest") == {"k": [0, 1], "x": [1.0, 2.0]}
            sound(client)
            assert not any(answer.done() for answer in still)
            for _, reader in waiting:
                reader.cancel()
