"""Clients that misbehave harm nobody else, and what was acknowledged to them stays."""

from __future__ import annotations

import datetime
import json
import resource
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
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


def create(client: firndb.Client, table: str, features: dict[str, Any]) -> None:
    client.create_entity(table, {"k": "int64"})
    client.create_table(table, entity=table, event_time="at", features=features)


def rows(count: int, first: int = 0, **features: Any) -> pa.RecordBatch:
    keys = pa.array(numpy.arange(first, first + count))
    return pa.record_batch({"k": keys, "at": pa.array([MOMENT] * count, TIME), **features})


def test_a_client_that_reads_no_acknowledgement_until_the_end_does_not_hang(server: Server, name: str) -> None:
    with firndb.connect(server.url) as client:
        create(client, name, {"x": "float64"})
    with raw.connect(server.url) as client:
        batches = [rows(10, 10 * number, x=pa.array([1.0] * 10)) for number in range(4000)]
        acknowledgements = raw.put(client, {"write": {"table": name}}, batches)
        assert sum(each["batches"] for each in acknowledgements) == 4000
        assert sum(each["rows"] for each in acknowledgements) == 40_000


def test_a_client_that_stops_reading_answers_is_made_to_wait(fresh: Callable[..., Server], name: str) -> None:
    server = fresh()
    with firndb.connect(server.url) as client:
        create(client, name, {"v": "fixed_size_list<float32>[1024]"})
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(numpy.zeros(1024 * 1024, numpy.float32)), 1024)
        client.write(name, rows(1024, v=vectors))
        command = {"lookup": {"features": [f"{name}.v"]}}
        request = pa.record_batch({"k": pa.array(numpy.arange(1024))})
        greedy = raw.connect(server.url)
        writer, reader = greedy.do_exchange(raw.descriptor(command))
        writer.begin(request.schema)
        sent = 0

        def send() -> None:
            nonlocal sent
            try:
                while sent < 1000:  # 4 MiB of answer each: 4 GiB if nobody stopped it
                    writer.write_batch(request)
                    sent += 1
            except pa.ArrowException:
                pass

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        held = 0
        for _ in range(30):
            time.sleep(0.1)
            held = max(held, server.resident_bytes())
            assert client.lookup(f"{name}.v", {"k": [1]}, to="arrow").num_rows == 1
        assert held < 600 * MIB, f"{held // MIB} MiB are held for a client that does not read"
        reader.cancel()
        sender.join(timeout=30)
        assert not sender.is_alive()
        assert client.lookup(f"{name}.v", {"k": [1]}, to="arrow").num_rows == 1


VANISH = """
    import json, os, sys
    sys.path.insert(0, sys.argv[3])
    import pyarrow as pa, raw, test_misbehaviour as helpers
    client = raw.connect(sys.argv[1])
    table = sys.argv[2]
    writer, reader = client.do_put(raw.descriptor({"write": {"table": table}}), helpers.rows(1, x=pa.array([1.0])).schema)
    writer.write_batch(helpers.rows(100, x=pa.array([7.0] * 100)))
    acknowledged = json.loads(reader.read().to_pybytes())
    writer.write_batch(helpers.rows(100, 100, x=pa.array([7.0] * 100)))
    asking, answers = client.do_exchange(raw.descriptor({"lookup": {"features": [table + ".x"]}}))
    asking.begin(pa.schema([("k", pa.int64())]))
    asking.write_batch(pa.record_batch({"k": [1]}))
    client.do_get(pa.flight.Ticket(json.dumps({"scan": {"table": table, "history": True}}).encode()))
    print(acknowledged["rows"], flush=True)
    os._exit(1)
"""


def test_a_client_that_vanishes_leaves_what_was_acknowledged(server: Server, name: str) -> None:
    with firndb.connect(server.url) as client:
        create(client, name, {"x": "float64"})
        here = str(__import__("pathlib").Path(__file__).parent)
        for _ in range(3):
            ran = subprocess.run(
                [sys.executable, "-c", textwrap.dedent(VANISH), server.url, name, here],
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert ran.stdout.strip() == "100", ran.stderr
        assert client.lookup(f"{name}.x", {"k": [0, 99]}) == {"x": [7.0, 7.0]}


@pytest.mark.slow
def test_a_thousand_idle_connections_do_not_keep_others_out(server: Server, name: str) -> None:
    with firndb.connect(server.url) as client:
        create(client, name, {"x": "float64"})
        client.write(name, rows(1, x=pa.array([1.0])))
        # The usual limit of open files is too low for this test itself; the server raises its own.
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1000)]
        for one in idle[::2]:  # Half of them speak HTTP/2 and then fall silent.
            one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        try:
            while server.metric("firn_connections") < 1000:
                time.sleep(0.05)
            with raw.connect(server.url, generic_options=[("grpc.use_local_subchannel_pool", 1)]) as another:
                found = raw.exchange(another, {"lookup": {"features": [f"{name}.x"]}}, [pa.record_batch({"k": [0]})])
                assert raw.table(found).to_pydict() == {"x": [1.0]}
            assert client.lookup(f"{name}.x", {"k": [0]}) == {"x": [1.0]}
        finally:
            for one in idle:
                one.close()
        assert client.lookup(f"{name}.x", {"k": [0]}) == {"x": [1.0]}


def test_no_message_is_over_four_mebibytes_unless_it_was_asked_for(server: Server, name: str) -> None:
    """A client with gRPC's usual limit receives answers of any size."""
    with firndb.connect(server.url) as client:
        create(client, name, {"v": "fixed_size_list<float32>[1024]"})
        for first in range(0, 8192, 2048):
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(numpy.ones(1024 * 2048, numpy.float32)), 1024)
            client.write(name, rows(2048, first, v=vectors))
    limited = raw.connect(server.url, generic_options=[("grpc.max_receive_message_length", 4 * MIB)])
    keys = pa.record_batch({"k": pa.array(numpy.arange(8192))})
    lookup = {"lookup": {"features": [f"{name}.v"]}}
    answer = raw.exchange(limited, lookup, [keys])
    assert raw.table(answer).num_rows == 8192 and len(answer) >= 8
    assert all(said["last"] == (number == len(answer) - 1) for number, (_, said) in enumerate(answer))
    joined = raw.exchange(limited, {"join": {**lookup["lookup"], "as_of": "latest"}}, [keys])
    assert raw.table(joined).num_rows == 8192
    for history in (False, True):
        information = limited.get_flight_info(raw.descriptor({"scan": {"table": name, "history": history}}))
        parts = [raw.table(raw.messages(limited.do_get(endpoint.ticket))) for endpoint in information.endpoints]
        assert sum(part.num_rows for part in parts) == 8192
    smaller = raw.exchange(limited, {"lookup": {**lookup["lookup"], "max_message_bytes": 64 << 10}}, [keys.slice(0, 64)])
    assert len(smaller) >= 4 and raw.table(smaller).equals(raw.table(answer).slice(0, 64))
    with pytest.raises(pa.ArrowInvalid, match="max_message_bytes"):
        raw.exchange(limited, {"lookup": {**lookup["lookup"], "max_message_bytes": 2048}}, [keys.slice(0, 1)])


def test_a_request_in_small_pieces_is_answered_in_order(server: Server, name: str) -> None:
    """Pipelined requests, some of them refused in band: every answer has its number and its rows."""
    with firndb.connect(server.url) as client:
        create(client, name, {"x": "float64"})
        client.write(name, rows(100, x=pa.array(numpy.arange(100.0))))
    with raw.connect(server.url) as client:
        command = {"lookup": {"features": [f"{name}.x"], "errors": "in_band"}}
        requests = [pa.record_batch({"k": pa.array([None if k % 7 == 3 else k, k], pa.int64())}) for k in range(50)]
        requests.append(pa.record_batch({"k": pa.array([], pa.int64())}))
        answers = raw.exchange(client, command, requests)
        assert [said["request"] for _, said in answers] == list(range(51))
        for k, (batch, said) in enumerate(answers[:50]):
            if k % 7 == 3:
                assert said["error"]["code"] == "INVALID_ARGUMENT" and batch.num_rows == 0
            else:
                assert batch.to_pydict() == {"x": [float(k), float(k)]} and json.dumps(said)
        assert answers[50][0].num_rows == 0 and "error" not in answers[50][1]


def test_a_dropped_acknowledgement_stream_is_no_lost_write(server: Server, name: str) -> None:
    """Without reading acknowledgements, closing the writer still waits for the last one."""
    with firndb.connect(server.url) as client:
        create(client, name, {"x": "float64"})
        with raw.connect(server.url) as careless:
            writer, _ = careless.do_put(flight.FlightDescriptor.for_path(name), rows(1, x=pa.array([1.0])).schema)
            writer.write_batch(rows(5, x=pa.array([2.0] * 5)))
            writer.close()
        assert client.lookup(f"{name}.x", {"k": [4]}) == {"x": [2.0]}


def test_a_client_that_never_reads_acknowledgements_and_goes_away(server: Server, name: str) -> None:
    """What it sent is stored as if it had read them, and nothing is kept for it."""
    with firndb.connect(server.url) as client:
        create(client, name, {"x": "float64"})
        with raw.connect(server.url) as careless:
            writer, reader = careless.do_put(raw.descriptor({"write": {"table": name}}), rows(1, x=pa.array([1.0])).schema)
            for number in range(2000):
                writer.write_batch(rows(5, 5 * number, x=pa.array([2.0] * 5)))
            writer.done_writing()
            deadline = time.monotonic() + 60
            while client.lookup(f"{name}.x", {"k": [9999]}) != {"x": [2.0]}:
                assert time.monotonic() < deadline, "the last batch is not stored"
                time.sleep(0.05)
            reader.read()
            del writer, reader
        assert client.scan(name).num_rows == 10_000


def test_an_answer_that_nobody_takes_is_given_up(fresh: Callable[..., Server], name: str) -> None:
    """A stream that is opened and never read holds the memory for requests; not for longer than `answer-stall-max`."""
    limits = ["--request-bytes-max", "64MiB", "--request-wait-max", "1s", "--answer-stall-max", "3s"]
    server = fresh(*limits)
    with firndb.connect(server.url) as client:
        create(client, name, {"v": "fixed_size_list<float32>[1024]"})
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(numpy.zeros(1024 * 4096, numpy.float32)), 1024)
        client.write(name, rows(4096, v=vectors), batch_rows=1024)
        request = pa.record_batch({"k": pa.array(numpy.arange(4096))})
        lookup = {"lookup": {"features": [f"{name}.v"]}}
        assert raw.table(raw.exchange(raw.connect(server.url), lookup, [request])).num_rows == 4096
        assert server.metric("firn_request_bytes") == 0

        held = []
        for _ in range(10):
            greedy = raw.connect(server.url, generic_options=[("grpc.use_local_subchannel_pool", 1)])
            writer, reader = greedy.do_exchange(raw.descriptor(lookup))
            held.append((greedy, writer, reader))
            writer.begin(request.schema)
            for _ in range(4):  # Of 16 MiB each: only three fit.
                writer.write_batch(request)
            # The fourth may be refused before others are, and end its stream with all that it holds: then once more.
            refused = ""
            try:
                for _ in range(100):
                    client.lookup(f"{name}.v", {"k": numpy.arange(4096)}, to="arrow")
            except firndb.Exhausted as error:
                refused = str(error)
                break
        assert "request-bytes-max" in refused
        assert server.metric("firn_request_bytes") > 0
        assert client.lookup(f"{name}.v", {"k": [1]}, to="arrow").num_rows == 1, "a small lookup is still answered"

        deadline = time.monotonic() + 60
        while server.metric("firn_stalled_answers_total") == 0 or server.metric("firn_request_bytes") > 0:
            assert time.monotonic() < deadline, "the answer is still held"
            time.sleep(0.1)
        assert client.lookup(f"{name}.v", {"k": numpy.arange(4096)}, to="arrow").num_rows == 4096
        # Where more than one stream was needed, some were refused instead.
        ends = [end_of(reader) for _, _, reader in held]
        assert any("answer-stall-max" in end for end in ends), ends


def end_of(reader: flight.FlightStreamReader) -> str:
    """How a stream ended that lacks room on the server, in the server's words."""
    with pytest.raises(firndb.Exhausted) as end, raw.translated():
        raw.messages(reader)
    return str(end.value)


def test_a_stream_without_questions_is_never_given_up(fresh: Callable[..., Server], name: str) -> None:
    server = fresh("--answer-stall-max", "1s")
    with firndb.connect(server.url) as client:
        create(client, name, {"x": "float64"})
        client.write(name, rows(1, x=pa.array([1.0])))
        with client.lookups(f"{name}.x") as lookups:
            assert lookups.get({"k": [0]}) == {"x": [1.0]}
            time.sleep(2.5)
            assert lookups.get({"k": [0]}) == {"x": [1.0]}
        assert server.metric("firn_stalled_answers_total") == 0


def test_a_request_after_one_that_waited_in_vain_waits_too(server: Server, name: str) -> None:
    """Found by reading: `at_least` was forgotten after the first request, whether it was reached or not."""
    with firndb.connect(server.url) as client, raw.connect(server.url) as plain:
        create(client, name, {"x": "float64"})
        client.write(name, rows(2000, x=pa.array([1.0] * 2000)))
        database, _, sequence = client.status()["read_position"].rpartition("-")
        ahead = f"{database}-{int(sequence, 16) + 1_000_000:x}"
        command = {"features": [f"{name}.x"], "at_least": ahead, "wait": "1ms", "errors": "in_band"}
        keys = pa.record_batch({"k": pa.array(numpy.arange(2000))})
        answers = raw.exchange(plain, {"lookup": command}, [keys, keys, keys.slice(0, 1)])
        assert [said["error"]["code"] for _, said in answers] == ["UNAVAILABLE"] * 3
