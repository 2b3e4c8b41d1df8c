"""A real `firn serve` process on a port and a directory of its own."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pyarrow.flight as flight

PROJECT = pathlib.Path(__file__).resolve().parents[3]


def binary() -> pathlib.Path:
    """The binary that FIRN_BINARY names, or a fresh build."""
    if named := os.environ.get("FIRN_BINARY"):
        return pathlib.Path(named).resolve()
    subprocess.run(["cargo", "build", "--release"], cwd=PROJECT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target"))
    return target / "release" / "firn"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Server:
    """A server process. It is killed, and its directory removed, when the block ends."""

    def __init__(self, program: pathlib.Path, *arguments: str, **popen: Any) -> None:
        self.program = program
        self.arguments = arguments
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="firn-test-"))
        self.port = free_port()
        self.metrics_port = free_port()
        self.url = f"grpc://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.start(**popen)

    def start(self, **popen: Any) -> None:
        """Starts the process and waits until it answers; ``popen`` goes to ``subprocess.Popen``."""
        self.log = open(self.directory / "log", "ab")
        self.process = subprocess.Popen(
            [self.program, "serve", "--data", self.directory / "data", "--listen", f"127.0.0.1:{self.port}",
             "--metrics", f"127.0.0.1:{self.metrics_port}", *self.arguments],
            stdout=self.log,
            stderr=self.log,
            **popen,
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            try:
                with flight.FlightClient(self.url) as client:
                    list(client.do_action(flight.Action("status", b"{}")))
                return
            except flight.FlightUnavailableError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the server did not start:\n{self.output()}") from None
                time.sleep(0.05)

    def metrics(self) -> str:
        """The metrics page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as page:
            return page.read().decode()

    def metric(self, name: str) -> float:
        """The value of one metric, all its labels together."""
        lines = (line for line in self.metrics().splitlines() if re.match(rf"{name}(\{{.*\}})? ", line))
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def output(self) -> str:
        """Everything that it wrote."""
        return (self.directory / "log").read_text(errors="replace")

    def kill(self) -> None:
        """Ends the process as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ends the process as an operator would; answers its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stops every thread of the process while the block runs."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        # A thread that is inside the kernel ends what it does there first, such as removing a file.
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        while any("\nState:\tT" not in (task / "status").read_text() for task in tasks.iterdir()):
            time.sleep(0.01)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def resident_bytes(self) -> int:
        """Memory that the process holds now."""
        assert self.process is not None
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)
