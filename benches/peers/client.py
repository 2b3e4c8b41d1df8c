"""The Python client of FirnDB, and pyarrow.flight beside it, as a service and a notebook would use them.

Started by the harness as `client.py URL USERS`; talks as joins.py does. The table `t` has the features f0 to f49 of the
entities 0 to USERS - 1 with the key `user`; what is written goes into the table `w`.
"""

import json
import random
import subprocess
import sys
import time
from datetime import datetime, timezone

import firndb
import numpy
import pandas
import polars
import pyarrow as pa
import pyarrow.flight as flight

URL, USERS = sys.argv[1], int(sys.argv[2])
NAMES = [f"t.f{number}" for number in range(50)]
MOMENT = datetime(2024, 6, 1, tzinfo=timezone.utc)
CALLS, FRAMES, ROWS = (1000, 100, 1_000_000) if USERS > 10_000 else (20, 3, 1000)
client = firndb.connect(URL, timeout=60)
session = client.lookups(NAMES)


def p50(work, count, rows=1):
    """The median seconds of `count` calls of `work`."""
    waits = []
    for _ in range(count):
        argument = {"user": [random.randrange(USERS) for _ in range(rows)]}
        started = time.perf_counter()
        work(argument)
        waits.append(time.perf_counter() - started)
    return sorted(waits)[len(waits) // 2]


class Flight:
    """One stream of pyarrow.flight, used as this package used it before it stood on the Rust client."""

    def __init__(self):
        self.flight = flight.FlightClient(URL)
        command = json.dumps({"lookup": {"features": NAMES}}).encode()
        self.writer, self.reader = self.flight.do_exchange(flight.FlightDescriptor.for_command(command))
        self.writer.begin(pa.schema([("user", pa.int64())]))

    def get(self, entities):
        self.writer.write_batch(pa.RecordBatch.from_pydict(entities))
        chunk = self.reader.read_chunk()
        json.loads(chunk.app_metadata.to_pybytes())
        table = pa.Table.from_batches([chunk.data])
        return {name: column.to_pylist() for name, column in zip(table.column_names, table.columns)}


before = Flight()


def one():
    return {
        "session": p50(session.get, CALLS),
        "lookup": p50(lambda entities: client.lookup(NAMES, entities), CALLS),
        "hundred": p50(session.get, CALLS // 4, 100),
        "flight": p50(before.get, CALLS),
    }


def thousand():
    keys = numpy.random.default_rng(1).integers(0, USERS, 1000)
    entities = pa.table({"user": keys})
    rates = {}
    for kind in ("pyarrow", "pandas", "polars", "numpy", "dict"):
        session.get(entities, to=kind)
        started = time.perf_counter()
        for _ in range(FRAMES):
            answer = session.get(entities, to=kind)
        rates[kind] = FRAMES * 1000 / (time.perf_counter() - started)
    arrays = {name: answer_array for name, answer_array in session.get(entities, to="numpy").items()}
    started = time.perf_counter()
    for _ in range(FRAMES):
        pandas.DataFrame(arrays)
    rates["building the frame"] = (time.perf_counter() - started) / FRAMES
    rates["answered"] = len(answer["f0"])
    return rates


def join():
    random_keys = numpy.random.default_rng(2).integers(0, USERS, ROWS)
    narrow = pandas.DataFrame({"user": random_keys, "at": numpy.full(ROWS, numpy.datetime64("2024-06-01", "us"))})
    wide = pandas.concat([narrow, pandas.DataFrame(numpy.ones((ROWS, 100)), columns=[f"c{n}" for n in range(100)])], axis=1)
    seconds = {}
    for name, spine in (("narrow", narrow), ("wide", wide)):
        started = time.perf_counter()
        joined = client.join(spine, "t.f0", as_of="at")
        seconds[name] = time.perf_counter() - started
        assert len(joined) == ROWS
    return seconds


def write():
    values = numpy.random.default_rng(3).random((ROWS, 10))
    frame = pandas.DataFrame(values, columns=[f"f{n}" for n in range(10)])
    frame.insert(0, "user", numpy.arange(ROWS))
    frame.insert(1, "at", pandas.to_datetime(numpy.full(ROWS, numpy.datetime64("2024-06-01", "us"))))
    table = pa.Table.from_pandas(frame, preserve_index=False)
    seconds = {}
    client.write("w", table)
    # In both orders: what is written last finds more there.
    for name, data in (("arrow", table), ("frame", frame), ("frame", frame), ("arrow", table)):
        started = time.perf_counter()
        client.write("w", data)
        seconds[name] = seconds.get(name, 0) + (time.perf_counter() - started) / 2
    return seconds


def imported():
    code = "import time; s = time.perf_counter(); import firndb; print(time.perf_counter() - s)"
    return {"seconds": float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)}


WORK = {"one": one, "thousand": thousand, "join": join, "write": write, "import": imported}


def main():
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(WORK[json.loads(line)["work"]]()), flush=True)


if __name__ == "__main__":
    main()
